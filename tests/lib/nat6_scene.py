# SPDX-License-Identifier: BSD-3-Clause
"""The scene of nat_scene.py with IPv6 beside IPv4: the host's way out is a link-local next hop.

  guest (fd00:1::10) ── gateway (fd00:1::1 | 2001:db8:1::2) ── edge (fe80::1 | 2001:db8:2::1, MTU 1300) ── far (2001:db8:2::9)
  peer  (fd00:1::20) ──┘ MTU 1400
"""
import re

from nat_scene import CLOSED, Scene
from netns import run
from weft import wait_for

SOLICIT = """
import socket, struct, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
index = socket.if_nametoindex("eth0"); s.settimeout(2)
def read():
    while True:
        data, control, _, peer = s.recvmsg(2000, 100)
        if data[0] == 134:
            return data, struct.unpack("i", control[0][2])[0], peer[0]
for attempt in range(20):
    s.sendto(bytes([133, 0, 0, 0, 0, 0, 0, 0]), ("ff02::2", 0, 0, index))
    try:
        data, hops, source = read()
        break
    except TimeoutError:
        pass
at, found = 16, [f"hops={hops}", f"link-local={source.startswith('fe80::')}", f"router={data[6] << 8 | data[7]}"]
while at < len(data):
    kind, option = data[at], data[at:at + 8 * data[at + 1]]
    if kind == 3:
        found.append(f"prefix={socket.inet_ntop(socket.AF_INET6, option[16:32])}/{option[2]} flags={option[3]:x}")
    elif kind == 5:
        found.append(f"mtu={int.from_bytes(option[4:8], 'big')}")
    elif kind == 25:
        found.append(f"dns={socket.inet_ntop(socket.AF_INET6, option[8:24])}")
    at += len(option)
print(*found)
"""

