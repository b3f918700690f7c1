# SPDX-License-Identifier: BSD-3-Clause
"""What is measured, how a sample is taken, and which goals the samples are held against. perf/run measures, perf/report
shows, perf/compare holds two builds against each other.

A contender is a name in CONTENDERS; a row says what is asked of each. Samples are dictionaries; `value` is what the row
is about, in the row's unit.
"""
import json
import os
import statistics
import subprocess
import sys
import threading
import time

import peers
import peers_bulk
import peers_nat

SCHEMA = "weft.perf.v1"
LOADGEN = os.path.join(peers.BUILD, "perf/weft-loadgen")
NATLOAD = os.path.join(peers.BUILD, "perf/weft-natload")
FLOOR = os.path.join(peers.BUILD, "perf/weft-floor")
LOAD_CORE, SWITCH_CORE = 0, 1


class Row:
    """name, what, unit; arguments of weft-loadgen; classes of contenders that differ from CONTENDERS."""
    key = "mpps"  # of the generator's answer

    def __init__(self, name, what, arguments, contenders=("weft", "testpmd", "ovs"), unit="Mpps", **classes):
        self.name, self.what, self.arguments, self.contenders, self.unit = name, what, arguments, contenders, unit
        self.classes = classes

    def start(self, contender):
        return self.classes.get(contender, CONTENDERS[contender])(core=SWITCH_CORE)

    def load(self, switch, *more, seconds):
        command = [LOADGEN, "--core", str(LOAD_CORE), "--seconds", str(seconds), *self.arguments, *more,
                   *(["--listen"] if switch.dials else []), *switch.sockets]
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 20 + 120, check=False)
        if result.returncode != 0:
            raise peers.Unavailable(f"weft-loadgen: {result.stderr.strip()}\n{switch.log_tail()}")
        return json.loads(result.stdout)

    def measure(self, contender, seconds):
        with self.start(contender) as switch:
            before = switch.cycles()
            values = self.load(switch, seconds=seconds)
            after = switch.cycles()
            if before and after and after[1] > before[1]:
                values["cycles_per_packet"] = (after[0] - before[0]) / (after[1] - before[1])
            if values.get("corrupt") or values.get("foreign"):
                raise AssertionError(f"{contender}, {self.name}: {values['corrupt']} corrupt and {values['foreign']} foreign frames")
            return {**values, "value": values[self.key]}


class CopyRow(Row):
    """Rates in Gbit/s; the contender memcpy is no switch, but the same bytes copied once over the same buffers."""
    key = "gbps"

    def measure(self, contender, seconds):
        if contender != "memcpy":
            return super().measure(contender, seconds)
        command = [LOADGEN, "--memcpy", "--core", str(SWITCH_CORE), "--seconds", str(seconds), *self.arguments]
        values = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout)
        return {**values, "value": values["gbps"]}


class FloorRow(Row):
    """A row whose contender "floor" is no switch, but what the machine itself takes."""
    quantile = "window_p999"

    def floor(self, kind, seconds):
        command = [FLOOR, kind, "--core", str(LOAD_CORE), "--switch-core", str(SWITCH_CORE), "--seconds", str(seconds)]
        values = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout)
        return {**values, "value": values["latency_ns"][self.quantile] / 1e3}


class LatencyRow(FloorRow):
    """p99.9 in microseconds at half of the rate that the same switch reached a moment before: the median of that of
    each 5 ms, since what is beyond is how the machine's scheduler treats other processes; p99.9 of all is in the sample."""

    def measure(self, contender, seconds):
        if contender == "floor":
            return self.floor("--echo", seconds)
        with self.start(contender) as switch:
            rate = self.load(switch, seconds=seconds / 2)["mpps"] * 1e6 / 2
            values = self.load(switch, "--rate", str(rate), "--latency", seconds=seconds)
            return {**values, "value": values["latency_ns"]["window_p999"] / 1e3}


class SameLatencyRow(LatencyRow):
    """The same at 1 Mpps for all."""

    def measure(self, contender, seconds):
        with self.start(contender) as switch:
            values = self.load(switch, "--rate", "1e6", "--latency", seconds=seconds)
            return {**values, "value": values["latency_ns"]["window_p999"] / 1e3}


class EqualLatencyRow(LatencyRow):
    """The same at one rate for all: half of what the slowest of them reaches, found out before the first sample."""
    rate = None

    def measure(self, contender, seconds):
        if not self.rate:
            rates = []
            for name in self.contenders:
                try:
                    with self.start(name) as switch:
                        rates.append(self.load(switch, seconds=seconds / 2)["mpps"])
                except peers.Unavailable:
                    continue  # will be left out
            self.rate = min(rates) * 1e6 / 2
        with self.start(contender) as switch:
            values = self.load(switch, "--rate", str(self.rate), "--latency", seconds=seconds)
            return {**values, "rate": self.rate, "value": values["latency_ns"]["window_p999"] / 1e3}


