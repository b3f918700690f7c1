#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Clients of weftd that are slow: who does not read is not kept in memory, who does not finish a line is cut off, and another
client is answered all the while."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from api_client import Client, answered, code  # noqa: E402
from weft import Weft, skip, wait_for  # noqa: E402

if os.geteuid() != 0:
    skip("needs root")

CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}},
                                             "ports": {"vm1": {"segment": "web"}}}}}
LINE_SECONDS = 10  # WEFT_API_LINE_SECONDS


def check_slow(weft):
    """Asks and follows without reading an answer; weftd must not grow."""
    def size():
        with open(f"/proc/{weft.daemon.pid}/statm", encoding="ascii") as text:
            return int(text.read().split()[1]) * 4096
    greedy, follower = Client(weft), Client(weft)
    assert follower.ask(b'{"id":2,"method":"events","params":{"follow":true}}\n')["item"]["type"]
    before = size()
    greedy.socket.setblocking(False)
    request = b'{"id":1,"method":"config.export"}\n' * 1000
    try:
        for _ in range(200):
            greedy.socket.send(request)
    except BlockingIOError:
        pass
    answered(weft)
    assert size() - before < 16 << 20, f"weftd grew by {size() - before}"
    weft.cli("tenant", "add", "beta")
    while True:
        item = follower.answer()["item"]
        if item["type"] == "config-applied" and "generation 2 " in item["text"]:
            break
    greedy.close()
    follower.close()


def check_unread(weft):
    """What had come before the deadline of its line is read, even if weftd could not do so until then: it is stopped for
    longer than a line may take."""
    client = Client(weft)
    client.socket.sendall(b'{"id":1,"method":"status","x":"')
    answered(weft)  # so the beginning is read, its deadline runs
    weft.daemon.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    client.socket.sendall(b"x" * 100000 + b'"}\n')
    wait_for(lambda: time.monotonic() > began + LINE_SECONDS + 1, "longer than a line may take")
    weft.daemon.send_signal(signal.SIGCONT)
    assert client.answer()["result"], "a request that came in time was cut"
    client.close()


def main():
    with Weft(CONFIG) as weft:
        unfinished, silent = Client(weft), Client(weft)
        unfinished.socket.sendall(b'{"id":1,')
        check_slow(weft)
        answered(weft)
        answer = unfinished.answer()
        assert code(answer) == 2 and "in time" in answer["error"]["message"] and unfinished.answer() is None
        assert silent.ask(b'{"id":1,"method":"status"}\n')["result"], "who began no line may stay"
        check_unread(weft)
        assert weft.status()["controller"]["pid"] == weft.daemon.pid


main()
