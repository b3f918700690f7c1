# SPDX-License-Identifier: BSD-3-Clause
"""What guests behind address translation and servers outside see of each other: run against weft and against
nftables masquerade, whose answers are compared. Each function returns something that can be compared.

  guest (10.0.1.10) ── gateway (10.0.1.1 | 192.0.2.2) ── edge (192.0.2.1 | 198.51.100.1, MTU 1280) ── far (198.51.100.9)
  peer  (10.0.1.20) ──┘
"""
import os
import re
import subprocess
import sys

from netns import run
from weft import wait_for

SERVE = """
import hashlib, os, socket, sys, threading
address, family = sys.argv[1], socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
def tcp(port):
    listener = socket.create_server((address, port), family=family)
    def one(stream, peer):
        with stream:
            stream.settimeout(300); file = stream.makefile("rb")
            while line := file.readline():
                data = file.read(int(line))
                stream.sendall(f"{peer[0]} {peer[1]} {hashlib.sha256(data).hexdigest()}\\n".encode() + data)
    while True:
        threading.Thread(target=one, args=listener.accept(), daemon=True).start()
def udp(port):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, port))
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(f"{peer[0]} {peer[1]} ".encode() + data, peer)
for port in sys.argv[2:]:
    threading.Thread(target=tcp, args=(int(port),), daemon=True).start()
    threading.Thread(target=udp, args=(int(port),), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""

FETCH = """
import hashlib, os, socket, sys, threading
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 300); s.settimeout(300)
data = os.urandom(int(sys.argv[3]))
def send():
    s.sendall(sys.argv[3].encode() + b"\\n" + data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
f = s.makefile("rb"); address, port, digest = f.readline().decode().split(); back = f.read()
assert back == data and hashlib.sha256(data).hexdigest() == digest, len(back)
print(address, port)
"""

CLOSED = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 300)
except ConnectionRefusedError:
    print("refused")
"""

ECHO = """
import os, socket, sys
ipv6 = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); size = int(sys.argv[3])
s.setsockopt(*((socket.IPPROTO_IPV6, 23, 0) if ipv6 else (socket.IPPROTO_IP, 10, 0)))  # MTU_DISCOVER: PMTUDISC_DONT
data = os.urandom(size)
for attempt in range(20):
    s.sendto(data, (sys.argv[1], int(sys.argv[2])))
    try:
        answer = s.recv(65536)
        break
    except TimeoutError:
        answer = None
assert answer, "no answer"
address, port, rest = answer.split(b" ", 2)
assert rest == data, (len(rest), size)
print(address.decode(), port.decode())
"""

PATH_MTU = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((sys.argv[1], 9))
    print(s.getsockopt(socket.IPPROTO_IP, 14))  # IP_MTU
"""

STREAM = """
import os, socket, sys, threading
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 300); s.settimeout(300); f = s.makefile("rb")
print("connected", flush=True)
for line in sys.stdin:
    size = int(line); data = os.urandom(size)
    threading.Thread(target=s.sendall, args=(b"%d\\n" % size + data,), daemon=True).start()
    f.readline(); assert f.read(size) == data
    print("ok", flush=True)
"""

LEASE_SCRIPT = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr replace "$ip/$mask" dev "$interface"
[ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
[ -n "$router" ] && ip route replace default via "$router"
echo "lease ip=$ip router=$router dns=$dns mtu=$mtu domain=$domain"
"""


def udhcpc(space):
    """Configures eth0 by DHCP; what the lease says."""
    path = f"/tmp/weft-udhcpc-{os.getpid()}"
    space.run("busybox", "sh", "-c", 'printf %s "$1" >"$0" && chmod 755 "$0"', path, LEASE_SCRIPT)
    try:
        text = space.run("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "60", "-T", "1", "-O", "mtu",
                         "-s", path).stdout
    finally:
        space.run("busybox", "rm", path)
    return dict(word.split("=", 1) for word in re.search(r"^lease (.*)$", text, re.M)[1].split())


