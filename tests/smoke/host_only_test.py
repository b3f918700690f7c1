#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Mode host-only: the host and guests reach each other, and guests nothing beyond it, on a host that forwards. The
interface survives a killed weftd and then a killed dataplane, and goes with its segment.

  namespace "host": lan0 ── lan1 (captured)     namespace "guest": g0 ── tap port acme/vm1
                    weft-adm 192.168.56.1 ─────────── acme/adm
"""
import json
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from namespaces import Namespace, capture, enter_own, run, transfer  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

MAC = "52:54:00:00:00:01"
CONFIG = {"version": 1, "tenants": {"acme": {
    "segments": {"adm": {"mode": "host-only", "subnet": ["192.168.56.0/24", "fd00:56::/64"]}},
    "ports": {"vm1": {"segment": "adm", "tap": "g0", "mac": MAC, "ip": ["192.168.56.10", "fd00:56::10"]}}}}}
MIB = 8 << 20
NODAD = ([], ["nodad"])


def link():
    return json.loads(run("ip", "-j", "addr", "show", "weft-adm"))[0]


def both_ways(host, guest):
    for host_address, guest_address in (("192.168.56.1", "192.168.56.10"), ("fd00:56::1", "fd00:56::10")):
        assert transfer(guest, host, guest_address, MIB) == MIB
        assert transfer(host, guest, host_address, MIB) == MIB


def set_up_guest(guest):
    run("ip", "link", "set", "g0", "netns", guest.name)
    guest.run("ip", "link", "set", "g0", "up", "address", MAC)
    for mine, gateway in (("192.168.56.10/24", "192.168.56.1"), ("fd00:56::10/64", "fd00:56::1")):
        guest.run("ip", "addr", "add", mine, "dev", "g0", *NODAD[":" in mine])
        guest.run("ip", "route", "add", "default", "via", gateway)


def set_up_host(host):
    host.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    host.run("ip", "link", "set", "lan1", "up")
    host.run("ip", "link", "set", "lan0", "up")
    for mine, other in (("203.0.113.2/24", "203.0.113.9"), ("2001:db8::2/64", "2001:db8::9")):
        host.run("ip", "addr", "add", mine, "dev", "lan0", *NODAD[":" in mine])
        host.run("ip", "neigh", "add", other, "lladdr", "02:00:00:00:00:09", "dev", "lan0")
    for value in "01":  # a change, after weft: the kernel sets it at every interface
        host.run("sysctl", "-qw", f"net.ipv4.ip_forward={value}", f"net.ipv6.conf.all.forwarding={value}")


def main():
    enter_own()
    with Namespace() as host, Namespace("guest") as guest, Weft(CONFIG, expect_warnings=True) as weft:
        set_up_guest(guest)
        set_up_host(host)
        both_ways(host, guest)
        for family, outside, inside in ((socket.AF_INET, "203.0.113.9", "192.168.56.1"),
                                        (socket.AF_INET6, "2001:db8::9", "fd00:56::1")):
            with capture("lan1") as seen, guest.socket(family, socket.SOCK_DGRAM) as outward, \
                    host.socket(family, socket.SOCK_DGRAM) as own:
                own.bind((inside, 0))
                own.settimeout(20)
                outward.sendto(b"leaks", (outside, 9))
                outward.sendto(b"comes after it", own.getsockname()[:2])
                assert own.recv(100) == b"comes after it"
                own.sendto(b"the host's own", (outside, 9))
                seen.wait(lambda frame: b"the host's own" in frame)
                assert not seen.any(lambda frame: b"leaks" in frame), "a guest's frame left the host"
        run("ip", "addr", "add", "192.168.57.1/24", "dev", "weft-adm")  # the administrator's, left alone
        before = link()
        weft.daemon.kill()
        weft.daemon.wait()
        weft.start()
        os.kill(weft.dataplane_pid(), 9)
        wait_for(lambda: weft.status()["dataplane"]["restarts"] == 1 and weft.status()["dataplane"]["converged"],
                 "the dataplane is back", 30)
        after = link()
        for key in ("ifindex", "address", "mtu"):
            assert before[key] == after[key], (before, after)
        assert [a["local"] for a in before["addr_info"]] == [a["local"] for a in after["addr_info"]], (before, after)
        set_up_guest(guest)  # its tap is made again, where weft runs
        both_ways(host, guest)
        weft.cli("segment", "del", "acme/adm", "--cascade")
        wait_for(lambda: "weft-adm" not in run("ip", "link"), "the interface goes with its segment")
        assert "weft-adm" not in run("ip", "rule") + run("ip", "-6", "rule")


main()
