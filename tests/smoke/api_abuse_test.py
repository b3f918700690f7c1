#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Clients of weftd that say what they should not: each gets its error, and another client is answered all the while."""
import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from api_client import HELLO, Client, answered, code  # noqa: E402
from weft import Weft, skip, wait_for  # noqa: E402

if os.geteuid() != 0:
    skip("needs root")

CONFIG = {"version": 1, "tenants": {"acme": {"segments": {"web": {"mode": "isolated"}},
                                             "ports": {"vm1": {"segment": "web"}}}}}


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
    assert 60 <= len(clients) <= 64, "64 at most; another is there, and some that left may still be"
    for client in clients:
        client.close()
    wait_for(lambda: weft.cli("status", check=False).returncode == 0, "clients may come again")


def main():
    with Weft(CONFIG) as weft:
        silent = Client(weft)
        for check in (check_requests, check_size_and_number):
            check(weft)
            answered(weft)
        assert silent.ask(b'{"id":1,"method":"status"}\n')["result"]
        assert weft.status()["controller"]["pid"] == weft.daemon.pid


main()
