#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""VLAN: the same frames through weft, through a model and through Open vSwitch; outputs equal, port by port.

      a10 access v10    t1 trunk 10,20            every port sends every kind of frame; what each other port
      b10 access v10    t2 trunk 10,20 native 10  receives is compared byte by byte (marker, tags)
      a20 access v20    t3 trunk 20

usage: vlan_test.py [ovs]     without: weft against the model; with: weft against OVS's userspace bridge
"""
import os
import sys

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "../lib"), os.path.join(os.path.dirname(__file__), "../../perf")]
from guest import Guest  # noqa: E402
from vlan_guests import observe  # noqa: E402
from vlan_model import PORTS, TAGS, frames, model, stricter  # noqa: E402
from weft import Weft, skip  # noqa: E402


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
