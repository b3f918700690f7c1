# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's testpmd as a guest of many segments: one virtio-user port in each, which sends each frame back, its addresses swapped.

    pmd = Testpmd(weft, {"web": ((packed, mergeable, in_order, vectorized), 256)}, queues)     # port acme/pmd-web
    bounce(weft, {"web": weft.guest("acme/probe-web")}, queues)
"""
import os
import random
import struct
import subprocess

from guest import ethernet
from weft import wait_for

PROBE, PEER = "52:54:00:00:00:01", "52:54:00:00:00:02"
FRAMES = 96


def config(names, queues, client=False):
    ports = {}
    for name in names:
        ports["probe-" + name] = {"segment": name, "queues": queues}
        ports["pmd-" + name] = {"segment": name, "queues": queues, "client": client}
    return {"version": 1, "tenants": {"acme": {"segments": {name: {"mode": "isolated"} for name in names}, "ports": ports}}}


class Testpmd:
    def __init__(self, weft, ports, queues, server=False):
        """ports: {segment: (form, ring size)}"""
        self.weft, self.ports, self.log_path = weft, ports, os.path.join(weft.directory, "testpmd.log")
        devices = []
        for i, (name, ((packed, mergeable, in_order, vectorized), size)) in enumerate(ports.items()):
            devices += ["--vdev", f"net_virtio_user{i},path={weft.socket('acme/pmd-' + name)},queues={queues},queue_size={size},"
                        f"packed_vq={packed},mrg_rxbuf={mergeable},in_order={in_order},vectorized={vectorized},"
                        f"server={int(server)},mac={PEER}" + (",cq=1" if queues > 1 else "")]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["stdbuf", "-oL", "dpdk-testpmd", "--lcores", "0@0,1@0", "--no-pci", "--no-huge", "-m", "512", "--no-telemetry", "--iova-mode=va",
                 f"--file-prefix=weft-test-{os.getpid()}", "--log-level=lib.eal:error", *devices, "--", "--forward-mode=macswap",
                 "--port-topology=loop", f"--rxq={queues}", f"--txq={queues}", "--nb-cores=1", "--burst=32",
                 "--total-num-mbufs=49152", "--stats-period=3600", "--no-flush-rx", "--auto-start"],
                stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            # rings are up before testpmd has put buffers into them: the forwarding loop is what to wait for; it says so
            # before it throws away what has arrived, if it is let
            wait_for(lambda: "start packet forwarding" in self.log() and self.up(), "virtio-user ports up")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def up(self):
        assert self.process.poll() is None, "testpmd ended"
        counters = self.weft.counters()
        return all(counters["acme/pmd-" + name]["state"] == "up" for name in self.ports)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


def bounce(weft, probes, queues):
    """FRAMES known frames of all sizes go to every testpmd port and come back, bytes equal, addresses swapped."""
    dice = random.Random(len(probes) + queues)
    before = weft.counters()
    for name, probe in probes.items():
        wanted = set()
        for i in range(FRAMES):
            ip = struct.pack("!BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 17, 0, 0x0a000001 + i, 0x0a000002)  # a flow each
            body = ip + struct.pack("!HHHH", 1000 + i, 9, 20, 0) + dice.randbytes(dice.randrange(18, 1460))
            probe.send(ethernet(PEER, PROBE, 0x0800, body), pair=i % queues)
            wanted.add(ethernet(PROBE, PEER, 0x0800, body))
        frames = probe.receive(60, FRAMES) + probe.receive(0.002)
        assert len(frames) == FRAMES and set(frames) == wanted, f"{name}: {len(frames)} of {FRAMES} came back"
    weft.check_counters()  # what is received may not be counted yet
    after = weft.counters()
    for name in probes:
        c, old = after["acme/pmd-" + name], before["acme/pmd-" + name]
        assert c["tx_packets"] - old["tx_packets"] == c["rx_packets"] - old["rx_packets"] == FRAMES, f"{name}: {c}"
        assert c["drops_to"] == c["drops_from"] == c["ring_errors"] == c["protocol_errors"] == 0, f"{name}: {c}"
