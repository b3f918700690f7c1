#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Uplinks that take whole NICs, on a host with an IOMMU and NICs to spare that QEMU makes (tests/lib/kvm_host):
three NICs for DPDK's drivers, each on a hub with a virtio NIC that is the LAN's. What happens there: pci_scene.py.
With WEFT_KVM_HOST=yes: it takes 80 s of CPU, and four minutes on a machine that does other things too."""
import os
import subprocess
import sys
import tempfile

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
sys.path.insert(0, os.path.join(TOP, "tests/lib"))
import linux_vm  # noqa: E402
from weft import BUILD, skip  # noqa: E402

MODULES = "irqbypass vfio vfio_virqfd vfio_iommu_type1 vfio-pci-core vmxnet3 llc stp garp mrp 8021q vfio-pci"
# The TSC is calibrated wrongly on a busy machine: its clock ran 20 times too fast, and 70 times too slowly.
KERNEL = "intel_iommu=on iommu=pt hugepages=160 clocksource=acpi_pm"
NICS = {"0x10": "e1000e", "0x11": "vmxnet3", "0x12": "virtio-net-pci,disable-legacy=on,iommu_platform=on"}


def qemu_arguments(directory):
    """The IOMMU and the NICs; QEMU's monitor at the host's second serial port."""
    words = ["-device", "intel-iommu,intremap=on,device-iotlb=on", "-chardev", f"socket,id=mon,path={directory}/mon,server=on,wait=off",
             "-mon", "chardev=mon", "-chardev", f"socket,id=tty,path={directory}/mon", "-device", "isa-serial,chardev=tty"]
    for n, (slot, nic) in enumerate(NICS.items()):
        for end, device in (("card", f"{nic},addr={slot}"), ("lan", f"virtio-net-pci,vectors=0,addr={int(slot, 16) + 4:#x}")):
            words += ["-netdev", f"hubport,id={end}net{n},hubid={n}", "-device", f"{device},id={end}{n},netdev={end}net{n},romfile="]
    return " ".join(words)


def main():
    if os.environ.get("WEFT_VMM_ARGUMENTS") or not os.path.exists(os.path.join(BUILD, "control/weftd")):
        skip("a sanitized build is not tried under QEMU")
    if os.environ.get("WEFT_KVM_HOST") != "yes":
        skip("no NICs to spare here, nor on any machine of CI; WEFT_KVM_HOST=yes takes those of a host that QEMU makes "
             "(the tcg of QEMU 7.2 interprets it)")
    linux_vm.prepare()
    with tempfile.TemporaryDirectory(prefix="weft-pci-") as directory:
        log = os.path.join(directory, "log")
        scene = os.path.join(TOP, "tests/vm/pci_scene.py")
        result = subprocess.run(
            [os.path.join(TOP, "tests/lib/kvm_host"), "-c", "2", "-l", MODULES, "-a", KERNEL, "-q",
             qemu_arguments(directory), linux_vm.CACHE, log, "env", f"WEFT_BUILD_DIR={BUILD}", sys.executable, scene],
            capture_output=True, text=True, check=False)
        if result.returncode == 77:
            skip(result.stdout.removeprefix("SKIP: ").strip())
        with open(log, encoding="utf-8", errors="replace") as text:
            said = text.read().replace("\r", "")
        print(said)
        assert result.returncode == 0 and "pci scene: the end" in said, result.stdout + result.stderr


main()
