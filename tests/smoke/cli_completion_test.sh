#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   bash completion ---- weft __complete ----api.sock---- fake_weftd.py
#
# What the shell offers: words, options, choices, names that weftd holds, files; and nothing, quickly, without a weftd.
. "$(dirname "$0")/lib.sh"
smoke_need weft

# offers LINE CANDIDATES...: what bash puts in COMPREPLY at the end of the line
offers()
{
    local line=$1 got
    shift
    got=$(COMP_LINE=$line COMP_POINT=${#line} bash --norc -c 'source <(weft completion bash)
        COMP_WORDBREAKS=$'"' \\t\\n\"\\'><=;|&(:'"'
        _weft
        printf "%s\n" "${COMPREPLY[@]}"' | sort)
    [[ $got == "$(printf '%s\n' "$@" | sort)" ]] || smoke_fail "\"$line\" offers: $got"
}

offers "weft st" status
offers "weft port s" show set snippet
offers "weft port snippet acme/vm1 --for l" libvirt
offers "weft port snippet acme/vm1 --for=l" libvirt
offers "weft port add acme/vm1 --sp" --spoof
offers "weft port add acme/vm1 --spoof d" deny
offers "weft port add acme/vm1 --queues 2 --q" "" # given already
offers "weft port list -o j" json
offers "weft vm re" restart reset resume
offers "weft vm run acme/vm1 --mem" --memory
offers "weft completion " bash
offers "weft nonsense x" ""
offers "weft port show " "" # nobody to ask

fake_weftd_start
offers "weft port show " acme/vm1 acme/vm2
offers "weft port show -T acme v" vm1 vm2
offers "weft tenant del " acme
offers "weft uplink set lan0 --mt" --mtu
offers "weft port add acme/vm9 --segment " web lab
offers "weft port add acme/vm9 --trunk web,l" web,lab
offers "weft port add acme/vm9 --trunk=web,l" web,lab
offers "weft fdb list acme/l" acme/lab
offers "weft --run-dir /nonexistent port show " ""
touch "$SMOKE_DIR/weft.yaml"
offers "weft config apply $SMOKE_DIR/weft.y" "$SMOKE_DIR/weft.yaml"
offers "weft config apply --file=$SMOKE_DIR/weft.y" "$SMOKE_DIR/weft.yaml"
fake_weftd_stop
fake_weftd_start --mode silent
offers "weft port show " ""
