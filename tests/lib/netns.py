# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces for tests: hosts with the kernel's own stack. A test runs in one of its own (enter), which ends with
it; each other one is held by a process that reads from a pipe of the test's, so nothing is left however the test ends.

    enter(sys.argv)                           # the test continues in a namespace of its own
    with Network() as net:
        lan = net.namespace("lan")            # the name is for ps(1)
        net.veth(lan, "eth0", None, "lan0")   # None: the namespace that the test runs in
        lan.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
"""
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile

from weft import skip, wait_for


def enter(argv, resolv_conf=None):
    """Runs the test again in network and mount namespaces of its own; returns inside them."""
    if os.geteuid():
        skip("only root makes namespaces")
    if "WEFT_TEST_NAMESPACE" not in os.environ:
        sys.exit(subprocess.call(["unshare", "-n", "-m", sys.executable, *argv],
                                 env=dict(os.environ, WEFT_TEST_NAMESPACE="1")))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if resolv_conf:
        with tempfile.NamedTemporaryFile("w", prefix="weft-resolv-") as file:
            file.write(resolv_conf)
            file.flush()
            os.chmod(file.name, 0o644)
            subprocess.run(["mount", "--bind", file.name, os.path.realpath("/etc/resolv.conf")], check=True)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            skip(f"needs the program {program}")


def run(*arguments, check=True, **keywords):
    result = subprocess.run(arguments, text=True, capture_output=True, timeout=120, check=False, **keywords)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(arguments)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result


class Host:
    """The namespace that the test is in, where a Namespace is asked for."""
    run, socket = staticmethod(run), staticmethod(socket.socket)


class Namespace:
    def __init__(self, name="weft-test"):
        self.children = []
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up; echo ready; read end", name],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        self.pid = str(self.holder.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for child in self.children:
            child.kill()
            child.wait()
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()

    def inside(self, *arguments):
        return ["nsenter", "-t", self.pid, "-n", *arguments]

    def run(self, *arguments, check=True, **keywords):
        return run(*self.inside(*arguments), check=check, **keywords)

    def popen(self, *arguments, **keywords):
        """A program in the namespace, which ends with it."""
        child = subprocess.Popen(self.inside(*arguments), text=True, **keywords)
        self.children.append(child)
        return child

    def python(self, code, *arguments, check=True):
        """Runs Python in the namespace; what it printed."""
        return self.run(sys.executable, "-c", code, *map(str, arguments), check=check).stdout

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is inside."""
        libc, net = ctypes.CDLL(None, use_errno=True), 0x40000000  # CLONE_NEWNET
        with open("/proc/thread-self/ns/net", "rb") as back, open(f"/proc/{self.pid}/ns/net", "rb") as here:
            assert libc.setns(here.fileno(), net) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(back.fileno(), net) == 0

    def socket(self, *arguments):
        """A socket of the namespace: it stays there whoever uses it."""
        with self.entered():
            return socket.socket(*arguments)

    def take(self, interface, name=None, mac=None, up=True):
        """Moves an interface of the test's namespace here, once there is one."""
        wait_for(lambda: os.path.exists(f"/proc/sys/net/ipv4/conf/{interface}"), interface)
        run("ip", "link", "set", interface, "netns", self.pid)
        if name:
            self.run("ip", "link", "set", interface, "name", name)
        if mac:
            self.run("ip", "link", "set", name or interface, "address", mac)
        if up:
            self.run("ip", "link", "set", name or interface, "up")


class Network:
    def __init__(self):
        self.namespaces = []

    def __enter__(self):
        return self

    def namespace(self, name):
        self.namespaces.append(Namespace(name))
        return self.namespaces[-1]

    @staticmethod
    def veth(left, left_name, right, right_name):
        """A cable; None: the namespace that the test runs in."""
        ends = []
        for space, name in ((left, left_name), (right, right_name)):
            ends.append(["name", name, *(["netns", space.pid] if space else [])])
        run("ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for space, name in ((left, left_name), (right, right_name)):
            (space.run if space else run)("ip", "link", "set", name, "up")

    def __exit__(self, *_):
        for space in self.namespaces:
            space.close()
