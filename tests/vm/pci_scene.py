#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs on the host that pci_test.py makes; its whole system is the test's.

  lan namespace                       NICs that weft takes                                        guests (tap ports)
  10.1.0.1 ──────────────── hub 0 ─── 0000:00:10.0 e1000e,  "em"  ── acme/web ── acme/g      10.1.0.2
  10.2.0.1 in VLAN 12 ───── hub 1 ─── 0000:00:11.0 vmxnet3, "vmx" ── acme/lab ── acme/h      10.2.0.2
  203.0.113.1 ───────────── hub 2 ─── 0000:00:12.0 virtio,  "out" ── acme/app (nat) ── acme/n 10.3.0.2
"""
import glob
import json
import os
import sys
import time
import tty

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from lan import Namespace, ip, transfer  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

EM, VMX, OUT = "0000:00:10.0", "0000:00:11.0", "0000:00:12.0"
DRIVERS = {EM: "", VMX: "vmxnet3", OUT: "virtio-pci"}  # of Debian's cloud kernel
NONE = {"version": 1, "dataplane": {"cores": [1]}}
EMPTY = {**NONE, "uplinks": {"null": {"device": "vdev:net_null0"}}}  # the dataplane need not be restarted for the NICs
CONFIG = {**NONE, "uplinks": {**EMPTY["uplinks"],
    "em": {"device": "pci:00:10.0"}, "vmx": {"device": "pci:" + VMX},
    "out": {"device": "pci:" + OUT, "address": "203.0.113.2/24", "gateway": "203.0.113.1"}}, "tenants": {"acme": {
        "segments": {"web": {"mode": "bridged", "uplink": "em"}, "lab": {"mode": "bridged", "uplink": "vmx", "vlan": 12},
                     "app": {"mode": "nat", "uplink": "out", "subnet": "10.3.0.0/24"}},
        "ports": {"g": {"segment": "web", "tap": "tg"}, "h": {"segment": "lab", "tap": "th"}, "vm": {"segment": "web"},
                  "n": {"segment": "app", "tap": "tn", "ip": "10.3.0.2"}}}}}
SIZE, BEGIN = 256 << 10, time.monotonic()


def done(what):
    print(f"pci scene: {what}, {time.monotonic() - BEGIN:.0f} s", flush=True)


def driver(nic):
    link = f"/sys/bus/pci/devices/{nic}/driver"
    return os.path.basename(os.readlink(link)) if os.path.exists(link) else ""


def interface(nic):
    """Of the kernel, once it has one."""
    places = f"/sys/bus/pci/devices/{nic}/net/*", f"/sys/bus/pci/devices/{nic}/virtio*/net/*"
    return os.path.basename(wait_for(lambda: sum(map(glob.glob, places), []), f"an interface of {nic}")[0])


def apply(weft, config, code=0):
    result = weft.cli("config", "apply", "-f", "-", stdin=json.dumps(config), check=False)
    assert result.returncode == code, f"exit {result.returncode}\n{result.stdout}{result.stderr}\n{weft.log()}"
    return result.stderr


def refusals(weft):
    """None of them changes anything."""
    name = interface(VMX)
    for command, reason in (("addr add 192.0.2.1/24 dev", f"{name} has address 192.0.2.1"), ("addr add 2001:db8::1/64 nodad dev", "has address 2001:db8::1"),
                            ("route add default dev", f"the default route leaves by {name}")):
        ip("link", "set", name, "up")
        ip(*command.split(), name)
        assert reason in apply(weft, CONFIG, 6), reason
        ip("addr", "flush", "dev", name)
        ip("link", "set", name, "down")
    for device, reason in (("pci:00:1f.2", "is not a NIC"), ("pci:00:1e.0", "no PCI device of this host"),
                           ("pci:00:14.0", "pass by the IOMMU")):
        result = weft.cli("uplink", "add", "x", "--device", device, check=False)
        assert result.returncode == 6 and reason in result.stderr, result.stderr
    assert {nic: driver(nic) for nic in DRIVERS} == DRIVERS
    said = {item["text"] for item in weft.items("doctor") if item["check"] == "pci"}
    assert any(f"{VMX} (driver vmxnet3, interface {name}) can be an uplink" in text for text in said), said


def traffic(lan, guests):
    for guest, outside, inside in zip(guests, ("10.1.0.1", "10.2.0.1", "203.0.113.1"), ("10.1.0.2", "10.2.0.2", None)):
        wait_for(lambda: guest.ping(outside), f"{outside} answers")
        transfer(guest, lan, outside, SIZE)
        if inside:
            transfer(lan, guest, inside, SIZE)


def set_up(lan, guests):
    lan.take(interface("0000:00:14.0"), "lan0")
    lan.take(interface("0000:00:15.0"), "lan1")
    lan.take(interface("0000:00:16.0"), "lan2")
    lan.ip("link", "add", "link", "lan1", "name", "lan1.12", "type", "vlan", "id", "12")
    lan.ip("link", "set", "lan1.12", "up")
    for address, name in (("10.1.0.1/24", "lan0"), ("10.2.0.1/24", "lan1.12"), ("203.0.113.1/24", "lan2")):
        lan.ip("addr", "add", address, "dev", name)


def take_taps(guests):
    for guest, tap, address in zip(guests, ("tg", "th", "tn"), ("10.1.0.2/24", "10.2.0.2/24", "10.3.0.2/24")):
        guest.take(tap, "eth0")
        guest.ip("addr", "add", address, "dev", "eth0")
    guests[2].ip("route", "add", "default", "via", "10.3.0.1")


def uplink(weft, name):
    return weft.items("uplink", "show", name)[0]


def link(weft, lan, guests):
    monitor = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(monitor)
    os.write(monitor, b"\n")  # ends what was echoed of QEMU's greeting
    vm = weft.guest("acme/vm")
    for state in ("off", "on"):
        os.write(monitor, f"set_link card0 {state}\n".encode())
        wait_for(lambda: (uplink(weft, "em")["link"] == "up") == vm.link_up() == (state == "on"), f"link {state}")
    traffic(lan, guests)


def kill(weft):
    pid = weft.dataplane_pid()
    weft.daemon.kill()
    weft.daemon.wait()
    os.kill(pid, 9)


def start(weft, config):
    with open(weft.config_path, "w", encoding="utf-8") as text:
        json.dump(config, text)
    weft.start()


def main():
    lan, *guests = (Namespace() for _ in range(4))
    with Weft(EMPTY, expect_warnings=True) as weft:
        refusals(weft)
        done("refusals")
        set_up(lan, guests)
        apply(weft, CONFIG)
        assert all(driver(nic) == "vfio-pci" for nic in DRIVERS)
        take_taps(guests)
        traffic(lan, guests)
        done("three NICs forward")
        link(weft, lan, guests)
        done("link followed")
        pid = weft.dataplane_pid()
        os.kill(pid, 9)
        wait_for(lambda: weft.status()["dataplane"].get("pid") not in (None, pid), "another dataplane")
        traffic(lan, guests)
        done("dataplane killed")
        without = json.loads(json.dumps(CONFIG))
        del without["uplinks"]["vmx"]
        without["tenants"]["acme"]["segments"]["lab"] = {"mode": "isolated"}
        apply(weft, without)
        assert driver(VMX) == "vmxnet3" and driver(EM) == "vfio-pci", "the NIC is the host's again"
        interface(VMX)
        apply(weft, CONFIG)
        assert driver(VMX) == "vfio-pci"
        traffic(lan, guests)
        done("detached and attached")
        weft.check_counters()
        kill(weft)
        assert driver(VMX) == "vfio-pci"
        with open(f"/sys/bus/pci/devices/{VMX}/driver/unbind", "w", encoding="ascii") as unbind:
            unbind.write(VMX)  # as if the kill had come when it had no driver
        start(weft, CONFIG)
        wait_for(lambda: driver(VMX) == "vfio-pci", "taken all the same")
        kill(weft)
        done("all killed")
        start(weft, NONE)
        wait_for(lambda: {nic: driver(nic) for nic in DRIVERS} == DRIVERS, "what a killed weftd took goes back")
        apply(weft, CONFIG)
        assert driver(EM) == "vfio-pci"
    assert {nic: driver(nic) for nic in DRIVERS} == DRIVERS, "weftd gives back what it took when it ends"
    done("the end")


main()
