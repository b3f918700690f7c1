#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What `ninja install` puts where: units that start programs which are there, manual pages and completion that load.
. "$(dirname "$0")/lib.sh"
smoke_need weftd meson systemd-analyze mandoc
root=$SMOKE_DIR/root
DESTDIR=$root meson install -C "$WEFT_BUILD_DIR" --no-rebuild > "$SMOKE_DIR/install.log" 2>&1
smoke_note "$(grep -c ^Installing "$SMOKE_DIR/install.log") files"

installed() # NAME: the only file of that name, below the root
{
    local found
    found=$(find "$root" -name "$1")
    [[ -n $found && $found != *$'\n'* ]] || smoke_fail "installed as $1: ${found:-nothing}"
    echo "$found"
}

# every program that a unit starts is installed where the unit says, and systemd has nothing to say about the unit
for unit in weftd.service weft-dataplane.service; do
    file=$(installed "$unit")
    program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$file")
    [[ -x $root$program ]] || smoke_fail "$unit starts $program, which is not installed"
    sed -i "s|^ExecStart=/|ExecStart=$root/|; /^Documentation=/d; /^Wants=/d; /^Condition/d" "$file"
    complaints=$(systemd-analyze verify "$file" 2>&1 || true)
    [[ -z $complaints ]] || smoke_fail "$complaints"
done

# what is in PATH has a manual page; a helper that only weft starts is not there
for program in "$(dirname "$(installed weftd)")"/*; do
    installed "$(basename "$program").[18]" > /dev/null
done
installed weft-bench > /dev/null

for page in weft.1 weft.yaml.5 weft-tutorial.7 weft-vmm.1 weft-dataplane.8 weftd.8; do
    complaints=$(mandoc -Tlint -W warning "$(installed "$page")" || true)
    [[ -z $complaints ]] || smoke_fail "$complaints"
done

# each command has its section in the manual
while read -r _ noun verb _; do
    grep -q "^.Ss weft $noun" "$(installed weft.1)" || smoke_fail "weft(1) does not know $noun $verb"
done < <(weft-describe --examples)

program=$(find "$root" -path '*bin/weft')
[[ $("$program" --version) == "weft "* ]]
bash --norc -c "source '$(find "$root" -path '*completions/weft')' && complete -p weft" > /dev/null
