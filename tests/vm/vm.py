# SPDX-License-Identifier: BSD-3-Clause
"""Machines of weft-vmm for tests: start one, read what its guest says, talk to its control socket, end it."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from weft import skip, wait_for  # noqa: E402

VMM, GUEST, HUB = (os.environ[name] for name in ("WEFT_VMM", "WEFT_VM_GUEST", "WEFT_VM_HUB"))
OFF, FAILED, USAGE, RESET, KILLED, CRASHED = 0, 1, 2, 16, 17, 18


def need_kvm():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as error:
        skip(f"/dev/kvm: {error.strerror}")


def fields(line):
    """"ping seq=1 us=12" -> {"": "ping", "seq": "1", "us": "12"}"""
    words = line.split()
    return {"": words[0], **dict(word.split("=", 1) for word in words[1:] if "=" in word)}


class Machine:
    def __init__(self, directory, *arguments, cmdline="", kernel=GUEST, memory="64M", name="vm", prefix=()):
        self.directory, self.name = directory, name
        self.console_path = os.path.join(directory, f"{name}.console")
        self.control_path = os.path.join(directory, f"{name}.control")
        self.log_path = os.path.join(directory, f"{name}.log")
        command = [*prefix, VMM, "--name", name, "--verbose", "--control", self.control_path, "--console",
                   f"file:{self.console_path}", "--memory", memory, "--cmdline", cmdline]
        command += ["--kernel", kernel] if kernel else []
        command += os.environ.get("WEFT_VMM_ARGUMENTS", "").split()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def console(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.console_path, encoding="latin-1") as text:
                return text.read()
        return ""

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()

    def lines(self, word):
        whole = self.console().rpartition("\n")[0]  # the last line may still be on its way
        return [fields(line) for line in whole.splitlines() if line.split(" ")[0] == word]

    def wait_line(self, text, seconds=120.0):
        def there():
            assert self.process.poll() is None or text in self.console(), f"{self.name} ended: {self.dump()}"
            return text in self.console()
        wait_for(there, f"{self.name}: \"{text}\" on the console", seconds)

    def wait(self, code=OFF, seconds=300.0):
        try:
            result = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} runs on: {self.dump()}") from None
        assert result == code, f"{self.name}: exit code {result}, expected {code}: {self.dump()}"
        return self

    def call(self, method, **params):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(self.control_path)
            client.sendall(json.dumps({"id": 7, "method": method, "params": params}).encode() + b"\n")
            line = client.makefile("rb").readline()
        assert line, f"no answer to {method}, exit code {self.process.poll()}: {self.dump()}"
        reply = json.loads(line)
        assert reply.pop("id") == 7, reply
        return reply

    def status(self):
        return self.call("status")["result"]

    def right(self):
        """The guest ended by itself and found all as it should be."""
        self.wait()
        done = self.lines("done")
        assert done and done[-1]["ok"] == "1" and "error" not in self.console(), self.dump()
        return self

    def dump(self):
        return f"\n---- console of {self.name}\n{self.console()}---- log\n{self.log()}"

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Bench:
    """A directory, and processes that end with it."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="weft-vm-")
        os.chmod(self.directory, 0o755)
        self.processes = []
        self.machines = []
        return self

    def path(self, name):
        return os.path.join(self.directory, name)

    def machine(self, *arguments, **keywords):
        keywords.setdefault("name", f"vm{len(self.machines)}")
        machine = Machine(self.directory, *arguments, **keywords)
        self.machines.append(machine)
        return machine

    def disk(self, name, size):
        with open(self.path(name), "wb") as image:
            image.truncate(size)
        return self.path(name)

    def hub(self, *names, pairs=1):
        sockets = ["=" + self.path(name[1:]) if name[0] == "=" else self.path(name) for name in names]  # =NAME: it dials
        process = subprocess.Popen([HUB, "-q", str(pairs), *sockets], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert "ready\n" in iter(process.stdout.readline, ""), "vm-hub does not start"
        return process

    @staticmethod
    def kill(process):
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()

    def __exit__(self, kind, *_):
        for machine in self.machines:
            machine.end()
            if kind:
                print(machine.dump())
            text = machine.log()
            assert "Sanitizer" not in text and "runtime error" not in text, text
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)
        left = [name for name in os.listdir(self.directory) if name.endswith(".control")]
        shutil.rmtree(self.directory)
        assert kind or not left or os.geteuid() == 0, f"left behind: {left}"


def run(*tests):
    """All of them, or those named on the command line."""
    need_kvm()
    for test in [test for test in tests if len(sys.argv) == 1 or test.__name__ in sys.argv[1:]]:
        start = time.monotonic()
        with Bench() as bench:
            test(bench)
        print(f"ok {test.__name__} {time.monotonic() - start:.2f} s", flush=True)
