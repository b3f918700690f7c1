#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# weft-tutorial(7), word for word: every line of it that begins with weft, in its order, against a weftd that was started
# as its first step says. What asks for an editor is done by sed; what asks for guests or systemd is left out. The host's
# eth1 is a veth in a network namespace of the test's own.
if [[ $EUID == 0 && -z ${TUTORIAL_NAMESPACE:-} ]]; then
    exec env TUTORIAL_NAMESPACE=1 unshare -n bash "$0"
fi
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane ip
ip link add eth1 type veth peer name lan
ip link set lan up
ip link set eth1 up
ip addr add 192.0.2.2/24 dev eth1
mkdir "$SMOKE_DIR/work" && cd "$SMOKE_DIR/work"
weftd_start <<< 'version: 1'

count=0
while IFS= read -r line; do
    case $line in
    *--watch*) continue ;;
    "weft doctor --fix"*) continue ;; # changes the host
    "weft config diff"*)
        sed -i 's/"af_packet:eth1"/&\n    mtu: 1400/' weft.yaml
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
((count >= 28)) || smoke_fail "only $count commands in the tutorial"
[[ -z $(weft tenant -o name) ]] # the tutorial cleans up behind itself
