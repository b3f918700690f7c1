# SPDX-License-Identifier: BSD-3-Clause
"""What translates addresses, between guests and servers that weft-natload plays (perf/nat_flows.h draws them): weft, OVS-DPDK's
ct(nat) and the kernel's nftables. `ends` are weft-natload's two arguments, `prefix` is the command to run it with.
"""
import os
import subprocess

import peers

GUESTS, FAR_MAC, GUEST_MAC = 128, "52:56:00:00:00:01", "52:54:00:00:00:01"
INSIDE_MAC, OUTSIDE_MAC = "02:77:65:00:00:01", "02:77:65:00:00:02"
POOL = "192.0.2.16-192.0.2.47"


class WeftNat(peers.Weft):
    """weft-dataplane with a tenant's router and 32 outside addresses, between two vhost-user ports."""
    arguments = ("--nat",)
    prefix = ()

    @property
    def ends(self):
        return self.sockets


class OvsNat(peers.Ovs):
    """OVS-DPDK with ct(nat): one connection zone. Outbound is one pass (commit and output), inbound needs two, as only what
    belongs to a connection may pass."""
    name = "ovs-nat"
    prefix = ()

    @property
    def ends(self):
        return self.sockets

    def start(self):
        super().start()
        flows = "\n".join((
            f"table=0,in_port=a,ip,dl_dst={INSIDE_MAC},actions=ct(commit,zone=1,nat(src={POOL})),"
            f"set_field:{OUTSIDE_MAC}->dl_src,set_field:{FAR_MAC}->dl_dst,dec_ttl,output:b",
            f"table=0,in_port=b,ip,dl_dst={OUTSIDE_MAC},actions=ct(table=1,zone=1,nat)",
            f"table=1,in_port=b,ip,ct_state=+trk+est-new,actions=set_field:{INSIDE_MAC}->dl_src,set_field:{GUEST_MAC}->dl_dst,"
            "dec_ttl,output:a"))
        subprocess.run(["ovs-ofctl", "--bundle", "replace-flows", f"unix:{self.directory}/br0.mgmt", "-"], input=flows, text=True, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment)


class Spaces(peers.Switch):
    """Network namespaces, held by processes of ours: nothing is left of them however we end."""

    def __init__(self, core=1):
        super().__init__(core)
        self.sockets = ()

    def space(self):
        holder = subprocess.Popen(["unshare", "-n", "-m", "sh", "-c", "mount -t sysfs sys /sys && ip link set lo up && echo && exec cat"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.processes.append(holder)
        if not holder.stdout.readline():
            raise peers.Unavailable("network namespaces cannot be made here")
        holder.stdout.close()
        return ("nsenter", f"--target={holder.pid}", "--net", "--mount"), holder.pid

    @staticmethod
    def run(space, *command, **keywords):
        try:
            return subprocess.run([*space, *command], check=True, text=True, capture_output=True, timeout=60, **keywords).stdout
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            raise peers.Unavailable(f"{' '.join(command)}: {getattr(error, 'stderr', error)}") from None

    @staticmethod
    def write(space, path, text):
        Spaces.run(space, "sh", "-c", f"echo {text} > {path}")

    def cable(self, *ends):
        """A pair of veth interfaces, up and without IPv6's own chatter. An end: (what space() returned, name, MAC address)."""
        words = [["name", name, "address", mac, "netns", str(pid)] for (_, pid), name, mac in ends]
        subprocess.run(["ip", "link", "add", *words[0], "type", "veth", "peer", *words[1]], check=True, capture_output=True)
        for (space, _), name, _ in ends:
            self.run(space, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
            self.run(space, "ip", "link", "set", name, "up")

    def stop(self):
        for process in self.processes:
            if process.stdin:
                process.stdin.close()  # the holders end with their input
        super().stop()


class KernelCore:
    """The kernel's share of the precedence that suite.take_precedence gives: its thread for packets on a core; and more
    connections than are tracked by default. As it was afterwards. Where there is none of it (a container), nothing."""
    limit = "/proc/sys/net/netfilter/nf_conntrack_max"

    def __init__(self, core, connections=0):
        self.thread, self.connections = self.find(f"ksoftirqd/{core}"), None
        try:
            if self.thread:
                self.nice = os.getpriority(os.PRIO_PROCESS, self.thread)
                os.setpriority(os.PRIO_PROCESS, self.thread, min(self.nice, os.getpriority(os.PRIO_PROCESS, 0)))
        except OSError:
            self.thread = None
        try:
            with open(self.limit, "r+", encoding="ascii") as file:
                before = int(file.read())
                if before < connections:
                    file.write(str(connections))
                    self.connections = before
        except OSError:
            pass

    @staticmethod
    def find(name):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as text:
                    if text.read().strip() == name:
                        return int(pid)
            except OSError:
                continue
        return None

    def restore(self):
        if self.thread:
            os.setpriority(os.PRIO_PROCESS, self.thread, self.nice)
        if self.connections:
            with open(self.limit, "w", encoding="ascii") as file:
                file.write(str(self.connections))


class Nftables(Spaces):
    """The kernel as router with nftables masquerade in a namespace, a pair of veth interfaces on each side. Its work is on the
    switch's core: receive packet steering brings there what the load's core sent."""
    name = "nftables"
    kernel = None

    def stop(self):
        super().stop()
        if self.kernel:
            self.kernel.restore()
            self.kernel = None

    def start(self):
        self.ends = ("l0", "l1")
        self.kernel = KernelCore(self.core, 1 << 20)
        router, load = self.space(), self.space()
        self.cable((router, "r0", INSIDE_MAC), (load, "l0", GUEST_MAC))
        self.cable((router, "r1", OUTSIDE_MAC), (load, "l1", FAR_MAC))
        (router, _), (self.prefix, _) = router, load
        for space, interface in ((router, "r0"), (router, "r1"), (self.prefix, "l0"), (self.prefix, "l1")):
            self.write(space, f"/sys/class/net/{interface}/queues/rx-0/rps_cpus", f"{1 << self.core:x}")
        self.run(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.run(router, "ip", "addr", "add", "10.0.0.1/16", "dev", "r0")
        self.run(router, "ip", "addr", "add", "192.0.2.1/24", "dev", "r1")
        neighbours = [f"neigh add 10.0.0.{16 + i} lladdr {GUEST_MAC} nud permanent dev r0" for i in range(GUESTS)]
        self.run(router, "ip", "-batch", "-", input="\n".join([
            *neighbours, f"neigh add 192.0.2.254 lladdr {FAR_MAC} nud permanent dev r1", "route add default via 192.0.2.254 dev r1"]) + "\n")
        self.run(router, "nft", "-f", "-", input="""table ip nat {
            chain out { type nat hook postrouting priority srcnat; policy accept; oifname "r1" masquerade; }
        }""")
        for interface in self.ends:  # what arrives has been counted, and nobody else is to see it
            self.run(self.prefix, "nft", "-f", "-", input=f"""table netdev {interface} {{
                chain in {{ type filter hook ingress device {interface} priority 0; policy drop; }}
            }}""")


SWITCHES = {"weft": WeftNat, "ovs": OvsNat, "nftables": Nftables}
