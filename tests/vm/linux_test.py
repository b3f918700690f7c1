#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Debian's cloud kernel on a KVM that emulates privilege level 0 (about a million instructions a second, not all of them):
the bzImage is followed into its decompressor, and its vmlinux, unpacked here, by PVH up to the point where it has taken memory
map, ACPI tables and command line. On any other KVM it boots: linux_boot_test.py."""
import os
import struct
from vm import KILLED, run, skip
import linux_vm

FEATURES = "-cx16,-xsave"  # instructions that such a KVM does not emulate


def unpack_lz4(data):
    """The legacy frame format of the kernel's payload."""
    out, at = bytearray(), 4
    while at + 4 <= len(data):
        size, at = struct.unpack_from("<I", data, at)[0], at + 4
        end, block = at + size, bytearray()
        if size == 0 or end > len(data):
            break
        while at < end:
            token, at = data[at], at + 1
            length = token >> 4
            if length == 15:
                while True:
                    length, at = length + data[at], at + 1
                    if data[at - 1] != 255:
                        break
            block += data[at:at + length]
            at += length
            if at >= end:
                break
            offset, at = data[at] | data[at + 1] << 8, at + 2
            match = token & 15
            if match == 15:
                while True:
                    match, at = match + data[at], at + 1
                    if data[at - 1] != 255:
                        break
            match += 4
            start = len(block) - offset
            piece = bytes(block[start:start + match])
            block += (piece * (match // len(piece) + 1))[:match]
        out += block
        at = end
    return bytes(out)


def as_far_as_it_goes(bench, kernel, initrd):
    with open(kernel, "rb") as file:
        data = file.read()
    early = "console=ttyS0 earlyprintk=serial,ttyS0,115200 nokaslr weft.test=yes"
    machine = bench.machine("--initrd", initrd, kernel=kernel, memory="256M", cmdline=early)
    machine.wait_line("KASLR disabled: 'nokaslr' on cmdline.", 300)
    machine.call("quit")
    machine.wait(KILLED)
    payload = (data[0x1f1] + 1) * 512 + struct.unpack_from("<I", data, 0x248)[0]
    if data[payload:payload + 4] != b"\x02\x21\x4c\x18":
        print("the kernel is not packed with LZ4: its vmlinux is not tried")
        return
    with open(bench.path("vmlinux"), "wb") as file:
        file.write(unpack_lz4(data[payload:]))
    machine = bench.machine(f"--cpu={FEATURES}", "--initrd", initrd, kernel=bench.path("vmlinux"), memory="256M", cmdline=early)
    machine.wait_line("Booting paravirtualized kernel on KVM", 600)
    text = machine.console()
    machine.call("quit")
    machine.wait(KILLED)
    for wanted in ("Linux version", "[mem 0x0000000000100000-0x000000000fffffff] usable", "ACPI: RSDP 0x00000000000E0000",
                   "ACPI: DSDT", "ACPI: FACP", "ACPI: APIC", "ACPI: MCFG", "ACPI: PM-Timer IO Port: 0x608",
                   "IOAPIC[0]: apic_id 0, version 17, address 0xfec00000, GSI 0-23", "RAMDISK: [mem", "Hypervisor detected: KVM",
                   "kvm-clock", "weft.test=yes"):
        assert wanted in text, f"{wanted}: {machine.dump()}"
    assert "ACPI Error" not in text and "ACPI Warning" not in text, machine.dump()


def linux(bench):
    linux_vm.prepare()
    as_far_as_it_goes(bench, os.path.join(linux_vm.CACHE, "vmlinuz"), os.path.join(linux_vm.CACHE, "initrd"))


if any(os.path.isdir(f"/sys/module/{name}") for name in ("kvm_intel", "kvm_amd")):
    skip("kvm_intel or kvm_amd: see linux_boot_test.py, where the kernel boots")
run(linux)
