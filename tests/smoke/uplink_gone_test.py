#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An uplink's interface is deleted under traffic, at either end of the cable, and comes back: weft lets go of it, says so, and
takes it again, time after time, with nothing left over; without it the switch sleeps.

  lan0 10.0.0.1 ──────── up0, uplink "lan" ── acme/web ── acme/g: the kernel's stack on a tap port, 10.0.0.2
usage: uplink_gone_test.py [af_packet | af_xdp]
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Namespace, check_released, ip  # noqa: E402
from netns import enter  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

KIND, TAP, TIMES = sys.argv[1] if len(sys.argv) > 1 else "af_packet", f"wt{os.getpid()}", 12
LAN_MAC, GUEST_MAC = "52:54:00:00:17:01", "52:54:00:00:17:02"
CONFIG = {"version": 1, "uplinks": {"lan": {"device": KIND + ":up0"}}, "tenants": {"acme": {
    "segments": {"web": {"mode": "bridged", "uplink": "lan", "follow-uplink": False}},
    "ports": {"g": {"segment": "web", "tap": TAP}}}}}

SEND = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("ready", flush=True)
while True:
    try:
        s.sendto(bytes(1000), (sys.argv[1], 9))
    except OSError:
        time.sleep(0.001)
"""


def cable(lan):
    lan.veth("up0", "lan0")
    lan.ip("link", "set", "lan0", "address", LAN_MAC)
    lan.ip("addr", "add", "10.0.0.1/24", "dev", "lan0")
    lan.ip("neigh", "replace", "10.0.0.2", "lladdr", GUEST_MAC, "dev", "lan0", "nud", "permanent")


def uplink(weft):
    return [weft.items("uplink", "show", "lan")[0][key] for key in ("state", "link")]


def held(weft):
    """Descriptors of the dataplane and of weftd, mapped rings and pages of the dataplane."""
    pids = weft.dataplane_pid(), weft.daemon.pid
    with open(f"/proc/{pids[0]}/maps", encoding="ascii") as maps, open(f"/proc/{pids[0]}/statm", encoding="ascii") as statm:
        rings, pages = sum("socket:" in line for line in maps), int(statm.read().split()[0])
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids] + [rings], pages


def settled(weft):
    """What is held twice in a row: a command's connection may be on its way out."""
    now = []
    wait_for(lambda: now.append(held(weft)) or now[-1] in now[-2:-1], "nothing comes or goes")
    return now[-1]


def told(weft, text):
    events = map(json.loads, weft.cli("events", "-o", "json").stdout.splitlines())
    return sum(e["type"] == "uplink-changed" and e["text"] == f"interface up0 is {text}" for e in events)


def main():
    enter(sys.argv)
    with Namespace() as lan, Namespace() as guest:
        cable(lan)
        with Weft(CONFIG, expect_warnings=True) as weft:
            guest.guest(TAP, "10.0.0.2/24")
            guest.ip("link", "set", "eth0", "address", GUEST_MAC)
            guest.ip("neigh", "replace", "10.0.0.1", "lladdr", LAN_MAC, "dev", "eth0", "nud", "permanent")
            wait_for(lambda: lan.ping("10.0.0.2"), "the guest answers", 30)
            pid, before = weft.dataplane_pid(), None
            senders = [space.popen(sys.executable, "-c", SEND, to, stdout=-1) for space, to in ((guest, "10.0.0.1"), (lan, "10.0.0.2"))]
            assert [child.stdout.readline() for child in senders] == ["ready\n"] * 2
            for turn in range(TIMES):
                (lan.ip if turn % 2 else ip)("link", "del", "lan0" if turn % 2 else "up0")
                wait_for(lambda turn=turn: told(weft, "gone") == turn + 1, "an event")
                wait_for(lambda: uplink(weft) == ["down", "absent"], "the uplink is gone")
                if turn == TIMES - 1:
                    break
                cable(lan)
                wait_for(lambda turn=turn: told(weft, "there") == turn + 1, "an event")
                wait_for(lambda: uplink(weft) == ["up", "up"], "the uplink is back")
                wait_for(lambda: lan.ping("10.0.0.2"), "the guest answers again", 30)
                before = before or settled(weft)
                wait_for(lambda: held(weft)[0] == before[0], f"{before} held, as at first; not {held(weft)}")
            for child in senders:
                child.kill()
            wait_for(lambda: all(worker["asleep"] for worker in weft.status()["workers"]), "without its uplink the switch sleeps")
            cable(lan)
            wait_for(lambda: lan.ping("10.0.0.2"), "the guest answers", 30)
            assert weft.dataplane_pid() == pid and held(weft)[1] < before[1] + (64 << 20) // 4096, (held(weft), before)
        check_released("up0")


main()
