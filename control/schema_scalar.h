/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One scalar of a document to one JSON value, as its row of the schema says. Used by schema.c only.
 *
 * Threads: weftd has one.
 */
#include "schema.h"

/* Where the walk is, and where it reports. */
struct schema_place {
    struct diagnostics *diagnostics;
    char path[SCHEMA_PATH_SIZE]; /* tenants.acme.ports.vm1.mtu */
};

size_t schema_enter(struct schema_place *place, const char *key); /* returns what schema_leave wants */
void schema_leave(struct schema_place *place, size_t length);
void schema_mistake(struct schema_place *place, struct document_position position, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* NULL: mistaken, and said so. */
json_t *schema_scalar(struct schema_place *place, const struct schema_key *row,
                      const struct document_node *node);
/* schema_network.c: the same for addresses, prefixes, ranges and ports. */
json_t *schema_network_scalar(struct schema_place *place, const struct schema_key *row,
                              const struct document_node *node);
