#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# weft-dataplane's start and end: bad use is told with the thing's name and the way out, exit codes are right, nothing
# is left behind. usage: dataplane_start_test.sh WEFT-DATAPLANE
set -uo pipefail
program=$1
directory=$(mktemp -d /tmp/weft-start-test.XXXXXX)
trap 'kill "${pid:-}" 2>/dev/null; rm -rf "$directory"' EXIT
failed=0

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

refused() { # EXIT-CODE TEXT ARGUMENT...
    local code=$1 text=$2 output
    shift 2
    output=$(timeout 120 "$program" "$@" 2>&1)
    local status=$?
    [ "$status" = "$code" ] || fail "$*: exit code $status instead of $code: $output"
    grep -qF -- "$text" <<<"$output" || fail "$*: no \"$text\" in: $output"
}

start() { # ARGUMENT...: started with the run directory, waits until it listens
    rm -f "$directory/ready"
    mkfifo "$directory/ready"
    "$program" --run-dir "$directory/run" --hugepages never --ready-fd 9 "$@" 9<>"$directory/ready" 2>>"$directory/log" &
    pid=$!
    local line=""
    read -r -t 120 line <>"$directory/ready"
    [ "$line" = READY ] || fail "it did not get ready: $(cat "$directory/log")"
}

ended() { # EXIT-CODE
    wait "$pid"
    local status=$?
    pid=
    [ "$status" = "$1" ] || fail "exit code $status instead of $1: $(cat "$directory/log")"
}

last=$(($(nproc --all) + 1000))
refused 2 "usage: weft-dataplane --run-dir DIR"
refused 2 "unrecognized option" --run-dir "$directory/run" --bogus
refused 2 "core $last is not there or not allowed; this process may use the cores" --run-dir "$directory/run" --cores "$last"
refused 2 "is listed twice" --run-dir "$directory/run" --cores "$(taskset -cp $$ | grep -oE '[0-9]+$'),$(taskset -cp $$ | grep -oE '[0-9]+$')"
refused 2 '"one" is not a list of cores like 1 or 1,3 or 2-5' --run-dir "$directory/run" --cores one
refused 2 "auto, require or never" --run-dir "$directory/run" --hugepages sometimes
refused 2 'there is no group "nosuchgroup"' --run-dir "$directory/run" --socket-group nosuchgroup
refused 2 "not an open descriptor" --run-dir "$directory/run" --ready-fd 77
refused 1 "No such file or directory" --run-dir /nonexistent/weft
refused 1 "Not a directory" --run-dir "$program"
refused 0 "weft-dataplane " --version
[ -e "$directory/run" ] && fail "a run directory was made for a command that is wrong"

start
[ "$(stat -c %a "$directory/run")" = 710 ] || fail "run directory: mode $(stat -c %a "$directory/run")"
[ "$(stat -c %a "$directory/run/dataplane.sock")" = 660 ] || fail "socket: mode $(stat -c %a "$directory/run/dataplane.sock")"
# A second one names the first, and does it no harm.
refused 1 "is in use by process $pid" --run-dir "$directory/run"
kill -0 "$pid" || fail "the first instance is gone"
kill -HUP "$pid"
kill -TERM "$pid"
ended 0
[ -e "$directory/run/dataplane.sock" ] && fail "the socket is still there after SIGTERM"
# What a killed one leaves is no hindrance.
start
kill -KILL "$pid"
ended 137 2>/dev/null
start
kill -INT "$pid"
ended 0
# All cores, the control thread's included. DPDK's directory of the prefix is gone when it serves.
prefix=weft-start-test-$$
start --prefix "$prefix" --cores "$(taskset -cp $$ | sed 's/.*: //')"
kill -TERM "$pid"
ended 0
find /run/dpdk /var/run/dpdk -name "$prefix" 2>/dev/null | grep . && fail "what is above was left"
# Somebody else's socket in the way. A file is not removed.
touch "$directory/run/dataplane.sock"
refused 1 "dataplane.sock: Address already in use" --run-dir "$directory/run" --hugepages never
[ -f "$directory/run/dataplane.sock" ] || fail "a file that is no socket was removed"
grep -vE '^<[5-7]>' "$directory/log" && fail "unexpected in the log"
exit $failed
