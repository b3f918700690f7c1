#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Lives and deaths of machines:   acme/vm1 (pings on and on) --- acme/web --- acme/vm2 (echo)
weft-vmm, weftd and the dataplane are killed, ports go; machines go on, come again or end as they should; nothing is left."""
import os
import select
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from weft import Weft, guest_image, wait_for  # noqa: E402

GUEST = guest_image()


def machine(number, words):
    return {"segment": "web", "mac": f"52:54:00:00:06:0{number}",
            "vm": {"kernel": GUEST, "memory": "32M", "cmdline": f"{words} ip=10.0.0.{number}"}}


PING = "mode=ping peer=10.0.0.2 count=100000 interval=20 timeout=300000 lossy=1"
CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}}, "ports": {
    "vm1": machine(1, PING), "vm2": machine(2, "mode=echo")}}}}


def show(name):
    return weft.items("vm", "show", f"acme/{name}")[0]


def runs(name, **also):
    """Waits until the machine runs, and its item has these values as well."""
    def there():
        item = show(name)
        return item if item["state"] == "running" and all(item[key] == also[key] for key in also) else None
    return wait_for(there, f"{name} runs {also}")


def answers():
    with open(show("vm1")["console_log"], encoding="latin-1") as log:
        return sum("us=" in line for line in log.read().splitlines())


def pings_go_on():
    seen = answers()
    wait_for(lambda: answers() >= seen + 5, "answers to pings")


def end(pid, number=signal.SIGKILL):
    descriptor = os.pidfd_open(pid)
    os.kill(pid, number)
    assert select.select([descriptor], [], [], 120)[0], f"{pid} does not end"
    os.close(descriptor)


with Weft(CONFIG, expect_warnings=True) as weft:
    one, two = runs("vm1", link=True), runs("vm2", link=True)
    pings_go_on()

    end(two["pid"])  # weft-vmm dies: another one is started
    again = runs("vm2", restarts=1, link=True)
    assert again["pid"] != two["pid"]
    pings_go_on()

    end(weft.dataplane_pid())  # the dataplane dies: the NICs are connected to the next one
    wait_for(lambda: weft.status()["dataplane"]["converged"], "another dataplane")
    pings_go_on()
    assert runs("vm1", link=True)["pid"] == one["pid"] and runs("vm2", link=True)["pid"] == again["pid"]

    seen, log = answers(), show("vm1")["console_log"]
    end(weft.daemon.pid)  # weftd dies: nobody notices; the next one adopts all
    with open(log, encoding="latin-1") as text:
        wait_for(lambda: text.readline() == "", "the end of the log")
        wait_for(lambda: "us=" in text.readline(), "answers without weftd")
    weft.start()
    assert runs("vm1")["pid"] == one["pid"] and runs("vm2", restarts=1)["pid"] == again["pid"]
    assert answers() > seen
    assert "vm-adopted" in weft.cli("events").stdout

    end(weft.daemon.pid)  # while weftd is away one guest powers off, one weft-vmm dies
    end(again["pid"], signal.SIGTERM)
    end(one["pid"])
    weft.start()
    assert runs("vm1")["pid"] != one["pid"]
    assert show("vm2")["state"] == "off" and "pid" not in show("vm2")
    weft.cli("vm", "start", "acme/vm2")
    pings_go_on()

    end(weft.dataplane_pid())  # so that it is this weftd's, and ends with it
    weft.cli("port", "del", "acme/vm2")  # the port goes: the machine is powered off and forgotten
    directory = os.path.join(weft.run_dir, "vm")
    wait_for(lambda: os.listdir(directory) == ["acme.vm1"], "end of vm2")

    weft.stop()  # an orderly stop powers the other one off, which does not make it off
    assert sorted(os.listdir(weft.run_dir)) == ["dataplane.lock", "vhost", "vm", "weftd.lock"], os.listdir(weft.run_dir)
    assert not {"console", "control"} & set(os.listdir(os.path.join(directory, "acme.vm1")))
    weft.start()
    runs("vm1")
    weft.cli("vm", "del", "acme/vm1")
    wait_for(lambda: not os.listdir(directory), "an empty directory")
print("machines lived and died as they should")
