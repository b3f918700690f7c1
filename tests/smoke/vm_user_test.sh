#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   root, a member of group weft, one of weft-ro, a stranger ---- weftd ---- acme/vm1, run as user weft-vmm
#
# Whose process a machine is, and who comes near its console; user and groups exist in a mount namespace of the test only.
if [[ ${1:-} != inside ]]; then
    . "$(dirname "$0")/lib.sh"
    smoke_need root kvm weftd weft-dataplane weft-vmm setpriv unshare
    trap - EXIT
    rm -rf "$SMOKE_DIR"
    exec unshare --mount "$0" inside
fi
. "$(dirname "$0")/lib.sh"
smoke_need guest
chmod 0755 "$SMOKE_DIR"
sed -e '/^weft\(-ro\)\?:/d' /etc/group > "$SMOKE_DIR/group"
printf 'weft:x:64001:\nweft-ro:x:64002:\nweft-vmm:x:64003:\n' >> "$SMOKE_DIR/group"
sed -e '/^weft-vmm:/d' /etc/passwd > "$SMOKE_DIR/passwd"
echo 'weft-vmm:x:64003:64003::/nonexistent:/usr/sbin/nologin' >> "$SMOKE_DIR/passwd"
mount --bind "$SMOKE_DIR/group" /etc/group
mount --bind "$SMOKE_DIR/passwd" /etc/passwd
install -m 0600 "$GUEST" "$SMOKE_DIR/kernel" # root's: opened before the machine becomes weft-vmm's
program=$(command -v weft)
as() { # GROUPS COMMAND...
    local groups=$1
    shift
    setpriv --reuid 65534 --regid 65534 --groups "$groups" "$@"
}

rmdir "$WEFT_RUN_DIR" # weftd makes it, with its mode
weftd_start << END
version: 1
tenants:
  acme:
    segments: { web: { mode: isolated } }
    ports: { vm1: { segment: web, vm: { kernel: $SMOKE_DIR/kernel, memory: 32M, cmdline: mode=typed } } }
END
wait_for 'grep -q "typed ready" "$WEFT_RUN_DIR/vm/acme.vm1/console.log"'
directory=$WEFT_RUN_DIR/vm/acme.vm1
pid=$(json 'x["items"][0]["pid"]' weft vm show acme/vm1 -o json)
ids() { awk -v key="$1:" '$1 == key { $1 = ""; print }' "/proc/$pid/status"; }
[[ $(ids Uid) == " 64003 64003 64003 64003" && $(ids Groups) == *" 64001"* && $(ids CapEff) == " 0000000000000000" ]]
[[ $(stat -c %a:%g "$WEFT_RUN_DIR/vm" "$directory") == $'710:64001\n2710:64001' ]]
[[ $(stat -c %a:%g "$directory/console" "$directory/console.log") == $'660:64001\n640:64001' ]]

# group weft uses the console and reads what was said; weft-ro sees that there is a machine; a stranger nothing
echo "from a member" > "$SMOKE_DIR/typed"
smoke_start said as 64001 bash -c '"$0" vm console acme/vm1 < "$1"' "$program" "$SMOKE_DIR/typed"
wait_for 'grep -q "typed text=from a member" "$SMOKE_DIR/said.log"'
expect 0 as 64001 cat "$directory/console.log"
expect 0 as 64002 "$program" vm show acme/vm1
expect 7 as 64002 "$program" vm console acme/vm1
expect 1 as 64002 cat "$directory/console.log"
expect 1 as 65534 cat "$directory/console.log"
expect 7 as 65534 "$program" vm list

# the sockets in root's directory are gone when the machine is, though weft-vmm could not remove them
expect 0 as 64001 "$program" vm stop acme/vm1
[[ ! -e $directory/console && ! -e $directory/control && ! -e /proc/$pid ]]
expect 0 weft vm start acme/vm1
