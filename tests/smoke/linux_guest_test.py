#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Linux guests (Debian's kernel, QEMU without KVM, stock virtio-net) in segments of two tenants with the same addresses.

  acme/web:  vm1 10.0.0.1 ───── vm2 10.0.0.2        TCP both ways, 64 MiB in all, checksums and segments offloaded
  acme/db:   vm3 10.0.0.1       probe               vm3 and vm4 have vm1's MAC and address and look for vm2's;
  bolt/web:  vm4 10.0.0.1       probe               the probes (frontends of this test) hear all that their segment floods
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from guest import GUEST_CSUM, GUEST_TSO4, HOST_TSO4, CSUM, MRG_RXBUF  # noqa: E402
from linux_vm import LinuxVm, prepare  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

MAC = {"acme/vm1": "52:54:00:00:00:01", "acme/vm2": "52:54:00:00:00:02", "acme/vm3": "52:54:00:00:00:01",
       "bolt/vm4": "52:54:00:00:00:01"}
CONFIG = {"version": 1, "tenants": {
    "acme": {"segments": {"web": {"mode": "isolated"}, "db": {"mode": "isolated"}},
             "ports": {"vm1": {"segment": "web", "mac": MAC["acme/vm1"], "ip": "10.0.0.1", "spoof": "allow"},
                       "vm2": {"segment": "web"}, "vm3": {"segment": "db"}, "probe": {"segment": "db"}}},
    "bolt": {"segments": {"web": {"mode": "isolated"}}, "ports": {"vm4": {"segment": "web"}, "probe": {"segment": "web"}}}}}
PAIR = """
serve 32
ip addr add 10.0.0.{own}/24 dev eth0
reach 10.0.0.{peer}
echo arp $(ip neigh show 10.0.0.{peer} | cut -d' ' -f5)
echo loss $(ping -c 5 -i 0.2 -s 1400 10.0.0.{peer} | sed -n 's/.* \\([0-9]*\\)% packet loss.*/\\1/p')
"""
FIRST = "fetch 10.0.0.1; touch /tmp/www/turn; until [ -e /never ]; do sleep 1; done\n"
SECOND = "until wget -q -O - http://10.0.0.2/turn; do sleep 1; done; fetch 10.0.0.2; until [ -e /never ]; do sleep 1; done\n"
# a stranger: nobody answers it
ALONE = """
ip addr add 10.0.0.1/24 dev eth0
echo heard $(ping -c 2 -W 1 10.0.0.2 | sed -n 's/.* \\([0-9]*\\) packets received.*/\\1/p')
until [ -e /never ]; do sleep 1; done
"""


def bulk(weft, sender, receiver, before, start):
    """Waits until receiver has summed all of sender's bytes; checks them and the size of the frames that carried them."""
    received, sent = receiver.wait("in-sum"), sender.wait("out-sum")
    assert received == sent, f"{sender.port} sent {sent}, {receiver.port} received {received}"
    after = weft.counters()
    packets, size = (after[sender.port][name] - before[sender.port][name] for name in ("rx_packets", "rx_bytes"))
    print(f"{sender.port} -> {receiver.port}: {size} bytes in {packets} frames, {size / packets:.0f} on average; "
          f"{time.monotonic() - start:.1f} s after start")
    assert after[sender.port]["rx_bytes"] > 32 << 20 and size / packets > 20000, "segments did not cross whole"
    return after


def main():
    prepare()
    start = time.monotonic()
    with Weft(CONFIG, expect_warnings=True) as weft:
        probes = [weft.guest("acme/probe"), weft.guest("bolt/probe")]
        vms = {port: LinuxVm(weft, port, MAC[port], scenario) for port, scenario in [
            ("acme/vm1", PAIR.format(own=1, peer=2) + SECOND), ("acme/vm2", PAIR.format(own=2, peer=1) + FIRST),
            ("acme/vm3", ALONE), ("bolt/vm4", ALONE)]}
        try:
            check(weft, vms, probes, start)
        finally:
            for vm in vms.values():
                vm.stop()


def check(weft, vms, probes, start):
    one, two = vms["acme/vm1"], vms["acme/vm2"]
    assert one.wait("arp") == MAC["acme/vm2"] and two.wait("arp") == MAC["acme/vm1"]
    assert one.wait("loss") == "0" and two.wait("loss") == "0", "ping lost"
    print(f"four guests up, ARP and ping: {time.monotonic() - start:.1f} s")
    for port in MAC:
        features = int(weft.items("port", "show", port)[0]["features"], 16)
        wanted = CSUM | GUEST_CSUM | HOST_TSO4 | GUEST_TSO4 | MRG_RXBUF
        assert features & wanted == wanted, f"{port}: features {features:#x}"
    nothing = {port: {"rx_packets": 0, "rx_bytes": 0} for port in MAC}
    between = bulk(weft, one, two, nothing, start)
    bulk(weft, two, one, between, start)
    for vm in (vms["acme/vm3"], vms["bolt/vm4"]):
        assert vm.wait("heard") == "0", f"{vm.port} was answered"
    for vm, probe in ((vms["acme/vm3"], probes[0]), (vms["bolt/vm4"], probes[1])):
        # what the probe heard is exactly what the stranger sent, who may be speaking yet and heard nothing at all
        def heard(vm=vm):
            ports = weft.counters()
            mine, count = ports[vm.port], ports[probe_name(vm)]["tx_packets"]
            assert mine["tx_offered"] == 0, mine
            return mine["rx_packets"] == count and count
        count = wait_for(heard, "all that the stranger says")
        frames = probe.receive(60, count)
        assert len(frames) == count and all(frame[6:12].hex(":") == MAC[vm.port] for frame in frames)
        print(f"{vm.port}: nothing heard, {count} frames sent")


def probe_name(vm):
    return vm.port.split("/")[0] + "/probe"


main()
