#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's virtio-user as the guest, in every form of its rings; frames go through it and come back whole.

  probe (this test) ── segment ── testpmd: one virtio-user port a segment, sends each frame back, addresses swapped

  split and packed x mergeable x in-order x vectorized x 256 and 1024 descriptors (32 segments), all with 1 and with
  4 queue pairs; then testpmd dies and comes back on the same sockets, and weft-dataplane dies under virtio-user servers
  (ports with client: true), which connect again by themselves.
"""
import itertools
import os
import random
import shutil
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from guest import MQ, MRG_RXBUF, VERSION_1, ethernet, mac  # noqa: E402
from weft import Weft, skip, wait_for  # noqa: E402

PROBE, PEER = "52:54:00:00:00:01", "52:54:00:00:00:02"
FORMS = list(itertools.product((0, 1), repeat=4))  # packed_vq, mrg_rxbuf, in_order, vectorized
SIZES = (256, 1024)
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


def matrix(queues):
    forms = {"".join(map(str, form)) + f"-{size}": (form, size) for form in FORMS for size in SIZES}
    names, began = list(forms), time.monotonic()
    with Weft(config(names, queues)) as weft:
        features = VERSION_1 | MRG_RXBUF | (MQ if queues > 1 else 0)
        probes = {name: weft.guest("acme/probe-" + name, pairs=queues, features=features) for name in names}
        for chosen in ([names[i] for i in range(0, 32, 2)], [names[i] for i in range(1, 32, 2)]):
            part = {name: probes[name] for name in chosen}
            for again in ("", " after kill -9"):
                pmd = Testpmd(weft, {name: forms[name] for name in chosen}, queues)
                try:
                    bounce(weft, part, queues)
                    shown = {name: weft.items("port", "show", "acme/pmd-" + name)[0] for name in chosen}
                finally:
                    pmd.kill()
                wait_for(lambda: all(weft.counters()["acme/pmd-" + name]["state"] == "down" for name in part), "down")
                print(f"{queues} queues{again}: {len(part)} ports, {FRAMES} frames each there and back; {time.monotonic() - began:.1f} s")
            for name, port in shown.items():
                (packed, mergeable, in_order, _), size = forms[name]
                bits = int(port["features"], 16)
                assert (bits >> 34 & 1, bits >> 15 & 1, bits >> 35 & 1) == (packed, mergeable, in_order), f"{name}: {bits:#x}"
                used = [queue for queue in port["queue"] if queue["rx_packets"]]
                assert len(used) == queues and all(queue["ring_size"] == size for queue in used), f"{name}: {port['queue']}"


def dataplane_killed():
    forms = {f"{packed}{mergeable}": ((packed, mergeable, 1, 0), 256) for packed in (0, 1) for mergeable in (0, 1)}
    with Weft(config(list(forms), 1, client=True), expect_warnings=True) as weft:
        pmd = Testpmd(weft, forms, 1, server=True)
        try:
            probes = {name: weft.guest("acme/probe-" + name) for name in forms}
            bounce(weft, probes, 1)
            began = time.monotonic()
            os.kill(weft.dataplane_pid(), 9)
            for probe in probes.values():
                wait_for(lambda probe=probe: probe.reconnect() == 0, "probe reconnects")
            wait_for(pmd.up, "virtio-user servers connected again")
            print(f"dataplane killed: virtio-user servers connected again after {1000 * (time.monotonic() - began):.0f} ms")
            bounce(weft, probes, 1)
            assert weft.status()["dataplane"]["restarts"] == 1
        finally:
            pmd.kill()


if not shutil.which("dpdk-testpmd"):
    skip("dpdk-testpmd is not installed (package dpdk)")
matrix(1)
matrix(4)
dataplane_killed()
