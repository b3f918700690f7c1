/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What reading commands that print weftd's answer as it is have in common.
 */
#include <jansson.h>

#include "context.h"
#include "output.h"

/* Asks with `params` (which it takes) and prints the items of the answer. The exit code. */
int show_items(struct cli_context *context, const char *method, json_t *params, const struct column *columns);
/* The same of an answer that is there. */
void show_result(const struct cli_context *context, const json_t *result, const struct column *columns);
/* Text and wide: says that a list has no items, and how to make one; on standard error, or on the screen of
 * --watch. */
void show_nothing(const struct cli_context *context, const json_t *items);
/* The same as show_items() where the answer is a text. */
int show_text(struct cli_context *context, const char *method, json_t *params);
