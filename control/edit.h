/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Edits the typed tree (schema.h) of a configuration: the values of `add` and `set`, and what goes with an
 * object that is deleted. What comes out is checked as a whole afterwards, like a file (apply_tree).
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <jansson.h>
#include "diagnostics.h"

/* Puts `values` (docs/api.md) into `table`, an object whose row of the schema is `row` and that is at `path`.
 * Keys that do not exist are WEFT_USAGE, values that do not fit WEFT_INVALID. A key whose value is null is
 * removed. */
void edit_values(json_t *table, const char *row, const char *path, json_t *values,
                 struct diagnostics *diagnostics);

/* The mapping `key` of `table`, made if it is not there. */
json_t *edit_mapping(json_t *table, const char *key);

/* Whether the key of a table holds objects of their own: a tenant's segments, ports and nat (an uplink's
 * ports are a value). */
bool edit_holds_objects(const char *key, json_t *value);

/* Whether two tables say the same, but for the objects below them (a tenant's segments and ports). */
bool edit_same(json_t *one, json_t *other);

/* Names of what stands in the way of deleting an object, as "port acme/vm1"; an empty array: nothing. */
json_t *edit_tenant_users(json_t *tree, const char *tenant);
json_t *edit_segment_users(json_t *tree, const char *tenant, const char *segment);
json_t *edit_port_users(json_t *tree, const char *tenant, const char *port);
json_t *edit_uplink_users(json_t *tree, const char *uplink);

/* Back to the defaults of address translation; port forwards stay. */
void edit_reset_nat(json_t *nat);
/* Takes away what says nothing in a tenant's `nat`. */
void edit_tidy_nat(json_t *tree, const char *tenant);

/* Delete the object with everything that needs it. A trunk loses a segment, and goes with its last one. */
void edit_delete_tenant(json_t *tree, const char *tenant);
void edit_delete_segment(json_t *tree, const char *tenant, const char *segment);
void edit_delete_port(json_t *tree, const char *tenant, const char *port);
void edit_delete_uplink(json_t *tree, const char *uplink);
