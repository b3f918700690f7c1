#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The dataplane refuses a change, or is killed in the middle of changes: the generation in force is what is answered, and
# the next dataplane holds it.
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane python3
generation() { json 'x["controller"]["generation"]' weft status -o json; }
weftd_start <<< 'version: 1
tenants: { acme: { segments: { web: { mode: isolated } }, ports: { vm1: { segment: web } } } }'
wait_for converged
first=$(generation)

# Refused: a socket cannot be made where there is no directory.
expect 1 weft port add acme/vm2 --segment web --socket "$SMOKE_DIR/none/there.sock"
expect_text "$ERR" "acme/vm2"
expect_text "$ERR" "the old generation stays in force"
[[ $(generation) == "$first" && $(weft port list -o name) == acme/vm1 ]]
converged

# A device that DPDK does not know; with it nothing else of the same change.
expect 1 weft config apply -f - <<< 'version: 1
uplinks: { lan0: { device: "vdev:net_nosuch0" } }
tenants: { beta: { segments: { web: { mode: isolated } } } }'
[[ $(generation) == "$first" && $(weft tenant list -o name) == acme ]]
converged
allow_log 'net_nosuch0|EAL|dataplane refused'

# Killed while changes are made. Each is there if, and only if, its command said so.
allow_log 'dataplane|weft-dataplane'
made=()
for i in {1..8}; do # every other one without: a dataplane that dies young is started later and later
    victim=$(dataplane_pid)
    weft port add "acme/p$i" --segment web > /dev/null 2>&1 &
    adding=$!
    if ((i % 2 && victim > 0)); then
        kill -9 "$victim" 2> /dev/null || true
    fi
    ! wait "$adding" || made+=("acme/p$i")
    wait_for converged
done
((${#made[@]} >= 4)) || smoke_fail "only ${made[*]}"
[[ $(weft port list -o name | sort) == "$(printf '%s\n' acme/vm1 "${made[@]}" | sort)" ]]
[[ $(generation) == $((first + ${#made[@]})) ]]
for port in "${made[@]}"; do
    [[ -S $WEFT_RUN_DIR/vhost/${port/\//.} ]] || smoke_fail "no socket of $port"
done
[[ $(find "$WEFT_RUN_DIR/vhost" -type s | wc -l) == $((${#made[@]} + 1)) ]]
