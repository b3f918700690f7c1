/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdbool.h>
#include <string.h>
#include "edit.h"
#include "plan.h"

struct text {
    char *data;
    size_t length, room;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *more = NULL;
    int length = vasprintf(&more, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort();
    if (text->length + (size_t)length + 1 > text->room) {
        text->room = 2 * (text->length + (size_t)length + 1);
        text->data = realloc(text->data, text->room);
        if (!text->data)
            abort();
    }
    memcpy(text->data + text->length, more, (size_t)length + 1);
    text->length += (size_t)length;
    free(more);
}

static void text_value(struct text *text, json_t *value)
{
    size_t index;
    const char *key;
    json_t *element;
    if (json_is_string(value)) {
        text_add(text, "%s", json_string_value(value));
    } else if (json_is_integer(value)) {
        text_add(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_array(value)) {
        json_array_foreach (value, index, element) {
            text_add(text, "%s", index ? "," : "");
            text_add(text, "%s", json_is_object(element) ? "{" : "");
            text_value(text, element);
            text_add(text, "%s", json_is_object(element) ? "}" : "");
        }
    } else if (json_is_object(value)) {
        bool first = true;
        json_object_foreach (value, key, element) {
            text_add(text, "%s%s=", first ? "" : ",", key);
            text_value(text, element);
            first = false;
        }
        if (first)
            text_add(text, "none");
    } else {
        text_add(text, "%s", json_is_true(value) ? "true" : json_is_false(value) ? "false" : "none");
    }
}

static void append(json_t *changes, struct text *text)
{
    json_array_append_new(changes, json_string(text->data));
    free(text->data);
}

/* The table's keys with those of tables in it ("limits.ports"). */
static json_t *flatten(json_t *table)
{
    json_t *flat = json_object(), *value, *inner;
    const char *key, *inner_key;
    json_object_foreach (table, key, value) {
        if (strcmp(key, "forwards") == 0)
            continue; /* one line each */
        if (strcmp(key, "limits") != 0 && strcmp(key, "vm") != 0 && strcmp(key, "dhcp") != 0) {
            if (!edit_holds_objects(key, value)) /* they have lines of their own */
                json_object_set(flat, key, value);
            continue;
        }
        json_object_foreach (value, inner_key, inner) {
            char name[64];
            snprintf(name, sizeof(name), "%s.%s", key, inner_key);
            json_object_set(flat, name, inner);
        }
    }
    return flat;
}

static void plan_added(json_t *changes, const char *noun, const char *name, json_t *table)
{
    struct text text = {0};
    const char *key;
    json_t *value, *flat = flatten(table);
    text_add(&text, "+ %s %s", noun, name);
    json_object_foreach (flat, key, value) {
        text_add(&text, " %s ", key);
        text_value(&text, value);
    }
    append(changes, &text);
    json_decref(flat);
}

static void plan_changed(json_t *changes, const char *noun, const char *name, json_t *before, json_t *after)
{
    struct text text = {0};
    const char *key;
    json_t *value, *old = flatten(before), *new = flatten(after);
    unsigned count = 0;
    text_add(&text, "~ %s%s%s", noun, *name ? " " : "", name);
    json_object_foreach (new, key, value) {
        json_t *was = json_object_get(old, key);
        if (was && json_equal(was, value))
            continue;
        text_add(&text, "%s %s ", count++ ? "," : "", key);
        text_value(&text, was);
        text_add(&text, " -> ");
        text_value(&text, value);
    }
    json_object_foreach (old, key, value) {
        if (json_object_get(new, key))
            continue;
        text_add(&text, "%s %s ", count++ ? "," : "", key);
        text_value(&text, value);
        text_add(&text, " -> none");
    }
    if (count)
        append(changes, &text);
    else
        free(text.data);
    json_decref(old);
    json_decref(new);
}

static void plan_removed(json_t *changes, const char *noun, const char *name)
{
    struct text text = {0};
    text_add(&text, "- %s %s", noun, name);
    append(changes, &text);
}

/* Objects of one kind; names are "PREFIX/NAME" below a tenant. */
static void plan_objects(json_t *changes, const char *noun, const char *prefix, json_t *before, json_t *after)
{
    const char *key;
    json_t *table;
    char name[128];
    json_object_foreach (before, key, table) {
        snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "/" : "", key);
        if (!json_object_get(after, key))
            plan_removed(changes, noun, name);
    }
    json_object_foreach (after, key, table) {
        json_t *was = json_object_get(before, key);
        snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "/" : "", key);
        if (!was)
            plan_added(changes, noun, name, table);
        else
            plan_changed(changes, noun, name, was, table);
    }
}

