#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a guest starts with: memory map, initrd, command line, ACPI tables, consoles, cloud-init, start-up time, resident memory."""
import os
import re
import shutil
import socket
import subprocess
import sys
import zlib
from vm import GUEST, KILLED, OFF, VMM, run, wait_for


def checksum(data):
    total = 0
    for byte in data:
        total = (total * 31 + byte) & 0xffffffff
    return total


def memory_and_modules(bench):
    initrd = bench.path("initrd")
    data = zlib.compress(os.urandom(100)) + os.urandom(30000)
    with open(initrd, "wb") as file:
        file.write(data)
    machine = bench.machine("--initrd", initrd, "--cpus", "3", memory="128M", cmdline="memory=1 quoted=a,b").right()
    start = machine.lines("start")[0]
    assert start["cpus"] == "3" and start["quoted"] == "a,b", machine.dump()
    assert machine.lines("module") == [{"": "module", "size": str(len(data)), "sum": f"{checksum(data):08x}"}], machine.dump()
    ranges = [(int(line["address"], 16), int(line["size"], 16), line["type"]) for line in machine.lines("memory")]
    assert ranges == [(0, 0x9fc00, "1"), (0x9fc00, 0x60400, "2"), (0x100000, (128 << 20) - 0x100000, "1"),
                      (0xe0000000, 0x100000, "2")], ranges
    large = bench.machine("--hugepages", "off", memory="5G", cmdline="memory=1").right()
    ranges = [(int(line["address"], 16), int(line["size"], 16)) for line in large.lines("memory")]
    assert ranges[2] == (0x100000, 0xc0000000 - 0x100000) and ranges[4] == (0x100000000, 2 << 30), ranges


def acpi_tables(bench):
    """The tables as the compiler of the reference implementation reads them."""
    if not shutil.which("iasl"):
        print("no iasl: the tables are not disassembled")
        return
    subprocess.run([VMM, "--dump-acpi", bench.directory, "--cpus", "4"], check=True)
    for table in ("DSDT", "FACP", "APIC", "MCFG", "XSDT"):
        result = subprocess.run(["iasl", "-d", f"{table}.dat"], cwd=bench.directory, capture_output=True, text=True, check=False)
        text = result.stdout + result.stderr
        assert result.returncode == 0 and not re.search(r"(?i)\b(error|warning|invalid|incorrect)\b", text), text
    result = subprocess.run(["iasl", "-p", bench.path("again"), "DSDT.dsl"], cwd=bench.directory, capture_output=True, text=True,
                            check=False)
    assert result.returncode == 0 and "0 Errors" in result.stdout, result.stdout + result.stderr
    with open(bench.path("DSDT.dsl"), encoding="utf-8") as text:
        dsl = text.read()
    for wanted in ("Device (PCI0)", "Device (CPU3)", "_PRT", "_S5", "COM1"):
        assert wanted in dsl, wanted


def console_socket(bench):
    path = bench.path("console")
    machine = bench.machine("--console", f"socket:{path}", cmdline="stay=1")
    wait_for(lambda: os.path.exists(path), "console socket")
    wait_for(lambda: machine.status()["console"]["bytes"] > 20, "output")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        seen = b""
        while b"done" not in seen:
            seen += client.recv(4096)
        assert seen.startswith(b"start cpus=1"), seen
        assert machine.status()["console"]["attached"]
    wait_for(lambda: not machine.status()["console"]["attached"], "detached")
    machine.call("stop")
    machine.wait(OFF)


def terminal(bench):
    """On a terminal: output as it comes, Ctrl-A x leaves."""
    main, other = os.openpty()
    process = subprocess.Popen([VMM, "--kernel", GUEST, "--memory", "64M", "--cmdline", "stay=1",
                                *os.environ.get("WEFT_VMM_ARGUMENTS", "").split()], stdin=other, stdout=other, stderr=other)
    os.close(other)
    seen = b""
    while b"done ok=1" not in seen:
        seen += os.read(main, 1000)
    assert b"start cpus=1" in seen
    os.write(main, b"\x01x")
    assert process.wait(60) == KILLED
    os.close(main)
    assert bench


def cloud_init(bench):
    with open(bench.path("user-data"), "w", encoding="utf-8") as file:
        file.write("#cloud-config\n")
    machine = bench.machine("--cloud-init", bench.directory, cmdline="mode=disk").right()
    seen = machine.lines("disk")
    assert seen[0]["serial"] == "cidata" and seen[1]["first"] == "eb3c9057", machine.dump()


def resident(pid):
    """KiB of this process beside guest RAM: anonymous and file pages, without the RAM's memfd."""
    total, counted = 0, True
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as maps:
        for line in maps:
            if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
                counted = "weft-vmm-ram" not in line
            elif line.startswith("Pss:") and counted:
                total += int(line.split()[1])
    return total


def start_up(bench):
    """The goals are 10 ms to the first guest instruction, which is reported, and 5 MiB, which is tested."""
    times, sizes = [], []
    for _ in range(10):
        machine = bench.machine("--hugepages", "off", cmdline="stay=1")
        machine.wait_line("done ok=1")
        times.append(machine.status()["startup-us"] / 1000)
        sizes.append(resident(machine.process.pid))
        machine.call("quit")
        machine.wait(KILLED)
    print(f"first guest instruction after {min(times):.1f} ms (best of 10, median {sorted(times)[5]:.1f}); "
          f"{min(sizes)} KiB beside guest RAM")
    if not os.environ.get("WEFT_VMM_ARGUMENTS"):
        assert min(sizes) < 5120, sizes


sys.dont_write_bytecode = True
run(memory_and_modules, acpi_tables, console_socket, terminal, cloud_init, start_up)
