#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 of weftd at each system call of an apply that touches the disk or the dataplane: the next weftd has the old
generation up to the rename that commits, the new one after it, whole in both cases."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from weft import BUILD, Weft, skip, wait_for  # noqa: E402

if os.geteuid() != 0:
    skip("needs root")
if not shutil.which("strace"):
    skip("needs the program strace")

CALLS = ["openat", "write", "fsync", "renameat", "sendmsg", "recvfrom"]
ASKS = ["sendmsg", "recvfrom"]  # made twice a second besides, to ask the dataplane: which one is the n-th is not certain
LAST = 60  # more calls of one kind than an apply makes


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


def start_again(weft):
    weft.daemon.wait()
    weft.start()
    wait_for(weft.converged, "converged")


def apply_killed_at(weft, call, number, text):
    """True: weftd was killed at its number-th `call` of the apply."""
    with subprocess.Popen(["strace", "-f", "-p", str(weft.daemon.pid), "-e", f"trace={call}", "-e",
                           f"inject={call}:signal=SIGKILL:when={number}"], stderr=subprocess.PIPE) as tracer:
        line = tracer.stderr.readline()
        if b"attached" not in line:
            skip(f"strace cannot attach: {line.decode().strip()}")
        result = subprocess.run([os.path.join(BUILD, "cli/weft"), "--run-dir", weft.run_dir, "config", "apply", "-f", "-"],
                                input=text, capture_output=True, check=False, timeout=300)
        if result.returncode == 0:
            tracer.terminate()
        else:
            weft.daemon.wait()
        tracer.stderr.read()
    # it may have been killed when the apply was over, at a call that it makes by itself
    return result.returncode != 0 or weft.cli("status", check=False).returncode != 0


def main():
    choices = [(3, 1500), (5, 9000)]
    texts = {choice: str(config(*choice)).replace("'", '"').encode() for choice in choices}
    seen = {}
    with Weft(config(*choices[0])) as weft:
        wait_for(weft.converged, "converged")
        pid, now = weft.dataplane_pid(), choices[0]
        for call in CALLS:
            for number in range(1, LAST):
                other = choices[1 - choices.index(now)]
                killed = apply_killed_at(weft, call, number, texts[other])
                if killed:
                    start_again(weft)
                there = what_is_there(weft)
                assert there in (now, other), f"{call} {number}: {there}"
                assert killed or there == other, f"{call} {number}: not killed, and {there}"
                seen.setdefault(call, []).append("-" if not killed else "old" if there == now else "new")
                now = there
                if not killed:
                    break
            assert seen[call][-1] == "-", f"more than {LAST} times {call}"
            verdicts = seen[call][:-1]
            if call not in ASKS:
                assert verdicts == sorted(verdicts, reverse=True), f"{call}: old again after new: {verdicts}"
            print(f"{call}: killed at {len(verdicts)} places, {verdicts.count('old')} times the old generation")
        assert sum(verdicts.count("old") for verdicts in seen.values()) > 10
        assert weft.dataplane_pid() == pid, "the dataplane did not go on"
        weft.replace_dataplane()


main()
