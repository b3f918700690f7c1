/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A configuration document before it has types: mappings, sequences and scalars that are text, each with the
 * line and column where it was written. Made from YAML (config_yaml.c) or from JSON (values of an API
 * request, without positions). All nodes live in the document and go with it.
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

#define DOCUMENT_DEPTH_MAX 12u
#define DOCUMENT_NODES_MAX 200000u

enum document_kind { DOCUMENT_SCALAR, DOCUMENT_SEQUENCE, DOCUMENT_MAPPING };

struct document_position {
    unsigned line;   /* 1..; 0: unknown */
    unsigned column; /* 1.. */
};

struct document_node {
    enum document_kind kind;
    struct document_position position;     /* of the value */
    struct document_position key_position; /* in a mapping */
    const char *key;                       /* in a mapping; NUL-terminated, has no NUL inside */
    const char *text;                      /* scalar; the same */
    bool null;                             /* scalar: nothing, ~ or null without quotes */
    struct document_node *first, *last;    /* children */
    struct document_node *next;            /* sibling */
    unsigned child_count;
};

struct document;

struct document *document_new(void); /* never NULL: out of memory ends the process */
void document_free(struct document *document);
struct document_node *document_root(const struct document *document); /* NULL: none yet */
void document_set_root(struct document *document, struct document_node *root);

/* NULL when DOCUMENT_NODES_MAX is reached. */
struct document_node *document_add(struct document *document, struct document_node *parent,
                                   enum document_kind kind);
const char *document_text(struct document *document, const char *text, size_t size); /* a copy that it owns */

const struct document_node *document_child(const struct document_node *mapping, const char *key);

/* "tenants.acme.ports.vm1" below root ("forwards.0" in a sequence); *deepest, if not NULL, is the innermost
 * part of it that exists. */
const struct document_node *document_find(const struct document_node *root, const char *path,
                                          const struct document_node **deepest);

/* NULL: too deep, too large, or text with a NUL inside. */
struct document *document_from_json(json_t *json);
