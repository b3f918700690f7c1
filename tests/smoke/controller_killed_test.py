#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""weftd dies by SIGKILL and comes back, twice, under traffic both ways: every frame is received, its bytes right.

  a ──┐
      ├── acme/web     frames carry numbers; what one guest sends, the other receives once and in order
  b ──┘
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from talk import CONFIG, Talk  # noqa: E402
from weft import Weft  # noqa: E402


def main():
    with Weft(CONFIG, expect_warnings=True) as weft:
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
        weft.check_counters()
        weft.replace_dataplane()


main()
