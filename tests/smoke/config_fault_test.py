#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Faults in the middle of an apply: the dataplane refuses, dies, dies after it committed, lies, says nothing.

    weft ---- weftd ---- tests/lib/fake_dataplane.py

After each: the old generation is in force, on disk and in the dataplane, and the next change works.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from fake_dataplane import FakeDataplane  # noqa: E402
from weft import Weft, skip, wait_for  # noqa: E402

if os.geteuid() != 0:
    skip("needs root")

CONFIG = {"version": 1, "tenants": {"acme": {
    "segments": {"web": {"mode": "isolated"}},
    "ports": {"vm1": {"segment": "web", "mac": "52:54:00:00:00:01"}, "vm2": {"segment": "web"}}}}}


def generation(weft):
    return weft.status()["controller"]["generation"]


def on_disk(weft):
    with open(os.path.join(weft.directory, "state/current"), encoding="ascii") as text:
        return int(text.read())


def ports(weft):
    return sorted(item["name"] for item in weft.items("port", "list"))


class FakeWeft(Weft):
    """weftd adopts the fake, which is this very process."""

    def check_counters(self):
        pass


def check_fault(weft, dataplane, fault, code):
    before, names = generation(weft), ports(weft)
    dataplane.fault = fault
    result = weft.cli("port", "add", "acme/vm9", "--segment", "web", check=False)
    assert result.returncode == code, f"{fault}: exit code {result.returncode}: {result.stdout}{result.stderr}"
    wait_for(weft.converged, f"{fault}: converged again")
    if code == 0:
        assert generation(weft) == on_disk(weft) == before + 1, fault
        assert dataplane.names() == ports(weft) == sorted(names + ["acme/vm9"]), fault
        weft.cli("port", "del", "acme/vm9")
        return
    assert result.stderr.strip(), f"{fault}: no reason"
    assert generation(weft) == on_disk(weft) == before, f"{fault}: generation {generation(weft)}"
    assert ports(weft) == names == dataplane.names(), f"{fault}: {dataplane.names()}"
    left = [name for name in os.listdir(os.path.join(weft.directory, "state")) if name.endswith(".tmp")]
    assert not left, f"{fault}: {left}"


def main():
    weft = FakeWeft(CONFIG, expect_warnings=True)
    os.mkdir(weft.run_dir)
    with FakeDataplane(weft.run_dir) as dataplane, weft:
        assert generation(weft) == 1 and dataplane.names() == ["acme/vm1", "acme/vm2"]
        check_fault(weft, dataplane, "refuse", 1)
        check_fault(weft, dataplane, "lie", 1)
        for fault in ("die", "die-after", "mute"):  # weftd connects again and does it
            check_fault(weft, dataplane, fault, 0)
        commits = dataplane.commits
        weft.cli("port", "add", "acme/vm1", "--segment", "web", "--mac", "52:54:00:00:00:01")
        weft.cli("config", "apply", "-f", "-", stdin=weft.cli("config", "export").stdout)
        assert dataplane.commits == commits, "what changes nothing programs nothing"
        history = json.loads(weft.cli("config", "history", "-o", "json").stdout)["items"]
        assert sum(item["current"] for item in history) == 1
        print(f"{len(history)} generations, {commits} commits")


if __name__ == "__main__":
    main()
