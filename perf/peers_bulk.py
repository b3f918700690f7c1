# SPDX-License-Identifier: BSD-3-Clause
"""A guest's bulk (weft-bulk) to the host and to the wire: through weft, and through the kernel's bridge with the guest's tap.

The reference's guest reads and writes its tap itself. A machine's tap has a virtual machine monitor or vhost-net in between, which
costs more, so what is measured is the most that bridge and tap can do. `guest` is weft-bulk's port, `core` of it where it runs.
"""
import json
import os
import subprocess
import sys

import peers
from peers_nat import KernelCore, Spaces

GUEST_MAC, FAR_MAC = "52:54:00:00:00:01", "52:56:00:00:00:01"
GUEST_IP, PEER_IP = "192.168.56.10", "192.168.56.1"


def share_precedence(pid):
    """To a process with a session of its own, what suite.take_precedence did for ours."""
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as group:
            group.write(str(os.getpriority(os.PRIO_PROCESS, 0)))
    except OSError:
        pass  # the kernel has none


class Bulk(Spaces):
    """A host in a namespace."""
    kernel = None
    load_core = 0

    def start(self):
        self.host, self.host_pid = self.space()
        self.kernel = KernelCore(self.core)
        self.build()

    def stop(self):
        super().stop()
        if self.kernel:
            self.kernel.restore()
            self.kernel = None

    def build(self):
        raise NotImplementedError

    def bulk(self, *arguments):
        """Starts the guest."""
        return subprocess.Popen([*self.host, os.path.join(peers.BUILD, "perf/weft-bulk"), "--mac", GUEST_MAC, "--ip", GUEST_IP, "--peer", PEER_IP,
                                 "--peer-mac", self.peer_mac, "--core", str(self.load_core), *arguments, self.guest],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def link(self, space, name):
        return json.loads(self.run(space, "ip", "-s", "-j", "link", "show", name))[0]


class Daemons(Bulk):
    """weftd and its dataplane in the namespace."""

    def weftd(self, uplinks, segment):
        weftd = os.path.join(peers.BUILD, "control/weftd")
        if not os.path.exists(weftd):
            raise peers.Unavailable(f"{weftd} is not built")
        config = {"version": 1, "dataplane": {"cores": [self.core]}, "uplinks": uplinks,
                  "tenants": {"perf": {"segments": {"net": segment}, "ports": {"g": {"segment": "net"}}}}}
        path, run_dir = os.path.join(self.directory, "weft.yaml"), os.path.join(self.directory, "run")
        with open(path, "w", encoding="utf-8") as text:
            json.dump(config, text)
        self.spawn([*self.host, weftd, "--config", path, "--run-dir", run_dir, "--state-dir", os.path.join(self.directory, "state"), "--foreground"])
        self.guest = os.path.join(run_dir, "vhost", "perf.g")
        peers.wait_for(lambda: os.path.exists(self.guest), "weftd")
        status = subprocess.run([os.path.join(peers.BUILD, "cli/weft"), "--run-dir", run_dir, "status", "-o", "json"], check=True,
                                capture_output=True, text=True).stdout
        share_precedence(json.loads(status)["dataplane"]["pid"])


class Host:
    """The peer is the host's own address on `interface`. `host_prefix` starts the command of a process of the host."""
    host_prefix = ()

    def neighbour(self, interface):
        self.peer_mac = self.link(self.host, interface)["address"]
        self.run(self.host, "ip", "neigh", "replace", GUEST_IP, "lladdr", GUEST_MAC, "nud", "permanent", "dev", interface)


class WeftHost(Host, Daemons):
    """A host-only segment. What the host runs leaves the switch's core to it, as an administrator would have it."""
    name = "weft"

    @property
    def host_prefix(self):
        return ("taskset", "--cpu-list", str(self.load_core))

    def build(self):
        self.weftd({}, {"mode": "host-only", "subnet": "192.168.56.0/24", "host-interface": "weft-perf"})
        peers.wait_for(lambda: "192.168.56.1" in self.run(self.host, "ip", "-br", "addr"), "the host's interface")
        self.neighbour("weft-perf")


class BridgeHost(Host, Bulk):
    """The kernel's bridge has the host's address and the guest's tap."""
    name = "bridge"

    def build(self):
        self.guest = "tap0"
        for command in ("link add br0 type bridge", "tuntap add tap0 mode tap vnet_hdr", "link set tap0 master br0 up", "link set br0 up",
                        "addr add 192.168.56.1/24 dev br0"):
            self.run(self.host, "ip", *command.split())
        self.neighbour("br0")


class Wire:
    """The peer is at the far end of a cable whose interface cannot segment: the kernel must, in software. What
    arrives there is counted and goes no further, on the core that sent it: that part is the same for all."""

    def cable_to_far(self):
        far = self.far, _ = self.space()
        self.cable(((self.host, self.host_pid), "up0", OUTSIDE_MAC), (far, "far0", FAR_MAC))
        self.run(self.host, "ethtool", "-K", "up0", "tso", "off", "gso", "on")
        self.run(self.far, "nft", "-f", "-", input="""table netdev far {
            chain in { type filter hook ingress device far0 priority 0; policy drop; }
        }""")
        self.peer_mac = FAR_MAC

    def announce(self):
        """The far end's address is learned."""
        frame = bytes.fromhex("ff" * 6 + FAR_MAC.replace(":", "") + "88b5") + bytes(46)
        self.run(self.far, sys.executable, "-c", "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW);"
                 f"s.bind(('far0', 0)); s.send(bytes.fromhex('{frame.hex()}'))")

    def arrived(self):
        """(frames, bytes) at the far end so far."""
        stats = self.link(self.far, "far0")["stats64"]["rx"]
        return stats["packets"], stats["bytes"]


OUTSIDE_MAC = "02:77:65:00:00:02"


class WeftWire(Wire, Daemons):
    """A bridged segment on an AF_XDP uplink, which copies: TSO frames leave by its packet socket."""
    name = "weft"
    device = "af_xdp"

    def build(self):
        self.cable_to_far()
        self.weftd({"lan0": {"device": f"{self.device}:up0"}}, {"mode": "bridged", "uplink": "lan0"})


class WeftPacketWire(WeftWire):
    """The same on an AF_PACKET uplink: segments are made by the kernel, on weft's core."""
    name = "weft-packet"
    device = "af_packet"


class BridgeWire(Wire, Bulk):
    """The kernel's bridge has the guest's tap and the cable; all of that is the guest's own system calls, on the switch's core."""
    name = "bridge"

    def build(self):
        self.cable_to_far()
        self.guest, self.load_core = "tap0", self.core
        for command in ("link add br0 type bridge", "tuntap add tap0 mode tap vnet_hdr", "link set tap0 master br0 up", "link set up0 master br0",
                        "link set br0 up"):
            self.run(self.host, "ip", *command.split())
