# SPDX-License-Identifier: BSD-3-Clause
"""Linux guests under QEMU (linux_vm.py) that run programs as a namespace does (netns.py): what is written for one runs in both.

    image = Image(weft.directory, "ping", "traceroute")          # this machine's programs and its Python
    guest = LinuxSpace(weft, "acme/vm1", "52:54:00:00:00:01", image)
    guest.run("ping", "-c", "1", "10.0.0.1")
An agent in the guest (linux_agent.py) starts them; it is spoken to over the second serial port.
"""
import json
import os
import py_compile
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading

from linux_vm import CACHE, LinuxVm
from weft import wait_for

MODULES = "hashlib, json, os, select, socket, subprocess, sys, threading, tty, encodings.idna, encodings.ascii, encodings.latin_1"
LIST = f"""
import {MODULES}
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None) or os.devnull)
"""
AGENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "linux_agent.py")
SCENARIO = f"dmesg -n 1\nexport PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin\nmkdir -p /etc\n{sys.executable} /agent.py\n"


class Image:
    """linux_guest's initrd with programs of this machine, their libraries, and the part of Python that MODULES need."""
    def __init__(self, directory, *programs):
        self.directory, self.root = os.path.join(directory, "image"), os.path.join(directory, "image.root")
        os.makedirs(self.directory)
        tools = [shutil.which(program) for program in programs]
        python = subprocess.run([sys.executable, "-I", "-S", "-c", LIST], text=True, capture_output=True, check=True).stdout
        modules = {path for path in [*python.split(), os.__file__] if path.endswith((".py", ".so"))}
        shared = [path for path in modules if path.endswith(".so")]
        linked = subprocess.run(["ldd", sys.executable, *tools, *shared], text=True, capture_output=True, check=True).stdout
        for path in {sys.executable, *tools, *modules, *re.findall(r"(/\S+) \(0x", linked)}:
            self.add(path, path)
        for path in modules:
            if path.endswith(".py"):  # compiled here: the guest's processor is slow, and knows no time stamps
                py_compile.compile(self.root + path, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, doraise=True)
        self.add(AGENT, "/agent.py")
        self.pack()

    def add(self, path, name):
        os.makedirs(self.root + os.path.dirname(name), exist_ok=True)
        shutil.copy(path, self.root + name)

    def pack(self):
        os.symlink(f"{CACHE}/vmlinuz", f"{self.directory}/vmlinuz")
        shutil.copy(f"{CACHE}/initrd", f"{self.directory}/initrd")
        with open(f"{self.directory}/initrd", "ab") as initrd:
            initrd.write(bytes(-initrd.tell() % 4))  # where the kernel looks for the next archive
            initrd.flush()
            subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=self.root, stdout=initrd, check=True)
        shutil.rmtree(self.root)


class Process:
    """A program in a guest, with what the tests use of subprocess.Popen."""
    def __init__(self, space, number, arguments):
        self.space, self.number, self.arguments = space, number, arguments
        self.lines, self.errors, self.ended, self.returncode = queue.Queue(), [], threading.Event(), None
        self.stdin = self.stdout = self

    def tell(self, **message):
        self.space.tell(id=self.number, **message)

    def heard(self, message):
        if "out" in message:
            self.lines.put(message["out"])
        elif "err" in message:
            self.errors.append(message["err"])
        else:
            self.returncode = message["exit"]
            self.lines.put("")
            self.ended.set()

    def readline(self):
        return self.lines.get()

    def write(self, text):
        self.tell(**{"in": text})

    def flush(self):
        pass

    def kill(self):
        self.tell(kill=True)

    def wait(self):
        self.ended.wait()
        return self.returncode


class LinuxSpace:
    """The guest has no addresses yet; eth0 is up."""
    def __init__(self, weft, port, mac, image):
        self.processes, self.path = [], os.path.join(weft.directory, f"{port.replace('/', '.')}.agent")
        self.vm = LinuxVm(weft, port, mac, SCENARIO, image.directory, "-serial", f"unix:{self.path},server=on,wait=off")
        self.channel, self.ready = socket.socket(socket.AF_UNIX), threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        wait_for(lambda: os.path.exists(self.path) and not self.channel.connect_ex(self.path), self.path)
        for line in self.channel.makefile("r", encoding="utf-8"):
            message = json.loads(line)
            if "ready" in message:
                self.ready.set()
            else:
                self.processes[message["id"]].heard(message)
        for process in self.processes:  # QEMU has ended
            if not process.ended.is_set():
                process.heard({"exit": -1})

    def tell(self, **message):
        self.channel.sendall(json.dumps(message).encode() + b"\n")

    def popen(self, *arguments, **_):
        """Standard input and output are always there."""
        wait_for(lambda: self.ready.is_set() or self.vm.process.poll() is not None, f"{self.path} ready", 600)
        assert self.ready.is_set(), self.vm.console()
        self.processes.append(Process(self, len(self.processes), arguments))
        self.processes[-1].tell(start=arguments)
        return self.processes[-1]

    def run(self, *arguments, check=True):
        child = self.popen(*arguments)
        child.tell(close=True)
        child.wait()
        out, err = "".join(iter(child.readline, "")), "".join(child.errors)
        if check and child.returncode:
            raise AssertionError(f"{' '.join(arguments)}: exit {child.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(arguments, child.returncode, out, err)

    def python(self, code, *arguments, check=True):
        return self.run(sys.executable, "-c", code, *map(str, arguments), check=check).stdout

    def complaints(self):
        """What the guest's kernel says of the frames that it was given."""
        return re.findall(r"^.*(?:bad gso|hw csum failure|suspect GRO).*$", self.run("dmesg").stdout, re.M)

    def stop(self):
        self.vm.stop()
        self.channel.close()
