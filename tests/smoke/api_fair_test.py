#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A client of weftd's API that sends hundreds of requests at once does not make another client wait for all of them. What
comes before what is told by the answers, not by a clock."""
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from api_client import Client  # noqa: E402
from weft import Weft  # noqa: E402

REQUESTS = 350  # fit into one read of weftd
ROUNDS = 5
STATUS = b'{"id":1,"method":"status","params":{}}\n'


def answered_at(client):
    """When the dataplane was asked for this answer, in TSC cycles since its start."""
    return client.answer()["result"]["workers"][0]["total_cycles"]


def main():
    with Weft({"version": 1}) as weft:
        greedy, other = Client(weft), Client(weft)
        before = []
        for _ in range(ROUNDS):
            weft.daemon.send_signal(signal.SIGSTOP)  # when it goes on, all of them are there
            os.waitpid(weft.daemon.pid, os.WUNTRACED)
            greedy.socket.sendall(STATUS * REQUESTS)
            other.socket.sendall(STATUS)
            weft.daemon.send_signal(signal.SIGCONT)
            mine = answered_at(other)
            times = [answered_at(greedy) for _ in range(REQUESTS)]
            assert times == sorted(times) and times[0] < times[-1], times
            before.append(sum(time < mine for time in times))
        print(f"of {REQUESTS} requests of the first client, answered before the other's one:", before)
        assert max(before) < REQUESTS / 10, before
        # everything that came before the end is answered, also when the end came with it
        greedy.socket.sendall(STATUS * REQUESTS)
        greedy.socket.shutdown(socket.SHUT_WR)
        assert len(greedy.lines.readlines()) == REQUESTS


main()
