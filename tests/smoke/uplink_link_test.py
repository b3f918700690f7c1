#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An uplink's interface loses its link, changes its MTU, flaps, disappears and comes back: weft follows.

  lan0 10.0.0.1 ──────── up0, uplink "lan" ── acme/web ──┬─ acme/g: the kernel's stack on a tap port, 10.0.0.2
                                                         └─ acme/vm1: a frontend that looks at its link status
usage: uplink_link_test.py [af_packet | af_xdp]
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Namespace, check_released, ip, nic, transfer  # noqa: E402
from netns import enter  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

KIND, TAP, FLAPS = sys.argv[1] if len(sys.argv) > 1 else "af_packet", f"wt{os.getpid()}", 500
CONFIG = {"version": 1, "uplinks": {"lan": {"device": KIND + ":up0"}}, "tenants": {"acme": {
    "segments": {"web": {"mode": "bridged", "uplink": "lan"}, "own": {"mode": "isolated"}},
    "ports": {"g": {"segment": "web", "tap": TAP}, "vm1": {"segment": "web"}, "vm2": {"segment": "own"}}}}}


def uplink(weft):
    return weft.items("uplink", "show", "lan")[0]


def wait_uplink(weft, **values):
    wait_for(lambda: all(uplink(weft).get(key) == value for key, value in values.items()), f"uplink {values}")


def event(weft, kind, text, port="lan"):
    lines = weft.cli("events", "-o", "json").stdout.splitlines()
    return any(e["type"] == kind and port in e.get("port", "") and text in e["text"] for e in map(json.loads, lines))


def check_way(lan, guest):
    wait_for(lambda: lan.ping("10.0.0.2"), "the guest answers")
    transfer(lan, guest, "10.0.0.2", 1 << 20)


def main():
    enter(sys.argv)
    with Namespace() as lan, Namespace() as guest:
        lan.veth("up0", "lan0")
        lan.ip("addr", "add", "10.0.0.1/24", "dev", "lan0")
        with Weft(CONFIG, expect_warnings=True) as weft:
            guest.guest(TAP, "10.0.0.2/24")
            vm, other = weft.guest("acme/vm1"), weft.guest("acme/vm2")
            check_way(lan, guest)
            pid = weft.dataplane_pid()
            wait_for(lambda: event(weft, "port-up", "link up"), "an event")
            lan.ip("link", "set", "lan0", "down")
            wait_uplink(weft, state="down", link="down")
            wait_for(lambda: not vm.link_up() and other.link_up(), "a guest behind the uplink sees link down, others do not")
            wait_for(lambda: event(weft, "port-down", "link down"), "an event")
            lan.ip("link", "set", "lan0", "up")
            wait_uplink(weft, state="up", link="up")
            wait_for(vm.link_up, "the guest sees link up")
            check_way(lan, guest)

            lan.ip("link", "set", "lan0", "mtu", "1400")
            ip("link", "set", "up0", "mtu", "1400")
            wait_uplink(weft, mtu=1400, interface_mtu=1400)
            assert event(weft, "uplink-changed", "MTU of interface up0 is 1400, was 1500"), weft.cli("events").stdout
            check_way(lan, guest)

            for flap in range(FLAPS):
                ip("link", "set", "up0", "down" if flap % 2 == 0 else "up")
            wait_uplink(weft, state="up", link="up", mtu=1400)
            check_way(lan, guest)
            assert weft.dataplane_pid() == pid

            ip("link", "del", "up0")
            wait_uplink(weft, state="down", link="absent")
            assert weft.status()["warnings"] == ["uplink lan: there is no interface up0"], weft.status()["warnings"]
            assert event(weft, "uplink-changed", "interface up0 is gone"), weft.cli("events").stdout
            weft.cli("segment", "set", "acme/own", "--ageing", "60s")  # other changes do not need it
            lan.veth("up0", "lan0")
            lan.ip("addr", "add", "10.0.0.1/24", "dev", "lan0")
            wait_uplink(weft, state="up", link="up", mtu=1500)
            check_way(lan, guest)
            assert ("xdp" in nic("up0")) == (KIND == "af_xdp") and weft.dataplane_pid() == pid
            refused = weft.cli("uplink", "add", "lan2", "--device", "af_packet:nowhere", check=False)
            assert refused.returncode == 6 and "no interface of this host" in refused.stderr, refused
            assert weft.cli("uplink", "add", "lan2", "--device", "af_xdp:up0", check=False).returncode == 6, "up0 twice"
        check_released("up0")


main()
