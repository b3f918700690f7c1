#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   weft ----api.sock---- fake_weftd.py (in several moods), or nobody
#
# Wrong words, wrong names, nobody there, no permission, full disk: an error that names the thing and the way out, and the
# exit code that scripts rely on.
. "$(dirname "$0")/lib.sh"

# bad CODE TEXT ARGUMENTS...: exit code, and what standard error must say; nothing on standard output
bad()
{
    local code=$1 text=$2
    shift 2
    expect "$code" weft "$@"
    expect_text "$ERR" "$text"
    [[ -z $OUT ]] || smoke_fail "weft $*: an error wrote to standard output: $OUT"
}

# nobody there
bad 5 "not reachable at $WEFT_RUN_DIR/api.sock: No such file or directory; start it: sudo weftd --config" status
WEFT_RUN_DIR='' bad 5 "start it: sudo systemctl start weftd" status --run-dir=/run/weft
bad 2 "too long for a socket's name" status --run-dir "/tmp/$(printf 'x%.0s' {1..120})"
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$WEFT_RUN_DIR/api.sock"
bad 5 "nobody listens there" status

# words: no weftd is asked
bad 2 'weft --help' # nothing at all
bad 2 'did you mean "port"?' prot list
bad 2 'did you mean "weft port list"?' port lst
bad 2 '"mirror" is not built yet' mirror add acme/vm1
bad 2 'did you mean "weft port show acme/vm1"?' port acme/vm1
bad 2 "TENANT/PORT is missing" port add
bad 2 '"two" is one argument too many' port show acme/one two
bad 2 'did you mean "--segment"?' port add acme/vm1 --segmnt web
bad 2 'has no option "--queues"' port list --queues 2
bad 2 "--segment needs a value" port add acme/vm1 --segment
bad 2 "--queues is given twice" port add acme/vm1 --queues 1 --queues 2
bad 2 "text|wide|json|name" port list -o jsn
bad 2 'a time like 30s' status --watch=often
bad 2 "out of range" status --timeout 9999999999s
bad 2 'write tenant/vm1' port show vm1
bad 2 "not a port's name" port show acme/vm1/x
bad 2 "not a segment's name" segment show acme/
bad 2 "not a tenant's name" tenant show acme/web
bad 2 "nothing to set" port set acme/vm1
bad 2 "which document?" config apply
bad 2 "two documents" config apply a -f b
bad 2 "have no names" drops -o name
bad 2 "unknown option" --bogus
bad 1 "no.yaml: cannot read it: No such file or directory" config apply "$SMOKE_DIR/no.yaml"
bad 1 "Is a directory" config apply "$SMOKE_DIR"
bad 6 "not UTF-8 text" config apply -f - < <(printf 'version: 1\n\xff\n')
bad 1 "larger than the 1 MiB" config apply - < <(head -c 1100000 /dev/zero | tr '\0' a)

# doctor says that nobody is there, as a failed check
expect 1 weft doctor
expect_text "$OUT" "failed   weftd"

# what weftd refuses: its code, its words, its list of errors as FILE:LINE:COLUMN
fake_weftd_start
bad 3 "port acme/zz does not exist" port show acme/zz
bad 4 "exists with other values" port add acme/vm1 --segment lab
bad 4 "another change came between" port add acme/vm9 --expect-generation 3
bad 6 'queues: "many" is not a number' port add acme/vm9 --queues many
for kind in bad:6 slow:8 limit:9; do
    echo "${kind%:*}: 1" > "$SMOKE_DIR/${kind%:*}.yaml"
    bad "${kind#*:}" "weft: " config apply "$SMOKE_DIR/${kind%:*}.yaml"
done
bad 6 "$SMOKE_DIR/bad.yaml:3:5: tenants.acme: unknown key \"segmets\"" config apply "$SMOKE_DIR/bad.yaml"
bad 4 "nothing waits" config confirm
expect 1 bash -c 'weft port list > /dev/full'
expect_text "$ERR" "cannot write the output: No space left on device"
expect 1 bash -c 'weft port list -o json >&-'
chmod 0700 "$SMOKE_DIR" && chmod 0600 "$WEFT_RUN_DIR/api.sock" && chmod 0755 "$SMOKE_DIR" "$WEFT_RUN_DIR"
if [[ $EUID == 0 ]] && command -v setpriv > /dev/null; then
    expect 7 setpriv --reuid 65534 --regid 65534 --clear-groups "$(command -v weft)" status
    expect_text "$ERR" "add yourself to group weft"
fi
fake_weftd_stop

# a weftd that does not behave
for mood in silent:5:1s:"does not answer" mute:5:5s:"did not answer" garbage:5:60s:"does not speak" close:5:60s:"closed" version:2:60s:"speaks 9"; do
    IFS=: read -r mode code limit text <<< "$mood"
    fake_weftd_start --mode "$mode"
    bad "$code" "$text" port list --timeout "$limit"
    [[ $mode != mute ]] || bad 8 "may still be carried out" port add acme/vm1 --timeout "$limit"
    fake_weftd_stop
done
fake_weftd_start --mode read
bad 7 "not permitted for group weft-ro" port add acme/vm1
fake_weftd_stop

# names from elsewhere do nothing to the terminal
fake_weftd_start --mode hostile
for format in text wide name json; do
    expect 0 weft port list -o "$format"
    ! grep -q $'[\x01-\x09\x0b-\x1f\x7f]\|\xc2\x9b\|\xe2\x80\xae' <<< "$OUT" || smoke_fail "control characters in $format"
done
