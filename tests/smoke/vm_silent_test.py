#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A weft-vmm that hangs (SIGSTOP) is noticed, said, left alone, and ended when somebody wants it: acme/vm1, acme/vm2"""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from weft import Weft, guest_image, wait_for  # noqa: E402

VM = {"kernel": guest_image(), "memory": "32M", "cmdline": "mode=echo ip=10.0.0.9", "stop-timeout": "1s"}
CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}}, "ports": {
    name: {"segment": "web", "vm": VM} for name in ("vm1", "vm2")}}}}


def show(name):
    return weft.items("vm", "show", f"acme/{name}")[0]


def wait_state(name, state):
    return wait_for(lambda: (item := show(name))["state"] == state and item, f"{name} {state}", 60)


def events(kind):
    lines = map(json.loads, weft.cli("events", "-o", "json").stdout.splitlines())
    return [(e["port"], e["text"]) for e in lines if e["type"] == kind]


with Weft(CONFIG, expect_warnings=True) as weft:
    one, two = wait_state("vm1", "running"), wait_state("vm2", "running")
    os.kill(one["pid"], signal.SIGSTOP)
    silent = wait_state("vm1", "unresponsive")
    assert (silent["pid"], silent["restarts"]) == (one["pid"], 0), silent
    assert events("vm-unresponsive") == [("vm1", f"weft-vmm (pid {one['pid']}) has not answered for 15 s")]
    assert any("acme/vm1 does not answer" in text for text in weft.status()["warnings"]), weft.status()["warnings"]
    assert show("vm2")["state"] == "running" and show("vm2")["pid"] == two["pid"]

    os.kill(one["pid"], signal.SIGCONT)  # it comes back: nothing was done to it
    assert wait_state("vm1", "running")["pid"] == one["pid"]
    assert events("vm-responsive") == [("vm1", "weft-vmm answers again")]

    os.kill(one["pid"], signal.SIGSTOP)  # it does not: a restart ends it once its time is over
    wait_state("vm1", "unresponsive")
    weft.cli("vm", "restart", "acme/vm1", "--timeout", "60")
    again = wait_state("vm1", "running")
    assert again["pid"] != one["pid"] and len(events("vm-unresponsive")) == 2, again

    weft.daemon.kill()  # another weftd finds one that hangs
    weft.daemon.wait()
    os.kill(two["pid"], signal.SIGSTOP)
    weft.start()
    assert wait_state("vm2", "unresponsive")["pid"] == two["pid"]
    assert wait_state("vm1", "running")["pid"] == again["pid"]
    weft.cli("vm", "stop", "acme/vm2", "--force", "--timeout", "60")
    assert show("vm2")["state"] == "off"
    dataplane = weft.dataplane_pid()  # the first weftd's: the next one ends with this one
    os.kill(dataplane, signal.SIGKILL)
    wait_for(lambda: weft.ready() and weft.dataplane_pid() != dataplane, "another dataplane", 30)
print("what hangs is said and can be ended")
