#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""weftd is killed at 50 points of an apply. What is in force afterwards is the old generation or the new
one, the new one if the command said so, and the dataplane (asked at its own socket, by our own reader) holds exactly that.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from dataplane_reader import held  # noqa: E402
from weft import BUILD, Weft, skip  # noqa: E402

ROUNDS = 50
PORTS = 40


def config(letter):
    return {"version": 1, "tenants": {"acme": {
        "segments": {"web": {"mode": "isolated"}},
        "ports": {f"{letter}{i}": {"segment": "web", "mac": f"52:54:00:00:00:{i:02x}"} for i in range(PORTS)}}}}


def check(weft, state):
    """What is in force: ("a" or "b", generation), the same at weftd and in the dataplane."""
    names = sorted(port["name"] for port in weft.items("port", "list"))
    letter = names[0][len("acme/")]
    assert names == sorted(f"acme/{letter}{i}" for i in range(PORTS)), f"half a configuration: {names}"
    generation = weft.status()["controller"]["generation"]
    assert held(weft.run_dir) == (generation, names), f"the dataplane holds something else: {held(weft.run_dir)}"
    left = [name for name in os.listdir(os.path.join(state, "generations")) if name.endswith(".tmp")]
    assert not left, left
    return letter, generation


def main():
    if os.geteuid() != 0:
        skip("needs root")
    choose = random.Random(1)
    with Weft(config("a"), expect_warnings=True) as weft:
        state = os.path.join(weft.directory, "state")
        files = {}
        for letter in "ab":
            files[letter] = os.path.join(weft.directory, letter + ".json")
            with open(files[letter], "w", encoding="utf-8") as text:
                text.write(json.dumps(config(letter)))
        start = time.monotonic()
        weft.cli("config", "apply", "-f", files["b"])
        middle = (time.monotonic() - start) / 2  # of an apply; moves to where half of them are cut off, however busy the host is
        letter, generation = check(weft, state)
        outcomes = {"old": 0, "new": 0, "said": 0}
        for _ in range(ROUNDS):
            other = "b" if letter == "a" else "a"
            command = subprocess.Popen([os.path.join(BUILD, "cli/weft"), "--run-dir", weft.run_dir, "config", "apply", "-f",
                                        files[other]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                command.wait(choose.uniform(0, 2 * middle))
            except subprocess.TimeoutExpired:
                pass
            weft.daemon.send_signal(signal.SIGKILL)
            weft.daemon.wait()
            said = command.wait(300) == 0
            weft.start()
            now, number = check(weft, state)
            assert (now, number) in ((letter, generation), (other, generation + 1)), (now, number, letter, generation)
            assert not said or now == other, "the command said that it is done, and it is gone"
            outcomes["new" if now == other else "old"] += 1
            middle *= 0.8 if now == other else 1.25
            outcomes["said"] += said
            letter, generation = now, number
        print(outcomes, f"half of the kills come within {middle * 1000:.0f} ms")
        assert outcomes["old"] and outcomes["new"], f"no point in between was hit: {outcomes}"
        weft.replace_dataplane()
        check(weft, state)
        assert "Sanitizer" not in weft.log() and "runtime error" not in weft.log()


main()
