#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# weft-tutorial(7), word for word: every line of it that begins with weft, in its order, against a weftd that was started
# as its first step says. What asks for an editor is done by sed; what asks for guests or systemd is left out.
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane
mkdir "$SMOKE_DIR/work" && cd "$SMOKE_DIR/work"
weftd_start <<< 'version: 1'

count=0
while IFS= read -r line; do
    case $line in
    *--watch*) continue ;;
    "weft doctor --fix"*) continue ;; # changes the host
    "weft config diff"*)
        sed -i 's/^version: 1$/&\nuplinks: { lan0: { device: "vdev:net_null0" } }/' weft.yaml
        expect 10 eval "$line"
        continue
        ;;
    "weft doctor") expect "0 1" eval "$line" ;;
    *) expect 0 eval "$line" ;;
    esac
    case $line in
    "weft config export"*) [[ -s weft.yaml ]] ;;
    *snippet*) expect_text "$OUT" "$WEFT_RUN_DIR/vhost/" ;;
    "weft port list") [[ $(grep -c ^acme/vm <<< "$OUT") == 2 ]] ;;
    esac
    count=$((count + 1))
done < <(sed -n '/^\.Bd/,/^\.Ed/s/^weft /weft /p' "$SMOKE_SOURCE/docs/weft-tutorial.7")
((count >= 18)) || smoke_fail "only $count commands in the tutorial"
[[ -z $(weft tenant -o name) ]] # the tutorial cleans up behind itself
