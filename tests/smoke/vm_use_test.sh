#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   acme/vm1 (declared in the file) --- acme/web --- acme/vm2 (weft vm run)      beta/vm1 --- beta/web
#
# Machines by configuration and by command: what the commands do, say and answer; what a change means to one that runs.
. "$(dirname "$0")/lib.sh"
smoke_need root kvm guest weftd weft-dataplane weft-vmm

state() { json 'x["items"][0]["state"]' weft vm show "$1" -o json; }
pid() { json 'x["items"][0].get("pid")' weft vm show "$1" -o json; }
says() { grep -q "$2" "$WEFT_RUN_DIR/vm/${1/\//.}/console.log"; }

weftd_start << END
version: 1
tenants:
  acme:
    segments: { web: { mode: isolated } }
    ports:
      vm1: { segment: web, mac: "52:54:00:00:00:01", vm: { kernel: $GUEST, memory: 32M, cmdline: "mode=echo ip=10.0.0.1" } }
      vm2: { segment: web }
  beta:
    segments: { web: { mode: isolated } }
    ports: { vm1: { segment: web, client: true } }
END
wait_for '[[ $(state acme/vm1) == running ]]'
wait_for 'says acme/vm1 "echo ready"'

# run: dry, relative paths, the pings arrive; again: unchanged and started; with other values: conflict
cd "$(dirname "$GUEST")"
run=(weft vm run acme/vm2 --kernel ./weft-vm-guest.elf --memory 32M --cmdline "mode=ping ip=10.0.0.2 peer=10.0.0.1 count=3 stay=1")
expect 0 "${run[@]}" --dry-run
expect_text "$OUT" "vm.kernel none -> $GUEST"
expect 3 weft vm show acme/vm2
expect_text "$ERR" "weft vm run"
expect 0 "${run[@]}"
wait_for 'says acme/vm2 "ping-result sent=3 received=3"'
expect 0 weft vm stop acme/vm2
[[ $OUT == "acme/vm2 off" && ! -e $WEFT_RUN_DIR/vm/acme.vm2/console ]]
expect 0 "${run[@]}"
expect_text "$OUT" "unchanged, generation 2"
[[ $(state acme/vm2) == running ]]
expect 0 weft vm run acme/vm2
expect_text "$OUT" "unchanged, generation 2"
expect 4 weft vm run acme/vm2 --kernel "$GUEST"
expect_text "$ERR" "(memory, cmdline)"

# list, show
expect 0 weft vm list -o name
[[ $OUT == $'acme/vm1\nacme/vm2' ]]
expect 0 weft vm list -o wide --segment acme/web
expect_text "$OUT" "33554432"
[[ $(json 'x["schema"], x["items"][0]["cpus"]' weft vm list -T acme -o json) == "('weft.vm.v1', 1)" ]]

# pause, resume, reset; what cannot be
expect 0 weft vm pause acme/vm1
[[ $OUT == "acme/vm1 paused" ]]
expect 0 weft vm resume acme/vm1
expect 0 weft vm reset acme/vm1
wait_for '[[ $(json "x[\"items\"][0][\"resets\"]" weft vm show acme/vm1 -o json) == 1 ]]'
expect 3 weft vm start acme/none
expect 3 weft vm pause beta/vm1
expect 6 weft vm run beta/vm1 --kernel "$GUEST"
expect_text "$ERR" "client: true"
expect 6 weft vm set acme/vm1 --initrd /nowhere
expect_text "$ERR" "tenants.acme.ports.vm1.vm.initrd: /nowhere: No such file"

# a change is for the next start, and said so; a restart applies it
before=$(pid acme/vm1)
expect 0 weft vm set acme/vm1 --memory 48M
expect_text "$ERR" "machine acme/vm1 runs on as it was started; \"weft vm restart acme/vm1\""
expect_text "$(weft status)" "warning: machine acme/vm1 runs with an older configuration"
[[ $(pid acme/vm1) == "$before" ]]
expect 0 weft vm restart acme/vm1
[[ $(pid acme/vm1) != "$before" && $(json 'x["items"][0]["restart_pending"]' weft vm show acme/vm1 -o json) == False ]]

# the guest powers off by itself: off, and so it stays until somebody starts it
expect 0 weft vm set acme/vm2 --cmdline "mode=ping ip=10.0.0.2 peer=10.0.0.1 count=1"
expect 0 weft vm restart acme/vm2
wait_for '[[ $(state acme/vm2) == off ]]'
expect 4 weft vm pause acme/vm2
expect_text "$ERR" "weft vm start"
expect 0 weft vm stop acme/vm2
expect 0 weft vm del acme/vm2
[[ ! -e $WEFT_RUN_DIR/vm/acme.vm2 ]]

# the port goes, and with it the machine
expect 0 weft port del acme/vm1
expect_text "$ERR" "machine acme/vm1 is powered off"
wait_for '[[ -z $(ls "$WEFT_RUN_DIR/vm") ]]'
[[ $(weft vm -o name) == "" && $(json 'len(x["items"])' weft vm -o json) == 0 ]]
