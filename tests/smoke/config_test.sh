#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   weft (several at once) ---- weftd ---- weft-dataplane
#
# The configuration as a transaction: an invalid document changes nothing and says everything that is wrong with it; two
# writers lose nothing; a generation that is not confirmed goes, also over a restart; a full disk changes nothing.
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane python3
state_mounted=no
full_disk_end()
{
    local code=$?
    [[ $state_mounted == no ]] || umount -l "$WEFT_STATE_DIR"
    (exit "$code")
    smoke_end
}
trap full_disk_end EXIT
generation() { json 'x["controller"]["generation"]' weft status -o json; }
names() { weft port -o name | sort | tr '\n' ' '; }

weftd_start << 'END'
version: 1
tenants:
  acme:
    limits: { ports: 60 }
    segments: { web: { mode: isolated, vlan: 10 }, lab: { mode: isolated, vlan: 20 } }
    ports: { vm1: { segment: web, mac: "52:54:00:00:00:01" }, vm2: { segment: web } }
END
[[ $(generation) == 1 ]]

# everything that is wrong, with its place; nothing changed
cat > "$SMOKE_DIR/bad.yaml" << 'END'
version: 1
tenants:
  acme:
    segmets: {}
    segments: { web: { mode: isolated, vlan: 5000 } }
    ports:
      vm1: { segment: wbe, queues: many }
      vm1: { segment: web }
END
expect 6 weft config apply -f "$SMOKE_DIR/bad.yaml"
expect_text "$ERR" "bad.yaml:8:7: vm1: key appears twice"
sed -i '$d' "$SMOKE_DIR/bad.yaml"
expect 6 weft config apply -f "$SMOKE_DIR/bad.yaml"
for text in '4:5: tenants.acme.segmets: unknown key; did you mean "segments"?' '5:46: tenants.acme.segments.web.vlan' \
    '7:23: tenants.acme.ports.vm1.segment: tenant acme has no segment "wbe"; did you mean "web"?' \
    '7:36: tenants.acme.ports.vm1.queues: "many" is not a number'; do
    expect_text "$ERR" "bad.yaml:$text"
done
[[ $(generation) == 1 && $(names) == "acme/vm1 acme/vm2 " ]]

# many writers at once: each is there in the end, one generation each
for i in {1..20}; do
    weft port add "acme/many$i" --segment web > /dev/null &
    writers[i]=$!
done
for i in {1..20}; do wait "${writers[i]}"; done
[[ $(generation) == 21 && $(weft port -o name | grep -c many) == 20 ]]
expect 4 weft port add acme/late --segment web --expect-generation 20
expect 9 weft tenant set acme --ports 5
expect 0 weft config rollback 1
[[ $(names) == "acme/vm1 acme/vm2 " ]]

# confirm: by itself back, by hand kept, over a restart
weft config export > "$SMOKE_DIR/one.yaml"
sed 's/vm2:/vm3:/' "$SMOKE_DIR/one.yaml" > "$SMOKE_DIR/two.yaml"
expect 10 weft config diff -f "$SMOKE_DIR/two.yaml"
expect 0 weft config apply -f "$SMOKE_DIR/two.yaml" --confirm-within 1s
[[ $(names) == "acme/vm1 acme/vm3 " ]]
expect 4 weft port add acme/other --segment web
expect_text "$ERR" "waits to be confirmed"
allow_log 'was not confirmed in time'; wait_for '[[ $(names) == "acme/vm1 acme/vm2 " ]]' 5
expect 4 weft config confirm
expect 0 weft config apply -f "$SMOKE_DIR/two.yaml" --confirm-within 1h
expect 0 weft config confirm
expect 0 weft config rollback
expect 0 weft config apply -f "$SMOKE_DIR/two.yaml" --confirm-within 1s
weftd_kill
weftd_start "$SMOKE_DIR/weft.yaml"
wait_for '[[ $(names) == "acme/vm1 acme/vm2 " ]]' 5

# the file is applied at a start when it changed, and only then
expect 0 weft port add acme/kept --segment lab
weftd_stop
weftd_start "$SMOKE_DIR/weft.yaml"
[[ $(names) == "acme/kept acme/vm1 acme/vm2 " ]]
weftd_stop

# full disk: the message names the file, nothing changed
mount -t tmpfs -o size=96k tmpfs "$WEFT_STATE_DIR" && state_mounted=yes
weftd_start "$SMOKE_DIR/weft.yaml"
head -c 200000 /dev/zero > "$WEFT_STATE_DIR/filler" 2> /dev/null || true
expect 1 weft port add acme/toomuch --segment lab
expect_text "$ERR" "$WEFT_STATE_DIR/"
expect_text "$ERR" "No space left on device"
[[ $(names) == "acme/vm1 acme/vm2 " && $(generation) == 1 ]]
rm "$WEFT_STATE_DIR/filler"
expect 0 weft port add acme/fits --segment lab
