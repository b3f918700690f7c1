#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""DNS over TCP at the gateway: answers that no datagram carries reach guests (dig asks again by TCP, RFC 7766), names of
the tenant too; questions one after the other, in pieces; a guest that takes all of its connections takes nobody else's.

  acme/guest, acme/peer ── acme/app (nat) ── lan0 192.0.2.2 ── eth0 192.0.2.1 edge: dnsmasq with big.example.net
"""
import os
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import netns  # noqa: E402
from dns_clients import ASK, HOLD, LEAVE  # noqa: E402
from netns import run  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

TAPS = {"guest": (f"wg{os.getpid()}", 10), "peer": (f"wp{os.getpid()}", 20)}
CONFIG = {"version": 1, "uplinks": {"lan0": {"device": "af_packet:lan0"}}, "tenants": {"acme": {
    "segments": {"app": {"mode": "nat", "subnet": ["10.0.1.0/24", "fd00:1::/64"], "uplink": "lan0"}},
    "ports": {name: {"segment": "app", "tap": tap, "ip": [f"10.0.1.{low}", f"fd00:1::{low}"], "spoof": "allow"}
              for name, (tap, low) in TAPS.items()}}}}
MANY = {f"10.{i // 200}.{i % 200}.7" for i in range(2000)}  # 32 KB of answer


def dig(space, *arguments):
    return set(space.run("dig", "+short", "+time=10", "+tries=2", *arguments).stdout.split())


def main():
    netns.need("dig", "dnsmasq")
    netns.enter(sys.argv, resolv_conf="nameserver 192.0.2.1\n")
    with netns.Network() as net, tempfile.NamedTemporaryFile("w", prefix="weft-hosts-") as hosts:
        hosts.write("".join(f"{address} big.example.net\n" for address in MANY))
        hosts.flush()
        os.chmod(hosts.name, 0o644)
        edge = net.namespace("edge")
        net.veth(edge, "eth0", None, "lan0")
        run("ip", "addr", "add", "192.0.2.2/24", "dev", "lan0")
        edge.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        dnsmasq = edge.popen("dnsmasq", "-k", "-C", "/dev/null", "-R", "-h", "--pid-file=", "-H", hosts.name)
        reference = ("dig", "+tcp", "+short", "@192.0.2.1", "big.example.net")
        wait_for(lambda: set(edge.run(*reference, check=False).stdout.split()) == MANY, "dnsmasq")
        with Weft(CONFIG):
            spaces = {}
            for name, (tap, low) in TAPS.items():
                spaces[name] = net.namespace(name)
                spaces[name].take(tap, "eth0")
                spaces[name].run("ip", "addr", "add", f"10.0.1.{low}/24", "dev", "eth0")
                spaces[name].run("ip", "addr", "add", f"fd00:1::{low}/64", "dev", "eth0", "nodad")
            guest, peer = spaces["guest"], spaces["peer"]
            for gateway in ("@10.0.1.1", "@fd00:1::1"):
                assert dig(guest, gateway, "big.example.net") == MANY, gateway  # by UDP first: truncated
                assert dig(guest, gateway, "+tcp", "peer.acme.internal") == {"10.0.1.20"}, gateway
            assert guest.python(ASK).split() == ["1", str(len(MANY))]
            holder = guest.popen(sys.executable, "-c", HOLD, stdin=-1, stdout=-1)
            assert holder.stdout.readline() == "8\n", "a guest's share"
            assert dig(peer, "@10.0.1.1", "+tcp", "big.example.net") == MANY
            assert holder.communicate("\n", timeout=60)[0] == "closed by weft\n"
            assert dig(guest, "@10.0.1.1", "+tcp", "big.example.net") == MANY, "its share is free again"
            dnsmasq.send_signal(signal.SIGSTOP)  # its kernel accepts connections all the same
            guest.python(LEAVE)
            assert dig(guest, "@10.0.1.1", "+tcp", "peer.acme.internal") == {"10.0.1.20"}
            left = run("ss", "-Htn", "state", "established", "dst", "192.0.2.1:53").stdout
            dnsmasq.send_signal(signal.SIGCONT)
            assert left == "", f"questions whose guest is gone:\n{left}"


main()
