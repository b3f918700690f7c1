#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""4,000 ports with the longest names come with one apply, go with another and come again; two guests forward throughout."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from guest import ethernet  # noqa: E402
from weft import Weft  # noqa: E402

BROADCAST = ethernet("ff:ff:ff:ff:ff:ff", "52:54:00:00:00:01", 0x88b5, b"many")


def config(count):
    names = ["a", "b"] + [f"p{i}-".ljust(31, "x") for i in range(count)]
    return {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}},
                                               "ports": {name: {"segment": "web"} for name in names}}}}


def main():
    with Weft(config(0)) as weft:
        sender, receiver = weft.guest("acme/a"), weft.guest("acme/b")
        dataplane, took = weft.dataplane_pid(), []
        fds = len(os.listdir(f"/proc/{dataplane}/fd"))
        for count in (4000, 0, 4000, 0):
            file = os.path.join(weft.directory, "many.json")
            with open(file, "w", encoding="utf-8") as text:
                json.dump(config(count), text)
            start = time.monotonic()
            weft.cli("config", "apply", "-f", file)
            took.append(round(time.monotonic() - start, 2))
            assert weft.status()["totals"]["ports"] == count + 2
            sender.send(BROADCAST)
            assert receiver.receive(60, 1) == [BROADCAST], count
        assert weft.dataplane_pid() == dataplane
        assert len(os.listdir(f"/proc/{dataplane}/fd")) == fds, "descriptors of ports that are gone"
    print("seconds to 4,000 more ports and back, twice:", took)


main()
