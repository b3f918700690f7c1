/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include "schema.h"
#include "schema_scalar.h"
#include "values.h"
#include "weft_keys.h"

const struct schema_key schema_keys[] = {
#define X(path, type, minimum, maximum, choices, fallback, refused, help)                                    \
    {path, SCHEMA_##type, minimum, maximum, choices, fallback, refused, help},
    WEFT_KEYS(X)
#undef X
};
const unsigned schema_key_count = sizeof(schema_keys) / sizeof(schema_keys[0]);

/* The last component of a row's path if the row is directly below `parent`. */
static const char *key_below(const struct schema_key *row, const char *parent)
{
    size_t length = strlen(parent);
    const char *key = row->path;
    if (length) {
        if (strncmp(key, parent, length) != 0 || key[length] != '.')
            return NULL;
        key += length + 1;
    }
    return strchr(key, '.') ? NULL : key;
}

const struct schema_key *schema_find(const char *parent, const char *key)
{
    for (unsigned i = 0; i < schema_key_count; i++) {
        const char *own = key_below(&schema_keys[i], parent);
        if (own && strcmp(own, key) == 0)
            return &schema_keys[i];
    }
    return NULL;
}

const char *schema_nearest(const char *parent, const char *key)
{
    const char *words[64];
    unsigned count = 0;
    for (unsigned i = 0; i < schema_key_count && count < 63; i++) {
        const char *own = key_below(&schema_keys[i], parent);
        if (own && *own != '*')
            words[count++] = own;
    }
    words[count] = NULL;
    return diagnostics_nearest(key, words);
}

static json_t *check_value(struct schema_place *place, const struct schema_key *row,
                           const struct document_node *node);

static bool is_mapping(struct schema_place *place, const struct document_node *node)
{
    if (node->kind == DOCUMENT_MAPPING || (node->kind == DOCUMENT_SCALAR && node->null))
        return true;
    schema_mistake(place, node->position, "must be a mapping (KEY: VALUE lines)");
    return false;
}

static json_t *check_table(struct schema_place *place, const struct schema_key *row,
                           const struct document_node *node)
{
    const char *parent = row ? row->path : "";
    if (!is_mapping(place, node))
        return NULL;
    json_t *table = json_object();
    for (const struct document_node *child = node->first; child; child = child->next) {
        const struct schema_key *key = strcmp(child->key, "*") ? schema_find(parent, child->key) : NULL;
        size_t length = schema_enter(place, child->key);
        if (!key) {
            const char *nearest = schema_nearest(parent, child->key);
            schema_mistake(place, child->key_position,
                           nearest ? "unknown key; did you mean \"%s\"?" : "unknown key", nearest);
        } else if (key->refused) {
            schema_mistake(place, child->key_position, "%s: not built in this version", key->refused);
        } else {
            json_t *value = check_value(place, key, child);
            if (json_is_object(value) && json_object_size(value) == 0)
                json_decref(value); /* says the same as a key that is not there */
            else if (value)
                json_object_set_new(table, child->key, value);
        }
        schema_leave(place, length);
    }
    return table;
}

static json_t *check_named(struct schema_place *place, const struct schema_key *row,
                           const struct document_node *node)
{
    if (!is_mapping(place, node))
        return NULL;
    const struct schema_key *element = schema_find(row->path, "*");
    json_t *named = json_object();
    for (const struct document_node *child = node->first; child; child = child->next) {
        size_t length = schema_enter(place, child->key);
        if (!value_name(child->key)) {
            schema_mistake(place, child->key_position, "a name has 1 to %u of the characters a-z, 0-9 and -",
                           WEFT_NAME_LENGTH);
        } else {
            json_t *value = check_table(place, element, child);
            if (value)
                json_object_set_new(named, child->key, value);
        }
        schema_leave(place, length);
    }
    return named;
}

static json_t *check_statics(struct schema_place *place, const struct document_node *node)
{
    if (!is_mapping(place, node))
        return NULL;
    json_t *statics = json_object();
    for (const struct document_node *child = node->first; child; child = child->next) {
        uint8_t mac[6];
        char text[VALUE_MAC_SIZE];
        size_t length = schema_enter(place, child->key);
        if (value_mac(child->key, mac) < 0 || (mac[0] & 1)) {
            schema_mistake(place, child->key_position,
                           "must be a unicast MAC address, like 52:54:00:00:00:01");
        } else if (child->kind != DOCUMENT_SCALAR || !value_name(child->text)) {
            schema_mistake(place, child->position, "must be the name of a port");
        } else {
            value_mac_text(mac, text);
            if (json_object_get(statics, text))
                schema_mistake(place, child->key_position, "key appears twice");
            else
                json_object_set_new(statics, text, json_string(child->text));
        }
        schema_leave(place, length);
    }
    return statics;
}

/* Ports of the tenant, each with an address. */
static json_t *check_pins(struct schema_place *place, const struct document_node *node)
{
    static const struct schema_key address = {.type = SCHEMA_ADDRESS};
    if (!is_mapping(place, node))
        return NULL;
    json_t *pins = json_object();
    for (const struct document_node *child = node->first; child; child = child->next) {
        size_t length = schema_enter(place, child->key);
        json_t *value = NULL;
        if (!value_name(child->key))
            schema_mistake(place, child->key_position, "must be the name of a port");
        else if (child->kind != DOCUMENT_SCALAR)
            schema_mistake(place, child->position, "must be an address");
        else
            value = schema_scalar(place, &address, child);
        if (value)
            json_object_set_new(pins, child->key, value);
        schema_leave(place, length);
    }
    return pins;
}

static json_t *check_tables(struct schema_place *place, const struct schema_key *row,
                            const struct document_node *node)
{
    const struct schema_key *element = schema_find(row->path, "*");
    if (node->kind != DOCUMENT_SEQUENCE) {
        schema_mistake(place, node->position, "must be a list");
        return NULL;
    }
    if (node->child_count > row->maximum)
        schema_mistake(place, node->position, "more than %lld elements", (long long)row->maximum);
    json_t *list = json_array();
    unsigned index = 0;
    for (const struct document_node *child = node->first; child; child = child->next) {
        char number[16];
        snprintf(number, sizeof(number), "%u", index++);
        size_t length = schema_enter(place, number);
        json_t *value = check_table(place, element, child);
        json_array_append_new(list, value ? value : json_object()); /* places keep their numbers */
        schema_leave(place, length);
    }
    return list;
}

static bool is_list(enum schema_type type)
{
    return type == SCHEMA_NAMES || type == SCHEMA_INTEGERS || type == SCHEMA_ADDRESSES ||
           type == SCHEMA_PATHS ||

           type == SCHEMA_SUBNETS || type == SCHEMA_PREFIXES || type == SCHEMA_POOL;
}

static bool list_has(json_t *list, json_t *value)
{
    size_t index;
    json_t *element;
    json_array_foreach (list, index, element) {
        if (json_equal(element, value))
            return true;
    }
    return false;
}

static json_t *check_list(struct schema_place *place, const struct schema_key *row,
                          const struct document_node *node)
{
    if (node->kind == DOCUMENT_MAPPING) {
        schema_mistake(place, node->position, "must be one value or a list of values");
        return NULL;
    }
    json_t *list = json_array();
    bool one = node->kind == DOCUMENT_SCALAR;
    for (const struct document_node *child = one ? node : node->first; child;
         child = one ? NULL : child->next) {
        if (child->kind != DOCUMENT_SCALAR) {
            schema_mistake(place, child->position, "must be a list of plain values");
            continue;
        }
        if (json_array_size(list) == (size_t)row->maximum) {
            schema_mistake(place, child->position, "more than %lld values", (long long)row->maximum);
            break;
        }
        json_t *value = schema_scalar(place, row, child);
        if (value && list_has(list, value)) {
            schema_mistake(place, child->position, "\"%s\" is in the list twice", child->text);
            json_decref(value);
        } else if (value) {
            json_array_append_new(list, value);
        }
    }
    if (!one && node->child_count < (unsigned)row->minimum)
        schema_mistake(place, node->position, "must not be an empty list");
    return list;
}

static json_t *check_value(struct schema_place *place, const struct schema_key *row,
                           const struct document_node *node)
{
    if (row->type == SCHEMA_TABLE)
        return check_table(place, row, node);
    if (row->type == SCHEMA_NAMED)
        return check_named(place, row, node);
    if (row->type == SCHEMA_STATICS)
        return check_statics(place, node);
    if (row->type == SCHEMA_PINS)
        return check_pins(place, node);
    if (row->type == SCHEMA_TABLES)
        return check_tables(place, row, node);
    if (is_list(row->type))
        return check_list(place, row, node);
    if (node->kind != DOCUMENT_SCALAR) {
        schema_mistake(place, node->position, "must be one value, not a list or mapping");
        return NULL;
    }
    return schema_scalar(place, row, node);
}

json_t *schema_check(const struct document_node *root, struct diagnostics *diagnostics)
{
    struct schema_place place = {.diagnostics = diagnostics};
    if (root->kind != DOCUMENT_MAPPING) {
        schema_mistake(&place, root->position, "must be a mapping (KEY: VALUE lines)");
        return NULL;
    }
    json_t *tree = check_table(&place, NULL, root);
    if (!document_child(root, "version"))
        diagnostics_add(diagnostics, root->position, WEFT_INVALID, "version",
                        "missing; the first line is \"version: 1\"");
    return tree;
}

/* "a, b" as the list of its parts; no parts: an empty list. */
static json_t *list_of_text(const char *text)
{
    json_t *list = json_array();
    while (*text) {
        size_t length = strcspn(text, ","), first = strspn(text, " "), end = length;
        while (end > first && text[end - 1] == ' ')
            end--;
        json_array_append_new(list, json_stringn(text + first, end > first ? end - first : 0));
        text += length;
        if (*text == ',' && !*++text)
            json_array_append_new(list, json_string(""));
    }
    return list;
}

json_t *schema_value(const struct schema_key *row, json_t *value, const char *path,
                     struct diagnostics *diagnostics)
{
    struct schema_place place = {.diagnostics = diagnostics};
    size_t before = diagnostics->count + diagnostics->omitted;
    bool split = is_list(row->type) && json_is_string(value);
    json_t *own = split ? list_of_text(json_string_value(value)) : json_incref(value), *typed = NULL;
    struct document *document = document_from_json(own);
    schema_enter(&place, path);
    if (document)
        typed = check_value(&place, row, document_root(document));
    else
        schema_mistake(&place, (struct document_position){0}, "is nested too deeply");
    document_free(document);
    json_decref(own);
    if (diagnostics->count + diagnostics->omitted != before) {
        json_decref(typed);
        return NULL;
    }
    return typed;
}
