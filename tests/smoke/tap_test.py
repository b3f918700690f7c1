#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A tap port in a namespace against a Linux guest: TCP both ways, checksums and segments left to the other side.
Then the dataplane dies: QEMU connects again (reconnect=1), the guest notices nothing but a pause.

  namespace "host": wt0 10.0.0.1 ── acme/web ── acme/vm1: Linux under QEMU 10.0.0.2
"""
import hashlib
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from linux_vm import LinuxVm, prepare  # noqa: E402
from netns import enter, run  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

TAP = f"wt{os.getpid()}"
CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}}, "ports": {
    "host": {"segment": "web", "tap": TAP}, "vm1": {"segment": "web"}}}}}
SCENARIO = """
serve 32
ip addr add 10.0.0.2/24 dev eth0
reach 10.0.0.1
nc -l -p 81 -e sha256sum &
until netstat -ltn | grep -q ':81 '; do usleep 20000; done
echo ready 1
until [ -e /never ]; do sleep 1; done
"""
MIB = 32 << 20


def frames(weft, port, run):
    """Bytes and frames that the port sent to the switch while run() ran; its result."""
    before = weft.counters()[port]
    result = run()
    after = weft.counters()[port]
    size, packets = after["rx_bytes"] - before["rx_bytes"], after["rx_packets"] - before["rx_packets"]
    print(f"{port}: {size} bytes in {packets} frames, {size // packets} on average")
    assert size > MIB and size / packets > 20000, "segments did not cross whole"
    return result


def download():
    with socket.create_connection(("10.0.0.2", 80), 60) as stream:
        stream.settimeout(60)
        stream.sendall(b"GET /data HTTP/1.0\r\n\r\n")
        data = b"".join(iter(lambda: stream.recv(1 << 20), b""))
    return hashlib.sha256(data.split(b"\r\n\r\n", 1)[1]).hexdigest()


def answers():
    try:
        socket.create_connection(("10.0.0.2", 80), 2).close()
        return True
    except OSError:
        return False


def upload(data):
    """The guest's sha256sum reads the connection and answers on it."""
    with socket.create_connection(("10.0.0.2", 81), 60) as stream:
        stream.settimeout(60)
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        return stream.recv(100).split()[0].decode()


def main():
    prepare()
    enter(sys.argv)
    with Weft(CONFIG, expect_warnings=True) as weft:
        wait_for(lambda: os.path.exists(f"/proc/sys/net/ipv4/conf/{TAP}"), TAP)
        run("sysctl", "-qw", "net.ipv4.tcp_min_tso_segs=44")  # segments as long as they get, whatever the pace
        run("ip", "addr", "add", "10.0.0.1/24", "dev", TAP)
        run("ip", "link", "set", TAP, "up")
        vm = LinuxVm(weft, "acme/vm1", "52:54:00:00:00:02", SCENARIO)
        try:
            vm.wait("ready")
            summed = frames(weft, "acme/vm1", download)
            assert summed == vm.value("out-sum"), f"received {summed}, sent {vm.value('out-sum')}"
            data = os.urandom(MIB)
            answer = frames(weft, "acme/host", lambda: upload(data))
            assert answer == hashlib.sha256(data).hexdigest(), f"the guest received {answer}"
            ports = weft.counters()
            assert all(ports[name]["drops_from"] == 0 for name in ports), ports
            os.kill(weft.dataplane_pid(), signal.SIGKILL)
            began = time.monotonic()
            wait_for(answers, "the guest answers after the dataplane's death")
            print(f"dataplane killed: the guest answers again after {time.monotonic() - began:.1f} s")
            assert frames(weft, "acme/vm1", download) == vm.value("out-sum"), "after the dataplane's death"
        finally:
            vm.stop()


main()
