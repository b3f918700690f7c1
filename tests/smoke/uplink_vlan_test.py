#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Segments of two tenants over one uplink, by tag and untagged. The same frames go through weft and through kernel
bridges, one a VLAN, whose uplink side gets them with the tag taken off; who receives what must be equal.

  lan0 ── up0, uplink "lan" ─┬─ VLAN 120  acme/office   acme/a1, a2         lan ns: raw frames, tags made here
                             ├─ VLAN 121  beta/office   beta/b1, b2         bridge ns: br0, br120, br121 with
                             └─ untagged  acme/lab      acme/c1, c2         veth pairs LAN, 1, 2 each

usage: uplink_vlan_test.py [af_packet | af_xdp]
"""
import os
import random
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from guest import ethernet  # noqa: E402
from lan import Namespace, nic, read  # noqa: E402
from netns import enter  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

KIND, STEPS, TYPE, MARK = sys.argv[1] if len(sys.argv) > 1 else "af_packet", 400, 0x88b5, b"\x88\xb5"
PORTS = {120: ("acme/a1", "acme/a2"), 121: ("beta/b1", "beta/b2"), 0: ("acme/c1", "acme/c2")}
OFFICE = {"mode": "bridged", "uplink": "lan"}
CONFIG = {"version": 1, "uplinks": {"lan": {"device": KIND + ":up0"}}, "tenants": {
    "acme": {"segments": {"office": {**OFFICE, "vlan": 120}, "lab": OFFICE}, "ports": {
        **{name: {"segment": "office"} for name in ("a1", "a2")}, **{name: {"segment": "lab"} for name in ("c1", "c2")}}},
    "beta": {"segments": {"office": {**OFFICE, "vlan": 121}}, "ports": {name: {"segment": "office"} for name in ("b1", "b2")}}}}
MACS = [f"52:54:00:00:00:{n:02x}" for n in range(12)]  # the same ones in every VLAN
TARGETS, STRANGER = MACS + ["01:00:5e:00:00:05", "01:80:c2:00:00:0e", "ff:ff:ff:ff:ff:ff"], "52:54:00:00:01:00"


def bridges(namespace):
    """{(vid, 0 for the LAN | 1 | 2): raw socket}"""
    namespace.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    ends = {}
    for vid in PORTS:
        namespace.ip("link", "add", f"br{vid}", "type", "bridge", "mcast_snooping", "0", "ageing_time", "60000")
        namespace.ip("link", "set", f"br{vid}", "up")
        for number in range(3):
            inner, outer = f"i{vid}.{number}", f"o{vid}.{number}"
            namespace.ip("link", "add", inner, "type", "veth", "peer", "name", outer)
            namespace.ip("link", "set", inner, "master", f"br{vid}", "up")
            namespace.ip("link", "set", outer, "up")
            ends[vid, number] = namespace.raw(outer)
    return ends


class Both:
    def __init__(self, weft, lan, ends):
        self.lan, self.ends = lan, ends
        self.guests = {(vid, i + 1): weft.guest(name) for vid, names in PORTS.items() for i, name in enumerate(names)}
        self.here, self.there = set(), set()

    def send(self, vid, source, frame, tags):
        if source:
            self.guests[vid, source].send(frame(()))
        else:
            self.lan.send(frame((((0x8100, vid),) if vid else ()) + tags))
        if (vid, source) in self.ends:
            self.ends[vid, source].send(frame(tags))

    def collect(self):
        """What has come so far, but for what kernels say by themselves. True: all that came through the bridges."""
        for place, end in self.ends.items():
            self.there |= {(*place, data[:12] + tag + data[12:]) for _, data, tag in read(end) if MARK in data[12:18]}
        self.here |= {(vid, 0, data) for vid, data, _ in read(self.lan) if MARK in data[12:18]}
        for place, guest in self.guests.items():
            self.here |= {(*place, data) for data in guest.receive() if MARK in data[12:18]}
        return self.there <= self.here


def main():
    enter(sys.argv)
    choose = random.Random(1)
    with Namespace() as lan, Namespace() as kernel:
        lan.veth("up0", "lan0")
        with Weft(CONFIG) as weft:
            both = Both(weft, lan.raw("lan0"), bridges(kernel))
            wait_for(lambda: weft.items("uplink", "show", "lan")[0]["state"] == "up", "the uplink")
            for step in range(STEPS):
                vid, source = choose.choice([0, 120, 121, 122]), choose.randrange(3)
                source = 0 if vid == 122 else source  # a VLAN that nobody has
                target, mine = choose.choice(TARGETS), choose.choice(MACS[source * 4:source * 4 + 4])
                mine = STRANGER if target == TARGETS[-2] else mine  # the kernel learns from link-local frames
                tags = ((0x8100, 7),) if source == 0 and vid == 120 and choose.random() < 0.3 else ()
                payload = struct.pack("!I", step) + bytes(46)
                both.send(vid, source, lambda outer, t=target, m=mine, p=payload: ethernet(t, m, TYPE, p, tags=outer), tags)
                wait_for(both.collect, f"step {step}: {vid} {source} {target} {mine} {tags}")
            both.lan.send(ethernet(nic("up0")["address"], MACS[0], TYPE, bytes(50)))  # the host's own
            both.send(120, 1, lambda outer: ethernet(TARGETS[-1], MACS[4], TYPE, b"last" + bytes(46), tags=outer), ())
            wait_for(lambda: both.collect() and any(b"last" in data for _, _, data in both.here), "the last frame")
            assert both.here == both.there, f"only through weft: {sorted(both.here - both.there)[:5]}"
            print(f"{KIND}: {STEPS} frames, {len(both.here)} copies, the same as through the kernel's bridges")


main()
