# SPDX-License-Identifier: BSD-3-Clause
"""Programs of guests that ask names over TCP in ways that dig does not; run in their namespaces."""

ASK = """
import socket, struct, sys
def take(size):
    data = b""
    while len(data) < size:
        piece = s.recv(size - len(data)); assert piece, "closed"; data += piece
    return data
def query(name, number):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    message = struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + labels + b"\\0\\0\\1\\0\\1"
    return struct.pack("!H", len(message)) + message
s = socket.create_connection(("10.0.1.1", 53), 60); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
both = query("peer.acme.internal", 7) + query("big.example.net", 8)
for at in range(0, len(both), 5): s.sendall(both[at:at + 5])
s.shutdown(socket.SHUT_WR)
counts = []
for number in (7, 8):
    answer = take(struct.unpack("!H", take(2))[0])
    assert struct.unpack_from("!H", answer)[0] == number
    counts.append(struct.unpack_from("!H", answer, 6)[0])
assert s.recv(1) == b"", "more"
print(*counts)
"""

HOLD = """
import socket
def connect():
    try: return socket.create_connection(("10.0.1.1", 53), 60)
    except ConnectionRefusedError: return None
held = [connect() for _ in range(10)]
print(sum(s is not None for s in held), flush=True)
input()
for s in held:
    if s: s.settimeout(60); assert s.recv(1) == b"", "not closed"
print("closed by weft")
"""

LEAVE = """
import socket, struct
for _ in range(10):
    s = socket.create_connection(("10.0.1.1", 53), 60)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
    s.sendall(struct.pack("!7H", 19, 7, 0x100, 1, 0, 0, 0) + b"\\1x\\0\\0\\1\\0\\1")
    s.close()
"""
