#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Layering is real only if a forbidden include does not compile: try each.

For each folder one of its compile commands is taken from the compilation database and run on a one-line file that
includes one header of a folder that it may not see. Success of the compiler is a failure of the layering; an allowed
include that does not compile is one too (then this test would prove nothing).
"""
import glob
import json
import os
import shlex
import subprocess
import sys

# folder: (header it must see, headers it must not see)
RULES = {
    "vhost": ("vhost/vring.h", ["dataplane/api/dataplane_api.h", "control/api/weft_api.h", "dataplane/port.h", "rte_common.h"]),
    "dataplane": ("dataplane/port.h", ["control/api/weft_api.h", "control/model.h", "cli/command.h"]),
    "control": ("dataplane/api/dataplane_api.h", ["dataplane/port.h", "vhost/vring.h", "cli/command.h"]),
    "cli": ("control/api/weft_api.h", ["control/model.h", "dataplane/api/dataplane_api.h", "vhost/vring.h"]),
    "vmm": ("vhost/frontend.h", ["dataplane/port.h", "dataplane/api/dataplane_api.h", "control/api/weft_api.h"]),
}

database = json.load(open(sys.argv[1], encoding="utf-8"))


def compiles(entry, header):
    arguments, skip = [], False
    for word in shlex.split(entry["command"]):
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MQ", "-MT"):
            skip = True
        elif word not in ("-c", "-MD") and not word.endswith(".c"):
            arguments.append(word)
    source = f'#include "{os.path.basename(header)}"\n'
    return subprocess.run(arguments + ["-fsyntax-only", "-w", "-x", "c", "-"], input=source, text=True,
                          cwd=entry["directory"], capture_output=True).returncode == 0


status = 0
for folder, (allowed, forbidden) in RULES.items():
    paths = [(e, os.path.relpath(os.path.join(e["directory"], e["file"]))) for e in database]
    entries = [e for e, path in paths if path.startswith(folder + "/") and "/api/" not in path]
    if not entries:
        if glob.glob(folder + "/*.c"):
            print(f"{folder}: has sources but no compile command")
            status = 1
        continue
    if not compiles(entries[0], allowed):
        print(f"{folder}: cannot include {allowed}, which it may")
        status = 1
    for header in forbidden:
        if compiles(entries[0], header):
            print(f"{folder}: can include {header}, which it may not")
            status = 1
sys.exit(status)
