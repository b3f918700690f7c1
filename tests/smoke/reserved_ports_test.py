#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""net.ipv4.ip_local_reserved_ports: what translation uses of the host's address is added to the administrator's own,
kept from programs, and taken back when it is not used any more: by a change, an orderly stop, the start after a kill.

  guests ── acme/app (nat) ── lan0 192.0.2.9 ── lan1
"""
import json
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import reserve, reserved  # noqa: E402
from netns import enter, run  # noqa: E402
from weft import Weft  # noqa: E402

OWN = "8080,40000-40010"
CONFIG = {"version": 1, "uplinks": {"lan": {"device": "af_packet:lan0", "ports": "33000-45000"}}, "tenants": {"acme": {
    "segments": {"app": {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan"}},
    "ports": {"vm1": {"segment": "app", "ip": "10.0.1.10"}}}}}
OTHERS = {"version": 1, "uplinks": CONFIG["uplinks"], "tenants": {"acme": {"segments": {"app": {"mode": "isolated"}}}}}


def check_kept_from_programs():
    """Every other port that programs are given at all is taken, then they are given none."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as setting:
        setting.write("32990 33009")
    sockets = [socket.socket() for _ in range(10)]
    for one in sockets:
        one.bind(("0.0.0.0", 0))
    ports = sorted(one.getsockname()[1] for one in sockets)
    assert ports == list(range(32990, 33000)), ports
    with socket.socket() as another:
        try:
            another.bind(("0.0.0.0", 0))
            raise AssertionError(f"a program was given port {another.getsockname()[1]}")
        except OSError as error:
            print("no port left:", error.strerror)
    for one in sockets:
        one.close()


def kill(weft):
    weft.daemon.kill()
    weft.daemon.wait()


def write(weft, config):
    with open(weft.config_path, "w", encoding="utf-8") as text:
        json.dump(config, text)


def main():
    enter(sys.argv)
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    for command in ("link set lan1 up", "link set lan0 up", "addr add 192.0.2.9/24 dev lan0"):
        run("ip", *command.split())
    reserve(OWN)
    with Weft(CONFIG, expect_warnings=True) as weft:
        assert reserved() == "8080,33000-45000", reserved()
        check_kept_from_programs()
        weft.cli("forward", "add", "acme/app", "tcp", "8443", "vm1:443")
        weft.cli("forward", "add", "acme/app", "udp", "8080", "vm1:53")
        assert reserved() == "8080,8443,33000-45000", reserved()
        kill(weft)
        weft.start()
        assert reserved() == "8080,8443,33000-45000", f"after a kill: {reserved()}"
        weft.cli("forward", "del", "acme/app", "tcp", "8443")
        weft.cli("forward", "del", "acme/app", "udp", "8080")
        assert reserved() == "8080,33000-45000", f"8080 was the administrator's: {reserved()}"
        reserve("8080,33000-45000,50000")  # the administrator adds one
        weft.cli("uplink", "set", "lan", "--ports", "40005-40020")
        assert reserved() == "8080,40000-40020,50000", reserved()
        many = ",".join(map(str, range(0, 7000, 2)))  # more than the kernel takes at one write
        reserve(f"{many},8080,40000-40020,50000")
        weft.cli("uplink", "set", "lan", "--ports", "40005-40021")
        assert reserved() == f"{many},8080,40000-40021,50000", reserved()[-100:]
        reserve("8080,40000-40021,50000")
        pid = weft.dataplane_pid()
        kill(weft)
        os.kill(pid, signal.SIGKILL)
        write(weft, OTHERS)
        weft.start()
        assert reserved() == OWN + ",50000", f"given back by the start after a kill: {reserved()}"
        write(weft, CONFIG)
        weft.cli("config", "apply", "-f", weft.config_path)
        assert reserved() == "8080,33000-45000,50000", reserved()
        weft.stop()
        assert reserved() == OWN + ",50000", f"given back by an orderly stop: {reserved()}"
        weft.start()


main()
