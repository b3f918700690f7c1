#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Guests of two tenants on the two ends of one cable, each behind an uplink with VLAN 120: segments and checksums at the
border. Both kinds of uplink let them pass whole, AF_XDP as it copies here; the kernel cuts them to the MTU.

  acme/g 10.0.0.1 ── acme/web ── uplink near: up0 ════ far0 :uplink far ── beta/web ── beta/g 10.0.0.2

usage: uplink_offload_test.py [af_packet | af_xdp]
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Namespace, ip, sysctl, transfer  # noqa: E402
from netns import enter  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

KIND, SIZE = sys.argv[1] if len(sys.argv) > 1 else "af_packet", 16 << 20
TAPS = {"acme": f"wa{os.getpid()}", "beta": f"wb{os.getpid()}"}


def tenant(uplink, tap):
    return {"segments": {"web": {"mode": "bridged", "uplink": uplink, "vlan": 120}}, "ports": {"g": {"segment": "web", "tap": tap}}}


CONFIG = {"version": 1, "uplinks": {"near": {"device": KIND + ":up0"}, "far": {"device": KIND + ":far0"}},
          "tenants": {"acme": tenant("near", TAPS["acme"]), "beta": tenant("far", TAPS["beta"])}}


def main():
    enter(sys.argv)
    ip("link", "add", "up0", "type", "veth", "peer", "name", "far0")
    for end in ("up0", "far0"):
        ip("link", "set", end, "up")
        sysctl(f"ipv6/conf/{end}/disable_ipv6", 1)
        if KIND == "af_xdp":
            subprocess.run(["ethtool", "-K", end, "tx", "off"], check=True)  # as a wire: XDP sees no checksum left undone
    with Namespace() as here, Namespace() as there, Weft(CONFIG) as weft:
        here.guest(TAPS["acme"], "10.0.0.1/24", "fd00::1/64")
        there.guest(TAPS["beta"], "10.0.0.2/24", "fd00::2/64")
        here.run("sysctl", "-qw", "net.ipv4.tcp_min_tso_segs=44")  # segments as long as they get, whatever the pace
        for address in ("10.0.0.2", "fd00::2"):
            wait_for(lambda to=address: here.ping(to), "ping")
            before = weft.items("uplink", "show", "near")[0]
            transfer(here, there, address, SIZE)
            after = weft.items("uplink", "show", "near")[0]
            sent = {key: after[key] - before[key] for key in ("tx_packets", "tx_bytes", "tx_segments")}
            print(KIND, address, sent)
            assert sent["tx_bytes"] > SIZE
            assert sent["tx_segments"] == 0 and sent["tx_bytes"] / sent["tx_packets"] > 4000, "segments did not pass whole"
        errors = there.run("nstat", "-asz").stdout.splitlines()
        assert not [line for line in errors if "CsumErr" in line and line.split()[1] != "0"], errors


main()
