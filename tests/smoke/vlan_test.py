#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""VLAN: the same frames through weft, through a model and through Open vSwitch; outputs equal, port by port.

      a10 access v10    t1 trunk 10,20            every port sends every kind of frame; what each other port
      b10 access v10    t2 trunk 10,20 native 10  receives is compared byte by byte (marker, tags)
      a20 access v20    t3 trunk 20

usage: vlan_test.py [ovs]     without: weft against the model; with: weft against OVS's userspace bridge
"""
import os
import struct
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "../lib"), os.path.join(os.path.dirname(__file__), "../../perf")]
from guest import Guest, ethernet, mac  # noqa: E402
from weft import Weft, skip  # noqa: E402

PORTS = {  # name: (native VID or None, tagged VIDs)
    "a10": (10, ()), "b10": (10, ()), "a20": (20, ()), "t1": (None, (10, 20)), "t2": (10, (20,)), "t3": (None, (20,))}
MACS = {name: f"52:54:00:00:01:{i:02x}" for i, name in enumerate(PORTS)}
C, S = 0x8100, 0x88a8
TAGS = [(), ((C, 0),), ((C, 0xa000),), ((C, 10),), ((C, 20),), ((C, 30),), ((C, 0x600a),), ((C, 10), (C, 20)),
        ((C, 20), (C, 10)), ((S, 10), (C, 20)), ((C, 20), (S, 5)), ((C, 0), (C, 10)), ((S, 30), (C, 10)), ((C, 4095),)]
DESTINATIONS = {"broadcast": "ff:ff:ff:ff:ff:ff", "multicast": "01:00:5e:01:02:03", "unknown": "52:54:00:99:99:99", **MACS}
ETHERTYPE, HELLO, END = 0x88b5, 0x88b6, 0x88b7


def members(vid):
    return {name: native == vid for name, (native, tagged) in PORTS.items() if vid == native or vid in tagged}


def model(ingress, tags, destination):
    """{egress: tags} for one frame: IEEE 802.1Q, 6.9 (ingress) and 8.6 (forwarding)."""
    native, tagged = PORTS[ingress]
    pcp, tpid, inner = 0, C, tags
    if tags and tags[0][1] & 0xfff:
        vid, pcp, tpid, inner = tags[0][1] & 0xfff, tags[0][1] & 0xf000, tags[0][0], tags[1:]
        if vid not in tagged and not (tagged and vid == native):
            return {}
    else:
        vid = native
        if tags:
            pcp, tpid, inner = tags[0][1] & 0xf000, tags[0][0], tags[1:]
        if inner and not tagged:
            return {}  # an access port takes no tagged frame, nor one hidden behind a priority tag
    if vid is None:
        return {}
    result = {}
    for port, untagged in members(vid).items():
        known = destination in MACS and destination in members(vid)
        if port == ingress or (known and port != destination):
            continue
        if not untagged:
            result[port] = ((tpid, pcp | vid),) + inner
        elif not (inner and PORTS[port][1]):  # no double-tag hopping over a trunk's native VLAN
            result[port] = inner
    return result


def frames(ingress):
    for number, tags in enumerate(TAGS):
        for index, (name, address) in enumerate(DESTINATIONS.items()):
            marker = struct.pack("!HH", number, index)
            yield (number, name), tags, ethernet(address, MACS[ingress], ETHERTYPE, marker + b"weft", tags)


def through(guests, ingress):
    """{name: frames} that came to each guest, when all that the ingress has sent is through: a frame that the others of its
    VLANs hear is. Twice, as a switch may hand over one batch port by port."""
    native, tagged = PORTS[ingress]
    came = {name: [] for name in guests}
    for turn in (b"first", b"again"):
        for vid in ([native] if native else []) + list(tagged):
            guests[ingress].send(ethernet("ff:ff:ff:ff:ff:ff", MACS[ingress], END, turn, ((C, vid),) if vid != native else ()))
            for name in set(members(vid)) - {ingress}:
                while not is_of(END, frame := guests[name].receive(60, 1)[0]):
                    came[name].append(frame)
    return {name: [frame for frame in came[name] + guest.receive() if not is_of(HELLO, frame)] for name, guest in guests.items()}


def is_of(ethertype, frame):
    return struct.pack("!H", ethertype) in (frame[12:14], frame[16:18])


def introduce(guests):
    """Every port is heard by all others in every VLAN it is in: learned, and their links are up."""
    deaf = {(name, other, vid) for name in guests for vid in (10, 20) if name in members(vid) for other in set(members(vid)) - {name}}
    deadline = time.monotonic() + 60
    while deaf:
        assert time.monotonic() < deadline, f"never heard: {sorted(deaf)}"
        for name, _, vid in deaf:
            guests[name].send(ethernet("ff:ff:ff:ff:ff:ff", MACS[name], HELLO, struct.pack("!H", vid),
                                       ((C, vid),) if vid != PORTS[name][0] else ()))
        for other, guest in guests.items():
            for frame in guest.receive(0.05):
                vid = struct.unpack_from("!H", frame, 14 if frame[12:14] == struct.pack("!H", HELLO) else 18)[0]
                deaf -= {(name, other, vid) for name in guests if frame[6:12] == mac(MACS[name])}


def observe(guests):
    """{(ingress, kind): {egress: tags}} of everything that is delivered."""
    introduce(guests)
    for name in guests:
        through(guests, name)
    seen = {}
    for ingress, guest in guests.items():
        for kind, _, frame in frames(ingress):
            guest.send(frame)
            seen[ingress, kind] = {}
        for name, received in through(guests, ingress).items():
            for frame in received:
                tags, at = [], 12
                while struct.unpack_from("!H", frame, at)[0] in (C, S):
                    tags.append(struct.unpack_from("!HH", frame, at))
                    at += 4
                ethertype, number, index = struct.unpack_from("!HHH", frame, at)
                assert ethertype == ETHERTYPE, frame.hex()
                key = ingress, (number, list(DESTINATIONS)[index])
                assert name not in seen[key], f"{key}: delivered twice to {name}"
                seen[key][name] = tuple(tags)
    return seen


def through_weft():
    tenant = {"segments": {"s10": {"mode": "isolated", "vlan": 10}, "s20": {"mode": "isolated", "vlan": 20}}, "ports": {}}
    for name, (native, tagged) in PORTS.items():
        if tagged:
            names = [f"s{vid}" for vid in sorted(set(tagged) | ({native} if native else set()))]
            tenant["ports"][name] = {"trunk": names, **({"native": f"s{native}"} if native else {})}
        else:
            tenant["ports"][name] = {"segment": f"s{native}"}
    with Weft({"version": 1, "tenants": {"t": tenant}}) as weft:
        return observe({name: weft.guest(f"t/{name}") for name in PORTS})


def through_ovs():
    import peers
    settings = {}
    for name, (native, tagged) in PORTS.items():
        trunks = ",".join(str(vid) for vid in tagged)
        settings[name] = ([f"tag={native}"] if native else []) + ([f"trunks={trunks}"] if tagged else []) + (
            ["vlan_mode=native-untagged"] if native and tagged else [])
    try:
        with peers.Ovs(ports=settings) as switch:
            return observe({name: Guest(path) for name, path in zip(PORTS, switch.sockets)})
    except peers.Unavailable as reason:
        skip(reason)


def stricter(ingress, tags, outputs):
    """What OVS delivers less what weft refuses on purpose: a tag hidden behind a priority tag on an access port, and an
    inner tag that would be the outer one on a trunk's native VLAN (VLAN hopping)."""
    native, tagged = PORTS[ingress]
    vid = tags[0][1] & 0xfff if tags and tags[0][1] & 0xfff else native
    if not tagged and len(tags) > 1:
        return {}
    return {port: out for port, out in outputs.items() if not (port == "t2" and vid == PORTS["t2"][0] and out)}


def main():
    reference = "ovs" if "ovs" in sys.argv else "model"
    weft = through_weft()
    wanted = through_ovs() if reference == "ovs" else {
        (ingress, kind): model(ingress, tags, kind[1]) for ingress in PORTS for kind, tags, _ in frames(ingress)}
    differences = 0
    for (ingress, (number, destination)), outputs in sorted(weft.items()):
        expected = wanted[ingress, (number, destination)]
        if reference == "ovs":
            expected = stricter(ingress, TAGS[number], expected)
        if outputs != expected:
            differences += 1
            print(f"{ingress} sends {TAGS[number]} to {destination}: weft {outputs}, {reference} {expected}")
    deliveries = sum(len(outputs) for outputs in weft.values())
    print(f"{len(weft)} frames sent, {deliveries} deliveries compared with {reference}, {differences} differences")
    assert deliveries > 400 and differences == 0


main()
