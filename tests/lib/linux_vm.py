# SPDX-License-Identifier: BSD-3-Clause
"""Linux guests under QEMU for Python tests, each on one vhost-user port of a Weft (tests/lib/weft.py).

    vm = LinuxVm(weft, "acme/vm1", "52:54:00:00:00:01", "ip addr add 10.0.0.1/24 dev eth0; ...")
    vm.wait("GUEST-DONE")                # text on the serial console
    vm.value("rx-sum")                   # of the line "rx-sum VALUE"
The scenario is a shell script (busybox) that finds eth0 up. mrg_rxbuf, csum and tso are on, as QEMU has them. vectors=0:
QEMU without KVM delivers the rings' interrupts over INTx, which needs no irqfd.
"""
import os
import re
import shutil
import signal
import subprocess

from weft import BUILD, TOP, skip, wait_for

TOOL = os.path.join(TOP, "tests/lib/linux_guest")
CACHE = os.path.join(BUILD, "linux")
PRELUDE = """
ip link set lo up
ip link set eth0 up
# segments as long as they get, whatever the pace
echo 44 >/proc/sys/net/ipv4/tcp_min_tso_segs
# serve MIB: that many blocks of random bytes, a number in front of each, at http://SELF/data; "out-sum HASH"
serve() {
    mkdir /tmp/www; head -c 1048576 /dev/urandom >/tmp/block
    i=0; while [ $i -lt $1 ]; do echo $i; cat /tmp/block; i=$((i+1)); done >/tmp/www/data
    echo "out-sum $(sha256sum </tmp/www/data | cut -d' ' -f1)"
    httpd -p 80 -h /tmp/www
}
# fetch HOST: "in-sum HASH" of what it serves
fetch() { echo "in-sum $(wget -q -O - http://$1/data | sha256sum | cut -d' ' -f1)"; }
reach() { until ping -c 1 -W 1 $1 >/dev/null; do :; done; }
"""


def prepare():
    """Fetches kernel and initrd once; skips the test with the reason where that cannot be done."""
    result = subprocess.run([TOOL, "prepare", CACHE], text=True, capture_output=True, check=False)
    if result.returncode == 77 or not shutil.which("qemu-system-x86_64"):
        skip(result.stdout.removeprefix("SKIP: ").strip() or "qemu-system-x86_64 is not installed")
    if result.returncode:
        raise AssertionError(result.stdout + result.stderr)


class LinuxVm:
    def __init__(self, weft, port, mac, scenario, image=CACHE, *more):
        """more: arguments for QEMU."""
        self.weft, self.port = weft, port
        base = os.path.join(weft.directory, port.replace("/", "."))
        self.log_path = base + ".console"
        with open(base + ".scenario", "w", encoding="utf-8") as text:
            text.write(PRELUDE + scenario)
        with open(base + ".qemu", "wb") as errors:
            self.process = subprocess.Popen(
                [TOOL, "run", image, base + ".scenario", self.log_path, "-chardev",
                 f"socket,id=c0,path={weft.socket(port)},reconnect=1", "-netdev", "vhost-user,id=n0,chardev=c0", "-device",
                 f"virtio-net-pci,netdev=n0,mac={mac},vectors=0,romfile=", *more], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    def console(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read().replace("\r", "")

    def lines(self):
        return self.console().split("\n")[:-1]  # the last one may still be on its way

    def value(self, key):
        found = (re.fullmatch(rf"{key} (\S+)", line) for line in self.lines())
        return next((match.group(1) for match in found if match), None)

    def wait(self, key, seconds=600.0):
        """Waits for the line "KEY VALUE" (or KEY alone) and returns its value."""
        def seen():
            console = self.console()
            if self.process.poll() is not None and key not in console:
                raise AssertionError(f"{self.port}: QEMU ended\n{console}")
            return self.value(key) or (key in self.lines() and key)
        try:
            return wait_for(seen, f"{self.port}: {key}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.console()[-3000:]}") from None

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
