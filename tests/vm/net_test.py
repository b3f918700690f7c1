#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two machines on a switch that is a vhost-user backend:   vm0 --- vm-hub --- vm1   (10.0.0.1, 10.0.0.2)"""
import os
from vm import run, wait_for


def nic(bench, number, *more):
    return ("--net", ",".join([f"socket={bench.path(f'port{number}')}", f"mac=52:54:00:00:00:0{number + 1}", *more]))


def echo_server(bench, *more, queues=1):
    machine = bench.machine(*nic(bench, 1, *more), cmdline=f"mode=echo ip=10.0.0.2 queues={queues}")
    machine.wait_line("echo ready")
    return machine


def client(bench, cmdline, *more):
    return bench.machine(*nic(bench, 0, *more), cmdline=f"ip=10.0.0.1 peer=10.0.0.2 {cmdline}")


def traffic(bench):
    bench.hub("port0", "port1")
    server = echo_server(bench)
    machine = client(bench, "mode=ping,udp,tcp count=50").right()
    assert machine.lines("ping-result")[0]["received"] == "50", machine.dump()
    assert machine.lines("udp-result")[0]["received"] == "50", machine.dump()
    assert machine.lines("tcp-result")[0]["bytes"] == "100000", machine.dump()
    assert "mac=52:54:00:00:00:01" in machine.console() and "mtu=1500" in machine.console(), machine.dump()
    net = server.status()["nets"][0]
    assert net["connected"] and net["link"] and net["driver-ok"] and net["mac"] == "52:54:00:00:00:02", net


def own_mtu(bench):
    bench.hub("port0")
    machine = client(bench, "mode=link seconds=0", "mtu=1400").right()
    assert machine.lines("net")[0]["mtu"] == "1400", machine.dump()


def queue_pairs(bench):
    bench.hub("port0", "port1", pairs=3)
    echo_server(bench, "queues=3", queues=3)
    machine = client(bench, "mode=queues queues=3 count=12", "queues=4").right()
    assert machine.lines("net")[0]["pairs"] == "3", machine.dump()
    assert machine.lines("pairs")[0] == {"": "pairs", "set": "3", "ack": "0", "size": "1"}, machine.dump()


def backend_killed(bench):
    """The dataplane dies in the middle of traffic, again and again: the guests keep their rings and go on."""
    hub = bench.hub("port0", "port1")
    server = echo_server(bench)
    machine = client(bench, "mode=ping count=120 interval=10 timeout=60000 lossy=1")
    for kill in range(1, 6):
        wait_for(lambda: len(machine.lines("ping")) >= 10 * kill, "pings", 30)
        bench.kill(hub)
        for port in ("port0", "port1"):
            os.unlink(bench.path(port))
        hub = bench.hub("port0", "port1")
        wait_for(lambda: server.status()["nets"][0]["connections"] == kill + 1, "reconnection")
    machine.right()
    pings = machine.lines("ping")
    answered = [ping for ping in pings if "us" in ping]
    assert all("us" in ping for ping in pings[-20:]), machine.dump()
    assert len(answered) >= 80, machine.dump()
    assert "error" not in server.console(), server.dump()
    assert bench.hub and server.status()["nets"][0]["link"]


def flood_and_kill(bench):
    """Rings full both ways when the backend dies: positions must be right afterwards, or nothing moves again. Pings find
    their rings full until the flood is over, and its last frames taken."""
    hub = bench.hub("port0", "port1")
    sink = bench.machine(*nic(bench, 1), cmdline="mode=sink,ping ip=10.0.0.2 peer=10.0.0.1 seconds=4 count=60 timeout=500000 lossy=1")
    sink.wait_line("sink ready")
    flood = client(bench, "mode=flood,echo seconds=5 serve=0 size=64")
    wait_for(lambda: sink.status()["uptime-us"] > 1500000, "some flood")
    for _ in range(3):
        bench.kill(hub)
        for port in ("port0", "port1"):
            os.unlink(bench.path(port))
        hub = bench.hub("port0", "port1")
    sink.right()
    assert int(sink.lines("ping-result")[0]["received"]) >= 10, sink.dump()
    flood.call("stop")
    flood.wait()
    assert int(sink.lines("sink-result")[0]["frames"]) > 1000, sink.dump()
    assert int(flood.lines("flood-result")[0]["frames"]) > 1000, flood.dump()


def backend_dials(bench):
    """The machine listens, the switch dials; both come back when the other was away."""
    hub = bench.hub("=port0", "=port1")
    server = echo_server(bench, "listen")
    machine = client(bench, "mode=ping count=100 interval=10 timeout=60000000 lossy=1", "listen")
    wait_for(lambda: len(machine.lines("ping")) >= 10, "pings", 60)
    bench.kill(hub)
    bench.hub("=port0", "=port1")
    machine.wait()
    assert [line for line in machine.lines("ping")[-10:] if "us" not in line] == [], machine.dump()
    assert server.status()["nets"][0]["connections"] == 2 and "error" not in server.console(), server.dump()
    server.call("stop")
    server.wait()
    assert os.geteuid() == 0 or not os.path.exists(bench.path("port1")), "its socket is left"


def link_state(bench):
    """A backend that stays away takes the guest's link down; one that comes back brings it up."""
    hub = bench.hub("port0")
    machine = client(bench, "mode=link,ping seconds=6 count=0")
    machine.wait_line("link up=1")
    bench.kill(hub)
    machine.wait_line("link up=0")
    assert not machine.status()["nets"][0]["link"]
    os.unlink(bench.path("port0"))
    bench.hub("port0")
    wait_for(lambda: len(machine.lines("link")) == 3, "link up again")
    assert [line["up"] for line in machine.lines("link")] == ["1", "0", "1"], machine.dump()
    assert machine.status()["nets"][0]["connections"] == 2


def reset_with_network(bench):
    """A machine resets while its rings are with the backend; its driver starts them again from nothing."""
    bench.hub("port0", "port1")
    echo_server(bench)
    machine = client(bench, "mode=ping,reset count=3 resets=2").right()
    assert len(machine.lines("ping-result")) == 3, machine.dump()
    assert all(line["received"] == "3" for line in machine.lines("ping-result")), machine.dump()


run(traffic, own_mtu, queue_pairs, backend_killed, flood_and_kill, backend_dials, link_state, reset_with_network)
