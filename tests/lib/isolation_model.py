# SPDX-License-Identifier: BSD-3-Clause
"""Ports of two tenants, the kinds of frames that they send, and where each frame goes: a model that is written from
docs/design.md and shares no code with the switch. What the ports are for: smoke/isolation_test.py.
"""
import struct

from guest import mac

M = {name: f"52:54:00:00:02:{i:02x}" for i, name in enumerate(
    ["acme/w1", "acme/w2", "acme/w3", "acme/d1", "acme/tr", "acme/i1", "acme/i2", "acme/i3", "beta/w2", "beta/tr"], 1)}
M["beta/w1"] = M["acme/w1"]
IP = {name: f"10.0.0.{i}" for i, name in enumerate(M, 1)}
IP["beta/w1"] = IP["acme/w1"]
GUARDED_MAC = {"acme/w1", "acme/w2", "acme/d1", "beta/w1"}
GUARDED_IP = {"acme/w1", "beta/w1"}
ISOLATED = {"acme/i1", "acme/i2"}
TRUNKS = {"acme/tr", "beta/tr"}
SEGMENT = {"w": "web", "d": "db", "i": "lone"}
VLAN = {10: "web", 20: "db"}
CONFIG = {"version": 1, "tenants": {
    "acme": {"segments": {"web": {"mode": "isolated", "vlan": 10}, "db": {"mode": "isolated", "vlan": 20},
                          "lone": {"mode": "isolated"}},
             "ports": {"w1": {"segment": "web", "mac": M["acme/w1"], "ip": IP["acme/w1"]},
                       "w2": {"segment": "web", "mac": M["acme/w2"]}, "w3": {"segment": "web"},
                       "d1": {"segment": "db", "mac": M["acme/d1"]}, "tr": {"trunk": ["web", "db"]},
                       "i1": {"segment": "lone", "isolated": True}, "i2": {"segment": "lone", "isolated": True},
                       "i3": {"segment": "lone"}}},
    "beta": {"segments": {"web": {"mode": "isolated", "vlan": 10}, "db": {"mode": "isolated", "vlan": 20}},
             "ports": {"w1": {"segment": "web", "mac": M["beta/w1"], "ip": IP["beta/w1"]}, "w2": {"segment": "web"},
                       "tr": {"trunk": ["web", "db"]}}}}}
TAGS = [(), (0,), (10,), (20,), (30,), (10, 20), (20, 10)]
DESTINATIONS = sorted(set(M.values())) + ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05", "33:33:00:00:00:01",
                                          "52:54:00:77:77:77", "01:80:c2:00:00:00", "01:80:c2:00:00:0e"]
PAYLOADS = ["ipv4", "ipv4-spoofed", "arp", "arp-spoofed-ip", "arp-spoofed-mac", "ipv6", "llc", "other"]
SOURCES = ["own", "spoofed", "group"]
FLOODED = 0xff


def ipv4(text):
    return bytes(int(part) for part in text.split("."))


def payload(kind, port, source, marker):
    """EtherType (or LLC length) and the bytes after it; the marker is at the end."""
    own, other = ipv4(IP[port]), ipv4("10.0.0.99")
    if kind.startswith("ipv4"):
        header = struct.pack("!BBHHHBBH", 0x45, 0, 46, 0, 0, 64, 253, 0) + (other if "spoof" in kind else own) + ipv4("10.0.0.7")
        return struct.pack("!H", 0x0800) + header + bytes(22) + marker
    if kind.startswith("arp"):
        sender = mac("52:54:00:66:66:66") if kind == "arp-spoofed-mac" else source
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + sender + (other if kind == "arp-spoofed-ip" else own) + bytes(6) + ipv4("10.0.0.7")
        return struct.pack("!H", 0x0806) + body + bytes(14) + marker
    if kind == "ipv6":
        header = struct.pack("!IHBB", 6 << 28, 6, 59, 64) + bytes.fromhex("20010db8") + bytes(12) + bytes.fromhex("20010db8") + bytes(12)
        return struct.pack("!H", 0x86dd) + header + b"xx" + marker
    if kind == "llc":
        return struct.pack("!H", 46) + b"\x42\x42\x03" + bytes(39) + marker
    return struct.pack("!H", 0x88b5) + bytes(42) + marker


class Model:
    def __init__(self):
        self.fdb = {("acme", "web", M["acme/w1"]): "acme/w1", ("acme", "web", M["acme/w2"]): "acme/w2",
                    ("acme", "db", M["acme/d1"]): "acme/d1", ("beta", "web", M["beta/w1"]): "beta/w1"}
        self.fixed = set(self.fdb)

    @staticmethod
    def members(tenant, segment):
        return [name for name in M if name.startswith(tenant) and (
            SEGMENT.get(name.split("/")[1][0]) == segment or (name in TRUNKS and segment in ("web", "db")))]

    def deliver(self, port, source, destination, tags, kind):
        tenant, name = port.split("/")
        if port in TRUNKS:
            if not tags or tags[0] not in VLAN:
                return {}
            segment, inner = VLAN[tags[0]], tags[1:]
        else:
            segment, inner = SEGMENT[name[0]], tags[1:] if tags[:1] == (0,) else tags
            if inner:
                return {}
        if int(source[:2], 16) & 1 or destination.startswith("01:80:c2:00:00:0"):
            return {}
        if port in GUARDED_MAC and (source != M[port] or kind == "arp-spoofed-mac"):
            return {}
        if port in GUARDED_IP and kind in ("ipv4-spoofed", "arp-spoofed-ip", "ipv6"):
            return {}
        key = tenant, segment, source
        if key in self.fixed and self.fdb[key] != port:
            return {}
        self.fdb[key] = self.fdb[key] if key in self.fixed else port
        group = int(destination[:2], 16) & 1
        known = None if group else self.fdb.get((tenant, segment, destination))
        outputs = [known] if known else self.members(tenant, segment)
        vid = next((v for v, s in VLAN.items() if s == segment), None)
        return {out: ((vid,) if out in TRUNKS else ()) + inner for out in outputs
                if out != port and not (out in ISOLATED and port in ISOLATED)}


def parse(frame):
    tags, at = [], 12
    while frame[at:at + 2] == b"\x81\x00":
        tags.append(struct.unpack_from("!H", frame, at + 2)[0] & 0xfff)
        at += 4
    return struct.unpack("!I", frame[-4:])[0], tuple(tags)
