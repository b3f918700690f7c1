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
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Capture, transfer  # noqa: E402
from netns import Host, Namespace, enter, run  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

MAC = "52:54:00:00:00:01"
CONFIG = {"version": 1, "tenants": {"acme": {
    "segments": {"adm": {"mode": "host-only", "subnet": ["192.168.56.0/24", "fd00:56::/64"]}},
    "ports": {"vm1": {"segment": "adm", "tap": "g0", "mac": MAC, "ip": ["192.168.56.10", "fd00:56::10"]}}}}}
NODAD = ([], ["nodad"])


def link():
    return json.loads(run("ip", "-j", "addr", "show", "weft-adm").stdout)[0]


def both_ways(guest):
    for host_address, guest_address in (("192.168.56.1", "192.168.56.10"), ("fd00:56::1", "fd00:56::10")):
        transfer(Host, guest, guest_address)
        transfer(guest, Host, host_address)


def set_up_guest(guest):
    run("ip", "link", "set", "g0", "netns", guest.pid)
    guest.run("ip", "link", "set", "g0", "up", "address", MAC)
    for mine, gateway in (("192.168.56.10/24", "192.168.56.1"), ("fd00:56::10/64", "fd00:56::1")):
        guest.run("ip", "addr", "add", mine, "dev", "g0", *NODAD[":" in mine])
        guest.run("ip", "route", "add", "default", "via", gateway)


def set_up_host():
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    run("ip", "link", "set", "lan1", "up")
    run("ip", "link", "set", "lan0", "up")
    for mine, other in (("203.0.113.2/24", "203.0.113.9"), ("2001:db8::2/64", "2001:db8::9")):
        run("ip", "addr", "add", mine, "dev", "lan0", *NODAD[":" in mine])
        run("ip", "neigh", "add", other, "lladdr", "02:00:00:00:00:09", "dev", "lan0")
    for value in "01":  # a change, after weft: the kernel sets it at every interface
        run("sysctl", "-qw", f"net.ipv4.ip_forward={value}", f"net.ipv6.conf.all.forwarding={value}")


def main():
    enter(sys.argv)
    with Namespace() as guest, Weft(CONFIG, expect_warnings=True) as weft:
        set_up_guest(guest)
        set_up_host()
        wait_for(lambda: "dynamic" in guest.run("ip", "addr", "show", "dev", "g0").stdout, "an address by SLAAC as well")
        both_ways(guest)
        for family, outside, inside in ((socket.AF_INET, "203.0.113.9", "192.168.56.1"),
                                        (socket.AF_INET6, "2001:db8::9", "fd00:56::1")):
            with Capture("lan1") as seen, guest.socket(family, socket.SOCK_DGRAM) as outward, \
                    Host.socket(family, socket.SOCK_DGRAM) as own:
                own.bind((inside, 0))
                own.settimeout(60)
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
                 "the dataplane is back")
        after = link()
        for key in ("ifindex", "address", "mtu"):
            assert before[key] == after[key], (before, after)
        assert [a["local"] for a in before["addr_info"]] == [a["local"] for a in after["addr_info"]], (before, after)
        set_up_guest(guest)  # its tap is made again, where weft runs
        both_ways(guest)
        refused = weft.cli("segment", "add", "acme/lan", "--mode", "host-only", "--subnet", "203.0.113.0/25", check=False)
        assert refused.returncode == 6 and "(203.0.113.2 on lan0)" in refused.stderr, refused
        weft.cli("segment", "del", "acme/adm", "--cascade")
        wait_for(lambda: "weft-adm" not in run("ip", "link").stdout, "the interface goes with its segment")
        assert "weft-adm" not in run("ip", "rule").stdout + run("ip", "-6", "rule").stdout


main()
