/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "document.h"

#define BLOCK_SIZE 65536u

/* Nodes and texts are carved from blocks that are freed together. */
struct block {
    struct block *next;
    size_t used, size;
    _Alignas(max_align_t) char data[];
};

struct document {
    struct document_node *root;
    struct block *blocks;
    unsigned node_count;
};

static void *document_alloc(struct document *document, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    struct block *block = document->blocks;
    if (!block || block->size - block->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        block = malloc(sizeof(*block) + room);
        if (!block)
            abort();
        *block = (struct block){.next = document->blocks, .size = room};
        document->blocks = block;
    }
    void *memory = block->data + block->used;
    block->used += size;
    return memset(memory, 0, size);
}

struct document *document_new(void)
{
    struct document *document = calloc(1, sizeof(*document));
    if (!document)
        abort();
    return document;
}

void document_free(struct document *document)
{
    if (!document)
        return;
    while (document->blocks) {
        struct block *next = document->blocks->next;
        free(document->blocks);
        document->blocks = next;
    }
    free(document);
}

struct document_node *document_root(const struct document *document)
{
    return document->root;
}

void document_set_root(struct document *document, struct document_node *root)
{
    document->root = root;
}

struct document_node *document_add(struct document *document, struct document_node *parent,
                                   enum document_kind kind)
{
    if (document->node_count == DOCUMENT_NODES_MAX)
        return NULL;
    document->node_count++;
    struct document_node *node = document_alloc(document, sizeof(*node));
    node->kind = kind;
    if (parent) {
        if (parent->last)
            parent->last->next = node;
        else
            parent->first = node;
        parent->last = node;
        parent->child_count++;
    }
    return node;
}

const char *document_text(struct document *document, const char *text, size_t size)
{
    char *copy = document_alloc(document, size + 1);
    memcpy(copy, text, size);
    return copy;
}

const struct document_node *document_child(const struct document_node *mapping, const char *key)
{
    if (!mapping || mapping->kind != DOCUMENT_MAPPING)
        return NULL;
    for (const struct document_node *child = mapping->first; child; child = child->next) {
        if (strcmp(child->key, key) == 0)
            return child;
    }
    return NULL;
}

/* "0", "1": element of a sequence. */
static const struct document_node *nth_child(const struct document_node *sequence, const char *number)
{
    char *end;
    unsigned long index = strtoul(number, &end, 10);
    const struct document_node *child = *end ? NULL : sequence->first;
    while (child && index-- > 0)
        child = child->next;
    return child;
}

const struct document_node *document_find(const struct document_node *root, const char *path,
                                          const struct document_node **deepest)
{
    char copy[512], *rest = copy;
    snprintf(copy, sizeof(copy), "%s", path);
    const struct document_node *node = root;
    for (char *key; node && (key = strsep(&rest, "."));) {
        if (deepest)
            *deepest = node;
        node = node->kind == DOCUMENT_SEQUENCE ? nth_child(node, key) : document_child(node, key);
    }
    if (node && deepest)
        *deepest = node;
    return node;
}

static struct document_node *node_from_json(struct document *document, struct document_node *parent,
                                            json_t *json, unsigned depth)
{
    enum document_kind kind = json_is_object(json)  ? DOCUMENT_MAPPING
                              : json_is_array(json) ? DOCUMENT_SEQUENCE
                                                    : DOCUMENT_SCALAR;
    struct document_node *node = depth > DOCUMENT_DEPTH_MAX ? NULL : document_add(document, parent, kind);
    if (!node)
        return NULL;
    char number[40];
    const char *key;
    size_t index;
    json_t *value;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        json_object_foreach (json, key, value) {
            struct document_node *child = node_from_json(document, node, value, depth + 1);
            if (!child)
                return NULL;
            child->key = document_text(document, key, strlen(key));
        }
        break;
    case JSON_ARRAY:
        json_array_foreach (json, index, value) {
            if (!node_from_json(document, node, value, depth + 1))
                return NULL;
        }
        break;
    case JSON_STRING:
        node->text = document_text(document, json_string_value(json), strlen(json_string_value(json)));
        break;
    case JSON_INTEGER:
        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        node->text = document_text(document, number, strlen(number));
        break;
    case JSON_REAL:
        snprintf(number, sizeof(number), "%.17g", json_real_value(json));
        node->text = document_text(document, number, strlen(number));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        node->text = json_is_true(json) ? "true" : "false";
        break;
    case JSON_NULL:
        node->text = "";
        node->null = true;
    }
    return node;
}

struct document *document_from_json(json_t *json)
{
    struct document *document = document_new();
    document->root = node_from_json(document, NULL, json, 1);
    if (!document->root) {
        document_free(document);
        return NULL;
    }
    return document;
}
