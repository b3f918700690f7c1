#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   weftd ---- acme/deaf (its guest does not look at the power button), acme/bad (cannot be started)
#
# Machines that do not do as they are told, and how weftd and the one who asked get on with them.
. "$(dirname "$0")/lib.sh"
smoke_need root kvm guest weftd weft-dataplane weft-vmm

state() { json 'x["items"][0]["state"]' weft vm show "$1" -o json; }
pid() { json 'x["items"][0].get("pid")' weft vm list -o json; }
events() { weft events -o json | python3 -c 'import json, sys
events = [json.loads(line) for line in sys.stdin]
print(sum(e["type"] == sys.argv[1] and e.get("port") == sys.argv[2] and sys.argv[3] in e["text"] for e in events))' "$@"; }

truncate -s 64M "$SMOKE_DIR/disk.img" "$SMOKE_DIR/other.img"
echo "this is no kernel" > "$SMOKE_DIR/text"
weftd_start << END
version: 1
tenants:
  acme:
    segments: { web: { mode: isolated } }
    ports:
      deaf: { segment: web, vm: { kernel: $GUEST, memory: 32M, cmdline: "mode=console lines=1000000000" } }
      bad: { segment: web }
END
wait_for '[[ $(state acme/deaf) == running ]]'

# accepted, not in time; the state says so; by force it goes at once
expect 8 weft vm stop acme/deaf --timeout 1
expect_text "$ERR" "machine acme/deaf is still stopping after 1 s"
[[ $(state acme/deaf) == stopping ]]
expect 4 weft vm pause acme/deaf
expect_text "$ERR" "machine acme/deaf is stopping"
expect 0 weft vm stop acme/deaf --force
[[ $(state acme/deaf) == off && $(events vm-off deaf "without the guest's consent") == 1 ]]
expect 0 weft vm stop acme/deaf --force # once more: nothing to do

# its stop-timeout ends it as well; what it said is bounded
expect 0 weft vm set acme/deaf --stop-timeout 1s
expect 0 weft vm start acme/deaf
expect 0 weft vm stop acme/deaf
[[ $(events vm-off deaf "without the guest's consent") == 2 ]]
(($(stat -c %s "$WEFT_RUN_DIR/vm/acme.deaf/console.log") <= 16 << 20))

# taken away and brought back before its guest has ended: it comes again
expect 0 weft vm set acme/deaf --stop-timeout 15s # so long that it is there yet when it is asked for
expect 0 weft vm start acme/deaf
before=$(pid)
expect 0 weft vm del acme/deaf
[[ $(json 'x["items"][0]["state"]' weft vm list -o json) == stopping && $(pid) == "$before" ]]
expect 0 weft config rollback
wait_for '[[ $(state acme/deaf) == running && $(pid) != "$before" ]]'
expect 0 weft vm stop acme/deaf --force

# what cannot be started says why, to the one who asked, in the list, once as an event; a change is tried at once
expect 1 weft vm run acme/bad --kernel "$SMOKE_DIR/text"
expect_text "$ERR" "neither a Linux bzImage nor an ELF"
wait_for '(($(json "x[\"items\"][0][\"restarts\"]" weft vm show acme/bad -o json) >= 3))'
[[ $(state acme/bad) =~ ^(failed|starting)$ ]] # between two attempts, or in one
[[ $(events vm-failed bad "neither a Linux bzImage") == 1 ]]
wait_for '[[ $(weft status) == *"machine acme/bad does not run"*"neither a Linux bzImage"* ]]'
expect 0 weft vm set acme/bad --kernel "$GUEST" --cmdline "stay=1" --disk "$SMOKE_DIR/disk.img,$SMOKE_DIR/other.img"
wait_for '[[ $(state acme/bad) == running ]]'
expect 4 weft vm run acme/deaf --kernel "$GUEST"
expect 6 weft vm set acme/deaf --disk "$SMOKE_DIR/disk.img"
expect_text "$ERR" "is a disk of machine acme/deaf already"

# a machine that fails is off when it is told to be, and stays so
rm "$SMOKE_DIR/disk.img"
expect 1 weft vm restart acme/bad
expect_text "$ERR" "disk.img"
expect 0 weft vm stop acme/bad
[[ $(state acme/bad) == off ]]

# an orderly stop of weftd waits for guests; the second signal does not
expect 0 weft vm set acme/deaf --stop-timeout 1h
expect 0 weft vm start acme/deaf
kill "$WEFTD_PID"
wait_for '[[ $(state acme/deaf) == stopping ]]'
weftd_stop
wait_for '[[ -z $(smoke_leftovers | grep -v "^$$\$" || true) ]]'
