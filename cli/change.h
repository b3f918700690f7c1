/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What changing commands have in common.
 */
#include <jansson.h>

#include "context.h"

/* Sends a change with dry_run and expect_generation as given, and says what changed. Takes `params`. */
int change_run(struct cli_context *context, const char *method, json_t *params);

/* Lines of `changes`, those that begin with + - ~ as they are. */
void change_print(const struct cli_context *context, const json_t *result);
