# SPDX-License-Identifier: BSD-3-Clause
"""Guests at the ports of vlan_model.py: what each of them is delivered of all that the others send."""
import struct
import time

from guest import ethernet, mac
from vlan_model import DESTINATIONS, END, ETHERTYPE, HELLO, MACS, PORTS, C, S, frames, members


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
