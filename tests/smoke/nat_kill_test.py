#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Controller and dataplane killed while guests speak through address translation: connections outlive the controller, the
host's interface works all the time, the guest's tap stays, and ports and XDP program are given back by the next start.

  lan                    host                                       guest (the kernel's stack on a tap port)
  lan0 10.0.0.1 ──────── up0 10.0.0.9, uplink "lan" ── acme/app ── acme/g 10.0.1.10

usage: nat_kill_test.py [af_packet | af_xdp]
"""
import json
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Namespace, check_released, ip, nic, reserve, reserved, transfer  # noqa: E402
from netns import Host, enter  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

KIND, TAP = sys.argv[1] if len(sys.argv) > 1 else "af_packet", f"wt{os.getpid()}"
CONFIG = {"version": 1, "uplinks": {"lan": {"device": KIND + ":up0", "ports": "33000-45000"}}, "tenants": {"acme": {
    "segments": {"app": {"mode": "nat", "subnet": "10.0.1.0/24", "uplink": "lan"}},
    "ports": {"g": {"segment": "app", "tap": TAP}}}}}
NOTHING = {"version": 1, "tenants": {"acme": {"segments": {"app": {"mode": "isolated"}}}}}


class Stream:
    """A connection from the guest through NAT to a server on the LAN."""
    def __init__(self, lan, guest):
        with lan.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind(("10.0.0.1", 0))
            listener.listen(1)
            listener.settimeout(60)
            self.near = guest.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.near.settimeout(60)
            self.near.connect(listener.getsockname())
            self.far, peer = listener.accept()
            self.far.settimeout(60)
        assert peer[0] == "10.0.0.9" and 33000 <= peer[1] <= 45000, peer

    def exchange(self):
        for source, sink in ((self.near, self.far), (self.far, self.near)):
            source.sendall(b"x" * 60000)
            assert len(sink.makefile("rb").read(60000)) == 60000


def check_host(lan):
    transfer(lan, Host, "10.0.0.9", 1 << 20)
    transfer(Host, lan, "10.0.0.1", 1 << 20)


def main():
    enter(sys.argv)
    with Namespace() as lan, Namespace() as guest:
        lan.veth("up0", "lan0")
        lan.ip("addr", "add", "10.0.0.1/24", "dev", "lan0")
        ip("addr", "add", "10.0.0.9/24", "dev", "up0")
        reserve("8080")
        with Weft(CONFIG, expect_warnings=True) as weft:
            guest.guest(TAP, "10.0.1.10/24")
            guest.ip("route", "add", "default", "via", "10.0.1.1")
            stream, tap, pid = Stream(lan, guest), nic(TAP)["ifindex"], weft.dataplane_pid()
            stream.exchange()
            weft.daemon.kill()
            weft.daemon.wait()
            stream.exchange()
            check_host(lan)
            weft.start()
            assert weft.dataplane_pid() == pid and nic(TAP)["ifindex"] == tap, "not adopted"
            stream.exchange()
            assert reserved() == "8080,33000-45000", reserved()
            print("controller killed: the connection lives")

            os.kill(pid, signal.SIGKILL)
            check_host(lan)
            wait_for(lambda: weft.ready() and weft.dataplane_pid() != pid, "another dataplane")
            assert nic(TAP)["ifindex"] == tap, "another tap"
            Stream(lan, guest).exchange()
            check_host(lan)
            print("dataplane killed: new connections")

            pid = weft.dataplane_pid()
            weft.daemon.kill()
            os.kill(pid, signal.SIGKILL)
            weft.daemon.wait()
            check_released("up0")
            check_host(lan)
            with open(weft.config_path, "w", encoding="utf-8") as text:
                json.dump(NOTHING, text)
            weft.start()
            assert reserved() == "8080", f"not given back: {reserved()}"
            check_host(lan)
            check_released("up0")


main()
