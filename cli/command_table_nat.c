/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands for ways out: address translation and routers. See command.h for what is made from this table. */
#include "command_table.h"

static const struct cli_option sessions_options[] = {
    {"segment", 0, false, CLI_SEGMENT, "SEGMENT", "only those of this segment"},
    {"port", 0, false, CLI_PORT, "PORT", "only those of this port's addresses"},
    {"limit", 0, false, CLI_NUMBER, "NUMBER", "show so many at most (default 1000)"},
    {NULL},
};
static const struct cli_option lease_options[] = {
    {"segment", 0, false, CLI_SEGMENT, "SEGMENT", "only those of this segment"},
    {"port", 0, false, CLI_PORT, "PORT", "only those of this port"},
    {NULL},
};
static const struct cli_option forward_options[] = {
    {"address", 0, false, CLI_TEXT, "ADDRESS", "outside address (default: the first of the segment's)"},
    OPTION_EXPECT,
    {NULL},
};

#define KEYS_NAT "tenants.*.nat.*."
#define PROTO_ARGUMENT                                                                                       \
    {                                                                                                        \
        "PROTO", CLI_CHOICE, false, "tcp|udp",                                                               \
            "other protocols have no ports: \"weft nat set SEGMENT --one-to-one PORT=ADDRESS\" gives a "     \
            "port "                                                                                          \
            "an outside address of its own"                                                                  \
    }
#define NAT_TEXT                                                                                             \
    "The segment is of mode nat. --one-to-one adds or changes the ports that it names; PORT= takes one "     \
    "away, --one-to-one= all. How many sessions there may be is the tenant's matter: \"weft tenant set "     \
    "TENANT --sessions 200k\"."

const struct cli_command cli_nat_commands[] = {
    {.noun = "nat",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .summary = "list segments of mode nat, with what they are translated to",
     .examples = {"weft nat list", "weft nat -T acme -o json"},
     .run = cmd_object_list},
    {.noun = "nat",
     .verb = "show",
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT}},
     .summary = "show the address translation of one segment",
     .examples = {"weft nat show acme/app"},
     .run = cmd_object_show},
    {.noun = "nat",
     .verb = "set",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT}},
     .keys = KEYS_NAT,
     .options = cli_edit_options,
     .summary = "change the address translation of a segment: outside addresses, 1:1 addresses, filtering",
     .description = NAT_TEXT " " SET_TEXT,
     .examples = {"weft nat set acme/app --address 203.0.113.7,203.0.113.8",
                  "weft nat set acme/app --one-to-one vm5=203.0.113.9",
                  "weft nat set acme/app --address= --one-to-one vm5= --dry-run"},
     .run = cmd_object_set},
    {.noun = "nat",
     .verb = "del",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT}},
     .options = cli_edit_options,
     .summary = "go back to the defaults: the uplink's address, no 1:1 addresses; port forwards stay",
     .description = DEL_TEXT,
     .examples = {"weft nat del acme/app"},
     .run = cmd_object_del},
    {NULL},
};

const struct cli_command cli_forward_commands[] = {
    {.noun = "forward",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT, true}},
     .summary = "list port forwards",
     .examples = {"weft forward list", "weft forward list acme/app -o json"},
     .run = cmd_forward_list},
    {.noun = "forward",
     .verb = "add",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT}, PROTO_ARGUMENT, {"PORT", CLI_TEXT}, {"TO", CLI_TEXT}},
     .options = forward_options,
     .summary = "let a port of the outside lead to a guest: TO is PORT:NUMBER, like vm2:443",
     .description =
         "The segment is of mode nat, and the port has an ip in its subnet. Ports are numbers from 1 "
         "to 65535. Several ports are "
         "FIRST-LAST, which lead to as many from NUMBER on. Adding what is there changes nothing; "
         "with another guest it is a conflict.",
     .examples = {"weft forward add acme/app tcp 8443 vm5:443",
                  "weft forward add acme/app udp 5000-5010 vm5:6000 --dry-run"},
     .run = cmd_forward_add},
    {.noun = "forward",
     .verb = "del",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = {{"TENANT/SEGMENT", CLI_SEGMENT}, PROTO_ARGUMENT, {"PORT", CLI_TEXT}},
     .options = forward_options,
     .summary = "delete a port forward",
     .description = DEL_TEXT,
     .examples = {"weft forward del acme/app tcp 8443"},
     .run = cmd_forward_del},
    {NULL},
};

const struct cli_command cli_sessions_commands[] = {
    {.noun = "sessions",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = sessions_options,
     .summary = "list translated sessions: guest, outside address, the other end",
     .examples = {"weft sessions list -T acme", "weft sessions --segment acme/app --limit 10 -o json"},
     .run = cmd_sessions_list},
    {NULL},
};

const struct cli_command cli_lease_commands[] = {
    {.noun = "lease",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = lease_options,
     .summary = "list addresses that guests were given by DHCP",
     .examples = {"weft lease list", "weft lease list --segment acme/app"},
     .run = cmd_lease_list},
    {NULL},
};

const struct cli_command cli_route_commands[] = {
    {.noun = "route",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .summary = "list routes of the tenants' routers and of the outside",
     .description = "Those of an uplink that is shared with the host are the host's own (ip route). What a "
                    "segment of mode nat sends elsewhere than to the tenant's own networks leaves by its "
                    "uplink, translated: that is its route 0.0.0.0/0.",
     .examples = {"weft route list", "weft route -T acme"},
     .run = cmd_route_list},
    {NULL},
};

const struct cli_command cli_neighbour_commands[] = {
    {.noun = "neighbour",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .summary = "list neighbours of the routers, those of uplinks as the host's kernel has them",
     .examples = {"weft neighbour list"},
     .run = cmd_neighbour_list},
    {NULL},
};
