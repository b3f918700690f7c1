/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that look: at what passes, at what is wrong, and how fast it is. See command.h for what is made
 * from this table. */
#include "command_table.h"

static const struct cli_option fdb_options[] = {
    {"port", 0, false, CLI_PORT, "PORT", "only addresses behind this port"},
    {NULL},
};
static const struct cli_option drops_options[] = {
    {"port", 0, false, CLI_PORT, "PORT", "only drops at this port"},
    {NULL},
};
static const struct cli_option doctor_options[] = {
    {"fix", 0, false, CLI_FLAG, NULL, "put right what can be put right on this host"},
    {NULL},
};
static const struct cli_option bench_options[] = {
    {"size", 0, false, CLI_TEXT, "SIZES",
     "frame sizes with FCS: 64 to 9216, imix, tso; by commas (default 64,1518)"},
    {"time", 0, false, CLI_DURATION, "TIME", "time for each size (default 5s)"},
    {"all-tenants", 0, false, CLI_FLAG, NULL, "in the first segment of each tenant, all at once"},
    {"direction", 0, false, CLI_CHOICE, "DIRECTION", "one (the default) or both", "one|both"},
    {"flows", 0, false, CLI_NUMBER, "NUMBER", "UDP flows a direction (default 1)"},
    {"macs", 0, false, CLI_NUMBER, "NUMBER", "addresses behind each port (default 1)"},
    {"tagged", 0, false, CLI_FLAG, NULL, "frames carry the segment's tag, through trunk ports"},
    {"rate", 0, false, CLI_NUMBER, "NUMBER", "frames a second for each segment (default: as many as go)"},
    {"loss-free", 0, false, CLI_FLAG, NULL, "search for the highest rate without loss, as RFC 2544 does"},
    {"tolerance", 0, false, CLI_NUMBER, "NUMBER",
     "frames of a million that --loss-free may lose (default 0)"},
    {"no-latency", 0, false, CLI_FLAG, NULL, "throughput only"},
    {"packed", 0, false, CLI_FLAG, NULL, "packed rings"},
    {"report", 0, false, CLI_FILE, "FILE", "also write a report with charts, one HTML file"},
    {NULL},
};
static const struct cli_option events_options[] = {
    {"follow", 0, false, CLI_FLAG, NULL, "go on with new events as they come"},
    {"since", 0, false, CLI_NUMBER, "SEQUENCE", "only events after the one with this sequence number"},
    {NULL},
};

const struct cli_command cli_status_commands[] = {
    {.noun = "status",
     .common = CLI_OUTPUT,
     .summary = "one screen: workers, tenants, ports, warnings",
     .examples = {"weft status", "weft status --watch=2s"},
     .run = cmd_status},
    {NULL},
};

const struct cli_command cli_drops_commands[] = {
    {.noun = "drops",
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = drops_options,
     .summary = "dropped frames by tenant, port and reason, with what each reason means",
     .description = "A frame is counted at the port that sent it (from) when it was dropped before an output "
                    "was chosen, and at the port that it was for (to) when that port could not take it. With "
                    "--watch, the last column says how many came since the screen before.",
     .examples = {"weft drops", "weft drops -T acme --watch"},
     .run = cmd_drops},
    {NULL},
};

const struct cli_command cli_fdb_commands[] = {
    {.noun = "fdb",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT, true}},
     .options = fdb_options,
     .summary = "list learned and static addresses",
     .examples = {"weft fdb list acme/web", "weft fdb list --port acme/vm1 -o json"},
     .run = cmd_fdb_list},
    {.noun = "fdb",
     .verb = "flush",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT, true}},
     .options = fdb_options,
     .summary = "forget learned addresses: of a segment, of a port, or all",
     .examples = {"weft fdb flush acme/web", "weft fdb flush --port acme/vm1 --dry-run"},
     .run = cmd_fdb_flush},
    {NULL},
};

const struct cli_command cli_events_commands[] = {
    {.noun = "events",
     .common = CLI_FORMAT,
     .options = events_options,
     .summary = "what happened: ports up and down, configuration, the dataplane",
     .description = "With -o json each event is one line.",
     .examples = {"weft events", "weft events --follow -o json"},
     .run = cmd_events},
    {NULL},
};

const struct cli_command cli_doctor_commands[] = {
    {.noun = "doctor",
     .common = CLI_FORMAT,
     .options = doctor_options,
     .summary = "check this host and weft, and say what would make it work or faster",
     .description = "Works without a running weftd as well: then the checks of the host are made by weftd "
                    "--doctor. Exits 1 when a check failed.",
     .examples = {"weft doctor", "weft doctor -o json"},
     .run = cmd_doctor},
    {NULL},
};

const struct cli_command cli_bench_commands[] = {
    {.noun = "bench",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT, true}, {"TO", CLI_SEGMENT, true}},
     .options = bench_options,
     .summary = "measure throughput and latency inside a segment, between two, or of all tenants at once",
     .description =
         "Adds two ports to the segment for as long as it runs, sends frames from one to the other as fast "
         "as they are taken, then at parts of that rate for the latency (at 10, 50 and 90 percent; the table "
         "shows that at 50). Guests of the segment share the switch with it. LIMIT says what held the rate "
         "down: the switch, or the generator, whose figure then says nothing about the switch.",
     .examples = {"weft bench acme/web --size 64,512,1518 --time 5s -o json",
                  "weft bench --all-tenants --time 1s --report bench.html"},
     .run = cmd_bench},
    {NULL},
};
