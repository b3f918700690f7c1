#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   packaging/demo: acme/vm1 --- acme/web --- acme/vm2    acme/vm3 --- acme/db    bolt/vm1 --- bolt/web --- bolt/vm2
#
# What people see first: the demo shows what it says, with machines where there is KVM, and leaves no trace.
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane weft-guest weft-loadgen
export TMPDIR=$SMOKE_DIR

expect 0 "$SMOKE_SOURCE/packaging/demo"
expect_text "$OUT" "acme/vm1    -> 10.0.0.2   reached, 3 of 3 answered"
expect_text "$OUT" "acme/vm1    -> 10.0.0.3   NOT reached"
expect_text "$OUT" "heard 0 frames of that"
expect_text "$OUT" "bolt/vm2    -> 10.0.0.2   reached, 3 of 3 answered"
expect_text "$OUT" "bolt/vm2    -> 10.0.0.1   NOT reached"
[[ $(grep -c "Gbit/s  0 of [1-9][0-9]* sampled frames damaged" <<< "$OUT") == 4 ]]
if [[ -w /dev/kvm && -e $WEFT_BUILD_DIR/tests/guest/weft-vm-guest.elf ]]; then
    expect_text "$OUT" "acme/vm2 running"
else
    expect_text "$OUT" "No /dev/kvm here"
fi
[[ -z $(find "$SMOKE_DIR" -mindepth 1 -name 'weft-demo.*') ]]
wait_for '[[ -z $(smoke_leftovers) ]]'

# ended in its middle it leaves none either
WEFT_NO_KVM=1 smoke_start half "$SMOKE_SOURCE/packaging/demo"
wait_for 'grep -q "Who reaches whom" "$SMOKE_DIR/half.log"'
kill "$STARTED"
wait "$STARTED" || [[ $? == 130 ]]
expect_text "$(< "$SMOKE_DIR/half.log")" "No /dev/kvm here"
[[ -z $(find "$SMOKE_DIR" -mindepth 1 -name 'weft-demo.*') ]]
wait_for '[[ -z $(smoke_leftovers) ]]'