/* Port forwards as "PROTO PORT to TO [address A]": the keys of an object. */
static json_t *forward_lines(json_t *nat)
{
    json_t *lines = json_object(), *forward;
    size_t index;
    json_array_foreach (json_object_get(nat, "forwards"), index, forward) {
        const char *address = json_string_value(json_object_get(forward, "address"));
        struct text text = {0};
        text_value(&text, json_object_get(forward, "proto"));
        text_add(&text, " ");
        text_value(&text, json_object_get(forward, "port"));
        text_add(&text, " to ");
        text_value(&text, json_object_get(forward, "to"));
        if (address)
            text_add(&text, " address %s", address);
        json_object_set_new(lines, text.data, json_true());
        free(text.data);
    }
    return lines;
}

static void plan_forwards(json_t *changes, const char *tenant, const char *segment, json_t *before,
                          json_t *after)
{
    json_t *old = forward_lines(before), *new = forward_lines(after), *value;
    const char *line;
    json_object_foreach (old, line, value) {
        if (!json_object_get(new, line))
            json_array_append_new(changes, json_sprintf("- forward %s/%s %s", tenant, segment, line));
    }
    json_object_foreach (new, line, value) {
        if (!json_object_get(old, line))
            json_array_append_new(changes, json_sprintf("+ forward %s/%s %s", tenant, segment, line));
    }
    json_decref(old);
    json_decref(new);
}

/* Address translation: what is not there is the default, so that its keys change and its forwards come and
 * go. */
static void plan_nat(json_t *changes, const char *tenant, json_t *before, json_t *after)
{
    const char *key;
    json_t *table;
    char name[128];
    json_object_foreach (before, key, table) {
        snprintf(name, sizeof(name), "%s/%s", tenant, key);
        if (json_object_get(after, key))
            continue;
        plan_changed(changes, "nat", name, table, NULL);
        plan_forwards(changes, tenant, key, table, NULL);
    }
    json_object_foreach (after, key, table) {
        json_t *was = json_object_get(before, key);
        snprintf(name, sizeof(name), "%s/%s", tenant, key);
        plan_changed(changes, "nat", name, was, table);
        plan_forwards(changes, tenant, key, was, table);
    }
}

static void plan_tenant_contents(json_t *changes, const char *tenant, json_t *before, json_t *after)
{
    plan_objects(changes, "segment", tenant, json_object_get(before, "segments"),
                 json_object_get(after, "segments"));
    plan_objects(changes, "port", tenant, json_object_get(before, "ports"), json_object_get(after, "ports"));
    plan_nat(changes, tenant, json_object_get(before, "nat"), json_object_get(after, "nat"));
}

json_t *plan_changes(json_t *before, json_t *after)
{
    json_t *changes = json_array(), *table;
    json_t *old = json_object_get(before, "tenants"), *new = json_object_get(after, "tenants");
    const char *tenant;
    plan_changed(changes, "dataplane (restarts)", "", json_object_get(before, "dataplane"),
                 json_object_get(after, "dataplane"));
    plan_objects(changes, "uplink", "", json_object_get(before, "uplinks"),
                 json_object_get(after, "uplinks"));
    json_object_foreach (old, tenant, table) {
        if (!json_object_get(new, tenant))
            plan_tenant_contents(changes, tenant, table, NULL);
    }
    plan_objects(changes, "tenant", "", old, new);
    json_object_foreach (new, tenant, table)
        plan_tenant_contents(changes, tenant, json_object_get(old, tenant), table);
    return changes;
}

char *plan_summary(json_t *changes)
{
    size_t count = json_array_size(changes);
    char *summary = NULL;
    if (count == 0)
        return strdup("no change");
    const char *first = json_string_value(json_array_get(changes, 0));
    int length = count == 1 ? asprintf(&summary, "%.200s", first)
                            : asprintf(&summary, "%.200s (and %zu more)", first, count - 1);
    if (length < 0)
        abort();
    return summary;
}
