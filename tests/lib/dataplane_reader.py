# SPDX-License-Identifier: BSD-3-Clause
"""What a dataplane holds, asked at its own socket by a reader that shares no code with weftd (dataplane/api/dataplane_api.h)."""
import os
import socket
import struct

VERSION, HELLO, DUMP, GLOBAL, PORT = 2, 1, 7, 1, 3  # dataplane/api/dataplane_api.h
PORT_SIZE = 376


def dump(run_dir, kind, size):
    """All objects of a kind that the dataplane holds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(60)
        client.connect(os.path.join(run_dir, "dataplane.sock"))
        hello = struct.pack("=IIQ32s", VERSION, 0, 0, b"test")
        client.send(struct.pack("=HHIII", HELLO, 0, 1, len(hello), 0) + hello)
        client.recv(65536)
        client.send(struct.pack("=HHIII", DUMP, kind, 2, 0, 0))
        objects, more = [], True
        while more:
            answer = client.recv(65536)
            sequence, status, answered, count, flags = struct.unpack_from("=IiHHI", answer)
            assert (sequence, status, answered) == (2, 0, kind), answer[:128]
            assert len(answer) == 128 + count * size, (len(answer), count)
            objects += [answer[128 + i * size:128 + (i + 1) * size] for i in range(count)]
            more = flags & 1
        return objects


def held(run_dir):
    """The generation that the dataplane holds, and the names of its ports."""
    (configured,) = dump(run_dir, GLOBAL, 16)
    ports = dump(run_dir, PORT, PORT_SIZE)
    return struct.unpack_from("=Q", configured)[0], sorted(p[16:80].rstrip(b"\0").decode() for p in ports)
