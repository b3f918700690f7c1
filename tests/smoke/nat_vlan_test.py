#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two tenants leave by NAT in two VLANs of one interface that the host uses untagged. Both have the same subnet, the same
outside address and the same gateway; each reaches its own VLAN and is reached from there.

  lan0 ── up0 10.0.0.9, uplink "lan" ─┬─ VLAN 120, uplink "red"   acme/app   acme/g        red: v120  } both 203.0.113.1
  (lan)                               └─ VLAN 121, uplink "blue"  beta/app   beta/g        blue: v121 } and 198.51.100.9

usage: nat_vlan_test.py [af_packet | af_xdp]
"""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Namespace, ip, reserved  # noqa: E402
from netns import enter  # noqa: E402
from vlans import Vlans  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

KIND, TAPS = sys.argv[1] if len(sys.argv) > 1 else "af_packet", {"acme": f"wa{os.getpid()}", "beta": f"wb{os.getpid()}"}
OWN = {"address": "203.0.113.2/24", "gateway": "203.0.113.1"}


def tenant(name, uplink, nat):
    return {"segments": {"app": {"mode": "nat", "uplink": uplink, "subnet": "10.0.1.0/24"}},
            "ports": {"g": {"segment": "app", "tap": TAPS[name], "ip": "10.0.1.10"}}, "nat": {"app": nat}}


CONFIG = {"version": 1, "uplinks": {"lan": {"device": KIND + ":up0"}, "red": {"device": "vlan:lan.120", **OWN},
                                    "blue": {"device": "vlan:lan.121", **OWN}}, "tenants": {
    "acme": tenant("acme", "red", {"forwards": [{"proto": "tcp", "port": 8443, "to": "g:443"}]}),
    "beta": tenant("beta", "blue", {"one-to-one": {"g": "203.0.113.7"}})}}


def connect(client, server, listens, to):
    """Bytes through a connection both ways; where the server sees it come from."""
    with server.socket(socket.AF_INET, socket.SOCK_STREAM) as listener, \
            client.socket(socket.AF_INET, socket.SOCK_STREAM) as near:
        listener.bind(listens)
        listener.listen(1)
        near.settimeout(60)
        near.connect(to)
        far, peer = listener.accept()
        far.settimeout(60)
        for source, sink in ((near, far), (far, near)):
            source.sendall(b"x" * 20000)
            assert len(sink.makefile("rb").read(20000)) == 20000
        far.close()
    return peer[0]


def refused(client, to):
    with client.socket(socket.AF_INET, socket.SOCK_STREAM) as near:
        near.settimeout(1)
        return near.connect_ex(to) != 0


def main():
    enter(sys.argv)
    with Namespace() as lan, Namespace() as red, Namespace() as blue, Namespace() as acme, Namespace() as beta:
        lan.veth("up0", "lan0")
        lan.ip("addr", "add", "10.0.0.1/24", "dev", "lan0")
        ip("addr", "add", "10.0.0.9/24", "dev", "up0")
        with Vlans(lan, "lan0", {120: red, 121: blue}), Weft(CONFIG) as weft:
            for vid, place in ((120, red), (121, blue)):
                place.ip("addr", "add", "203.0.113.1/24", "dev", f"v{vid}")
                place.ip("addr", "add", "198.51.100.9/32", "dev", "lo")
            for name, guest in (("acme", acme), ("beta", beta)):
                guest.guest(TAPS[name], "10.0.1.10/24")
                guest.run("ethtool", "-K", "eth0", "tx", "off")
                guest.ip("route", "add", "default", "via", "10.0.1.1")
            server = ("198.51.100.9", 80)
            assert connect(acme, red, server, server) == "203.0.113.2"
            assert connect(beta, blue, server, server) == "203.0.113.7"
            assert connect(red, acme, ("10.0.1.10", 443), ("203.0.113.2", 8443)) == "203.0.113.1"
            assert connect(blue, beta, ("10.0.1.10", 443), ("203.0.113.7", 443)) == "203.0.113.1"
            assert red.ping("203.0.113.2", wait=60) and blue.ping("203.0.113.2", wait=60), "the router's address"
            assert refused(blue, ("203.0.113.2", 8443)) and refused(red, ("203.0.113.7", 443)), "the other's"
            assert lan.ping("10.0.0.9", wait=60), "the host"
            assert not reserved(), "no port of the host is used"
            show = weft.items("uplink", "show", "red")[0]
            assert show["state"] == "up" and show["segments"] == ["acme/app"] and "rx_packets" not in show, show
            assert [nat["address"] for nat in show["nat"]] == ["203.0.113.2"], show
            assert {s["uplink"] for s in weft.items("sessions", "list", "-T", "acme")} == {"red"}
            used = weft.cli("uplink", "del", "lan", check=False)
            assert used.returncode == 4 and "uplink red" in used.stderr and "uplink blue" in used.stderr, used
            weft.cli("uplink", "set", "blue", "--mtu", "1400")
            wait_for(lambda: weft.items("uplink", "show", "blue")[0]["mtu"] == 1400, "its own MTU")


main()
