#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The same guest image under QEMU: what it sees of PCI and virtio (q35, tcg), difference by difference; start-up time and
resident memory beside microvm on this KVM."""
import os
import re
import shutil
import subprocess
import time
from vm import GUEST, VMM, fields, run, skip

QEMU = "qemu-system-x86_64"
# What differs, and why. Everything else must be the same.
RING_FEATURES = 1 << 28 | 1 << 29 | 1 << 32  # indirect descriptors, event index, VERSION_1
EXPECTED = {
    "order of capabilities": "a list has no order",
    "class of the disk 010000 (SCSI controller) / 018000 (other storage)": "it is no SCSI controller",
    "MSI-X on the balloon": "QEMU gives that device none; every device here has it",
    "host bridge, ISA bridge": "another chipset",
    "entropy queue of 8 / 64": "the device's choice",
    "features beyond VERSION_1 and the ring's": "each implementation's choice; RING_RESET, net and balloon extras",
}


def probe(text):
    """slot-independent view: {(what, type, index): fields}"""
    view = {}
    for line in text.splitlines():
        word = fields(line) if line.strip() else {"": ""}
        if word[""] == "pci" and word["vendor"] == "1af4":
            current = word["device"]
            view["pci", current] = {key: word[key] for key in ("class", "revision", "header", "subsystem", "pin")}
            view["capabilities", current] = set()
        elif word[""] == "pci-capability" and ("capabilities", current) in view:
            view["capabilities", current].add((word["id"], word["type"] if word["id"] == "09" else ""))
        elif word[""] in ("virtio", "virtio-queue", "virtio-reset"):
            view[word[""], word["type"], word.get("index", "")] = {k: v for k, v in word.items() if k}
    return view


def registers(bench):
    disk = bench.disk("disk", 1 << 20)
    ours = probe(bench.machine("--disk", f"path={disk}", cmdline="mode=probe").right().console())
    log = bench.path("qemu")
    process = subprocess.Popen(
        [QEMU, "-M", "q35", "-accel", "tcg", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none", "-serial",
         f"file:{log}", "-kernel", GUEST, "-append", "mode=probe", "-drive", f"if=none,id=d,file={disk},format=raw", "-device",
         "virtio-blk-pci,disable-legacy=on,drive=d,num-queues=1", "-device", "virtio-rng-pci,disable-legacy=on", "-device",
         "virtio-balloon-pci,disable-legacy=on"], stdin=subprocess.DEVNULL)
    bench.processes.append(process)
    deadline = time.monotonic() + 300
    while not os.path.exists(log) or "done ok" not in open(log, encoding="latin-1").read():
        assert time.monotonic() < deadline and process.poll() is None, "QEMU does not run the image"
        time.sleep(0.05)
    theirs = probe(open(log, encoding="latin-1").read())
    assert sorted(ours) == sorted(theirs), sorted(set(ours) ^ set(theirs))
    differences = set()
    for key, mine in ours.items():
        other = theirs[key]
        if mine == other:
            continue
        if key == ("pci", "1042") and {**mine, "class": "010000"} == other:
            differences.add("class of the disk 010000 (SCSI controller) / 018000 (other storage)")
        elif key == ("capabilities", "1045") and mine - other == {("11", "")}:
            differences.add("MSI-X on the balloon")
        elif key == ("virtio-queue", "4", "0") and {**mine, "size": "8"} == other:
            differences.add("entropy queue of 8 / 64")
        elif key[0] == "virtio" and {**mine, "features": ""} == {**other, "features": ""}:
            assert int(mine["features"], 16) & int(other["features"], 16) & RING_FEATURES == RING_FEATURES, (mine, other)
            differences.add("features beyond VERSION_1 and the ring's")
        else:
            raise AssertionError(f"{key}: here {mine}, QEMU {other}")
    for difference in sorted(differences):
        print(f"differs: {difference}: {EXPECTED[difference]}")


def pss(pid, ram):
    """KiB beside guest RAM."""
    total, counted = 0, True
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as maps:
        for line in maps:
            if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
                first, last = (int(part, 16) for part in line.split()[0].split("-"))
                counted = last - first < ram
            elif line.startswith("Pss:") and counted:
                total += int(line.split()[1])
    return total


def one_start(command):
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        line = process.stdout.readline()
        taken = (time.monotonic() - start) * 1000
        size = pss(process.pid, 64 << 20) if line.startswith(b"start") else 0
        process.kill()
    return (taken, size) if line.startswith(b"start") else None


def beside_microvm(bench):
    commands = {"weft-vmm": [VMM, "--kernel", GUEST, "--memory", "64M", "--hugepages", "off", "--cmdline", "stay=1"],
                "microvm": [QEMU, "-M", "microvm,acpi=on", "-accel", "kvm", "-cpu", "qemu64", "-m", "64", "-nodefaults",
                            "-no-user-config", "-display", "none", "-serial", "stdio", "-kernel", GUEST, "-append", "stay=1"]}
    results = {name: [] for name in commands}
    for _ in range(7):
        for name, command in commands.items():
            results[name].append(one_start(command))
    for name, runs in results.items():
        if None in runs:
            print(f"{name} does not run here")
            assert name != "weft-vmm"
            continue
        times = sorted(run[0] for run in runs)
        print(f"{name}: first line of the guest after {times[3]:.0f} ms (median of 7, {times[0]:.0f} to {times[-1]:.0f}); "
              f"{min(run[1] for run in runs)} KiB beside guest RAM")
    assert bench


if not shutil.which(QEMU):
    skip("no qemu-system-x86_64")
run(registers, beside_microvm)
