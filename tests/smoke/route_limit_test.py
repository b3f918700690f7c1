#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The host has 10,000 routes by an uplink, more than an interface takes: links and the most general ones are used, what
is left out is counted and said, and nothing fails because of it.

  guests ── acme/app (nat) ── lan0 192.0.2.9 ── lan1
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from netns import enter, run  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

ROUTES, MOST = 10000, 1024
CONFIG = {"version": 1, "uplinks": {"lan": {"device": "af_packet:lan0"}}, "tenants": {"acme": {
    "segments": {"app": {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan"}}}}}
GENERAL = {("0.0.0.0/0", "192.0.2.1"), ("203.0.113.0/24", None), ("198.0.0.0/8", "192.0.2.2"), ("198.64.0.0/10", "192.0.2.3")}


def batch(verb):
    many = [f"route {verb} 198.18.{i // 250}.{1 + i % 250}/32 via 192.0.2.{1 + i % 3} dev lan0" for i in range(ROUTES)]
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(many) + "\n", text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def routes(weft):
    """Beside the interface's own network, which is no route."""
    return {(r["prefix"], r.get("next_hop")) for r in weft.items("route", "list")
            if r["interface"] == "lan" and r["prefix"] != "192.0.2.0/24"}


def uplink(weft):
    return weft.items("uplink", "show", "lan")[0]


def main():
    enter(sys.argv)
    with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w", encoding="ascii") as setting:
        setting.write("1")
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    for command in ("link set lan1 up", "link set lan0 up", "addr add 192.0.2.9/24 dev lan0"):
        run("ip", *command.split())
    for prefix, hop in GENERAL:
        run("ip", "route", "add", prefix, *(["via", hop] if hop else []), "dev", "lan0")
    batch("add")
    with Weft(CONFIG, expect_warnings=True) as weft:
        assert GENERAL <= routes(weft) and len(routes(weft)) == MOST, len(routes(weft))
        assert uplink(weft)["routes_left_out"] == ROUTES + len(GENERAL) - MOST
        weft.cli("port", "add", "acme/vm1", "--segment", "app")
        assert weft.status()["dataplane"]["converged"]
        assert any("routes" in text for text in weft.status()["warnings"]), weft.status()["warnings"]
        run("ip", "route", "add", "100.64.0.0/10", "via", "192.0.2.7", "dev", "lan0")  # takes the place of one of the many
        wait_for(lambda: ("100.64.0.0/10", "192.0.2.7") in routes(weft), "a general route that came late")
        assert len(routes(weft)) == MOST and GENERAL <= routes(weft)
        batch("del")
        wait_for(lambda: routes(weft) == GENERAL | {("100.64.0.0/10", "192.0.2.7")}, "few routes again")
        assert "routes_left_out" not in uplink(weft) and not weft.status()["warnings"], weft.status()
        events = map(json.loads, weft.cli("events", "-o", "json").stdout.splitlines())
        said = [event["text"] for event in events if event["type"] == "routes-left-out"]
        assert len(said) == 2 and str(MOST) in said[0] and "again" in said[1], said
        print(said)


main()