class Stream:
    """A TCP connection that stays open."""
    def __init__(self, space, address, port):
        self.child = space.popen(sys.executable, "-c", STREAM, address, str(port), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        assert self.child.stdout.readline() == "connected\n", "no connection"

    def exchange(self, size):
        self.child.stdin.write(f"{size}\n")
        self.child.stdin.flush()
        assert self.child.stdout.readline() == "ok\n", "the connection broke"


class Scene:
    """Everything but the guests and their gateway."""
    # hairpin: the kernel's masquerade gives the bridge's address as the source, weft the outside one (RFC 4787 REQ-9)
    may_differ = {"hairpin", "hairpin to one-to-one"}

    def __init__(self, net):
        self.net = net
        self.edge, self.far = net.namespace("edge"), net.namespace("far")
        net.veth(self.edge, "eth0", None, "lan0")
        net.veth(self.edge, "eth1", self.far, "eth0")
        self.edge.run("ethtool", "-K", "eth0", "tx", "off")  # an XDP program is given no checksum requests
        run("ip", "addr", "add", "192.0.2.2/24", "dev", "lan0")
        run("ip", "route", "add", "default", "via", "192.0.2.1")
        self.edge.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
        self.edge.run("ip", "addr", "add", "198.51.100.1/24", "dev", "eth1")
        self.edge.run("ip", "route", "change", "198.51.100.0/24", "dev", "eth1", "src", "198.51.100.1", "mtu", "lock", "1280")
        self.edge.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.far.run("ip", "addr", "add", "198.51.100.9/24", "dev", "eth0")
        self.far.run("ip", "route", "add", "default", "via", "198.51.100.1")
        self.edge.popen("dnsmasq", "-k", "-C", "/dev/null", "-R", "-h", "--pid-file=",
                        "-A", "/www.example.net/203.0.113.5", "-A", "/server.example.net/198.51.100.9",
                        "-A", "/www.example.net/2001:db8:2::9")
        wait_for(lambda: "203.0.113.5" in self.edge.run("busybox", "nslookup", "www.example.net", "192.0.2.1", check=False).stdout, "dnsmasq")
        self.serve(self.far, 80)

    @staticmethod
    def serve(space, *ports, address="0.0.0.0"):
        child = space.popen(sys.executable, "-c", SERVE, address, *map(str, ports), stdout=subprocess.PIPE)
        assert child.stdout.readline() == "ready\n"

    @staticmethod
    def fetch(space, address, port, size=4 << 20):
        """TCP, the same bytes both ways; the address and port that the server saw."""
        seen, seen_port = space.python(FETCH, address, port, size).split()
        return seen, int(seen_port)

    @staticmethod
    def echo(space, address, port, size):
        seen, seen_port = space.python(ECHO, address, port, size).split()
        return seen, int(seen_port)

    @staticmethod
    def path_mtu(space, address):
        """What the host believes that the path takes."""
        return int(space.python(PATH_MTU, address))

    @staticmethod
    def stream(space, address, port):
        return Stream(space, address, port)

    @staticmethod
    def ping(space, *arguments):
        """What ping says but times."""
        text = space.run("ping", "-n", "-c", "1", "-W", "100", *arguments, check=False).stdout
        return re.findall(r"ttl=\d+|From \S+|Time to live exceeded|Frag needed and DF set \(mtu = \d+\)"
                          r"|Destination \w+ Unreachable", text)

    @staticmethod
    def traceroute(space, address):
        text = space.run("traceroute", "-n", "-q", "1", "-w", "60", "-m", "8", address).stdout
        return re.findall(r"^ *\d+ +(\S+)", text, re.M)

    def facts(self, guest, peer):
        """What is seen; each value can be compared."""
        self.serve(peer, 443)
        return {
            "path mtu": self.ping(guest, "-M", "do", "-s", "1400", "198.51.100.9"),
            "fetch": self.fetch(guest, "198.51.100.9", 80)[0],
            "echo": self.echo(guest, "198.51.100.9", 80, 100)[0],
            "fragments": self.echo(guest, "198.51.100.9", 80, 20000)[0],
            "ping": self.ping(guest, "198.51.100.9"),
            "ping in fragments": self.ping(guest, "-s", "5000", "198.51.100.9"),
            "first hop": self.ping(guest, "-t", "1", "198.51.100.9"),
            "second hop": self.ping(guest, "-t", "2", "198.51.100.9"),
            "traceroute": self.traceroute(guest, "198.51.100.9"),
            "gateway": self.ping(guest, "10.0.1.1"),
            "nobody there": self.ping(guest, "198.51.100.77"),
            "closed port": guest.python(CLOSED, "198.51.100.9", 81),
            "forward": self.fetch(self.edge, "192.0.2.2", 8443)[0],
            "forward from afar": self.fetch(self.far, "192.0.2.2", 8443)[0],
            "one-to-one in": self.fetch(self.edge, "192.0.2.77", 443)[0],
            "one-to-one out": self.fetch(peer, "198.51.100.9", 80)[0],
            "one-to-one ping": self.ping(self.far, "192.0.2.77"),
            "one-to-one fragments": self.echo(self.far, "192.0.2.77", 443, 20000)[0],
            "hairpin": self.fetch(guest, "192.0.2.2", 8443)[0],
            "hairpin to one-to-one": self.fetch(guest, "192.0.2.77", 443)[0],
        }

    def masquerade(self):
        """The facts with the kernel's bridge, routing and nftables instead of weft."""
        guest, peer = self.net.namespace("kguest"), self.net.namespace("kpeer")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", "10.0.1.1/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        run("ip", "addr", "add", "192.0.2.77/32", "dev", "lan0")
        run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for space, address in ((guest, "10.0.1.10"), (peer, "10.0.1.20")):
            port = f"k{address[-2:]}"
            self.net.veth(space, "eth0", None, port)
            run("ip", "link", "set", port, "master", "br0")
            space.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
            space.run("ip", "route", "add", "default", "via", "10.0.1.1")
        run("nft", "-f", "-", input="""table ip nat {
            chain in { type nat hook prerouting priority -100;
                ip daddr 192.0.2.2 tcp dport 8443 dnat to 10.0.1.20:443
                ip daddr 192.0.2.77 dnat to 10.0.1.20
            }
            chain out { type nat hook postrouting priority 100;
                ip saddr 10.0.1.20 oifname "lan0" snat to 192.0.2.77
                ip saddr 10.0.1.0/24 oifname "lan0" masquerade
                ip saddr 10.0.1.0/24 ip daddr 10.0.1.20 ct status dnat masquerade
            }
        }
        """)
        return self.facts(guest, peer)

    def compare(self, facts):
        """What was seen behind weft is what is seen behind masquerade."""
        reference = self.masquerade()
        print("weft      ", facts, "masquerade", reference, sep="\n")
        differ = {name for name in reference if facts[name] != reference[name]}
        assert differ <= self.may_differ, {name: (facts[name], reference[name]) for name in differ}
