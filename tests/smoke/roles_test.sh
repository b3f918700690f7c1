#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   root, a member of group weft, one of weft-ro, a stranger ---- weftd
#
# Who may do what, by the credentials of the socket; the groups exist in a mount namespace of the test only.
if [[ ${1:-} != inside ]]; then
    . "$(dirname "$0")/lib.sh"
    smoke_need root weftd weft-dataplane setpriv unshare
    trap - EXIT
    rm -rf "$SMOKE_DIR"
    exec unshare --mount "$0" inside
fi
. "$(dirname "$0")/lib.sh"
chmod 0755 "$SMOKE_DIR" # strangers come as far as the run dir
sed -e '/^weft\(-ro\)\?:/d' /etc/group > "$SMOKE_DIR/group"
printf 'weft:x:64001:\nweft-ro:x:64002:\n' >> "$SMOKE_DIR/group"
mount --bind "$SMOKE_DIR/group" /etc/group
program=$(command -v weft)
as() { # GROUPS COMMAND...
    local groups=$1
    shift
    setpriv --reuid 65534 --regid 65534 --groups "$groups" "$program" "$@"
}

cd "$SMOKE_DIR"
rmdir run # weftd makes it, with its mode
run_dir=$WEFT_RUN_DIR
WEFT_RUN_DIR=run weftd_start << 'END'
version: 1
tenants: { acme: { segments: { web: { mode: isolated } }, ports: { vm1: { segment: web } } } }
END
[[ $(stat -c %a:%g run) == 710:64001 ]]
[[ $(stat -c %a:%g run/api.sock) == 660:64001 ]]
wait_for '[[ $(stat -c %a:%g run/vhost/acme.vm1) == 660:64001 ]]'
[[ $(weft port show acme/vm1 -o json) == *"\"$run_dir/vhost/acme.vm1\""* ]] # absolute, whatever was given

for who in 64001 64001,64002; do
    expect 0 as "$who" port add acme/vm2 --segment web
done
expect 0 as 64002 port list
expect 0 as 64002 status
expect 0 as 64002 vm list
for change in "port add acme/vm3 --segment web" "port set acme/vm1 --mtu 9000" "tenant del acme --cascade" \
    "config rollback" "config confirm" "fdb flush" "doctor --fix" "vm run acme/vm1 --kernel /k" "vm start acme/vm1" \
    "vm stop acme/vm1" "vm pause acme/vm1" "vm console acme/vm1"; do
    # shellcheck disable=SC2086 # words
    expect 7 as 64002 $change
    expect_text "$ERR" "not permitted"
done
expect 7 as 65534 port list
[[ $(weft port -o name | wc -l) == 2 ]]
weftd_stop
