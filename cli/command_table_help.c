/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands for help. See command.h for what is made from this table. */
#include "command_table.h"

const struct cli_command cli_completion_commands[] = {
    {.noun = "completion",
     .arguments = {{"SHELL", CLI_CHOICE, false, "bash"}},
     .summary = "print the completion script of a shell: bash",
     .description =
         "Installed packages load it by themselves. For one shell: source <(weft completion bash).",
     .examples = {"weft completion bash"},
     .run = cmd_completion},
    {NULL},
};

const struct cli_command cli_help_commands[] = {
    {.noun = "help",
     .arguments = {{"COMMAND", CLI_TEXT, true}, {"VERB", CLI_TEXT, true}},
     .summary = "show what a command does and takes; the same as --help",
     .examples = {"weft help", "weft help port add"}}, /* answered by the parser */
    {NULL},
};
