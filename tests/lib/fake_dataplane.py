#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A dataplane that only stores objects (dataplane/api/dataplane_api.h), for faults that a real one does not have.

    with FakeDataplane(run_dir) as dataplane:
        dataplane.fault = "refuse" | "die" | "die-after" | "lie" | "mute"     # at the next COMMIT
"""
import errno
import os
import socket
import struct
import threading

HELLO, BEGIN, PUT, DEL, COMMIT, ABORT, DUMP, FLUSH, PUNT, STOP = range(1, 11)
# kind: (size of the object, size of its key)
CONFIGURED = {1: (16, 0), 2: (88, 4), 3: (376, 4), 4: (16, 8), 5: (20, 10), 6: (24, 24)}
REQUEST, REPLY, MORE = struct.Struct("=HHIII"), struct.Struct("=IiHHI112s"), 1


class FakeDataplane:
    def __init__(self, run_dir):
        self.path = os.path.join(run_dir, "dataplane.sock")
        self.objects, self.fault, self.commits = {}, None, 0
        self.listener, self.connections = None, []

    def __enter__(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.path)
        self.listener.listen(4)
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *unused):
        for connection in [self.listener, *self.connections]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        staged = None
        while True:
            try:
                message = connection.recv(65536)
                if not message:
                    return
                op, kind, sequence, _, _ = REQUEST.unpack_from(message)
                staged = self.handle(connection, op, kind, sequence, message[REQUEST.size:], staged)
            except OSError:
                return

    @staticmethod
    def reply(connection, sequence, status=0, text="", kind=0, objects=(), flags=0):
        connection.send(REPLY.pack(sequence, status, kind, len(objects), flags, text.encode()) + b"".join(objects))

    def handle(self, connection, op, kind, sequence, body, staged):
        if op == HELLO:
            answer = body[:4] + struct.pack("=IQ32s", os.getpid(), 1, b"fake")  # any version
            connection.send(REPLY.pack(sequence, 0, 0, 0, 0, b"") + answer)
        elif op == BEGIN:
            staged = dict(self.objects)
            self.reply(connection, sequence)
        elif op in (PUT, DEL):
            key = (kind, body[:CONFIGURED[kind][1]])
            if op == PUT:
                staged[key] = body
            else:
                staged.pop(key, None)
            self.reply(connection, sequence)
        elif op == COMMIT:
            self.commit(connection, sequence, staged)
            staged = None
        elif op == DUMP:
            self.dump(connection, kind, sequence)
        elif op == STOP:
            self.reply(connection, sequence)
            connection.close()
        else:
            self.reply(connection, sequence)
        return staged

    def commit(self, connection, sequence, staged):
        fault, self.fault = self.fault, None
        if fault == "refuse":
            self.reply(connection, sequence, -errno.EINVAL, "port acme/vm9: refused on purpose")
            return
        if fault == "mute":
            return
        if fault != "die":
            self.commits += 1
            self.objects = staged
        if fault in ("die", "die-after"):
            connection.close()
            return
        if fault == "lie":
            self.objects.pop(next(key for key in self.objects if key[0] == 3))
        self.reply(connection, sequence)

    def dump(self, connection, kind, sequence):
        objects = [value for key, value in self.objects.items() if key[0] == kind]
        fit = 32768 // CONFIGURED.get(kind, (1, 0))[0]
        while len(objects) > fit:
            self.reply(connection, sequence, kind=kind, objects=objects[:fit], flags=MORE)
            objects = objects[fit:]
        self.reply(connection, sequence, kind=kind, objects=objects)

    def names(self):
        """Names of the ports that it holds."""
        return sorted(value[16:80].rstrip(b"\0").decode() for key, value in self.objects.items() if key[0] == 3)
