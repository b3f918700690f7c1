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

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "../lib"), os.path.join(os.path.dirname(__file__), "../../perf")]
from guest import Guest, ethernet  # noqa: E402
from weft import Weft, skip  # noqa: E402

PORTS = {  # name: (native VID or None, tagged VIDs)
    "a10": (10, ()), "b10": (10, ()), "a20": (20, ()), "t1": (None, (10, 20)), "t2": (10, (20,)), "t3": (None, (20,))}
MACS = {name: f"52:54:00:00:01:{i:02x}" for i, name in enumerate(PORTS)}
C, S = 0x8100, 0x88a8
TAGS = [(), ((C, 0),), ((C, 0xa000),), ((C, 10),), ((C, 20),), ((C, 30),), ((C, 0x600a),), ((C, 10), (C, 20)),
        ((C, 20), (C, 10)), ((S, 10), (C, 20)), ((C, 20), (S, 5)), ((C, 0), (C, 10)), ((S, 30), (C, 10)), ((C, 4095),)]
DESTINATIONS = {"broadcast": "ff:ff:ff:ff:ff:ff", "multicast": "01:00:5e:01:02:03", "unknown": "52:54:00:99:99:99", **MACS}
ETHERTYPE = 0x88b5


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


def observe(guests):
    """{(ingress, kind): {egress: tags}} of everything that is delivered."""
    for name, guest in guests.items():  # every port is heard in every VLAN it is in
        native, tagged = PORTS[name]
        for vid in ([0] if native else []) + list(tagged):
            guest.send(ethernet("ff:ff:ff:ff:ff:ff", MACS[name], 0x88b6, b"hello", ((C, vid),) if vid else ()))
    for guest in guests.values():
        guest.receive(0.3)
    seen = {}
    for ingress, guest in guests.items():
        for kind, _, frame in frames(ingress):
            guest.send(frame)
            seen[ingress, kind] = {}
        for name, other in guests.items():
            for frame in other.receive(0.4):
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
            return observe({name: Guest(path, timeout=30) for name, path in zip(PORTS, switch.sockets)})
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
