# SPDX-License-Identifier: BSD-3-Clause
"""Runs inside a Linux guest: starts programs for the test outside (linux_space.py), over the second serial port.

A line each way is a JSON object. Test: {id, start: [argument, ...]} starts a program, {id, in: text} is for its standard input,
{id, close: true} ends that, {id, kill: true} ends the program. Agent: {ready: true}, {id, out: line}, {id, err: line} and, last, {id, exit: code}.
"""
import json
import os
import subprocess
import threading
import tty

PORT = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
LOCK = threading.Lock()


def say(**message):
    data = json.dumps(message).encode() + b"\n"
    with LOCK:
        while data:
            data = data[os.write(PORT, data):]


def forward(number, child):
    """All that the program prints, then how it ended."""
    def pump(file, key):
        for line in file:
            say(id=number, **{key: line})
    pumps = [threading.Thread(target=pump, args=(child.stdout, "out")), threading.Thread(target=pump, args=(child.stderr, "err"))]
    for thread in pumps:
        thread.start()
    for thread in pumps:
        thread.join()
    say(id=number, exit=child.wait())


def start(number, arguments):
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace", bufsize=1)
    except OSError as error:
        say(id=number, err=f"{error}\n")
        say(id=number, exit=127)
        return None
    threading.Thread(target=forward, args=(number, child), daemon=True).start()
    return child


def serve():
    children = {}
    for line in os.fdopen(os.dup(PORT), "r", encoding="utf-8"):
        message = json.loads(line)
        if "start" in message:
            children[message["id"]] = start(message["id"], message["start"])
            continue
        child = children[message["id"]]
        try:
            if "in" in message:
                child.stdin.write(message["in"])
                child.stdin.flush()
            elif "close" in message:
                child.stdin.close()
            else:
                child.kill()
        except (OSError, ValueError, AttributeError):  # it has ended, or never began
            pass


tty.setraw(PORT)
say(ready=True)
serve()
