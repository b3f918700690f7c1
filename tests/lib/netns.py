# SPDX-License-Identifier: BSD-3-Clause
"""Network namespaces for tests: hosts with the kernel's own stack, removed on every exit.

    with Network() as net:
        lan = net.namespace("lan")            # named after this process, so that tests run side by side
        net.veth(lan, "eth0", None, "lan0")   # None: the namespace that the test runs in
        lan.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
"""
import os
import subprocess
import sys
import tempfile

from weft import skip


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


def run(*arguments, check=True, **keywords):
    result = subprocess.run(arguments, text=True, capture_output=True, timeout=120, check=False, **keywords)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(arguments)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result


class Namespace:
    def __init__(self, name):
        self.name, self.children = name, []
        run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *arguments, check=True, **keywords):
        return run("ip", "netns", "exec", self.name, *arguments, check=check, **keywords)

    def popen(self, *arguments, **keywords):
        child = subprocess.Popen(["ip", "netns", "exec", self.name, *arguments], text=True, **keywords)
        self.children.append(child)
        return child

    def python(self, code, *arguments, check=True):
        """Runs Python in the namespace; what it printed."""
        return self.run(sys.executable, "-c", code, *map(str, arguments), check=check).stdout

    def take(self, interface, name=None, mac=None):
        """Moves an interface of the test's namespace here."""
        run("ip", "link", "set", interface, "netns", self.name)
        if name:
            self.run("ip", "link", "set", interface, "name", name)
        if mac:
            self.run("ip", "link", "set", name or interface, "address", mac)
        self.run("ip", "link", "set", name or interface, "up")

    def close(self):
        for child in self.children:
            child.kill()
            child.wait()
        run("ip", "netns", "del", self.name, check=False)


class Network:
    def __init__(self):
        self.namespaces = []

    def __enter__(self):
        return self

    def namespace(self, name):
        self.namespaces.append(Namespace(f"weft-{os.getpid()}-{name}"))
        return self.namespaces[-1]

    @staticmethod
    def veth(left, left_name, right, right_name):
        """A cable; None: the namespace that the test runs in."""
        ends = []
        for space, name in ((left, left_name), (right, right_name)):
            ends.append(["name", name, *(["netns", space.name] if space else [])])
        run("ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for space, name in ((left, left_name), (right, right_name)):
            (space.run if space else run)("ip", "link", "set", name, "up")

    def __exit__(self, *_):
        for space in self.namespaces:
            space.close()
