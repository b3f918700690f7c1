#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each device of the machine, driven by the test guest."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from vm import CRASHED, KILLED, OFF, RESET, run, wait_for


def small_devices(bench):
    machine = bench.machine(cmdline="mode=rng,intx,smp", *()).right()
    assert machine.lines("rng-result")[0]["bytes"] == "1024"
    without = bench.machine("--no-rng", "--no-balloon", cmdline="mode=probe").right()
    assert [line["slot"] for line in without.lines("pci")] == ["0"], without.dump()


def four_cpus(bench):
    machine = bench.machine("--cpus", "4", cmdline="mode=smp").right()
    assert machine.lines("smp-result")[0] == {"": "smp-result", "cpus": "4", "up": "4", "finished": "4",
                                              "counter": "400000"}, machine.dump()
    sixteen = bench.machine("--cpus", "16", "--pin", "0,0,0,0,0,0,0,0", cmdline="mode=smp").right()
    assert sixteen.lines("smp-result")[0]["up"] == "16", sixteen.dump()


def raw_disk(bench):
    disk = bench.disk("disk", 1 << 20)
    machine = bench.machine("--disk", f"path={disk},serial=WEFT-0001,threads=4", cmdline="mode=disk blocks=256 seed=5 discard=zero").right()
    seen = machine.lines("disk")[0]
    assert seen["sectors"] == "2048" and seen["serial"] == "WEFT-0001", machine.dump()
    with open(disk, "rb") as image:
        data = image.read()
    assert len(data) == 1 << 20
    assert data[4096:8192] == bytes(4096), "discarded block"
    assert data[3 * 4096:4 * 4096] == bytes(4096), "block of write zeroes"
    assert all(data[i:i + 4096] != bytes(4096) for i in range(0, 1 << 20, 4096) if i not in (4096, 3 * 4096))


