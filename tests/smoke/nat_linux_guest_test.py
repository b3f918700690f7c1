#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Linux guests (Debian's kernel, QEMU without KVM, stock virtio-net, offloads on) behind NAT see what kernel stacks behind
nftables' masquerade see: the facts of tests/lib/nat_scene.py. Both configure themselves by DHCP and resolve names; their TSO
frames are translated whole and leave whole, and no checksum is wrong.

  guest (10.0.1.10) ── acme/app (10.0.1.1 | 192.0.2.2) ── edge (192.0.2.1 | 198.51.100.1, MTU 1280) ── far (198.51.100.9)
  peer  (10.0.1.20, also 192.0.2.77) ──┘

usage: nat_linux_guest_test.py [af_packet | af_xdp]
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import netns  # noqa: E402
from checksums import Checksums, checksum_errors  # noqa: E402
from guest import CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF  # noqa: E402
from linux_space import Image, LinuxSpace  # noqa: E402
from linux_vm import prepare  # noqa: E402
from nat_scene import Scene, udhcpc  # noqa: E402
from weft import Weft  # noqa: E402

KIND = sys.argv[1] if len(sys.argv) > 1 else "af_packet"
PORTS = {"guest": ("52:54:00:00:04:01", "10.0.1.10"), "peer": ("52:54:00:00:04:02", "10.0.1.20")}
CONFIG = {"version": 1, "uplinks": {"lan0": {"device": KIND + ":lan0"}}, "tenants": {"acme": {
    "segments": {"app": {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan0"}},
    "ports": {name: {"segment": "app", "mac": mac, "ip": ip} for name, (mac, ip) in PORTS.items()},
    "nat": {"app": {"address": "uplink", "one-to-one": {"peer": "192.0.2.77"},
                    "forwards": [{"proto": "tcp", "port": 8443, "to": "peer:443"}]}}}}}
SIZE = 8 << 20


def configure(weft, name, guest):
    """By DHCP, and nothing else."""
    lease = udhcpc(guest)
    print(name, lease)
    assert lease["router"] == lease["dns"] == "10.0.1.1" and lease["mtu"] == "1500" and lease["ip"] == PORTS[name][1], lease
    guest.run("busybox", "sh", "-c", f"echo nameserver {lease['dns']} >/etc/resolv.conf")
    features = int(weft.items("port", "show", f"acme/{name}")[0]["features"], 16)
    wanted = CSUM | GUEST_CSUM | HOST_TSO4 | GUEST_TSO4 | MRG_RXBUF
    assert features & wanted == wanted, f"{name}: features {features:#x}"


def check_segments(weft, scene, guest):
    """By name, both ways; the guest's frames are longer than any link's, and it learns from their fate what the path takes."""
    guest.run("busybox", "ip", "route", "flush", "cache")
    assert scene.path_mtu(guest, "198.51.100.9") == 1500
    before, uplink = weft.counters()["acme/guest"], weft.items("uplink", "show", "lan0")[0]
    assert scene.fetch(guest, "server.example.net", 80, SIZE)[0] == "192.0.2.2"
    assert scene.path_mtu(guest, "198.51.100.9") == 1280
    after = weft.counters()["acme/guest"]
    packets, size = (after[name] - before[name] for name in ("rx_packets", "rx_bytes"))
    cut = weft.items("uplink", "show", "lan0")[0]["tx_segments"] - uplink["tx_segments"]
    print(f"{size} bytes in {packets} frames from the guest, {cut} of them cut by weft")
    assert size > SIZE and size / packets > 4000, "segments did not come whole"
    assert cut == 0, "segments leave whole, by AF_XDP too where it copies"


def main():
    prepare()  # here, where there is a way to Debian's archive
    netns.enter(sys.argv, resolv_conf="nameserver 192.0.2.1\n")
    netns.need("tcpdump", "traceroute", "ping", "ethtool", "nft", "dnsmasq")
    start = time.monotonic()
    with netns.Network() as net:
        scene = Scene(net)
        netns.run("ethtool", "-K", "lan0", "tx", "off")  # the wire: nothing is left to do for the other end
        with Weft(CONFIG, expect_warnings=True) as weft:
            image = Image(weft.directory, "ping", "traceroute")
            guests = {name: LinuxSpace(weft, f"acme/{name}", mac, image) for name, (mac, _) in PORTS.items()}
            try:
                for name, guest in guests.items():
                    configure(weft, name, guest)
                print(f"configured {time.monotonic() - start:.1f} s after start")
                with Checksums(scene.edge, "eth0", weft.directory) as seen:
                    facts = scene.facts(guests["guest"], guests["peer"])
                    check_segments(weft, scene, guests["guest"])
                wrong = {space: checksum_errors(space) for space in (*guests.values(), scene.edge, scene.far)}
                assert not any(wrong.values()), wrong
                assert not guests["guest"].complaints() + guests["peer"].complaints()
                print(f"seen {time.monotonic() - start:.1f} s after start")
            finally:
                for guest in guests.values():
                    guest.stop()
        print(f"{seen.correct} TCP segments on the wire with the right checksum, {len(seen.wrong)} with another; "
              f"the longest frame has {seen.longest} bytes")
        assert seen.correct > 2 * SIZE / 1500 and not seen.wrong and seen.longest <= 1514, seen.wrong[:10]
        scene.compare(facts)


main()
