/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nouns of weft, whose commands are in command_table_*.c, and the options that commands share. See
 * command.h for what is made from these tables.
 *
 * Examples are run by tests/smoke/cli_examples_test.sh against a weftd that holds tenant acme with the
 * segments web, lab (bridged, VLAN 120, uplink lan0) and app (nat, uplink lan0), the ports vm1, vm2 and, in
 * app, vm5, and weft.yaml in the working directory.
 */
#include "command_table.h"

#include <string.h>

const struct cli_noun cli_nouns[] = {
    {"status", "Look", NULL, cli_status_commands},
    {"drops", "Look", NULL, cli_drops_commands},
    {"fdb", "Look", "addresses that segments have learned", cli_fdb_commands},
    {"events", "Look", NULL, cli_events_commands},
    {"doctor", "Look", NULL, cli_doctor_commands},
    {"bench", "Look", NULL, cli_bench_commands},
    {"tenant", "Wire guests", "owners of segments and ports; tenants never hear each other",
     cli_tenant_commands},
    {"segment", "Wire guests", "a tenant's layer 2 networks", cli_segment_commands},
    {"port", "Wire guests", "a tenant's ports, one for each network card of a guest", cli_port_commands},
    {"uplink", "Wire guests", "ways to the physical network", cli_uplink_commands},
    {"vm", "Wire guests", "machines at ports, which weftd keeps running with weft-vmm(1)", cli_vm_commands},
    {"nat", "Ways out", "how the addresses of segments of mode nat are translated", cli_nat_commands},
    {"forward", "Ways out", "ports of the outside that lead to a guest", cli_forward_commands},
    {"sessions", "Ways out", "what address translation translates now", cli_sessions_commands},
    {"lease", "Ways out", "addresses that guests were given by DHCP", cli_lease_commands},
    {"route", "Ways out", "where the routers send what", cli_route_commands},
    {"neighbour", "Ways out", "who has which address, as the routers know it", cli_neighbour_commands},
    {"config", "Configure", "the whole configuration, as one document with numbered generations",
     cli_config_commands},
    {"completion", "Help", NULL, cli_completion_commands},
    {"help", "Help", NULL, cli_help_commands},
    {NULL},
};

/* Words of the documented language whose commands are not in this version. */
static const char *const reserved_words[] = {"top", "trace", "reach", "capture", "flow", "tunnel", "mirror"};

const struct cli_option cli_global_options[] = {
    {"run-dir", 0, false, CLI_FILE, "DIR",
     "run directory of the weftd to talk to (default $WEFT_RUN_DIR or /run/weft)"},
    {"timeout", 0, false, CLI_DURATION, "TIME", "wait at most so long for weftd's answer (default 30s)"},
    {"help", 'h', false, CLI_FLAG, NULL, "show help and exit"},
    {"version", 0, false, CLI_FLAG, NULL, "show weft's version and exit"},
    {NULL},
};
const struct cli_option cli_output_options[] = {
    {"output", 'o', false, CLI_CHOICE, "FORMAT", "text, wide (all columns, exact numbers), json or name",
     "text|wide|json|name"},
    {NULL},
};
const struct cli_option cli_watch_options[] = {
    {"watch", 0, true, CLI_DURATION, "TIME", "show it again and again, every second or every TIME"},
    {NULL},
};
const struct cli_option cli_change_options[] = {
    {"dry-run", 0, false, CLI_FLAG, NULL, "say what would change, and change nothing"},
    {NULL},
};
const struct cli_option cli_tenant_options[] = {
    {"tenant", 'T', false, CLI_TENANT, "TENANT",
     "tenant of names without one, and of lists (default $WEFT_TENANT)"},
    {NULL},
};

const struct cli_option cli_edit_options[] = {OPTION_EXPECT, {NULL}};
const struct cli_option cli_port_list_options[] = {
    {"segment", 0, false, CLI_SEGMENT, "SEGMENT", "only the ports of this segment"},
    {NULL},
};

bool cli_word_is_reserved(const char *word)
{
    for (size_t i = 0; i < sizeof(reserved_words) / sizeof(reserved_words[0]); i++)
        if (strcmp(reserved_words[i], word) == 0)
            return true;
    return false;
}
