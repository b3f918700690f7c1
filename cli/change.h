/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What changing commands have in common.
 */
#include <jansson.h>

#include "context.h"

/* Sends a change with dry_run and expect_generation as given, and says what changed. Takes `params`. */
int change_run(struct cli_context *context, const char *method, json_t *params);

/* The options given that are keys of weft.yaml, as the API takes them. `is_set`: an empty one takes the key
 * away. */
json_t *change_values(const struct cli_context *context, bool is_set);

/* What was sent was a change: its answer in the format asked for. */
void change_show(const struct cli_context *context, const json_t *result);

/* Lines of `changes`, those that begin with + - ~ as they are. */
void change_print(const struct cli_context *context, const json_t *result);