class FirstPacketRow(FloorRow):
    """p99 in microseconds of frames that come one by one to a switch that has gone to sleep: 200 a second."""
    quantile = "p99"

    def measure(self, contender, seconds):
        if contender == "floor":
            return self.floor("--wake", max(seconds * 2, 1))
        with self.start(contender) as switch:
            values = self.load(switch, "--rate", "200", "--latency", "--stamp-every", "1", seconds=max(seconds * 2, 1))
            return {**values, "value": values["latency_ns"][self.quantile] / 1e3}


def take_precedence():
    """All that is started from here on goes before other work on the machine, where that is allowed: nice -20, and the
    same for the session, which is what the kernel's autogroups look at."""
    try:
        os.setsid()
    except PermissionError:
        pass  # leads a process group: a session of its own already, or the shell's
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        with open("/proc/self/autogroup", "w", encoding="ascii") as group:
            group.write("-20")
    except OSError:
        pass


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as text:
                fields = text.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class IdleRow(Row):
    """Percent of a core that all processes of the switch take while its two guests are attached and silent."""

    def measure(self, contender, seconds):
        with self.start(contender) as switch:
            guests = [subprocess.Popen([os.path.join(peers.BUILD, "perf/weft-guest"), "--mac", f"52:54:00:00:00:0{i + 1}",
                                        "--ip", f"10.0.0.{i + 1}", path], stdout=subprocess.DEVNULL)
                      for i, path in enumerate(switch.sockets)]
            try:
                time.sleep(1)  # attached, learned, asleep
                pids, seconds = switch.pids(), max(seconds * 2, 5)
                before, start = cpu_seconds(pids), time.monotonic()
                time.sleep(seconds)
                used, length = cpu_seconds(pids) - before, time.monotonic() - start
                return {"seconds": length, "cpu_seconds": used, "value": used / length * 100}
            finally:
                for guest in guests:
                    guest.terminate()
                    guest.wait()


class ReconfigurationRow(Row):
    """Frames that two ports lose while 100 ports of another tenant come and go, at 0.5 Mpps on rings of 4096: a receiver that
    other work keeps from its ring for 8 ms loses none by itself."""

    def measure(self, contender, seconds):
        with self.start(contender) as switch:
            stop, times = threading.Event(), []

            def change():
                while not stop.is_set():
                    times.append(switch.ask("add 100")["ms"])
                    times.append(switch.ask("del")["ms"])
            changer = threading.Thread(target=change)
            changer.start()
            try:
                values = self.load(switch, "--rate", "5e5", "--ring", "4096", "--latency", seconds=max(seconds, 1))
            finally:
                stop.set()
                changer.join()
            return {**values, "changes": len(times), "change_ms": statistics.median(times), "drops": switch.ask("state")["drops"],
                    "value": values["offered"] - values["received"]}


class NatRow(Row):
    """Guests and servers on both sides of a device that translates: packets a second, of both directions."""

    def load(self, switch, *more, seconds):
        command = [*switch.prefix, NATLOAD, "--core", str(LOAD_CORE), "--seconds", str(seconds), *self.arguments, *more, *switch.ends]
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 20 + 120, check=False)
        if result.returncode != 0:
            raise peers.Unavailable(f"weft-natload: {result.stderr.strip()}\n{switch.log_tail()}")
        return json.loads(result.stdout)


