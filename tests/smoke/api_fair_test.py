#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A client of weftd's API that sends hundreds of requests at once does not make another client wait for all of them. What
comes before what is told by the answers, not by a clock."""
import json
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from weft import Weft  # noqa: E402

REQUESTS = 350  # fit into one read of weftd
ROUNDS = 5
STATUS = b'{"id":1,"method":"status","params":{}}\n'


def connect(weft):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(os.path.join(weft.run_dir, "api.sock"))
    lines = client.makefile("rb")
    client.sendall(b'{"id":0,"method":"hello","params":{"version":1}}\n')
    assert "result" in json.loads(lines.readline())
    return client, lines


def answered_at(answers):
    """When the dataplane was asked for this answer, in TSC cycles since its start."""
    return json.loads(answers.readline())["result"]["workers"][0]["total_cycles"]


def main():
    with Weft({"version": 1}) as weft:
        (greedy, answers), (other, other_answers) = connect(weft), connect(weft)
        before = []
        for _ in range(ROUNDS):
            weft.daemon.send_signal(signal.SIGSTOP)  # when it goes on, all of them are there
            greedy.sendall(STATUS * REQUESTS)
            other.sendall(STATUS)
            weft.daemon.send_signal(signal.SIGCONT)
            mine = answered_at(other_answers)
            times = [answered_at(answers) for _ in range(REQUESTS)]
            assert times == sorted(times) and times[0] < times[-1], times
            before.append(sum(time < mine for time in times))
        print(f"of {REQUESTS} requests of the first client, answered before the other's one:", before)
        assert max(before) < REQUESTS / 10, before
        # everything that came before the end is answered, also when the end came with it
        greedy.sendall(STATUS * REQUESTS)
        greedy.shutdown(socket.SHUT_WR)
        assert len(answers.readlines()) == REQUESTS


main()
