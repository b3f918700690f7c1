#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Machines on weft itself:   acme/vm1 --- acme/web --- acme/vm2      beta/vm1 --- beta/web   (the same addresses)
Reach and isolation as configured, throughput and latency between guests at native speed, a killed dataplane."""
import os
import signal
import sys
from vm import need_kvm, run, wait_for

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from weft import BUILD, Weft, skip  # noqa: E402

MACS = {"acme/vm1": "52:54:00:00:05:01", "acme/vm2": "52:54:00:00:05:02", "beta/vm1": "52:54:00:00:05:03"}
CONFIG = {"version": 1, "tenants": {
    "acme": {"segments": {"web": {"mode": "isolated"}},
             "ports": {"vm1": {"segment": "web", "mac": MACS["acme/vm1"]}, "vm2": {"segment": "web", "mac": MACS["acme/vm2"]}}},
    "beta": {"segments": {"web": {"mode": "isolated"}}, "ports": {"vm1": {"segment": "web", "mac": MACS["beta/vm1"]}}}}}


def machine(bench, weft, port, cmdline):
    return bench.machine("--net", f"socket={weft.socket(port)}", "--wait", "60", cmdline=cmdline)


def reach_and_isolation(bench):
    with Weft(CONFIG) as weft:
        server = machine(bench, weft, "acme/vm2", "mode=echo ip=10.0.0.2")
        server.wait_line("echo ready")
        client = machine(bench, weft, "acme/vm1", "mode=ping,udp,tcp ip=10.0.0.1 peer=10.0.0.2 count=20").right()
        assert client.lines("net")[0]["mac"] == MACS["acme/vm1"], client.dump()
        stranger = machine(bench, weft, "beta/vm1", "mode=ping ip=10.0.0.1 peer=10.0.0.2 count=1").wait()
        assert "error no answer to ARP" in stranger.console(), stranger.dump()
        server.call("stop")
        server.wait()


def throughput_and_latency(bench):
    with Weft(CONFIG) as weft:
        for size in (64, 1514):
            sink = machine(bench, weft, "acme/vm2", "mode=sink ip=10.0.0.2 seconds=2")
            sink.wait_line("sink ready")
            flood = machine(bench, weft, "acme/vm1", f"mode=flood ip=10.0.0.1 peer=10.0.0.2 size={size} seconds=3")
            sink.right()
            flood.right()
            print(f"{size} B: {int(sink.lines('sink-result')[0]['pps']) / 1e6:.2f} Mpps received by the guest, "
                  f"{int(flood.lines('flood-result')[0]['pps']) / 1e6:.2f} sent")
        for words, what in (("", "sleeping"), ("poll=1", "polling")):
            server = machine(bench, weft, "acme/vm2", f"mode=echo ip=10.0.0.2 {words}")
            server.wait_line("echo ready")
            client = machine(bench, weft, "acme/vm1", f"mode=ping ip=10.0.0.1 peer=10.0.0.2 count=500 {words}").right()
            result = client.lines("ping-result")[0]
            print(f"ping, {what} guests: {result['min-us']} us at least, {result['avg-us']} us on average")
            server.call("stop")
            server.wait()


def dataplane_killed(bench):
    with Weft(CONFIG, expect_warnings=True) as weft:
        server = machine(bench, weft, "acme/vm2", "mode=echo ip=10.0.0.2")
        server.wait_line("echo ready")
        client = machine(bench, weft, "acme/vm1",
                         "mode=ping ip=10.0.0.1 peer=10.0.0.2 count=1000000000 interval=50 timeout=300000 lossy=1")

        def answered():
            return sum("us" in ping for ping in client.lines("ping"))
        for kill in range(1, 3):
            mark = answered()
            wait_for(lambda mark=mark: answered() >= mark + 10, "answered pings")
            pid = weft.dataplane_pid()
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: server.status()["nets"][0]["connections"] > kill, "reconnection")
        mark = answered()
        wait_for(lambda: answered() >= mark + 10, "answered pings after the last kill")
        client.call("stop")
        client.wait()
        assert server.status()["nets"][0]["link"]
        server.call("stop")
        server.wait()


need_kvm()
if not os.path.exists(os.path.join(BUILD, "control/weftd")):
    skip("no weftd in this build")
run(reach_and_isolation, throughput_and_latency, dataplane_killed)
