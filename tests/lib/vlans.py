# SPDX-License-Identifier: BSD-3-Clause
"""802.1Q in user space, for kernels without it: what is sent into a VLAN of a cable comes out of a namespace's interface
and back. Frames of one MTU with whole checksums: both sides send without offloads.

    with Vlans(lan, "lan0", {120: red, 121: blue}):   # red gets v120, blue v121
"""
import select
import struct
import threading

from lan import ip, read


class Vlans:
    def __init__(self, holder, trunk, places):
        self.trunk, self.ends, self.ended = holder.raw(trunk), {}, threading.Event()
        for vid, place in places.items():
            ip("link", "add", f"v{vid}", "netns", place.pid, "type", "veth", "peer", "name", f"t{vid}", "netns", holder.pid)
            place.run("ethtool", "-K", f"v{vid}", "tx", "off")
            place.ip("link", "set", f"v{vid}", "up")
            holder.ip("link", "set", f"t{vid}", "up")
            self.ends[vid] = holder.raw(f"t{vid}")
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def run(self):
        while not self.ended.is_set():
            select.select([self.trunk, *self.ends.values()], [], [], 0.1)
            for vid, frame, tag in read(self.trunk):
                if tag and vid in self.ends:
                    self.ends[vid].send(frame)
            for vid, end in self.ends.items():
                for _, frame, _ in read(end):
                    self.trunk.send(frame[:12] + struct.pack("!HH", 0x8100, vid) + frame[12:])
