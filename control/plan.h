/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What changes between two configurations (typed trees, schema.h), as lines for a person:
 * "+ segment acme/web mode isolated", "- port acme/vm1", "~ port acme/vm1 queues 1 -> 2".
 *
 * Threads: weftd has one.
 */
#include <jansson.h>

/* Array of strings, empty if nothing changes. */
json_t *plan_changes(json_t *before, json_t *after);
/* The first line, and how many more; to be freed. */
char *plan_summary(json_t *changes);
