# SPDX-License-Identifier: BSD-3-Clause
"""Access, trunk and native ports, every kind of frame that they send, and where each goes: a model of IEEE 802.1Q that
shares no code with the switch."""
import struct

from guest import ethernet

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


def stricter(ingress, tags, outputs):
    """What OVS delivers less what weft refuses on purpose: a tag hidden behind a priority tag on an access port, and an
    inner tag that would be the outer one on a trunk's native VLAN (VLAN hopping)."""
    native, tagged = PORTS[ingress]
    vid = tags[0][1] & 0xfff if tags and tags[0][1] & 0xfff else native
    if not tagged and len(tags) > 1:
        return {}
    return {port: out for port, out in outputs.items() if not (port == "t2" and vid == PORTS["t2"][0] and out)}
