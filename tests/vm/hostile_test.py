#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A guest that does what no driver does: weft-vmm answers or stops the device, never itself; each pattern ends with the
entropy device working again."""
import os
from vm import run, wait_for

SEED = 1


def everything(bench):
    disk = bench.disk("disk", 1 << 20)
    bench.hub("port0")
    for seed in range(SEED, SEED + 3):
        machine = bench.machine("--disk", f"path={disk}", "--net", f"socket={bench.path('port0')}", "--cpus", "2",
                                cmdline=f"mode=hostile seed={seed} rounds=2000").right()
        assert len(machine.lines("hostile")) == 12, machine.dump()


def console_flood(bench):
    """A socket console that nobody reads keeps the newest 64 KiB; the machine is not held up."""
    console = bench.path("console")
    machine = bench.machine("--console", f"socket:{console}", cmdline="mode=console lines=1500 stay=1")
    wait_for(lambda: os.path.exists(machine.control_path), "control socket")
    wait_for(lambda: machine.status()["console"]["bytes"] > 1500 * 80, "flood")
    status = machine.status()["console"]
    assert status["dropped-bytes"] == status["bytes"] - (64 << 10), status
    machine.call("stop")
    machine.wait()


def log_is_bounded(bench):
    machine = bench.machine(cmdline=f"mode=hostile pattern=rings seed={SEED} rounds=20000").right()
    seconds = int(machine.lines("done")[0]["us"]) / 1e6
    assert len(machine.log().splitlines()) < 12 * (seconds + 2), machine.dump()


run(everything, console_flood, log_is_bounded)
