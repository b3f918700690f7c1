#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Generations: confirm-within goes back by itself, also over a restart of weftd; rollback and history; changes by two at
# once are all there; another generation than the expected one is a conflict.
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane python3
generation() { json 'x["controller"]["generation"]' weft status -o json; }
has_port() { [[ $(weft port list -o name) == *"acme/$1"* ]]; }
lacks_port() { ! has_port "$1"; }
config()
{
    echo "{\"version\": 1, \"tenants\": {\"acme\": {\"segments\": {\"web\": {\"mode\": \"isolated\"}}, \"ports\": {"
    local comma='' port
    for port in "$@"; do
        echo "$comma\"$port\": {\"segment\": \"web\"}"
        comma=,
    done
    echo "}}}}"
}
weftd_start <<< "$(config one)"
wait_for converged
[[ $(generation) == 1 ]]

# Not confirmed: back again, as a new generation.
expect 0 weft config apply -f - --confirm-within 1s <<< "$(config one two)"
wait_for '! has_port two'
[[ $(generation) == 3 ]]
expect 4 weft config confirm

# Confirmed: stays. Rolled back by hand: goes at once.
expect 0 weft config apply -f - --confirm-within 10m <<< "$(config one two)"
has_port two
expect 4 weft port add acme/three --segment web
expect_text "$ERR" "waits to be confirmed"
expect 0 weft config confirm
expect 0 weft config apply -f - --confirm-within 10m <<< "$(config one two three)"
expect 0 weft config rollback
lacks_port three
has_port two
expect 4 weft config confirm

# The deadline holds over a killed weftd, whether it passes before or after the next start.
for within in 2s 1s; do
    expect 0 weft config apply -f - --confirm-within $within <<< "$(config four)"
    weftd_kill
    [[ $within == 2s ]] || wait_for '((EPOCHSECONDS > '"$EPOCHSECONDS"' + 1))'
    weftd_start "$SMOKE_DIR/weft.yaml"
    wait_for converged
    wait_for 'has_port two'
    lacks_port four
done
expect 4 weft config confirm

# History: what was in force once can be again; the file is not applied again because another text was.
current=$(generation)
json 'len(x["items"])' weft config history -o json | grep -qx "$current"
[[ $(json '[i["generation"] for i in x["items"] if i["current"]]' weft config history -o json) == "[$current]" ]]
expect 0 weft config rollback 1 --dry-run
[[ $(generation) == "$current" ]]
expect 0 weft config rollback 1
[[ $(weft port list -o name) == acme/one ]]
expect 3 weft config rollback 9999
expect 0 weft config apply -f - <<< "$(config five)"
weftd_stop
weftd_start "$SMOKE_DIR/weft.yaml"
wait_for converged
[[ $(weft port list -o name) == acme/five ]]

# Many at once: none is lost, and the generation counts them.
current=$(generation)
for i in {1..12}; do
    weft port add "acme/p$i" --segment web > /dev/null &
    adding[i]=$!
done
for i in {1..12}; do
    wait "${adding[i]}"
done
[[ $(generation) == $((current + 12)) ]]
[[ $(weft port list -o name | wc -l) == 13 ]]
expect 4 weft config apply -f - --expect-generation "$current" <<< "$(config none)"
expect_text "$ERR" "somebody else changed it"
[[ $(weft port list -o name | wc -l) == 13 ]]
