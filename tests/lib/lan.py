# SPDX-License-Identifier: BSD-3-Clause
"""Tests of uplinks: a physical network, and guests that are the kernel's own stack, in namespaces (netns.py).

    enter(sys.argv)                       # the test continues in a namespace of its own: weft's host
    with Namespace() as lan:
        lan.veth("up0", "lan0")           # up0 is the host's NIC, lan0 its other end
        lan.run("ip", "addr", "add", "10.0.0.1/24", "dev", "lan0")
"""
import hashlib
import json
import os
import select
import socket
import struct
import threading
import time

import netns
from netns import run
from weft import wait_for


def ip(*arguments):
    run("ip", *arguments)


def sysctl(key, value):
    with open(f"/proc/sys/net/{key}", "w", encoding="ascii") as setting:
        setting.write(str(value))


RESERVED_PORTS = "/proc/sys/net/ipv4/ip_local_reserved_ports"


def reserved():
    """Ports of the host that programs are not given unless they ask for them."""
    setting = os.open(RESERVED_PORTS, os.O_RDONLY)
    text = os.read(setting, 1 << 20)  # the kernel says it at once
    os.close(setting)
    return text.decode().strip()


def reserve(text):
    setting = os.open(RESERVED_PORTS, os.O_WRONLY)  # the first write makes the set anew, the others add to it
    while text:
        text = text[os.write(setting, text.encode()):]
    os.close(setting)


def nic(name):
    """What `ip` says of an interface of the host."""
    return json.loads(run("ip", "-j", "-d", "link", "show", name).stdout)[0]


def check_released(name):
    """Nobody has attached anything to the interface."""
    wait_for(lambda: "xdp" not in nic(name) and nic(name)["promiscuity"] == 0, f"{name} as it was: {nic(name)}")


class Namespace(netns.Namespace):
    """One that is wired to the host: a peer of the LAN, or the guest behind a tap port."""

    def ip(self, *arguments):
        self.run("ip", *arguments)

    def veth(self, here, there, *queues):
        """A cable from the host to here. The far end sends whole checksums, as a wire does."""
        ip("link", "add", here, *queues, "type", "veth", "peer", "name", there, *queues)
        ip("link", "set", there, "netns", self.pid)
        ip("link", "set", here, "up")
        self.run("ethtool", "-K", there, "tx", "off")
        self.ip("link", "set", there, "up")

    def guest(self, tap, *addresses):
        """Makes this the guest behind a tap port: its eth0 is wired to the tap, which stays where weft put it."""
        wait_for(lambda: os.path.exists(f"/proc/sys/net/ipv4/conf/{tap}"), tap)
        if "b" + tap not in os.listdir("/proc/sys/net/ipv4/conf"):
            ip("link", "add", "b" + tap, "type", "bridge", "mcast_snooping", "0")
            sysctl(f"ipv4/conf/b{tap}/arp_ignore", 8)  # a wire, not another way to the host
            ip("link", "add", "v" + tap, "type", "veth", "peer", "name", "eth0", "netns", self.pid)
            ip("link", "set", "v" + tap, "master", "b" + tap, "up")
            ip("link", "set", "b" + tap, "up")
            for address in addresses:
                self.ip("addr", "add", address, "dev", "eth0")
            self.ip("link", "set", "eth0", "up")
        ip("link", "set", tap, "master", "b" + tap, "up")

    def ping(self, address, count=1, wait=1):
        return self.run("ping", "-n", "-c", str(count), "-i", "0.01", "-W", str(wait), address, check=False).returncode == 0

    def raw(self, interface):
        """Sends and receives whole frames; received ones lack their outer tag, which recvmsg() tells beside."""
        raw = self.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        raw.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
        raw.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
        with self.entered():
            raw.bind((interface, 0))
        return raw


def transfer(source, sink, address, size=8 << 20):
    """TCP from a socket in `source` to one in `sink` at `address`; what arrives is what was sent."""
    data, received = os.urandom(size), hashlib.sha256()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = sink.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 0))
    listener.listen(1)
    listener.settimeout(60)

    def receive():
        stream = listener.accept()[0]
        stream.settimeout(60)
        while chunk := stream.recv(1 << 18):
            received.update(chunk)
        stream.sendall(b"k")

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    stream = source.socket(family, socket.SOCK_STREAM)
    stream.settimeout(60)
    stream.connect((address, listener.getsockname()[1]))
    stream.sendall(data)
    stream.shutdown(socket.SHUT_WR)
    assert stream.recv(1) == b"k"
    thread.join()
    stream.close()
    listener.close()
    assert received.hexdigest() == hashlib.sha256(data).hexdigest(), f"to {address}: not what was sent"


def read(raw):
    """(outer VID or 0, the rest of the frame, the tag) of all that waits at a raw socket; the kernel takes that tag off."""
    raw.setblocking(False)
    while True:
        try:
            frame, ancillary, _, _ = raw.recvmsg(2048, 64)
        except BlockingIOError:
            return
        status, _, _, _, _, tci, _ = struct.unpack_from("IIIHHHH", ancillary[0][2])
        tag = struct.pack("!HH", 0x8100, tci) if status & 16 else b""
        yield tci & 0xfff if tag else 0, frame, tag


def udp_listener(place, port, interface):
    listener = place.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    listener.bind(("0.0.0.0", port))
    listener.settimeout(60)
    return listener


class Capture:
    """Frames that an interface receives: with Capture("lan1") as seen: ...; seen.wait(lambda frame: ...)."""

    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
        self.socket.bind((interface, 3))
        self.frames = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read(self, seconds):
        while select.select([self.socket], [], [], seconds)[0]:
            self.frames.append(self.socket.recv(1 << 17))
            seconds = 0

    def any(self, condition):
        self.read(0)
        return any(condition(frame) for frame in self.frames)

    def wait(self, condition, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not self.any(condition):
            if time.monotonic() > deadline:
                raise AssertionError(f"not seen among {len(self.frames)} frames")
            self.read(0.1)
