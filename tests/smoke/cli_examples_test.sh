#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   weft ----api.sock---- fake_weftd.py, then a real weftd where it is built
#
# Every example of the table of commands works: it is what the manual and --help tell people to type.
. "$(dirname "$0")/lib.sh"
smoke_need weft weft-describe
cd "$SMOKE_DIR"
guest=$WEFT_BUILD_DIR/tests/guest/weft-vm-guest.elf
if [[ -e $guest ]]; then cp "$guest" vmlinuz; else touch vmlinuz; fi
touch initrd
truncate -s 1M disk.img

cat > weft.yaml << YAML
version: 1
uplinks:
  lan0: { device: "vdev:net_null0", address: 203.0.113.2/24 }
tenants:
  acme:
    segments:
      web: { mode: isolated }
      lab: { mode: bridged, uplink: lan0, vlan: 120 }
      app: { mode: nat, subnet: 10.0.1.0/24, uplink: lan0 }
    ports:
      vm1: { segment: web, mac: "52:54:00:00:00:01" }
      vm2: { segment: web, vm: { kernel: $SMOKE_DIR/vmlinuz, memory: 32M, cmdline: stay=1 } }
      vm5: { segment: app, ip: 10.0.1.10 }
YAML

# Each example begins with the same configuration. What follows or watches is stopped when it has printed.
run_example()
{
    local example=$1 codes=" 0 "
    expect 0 weft config apply weft.yaml
    case $example in
    *--follow* | *--watch*) codes=" 143 " ;;
    *"config diff"*) codes=" 0 10 " ;;
    "weft bench"*) codes=$bench_codes ;;
    "weft vm console"*) codes=" 124 4 " ;;
    "weft vm "*) codes=$vm_codes ;;
    "weft doctor"*) codes=" 0 1 " ;; # what it finds is this host's matter
    "weft config confirm")
        weft tenant add seed > /dev/null
        weft config apply weft.yaml --confirm-within 10m > /dev/null 2>&1
        ;;
    esac
    local code=0 seconds=600
    [[ $codes != " 124 "* ]] || seconds=2
    # shellcheck disable=SC2086 # split as a shell would
    if [[ $codes == " 143 " ]]; then
        : > out # here: a word of the one before is none of this one's
        $example > out 2> err &
        # While it is still a bash that has not become weft, a signal may be lost.
        wait_for "[[ \$(cat /proc/$!/comm) == weft && ( -s out || '$example' == *drops* ) ]] || ! kill -0 $!"
        kill $! 2> /dev/null || true
        wait $! || code=$?
        codes=" 143 0 " # what it follows may have ended
    else
        timeout $seconds $example > out 2> err || code=$?
    fi
    [[ $codes == *" $code "* ]] || smoke_fail "exit code $code: $example: $(cat err)"
    [[ -s out || $example == *drops* || $example == *"config diff"* || $example == *"fdb list"* || $example == *bench* ||
        $example == *@(sessions|lease|neighbour|forward|route)* || $example == *"vm console"* || $codes == *" 4 "* ]] ||
        smoke_fail "printed nothing: $example"
}

run_all()
{
    local count=0 example
    while IFS= read -r example; do
        run_example "$example"
        count=$((count + 1))
    done < <(weft-describe --examples)
    ((count > 40)) || smoke_fail "only $count examples"
    smoke_note "$count examples"
}

vm_codes=" 0 "
bench_codes=" 1 " # there is no switch behind the one that only talks
fake_weftd_start
run_all
fake_weftd_stop
rm -f "$WEFT_RUN_DIR/api.sock"

if command -v weftd > /dev/null && command -v weft-dataplane > /dev/null && [[ $EUID == 0 ]]; then
    SMOKE_BALANCE=yes
    bench_codes=" 0 "
    # without KVM no machine runs; there is nothing to pause, then
    [[ -w /dev/kvm && -e $guest ]] || vm_codes=" 0 1 4 "
    weftd_start weft.yaml
    run_all
else
    smoke_note "weftd is not built here, or this is not root: examples ran against the fake one only"
fi
