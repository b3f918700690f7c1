#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Uplinks on DPDK devices, as far as a host without NICs to spare shows them (tests/vm/pci_test.py has NICs): which devices
pci: refuses, and that guests follow a link that only the dataplane sees, here of DPDK's tap device.

  wd0 10.0.0.1 ── the device net_tap, uplink "lan" ── acme/web ──┬─ acme/g: the kernel's stack on a tap port, 10.0.0.2
                                                                 ├─ acme/vm1: a frontend that looks at its link status
                                  acme/own (follow-uplink: no) ──┴─ acme/vm2: another one
"""
import glob
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Namespace, ip, transfer  # noqa: E402
from netns import Host, enter  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

DEVICE, TAP = f"wd{os.getpid()}", f"wt{os.getpid()}"
CONFIG = {"version": 1, "uplinks": {"lan": {"device": f"vdev:net_tap0,iface={DEVICE}"}}, "tenants": {"acme": {
    "segments": {"web": {"mode": "bridged", "uplink": "lan"}, "own": {"mode": "bridged", "uplink": "lan", "vlan": 9, "follow-uplink": False}},
    "ports": {"g": {"segment": "web", "tap": TAP}, "vm1": {"segment": "web"}, "vm2": {"segment": "own"}}}}}


def devices(network):
    """PCI addresses of this host: NICs, or everything else."""
    for path in glob.glob("/sys/bus/pci/devices/*/class"):
        with open(path, encoding="ascii") as text:
            if (int(text.read(), 16) >> 16 == 2) == network:
                yield path.split("/")[-2]


def check_refusals(weft):
    generation = weft.status()["controller"]["generation"]

    def refused(device, reason, *options):
        result = weft.cli("uplink", "add", "x", "--device", device, *options, check=False)
        assert result.returncode == 6 and reason in result.stderr, f"{device}: {result}"

    absent = next(address for address in (f"0000:fe:{slot:02x}.7" for slot in range(31, -1, -1))
                  if not os.path.exists(f"/sys/bus/pci/devices/{address}"))
    refused("pci:" + absent, f"uplink x: {absent} is no PCI device of this host")
    refused("pci:" + absent[5:].upper(), f"uplink x: {absent} is no PCI device of this host")
    for address in list(devices(False))[:2]:
        refused("pci:" + address, f"uplink x: {address} is not a NIC (PCI class 0x")
    refused("pci:eth0", "\"eth0\" is not a PCI address, like 0000:03:00.0 or 03:00.0")
    refused("pci:0000:03:00", "is not a PCI address")
    refused("vdev:0000:03:00.0", "is a PCI device: pci:ADDRESS takes it")
    refused("vdev:net_null5", "is for pci", "--take-over", "true")
    assert weft.status()["controller"]["generation"] == generation and not os.path.exists(os.path.join(weft.run_dir, "pci"))
    told = " ".join(item["text"] for item in weft.items("doctor") if item["check"] == "pci")
    assert all(address in told for address in devices(True)), told


def check_link(weft, vm1, vm2):
    def link(up):
        return weft.items("uplink", "show", "lan")[0]["state"] == ("up" if up else "down") and vm1.link_up() == up

    ip("link", "set", DEVICE, "down")
    wait_for(lambda: link(False), "the guest sees link down")
    assert vm2.link_up(), "its segment does not follow"
    weft.cli("segment", "set", "acme/web", "--ageing", "60s")  # what the dataplane said outlives a change
    assert link(False)
    ip("link", "set", DEVICE, "up")
    wait_for(lambda: link(True), "the guest sees link up")


def check_way(guest):
    wait_for(lambda: guest.ping("10.0.0.1"), "the way out")
    transfer(guest, Host, "10.0.0.1", 1 << 20)
    transfer(Host, guest, "10.0.0.2", 1 << 20)


def main():
    enter(sys.argv)
    with Namespace() as guest, Weft(CONFIG, expect_warnings=True) as weft:
        guest.take(TAP, "eth0")
        guest.ip("addr", "add", "10.0.0.2/24", "dev", "eth0")
        guest.run("ethtool", "-K", "eth0", "tso", "off")  # net_tap of DPDK 22.11 drops segments that fill its MTU
        ip("addr", "add", "10.0.0.1/24", "dev", DEVICE)
        ip("link", "set", DEVICE, "up")
        vm1, vm2 = weft.guest("acme/vm1"), weft.guest("acme/vm2")
        check_way(guest)
        check_refusals(weft)
        check_link(weft, vm1, vm2)
        check_way(guest)


main()
