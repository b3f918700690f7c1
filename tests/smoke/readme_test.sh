#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# README.md, word for word: each command of "Five minutes to two tenants that talk" in its order, then its documents, against a
# weftd in a network namespace of the test's own, whose eth1 is a veth. What installs into the system is left out; the machine
# is the test guest.
if [[ $EUID == 0 && -z ${README_NAMESPACE:-} ]]; then
    exec env README_NAMESPACE=1 unshare -n bash "$0"
fi
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane ip
ip link add eth1 type veth peer name lan
ip link set lan up
ip link set eth1 up
ip addr add 192.0.2.2/24 dev eth1
mkdir "$SMOKE_DIR/work" && cd "$SMOKE_DIR/work"
weftd_start <<< 'version: 1'
readme=$SMOKE_SOURCE/README.md
guest=$WEFT_BUILD_DIR/tests/guest/weft-vm-guest.elf
machine=no
[[ ! -w /dev/kvm || ! -e $guest ]] || machine=yes

# blocks LANGUAGE: the fenced blocks of the README in that language, one after the other
blocks() { awk -v want="$1" '/^```/ { inside = !inside && $0 == "```" want; next } inside' "$readme"; }

count=0
while IFS= read -r line; do
    line=${line#sudo }
    line=${line%%#*}
    case $line in
    "weft vm"*)
        [[ $machine == yes ]] || continue
        line=${line/ --kernel \/boot\/vmlinuz --initrd initrd/ --kernel $guest --cmdline stay=1}
        ;;&
    *" vm console "*) expect "0 124" timeout 2 bash -c "$line < /dev/null" ;;
    *) expect 0 eval "$line" ;;
    esac
    count=$((count + 1))
done < <(blocks "" | grep '^sudo weft ')
((count >= 7)) || smoke_fail "only $count commands in README.md"
[[ $(weft port list -o name) == $'acme/vm1\nacme/vm2' ]]

# the documents: a file each, begun by its version
blocks yaml | awk '/^version:/ { n++ } { print > ("weft" n ".yaml") }'
mv weft1.yaml weft.yaml
command=$(grep -o '`weft config apply [^`]*`' "$readme" | tr -d '`')
expect 0 eval "$command"
expect 0 weft config confirm
wait_for converged
[[ $(weft port list -o name | wc -l) == 3 ]]
expect 0 weft config apply weft2.yaml
wait_for converged
for command in sessions forward lease route neighbour nat; do
    grep -q "\`weft $command\`" "$readme" || smoke_fail "README.md does not say weft $command"
    expect 0 weft $command
done
expect_text "$(weft forward)" "acme/app tcp   8443 vm2:443"
ip addr show weft-adm > /dev/null
