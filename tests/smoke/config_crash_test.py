#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 of weftd during an apply, at points spread over all of it: the next weftd has the old generation or the new
one, whole, and makes the dataplane, which went on, hold exactly that one.
"""
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from weft import BUILD, Weft, skip, wait_for  # noqa: E402

if os.geteuid() != 0:
    skip("needs root")

ROUNDS = int(os.environ.get("WEFT_CRASH_ROUNDS", "40"))
SEED = int(os.environ.get("WEFT_CRASH_SEED", str(time.time_ns())))


def config(count, mtu):
    ports = {f"vm{i}": {"segment": "web", "mtu": mtu, "mac": f"52:54:00:00:00:{i:02x}"} for i in range(1, count + 1)}
    return {"version": 1, "dataplane": {"hugepages": "never"},
            "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}}, "ports": ports}}}


def what_is_there(weft):
    """(number of ports, their mtu), if it is one of the two configurations and the dataplane holds it."""
    items = weft.items("port", "list")
    mtus = {item["mtu"] for item in items}
    assert len(mtus) == 1, f"a mixture: {mtus}"
    states = {item["state"] for item in items}
    assert states == {"down"}, f"the dataplane does not have all ports: {states}"
    return len(items), mtus.pop()


def converged(weft):
    status = weft.status()["dataplane"]
    return status["state"] == "up" and status["converged"]


def start_again(weft):
    weft.daemon.wait()
    weft.start()
    wait_for(lambda: converged(weft), "converged")


def crash(weft, text, delay):
    """Kills weftd `delay` seconds after the apply was sent."""
    with subprocess.Popen([os.path.join(BUILD, "cli/weft"), "--run-dir", weft.run_dir, "config", "apply", "-f", "-"],
                          stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        client.stdin.write(text)
        client.stdin.close()
        end = time.monotonic() + delay
        while time.monotonic() < end:
            pass
        weft.daemon.kill()
        client.wait()


def main():
    print("WEFT_CRASH_SEED", SEED)
    chance = random.Random(SEED)
    choices = [(12, 1500), (20, 9000)]
    with Weft(config(*choices[0])) as weft:
        wait_for(lambda: converged(weft), "converged")
        pid, now, kept, replaced = weft.dataplane_pid(), choices[0], 0, 0
        texts = {choice: str(config(*choice)).replace("'", '"').encode() for choice in choices}
        started = time.monotonic()
        weft.cli("config", "apply", "-f", "-", stdin=texts[choices[1]].decode())
        span = 1.5 * (time.monotonic() - started)
        now = choices[1]
        delays = [span * (i + chance.random()) / ROUNDS for i in range(ROUNDS)]
        chance.shuffle(delays)
        for delay in delays:
            other = choices[1 - choices.index(now)]
            crash(weft, texts[other], delay)
            start_again(weft)
            there = what_is_there(weft)
            assert there in (now, other), f"neither the old nor the new configuration: {there}"
            kept, replaced = kept + (there == now), replaced + (there == other)
            now = there
        assert weft.dataplane_pid() == pid, "the dataplane did not go on"
        print(f"{ROUNDS} kills within {span * 1000:.0f} ms: {kept} times the old, {replaced} times the new generation")
        os.kill(pid, signal.SIGKILL)
        died = time.monotonic()
        wait_for(lambda: weft.status()["dataplane"].get("pid", pid) != pid and converged(weft), "another dataplane")
        again = time.monotonic() - died
        print(f"dataplane killed: the next one held everything after {again * 1000:.0f} ms")
        assert what_is_there(weft) == now and again < 1
        assert kept and replaced, "all kills were on one side of the commit"


if __name__ == "__main__":
    main()
