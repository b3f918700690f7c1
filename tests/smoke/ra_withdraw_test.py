#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What guests were advertised and is not so any more is taken back: routers, prefixes, at once.

  guest (SLAAC, a kernel) ── acme/app (NAT, fd00:1::/64)
  lone  (SLAAC, a kernel) ── acme/adm (host-only, fd00:3::/64)
"""
import copy
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import netns  # noqa: E402
from nat6_scene import Scene6, configured  # noqa: E402
from netns import run  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

MACS = {"guest": "52:54:00:00:16:00", "lone": "52:54:00:00:16:01"}
TAPS = {name: f"w{name[:2]}{os.getpid()}" for name in MACS}
LOW = {"guest": "5054:ff:fe00:1600", "lone": "5054:ff:fe00:1601"}
CONFIG = {"version": 1, "uplinks": {"lan0": {"device": "af_packet:lan0"}}, "tenants": {"acme": {
    "segments": {"app": {"mode": "nat", "subnet": ["10.0.1.0/24", "fd00:1::/64"], "uplink": "lan0", "ipv6": "nat"},
                 "adm": {"mode": "host-only", "subnet": ["10.0.3.0/24", "fd00:3::/64"]}, "web": {"mode": "isolated"}},
    "ports": {"guest": {"segment": "app", "tap": TAPS["guest"], "mac": MACS["guest"]},
              "lone": {"segment": "adm", "tap": TAPS["lone"], "mac": MACS["lone"]}}}}}


def routes(space):
    """Of what routers said: default, and prefixes on the link."""
    shown = json.loads(space.run("ip", "-6", "-j", "route", "show", "proto", "ra").stdout or "[]")
    kernel = json.loads(space.run("ip", "-6", "-j", "route", "show", "proto", "kernel").stdout or "[]")
    return sorted(r["dst"] for r in shown + kernel if r["dst"] == "default" or r["dst"].startswith("fd00"))


def deprecated(space, prefix):
    """The guest's address of the prefix is not for what is new."""
    shown = json.loads(space.run("ip", "-6", "-j", "addr", "show", "dev", "eth0").stdout)
    own = [a for a in shown[0]["addr_info"] if a["local"].startswith(prefix)]
    return bool(own) and all(a.get("deprecated") for a in own)


def soon(space, wanted):
    wait_for(lambda: routes(space) == sorted(wanted), f"routes {sorted(wanted)}, not {routes(space)}")


def apply(weft, config):
    weft.cli("config", "apply", "-f", "-", stdin=json.dumps(config))


def attach(spaces):
    for name, tap in TAPS.items():
        wait_for(lambda tap=tap: os.path.exists(f"/proc/sys/net/ipv6/conf/{tap}"), tap)
        run("ip", "link", "set", tap, "netns", spaces[name].pid, "name", "eth0", "address", MACS[name])
        spaces[name].run("ip", "link", "set", "eth0", "up")
    configured(spaces["guest"], f"fd00:1::{LOW['guest']}/64", router=True)
    configured(spaces["lone"], f"fd00:3::{LOW['lone']}/64", router=False)


def main():
    netns.enter(sys.argv)
    with netns.Network() as net:
        Scene6(net)
        with Weft(CONFIG) as weft:
            spaces = {name: net.namespace(name) for name in TAPS}
            guest, lone = spaces["guest"], spaces["lone"]
            attach(spaces)
            soon(guest, ["default", "fd00:1::/64"])
            config = copy.deepcopy(CONFIG)
            acme = config["tenants"]["acme"]

            acme["segments"]["app"]["subnet"][1] = "fd00:2::/64"  # another prefix: the router stays
            apply(weft, config)
            soon(guest, ["default", "fd00:2::/64"])
            assert deprecated(guest, "fd00:1:") and not deprecated(guest, "fd00:2:")

            acme["segments"]["app"] = {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan0"}  # no IPv6
            apply(weft, config)
            soon(guest, [])
            assert deprecated(guest, "fd00:2:")

            acme["segments"]["app"] = CONFIG["tenants"]["acme"]["segments"]["app"]  # and again
            apply(weft, config)
            soon(guest, ["default", "fd00:1::/64"])
            assert not deprecated(guest, "fd00:1:")

            del acme["segments"]["app"], acme["segments"]["adm"]  # the segments go, the ports are of another one
            acme["ports"]["guest"]["segment"] = acme["ports"]["lone"]["segment"] = "web"
            apply(weft, config)
            soon(guest, [])
            soon(lone, [])


main()