def disk_on_tmpfs(bench):
    """A file system that cannot zero a range: the device writes the zeroes."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as image:
        image.write(b"weft" * (1 << 18))
        image.flush()
        os.chmod(image.name, 0o666)
        bench.machine("--disk", f"path={image.name}", cmdline="mode=disk blocks=256 discard=zero").right()
        data = pathlib.Path(image.name).read_bytes()
    assert len(data) == 1 << 20 and data[3 * 4096:4 * 4096] == bytes(4096), "block of write zeroes"
    assert data[4 * 4096:5 * 4096] != bytes(4096), "its neighbour"


def read_only_disk(bench):
    disk = bench.path("disk")
    with open(disk, "wb") as image:
        image.write(b"weft" * 128)
    os.chmod(disk, 0o444)
    machine = bench.machine("--disk", f"path={disk},readonly", cmdline="mode=disk").right()
    assert machine.lines("disk")[1]["first"] == b"weft".hex(), machine.dump()
    with open(disk, "rb") as image:
        assert image.read() == b"weft" * 128


def two_machines_one_disk(bench):
    disk = bench.disk("disk", 1 << 20)
    first = bench.machine("--disk", f"path={disk}", cmdline="mode=disk stay=1")
    first.wait_line("done ok=1")
    second = bench.machine("--disk", f"path={disk}", cmdline="mode=disk").wait(1)
    assert "in use by another machine" in second.log(), second.dump()


def qcow2_by_vhost_user(bench):
    """A qcow2 image through qemu-storage-daemon, which is a vhost-user-blk backend."""
    if not shutil.which("qemu-storage-daemon") or not shutil.which("qemu-img"):
        print("no qemu-storage-daemon: vhost-user-blk is not tested")
        return
    image, socket = bench.path("disk.qcow2"), bench.path("blk")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "8M"], check=True)
    daemon = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev", f"driver=file,node-name=f,filename={image}", "--blockdev",
         "driver=qcow2,node-name=q,file=f,discard=unmap", "--export",
         f"type=vhost-user-blk,id=e,addr.type=unix,addr.path={socket},node-name=q,writable=on"])
    bench.processes.append(daemon)
    wait_for(lambda: os.path.exists(socket), "qemu-storage-daemon")
    os.chmod(socket, 0o666)
    machine = bench.machine("--disk", f"vhost={socket}", "--wait", "60", cmdline="mode=disk blocks=128").right()
    assert machine.lines("disk")[0]["sectors"] == "16384", machine.dump()
    again = bench.machine("--disk", f"vhost={socket}", cmdline="mode=disk,reset resets=1 blocks=64").right()
    assert len(again.lines("disk-result")) == 2, again.dump()


def balloon(bench):
    machine = bench.machine("--memory", "128M", "--hugepages", "off", cmdline="mode=balloon seconds=600", memory="128M")
    machine.wait_line("balloon ready")
    before = machine.status()["memory"]["balloon"]
    assert before["target-bytes"] == 0 and before["discarded-bytes"] == 0, before
    assert machine.call("balloon", bytes=32 << 20) == {"result": {}}
    wait_for(lambda: machine.status()["memory"]["balloon"]["actual-bytes"] == 32 << 20, "inflation")
    status = machine.status()["memory"]["balloon"]
    assert status["discarded-bytes"] == 32 << 20, status
    wait_for(lambda: machine.status()["memory"]["balloon"]["guest"] == {"free": 11 << 20, "total": 22 << 20}, "statistics")
    assert machine.call("balloon", bytes=1 << 40)["error"]["code"] == "bad-params"
    machine.call("balloon", bytes=0)
    machine.right()
    assert machine.lines("balloon-result")[0]["zeroed"] == "8192", machine.dump()


def reset_and_power(bench):
    machine = bench.machine("--cpus", "2", cmdline="mode=smp,rng,reset resets=4").right()
    assert [line["boots"] for line in machine.lines("reset")] == ["1", "2", "3", "4", "5"], machine.dump()
    assert len(machine.lines("smp-result")) == 5 and all(line["up"] == "2" for line in machine.lines("smp-result"))
    bench.machine("--no-reboot", cmdline="mode=reset").wait(RESET)
    crashed = bench.machine(cmdline="mode=reset how=fault").wait(CRASHED)
    assert "triple fault" in crashed.log(), crashed.dump()


def stop(bench):
    """SIGTERM presses the power button; a guest that ignores it is ended after the timeout, or by the second one."""
    machine = bench.machine(cmdline="stay=1")
    machine.wait_line("done ok=1")
    machine.process.terminate()
    machine.wait(OFF)
    assert "button" in machine.console(), machine.dump()
    by_socket = bench.machine(cmdline="stay=1")
    by_socket.wait_line("done ok=1")
    assert by_socket.call("stop") == {"result": {}}
    by_socket.wait(OFF)
    deaf = bench.machine("--stop-timeout", "1", cmdline="mode=console lines=100000000")
    deaf.wait_line("console line=10 ")
    deaf.process.terminate()
    deaf.wait(KILLED)
    assert "did not power off within 1 seconds" in deaf.log(), deaf.dump()
    twice = bench.machine(cmdline="mode=console lines=100000000")
    twice.wait_line("console line=10 ")
    twice.process.terminate()
    wait_for(lambda: twice.status()["state"] == "stopping", "stopping")
    twice.process.terminate()
    twice.wait(KILLED)


def pause(bench):
    machine = bench.machine("--cpus", "2", cmdline="mode=console lines=100000000")
    machine.wait_line("console line=10 ")
    assert machine.call("pause") == {"result": {}} and machine.status()["state"] == "paused"
    bytes_then = machine.status()["console"]["bytes"]
    assert machine.status()["console"]["bytes"] == bytes_then
    machine.call("resume")
    wait_for(lambda: machine.status()["console"]["bytes"] > bytes_then, "output after the pause")
    machine.call("quit")
    machine.wait(KILLED)
    for method, code in (("nonsense", "unknown-method"), ("balloon", "bad-params")):
        other = bench.machine(cmdline="stay=1")
        assert wait_for(lambda: os.path.exists(other.control_path), "socket") and other.call(method)["error"]["code"] == code
        other.call("quit")
        other.wait(KILLED)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    run(small_devices, four_cpus, raw_disk, disk_on_tmpfs, read_only_disk, two_machines_one_disk, qcow2_by_vhost_user, balloon,
        reset_and_power, stop, pause)
