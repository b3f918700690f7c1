/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Numbers of tenants, segments and ports in the dataplane. An object keeps its number for as long as it
 * exists, over restarts of everything: the numbers are stored with the generation. A number that became free
 * is given out again only after all the others, so that nothing confuses a new port with a dead one.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include "model.h"

/* Fills in the model's ids. Returns what to store: {"tenant":{"acme":1},...,"next":{"tenant":2,...}}.
 * `before` is what an earlier call returned, or NULL. NULL: a kind ran out of numbers (the validator's limits
 * prevent it). */
json_t *ids_assign(json_t *before, struct model *model);
