#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Debian's cloud kernel under weft-vmm from the first line to power off, two machines on weft:
    web (serves a file, iperf3 -s) --- acme/net --- client (SMP, disk, fetches the file, iperf3 -c)
Here where kvm_intel or kvm_amd is loaded; with WEFT_KVM_HOST=yes on a host with kvm_amd that QEMU makes (tests/lib/kvm_host)."""
import hashlib
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
sys.path.insert(0, os.path.join(TOP, "tests/lib"))
import linux_vm  # noqa: E402
import netns  # noqa: E402
from vm import OFF, Bench, run  # noqa: E402
from weft import BUILD, Weft, skip  # noqa: E402

SECONDS = 600  # for a boot that QEMU interprets on a machine that does other things too
# Host-only for its DHCP: the host's interface is in a namespace of the test's.
CONFIG = {"version": 1, "tenants": {"acme": {
    "segments": {"net": {"mode": "host-only", "subnet": "10.0.0.0/24", "gateway": "10.0.0.254", "host-interface": "weft-lb"}},
    "ports": {name: {"segment": "net", "mac": f"52:54:00:00:09:0{n}", "ip": f"10.0.0.{n}"}
              for n, name in enumerate(("web", "client"), 1)}}}}
PRELUDE = linux_vm.PRELUDE + """
for module in virtio-rng virtio_blk button evdev; do insmod /more/$module.ko; done
export LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu:/lib64
dmesg -n 1 # or the kernel's lines cut ours apart
cat >/lease <<'END'
#!/bin/busybox sh
[ "$1" = bound ] && ip addr add $ip/$mask dev $interface && echo "leased $ip $mtu"
END
chmod +x /lease
until_button() { head -c 24 /dev/input/event0 >/dev/null; dmesg -c | grep -E 'ACPI|BUG|Oops|WARN|Trace'; echo button pressed; }
"""
WEB = """
ip link set eth0 up
udhcpc -i eth0 -n -q -f -t 50 -T 2 -O mtu -s /lease
serve 3
[ ! -x /usr/bin/iperf3 ] || iperf3 -s -D
echo web ready
until_button
"""
CLIENT = """
ip link set eth0 up
udhcpc -i eth0 -n -q -f -t 50 -T 2 -O mtu -s /lease
echo "cpus $(grep -c ^processor /proc/cpuinfo)"
echo "serial $(cat /sys/block/vda/serial)"
echo "disk-sum $(sha256sum </dev/vda | cut -d' ' -f1)"
head -c 1048576 /dev/urandom >/tmp/pattern
dd if=/tmp/pattern of=/dev/vda bs=65536 seek=16 conv=fsync 2>/dev/null
echo "written-sum $(sha256sum </tmp/pattern | cut -d' ' -f1)"
reach 10.0.0.1
fetch 10.0.0.1
[ ! -x /usr/bin/iperf3 ] || echo "iperf3-bps $(iperf3 -c 10.0.0.1 -t 2 -f k | sed -n 's/.* \\([0-9]*\\) Kbits.*receiver/\\1/p')"
echo client ready
until_button
"""


def initrd(bench, name, scenario):
    """linux_guest's initrd, with a scenario, more modules, and iperf3 if this machine has it."""
    root = bench.path(f"{name}.root")
    shutil.copytree(os.path.join(linux_vm.CACHE, "modules"), os.path.join(root, "more"))
    with open(os.path.join(root, "scenario"), "w", encoding="utf-8") as text:
        text.write(PRELUDE + scenario)
    tool = shutil.which("iperf3")
    files = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", tool], capture_output=True, text=True, check=True).stdout) if tool else []
    for file in [*files, tool] if tool else []:
        os.makedirs(root + os.path.dirname(file), exist_ok=True)
        shutil.copy(file, root + file)
    archive = bench.path(f"{name}.initrd")
    pack = f"(cat {linux_vm.CACHE}/initrd; cd {root}; find . | cpio -o -H newc --quiet | gzip -1) >{archive}"
    subprocess.run(pack, shell=True, check=True)
    return archive


