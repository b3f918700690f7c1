#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
#   weftd --dataplane-unit ----> systemctl (of the test) ----> weft-dataplane, with the options of dataplane.env
#
# Under systemd the dataplane is a unit: weftd has systemd start it, at first, when it died and when other cores are wanted,
# and what it is started with next is in the file that the unit reads. The units say the same.
. "$(dirname "$0")/lib.sh"
smoke_need root weftd weft-dataplane setsid
unit=weft-dataplane.service
options=$WEFT_STATE_DIR/dataplane.env

# The first request goes unheard, like one that comes before systemd knows that the process before has ended.
mkdir "$SMOKE_DIR/bin"
cat > "$SMOKE_DIR/bin/systemctl" << SCRIPT
#!/usr/bin/env bash
echo "\$*" >> $SMOKE_DIR/asked
exec 9> $SMOKE_DIR/unit.lock
flock 9
[[ \$(wc -l < $SMOKE_DIR/asked) != 1 ]] || exit 0
read -r pid < $WEFT_RUN_DIR/dataplane.lock && [[ -e /proc/\$pid/exe ]] && exit 0
setsid weft-dataplane --run-dir $WEFT_RUN_DIR \$(sed -n 's/^WEFT_DATAPLANE_OPTIONS=//p' $options) \\
    >> $SMOKE_DIR/dataplane.log 2>&1 9>&- &
echo \$! > $WEFT_RUN_DIR/dataplane.lock
SCRIPT
chmod +x "$SMOKE_DIR/bin/systemctl"
: > "$WEFT_RUN_DIR/dataplane.lock"
PATH=$SMOKE_DIR/bin:$PATH

options_are() { [[ $(< "$options") == "WEFT_DATAPLANE_OPTIONS=$1" ]]; }
runs_with() { tr '\0' ' ' < "/proc/$(dataplane_pid)/cmdline" | grep -q -- "--run-dir $WEFT_RUN_DIR $1 \$"; }

weftd_start "" --dataplane-unit $unit <<< 'version: 1'
wait_for converged
options_are "--hugepages auto"
runs_with "--hugepages auto"
[[ $(sort -u "$SMOKE_DIR/asked") == "--no-block --quiet start $unit" ]]
[[ $(json 'x["dataplane"]["adopted"]' weft status -o json) == False ]]

# it dies: another one, by the same way
pid=$(dataplane_pid)
allow_log 'dataplane-lost'
kill -9 "$pid"
wait_for "[[ \$(dataplane_pid) != $pid ]] && converged"
[[ $(json 'x["dataplane"]["restarts"]' weft status -o json) == 1 ]]

# other cores
core=$(python3 -c 'import os; print(min(os.sched_getaffinity(0)))')
printf 'version: 1\ndataplane: { cores: [%s], hugepages: never }\n' "$core" > "$SMOKE_DIR/cores.yaml"
expect 0 weft config apply "$SMOKE_DIR/cores.yaml"
wait_for converged
options_are "--cores $core --hugepages never"
runs_with "--cores $core --hugepages never"

# without --keep-dataplane an orderly stop ends both, with it weftd alone; the next weftd adopts what it finds
pid=$(dataplane_pid)
weftd_stop
[[ ! -e /proc/$pid/exe ]]
weftd_start "$SMOKE_DIR/weft.yaml" --dataplane-unit $unit --keep-dataplane
wait_for converged
pid=$(dataplane_pid)
runs_with "--cores $core --hugepages never"
weftd_stop
[[ -e /proc/$pid/exe ]]
weftd_start "$SMOKE_DIR/weft.yaml" --dataplane-unit $unit
[[ $(dataplane_pid) == "$pid" ]]
kill "$pid" # so that what the test's end stops is one that this weftd asked for
wait_for "[[ \$(dataplane_pid) != $pid ]] && converged"

# the units that are installed ask for this, and forbid nothing that machines need
packaging=$SMOKE_SOURCE/packaging
grep -q -- "^ExecStart=.* --keep-dataplane --dataplane-unit $unit\$" "$packaging/weftd.service.in"
grep -q '^EnvironmentFile=-/var/lib/weft/dataplane.env$' "$packaging/$unit.in"
grep -q '^ExecStart=.* \$WEFT_DATAPLANE_OPTIONS$' "$packaging/$unit.in"
for setting in ProtectHome ProtectClock RestrictSUIDSGID; do
    [[ $(grep -c "^$setting=" "$packaging/weftd.service.in") == 0 ]]
done
