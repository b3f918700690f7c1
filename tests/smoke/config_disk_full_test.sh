#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A full disk: a change fails with a message that names the file, and nothing changed; with room again it succeeds.
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane python3 unshare
if [[ ${1:-} != inside ]]; then
    trap - EXIT
    rm -rf "$SMOKE_DIR"
    exec unshare --mount --propagation private "$0" inside # the small disk is this test's only
fi
mount -t tmpfs -o size=128k none "$WEFT_STATE_DIR" || smoke_skip "cannot mount a tmpfs"
weftd_start <<< 'version: 1
tenants: { acme: { segments: { web: { mode: isolated } }, ports: { vm1: { segment: web } } } }'
wait_for converged
before=$(weft config export)
generation() { json 'x["controller"]["generation"]' weft status -o json; }
first=$(generation)

dd if=/dev/zero of="$WEFT_STATE_DIR/fill" bs=1k count=1000 2> /dev/null || true
for change in "port add acme/vm2 --segment web" "port del acme/vm1" "segment add acme/lab --mode isolated" \
    "tenant del acme --cascade"; do
    # shellcheck disable=SC2086 # words
    expect 1 weft $change
    expect_text "$ERR" "No space left on device"
    expect_text "$ERR" "$WEFT_STATE_DIR"
    [[ $(weft config export) == "$before" && $(generation) == "$first" ]]
done
expect 1 weft config apply -f - --confirm-within 30s <<< 'version: 1'
[[ $(weft port list -o name) == acme/vm1 ]]
weftd_kill
weftd_start "$SMOKE_DIR/weft.yaml" # the disk is still full
wait_for converged
[[ $(weft config export) == "$before" && $(generation) == "$first" ]]
rm "$WEFT_STATE_DIR/fill"
expect 0 weft port add acme/vm2 --segment web
[[ $(generation) == $((first + 1)) ]]
[[ $(weft port list -o name | wc -l) == 2 ]]
