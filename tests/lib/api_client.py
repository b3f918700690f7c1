# SPDX-License-Identifier: BSD-3-Clause
"""A client of weftd's socket that says what the test wants it to, well formed or not (docs/api.md)."""
import json
import os
import socket

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
