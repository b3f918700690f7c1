#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""coturn's natdiscovery (RFC 5780) says what kind of NAT weft is, by each kind of filtering.

  acme/guest (filtering by address and port) ─┐
  bolt/other (endpoint-independent)          ─┴ lan0 ── edge ── far: a STUN server with two addresses
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import netns  # noqa: E402
from nat_scene import Scene, udhcpc  # noqa: E402
from weft import Weft, skip, wait_for  # noqa: E402

TAPS = {"guest": f"wg{os.getpid()}", "other": f"wo{os.getpid()}"}
APP = {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan0"}
CONFIG = {"version": 1, "uplinks": {"lan0": {"device": "af_packet:lan0"}}, "tenants": {
    "acme": {"segments": {"app": APP}, "ports": {"guest": {"segment": "app", "tap": TAPS["guest"]}}},
    "bolt": {"segments": {"app": APP}, "ports": {"other": {"segment": "app", "tap": TAPS["other"]}},
             "nat": {"app": {"filtering": "endpoint-independent"}}}}}


def discover(space, *options):
    return space.run("turnutils_natdiscovery", *options, "198.51.100.9", check=False).stdout


def main():
    netns.enter(sys.argv)
    if subprocess.run(["which", "turnserver"], stdout=subprocess.DEVNULL, check=False).returncode:
        skip("coturn is not installed")
    with netns.Network() as net:
        scene = Scene(net)
        scene.far.run("ip", "addr", "add", "198.51.100.10/24", "dev", "eth0")
        with Weft(CONFIG) as weft:
            scene.far.popen("turnserver", "-n", "--stun-only", "-L", "198.51.100.9", "-L", "198.51.100.10", "--no-cli",
                            "--no-tls", "--no-dtls", "--log-file", os.path.join(weft.directory, "turn.log"),
                            "--pidfile", os.path.join(weft.directory, "turn.pid"), stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
            spaces = {name: net.namespace(name) for name in TAPS}
            for name, tap in TAPS.items():
                spaces[name].take(tap, "eth0")
                udhcpc(spaces[name])
            wait_for(lambda: "reflexive" in discover(spaces["guest"], "-m"), "the STUN server")
            for name in TAPS:
                found = discover(spaces[name], "-m")
                assert "NAT with Endpoint Independent Mapping!" in found, found
            found = discover(spaces["guest"], "-f")
            assert "NAT with Address and Port Dependent Filtering!" in found, found
            found = discover(spaces["other"], "-f")
            assert "NAT with Endpoint Independent Filtering!" in found, found
            print("endpoint-independent mapping; filtering as configured")


main()
