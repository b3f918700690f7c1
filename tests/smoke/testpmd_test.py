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
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from guest import MQ, MRG_RXBUF, VERSION_1  # noqa: E402
from testpmd import FRAMES, Testpmd, bounce, config  # noqa: E402
from weft import Weft, skip, wait_for  # noqa: E402

FORMS = list(itertools.product((0, 1), repeat=4))  # packed_vq, mrg_rxbuf, in_order, vectorized
SIZES = (256, 1024)


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
