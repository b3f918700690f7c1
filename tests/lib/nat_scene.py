# SPDX-License-Identifier: BSD-3-Clause
"""What guests behind address translation and servers outside see of each other: run against weft and against
nftables masquerade, whose answers are compared. Each function returns something that can be compared.

  guest (10.0.1.10) ── gateway (10.0.1.1 | 192.0.2.2) ── edge (192.0.2.1 | 198.51.100.1, MTU 1280) ── far (198.51.100.9)
  peer  (10.0.1.20) ──┘
"""
import re

SERVE = """
import hashlib, os, socket, sys, threading
def tcp(port):
    listener = socket.create_server(("0.0.0.0", port))
    def one(stream, peer):
        with stream:
            size = int(stream.makefile("r").readline())
            data = os.urandom(size)
            stream.sendall(f"{peer[0]} {peer[1]} {hashlib.sha256(data).hexdigest()}\\n".encode() + data)
    while True:
        threading.Thread(target=one, args=listener.accept(), daemon=True).start()
def udp(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", port))
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(f"{peer[0]} {peer[1]} ".encode() + data, peer)
for port in sys.argv[1:]:
    threading.Thread(target=tcp, args=(int(port),), daemon=True).start()
    threading.Thread(target=udp, args=(int(port),), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""

FETCH = """
import hashlib, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20); s.settimeout(60)
s.sendall(sys.argv[3].encode() + b"\\n"); s.shutdown(socket.SHUT_WR)
f = s.makefile("rb"); address, port, digest = f.readline().decode().split(); data = f.read()
assert len(data) == int(sys.argv[3]) and hashlib.sha256(data).hexdigest() == digest, len(data)
print(address, port)
"""

ECHO = """
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); size = int(sys.argv[3])
s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: IP_PMTUDISC_DONT
data = os.urandom(size)
for attempt in range(20):
    s.sendto(data, (sys.argv[1], int(sys.argv[2])))
    try:
        answer = s.recv(65536)
        break
    except TimeoutError:
        answer = None
assert answer, "no answer"
address, port, rest = answer.split(b" ", 2)
assert rest == data, (len(rest), size)
print(address.decode(), port.decode())
"""


def serve(space, *ports):
    import subprocess
    import sys
    child = space.popen(sys.executable, "-c", SERVE, *map(str, ports), stdout=subprocess.PIPE)
    assert child.stdout.readline() == "ready\n"


def fetch(space, address, port, size=1 << 20):
    """TCP; the address and port that the server saw."""
    seen, seen_port = space.python(FETCH, address, port, size).split()
    return seen, int(seen_port)


def echo(space, address, port, size):
    seen, seen_port = space.python(ECHO, address, port, size).split()
    return seen, int(seen_port)


def ping(space, *arguments):
    """Lines that say something but times."""
    text = space.run("ping", "-n", "-c", "1", "-W", "10", *arguments, check=False).stdout
    return re.findall(r"ttl=\d+|From \S+|Time to live exceeded|Frag needed and DF set \(mtu = \d+\)|Destination \w+ Unreachable",
                      text)


def traceroute(space, address):
    text = space.run("traceroute", "-n", "-q", "1", "-w", "5", "-m", "8", address).stdout
    return re.findall(r"^ *\d+ +(\S+)", text, re.M)
