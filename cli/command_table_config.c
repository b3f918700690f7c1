/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands for the configuration as a whole. See command.h for what is made from this table. */
#include "command_table.h"

#define DOCUMENT_ARGUMENT                                                                                    \
    {                                                                                                        \
        {                                                                                                    \
            "FILE", CLI_FILE, true                                                                           \
        }                                                                                                    \
    }

static const struct cli_option document_options[] = {
    {"file", 'f', false, CLI_FILE, "FILE", "the document, - for standard input (instead of the argument)"},
    {NULL},
};
static const struct cli_option apply_options[] = {
    {"file", 'f', false, CLI_FILE, "FILE", "the document, - for standard input (instead of the argument)"},
    {"confirm-within", 0, false, CLI_DURATION, "TIME",
     "go back to the generation before unless \"weft config confirm\" comes within TIME"},
    OPTION_EXPECT,
    {NULL},
};

const struct cli_command cli_config_commands[] = {
    {.noun = "config",
     .verb = "diff",
     .common = CLI_FORMAT,
     .arguments = DOCUMENT_ARGUMENT,
     .options = document_options,
     .summary = "what applying a document would change; exits 10 when it would, 0 when not",
     .examples = {"weft config diff weft.yaml"},
     .run = cmd_config_diff},
    {.noun = "config",
     .verb = "apply",
     .common = CLI_CHANGE,
     .arguments = DOCUMENT_ARGUMENT,
     .options = apply_options,
     .summary = "make a document the configuration, all of it or, when anything is wrong, nothing",
     .description = "The document is checked as a whole and every mistake is reported at once with file, "
                    "line and column (exit code 6). Objects that it does not name are removed.",
     .examples = {"weft config apply weft.yaml", "weft config apply -f weft.yaml --confirm-within 60s"},
     .run = cmd_config_apply},
    {.noun = "config",
     .verb = "confirm",
     .common = CLI_FORMAT,
     .summary = "keep what was applied with --confirm-within",
     .examples = {"weft config confirm"},
     .run = cmd_config_confirm},
    {.noun = "config",
     .verb = "rollback",
     .common = CLI_CHANGE,
     .arguments = {{"GENERATION", CLI_NUMBER, true}},
     .summary = "go back to a generation (default: the one before), as a new generation",
     .examples = {"weft config rollback --dry-run"},
     .run = cmd_config_rollback},
    {.noun = "config",
     .verb = "history",
     .is_default = true,
     .common = CLI_OUTPUT,
     .summary = "list generations: when, by whom, what changed",
     .examples = {"weft config history"},
     .run = cmd_config_history},
    {.noun = "config",
     .verb = "export",
     .common = CLI_FORMAT,
     .arguments = {{"GENERATION", CLI_NUMBER, true}},
     .summary = "print the configuration as a YAML document (default: the one in force)",
     .examples = {"weft config export"},
     .run = cmd_config_export},
    {NULL},
};
