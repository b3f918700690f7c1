# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What smoke tests have in common. A test is a bash script of at most 100 lines, topology drawn on top, that begins with
#
#     . "$(dirname "$0")/lib.sh"
#     smoke_need root weftd ip            # programs of weft are looked for in $WEFT_BUILD_DIR; exits 77 without them
#     weftd_start <<< "$yaml"             # or: weftd_start FILE [ARGUMENTS]
#     wait_for "port_is acme/vm1 up"
#     expect 3 weft port show acme/none   # exit code, then the command
#
# and fails by a command that fails (set -e). When it ends, in whatever way: processes it started are ended, its
# namespaces and its directory go, and unless it skipped, weftd's log must hold no error or warning that was not announced
# with allow_log, no sanitizer may have spoken, and every port's counters must balance. On failure logs and state are
# printed first. Nothing is retried and nothing waits for a fixed time.

set -euo pipefail

SMOKE_NAME=$(basename "$0" _test.sh)
SMOKE_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WEFT_BUILD_DIR=${WEFT_BUILD_DIR:-$SMOKE_SOURCE/build}
PATH=$WEFT_BUILD_DIR/cli:$WEFT_BUILD_DIR/control:$WEFT_BUILD_DIR/dataplane:$WEFT_BUILD_DIR/vmm:$WEFT_BUILD_DIR/perf:$PATH
SMOKE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/weft-$SMOKE_NAME.XXXXXX")
WEFT_RUN_DIR=$SMOKE_DIR/run
WEFT_STATE_DIR=$SMOKE_DIR/state
export PATH WEFT_BUILD_DIR WEFT_RUN_DIR NO_COLOR=1
unset WEFT_TENANT
mkdir "$WEFT_RUN_DIR" "$WEFT_STATE_DIR"

WEFTD_PID=
SMOKE_PIDS=()
SMOKE_NAMESPACES=()
SMOKE_ALLOWED=()
SMOKE_BALANCE=yes

smoke_note() { echo "# $*" >&2; }

smoke_fail()
{
    echo "FAILED: $*" >&2
    exit 1
}

smoke_skip()
{
    echo "skipped: $*" >&2
    exit 77
}

# Words: root, kvm, guest (the test guest, then $GUEST), or a program. The test is skipped, with the reason, where one is
# missing.
smoke_need()
{
    local need
    for need in "$@"; do
        case $need in
        root) [[ $EUID == 0 ]] || smoke_skip "needs root" ;;
        kvm) [[ -w /dev/kvm ]] || smoke_skip "needs /dev/kvm" ;;
        guest)
            GUEST=$WEFT_BUILD_DIR/tests/guest/weft-vm-guest.elf
            [[ -e $GUEST ]] || smoke_skip "needs $GUEST"
            ;;
        *) command -v "$need" > /dev/null || smoke_skip "needs the program $need" ;;
        esac
    done
}

# wait_for CONDITION: a shell condition that becomes true. The limit is for what will never be: no test may depend on how
# busy the machine is.
SMOKE_WAIT_S=120
wait_for()
{
    local end=$((SECONDS + SMOKE_WAIT_S))
    until eval "$1" > /dev/null 2>&1; do
        ((SECONDS < end)) || smoke_fail "after $SMOKE_WAIT_S s it is still not so: $1"
        read -rt 0.02 <> <(:) || true
    done
}

# expect CODES COMMAND...: runs it and checks its exit code, one or "0 1". Output is left in $OUT and $ERR.
expect()
{
    local wanted=$1 code=0
    shift
    "$@" > "$SMOKE_DIR/out" 2> "$SMOKE_DIR/err" || code=$?
    OUT=$(< "$SMOKE_DIR/out")
    ERR=$(< "$SMOKE_DIR/err")
    [[ " $wanted " == *" $code "* ]] || smoke_fail "exit code $code instead of $wanted: $*"$'\n'"$OUT"$'\n'"$ERR"
}

# expect_text TEXT PATTERN: the text contains something that matches the glob pattern.
expect_text()
{
    # shellcheck disable=SC2053 # a pattern is wanted
    [[ $1 == *$2* ]] || smoke_fail "\"$2\" is not in: $1"
}

# json EXPRESSION COMMAND...: value of a Python expression over the command's JSON answer, called x.
json()
{
    local expression=$1
    shift
    "$@" | python3 -c 'import json, sys
x = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$expression"
}

port_is() { [[ $(json 'x["items"][0]["state"]' weft port show "$1" -o json) == "$2" ]]; }
# The dataplane is up and holds what is in force.
converged() { [[ $(json 'x["dataplane"]["state"], x["dataplane"]["converged"]' weft status -o json) == "('up', True)" ]]; }
dataplane_pid() { json 'x["dataplane"].get("pid", 0)' weft status -o json; }

# A program that goes on beside the test and is ended with it. Its output is in $SMOKE_DIR/NAME.log, its pid in $STARTED.
smoke_start()
{
    local name=$1
    shift
    : > "$SMOKE_DIR/$name.log" # here, so that nobody waits for a word of the one before
    "$@" >> "$SMOKE_DIR/$name.log" 2>&1 &
    STARTED=$!
    SMOKE_PIDS+=("$STARTED")
}

# weftd_start [FILE [ARGUMENTS...]]: without a file the configuration is standard input. Returns when it answers.
weftd_start()
{
    local file=${1:-}
    shift || true
    if [[ -z $file ]]; then
        file=$SMOKE_DIR/weft.yaml
        cat > "$file"
    fi
    smoke_need weftd weft
    weftd --config "$file" --run-dir "$WEFT_RUN_DIR" --state-dir "$WEFT_STATE_DIR" --foreground "$@" \
        >> "$SMOKE_DIR/weftd.log" 2>&1 &
    WEFTD_PID=$!
    wait_for '! kill -0 $WEFTD_PID || weft status'
    kill -0 "$WEFTD_PID" 2> /dev/null || smoke_fail "weftd ended at its start"
}

