#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Isolation: every port sends every kind of frame; what each other port receives is what an independent model says.

  acme: w1 (mac, ip)  w2 (mac)  w3    in web (VLAN 10)        beta: w1 (the same mac and ip as acme/w1)  w2  in web
        d1 (mac)                      in db  (VLAN 20)              tr  trunk web, db (the same VLAN numbers)
        tr  trunk web, db             i1 i2 i3 in lone: i1, i2 are isolated from each other, i3 is not

A frame is (source, destination, tags, payload kind); all combinations are sent.
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from guest import mac  # noqa: E402
from isolation_model import CONFIG, DESTINATIONS, M, PAYLOADS, SOURCES, TAGS, Model, parse, payload  # noqa: E402
from weft import Weft  # noqa: E402


def main():
    model, marker, sent, deliveries, wrong = Model(), 0, 0, 0, []
    with Weft(CONFIG) as weft:
        guests = {name: weft.guest(name, ring_size=1024) for name in M}
        for port in M:
            spoofed = M["acme/w2"] if port != "acme/w2" else M["acme/w1"]
            kinds = [(s, d, t, p) for s in SOURCES for d in DESTINATIONS for t in TAGS for p in PAYLOADS]
            for start in range(0, len(kinds), 240):
                expected = {}
                for origin, destination, tags, kind in kinds[start:start + 240]:
                    source = {"own": M[port], "spoofed": spoofed, "group": "01:00:00:00:00:09"}[origin]
                    marker += 1
                    frame = mac(destination) + mac(source) + b"".join(struct.pack("!HH", 0x8100, vid) for vid in tags)
                    guests[port].send(frame + payload(kind, port, mac(source), struct.pack("!I", marker)))
                    for out, out_tags in model.deliver(port, source, destination, tags, kind).items():
                        expected[marker, out] = (out_tags, (port, origin, destination, tags, kind))
                    sent += 1
                wanted = {out: sum(1 for _, o in expected if o == out) for out in M}
                for name, guest in guests.items():
                    # all that is expected, then whatever comes in the time a stray frame would need
                    frames = guest.receive(60.0, wanted[name]) if wanted[name] else []
                    frames += guest.receive(0.004)
                    for frame in frames:
                        number, tags = parse(frame)
                        deliveries += 1
                        if expected.pop((number, name), (None,))[0] != tags:
                            wrong.append(f"{name} received {frame.hex()} (tags {tags}) from {port}: not in the model")
                wrong += [f"{out} did not receive {what}" for (_, out), (_, what) in expected.items()]
                assert len(wrong) < 20, "\n".join(wrong)
        assert not wrong, "\n".join(wrong)
    print(f"{sent} frames, {deliveries} deliveries as the model says, 0 others")
    assert sent == len(M) * len(SOURCES) * len(DESTINATIONS) * len(TAGS) * len(PAYLOADS) and deliveries > 5000


main()
