# SPDX-License-Identifier: BSD-3-Clause
"""The switches that are measured: each starts on one core, gives two vhost-user sockets, and stops without a trace.

    with Weft(core=1) as switch:
        switch.sockets    # (path, path)
Every one of them is at the settings that were found best for it (docs/performance.md says which and why).
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("WEFT_BUILD_DIR", os.path.join(TOP, "build"))


class Unavailable(Exception):
    """This switch cannot run here; the text says why."""


def wait_for(condition, what, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


def hugepages_free():
    with open("/proc/meminfo", encoding="ascii") as text:
        for line in text:
            if line.startswith("HugePages_Free"):
                return int(line.split()[1])
    return 0


def reserve_hugepages(count):
    """Makes at least `count` hugepages of 2 MiB free. Returns what to write back afterwards, or None: nothing changed."""
    path = "/proc/sys/vm/nr_hugepages"
    missing = count - hugepages_free()
    if missing <= 0:
        return None
    with open(path, encoding="ascii") as text:
        before = int(text.read())
    try:
        with open(path, "w", encoding="ascii") as text:
            text.write(str(before + missing))
    except OSError:
        pass
    if hugepages_free() < count:
        return_hugepages(before)
        raise Unavailable(f"{count} hugepages of 2 MiB cannot be had")
    return before


def return_hugepages(before):
    if before is not None:
        with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as text:
            text.write(str(before))


class Switch:
    """Common part: a private directory, processes that are ended by their own ids, cleanup on every exit."""
    name = ""
    dials = False  # the switch dials the guests' sockets

    def __init__(self, core=1, packed=False):
        self.core, self.packed = core, packed
        self.directory = tempfile.mkdtemp(prefix=f"weft-perf-{self.name}-")
        self.processes = []
        self.sockets = (os.path.join(self.directory, "a"), os.path.join(self.directory, "b"))

    def spawn(self, command, **keywords):
        log = open(os.path.join(self.directory, os.path.basename(command[0]) + ".log"), "ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.PIPE, **keywords)
        log.close()
        self.processes.append(process)
        return process

    def log_tail(self):
        tail = []
        for name in sorted(os.listdir(self.directory)):
            if name.endswith(".log"):
                with open(os.path.join(self.directory, name), errors="replace", encoding="utf-8") as log:
                    tail += [f"{name}: {line.rstrip()}" for line in log.readlines()[-8:]]
        return "\n".join(tail)

    def __enter__(self):
        try:
            self.start()
            for path in self.sockets if not self.dials else ():
                wait_for(lambda path=path: os.path.exists(path), f"{self.name}: socket {path}")
        except BaseException as error:
            tail = self.log_tail()
            self.stop()
            if isinstance(error, Unavailable) and tail:
                raise Unavailable(f"{error}\n{tail}") from None
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        raise NotImplementedError

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin and not process.stdin.closed:
                process.stdin.close()
        self.processes = []
        shutil.rmtree(self.directory, ignore_errors=True)

    def cycles(self):
        """Busy cycles and packets of the forwarding core so far, where the switch tells: (cycles, packets) or None."""
        return None


class Weft(Switch):
    """weft-dataplane, programmed by weft-bare: one tenant's L2 segment with two ports.

    build: a build directory, or a weft-dataplane executable (perf/compare)."""
    name = "weft"
    arguments = ()  # of weft-bare

    def __init__(self, core=1, packed=False, build=BUILD):
        super().__init__(core, packed)
        is_build = os.path.isdir(build)
        self.dataplane = os.path.join(build, "dataplane/weft-dataplane") if is_build else build
        self.bare = os.path.join(build if is_build else BUILD, "perf/weft-bare")

    def start(self):
        for path in (self.bare, self.dataplane):
            if not os.path.exists(path):
                raise Unavailable(f"{path} is not built")
        with open(os.path.join(self.directory, "weft-bare.log"), "ab") as log:
            self.process = subprocess.Popen([self.bare, *self.arguments, "--core", str(self.core), self.dataplane,
                                             os.path.join(self.directory, "run")],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.processes.append(self.process)
        self.sockets = tuple(self.answer()["ports"])

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Unavailable("weft-bare ended")
        return json.loads(line)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def cycles(self):
        workers = self.ask("state")["workers"]
        return sum(w["busy_cycles"] for w in workers), sum(w["packets"] for w in workers)

    def stop(self):
        if self.processes and self.process.poll() is None:
            self.process.stdin.close()  # stops the dataplane in order
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
            self.process.stdout.close()
        super().stop()


class WeftDaemons(Switch):
    """weftd and the dataplane it starts: what a user runs."""
    name = "weftd"

    def start(self):
        weftd = os.path.join(BUILD, "control/weftd")
        if not os.path.exists(weftd):
            raise Unavailable(f"{weftd} is not built")
        config = {
            "version": 1,
            "dataplane": {"cores": [self.core], "hugepages": "auto"},
            "tenants": {"perf": {"segments": {"net": {"mode": "isolated"}},
                                 "ports": {"a": {"segment": "net", "queues": 1}, "b": {"segment": "net", "queues": 1}}}},
        }
        path = os.path.join(self.directory, "weft.yaml")
        with open(path, "w", encoding="utf-8") as text:
            json.dump(config, text)
        self.run_dir = os.path.join(self.directory, "run")
        self.spawn([weftd, "--config", path, "--run-dir", self.run_dir, "--state-dir", os.path.join(self.directory, "state"),
                    "--foreground"])
        self.sockets = tuple(os.path.join(self.run_dir, "vhost", f"perf.{port}") for port in "ab")

    def cli(self, *arguments):
        return subprocess.run([os.path.join(BUILD, "cli/weft"), "--run-dir", self.run_dir, *arguments], check=True,
                              capture_output=True, text=True, timeout=300).stdout

    def status(self):
        return json.loads(self.cli("status", "-o", "json"))

    def cycles(self):
        workers = self.status()["workers"]
        return sum(w["busy_cycles"] for w in workers), sum(w["packets"] for w in workers)

    def pids(self):
        return [self.processes[0].pid, self.status()["dataplane"]["pid"]]


class Testpmd(Switch):
    """DPDK's own vhost library forwarding blindly between two ports: what a switch made with it starts from."""
    name = "testpmd"
    options = ""  # of the vhost devices

    def start(self):
        if not shutil.which("dpdk-testpmd"):
            raise Unavailable("dpdk-testpmd is not installed (package dpdk)")
        memory = ["--in-memory", "-m", "512"] if hugepages_free() >= 256 else ["--no-huge", "-m", "512"]
        self.spawn(["dpdk-testpmd", "-l", f"0,{self.core}", "--no-pci", "--iova-mode=va", *memory, "--no-telemetry",
                    f"--file-prefix={os.path.basename(self.directory)}",
                    "--vdev", f"net_vhost0,iface={self.sockets[0]},queues=1{self.options}",
                    "--vdev", f"net_vhost1,iface={self.sockets[1]},queues=1{self.options}",
                    "--", "--forward-mode=io", "--nb-cores=1", "--burst=64", "--rxd=1024", "--txd=1024",
                    "--total-num-mbufs=16384", "--no-lsc-interrupt", "--stats-period=3600", "--auto-start"])


