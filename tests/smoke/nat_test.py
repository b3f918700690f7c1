#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Guests behind NAT: configured by DHCP, names by DNS, TCP, UDP in fragments, ICMP, path MTU, forwards, 1:1 addresses,
hairpin; the kernel's masquerade in the same place as the reference. Topology: tests/lib/nat_scene.py.
"""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import netns  # noqa: E402
from nat_scene import Scene, udhcpc  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

TAPS = {"guest": f"wg{os.getpid()}", "peer": f"wp{os.getpid()}", "other": f"wo{os.getpid()}"}
APP = {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan0"}
CONFIG = {"version": 1, "uplinks": {"lan0": {"device": os.environ.get("WEFT_TEST_UPLINK", "af_packet:lan0")}}, "tenants": {
    "acme": {"segments": {"app": APP},
             "ports": {"guest": {"segment": "app", "tap": TAPS["guest"], "ip": "10.0.1.10"},
                       "peer": {"segment": "app", "tap": TAPS["peer"], "ip": "10.0.1.20"}},
             "nat": {"app": {"address": "uplink", "one-to-one": {"peer": "192.0.2.77"},
                             "forwards": [{"proto": "tcp", "port": 8443, "to": "peer:443"}]}}},
    "bolt": {"segments": {"app": APP}, "ports": {"other": {"segment": "app", "tap": TAPS["other"]}}}}}


def attach(spaces):
    """The tap ports go into namespaces, which are configured by DHCP."""
    for name, tap in TAPS.items():
        spaces[name].take(tap, "eth0")
        lease = udhcpc(spaces[name])
        print(name, lease)
        assert lease["router"] == lease["dns"] == "10.0.1.1" and lease["mtu"] == "1500", lease
        assert lease["ip"] == {"guest": "10.0.1.10", "peer": "10.0.1.20"}.get(name, lease["ip"]), lease


def check_names(spaces):
    """A tenant's names are its own; the rest comes from the host's resolver (edge's dnsmasq)."""
    def look(space, name):
        return space.run("busybox", "nslookup", name, "10.0.1.1", check=False).stdout
    assert "10.0.1.20" in look(spaces["guest"], "peer.acme.internal")
    assert "10.0.1.20" not in look(spaces["other"], "peer.acme.internal")
    assert "203.0.113.5" in look(spaces["other"], "www.example.net")


def check_sessions(weft, scene, spaces):
    seen, port = scene.fetch(spaces["guest"], "198.51.100.9", 80)
    found = [s for s in weft.items("sessions", "list", "-T", "acme") if s["translated"].endswith(f"{seen}:{port}")]
    assert len(found) == 1 and found[0]["inside"].startswith("10.0.1.10:"), found
    scene.fetch(spaces["other"], "198.51.100.9", 80)
    assert weft.items("sessions", "list", "--port", "bolt/other"), "a guest without ip is known by its lease"
    assert not [s for s in weft.items("sessions", "list", "-T", "bolt") if s["inside"].startswith("10.0.1.10:")]


def check_kills(weft, scene, spaces):
    """A connection through NAT lives on without the controller; a new one after a dataplane kill."""
    stream = scene.stream(spaces["guest"], "198.51.100.9", 80)
    weft.daemon.kill()
    weft.daemon.wait()
    stream.exchange(1 << 20)
    weft.start()
    stream.exchange(1 << 20)
    assert sum(worker["flow_hits"] for worker in weft.status()["workers"]), "no packet was of a known flow"
    os.kill(weft.dataplane_pid(), signal.SIGKILL)
    wait_for(weft.ready, "the dataplane again")
    attach(spaces)  # a tap in another namespace goes with the process that held it, unlike a guest
    wait_for(lambda: "ttl" in " ".join(scene.ping(spaces["guest"], "198.51.100.9")), "NAT again")


def main():
    netns.enter(sys.argv, resolv_conf="nameserver 192.0.2.1\n")
    with netns.Network() as net:
        scene = Scene(net)
        with Weft(CONFIG, expect_warnings=True) as weft:
            spaces = {name: net.namespace(name) for name in TAPS}
            attach(spaces)
            check_names(spaces)
            facts = scene.facts(spaces["guest"], spaces["peer"])
            check_sessions(weft, scene, spaces)
            check_kills(weft, scene, spaces)
            weft.check_counters()
        scene.compare(facts)


main()
