#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""One guest opens sessions up to its quota: only it is refused, others open theirs, connections that exist lose nothing.

  acme/guest (100 sessions a guest) ─┐
  acme/peer                         ─┴ acme/app (NAT) ─┐
  bolt/other                        ── bolt/app (NAT) ─┴ lan0 ── edge ── far
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import netns  # noqa: E402
from nat_scene import Scene, udhcpc  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

LIMIT = 100
TAPS = {"guest": f"wg{os.getpid()}", "peer": f"wp{os.getpid()}", "other": f"wo{os.getpid()}"}
APP = {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan0"}
CONFIG = {"version": 1, "uplinks": {"lan0": {"device": os.environ.get("WEFT_TEST_UPLINK", "af_packet:lan0")}}, "tenants": {
    "acme": {"limits": {"sessions-per-guest": LIMIT}, "segments": {"app": APP},
             "ports": {name: {"segment": "app", "tap": TAPS[name]} for name in ("guest", "peer")}},
    "bolt": {"segments": {"app": APP}, "ports": {"other": {"segment": "app", "tap": TAPS["other"]}}}}}

# Opens `count` UDP sessions, each from a port of its own; prints how many are answered, and to how many is said that
# communication is administratively prohibited (ICMP code 13; RFC 5508 REQ-8), which Linux calls EHOSTUNREACH.
OPEN = """
import errno, select, socket, sys, time
sockets, refused = [], set()
def used(s, call, *arguments):
    try:
        call(*arguments)
        return True
    except OSError as error:
        if error.errno != errno.EHOSTUNREACH: raise
        refused.add(s)
        silent.discard(s)
for _ in range(int(sys.argv[1])):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("198.51.100.9", 80)); sockets.append(s)
silent = set(sockets)
for attempt in range(60):
    for s in list(silent): used(s, s.send, b"hello")
    end = time.monotonic() + 1
    while silent and time.monotonic() < end:
        for s in select.select(list(silent), [], [], 0.1)[0]:
            if used(s, s.recv, 100): silent.discard(s)
print(len(sockets) - len(silent | refused), len(refused))
"""


def drops(weft, reason):
    return sum(item["packets"] for item in json.loads(weft.cli("drops", "-o", "json").stdout)["items"]
               if item["reason"] == reason)


def main():
    netns.need("busybox", "dnsmasq")
    netns.enter(sys.argv)
    with netns.Network() as net:
        scene = Scene(net)
        with Weft(CONFIG) as weft:
            spaces = {name: net.namespace(name) for name in TAPS}
            for name, tap in TAPS.items():
                spaces[name].take(tap, "eth0")
                udhcpc(spaces[name])
            limits = {item["name"]: item["limits"] for item in json.loads(weft.cli("tenant", "-o", "json").stdout)["items"]}
            assert limits == {"acme": {"sessions-per-guest": LIMIT}, "bolt": {"sessions-per-guest": 250000}}, limits
            streams = {name: scene.stream(spaces[name], "198.51.100.9", 80) for name in TAPS}
            got = {"guest": spaces["guest"].python(OPEN, 2 * LIMIT).split()}
            assert got["guest"] == [str(LIMIT - 1), str(LIMIT + 1)], f"the stream and {got['guest']} more, of {LIMIT}"
            refused = wait_for(lambda: drops(weft, "nat_session_limit") > LIMIT and drops(weft, "nat_session_limit"), "drops at the limit")
            shown = json.loads(weft.cli("sessions", "--port", "acme/guest", "--limit", "30", "-o", "json").stdout)
            assert (len(shown["items"]), shown["left_out"]) == (30, LIMIT - 30), shown["left_out"]
            for name in ("peer", "other"):
                got[name] = spaces[name].python(OPEN, LIMIT - 1).split()
                assert got[name] == [str(LIMIT - 1), "0"], f"{name}: {got[name]} of {LIMIT - 1} sessions"
            for name, stream in streams.items():
                stream.exchange(1 << 20)
            wait_for(lambda: "sessions" in weft.cli("events").stdout, "an event")
            print(f"sessions opened: {got}; frames refused: {refused}")


main()
