#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A guest process that is connected and sending dies by SIGKILL, 1,250 times: the switch forgets all of it, and the other guest
hears every one of them.

  acme/c (dies) ── acme/web ── acme/b
"""
import os
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from guest import MRG_RXBUF, RING_PACKED, VERSION_1, Guest, ethernet  # noqa: E402
from talk import CONFIG  # noqa: E402
from weft import Weft, wait_for  # noqa: E402


def footprint(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as text:
        rss = next(int(line.split()[1]) for line in text if line.startswith("Rss:"))
    with open(f"/proc/{pid}/maps", encoding="ascii") as text:
        return len(os.listdir(f"/proc/{pid}/fd")), len(text.readlines()), rss


def guest_killed(weft):
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
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert heard and struct.unpack_from("!H", heard[0], 12)[0] == turn + 0x9000, f"guest {turn}: {heard}"
    wait_for(down, "acme/c down")

    def freed():
        now = footprint(pid)
        return now[0] <= baseline[0] and now[1] <= baseline[1] and now
    after = wait_for(freed, f"descriptors and mappings as before: {baseline}")
    print("1,000 guests killed: descriptors, mappings, RSS (KiB)", baseline, "->", after)
    assert after[2] - baseline[2] < 512, (baseline, after)
    assert weft.counters()["acme/c"]["connects"] == 1250, weft.counters()["acme/c"]
    listener.close()


def main():
    with Weft(CONFIG, expect_warnings=True) as weft:
        guest_killed(weft)


main()
