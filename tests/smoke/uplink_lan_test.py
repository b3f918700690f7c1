#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A bridged segment on an interface that the host keeps using: everything that a peer of the LAN expects.

  lan                    host                                    guest (the kernel's stack on a tap port)
  lan0 10.0.0.1 ──────── up0 10.0.0.9, uplink "lan" ── acme/web ── acme/g: address from dnsmasq in lan

usage: uplink_lan_test.py [af_packet | af_xdp | af_xdp generic]
"""
import os
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Namespace, check_released, ip, transfer, udp_listener  # noqa: E402
from netns import Host, enter  # noqa: E402
from weft import Weft, skip, wait_for  # noqa: E402

KIND, TAP, PORT = sys.argv[1] if len(sys.argv) > 1 else "af_packet", f"wt{os.getpid()}", 9999
CONFIG = {"version": 1, "uplinks": {"lan": {"device": KIND + ":up0"}}, "tenants": {"acme": {
    "segments": {"web": {"mode": "bridged", "uplink": "lan"}}, "ports": {"g": {"segment": "web", "tap": TAP}}}}}


def lease(weft, lan, guest):
    """The guest's address, from a stock DHCP server on the LAN."""
    script, leases = os.path.join(weft.directory, "bound"), os.path.join(weft.directory, "leases")
    with open(script, "w", encoding="utf-8") as text:
        text.write('#!/bin/sh\n[ "$1" != bound ] || ip addr add "$ip/$mask" dev "$interface"\n')
    os.chmod(script, stat.S_IRWXU)
    lan.popen("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=lan0", "--bind-interfaces",
              "--dhcp-range=10.0.0.50,10.0.0.60,255.255.255.0,1h", f"--dhcp-leasefile={leases}", "--user=root",
              "--pid-file=", "--no-ping", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    guest.run("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "60", "-T", "1", "-s", script)
    with open(leases, encoding="utf-8") as text:
        return text.read().split()[2]


def broadcast(sender, listeners, silent):
    """Everybody of listeners hears it once, silent ones do not."""
    with sender.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for number in range(50):
            out.sendto(str(number).encode(), ("10.0.0.255", PORT))
    for listener in listeners:
        heard = [int(listener.recv(100)) for _ in range(50)]
        assert sorted(heard) == list(range(50)), heard
    for listener in (*listeners, *silent):
        listener.setblocking(False)
        try:
            raise AssertionError(f"heard {listener.recv(100)}")
        except BlockingIOError:
            listener.settimeout(60)


def check_ping(lan, address):
    answer = lan.run("ping", "-n", "-c", "20", "-i", "0.01", "-W", "60", address).stdout
    assert "20 received" in answer and "DUP" not in answer, answer


def main():
    if subprocess.run(["sh", "-c", "command -v dnsmasq && busybox udhcpc --help"], capture_output=True, check=False).returncode:
        skip("no dnsmasq or no busybox with udhcpc")
    enter(sys.argv)
    with Namespace() as lan, Namespace() as guest:
        lan.veth("up0", "lan0")
        lan.ip("addr", "add", "10.0.0.1/24", "dev", "lan0")
        ip("addr", "add", "10.0.0.9/24", "dev", "up0")
        with Weft(CONFIG) as weft:
            guest.guest(TAP)
            address = lease(weft, lan, guest)
            for host in (address, "10.0.0.9"):
                check_ping(lan, host)
            transfer(lan, guest, address)
            transfer(guest, lan, "10.0.0.1")
            transfer(lan, Host, "10.0.0.9")
            transfer(Host, lan, "10.0.0.1")
            ears = [udp_listener(*ear) for ear in ((lan, PORT, "lan0"), (Host, PORT, "up0"), (guest, PORT, "eth0"))]
            broadcast(lan, ears, ())  # a sender hears itself
            broadcast(guest, ears[::2], ears[1:2])  # like macvlan: the host does not hear guests over its own interface
            uplink = weft.items("uplink", "show", "lan")[0]
            print(KIND, {key: uplink.get(key) for key in ("state", "link", "xdp", "zero_copy", "interface_queues")})
            assert uplink["state"] == uplink["link"] == "up" and uplink["mtu"] == uplink["interface_mtu"] == 1500, uplink
            assert uplink["rx_packets"] > 5000 and uplink.get("xdp") == ("native" if KIND == "af_xdp" else None), uplink
            wait_for(lambda: all(worker["asleep"] for worker in weft.status()["workers"]), "an idle switch sleeps")
        check_released("up0")
        check_ping(lan, "10.0.0.9")


main()
