#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A file with mistakes changes nothing, and all of its mistakes are said at once, each with file, line and column.
#
#   acme/vm1 --- acme/web --- acme/vm2        (one weftd; nobody is connected)
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane python3
weftd_start << 'EOF'
version: 1
tenants:
  acme:
    segments: { web: { mode: isolated } }
    ports:
      vm1: { segment: web, mac: "52:54:00:00:00:01" }
      vm2: { segment: web }
EOF
wait_for converged
before=$(weft config export)
generation=$(json 'x["controller"]["generation"]' weft status -o json)
pid=$(dataplane_pid)

cat > "$SMOKE_DIR/bad.yaml" << 'EOF'
version: 1
tennants: {}
tenants:
  acme:
    limits: { ports: 1 }
    segments:
      web: { mode: isolatde }
      far: { mode: isolated, vni: 100 }
    ports:
      vm1: { segment: wbe, queues: 99 }
      vm2: { segment: far, mac: 01:00:00:00:00:01, ip: [10.0.0.1, 10.0.0.300] }
  Beta: {}
EOF
for verb in "diff -f" "apply -f"; do
    # shellcheck disable=SC2086 # two words
    expect 6 weft config $verb "$SMOKE_DIR/bad.yaml"
    for mistake in '2:1: tennants: unknown key; did you mean "tenants"?' '5:22: ' '7:20: *did you mean "isolated"?' \
        '8:30: *not built' '10:23: *has no segment "wbe"; did you mean "web"?' '10:36: *99*out of range 1 to 8' \
        '11:33: *unicast' '11:67: *10.0.0.300' '12:3: *1 to 31'; do
        expect_text "$ERR" "bad.yaml:$mistake"
    done
done
expect 6 weft config apply -f - <<< 'version: 1
tenants: {a: [}'
expect_text "$ERR" ":2:15: not YAML"
expect 6 weft config apply -f - <<< ''
expect 6 weft config apply -f - <<< 'version: 1
x: &a 1
y: *a'

[[ $(weft config export) == "$before" ]]
[[ $(json 'x["controller"]["generation"]' weft status -o json) == "$generation" ]]
[[ $(dataplane_pid) == "$pid" ]]
port_is acme/vm1 down

# A weftd that is started with such a file keeps what was in force; one that has nothing yet does not start.
weftd_stop
cp "$SMOKE_DIR/bad.yaml" "$SMOKE_DIR/weft.yaml"
allow_log 'weft\.yaml'
weftd_start "$SMOKE_DIR/weft.yaml"
wait_for converged
[[ $(weft config export) == "$before" ]]
expect_text "$(weft status -o json)" "is invalid"
expect 6 weftd --config "$SMOKE_DIR/bad.yaml" --run-dir "$SMOKE_DIR/other" --state-dir "$SMOKE_DIR/other-state"
expect_text "$ERR" "bad.yaml:12:3: "
