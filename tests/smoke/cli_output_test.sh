#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   weft ----api.sock---- fake_weftd.py
#
# What the commands print, in every format, and what they ask weftd for.
. "$(dirname "$0")/lib.sh"
fake_weftd_start

lines() { wc -l <<< "$OUT"; }

# text: human numbers, right-aligned, a heading; wide: exact ones
expect 0 weft port list
expect_text "$OUT" "PORT     STATE SEGMENT"
expect_text "$OUT" "acme/vm1 up    web     52:54:00:00:00:01      1   1.23M"
expect 0 weft port list -o wide
expect_text "$OUT" " 1234567 123456700 "
[[ $(lines) == 3 ]]

# json: what weftd sent, item by item; name: one path a line
expect 0 weft port list -o json
[[ $(json 'x["schema"], len(x["items"]), x["items"][0]["rx_packets"]' echo "$OUT") == "('weft.port.v1', 2, 1234567)" ]]
expect 0 weft port -o name
[[ $OUT == $'acme/vm1\nacme/vm2' ]]
expect 0 weft -o name segment --tenant=acme
[[ $OUT == $'acme/web\nacme/lab\nacme/app' ]]

# one screen
expect 0 weft status
for text in "controller  up" "dataplane   up" "WORKER CORE QUEUES" "12.5% yes" "acme " "warning: port acme/vm2"; do
    expect_text "$OUT" "$text"
done
expect 0 weft status -o json
[[ $(json 'x["schema"]' echo "$OUT") == weft.status.v1 ]]

# each reading command has its words
expect 0 weft drops -T acme
expect_text "$OUT" "source MAC address not this port's"
expect 0 weft fdb list acme/web
expect_text "$OUT" "1m15s"
expect 0 weft port show vm1 -T acme
expect_text "$OUT" "guest memory         1.00 GiB"
expect_text "$OUT" "QUEUE WORKER CORE"
WEFT_TENANT=acme expect 0 weft segment show lab
expect_text "$OUT" "120"
expect 0 weft config history
expect_text "$OUT" "+ port acme/vm2"
expect 0 weft config export
expect_text "$OUT" "version: 1"
expect 0 weft port snippet acme/vm1 --for libvirt
expect_text "$OUT" "# libvirt"
expect 0 weft events -o json
[[ $(json 'x["type"]' sed -n 2p <<< "$OUT") == port-up && $(lines) == 2 ]]
expect 0 weft doctor
expect_text "$OUT" "-> weft doctor --fix"

# machines
expect 0 weft vm list
expect_text "$OUT" "acme/vm2 running    2 512 MiB"
expect 0 weft vm show acme/vm2
expect_text "$OUT" "/srv/vm2.img"
expect 0 weft vm pause acme/vm2
[[ $OUT == "acme/vm2 paused" ]]
expect 0 weft vm restart acme/vm2 -o name
[[ $OUT == acme/vm2 ]]
expect 3 weft vm stop acme/vm1

# changes: what changed and the generation; again: unchanged; dry run: nothing done
expect 0 weft port add acme/vm3 --segment web --queues 2 --ip 10.0.1.3,10.0.1.4
[[ $OUT == $'+ port acme/vm3 segment web queues 2 ip 10.0.1.3,10.0.1.4\ngeneration 8' && -z $ERR ]]
expect_text "$(tail -n 1 "$SMOKE_DIR/requests")" '"values": {"segment": "web", "queues": "2"'
expect 0 weft port add acme/vm3
[[ $OUT == "unchanged, generation 8" ]]
expect 0 weft port del acme/vm3 --dry-run
[[ $OUT == $'- port acme/vm3\nnot done (dry run), generation 8' ]]
expect 0 weft port set acme/vm3 --mac=
expect_text "$(tail -n 1 "$SMOKE_DIR/requests")" '"values": {"mac": null}'
expect 0 weft tenant add beta --ports 16 -o json
expect_text "$(tail -n 1 "$SMOKE_DIR/requests")" '"values": {"limits.ports": "16"}'
[[ $(json 'x["changed"]' echo "$OUT") == True ]]
echo "new: 1" > "$SMOKE_DIR/new.yaml"
expect 10 weft config diff "$SMOKE_DIR/new.yaml"
expect 0 weft config apply --confirm-within 2m -f - < "$SMOKE_DIR/new.yaml"
expect_text "$(tail -n 1 "$SMOKE_DIR/requests")" '"filename": "<stdin>", "confirm_within": 120'
expect_text "$ERR" "weft config confirm"
expect 0 weft config confirm
echo "old: 1" > "$SMOKE_DIR/old.yaml"
expect 0 weft config diff "$SMOKE_DIR/old.yaml"
[[ -z $OUT ]]

# --watch: plain blocks with an empty line between, JSON lines, and a screen on a terminal; a reader that goes ends it
head -n 4 < <(weft drops --watch=1 2> "$SMOKE_DIR/watch-errors") > "$SMOKE_DIR/blocks"
[[ $(sed -n 3p "$SMOKE_DIR/blocks") == "" && $(sed -n 4p "$SMOKE_DIR/blocks") == *" NEW "* && ! -s $SMOKE_DIR/watch-errors ]]
head -n 2 < <(weft status --watch -o json) | python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]'
if command -v script > /dev/null; then
    smoke_start script env TERM=xterm script -qfec "weft port --watch" "$SMOKE_DIR/screen"
    wait_for 'grep -q $'"'\\e\\\\[H.*PORT.*\\e\\\\[K'"' "$SMOKE_DIR/screen"'
    kill "$STARTED"
fi
