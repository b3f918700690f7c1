# SPDX-License-Identifier: BSD-3-Clause
"""Guests at ports acme/a and acme/b that send each other numbered frames, so that what is lost, comes twice or in another
order is seen.

    talk = Talk(weft); talk.goes_on("when"); frames = talk.end()      # all the while, in a thread
"""
import random
import struct
import threading

from guest import MRG_RXBUF, VERSION_1, ethernet
from weft import wait_for

CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}}, "ports": {
    "a": {"segment": "web"}, "b": {"segment": "web"}, "c": {"segment": "web", "enabled": True}}}}}
MACS = "52:54:00:00:00:0a", "52:54:00:00:00:0b"


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
        self.sides = [Side(weft, port, *pair, VERSION_1 | MRG_RXBUF) for port, pair in (("acme/a", MACS), ("acme/b", MACS[::-1]))]
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