class HostRow(Row):
    """Goodput of one TCP connection between the guest and a socket of the host, counted where it arrives. The host's congestion
    control is cubic, the kernel's default: bbr sends at the pace of a timer, which is the limit of any switch."""
    SERVER = """
import socket, sys, time
listener = socket.create_server(("192.168.56.1", 5001))
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic"); print("ready", flush=True)
listener.settimeout(60); peer = listener.accept()[0]; peer.settimeout(60)
space = bytearray(1 << 20); count, start = 0, time.monotonic(); end = start + float(sys.argv[2])
while time.monotonic() < end:
    if sys.argv[1] == "send":
        peer.sendall(space)
    else:
        got = peer.recv_into(space); count += got
        if not got:
            break
print(count, time.monotonic() - start)
"""

    def measure(self, contender, seconds):
        with self.start(contender) as switch:
            receive = "--receive" in self.arguments
            server = subprocess.Popen([*switch.host, *switch.host_prefix, sys.executable, "-c", self.SERVER,
                                       "send" if receive else "receive", str(seconds)],
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            guest = None
            try:
                if server.stdout.readline() != "ready\n":
                    raise peers.Unavailable("the host's socket")
                guest = switch.bulk("--seconds", str(seconds + 0.5), *self.arguments)
                count, length = server.communicate(timeout=seconds * 20 + 60)[0].split() if not receive else (0, 1)
                text, error = guest.communicate(timeout=seconds * 20 + 60)
                if guest.returncode:
                    raise peers.Unavailable(error.strip())
                values = json.loads(text)
                if not receive:
                    values["gbps"] = int(count) * 8 / float(length) / 1e9
                return {**values, "value": values["gbps"]}
            except (ValueError, subprocess.TimeoutExpired) as error:
                raise peers.Unavailable(f"{error}\n{switch.log_tail()}") from None
            finally:
                for process in (server, guest):
                    if process:
                        process.kill()
                        process.communicate()


class WireRow(Row):
    """What arrives at the far end of the uplink's cable of frames, 64 KiB if nothing else is said, that the guest sends as fast as
    they are taken."""

    def measure(self, contender, seconds):
        with self.start(contender) as switch:
            switch.announce()
            before = switch.arrived()
            guest = switch.bulk("--blast", "--seconds", str(seconds), *self.arguments)
            text, error = guest.communicate(timeout=seconds * 20 + 60)
            if guest.returncode:
                raise peers.Unavailable(error.strip())
            frames, size = (after - start for after, start in zip(switch.arrived(), before))
            if size > frames * 1514:
                raise AssertionError(f"{contender}: {size} bytes in {frames} frames: longer than the cable takes")
            values = json.loads(text)
            return {**values, "offered_gbps": values["gbps"], "frames": frames, "gbps": size * 8 / values["seconds"] / 1e9,
                    "value": size * 8 / values["seconds"] / 1e9}


CONTENDERS = {**peers.SWITCHES, "nftables": peers_nat.Nftables, "bridge": peers_bulk.BridgeHost, "weft-packet": peers_bulk.WeftPacketWire,
              "weftd": peers.WeftDaemons, "memcpy": None, "floor": None}
SMALL, MEDIUM, FULL = ["--size", "60"], ["--size", "508"], ["--size", "1514"]
ROWS = {row.name: row for row in (
    Row("64", "64 B", SMALL),
    Row("512", "512 B", MEDIUM),
    Row("1518", "1518 B", FULL),
    Row("imix", "IMIX 7:4:1", ["--size", "60,60,60,60,60,60,60,590,590,590,590,1514"]),
    Row("64-packed", "64 B, packed rings", SMALL + ["--packed"]),
    Row("1518-packed", "1518 B, packed rings", FULL + ["--packed"]),
    CopyRow("tso", "64 KiB TSO", ["--size", "64000", "--offload", "--ring", "256"], ("weft", "memcpy", "testpmd", "ovs"), "Gbit/s",
            testpmd=peers.TestpmdTso, ovs=peers.OvsTso),
    Row("64-touch", "64 B, headers rewritten, 1 flow", SMALL + ["--touch"], ("weft",)),
    Row("1m-flows", "64 B, 1M flows", SMALL + ["--flows", "1000000"], ovs=peers.OvsSmc),
    Row("1m-macs", "64 B, 1M addresses", SMALL + ["--macs", "500000"], ("weft",)),
    NatRow("nat", "NAT44, 1024 established flows, 64 B", [], ("weft", "ovs", "nftables"), **peers_nat.SWITCHES),
    NatRow("nat-new", "NAT44, new UDP sessions, 64 B", ["--new", "500000"], ("weft", "ovs", "nftables"), **peers_nat.SWITCHES),
    HostRow("guest-to-host", "TCP, guest to host", [], ("weft", "bridge"), "Gbit/s", weft=peers_bulk.WeftHost),
    HostRow("host-to-guest", "TCP, host to guest", ["--receive"], ("weft", "bridge"), "Gbit/s", weft=peers_bulk.WeftHost),
    WireRow("wire", "64 KiB TSO to the wire, MTU 1500", [], ("weft", "weft-packet", "bridge"), "Gbit/s", weft=peers_bulk.WeftWire,
            bridge=peers_bulk.BridgeWire),
    WireRow("wire-64", "64 B to the wire", ["--payload", "6"], ("weft", "weft-packet", "bridge"), "Gbit/s", weft=peers_bulk.WeftWire,
            bridge=peers_bulk.BridgeWire),
    WireRow("wire-1518", "1518 B to the wire", ["--payload", "1448"], ("weft", "weft-packet", "bridge"), "Gbit/s", weft=peers_bulk.WeftWire,
            bridge=peers_bulk.BridgeWire),
    LatencyRow("latency", "p99.9 at half of its own maximum, 64 B", SMALL, ("weft", "testpmd", "ovs", "floor"), "us"),
    EqualLatencyRow("latency-equal", "p99.9 at half of the slowest's maximum, 64 B", SMALL, ("weft", "testpmd", "ovs"), "us"),
    SameLatencyRow("latency-1m", "p99.9 at 1 Mpps, 64 B", SMALL, ("weft", "testpmd", "ovs"), "us"),
    FirstPacketRow("first", "p99 of the first packet after idle", SMALL, ("weft", "floor"), "us"),
    IdleRow("idle", "idle CPU of all daemons", SMALL, ("weftd",), "% of a core"),
    ReconfigurationRow("reconfiguration", "frames lost while 100 ports come and go", SMALL, ("weft",), "frames"),
)}


class Goal:
    """A ratio (row, contender) / (row, contender), or a bound on one of them; sense 1: at least, -1: at most."""

    def __init__(self, what, against, limit, over, under=None, sense=1):
        self.what, self.against, self.limit, self.over, self.under, self.sense = what, against, limit, over, under, sense

    def values(self, samples):
        over = series(samples, *self.over)
        if not self.under:
            return list(over.values())
        under = series(samples, *self.under)
        return [over[number] / under[number] for number in over if under.get(number)]

    def met(self, samples):
        """True, False, or None: not measured."""
        values = self.values(samples)
        return None if not values else (statistics.median(values) - self.limit) * self.sense >= 0

    def limit_text(self):
        unit = "" if self.under else " " + ROWS[self.over[0]].unit
        return f"{'>=' if self.sense > 0 else '<='} {self.limit:g}{'x' if self.under else unit}"


def goal_vs(row, contender, limit, what=None, sense=1):
    return Goal(what or ROWS[row].what, contender, limit, (row, "weft"), (row, contender), sense)


GOALS = [
    goal_vs("64", "ovs", 3.0), goal_vs("64", "testpmd", 2.5), goal_vs("1518", "ovs", 2.5), goal_vs("1518", "testpmd", 2.2),
    goal_vs("tso", "memcpy", 0.85),
    Goal("1M flows", "1 flow, headers rewritten alike", 0.97, ("1m-flows", "weft"), ("64-touch", "weft")),
    Goal("1M addresses", "2 addresses, headers rewritten alike", 0.60, ("1m-macs", "weft"), ("64-touch", "weft")),
    goal_vs("nat", "ovs", 4.0), goal_vs("nat", "nftables", 10.0), goal_vs("nat-new", "ovs", 8.0),
    Goal("NAT44, new UDP sessions", "-", 1.0, ("nat-new", "weft")),
    goal_vs("latency-equal", "ovs", 0.5, sense=-1), goal_vs("latency", "ovs", 0.5, sense=-1),
    Goal("idle CPU, all daemons", "-", 0.5, ("idle", "weftd"), sense=-1),
    Goal("first packet after idle, p99", "-", 50, ("first", "weft"), sense=-1),
    Goal("frames lost in reconfiguration", "-", 0, ("reconfiguration", "weft"), sense=-1),
]


def series(samples, row, contender):
    """round -> value"""
    return {s["round"]: s["value"] for s in samples if s["row"] == row and s["contender"] == contender}


def number_text(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread_text(values):
    return f"{number_text(statistics.median(values))} ({number_text(min(values))}-{number_text(max(values))})"


def goals_table(samples):
    lines = ["| goal | against | wanted | measured: median (spread) | |", "|---|---|---|---|---|"]
    for goal in GOALS:
        met = goal.met(samples)
        measured = spread_text(goal.values(samples)) if met is not None else "not measured"
        lines.append(f"| {goal.what} | {goal.against} | {goal.limit_text()} | {measured} | {({True: 'met', False: '**missed**', None: ''})[met]} |")
    return lines


def rows_table(samples):
    lines = ["| row | contender | median (spread) | weft is | Gbit/s | loss | ring full | switch cycles/packet | generator cycles/packet | limit |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for row in ROWS.values():
        for contender in row.contenders:
            runs = [s for s in samples if s["row"] == row.name and s["contender"] == contender]
            if not runs:
                continue

            def middle(key, form, runs=runs):
                values = [s[key] for s in runs if key in s]
                return format(statistics.median(values), form) if values else ""
            base, own = series(samples, row.name, "weft"), series(samples, row.name, contender)
            ratios = [base[n] / own[n] for n in base if own.get(n)] if contender != "weft" else []
            limits = [s["limit"] for s in runs if "limit" in s]
            lines.append(f"| {row.what} | {contender} | {spread_text([s['value'] for s in runs])} {row.unit} "
                         f"| {f'{statistics.median(ratios):.2f}x' if ratios else ''} | {middle('gbps', '.1f')} | {middle('loss', '.4%')} "
                         f"| {middle('ring_full', '.0%')} | {middle('cycles_per_packet', '.1f')} | {middle('own_cycles_per_packet', '.1f')} "
                         f"| {max(set(limits), key=limits.count) if limits else ''} |")
    return lines
