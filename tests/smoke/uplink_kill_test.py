#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Controller and dataplane killed while they share an interface with the host: the host always keeps it, forwarding
does not need the controller, and nothing is left on the interface when both are gone.

  lan                    host                                    guest (the kernel's stack on a tap port)
  lan0 10.0.0.1 ──────── up0 10.0.0.9, uplink "lan" ── acme/web ── acme/g 10.0.0.2

usage: uplink_kill_test.py [af_packet | af_xdp]
"""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from lan import Namespace, check_released, ip, nic, sysctl, transfer  # noqa: E402
from netns import Host, enter  # noqa: E402
from weft import Weft, wait_for  # noqa: E402

KIND, TAP = sys.argv[1] if len(sys.argv) > 1 else "af_packet", f"wt{os.getpid()}"
CONFIG = {"version": 1, "uplinks": {"lan": {"device": KIND + ":up0"}}, "tenants": {"acme": {
    "segments": {"web": {"mode": "bridged", "uplink": "lan"}}, "ports": {"g": {"segment": "web", "tap": TAP}}}}}
MIB = 1 << 20


def check_steering():
    link = nic("up0")
    assert ("xdp" in link) == (KIND == "af_xdp"), link
    return link.get("xdp", {}).get("prog", {}).get("id")


def check_guest(lan, guest):
    wait_for(lambda: lan.ping("10.0.0.2"), "the guest answers")
    transfer(lan, guest, "10.0.0.2", MIB)
    transfer(guest, lan, "10.0.0.1", MIB)


def check_host(lan):
    assert lan.ping("10.0.0.9", wait=60)
    transfer(lan, Host, "10.0.0.9", MIB)


def kill_controller(weft):
    weft.daemon.kill()
    weft.daemon.wait()


def main():
    enter(sys.argv)
    with Namespace() as lan, Namespace() as guest:
        lan.veth("up0", "lan0")
        lan.ip("addr", "add", "10.0.0.1/24", "dev", "lan0")
        lan.ip("addr", "add", "10.0.1.1/24", "dev", "lan0")
        ip("addr", "add", "10.0.0.9/24", "dev", "up0")
        sysctl("ipv4/conf/all/arp_ignore", 1)  # an interface answers for its own address only
        with Weft(CONFIG, expect_warnings=True) as weft:
            guest.guest(TAP, "10.0.0.2/24")
            check_guest(lan, guest)
            check_steering()
            pid = weft.dataplane_pid()

            os.kill(pid, signal.SIGKILL)
            check_host(lan)
            wait_for(lambda: weft.ready() and weft.dataplane_pid() != pid, "another dataplane")
            check_guest(lan, guest)
            check_host(lan)
            program, pid = check_steering(), weft.dataplane_pid()
            print("dataplane killed: replaced")

            kill_controller(weft)
            check_guest(lan, guest)
            check_host(lan)
            ip("link", "add", "mv0", "link", "up0", "type", "macvlan")  # an address of the host that nobody has seen
            ip("addr", "add", "10.0.1.8/24", "dev", "mv0")
            ip("link", "set", "mv0", "up")
            weft.start()
            assert weft.dataplane_pid() == pid and check_steering() == program, "not adopted"
            check_guest(lan, guest)
            wait_for(lambda: lan.ping("10.0.1.8"), "the host's second address")
            assert nic("mv0")["address"] in lan.run("ip", "neigh", "show", "10.0.1.8").stdout
            ip("link", "del", "mv0")
            print("controller killed: adopted")

            kill_controller(weft)
            os.kill(pid, signal.SIGKILL)
            check_released("up0")
            check_host(lan)
            weft.start()
            guest.guest(TAP)
            check_guest(lan, guest)
            check_host(lan)
            check_steering()
            weft.cli("segment", "set", "acme/web", "--mode", "isolated", "--uplink", "")
            weft.cli("uplink", "del", "lan")
            check_released("up0")
        check_host(lan)


main()
