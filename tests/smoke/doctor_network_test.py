#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`weft doctor` about the ways out: what is wrong with address, route, next hop, resolver, ports and subnets is said with
its remedy, and no longer when it is mended.

  acme/app (nat) ── lan0 (no address at first) ── eth0 192.0.2.1 edge, the resolver
  acme/adm (host-only) 192.168.56.0/24
"""
import json
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import netns  # noqa: E402
from lan import reserve, reserved  # noqa: E402
from netns import run  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

CONFIG = {"version": 1, "uplinks": {"lan": {"device": "af_packet:lan0", "ports": "33000-45000"}}, "tenants": {"acme": {
    "segments": {"app": {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan"},
                 "adm": {"mode": "host-only", "subnet": "192.168.56.0/24", "host-interface": f"wh{os.getpid()}"}},
    "ports": {"vm1": {"segment": "app", "ip": "10.0.1.10"}},
    "nat": {"app": {"forwards": [{"proto": "tcp", "port": 8443, "to": "vm1:443"}]}}}}}
ANSWER = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("192.0.2.1", 53))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(512); s.sendto(data[:2] + b"\\x81\\x80" + data[4:], peer)
"""


def findings(weft, check, *options):
    document = json.loads(weft.cli("doctor", *options, "-o", "json", check=False).stdout)
    return [item for item in document["items"] if item["check"] == check]


def says(weft, check, state, *words):
    """One finding of the check has that state and these words; what is wrong comes with a remedy."""
    def found():
        return [item for item in findings(weft, check) if item["state"] == state
                and all(word in item["text"] for word in words) and (state == "ok" or item["fix"])]
    wait_for(found, f"{check} {state} {words}")


def with_weft(net):
    edge = net.namespace("edge")
    net.veth(edge, "eth0", None, "lan0")
    with Weft(CONFIG, expect_warnings=True) as weft:
        says(weft, "way-out", "warning", "lan0 has no IPv4 address")
        run("ip", "addr", "add", "192.0.2.2/24", "dev", "lan0")
        says(weft, "way-out", "warning", "no IPv4 default route by lan0")
        run("ip", "route", "add", "default", "via", "192.0.2.1")
        says(weft, "way-out", "warning", "next hop 192.0.2.1 does not answer")
        says(weft, "resolver", "warning", "answers")
        edge.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        says(weft, "way-out", "ok", "192.0.2.1")
        server = edge.popen(sys.executable, "-c", ANSWER, stdout=subprocess.PIPE)
        assert server.stdout.readline() == "ready\n"
        says(weft, "resolver", "ok")
        says(weft, "subnet", "ok")
        says(weft, "forwarding", "ok", "ip_forward")

        weft.cli("segment", "set", "acme/app", "--subnet", "10.0.1.0/24,fd00:1::/64")
        says(weft, "ipv6", "warning", "acme/vm1", "no mac")
        says(weft, "ports", "ok", "33000-45000")
        with socket.socket() as program, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, \
                socket.socket() as near:
            program.bind(("0.0.0.0", 8443))
            program.listen()
            other.bind(("192.0.2.2", 40000))
            near.bind(("127.0.0.1", 40001))  # nobody outside speaks to it
            says(weft, "ports", "warning", "acme/app", "tcp port 8443")
            says(weft, "ports", "warning", "33000-45000", "udp port 40000 and hears")
        says(weft, "ports", "ok", "33000-45000")

        says(weft, "reserved-ports", "ok", "33000-45000")
        reserve("8080")
        says(weft, "reserved-ports", "warning", "33000-45000")
        says(weft, "reserved-ports", "warning", "8443")
        assert [item["state"] for item in findings(weft, "reserved-ports", "--fix")] == ["fixed"]
        assert reserved() == "8080,8443,33000-45000"
        says(weft, "reserved-ports", "ok", "33000-45000")

        run("ip", "route", "add", "10.0.1.0/25", "via", "192.0.2.1")
        says(weft, "subnet", "warning", "10.0.1.0/24 of acme/app overlaps 10.0.1.0/25 behind lan0")
        run("ip", "route", "add", "192.168.56.128/25", "via", "192.0.2.1")
        says(weft, "subnet", "warning", "192.168.56.0/24 of acme/adm overlaps 192.168.56.128/25")


def main():
    netns.enter(sys.argv, resolv_conf="nameserver 192.0.2.1\n")
    with netns.Network() as net:
        with_weft(net)


main()
