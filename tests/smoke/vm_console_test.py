#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A terminal (pty) or a pipe --- weft vm console --- acme/vm1, a guest that repeats what is typed
Bytes in both directions, the way out, who takes over from whom, the end; and that weftd's keeping of machines outlives weftd."""
import os
import pty
import subprocess
import sys
import termios

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from weft import BUILD, Weft, guest_image, wait_for  # noqa: E402

GUEST = guest_image()
CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}}, "ports": {
    "vm1": {"segment": "web", "vm": {"kernel": GUEST, "memory": "32M", "cmdline": "mode=typed"}}}}}}


class Console:
    """weft vm console with its output (and, on a terminal, its input) at a descriptor of ours."""

    def __init__(self, on_terminal, stdin=subprocess.DEVNULL):
        self.fd, other = pty.openpty() if on_terminal else os.pipe()
        self.modes = termios.tcgetattr(other) if on_terminal else None
        self.other, self.text = other, b""
        os.set_blocking(self.fd, False)
        self.process = subprocess.Popen([os.path.join(BUILD, "cli/weft"), "--run-dir", weft.run_dir, "vm", "console", "acme/vm1"],
                                        stdin=other if on_terminal else stdin, stdout=other, stderr=subprocess.PIPE)

    def read(self):
        try:
            self.text += os.read(self.fd, 65536)
        except BlockingIOError:
            pass
        return self.text

    def wait(self, text):
        wait_for(lambda: text in self.read(), f"{text} on the console, which has {self.text}")

    def ends(self, code):
        _, errors = self.process.communicate(timeout=120)
        assert self.process.returncode == code, (self.process.returncode, errors)
        if self.modes:
            assert termios.tcgetattr(self.other) == self.modes, "the terminal is not as it was"
        self.read()
        os.close(self.fd)
        os.close(self.other)
        return errors.decode()


with Weft(CONFIG, arguments=("--keep-dataplane",)) as weft:
    wait_for(lambda: weft.items("vm", "list")[0]["state"] == "running", "the machine")
    first = Console(True)
    first.wait(b"typed ready=1")  # what was said before somebody came
    os.write(first.fd, b"hello\r")
    first.wait(b'typed text=hello')
    os.write(first.fd, b"\x03\r")  # raw: Ctrl-C is the guest's
    first.wait(b"typed text=\x03")
    second = Console(False, subprocess.PIPE)  # the newest has it
    first.wait(b"taken over")
    first.ends(0)
    second.process.stdin.write(b"a\x1db\r")  # no terminal, no way out by Ctrl-]
    second.process.stdin.flush()
    second.wait(b"typed text=a\x1db")
    third = Console(True)
    second.ends(0)
    wait_for(lambda: termios.tcgetattr(third.other) != third.modes, "a raw terminal")
    os.write(third.fd, b"\x1d")
    assert "Ctrl-]" in third.ends(0)

    pid = weft.items("vm", "list")[0]["pid"]
    weft.stop()  # --keep-dataplane keeps machines as well
    os.kill(pid, 0)
    weft.arguments = ()
    weft.start()
    wait_for(lambda: weft.items("vm", "list")[0]["state"] == "running", "the adopted machine")
    assert weft.items("vm", "list")[0]["pid"] == pid
    last = Console(False)
    with open(weft.items("vm", "show", "acme/vm1")[0]["console_log"], "rb") as log:
        assert b"typed text=hello" in log.read()
    weft.cli("vm", "stop", "acme/vm1")
    last.ends(0)  # its input ended at once, its output with the machine
    off = weft.cli("vm", "console", "acme/vm1", check=False)
    assert off.returncode == 4 and "it has no console now" in off.stderr, off
    weft.replace_dataplane()
print("consoles are consoles")
