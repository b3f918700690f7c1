/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Help made from the table of commands: all, of a noun, of a command.
 */
#include <stdio.h>

/* noun NULL: the whole; verb NULL: the noun, or the command where it has no verbs. Both exist. */
void help_print(FILE *out, const char *noun, const char *verb);

/* "weft port add TENANT/PORT [--segment NAME] ..." without the options: "port add TENANT/PORT". */
struct cli_command;
void help_synopsis(FILE *out, const struct cli_command *command);
