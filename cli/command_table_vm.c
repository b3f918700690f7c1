/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands for machines. See command.h for what is made from this table. */
#include "command_table.h"

#define KEYS_VM "tenants.*.ports.*.vm."
#define OPTION_NO_WAIT                                                                                       \
    {                                                                                                        \
        "no-wait", 0, false, CLI_FLAG, NULL, "do not wait for the machine"                                   \
    }

static const struct cli_option vm_run_options[] = {OPTION_NO_WAIT, OPTION_EXPECT, {NULL}};
static const struct cli_option vm_wait_options[] = {OPTION_NO_WAIT, {NULL}};
static const struct cli_option vm_stop_options[] = {
    {"force", 0, false, CLI_FLAG, NULL, "end it at once, as if its power cord were pulled"},
    OPTION_NO_WAIT,
    {NULL},
};

const struct cli_command cli_vm_commands[] = {
    {.noun = "vm",
     .verb = "list",
     .is_default = true,
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .options = cli_port_list_options,
     .summary = "list machines, with what they do",
     .examples = {"weft vm list -o wide", "weft vm --watch"},
     .run = cmd_object_list},
    {.noun = "vm",
     .verb = "show",
     .common = CLI_OUTPUT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .summary = "show one machine",
     .examples = {"weft vm show acme/vm2"},
     .run = cmd_object_show},
    {.noun = "vm",
     .verb = "run",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .keys = KEYS_VM,
     .options = vm_run_options,
     .summary = "give a port a machine and start it",
     .description = "The machine becomes part of the configuration, like one under the port's vm key in "
                    "weft.yaml(5): it stays, weftd keeps it running and starts it again after a crash, until "
                    "\"weft vm del\". A machine that is there already with the same values, or that is asked "
                    "for without any, is started if it is off; with other values it is a conflict. The "
                    "machine is called like its port. Returns when it runs.",
     .examples =
         {"weft vm run acme/vm1 --kernel vmlinuz --initrd initrd --disk disk.img --memory 512M --cpus 2"},
     .run = cmd_vm_run},
    {.noun = "vm",
     .verb = "set",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .keys = KEYS_VM,
     .options = cli_edit_options,
     .summary = "change a machine; it runs on as it is until \"weft vm restart\"",
     .description = SET_TEXT,
     .examples = {"weft vm set acme/vm2 --memory 1G"},
     .run = cmd_object_set},
    {.noun = "vm",
     .verb = "del",
     .common = CLI_CHANGE | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = cli_edit_options,
     .summary = "take a port's machine away; it is powered off",
     .description = DEL_TEXT " The port stays.",
     .examples = {"weft vm del acme/vm2"},
     .run = cmd_object_del},
    {.noun = "vm",
     .verb = "start",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_wait_options,
     .summary = "start a machine that is off",
     .examples = {"weft vm start acme/vm2"},
     .run = cmd_vm_start},
    {.noun = "vm",
     .verb = "stop",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_stop_options,
     .summary = "power a machine off; it stays off until \"weft vm start\"",
     .description = "Presses the power button. A guest that has not powered off after its stop-timeout "
                    "(weft.yaml(5), 30 s) is ended. The state is kept in the run directory: when the host "
                    "starts again, so does the machine.",
     .examples = {"weft vm stop acme/vm2", "weft vm stop acme/vm2 --force"},
     .run = cmd_vm_stop},
    {.noun = "vm",
     .verb = "restart",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_wait_options,
     .summary = "power a machine off and start it, as the configuration says now",
     .examples = {"weft vm restart acme/vm2"},
     .run = cmd_vm_restart},
    {.noun = "vm",
     .verb = "reset",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .summary = "press a machine's reset button",
     .examples = {"weft vm reset acme/vm2"},
     .run = cmd_vm_reset},
    {.noun = "vm",
     .verb = "pause",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_wait_options,
     .summary = "stop a machine's CPUs until \"weft vm resume\"",
     .examples = {"weft vm pause acme/vm2"},
     .run = cmd_vm_pause},
    {.noun = "vm",
     .verb = "resume",
     .common = CLI_FORMAT | CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .options = vm_wait_options,
     .summary = "let a paused machine run on",
     .examples = {"weft vm resume acme/vm2"},
     .run = cmd_vm_resume},
    {.noun = "vm",
     .verb = "console",
     .common = CLI_IN_TENANT,
     .arguments = NAME_PORT,
     .summary = "use a machine's serial console; Ctrl-] leaves it",
     .description = "Shows the last 64 KiB that the guest said and nobody took, then what it says. Bytes go "
                    "through as they are, in both directions: a guest can do to your terminal what any "
                    "program there can, so that a console of a guest that you do not trust belongs into a "
                    "file. A console has one user; the newest has it. When standard input is not a terminal, "
                    "its end is not the end: output goes on until the machine ends.",
     .examples = {"weft vm console acme/vm2"},
     .run = cmd_vm_console},
    {NULL},
};
