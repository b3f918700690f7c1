#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Restarts under traffic: the controller's costs nothing, the dataplane's a moment, a guest's nothing that stays.

  a ──┐
      ├── acme/web     frames carry numbers; what one guest sends, the other receives once and in order
  b ──┘
"""
import os
import random
import signal
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from guest import MRG_RXBUF, RING_PACKED, VERSION_1, Guest, ethernet  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}}, "ports": {
    "a": {"segment": "web"}, "b": {"segment": "web"}, "c": {"segment": "web", "enabled": True}}}}}
BATCH = 64  # what a worker holds at most when it dies: delivered, not yet given back


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def controller_killed(weft):
    """Traffic both ways all the while weftd dies and comes back twice: every frame is received, its bytes right."""
    dataplane, talk = weft.dataplane_pid(), Talk(weft)
    for _ in range(2):
        talk.goes_on("before weftd is killed")
        weft.daemon.kill()
        weft.daemon.wait()
        talk.goes_on("without weftd")
        weft.start()
        status = weft.status()["dataplane"]
        assert (status["pid"], status["restarts"], status["adopted"]) == (dataplane, 0, True), status
    talk.goes_on("after weftd is back")
    print("controller killed twice:", talk.end(), "frames, none lost")


class Side:
    """One guest that sends numbered frames and checks the other's."""

    def __init__(self, weft, port, own, peer, features):
        self.guest, self.sent, self.received = weft.guest(port, features=features, ring_size=1024), 0, []
        self.head = ethernet(peer, own, 0x88b5)[:14]

    def send(self, count):
        for _ in range(count):
            self.sent += 1
            self.guest.send(self.head + struct.pack("!I", self.sent) + random.Random(self.sent).randbytes(60 + self.sent % 1400))

    def receive(self):
        while one := self.guest.poll():
            number = struct.unpack_from("!I", one[0], 14)[0]
            assert one[0][18:] == random.Random(number).randbytes(60 + number % 1400), f"frame {number}: bytes differ"
            self.received.append(number)


class Talk:
    """Two guests that keep up to 128 frames on their way to each other until end(): what is lost was lost by the switch."""

    def __init__(self, weft):
        macs = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
        self.sides = [Side(weft, port, *pair, VERSION_1 | MRG_RXBUF) for port, pair in (("acme/a", macs), ("acme/b", macs[::-1]))]
        self.stop, self.failure, self.thread = False, None, threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.stop or any(len(x.received) < y.sent for x, y in (self.sides, self.sides[::-1])):
                for x, y in (self.sides, self.sides[::-1]):
                    if not self.stop and x.sent - len(y.received) < 128:
                        x.send(16)
                    y.receive()
        except BaseException as failure:  # told by goes_on() and end()
            self.failure = failure

    def goes_on(self, when):
        marks = [len(side.received) + 2000 for side in self.sides]
        wait_for(lambda: self.failure or all(len(side.received) >= mark for side, mark in zip(self.sides, marks)), f"traffic {when}")
        assert not self.failure, self.failure

    def end(self):
        self.stop = True
        self.thread.join(60)
        assert not self.failure, self.failure
        for x, y in (self.sides, self.sides[::-1]):
            assert x.received == list(range(1, y.sent + 1)), f"of {y.sent} frames {len(x.received)} came"
            x.guest.close()
        return sum(side.sent for side in self.sides)


def dataplane_killed(weft, features, name):
    macs = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
    sides = Side(weft, "acme/a", *macs, features), Side(weft, "acme/b", *macs[::-1], features)
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
        kill(old)
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


def footprint(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as text:
        rss = next(int(line.split()[1]) for line in text if line.startswith("Rss:"))
    with open(f"/proc/{pid}/maps", encoding="ascii") as text:
        return len(os.listdir(f"/proc/{pid}/fd")), len(text.readlines()), rss


def guest_killed(weft):
    """A guest process that is connected and sending dies by SIGKILL, 1,000 times; the other hears every one of them."""
    listener, pid = weft.guest("acme/b"), weft.dataplane_pid()
    down = lambda: weft.counters()["acme/c"]["state"] == "down"  # noqa: E731
    for turn in range(1250):
        if turn == 250:  # by then every structure has its size
            wait_for(down, "acme/c down")
            baseline = footprint(pid)
        child = os.fork()
        if not child:
            features = VERSION_1 | MRG_RXBUF | (RING_PACKED if turn % 2 else 0)
            Guest(weft.socket("acme/c"), features=features).send(ethernet("52:54:00:00:00:0b", "52:54:00:00:00:0c", turn + 0x9000))
            while True:
                signal.pause()
        heard = listener.receive(60, 1)
        kill(child)
        os.waitpid(child, 0)
        assert heard and struct.unpack_from("!H", heard[0], 12)[0] == turn + 0x9000, f"guest {turn}: {heard}"
    wait_for(down, "acme/c down")
    after = footprint(pid)
    print("1,000 guests killed: descriptors, mappings, RSS (KiB)", baseline, "->", after)
    assert after[:2] == baseline[:2] and after[2] - baseline[2] < 512, (baseline, after)
    assert weft.counters()["acme/c"]["connects"] == 1250, weft.counters()["acme/c"]
    listener.close()


def main():
    with Weft(CONFIG, expect_warnings=True) as weft:
        controller_killed(weft)
        guest_killed(weft)
        dataplane_killed(weft, VERSION_1 | MRG_RXBUF, "split rings")
    with Weft(CONFIG, expect_warnings=True) as weft:
        dataplane_killed(weft, VERSION_1 | MRG_RXBUF | RING_PACKED, "packed rings")


main()