# A weftd that only talks (tests/lib/fake_weftd.py), for tests of the command line. Requests are logged in
# $SMOKE_DIR/requests.
fake_weftd_start()
{
    smoke_need python3 weft
    SMOKE_BALANCE=no
    rm -f "$WEFT_RUN_DIR/api.sock"
    smoke_start fake python3 "$SMOKE_SOURCE/tests/lib/fake_weftd.py" "$WEFT_RUN_DIR" --log "$SMOKE_DIR/requests" "$@"
    FAKE_PID=$STARTED
    wait_for 'grep -q ready "$SMOKE_DIR/fake.log"'
}

fake_weftd_stop()
{
    kill "$FAKE_PID"
    wait "$FAKE_PID" || true
}

# Orderly stop; the dataplane that it started ends with it.
weftd_stop()
{
    kill "$WEFTD_PID"
    local code=0
    wait "$WEFTD_PID" || code=$?
    WEFTD_PID=
    [[ $code == 0 ]] || smoke_fail "weftd ended with code $code"
}

weftd_kill()
{
    kill -9 "$WEFTD_PID"
    wait "$WEFTD_PID" 2> /dev/null || true
    WEFTD_PID=
}

# A line of the log that would fail the test but is meant to be there (extended regular expression).
allow_log() { SMOKE_ALLOWED+=("$1"); }

# namespace NAME: makes a network namespace of this test and leaves its full name in $NAMESPACE.
namespace()
{
    NAMESPACE=weft-$SMOKE_NAME-$$-$1
    ip netns add "$NAMESPACE"
    SMOKE_NAMESPACES+=("$NAMESPACE")
    ip -n "$NAMESPACE" link set lo up
}

# Every port: what it sent was forwarded, flooded or dropped; what was for it was delivered or dropped. Exactly.
counters_balance()
{
    weft port list -o json | python3 -c 'import json, sys
wrong = []
for port in json.load(sys.stdin)["items"]:
    received = port["rx_forwarded"] + port["rx_flooded"] + port["drops_from"]
    if port["rx_packets"] != received:
        wrong.append("%s: rx_packets %d, accounted for %d" % (port["name"], port["rx_packets"], received))
    if port["tx_offered"] != port["tx_packets"] + port["drops_to"]:
        wrong.append("%s: tx_offered %d, tx_packets %d + drops_to %d" %
                     (port["name"], port["tx_offered"], port["tx_packets"], port["drops_to"]))
print("\n".join(wrong))
sys.exit(bool(wrong))'
}

# The same of ports that rest; until then a batch may be half counted.
counters_settle()
{
    local end=$((SECONDS + SMOKE_WAIT_S)) wrong
    until wrong=$(counters_balance); do
        ((SECONDS < end)) || { echo "$wrong"; return 1; }
    done
}

smoke_log_is_clean()
{
    local allowed pattern='^<[0-4]>|: (error|warning): |Sanitizer|runtime error:|Segmentation fault'
    allowed=$(printf '%s\n' "${SMOKE_ALLOWED[@]:-$^}")
    ! grep -shE "$pattern" "$SMOKE_DIR"/*.log | grep -vEf <(echo "$allowed")
}

# Processes that this test made and that are still there: those whose command line holds its directory.
smoke_leftovers()
{
    local file
    for file in /proc/[0-9]*/cmdline; do
        if [[ $(tr '\0' ' ' < "$file") == *"$SMOKE_DIR"* ]]; then
            file=${file#/proc/}
            echo "${file%/cmdline}"
        fi
    done 2> /dev/null
}

smoke_dump()
{
    local file
    {
        weft --timeout 3 status && weft --timeout 3 port list -o wide && weft --timeout 3 drops &&
            weft --timeout 3 events
        for file in "$SMOKE_DIR"/*.log; do
            [[ -e $file ]] && echo "--- $file" && tail -n 100 "$file"
        done
    } >&2 2>&1
}

smoke_end()
{
    local code=$? pid name
    trap - EXIT
    set +e
    if [[ $code == 0 && -n $WEFTD_PID && $SMOKE_BALANCE == yes ]]; then
        counters_settle >&2 || { echo "FAILED: counters do not balance" >&2; code=1; }
    fi
    if [[ $code == 0 && -n $WEFTD_PID ]]; then
        kill "$WEFTD_PID"
        wait "$WEFTD_PID" || {
            echo "FAILED: weftd ended with code $?"
            code=1
        }
        WEFTD_PID=
    fi
    if [[ $code == 0 ]] && ! smoke_log_is_clean >&2; then
        echo "FAILED: the log holds what is above" >&2
        code=1
    fi
    [[ $code == 0 || $code == 77 ]] || smoke_dump
    for pid in "${SMOKE_PIDS[@]}" $WEFTD_PID $(smoke_leftovers); do
        kill -9 "$pid" 2> /dev/null
    done
    wait 2> /dev/null
    for name in "${SMOKE_NAMESPACES[@]}"; do
        ip netns del "$name"
    done
    ! mountpoint -q "$WEFT_STATE_DIR" || umount -l "$WEFT_STATE_DIR"
    rm -rf "$SMOKE_DIR"
    exit "$code"
}
trap smoke_end EXIT
trap 'exit 130' INT TERM
