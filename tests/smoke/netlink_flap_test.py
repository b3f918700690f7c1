#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The way out follows the kernel: 10,000 changes of links, addresses, routes and neighbours, with weftd running and with
weftd stopped (so that the kernel loses most of their events). What the dataplane holds is then what ip(8) shows.

  guests ── acme/app (nat) ── lan0 ── lan1
"""
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from netns import enter, run  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

CONFIG = {"version": 1, "uplinks": {"lan": {"device": "af_packet:lan0"}}, "tenants": {"acme": {
    "segments": {"app": {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan"}}}}}
ROUNDS = 1250  # of eight changes each


def batch(last):
    """Eight changes a round; of the last hundred rounds, what they add stays."""
    lines = []
    for i in range(ROUNDS):
        low = 10 + i % 100
        lines += [f"link set lan0 address 02:00:00:00:02:{i % 256:02x}" if i < ROUNDS - 100 else "link set lan1 up",
                  f"link set lan0 mtu {1300 + i % 100}", f"addr replace 192.0.2.{low}/24 dev lan0",
                  f"route replace 198.51.{low}.0/24 via 192.0.2.{1 + i % 3} dev lan0",
                  f"neigh replace 192.0.2.{low + 110} lladdr 02:00:00:00:{last:02x}:{low:02x} dev lan0 nud permanent"]
        if i < ROUNDS - 100:
            lines += [f"addr del 192.0.2.{low}/24 dev lan0", f"route del 198.51.{low}.0/24 dev lan0",
                      f"neigh del 192.0.2.{low + 110} dev lan0"]
            if i % 25 == 0:
                lines += ["link set lan0 down", "link set lan0 up"]  # the kernel forgets routes and neighbours
    lines += ["route replace default via 192.0.2.1 dev lan0"]
    return "\n".join(lines) + "\n"


def flap(last):
    done = subprocess.run(["ip", "-batch", "-"], input=batch(last), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def kernel():
    routes = {(r["dst"] if "/" in r["dst"] else "0.0.0.0/0" if r["dst"] == "default" else r["dst"] + "/32", r.get("gateway"))
              for r in json.loads(run("ip", "-4", "-j", "route", "show", "dev", "lan0").stdout)}
    neighbours = {(n["dst"], n["lladdr"]) for n in json.loads(run("ip", "-4", "-j", "neigh", "show", "dev", "lan0").stdout)
                  if "lladdr" in n and "FAILED" not in n["state"]}
    address = [a for a in json.loads(run("ip", "-4", "-j", "addr", "show", "dev", "lan0").stdout)[0]["addr_info"]
               if not a.get("secondary")][0]["local"]
    return routes, neighbours, address


def dataplane(weft):
    def ipv4(address):
        return ipaddress.ip_network(address).version == 4
    routes = {(r["prefix"], r.get("next_hop")) for r in weft.items("route", "list")
              if r["interface"] == "lan" and ipv4(r["prefix"])}
    neighbours = {(n["address"], n["mac"]) for n in weft.items("neighbour", "list")
                  if n["interface"] == "lan" and n["state"] == "kernel" and ipv4(n["address"])}
    nat = weft.items("uplink", "show", "lan")[0]["nat"]
    return routes, neighbours, nat[0]["address"]


def settles(weft, what):
    began = time.monotonic()
    wait_for(lambda: dataplane(weft) == kernel(), f"{what}: the dataplane holds what the kernel shows")
    print(f"{what}: equal {time.monotonic() - began:.2f} s after the last change")


def main():
    enter(sys.argv)
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    for command in ("link set lan1 up", "link set lan0 up", "addr add 192.0.2.9/24 dev lan0"):
        run("ip", *command.split())
    with Weft(CONFIG) as weft:
        settles(weft, "at the start")
        generation = weft.status()["controller"]["generation"]
        flap(1)
        settles(weft, "weftd running")
        weft.daemon.send_signal(signal.SIGSTOP)
        flap(2)
        weft.daemon.send_signal(signal.SIGCONT)
        settles(weft, "weftd stopped meanwhile")
        assert len(kernel()[0]) > 50 and len(kernel()[1]) >= 100, kernel()
        assert weft.status()["controller"]["generation"] == generation, "the kernel's changes made a generation"


main()
