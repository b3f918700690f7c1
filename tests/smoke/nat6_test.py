#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""IPv6 of the ways out: SLAAC and RDNSS, names, routes, NAT66; the kernel's masquerade in the same place as the reference.
Topology: tests/lib/nat6_scene.py, and store (fd00:2::/64) of the same tenant, other (fd00:1::/64) of another one with
ipv6: none, lone in a host-only segment (fd00:3::/64).
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import netns  # noqa: E402
from nat6_scene import ADVERTISE, Scene6, configured, connect, look, solicit  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

MACS = {name: f"52:54:00:00:06:{i:02x}" for i, name in enumerate(("guest", "peer", "store", "other", "lone"))}
TAPS = {name: f"w{name[:2]}{os.getpid()}" for name in MACS}
APP = {"mode": "nat", "subnet": ["10.0.1.0/24", "fd00:1::/64"], "uplink": "lan0", "mtu": 1400}


def port(name, segment, *addresses):
    return {"segment": segment, "tap": TAPS[name], "mac": MACS[name], **({"ip": list(addresses)} if addresses else {})}


CONFIG = {"version": 1, "uplinks": {"lan0": {"device": os.environ.get("WEFT_TEST_UPLINK", "af_packet:lan0")}}, "tenants": {
    "acme": {"segments": {"app": {**APP, "ipv6": "nat"},
                          "db": {"mode": "nat", "subnet": ["10.0.2.0/24", "fd00:2::/64"], "uplink": "lan0"},
                          "adm": {"mode": "host-only", "subnet": ["10.0.3.0/24", "fd00:3::/64"]}},
             "ports": {"guest": port("guest", "app", "10.0.1.10", "fd00:1::10"),
                       "peer": port("peer", "app", "10.0.1.20", "fd00:1::20"),
                       "store": port("store", "db"), "lone": port("lone", "adm")},
             "nat": {"app": {"address": "uplink", "one-to-one": {"peer": "2001:db8:1::77"},
                             "forwards": [{"proto": "tcp", "port": 8443, "to": "peer:443"}]}}},
    "bolt": {"segments": {"app": APP}, "ports": {"other": port("other", "app", "10.0.1.30")}}}}
ADDRESSES = {"guest": "fd00:1::10", "peer": "fd00:1::20", "store": "fd00:2::5054:ff:fe00:602",
             "other": "fd00:1::5054:ff:fe00:603", "lone": "fd00:3::5054:ff:fe00:604"}


def attach(spaces):
    """The tap ports go into namespaces, whose kernels make their addresses of weft's advertisements."""
    for name, tap in TAPS.items():
        spaces[name].take(tap, "eth0", MACS[name], up=False)
        if name in ("guest", "peer"):
            spaces[name].run("ip", "token", "set", ADDRESSES[name].replace("fd00:1", ""), "dev", "eth0")
        spaces[name].run("ip", "link", "set", "eth0", "up")
    for name, address in ADDRESSES.items():
        configured(spaces[name], f"{address}/64", router=name != "lone")


def check_answers(weft, spaces):
    """Router solicitations, a guest that speaks as a router; names, of which a tenant's are its own."""
    for name, rest in (("guest", "router=1800 mtu=1400 prefix=fd00:1::/64 flags=c0 dns=fd00:1::1"),
                       ("lone", "router=0 mtu=1500 prefix=fd00:3::/64 flags=c0")):
        assert solicit(spaces[name]) == f"hops=255 link-local=True {rest}".split(), name
    spaces["peer"].python(ADVERTISE)
    wait_for(lambda: ("acme/peer", "guard") in {(d["port"], d["reason"]) for d in weft.items("drops")}, "a named drop")
    assert "fd00:1::20" in look(spaces["guest"], "fd00:1::1", "peer.acme.internal")
    assert "fd00:1::20" not in look(spaces["other"], "fd00:1::1", "peer.acme.internal")
    assert "2001:db8:2::9" in look(spaces["other"], "fd00:1::1", "www.example.net")


def check_routes(scene, spaces):
    """Between segments of a tenant; nothing of another's, and nothing outside with ipv6: none."""
    scene.serve(spaces["store"], 80, address="::")
    assert scene.fetch(spaces["guest"], ADDRESSES["store"], 80)[0] == ADDRESSES["guest"]
    for space, target in (("other", "2001:db8:2::9"), ("other", ADDRESSES["store"]), ("store", "2001:db8:2::9")):
        assert connect(spaces[space], target, 80) == "ENETUNREACH", (space, target)
    assert scene.ping(spaces["other"], "2001:db8:2::9") == ["From fd00:1::1", "Destination unreachable: No route"]


def check_changes(weft, scene, spaces):
    """The host's address and its next hop's MAC change; a change of the segment is advertised to who does not ask."""
    scene.renumber("2001:db8:1::2", "2001:db8:1::3")
    wait_for(lambda: "2001:db8:1::3" in weft.cli("uplink", "list", "-o", "json").stdout, "the uplink's address")
    scene.move_next_hop("02:00:00:00:00:77")
    assert scene.fetch(spaces["guest"], "2001:db8:2::9", 80)[0] == "2001:db8:1::3"
    weft.cli("segment", "set", "acme/db", "--mtu", "1380")
    wait_for(lambda: spaces["store"].run("cat", "/proc/sys/net/ipv6/conf/eth0/mtu").stdout == "1380\n", "the MTU")
    scene.renumber("2001:db8:1::3", "2001:db8:1::2")


def main():
    netns.enter(sys.argv, resolv_conf="nameserver 192.0.2.1\n")
    with netns.Network() as net:
        scene = Scene6(net)
        with Weft(CONFIG, expect_warnings=True) as weft:
            spaces = {name: net.namespace(name) for name in TAPS}
            attach(spaces)
            check_answers(weft, spaces)
            check_routes(scene, spaces)
            facts = scene.facts(spaces["guest"], spaces["peer"])
            check_changes(weft, scene, spaces)
            weft.check_counters()
            assert scene.leaked() == [0, 0]
        scene.compare(facts)


main()
