# SPDX-License-Identifier: BSD-3-Clause
"""Which checksums were wrong: of the frames that an interface receives, as tcpdump says; of what a host was sent, as it says.

    with Checksums(edge, "eth0", directory) as seen: ...
    seen.correct, seen.wrong, seen.longest    # segments with a right checksum; lines about wrong ones; bytes of the longest frame
"""
import os
import re
import signal
import subprocess

WRONG = re.compile(r"incorrect|bad (?:udp |hdr )?cksum|wrong icmp cksum")


def checksum_errors(space):
    """Packets that the host dropped for their checksum, by protocol."""
    rows = [line.split() for line in space.run("cat", "/proc/net/snmp").stdout.splitlines()]
    found = {}
    for names, values in zip(rows[::2], rows[1::2]):
        found |= {f"{names[0]}{name}": int(value) for name, value in zip(names, values) if name == "InCsumErrors" and value != "0"}
    return found


class Checksums:
    def __init__(self, space, interface, directory):
        self.space, self.interface, self.path = space, interface, os.path.join(directory, f"{interface}.pcap")
        self.correct, self.wrong, self.longest = 0, [], 0

    def __enter__(self):
        self.child = self.space.popen("tcpdump", "-ni", self.interface, "-Q", "in", "-w", self.path, "-U", "-s", "0", "-B", "65536",
                                      "-Z", "root", stderr=subprocess.PIPE)
        line = self.child.stderr.readline()
        while line and "listening on" not in line:
            line = self.child.stderr.readline()
        assert line, "tcpdump did not start"
        return self

    def __exit__(self, kind, *_):
        self.child.send_signal(signal.SIGINT)
        self.child.wait()
        if kind is None:
            self.read()

    def read(self):
        with subprocess.Popen(["tcpdump", "-envr", self.path], text=True, errors="replace", stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as child:
            for line in child.stdout:
                self.correct += "(correct)" in line
                if WRONG.search(line):
                    self.wrong.append(line)
                length = re.search(r"^\S+ \S+ > \S+, ethertype .*?, length (\d+):", line)
                self.longest = max(self.longest, int(length.group(1)) if length else 0)
