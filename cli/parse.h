/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * From argv to a cli_context. Options may stand anywhere; names of options are never abbreviated; every
 * complaint names the word, and the way out where there is one.
 */
#include "context.h"

#define CLI_MESSAGE_SIZE 512

/*
 * Returns WEFT_OK, or WEFT_USAGE with a sentence in `message`. The context keeps pointers into argv. `getenv`
 * is asked for WEFT_RUN_DIR and WEFT_TENANT.
 */
int cli_parse(int argc, char **argv, struct cli_context *context, char message[CLI_MESSAGE_SIZE]);

/* Whole seconds from 30, 30s, 5m or 2h; 0 or -EINVAL, -ERANGE (more than a year). */
int cli_parse_duration(const char *text, unsigned *seconds);

int cli_parse_number(const char *text, unsigned long long *number);

/* Whether `word` is one of "a|b|c". */
bool cli_is_choice(const char *word, const char *choices);