def linux(bench):
    image = bench.disk("disk", 0)
    with open(image, "wb") as file:
        file.write(os.urandom(4 << 20))
    with open(image, "rb") as file:
        before = file.read()
    options = {"kernel": os.path.join(linux_vm.CACHE, "vmlinuz"), "memory": "256M", "cmdline": "console=ttyS0 panic=-1"}
    with Weft(CONFIG) as weft:
        def machine(name, scenario, *more):
            port = weft.socket(f"acme/{name}")
            return bench.machine("--initrd", initrd(bench, name, scenario), "--net", f"socket={port}", "--wait", "60", "--no-reboot",
                                 "--stop-timeout", str(SECONDS), *more, name=name, **options)

        web = machine("web", WEB)
        web.wait_line("web ready", SECONDS)
        client = machine("client", CLIENT, "--cpus", "2", "--disk", f"path={image},serial=WEFT-LINUX")
        client.wait_line("client ready", SECONDS)
        seen = {name: re.findall(rf"^{name} (\S+)\r?$", client.console(), re.MULTILINE) for name in
                ("cpus", "serial", "disk-sum", "written-sum", "in-sum", "iperf3-bps")}
        served = re.search(r"^out-sum (\S+)\r?$", web.console(), re.MULTILINE).group(1)
        assert seen["cpus"] == ["2"] and seen["serial"] == ["WEFT-LINUX"] and seen["in-sum"] == [served], client.dump()
        for one, address in ((web, "10.0.0.1"), (client, "10.0.0.2")):
            assert f"leased {address} 1500" in one.console(), one.dump()
        assert seen["disk-sum"] == [hashlib.sha256(before).hexdigest()], client.dump()
        assert not shutil.which("iperf3") or int(seen["iperf3-bps"][0]) > 0, client.dump()
        print(f"TCP between two Linux machines: {seen['iperf3-bps'] or 'no iperf3'} kbit/s; first guest instruction after "
              f"{client.status()['startup-us'] / 1000} ms")
        for one in (client, web):
            one.process.terminate()  # the power button, the guest powers off
            one.wait(OFF, SECONDS)
            assert "button pressed" in one.console(), one.dump()
            bad = re.search(r"^.*(ACPI (BIOS )?(Error|Warning)|BUG:|Oops|WARNING:|Call Trace).*$", one.console(), re.MULTILINE)
            assert not bad, f"{one.name}: {bad.group(0)}: {one.dump()}"
    with open(image, "rb") as file:
        after = file.read()
    assert hashlib.sha256(after[1 << 20:2 << 20]).hexdigest() == seen["written-sum"][0], "what the guest wrote"
    assert after[:1 << 20] + after[2 << 20:] == before[:1 << 20] + before[2 << 20:], "what it did not write"


def on_host_by_qemu():
    """This test again, and that of the cgroup limits, on a host with kvm_amd."""
    with Bench() as bench:
        keep = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("WEFT_")]
        here = os.path.dirname(os.path.abspath(__file__))
        command = [os.path.join(TOP, "tests/lib/kvm_host"), linux_vm.CACHE, bench.path("log"), "env", *keep, "sh", "-c",
                   'set -e; "$0" "$1/linux_boot_test.py"; "$0" "$1/use_test.py" cgroup', sys.executable, here]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 77:
            skip(result.stdout.removeprefix("SKIP: ").strip())
        with open(bench.path("log"), encoding="utf-8", errors="replace") as text:
            log = text.read().replace("\r", "")
        assert result.returncode == 0 and "limits by cgroup version 2 are in force" in log, f"{log}\n{result.stdout}{result.stderr}"
        print("\n".join(line for line in log.splitlines() if re.match("ok |TCP between|limits by", line)))


linux_vm.prepare()
if any(os.path.isdir(f"/sys/module/{name}") for name in ("kvm_intel", "kvm_amd")):
    netns.enter(sys.argv)
    run(linux)
elif os.environ.get("WEFT_VMM_ARGUMENTS") or not os.path.exists(os.path.join(BUILD, "control/weftd")):
    skip("a sanitized build is not tried under QEMU")
elif os.environ.get("WEFT_KVM_HOST") != "yes":
    skip("no kvm_intel or kvm_amd, as on every machine of CI; WEFT_KVM_HOST=yes boots on a host that QEMU makes "
         "(the tcg of QEMU 7.2 stalls now and then)")
else:
    on_host_by_qemu()