class Ovs(Switch):
    """OVS-DPDK with the NORMAL action (MAC learning) and the exact-match cache.

    ports: name -> settings of ovs-vsctl's Port table (tag, trunks, vlan_mode), each on a vhost-user socket."""
    name = "ovs"
    tso = "false"
    settings = ()  # of the Open_vSwitch table

    def __init__(self, core=1, packed=False, ports=None):
        super().__init__(core, packed)
        self.ports = ports or {"a": [], "b": []}
        self.hugepages_before = None
        self.sockets = tuple(os.path.join(self.directory, port) for port in self.ports)

    def stop(self):
        super().stop()
        return_hugepages(self.hugepages_before)
        self.hugepages_before = None

    def control(self, *arguments):
        subprocess.run(["ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "--timeout=120", *arguments], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment)

    def start(self):
        vswitchd = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
        if not os.path.exists(vswitchd):
            raise Unavailable("openvswitch-switch-dpdk is not installed")
        self.hugepages_before = reserve_hugepages(512)
        directory = self.directory
        self.environment = dict(os.environ, OVS_RUNDIR=directory, OVS_LOGDIR=directory, OVS_DBDIR=directory)
        subprocess.run(["ovsdb-tool", "create", f"{directory}/conf.db", "/usr/share/openvswitch/vswitch.ovsschema"],
                       check=True, env=self.environment)
        self.spawn(["ovsdb-server", f"{directory}/conf.db", f"--remote=punix:{directory}/db.sock",
                    f"--unixctl={directory}/db.ctl", f"--pidfile={directory}/db.pid"], env=self.environment)
        wait_for(lambda: os.path.exists(f"{directory}/db.sock"), "ovsdb-server")
        self.control("--no-wait", "init")
        self.control("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                     "other_config:dpdk-lcore-mask=0x1", f"other_config:pmd-cpu-mask={hex(1 << self.core)}",
                     "other_config:dpdk-socket-mem=512", f"other_config:userspace-tso-enable={self.tso}", *self.settings,
                     f"other_config:dpdk-extra=--no-pci --no-telemetry --in-memory --iova-mode=va --file-prefix={os.path.basename(directory)}")
        self.spawn([vswitchd, f"unix:{directory}/db.sock", f"--unixctl={directory}/switch.ctl",
                    f"--pidfile={directory}/switch.pid"], env=self.environment)
        self.control("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for port, settings in self.ports.items():
            self.control("add-port", "br0", port, *settings, "--", "set", "Interface", port, *self.interface(port))

    def interface(self, _port):
        return ["type=dpdkvhostuser"]


class TestpmdTso(Testpmd):
    """The same with segmentation offload offered to the guests."""
    options = ",tso=1"


class OvsTso(Ovs):
    """The same with userspace TSO, which OVS has as an experimental option, and only on ports that dial."""
    tso = "true"
    dials = True

    def interface(self, port):
        return ["type=dpdkvhostuserclient", f"options:vhost-server-path={self.directory}/{port}"]


class OvsSmc(Ovs):
    """The same with the signature match cache instead of the exact-match cache, for more flows than that holds."""
    settings = ("other_config:smc-enable=true", "other_config:emc-insert-inv-prob=0")


SWITCHES = {switch.name: switch for switch in (Weft, Testpmd, Ovs)}
