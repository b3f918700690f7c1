#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Clients of weftd that do not behave: each gets its error or is cut off, and another client is answered all the while.
"""
import json
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from weft import Weft, skip, wait_for  # noqa: E402

if os.geteuid() != 0:
    skip("needs root")

CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}},
                                             "ports": {"vm1": {"segment": "web"}}}}}
LINE_SECONDS = 10  # WEFT_API_LINE_SECONDS
HELLO = b'{"id":0,"method":"hello","params":{"version":1}}\n'


class Client:
    def __init__(self, weft, greet=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(os.path.join(weft.run_dir, "api.sock"))
        self.lines = self.socket.makefile("rb")
        if greet:
            assert self.ask(HELLO)["result"]["role"] == "admin"

    def ask(self, line):
        try:
            self.socket.sendall(line)
        except BrokenPipeError:
            pass  # closed with an answer that says why
        return self.answer()

    def answer(self):
        line = self.lines.readline()
        return json.loads(line) if line else None

    def close(self):
        self.lines.close()
        self.socket.close()


def code(answer):
    return answer["error"]["code"]


def answered(weft):
    """In time, or the socket's timeout says that it is not."""
    client = Client(weft)
    assert client.ask(b'{"id":1,"method":"list","params":{"noun":"port"}}\n')["result"]["items"][0]["name"] == "acme/vm1"
    client.close()


def check_requests(weft):
    client = Client(weft, greet=False)
    assert code(client.ask(b'{"id":1,"method":"status"}\n')) == 2, "hello comes first"
    assert code(client.ask(b'{"id":1,"method":"hello","params":{"version":9}}\n')) == 2
    client.ask(HELLO)
    for line in [b"\n", b"x\n", b"[]\n", b"{}\n", b'{"id":{},"method":"status"}\n', b'{"id":1,"id":2,"method":"status"}\n',
                 b'{"id":1,"method":7}\n', b'{"id":1,"method":"status","params":[]}\n', b'{"id":1,"method":"stauts"}\n',
                 b'{"id":1,"method":"status","params":{"x":1}}\n', b'{"id":1,"method":"list"}\n',
                 b'{"id":1,"method":"list","params":{"noun":1}}\n', b'{"id":1,"method":"list","params":{"noun":"prot"}}\n',
                 b'{"id":1,"method":"show","params":{"noun":"port","name":"vm1"}}\n', b"[" * 5000 + b"\n",
                 b'{"id":1,"method":"\xff"}\n', b'{"id":1e999,"method":"status"}\n', b'{"id":1,"method":"sta\\u0000tus"}\n',
                 b'{"id":1,"method":"config.apply","params":{"text":"version: 1","confirm_within":-1}}\n']:
        assert code(client.ask(line)) == 2, line
    assert code(client.ask(b'{"id":1,"method":"show","params":{"noun":"port","name":"acme/x\\u001b[2J"}}\n')) == 3
    assert "\x1b" not in json.dumps(client.ask(b'{"id":1,"method":"show","params":{"noun":"tenant","name":"\\u001b"}}\n'))
    client.socket.sendall(b"".join(b'{"id":%d,"method":"status"}\n' % i for i in range(100)))
    assert [client.answer()["id"] for _ in range(100)] == list(range(100)), "in order"
    client.socket.sendall(b'{"id":5,"method":"hello","params":{"version":1}}\n')
    client.socket.shutdown(socket.SHUT_WR)
    assert client.answer()["id"] == 5 and client.answer() is None, "an answer still comes after the last request"
    client.close()


def check_size_and_number(weft):
    client = Client(weft)
    try:
        client.socket.sendall(b'"' + b"x" * (2 << 20))
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        answer = client.answer()
        assert answer is None or code(answer) == 9
    except ConnectionResetError:
        pass
    client.close()
    clients = [Client(weft, greet=False)]
    while "result" in (answer := clients[-1].ask(HELLO)):
        clients.append(Client(weft, greet=False))
    assert code(answer) == 9
    assert 60 <= len(clients) <= 63, "64 at most; two others are there, and one that left may still be"
    for client in clients:
        client.close()
    wait_for(lambda: weft.cli("status", check=False).returncode == 0, "clients may come again")


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
        for check in (check_requests, check_size_and_number, check_slow):
            check(weft)
            answered(weft)
        answer = unfinished.answer()
        assert code(answer) == 2 and "in time" in answer["error"]["message"] and unfinished.answer() is None
        assert silent.ask(b'{"id":1,"method":"status"}\n')["result"], "who began no line may stay"
        check_unread(weft)
        assert weft.status()["controller"]["pid"] == weft.daemon.pid


if __name__ == "__main__":
    main()
