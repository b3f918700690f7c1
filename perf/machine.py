# SPDX-License-Identifier: BSD-3-Clause
"""What a result must say of the machine that it was taken on."""
import os
import platform
import re
import subprocess
import time

import peers


def first_line(*command):
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not installed"
    lines = (text.stdout + text.stderr).strip().splitlines()
    return lines[0] if lines else ""


def package(name):
    return first_line("dpkg-query", "-W", "-f", "${Version}", name)


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as text:
        info = text.read()
    model = re.search(r"model name\s*: (.*)", info)
    family = re.search(r"cpu family\s*: (.*)", info)
    return {"cpu": f"{model.group(1) if model else '?'}, family {family.group(1) if family else '?'}", "cores": os.cpu_count(),
            "mhz": re.search(r"cpu MHz\s*: (.*)", info).group(1) if "cpu MHz" in info else "?",
            "virtual": " hypervisor " in info.replace("\n", " "), "kernel": platform.release(),
            "commit": first_line("git", "-C", peers.TOP, "describe", "--always", "--dirty"),
            "compiler": first_line("cc", "--version"), "hugepages_free": peers.hugepages_free(), "load": os.getloadavg()[0],
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "peers": {"dpdk": package("dpdk"), "openvswitch-switch-dpdk": package("openvswitch-switch-dpdk")}}
