#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   weft ----api.sock---- fake_weftd.py
#
# What -o name prints of things without names, and what a list without items says, to whom.
. "$(dirname "$0")/lib.sh"
smoke_need weft
fake_weftd_start

# what has no name: what other commands take for it
expect 0 weft fdb list -o name
[[ $OUT == $'52:54:00:00:00:01\n52:54:00:00:00:09' ]]

# a list without items says so, but not to a script
expect 0 weft forward list
[[ -z $OUT && $ERR == "no port forwards; "*"weft forward add --help"* ]]
expect 0 weft lease -T acme
[[ -z $OUT && $ERR == "no leases of tenant acme" ]]
expect 0 weft lease -o name
[[ -z $OUT$ERR ]]

# on the screen of --watch it is part of the screen; a note would be hidden by the next round
expect 0 python3 - << 'PYTHON'
import os, pty, signal
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("weft", ["weft", "lease", "--watch"])
text = b""
while b"no leases" not in text:
    text += os.read(terminal, 4096)
os.kill(pid, signal.SIGINT)
assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGINT
PYTHON
