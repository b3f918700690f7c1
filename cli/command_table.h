/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the parts of the table of commands share: a part a group of nouns (command_table_*.c), each noun's
 * commands in the order of help. A noun's list ends with one that has no noun.
 */
#include "command.h"
#include "commands.h"

extern const struct cli_command cli_status_commands[];
extern const struct cli_command cli_drops_commands[];
extern const struct cli_command cli_fdb_commands[];
extern const struct cli_command cli_events_commands[];
extern const struct cli_command cli_doctor_commands[];
extern const struct cli_command cli_bench_commands[];
extern const struct cli_command cli_tenant_commands[];
extern const struct cli_command cli_segment_commands[];
extern const struct cli_command cli_port_commands[];
extern const struct cli_command cli_uplink_commands[];
extern const struct cli_command cli_vm_commands[];
extern const struct cli_command cli_nat_commands[];
extern const struct cli_command cli_forward_commands[];
extern const struct cli_command cli_sessions_commands[];
extern const struct cli_command cli_lease_commands[];
extern const struct cli_command cli_route_commands[];
extern const struct cli_command cli_neighbour_commands[];
extern const struct cli_command cli_config_commands[];
extern const struct cli_command cli_completion_commands[];
extern const struct cli_command cli_help_commands[];

extern const struct cli_option cli_edit_options[];
extern const struct cli_option cli_port_list_options[];

#define OPTION_EXPECT                                                                                        \
    {                                                                                                        \
        "expect-generation", 0, false, CLI_NUMBER, "NUMBER",                                                 \
            "refuse when another change has come in between"                                                 \
    }
#define NAME_PORT                                                                                            \
    {                                                                                                        \
        {                                                                                                    \
            "TENANT/PORT", CLI_PORT                                                                          \
        }                                                                                                    \
    }
#define SET_TEXT                                                                                             \
    "An empty value (as in \"--mac=\") takes the key away, so that its default is in force again."
#define DEL_TEXT "Deleting what does not exist changes nothing and succeeds."