ADVERTISE = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
prefix = bytes([3, 4, 64, 0xc0]) + b"\\0\\1\\0\\0" * 2 + bytes(4) + socket.inet_pton(socket.AF_INET6, "fd00:bad::")
s.sendto(bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8) + prefix, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))
"""

CONNECT = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def solicit(space):
    """The advertisement that answers a router solicitation."""
    return space.python(SOLICIT).split()


def configured(space, address, router):
    """Waits until the kernel has made the address, which nobody else had, and looks whether it has a way out."""
    wait_for(lambda: f" {address} " in space.run("ip", "addr", "show", "-tentative").stdout, address)
    default = space.run("ip", "-6", "route", "show", "default").stdout
    assert ("via fe80::" in default) == router, default


def look(space, server, name):
    """What the name server says."""
    return space.run("busybox", "nslookup", name, server, check=False).stdout


def connect(space, address, port):
    """How a connection fails."""
    return space.python(CONNECT, address, port).strip()


class Scene6(Scene):
    """Everything but the guests and their gateway."""
    # hairpin: as in nat_scene.py
    # nobody near: the kernel reports what it has translated already, by its outside address, weft the packet as it came
    may_differ = {"hairpin", "nobody near"}

    def __init__(self, net):
        super().__init__(net)
        run("ip", "addr", "add", "2001:db8:1::2/64", "dev", "lan0", "nodad")
        run("ip", "route", "add", "default", "via", "fe80::1", "dev", "lan0")
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        for address, interface in (("fe80::1/64", "eth0"), ("2001:db8:1::1/64", "eth0"), ("2001:db8:2::1/64", "eth1")):
            self.edge.run("ip", "addr", "add", address, "dev", interface, "nodad")
        self.edge.run("ip", "route", "add", "2001:db8:2::/64", "dev", "eth1", "metric", "1", "mtu", "lock", "1300")
        self.far.run("ip", "addr", "add", "2001:db8:2::9/64", "dev", "eth0", "nodad")
        self.far.run("ip", "route", "add", "default", "via", "2001:db8:2::1")
        self.edge.run("nft", "-f", "-", input="""table ip6 leaks {
            chain in { type filter hook prerouting priority -300;
                ip6 saddr fd00::/8 counter
                iifname "eth0" icmpv6 type nd-router-advert counter
            }
        }
        """)
        self.serve(self.far, 80, address="::")

    @staticmethod
    def renumber(old, new):
        """The host gets another address on its uplink."""
        run("ip", "addr", "add", f"{new}/64", "dev", "lan0", "nodad")
        run("ip", "addr", "del", f"{old}/64", "dev", "lan0")

    def move_next_hop(self, mac):
        """Another MAC for edge, which the host has to ask for."""
        self.edge.run("ip", "link", "set", "eth0", "address", mac)
        run("ip", "-6", "neigh", "flush", "dev", "lan0")

    def leaked(self):
        """Packets with a guest's own address, and router advertisements, that came to the edge."""
        return list(map(int, re.findall(r"counter packets (\d+)", self.edge.run("nft", "list", "table", "ip6", "leaks").stdout)))

    @staticmethod
    def ping(space, *arguments):
        """What ping says but times."""
        text = space.run("ping", "-n", "-c", "1", "-W", "100", *arguments, check=False).stdout
        return re.findall(r"ttl=\d+|From \S+|Time exceeded: Hop limit|Packet too big: mtu=\d+"
                          r"|Destination unreachable: [A-Za-z ]+", text)

    def probe(self, address):
        """Asks an address that edge knows, as it does now and then, whether it is still there."""
        def state():
            return re.findall(r"[A-Z]+$", self.edge.run("ip", "neigh", "show", address, "dev", "eth0").stdout.strip())
        self.edge.run("ip", "neigh", "change", address, "dev", "eth0", "nud", "probe")
        return wait_for(lambda: state() not in ([], ["PROBE"]) and state(), f"an answer of {address}")

    def facts(self, guest, peer):
        self.serve(peer, 443, address="::")
        self.far.run("ip", "-6", "route", "flush", "cache")  # path MTUs
        return {
            "path mtu": self.ping(guest, "-M", "do", "-s", "1340", "2001:db8:2::9"),
            "path mtu inward": self.ping(self.far, "-M", "do", "-s", "1400", "2001:db8:1::77"),
            "fetch": self.fetch(guest, "2001:db8:2::9", 80)[0],
            "echo": self.echo(guest, "2001:db8:2::9", 80, 100)[0],
            "fragments": self.echo(guest, "2001:db8:2::9", 80, 20000)[0],
            "ping": self.ping(guest, "2001:db8:2::9"),
            "ping in fragments": self.ping(guest, "-s", "5000", "2001:db8:2::9"),
            "first hop": self.ping(guest, "-t", "1", "2001:db8:2::9"),
            "second hop": self.ping(guest, "-t", "2", "2001:db8:2::9"),
            "traceroute": self.traceroute(guest, "2001:db8:2::9"),
            "gateway": self.ping(guest, "fd00:1::1"),
            "nobody there": self.ping(guest, "2001:db8:2::77"),
            "nobody near": self.ping(guest, "2001:db8:1::66"),
            "closed port": guest.python(CLOSED, "2001:db8:2::9", 81),
            "forward": self.fetch(self.edge, "2001:db8:1::2", 8443)[0],
            "forward from afar": self.fetch(self.far, "2001:db8:1::2", 8443)[0],
            "one-to-one in": self.fetch(self.edge, "2001:db8:1::77", 443)[0],
            "one-to-one out": self.fetch(peer, "2001:db8:2::9", 80)[0],
            "one-to-one ping": self.ping(self.far, "2001:db8:1::77"),
            "probe": self.probe("2001:db8:1::2"),
            "one-to-one probe": self.probe("2001:db8:1::77"),
            "hairpin": self.fetch(guest, "2001:db8:1::2", 8443)[0],
        }

    def masquerade(self):
        """The facts with the kernel's bridge, routing and nftables instead of weft."""
        guest, peer = self.net.namespace("kguest"), self.net.namespace("kpeer")
        run("ip", "link", "add", "br0", "mtu", "1400", "type", "bridge")
        run("ip", "addr", "add", "fd00:1::1/64", "dev", "br0", "nodad")
        run("ip", "link", "set", "br0", "up")
        run("ip", "addr", "add", "2001:db8:1::77/128", "dev", "lan0", "nodad", "preferred_lft", "0")
        run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        for space, address in ((guest, "fd00:1::10"), (peer, "fd00:1::20")):
            port = f"k{address[-2:]}"
            self.net.veth(space, "eth0", None, port)
            run("ip", "link", "set", port, "mtu", "1400", "master", "br0")
            space.run("ip", "link", "set", "eth0", "mtu", "1400")
            space.run("ip", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
            space.run("ip", "route", "add", "default", "via", "fd00:1::1")
        run("nft", "-f", "-", input="""table ip6 nat {
            chain in { type nat hook prerouting priority -100;
                ip6 daddr 2001:db8:1::2 tcp dport 8443 dnat to [fd00:1::20]:443
                ip6 daddr 2001:db8:1::77 dnat to fd00:1::20
            }
            chain out { type nat hook postrouting priority 100;
                ip6 saddr fd00:1::20 oifname "lan0" snat to 2001:db8:1::77
                ip6 saddr fd00:1::/64 oifname "lan0" masquerade
                ip6 saddr fd00:1::/64 ip6 daddr fd00:1::20 ct status dnat masquerade
            }
        }
        """)
        return self.facts(guest, peer)
