/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A configuration (typed tree, schema.h) as YAML text that reads back as the same configuration: keys in the
 * order of the schema, names in their order, every text quoted that another YAML reader could take for
 * something else.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>

char *export_yaml(json_t *config); /* to be freed */
