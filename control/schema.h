/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Types of the configuration's keys (the table is control/api/weft_keys.h) and the pass that makes a typed
 * tree of a document: numbers become numbers, addresses and names take their one spelling, lists are lists,
 * what was not said stays out. That tree (JSON) is what weftd stores, compares and edits.
 *
 * Threads: weftd has one.
 */
#include <stdint.h>
#include <jansson.h>
#include "diagnostics.h"
#include "document.h"

#define SCHEMA_PATH_SIZE 256u

enum schema_type {
    SCHEMA_TABLE,
    SCHEMA_NAMED,
    SCHEMA_BOOL,
    SCHEMA_INTEGER,
    SCHEMA_COUNT,
    SCHEMA_SECONDS,
    SCHEMA_CHOICE,
    SCHEMA_NAME,
    SCHEMA_NAMES,
    SCHEMA_INTEGERS,
    SCHEMA_MAC,
    SCHEMA_ADDRESSES,
    SCHEMA_PATH,
    SCHEMA_PATHS,
    SCHEMA_TEXT,
    SCHEMA_SIZE,
    SCHEMA_INTERFACE,
    SCHEMA_DEVICE,
    SCHEMA_STATICS,
    SCHEMA_ADDRESS,
    SCHEMA_SUBNETS,
    SCHEMA_PREFIXES,
    SCHEMA_RANGE,
    SCHEMA_PORTS,
    SCHEMA_TARGET,
    SCHEMA_POOL,
    SCHEMA_PINS,
    SCHEMA_DOMAIN,
    SCHEMA_TABLES,
    SCHEMA_ANY,
};

struct schema_key {
    const char *path;
    enum schema_type type;
    int64_t minimum, maximum;
    const char *choices;
    const char *fallback;
    const char *refused;
    const char *help;
};

extern const struct schema_key schema_keys[];
extern const unsigned schema_key_count;

/* The row of `key` below `parent` ("" for the top), with * for names: ("tenants.*.ports.*", "mtu"). NULL:
 * none. */
const struct schema_key *schema_find(const char *parent, const char *key);
/* The key below `parent` that is most like `key`; NULL: none. */
const char *schema_nearest(const char *parent, const char *key);

/* The typed tree, or NULL if the document is no mapping; mistakes are added to diagnostics, and what is
 * mistaken is left out of the tree. */
json_t *schema_check(const struct document_node *root, struct diagnostics *diagnostics);

/* One value of an API request, typed: what the YAML would hold below `row`, or its text; a list may be text
 * with commas. `path` is the key's, for messages. NULL: mistaken, and said so. */
json_t *schema_value(const struct schema_key *row, json_t *value, const char *path,
                     struct diagnostics *diagnostics);
