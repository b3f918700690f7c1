#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A client of weftd's API that sends hundreds of requests at once does not make another client wait for all of them."""
import json
import os
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from weft import Weft  # noqa: E402

REQUESTS = 350  # fit into one read of weftd
ROUNDS = 5


def connect(weft):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(os.path.join(weft.run_dir, "api.sock"))
    lines = client.makefile("rb")
    client.sendall(b'{"id":0,"method":"hello","params":{"version":1}}\n')
    assert "result" in json.loads(lines.readline())
    return client, lines


def main():
    with Weft({"version": 1}) as weft:
        (greedy, answers), (other, other_answers) = connect(weft), connect(weft)
        parts = []
        for _ in range(ROUNDS):
            start = time.monotonic()
            greedy.sendall(b'{"id":1,"method":"status","params":{}}\n' * REQUESTS)
            other.sendall(b'{"id":2,"method":"config.history"}\n')
            assert json.loads(other_answers.readline())["id"] == 2
            waited = time.monotonic() - start
            for _ in range(REQUESTS):
                assert "result" in json.loads(answers.readline())
            parts.append(waited / (time.monotonic() - start))
        print("of the time that all requests of the first client take, the other one waited", [round(p, 3) for p in parts])
        assert statistics.median(parts) < 0.3, parts
        # everything that came before the end is answered, also when the end came with it
        greedy.sendall(b'{"id":3,"method":"status","params":{}}\n' * REQUESTS)
        greedy.shutdown(socket.SHUT_WR)
        assert len(answers.readlines()) == REQUESTS


main()
