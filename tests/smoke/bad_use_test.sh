#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   weft ---- weftd ---- weft-dataplane          foreign file, socket and interface where a port's should be
#
# Mistakes that only a real instance can meet: each is refused with its exit code, names the thing and the way out, and
# leaves the configuration, the file or the interface as it was.
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft weft-dataplane ip python3 setpriv

tap=wbu$$
trap 'code=$?; set +e; ip link del "$tap" 2> /dev/null; (exit "$code"); smoke_end' EXIT # smoke_end looks at $?

# refused CODE TEXT ARGUMENTS...: nothing but the error, no new generation, no such port
refused()
{
    local code=$1 text=$2 before
    shift 2
    before=$(weft config export)
    expect "$code" weft "$@"
    expect_text "$ERR" "$text"
    [[ -z $OUT ]] || smoke_fail "an error wrote to standard output: $OUT"
    [[ $(sort <<< "$ERR" | uniq -d) == "" && $(wc -l <<< "$ERR") == 1 ]] || smoke_fail "more than one line: $ERR"
    [[ $(weft config export) == "$before" ]] || smoke_fail "weft $* changed the configuration"
}

# no_start CODE TEXT ARGUMENTS...: weftd ends at once and leaves no dataplane
no_start()
{
    local code=$1 text=$2
    shift 2
    expect "$code" timeout 120 "$@"
    expect_text "$ERR" "$text"
    [[ ! -e $SMOKE_DIR/run2/dataplane.sock && ! -e $SMOKE_DIR/run3/dataplane.sock ]] || smoke_fail "$* left a dataplane"
}

weftd_start << 'YAML'
version: 1
tenants:
  acme:
    segments: { web: { mode: isolated } }
    ports: { vm1: { segment: web, mac: "52:54:00:00:00:01" } }
YAML
wait_for converged
DATAPLANE=$(dataplane_pid)

# what is not built says so; what is wrong says what is right
refused 6 'mode nat needs an uplink' segment add acme/n --mode nat --subnet 10.0.9.0/24
refused 6 'needs an uplink' segment add acme/n --mode bridged
refused 6 'has no segment "wbe"; did you mean "web"?' port add acme/p --segment wbe
refused 6 'is the address of port acme/vm1' port add acme/p --segment web --mac 52:54:00:00:00:01
refused 6 'like 52:54:00:00:00:01' port add acme/p --segment web --mac 52:54
refused 6 'out of range 1 to 8' port add acme/p --segment web --queues 9
refused 3 'there is no tenant "none"' segment add none/web
refused 4 '--cascade deletes' segment del acme/web
refused 4 'other values' port add acme/vm1 --segment web --mac 52:54:00:00:00:02
refused 3 '"weft config history" lists' config rollback 99
refused 2 'is no frame size: 64 to 9216' bench acme/web --size 5 --time 1s
refused 2 '--time of 1 s' bench acme/web --time 0

# places that somebody else has
allow_log 'config-failed'
echo mine > "$WEFT_RUN_DIR/vhost/acme.p"
refused 4 "$WEFT_RUN_DIR/vhost/acme.p: File exists: what is there is no socket; remove it" port add acme/p --segment web
[[ $(< "$WEFT_RUN_DIR/vhost/acme.p") == mine ]] || smoke_fail "the file in the way was changed"
smoke_start other python3 -c 'import signal, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("ready", flush=True)
signal.pause()' "$SMOKE_DIR/other.sock"
wait_for 'grep -q ready "$SMOKE_DIR/other.log"'
refused 4 'Address already in use: another program has it; end it' port add acme/p --segment web --socket "$SMOKE_DIR/other.sock"
refused 1 "/nowhere/x: No such file" port add acme/p --segment web --socket /nowhere/x
refused 6 'port acme/vm1 has this socket' port add acme/p --segment web --socket "$WEFT_RUN_DIR/vhost/acme.vm1"
refused 4 'an interface of this name exists already: delete it' port add acme/p --segment web --tap lo
ip tuntap add mode tap name "$tap"
refused 4 "interface $tap" port add acme/p --segment web --tap "$tap"
ip link show "$tap" > "$SMOKE_DIR/link" || smoke_fail "the interface in the way is gone"
converged || smoke_fail "not converged after the refusals"

# who must not
chmod 0755 "$SMOKE_DIR"
nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
no_start 7 'no permission to use' "${nobody[@]}" "$(command -v weft)" status
no_start 1 'cannot make' "${nobody[@]}" "$(command -v weftd)" --run-dir "$SMOKE_DIR/nobody" --state-dir "$SMOKE_DIR/nostate"

# a second weftd, and ones that cannot start
good=$SMOKE_DIR/weft.yaml bad=$SMOKE_DIR/bad.yaml place=(--run-dir "$SMOKE_DIR/run2" --state-dir "$SMOKE_DIR/state2")
no_start 1 "another weftd (pid $WEFTD_PID) serves" weftd --config "$good" --run-dir "$WEFT_RUN_DIR" --state-dir "$SMOKE_DIR/s"
no_start 1 "is in use by another weftd" weftd --config "$good" --run-dir "$SMOKE_DIR/run3" --state-dir "$WEFT_STATE_DIR"
no_start 1 'none.yaml: No such file or directory; the smallest' weftd --config "$SMOKE_DIR/none.yaml" "${place[@]}"
no_start 1 'not a regular file' weftd --config "$SMOKE_DIR" "${place[@]}"
no_start 1 'make the directory above it' weftd --config "$good" --run-dir "$SMOKE_DIR/a/b" --state-dir "$SMOKE_DIR/state2"
no_start 1 'is something else: remove it' weftd --config "$good" --run-dir "$good" --state-dir "$SMOKE_DIR/state2"
printf 'version: 1\ndataplane: { cores: [1023] }\n' > "$bad"
no_start 6 "$bad:2:21: dataplane.cores: this machine has no CPU 1023" weftd --config "$bad" "${place[@]}"
no_start 2 'what is "extra"?' weftd extra
[[ $(dataplane_pid) == "$DATAPLANE" ]] || smoke_fail "the dataplane was restarted"
