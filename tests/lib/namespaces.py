# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces for Python tests. A test runs in one of its own (enter_own), which ends with it; others are made
by the processes that hold them open, so nothing is left behind however the test ends."""
import ctypes
import os
import select
import socket
import subprocess
import sys
import time

from weft import skip

CLONE_NEWNET = 0x40000000


def enter_own():
    """Starts this test again in a network namespace of its own."""
    if os.geteuid():
        skip("only root makes namespaces")
    if "WEFT_TEST_NAMESPACE" not in os.environ:
        sys.exit(subprocess.call(["unshare", "-n", sys.executable, *sys.argv],
                                 env=dict(os.environ, WEFT_TEST_NAMESPACE="1")))
    run("ip", "link", "set", "lo", "up")


def run(*command, check=True):
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(command)}: {result.stderr}")
    return result.stdout


class Namespace:
    """Without a name: the one that the test runs in."""

    def __init__(self, name=None):
        self.made, self.holder = name is not None, None
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)

    def __enter__(self):
        if self.made:
            self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up; echo; exec cat"],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.holder.stdout.readline()
        self.name = str(self.holder.pid if self.made else os.getpid())
        self.fd = os.open(f"/proc/{self.name}/ns/net", os.O_RDONLY)
        return self

    def __exit__(self, *_):
        os.close(self.fd)
        os.close(self.own)
        if self.holder:
            self.holder.stdin.close()
            self.holder.wait()

    def run(self, *command, check=True):
        return run("nsenter", f"--net=/proc/{self.name}/ns/net", *command, check=check)

    def start(self, *command, **keywords):
        return subprocess.Popen(["nsenter", f"--net=/proc/{self.name}/ns/net", *command], **keywords)

    def socket(self, *arguments):
        """A socket of this namespace: it stays there whoever uses it."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(self.fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return socket.socket(*arguments)
        finally:
            libc.setns(self.own, CLONE_NEWNET)


def transfer(listener, connector, address, size):
    """So many bytes by TCP from one namespace to the other. How many arrived."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with listener.socket(family, socket.SOCK_STREAM) as server:
        server.bind((address, 0))
        server.listen()
        with connector.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(60)
            client.connect(server.getsockname()[:2])
            peer = server.accept()[0]
            peer.settimeout(60)
            data, got = os.urandom(size), b""
            while len(got) < size:
                if data:
                    data = data[client.send(data[:65536]):]
                got += peer.recv(1 << 20)
            peer.close()
    return len(got)


class capture:
    """Frames that an interface receives: with capture("lan1") as seen: ...; seen.wait(lambda frame: ...)."""

    def __init__(self, interface, namespace=None):
        protocol = socket.htons(3)  # ETH_P_ALL
        make = namespace.socket if namespace else socket.socket
        self.socket = make(socket.AF_PACKET, socket.SOCK_RAW, protocol)
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

    def wait(self, condition, seconds=20.0):
        deadline = time.monotonic() + seconds
        while not self.any(condition):
            if time.monotonic() > deadline:
                raise AssertionError(f"not seen among {len(self.frames)} frames")
            self.read(0.1)
