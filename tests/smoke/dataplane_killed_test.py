#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The dataplane dies by SIGKILL under traffic: guests connect again with their rings, and what was under way comes once and in
order but for one batch, which may come twice.

  a ──┐
      ├── acme/web     frames carry numbers; what one guest sends, the other receives once and in order
  b ──┘
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from guest import MRG_RXBUF, RING_PACKED, VERSION_1  # noqa: E402
from talk import CONFIG, MACS, Side  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

BATCH = 64  # what a worker holds at most when it dies: delivered, not yet given back


def dataplane_killed(weft, features, name):
    sides = Side(weft, "acme/a", *MACS, features), Side(weft, "acme/b", *MACS[::-1], features)
    a, b = sides

    def settled():
        for side in sides:
            side.receive()
        return all(y.received and y.received[-1] == x.sent for x, y in ((a, b), (b, a)))
    for side in sides:
        side.send(200)
    wait_for(settled, "first frames")
    for turn in range(2):
        x, y = sides[::1 if turn % 2 else -1]
        mark, sent, old = len(y.received), x.sent, weft.dataplane_pid()
        x.send(300)  # under way when the worker dies
        began = time.monotonic()
        os.kill(old, signal.SIGKILL)
        x.send(300)  # nobody is there: these wait in the ring
        for side in (y, x):
            wait_for(lambda side=side: side.guest.reconnect() == 0, "reconnect")
        at_reconnect = len(y.received)
        wait_for(lambda: y.receive() or len(y.received) > at_reconnect, "a frame")
        if turn == 0:  # the supervisor gives one that dies young again and again more and more time
            print(f"dataplane killed, {name}: forwarding again after {1000 * (time.monotonic() - began):.0f} ms")
        wait_for(settled, "the last frame")
        wait_for(lambda: weft.status()["dataplane"]["state"] == "up", "up")
        assert weft.status()["dataplane"]["restarts"] == turn + 1 and weft.dataplane_pid() != old
        new = y.received[mark:]
        assert list(dict.fromkeys(new)) == list(range(sent + 1, x.sent + 1)), f"{name}: lost or out of order: {new}"
        assert len(new) - 600 <= BATCH and new[-300:] == list(range(x.sent - 299, x.sent + 1)), f"{name}: twice: {new}"
        for side in sides:
            side.send(100)
        wait_for(settled, "frames after")
        assert all(side.received[-100:] == list(range(peer.sent - 99, peer.sent + 1)) for side, peer in ((x, y), (y, x)))
        weft.check_counters()
    for side in sides:
        side.guest.close()


def main():
    for features, name in ((VERSION_1 | MRG_RXBUF, "split rings"), (VERSION_1 | MRG_RXBUF | RING_PACKED, "packed rings")):
        with Weft(CONFIG, expect_warnings=True) as weft:
            dataplane_killed(weft, features, name)


main()
