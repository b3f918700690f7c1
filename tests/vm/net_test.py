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


ENDLESS = "mode=ping count=1000000000 interval=10 timeout=300000 lossy=1"  # until the test has seen enough


def answered(machine, count):
    """So many pings more are answered from now on."""
    def answers():
        assert machine.process.poll() is None, machine.dump()
        return sum("us" in ping for ping in machine.lines("ping"))
    mark = answers()
    wait_for(lambda: answers() >= mark + count, "answered pings")


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
    machine = client(bench, ENDLESS)
    for kill in range(1, 6):
        answered(machine, 10)
        bench.kill(hub)
        for port in ("port0", "port1"):
            os.unlink(bench.path(port))
        hub = bench.hub("port0", "port1")
        wait_for(lambda: server.status()["nets"][0]["connections"] == kill + 1, "reconnection")
    answered(machine, 20)
    machine.call("stop")
    machine.wait()
    assert "error" not in machine.console() + server.console(), server.dump()
    assert bench.hub and server.status()["nets"][0]["link"]


def flood_and_kill(bench):
    """Rings full both ways when the backend dies: positions must be right afterwards, or nothing moves again."""
    hub = bench.hub("port0", "port1")
    sink = bench.machine(*nic(bench, 1), cmdline=f"ip=10.0.0.2 peer=10.0.0.1 seconds=4 {ENDLESS.replace('=', '=sink,', 1)}")
    sink.wait_line("sink ready")
    flood = client(bench, f"seconds=5 {ENDLESS.replace('=', '=flood,', 1)}")
    wait_for(lambda: sink.status()["uptime-us"] > 1500000, "some flood")
    for _ in range(3):
        bench.kill(hub)
        for port in ("port0", "port1"):
            os.unlink(bench.path(port))
        hub = bench.hub("port0", "port1")
    for machine in (sink, flood):
        answered(machine, 3)
    assert int(sink.lines("sink-result")[0]["frames"]) > 1000, sink.dump()
    assert int(flood.lines("flood-result")[0]["frames"]) > 1000, flood.dump()


def backend_dials(bench):
    """The machine listens, the switch dials; both come back when the other was away."""
    hub = bench.hub("=port0", "=port1")
    server = echo_server(bench, "listen")
    machine = client(bench, ENDLESS, "listen")
    answered(machine, 10)
    bench.kill(hub)
    bench.hub("=port0", "=port1")
    answered(machine, 10)
    assert server.status()["nets"][0]["connections"] == 2 and "error" not in server.console(), server.dump()
    for one in (machine, server):
        one.call("stop")
        one.wait()
    assert os.geteuid() == 0 or not os.path.exists(bench.path("port1")), "its socket is left"


def link_state(bench):
    """A backend that stays away takes the guest's link down; one that comes back brings it up."""
    hub = bench.hub("port0")
    machine = client(bench, "mode=link seconds=600")
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
