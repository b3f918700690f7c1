/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include "edit.h"
#include "schema.h"
#include "uplink.h"
#include "values.h"

static const struct document_position nowhere;

/* One key of a table at `path`. */
struct edit {
    json_t *table;
    const char *row;  /* of the table in the schema */
    const char *path; /* of the table */
    struct diagnostics *diagnostics;
};

static void edit_unknown(const struct edit *edit, const char *path, const char *key)
{
    const char *nearest = schema_nearest(edit->row, key);
    diagnostics_add(edit->diagnostics, nowhere, WEFT_USAGE, path,
                    nearest ? "unknown key; did you mean \"%s\"?" : "unknown key", nearest);
}

static void edit_whole(const struct edit *edit, const struct schema_key *row, const char *path,
                       const char *key, json_t *value)
{
    if (json_is_null(value)) {
        json_object_del(edit->table, key);
        return;
    }
    json_t *typed = schema_value(row, value, path, edit->diagnostics);
    if (typed)
        json_object_set_new(edit->table, key, typed);
}

/* "static.52:54:00:00:00:01": one entry of the mapping. */
static void edit_static(const struct edit *edit, const struct schema_key *row, const char *path,
                        const char *key, const char *mac, json_t *value)
{
    uint8_t bytes[6];
    char name[VALUE_MAC_SIZE];
    json_t *statics = json_object_get(edit->table, key);
    if (json_is_null(value)) {
        if (value_mac(mac, bytes) == 0) {
            value_mac_text(bytes, name);
            json_object_del(statics, name);
        }
        return;
    }
    json_t *one = json_object();
    json_object_set(one, mac, value);
    json_t *typed = schema_value(row, one, path, edit->diagnostics);
    if (typed && !statics) {
        statics = json_object();
        json_object_set_new(edit->table, key, statics);
    }
    if (typed)
        json_object_update(statics, typed);
    json_decref(typed);
    json_decref(one);
}

/* "one-to-one.vm2": one entry of the mapping. */
static void edit_pin(const struct edit *edit, const struct schema_key *row, const char *path, const char *key,
                     const char *port, json_t *value)
{
    json_t *pins = json_object_get(edit->table, key);
    if (json_is_null(value)) {
        json_object_del(pins, port);
        return;
    }
    json_t *one = json_object();
    json_object_set(one, port, value);
    json_t *typed = schema_value(row, one, path, edit->diagnostics);
    if (typed)
        json_object_update(edit_mapping(edit->table, key), typed);
    json_decref(typed);
    json_decref(one);
}

static void edit_key(const struct edit *edit, const char *key, json_t *value);

/* "limits.ports": a key of the table below. */
static void edit_below(const struct edit *edit, const struct schema_key *row, const char *path,
                       const char *key, const char *rest, json_t *value)
{
    json_t *table = json_object_get(edit->table, key);
    table = table ? json_incref(table) : json_object();
    struct edit below = {table, row->path, path, edit->diagnostics};
    edit_key(&below, rest, value);
    json_object_set_new(edit->table, key, table);
}

static void edit_key(const struct edit *edit, const char *key, json_t *value)
{
    char head[64], path[SCHEMA_PATH_SIZE];
    size_t length = strcspn(key, ".");
    const char *rest = key[length] ? key + length + 1 : NULL;
    snprintf(head, sizeof(head), "%.*s", (int)length, key);
    snprintf(path, sizeof(path), "%s.%s", edit->path, head);
    const struct schema_key *row =
        length < sizeof(head) && strcmp(head, "*") != 0 ? schema_find(edit->row, head) : NULL;
    if (!row)
        edit_unknown(edit, path, head);
    else if (row->refused)
        diagnostics_add(edit->diagnostics, nowhere, WEFT_INVALID, path, "%s: not built in this version",
                        row->refused);
    else if (row->type == SCHEMA_NAMED)
        diagnostics_add(edit->diagnostics, nowhere, WEFT_USAGE, path,
                        "is no value but holds objects, which have commands of their own");
    else if (!rest)
        edit_whole(edit, row, path, head, value);
    else if (row->type == SCHEMA_STATICS)
        edit_static(edit, row, path, head, rest, value);
    else if (row->type == SCHEMA_PINS)
        edit_pin(edit, row, path, head, rest, value);
    else if (row->type == SCHEMA_TABLE)
        edit_below(edit, row, path, head, rest, value);
    else
        diagnostics_add(edit->diagnostics, nowhere, WEFT_USAGE, path, "has no key \"%.40s\" below it", rest);
}

/* Tables that nothing is in any more say nothing. */
static void edit_tidy(json_t *table)
{
    static const char *const tables[] = {"limits", "static", "vm", "dhcp", "one-to-one"};
    for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        json_t *below = json_object_get(table, tables[i]);
        if (below && json_object_size(below) == 0)
            json_object_del(table, tables[i]);
    }
}

void edit_values(json_t *table, const char *row, const char *path, json_t *values,
                 struct diagnostics *diagnostics)
{
    struct edit edit = {table, row, path, diagnostics};
    const char *key;
    json_t *value;
    json_object_foreach (values, key, value)
        edit_key(&edit, key, value);
    edit_tidy(table);
}

json_t *edit_mapping(json_t *table, const char *key)
{
    if (!json_object_get(table, key))
        json_object_set_new(table, key, json_object());
    return json_object_get(table, key);
}

bool edit_holds_objects(const char *key, json_t *value)
{
    return json_is_object(value) &&
           (strcmp(key, "segments") == 0 || strcmp(key, "ports") == 0 || strcmp(key, "nat") == 0);
}

static json_t *without_objects(json_t *table)
{
    json_t *copy = json_object(), *value;
    const char *key;
    json_object_foreach (table, key, value)
        if (!edit_holds_objects(key, value))
            json_object_set(copy, key, value);
    edit_tidy(copy);
    return copy;
}

bool edit_same(json_t *one, json_t *other)
{
    json_t *left = without_objects(one), *right = without_objects(other);
    bool same = json_equal(left, right);
    json_decref(left);
    json_decref(right);
    return same;
}

static json_t *tenant_of(json_t *tree, const char *tenant)
{
    return json_object_get(json_object_get(tree, "tenants"), tenant);
}

static bool text_is(json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* Index of a text in a list; -1: not in it. */
static int list_index(json_t *list, const char *text)
{
    size_t index;
    json_t *element;
    json_array_foreach (list, index, element) {
        if (text_is(element, text))
            return (int)index;
    }
    return -1;
}

static bool port_needs(json_t *port, const char *segment)
{
    return text_is(json_object_get(port, "segment"), segment) ||
           list_index(json_object_get(port, "trunk"), segment) >= 0;
}

static bool segment_needs_port(json_t *segment, const char *port)
{
    const char *mac;
    json_t *name;
    json_object_foreach (json_object_get(segment, "static"), mac, name) {
        if (text_is(name, port))
            return true;
    }
    return false;
}

static void user_add(json_t *users, const char *noun, const char *tenant, const char *name)
{
    json_array_append_new(users, json_sprintf("%s %s/%s", noun, tenant, name));
}

json_t *edit_tenant_users(json_t *tree, const char *tenant)
{
    json_t *users = json_array(), *table = tenant_of(tree, tenant), *value;
    const char *name;
    json_object_foreach (json_object_get(table, "ports"), name, value)
        user_add(users, "port", tenant, name);
    json_object_foreach (json_object_get(table, "segments"), name, value)
        user_add(users, "segment", tenant, name);
    return users;
}

json_t *edit_segment_users(json_t *tree, const char *tenant, const char *segment)
{
    json_t *users = json_array(), *port;
    const char *name;
    json_object_foreach (json_object_get(tenant_of(tree, tenant), "ports"), name, port) {
        if (port_needs(port, segment))
            user_add(users, "port", tenant, name);
    }
    return users;
}

static bool target_is(json_t *forward, const char *port)
{
    const char *to = json_string_value(json_object_get(forward, "to"));
    size_t length = strlen(port);
    return to && strncmp(to, port, length) == 0 && to[length] == ':';
}

/* What address translation says of a port. `remove`: takes it away. */
static bool nat_needs_port(json_t *nat, const char *port, bool remove)
{
    json_t *forwards = json_object_get(nat, "forwards"), *pins = json_object_get(nat, "one-to-one");
    bool needs = json_object_get(pins, port) != NULL;
    for (size_t i = json_array_size(forwards); i-- > 0;) {
        if (!target_is(json_array_get(forwards, i), port))
            continue;
        needs = true;
        if (remove)
            json_array_remove(forwards, i);
    }
    if (remove) {
        json_object_del(pins, port);
        if (pins && json_object_size(pins) == 0)
            json_object_del(nat, "one-to-one");
        if (forwards && json_array_size(forwards) == 0)
            json_object_del(nat, "forwards");
    }
    return needs;
}

json_t *edit_port_users(json_t *tree, const char *tenant, const char *port)
{
    json_t *users = json_array(), *segment;
    const char *name;
    json_object_foreach (json_object_get(tenant_of(tree, tenant), "segments"), name, segment) {
        if (segment_needs_port(segment, port))
            user_add(users, "static addresses of segment", tenant, name);
    }
    json_t *nat;
    json_object_foreach (json_object_get(tenant_of(tree, tenant), "nat"), name, nat) {
        if (nat_needs_port(nat, port, false))
            user_add(users, "address translation of segment", tenant, name);
    }
    return users;
}

static bool is_vlan_of(json_t *table, const char *uplink)
{
    const char *device = json_string_value(json_object_get(table, "device"));
    char name[WEFT_NAME_LENGTH + 1];
    uint32_t vlan;
    return device && uplink_kind(device) == UPLINK_VLAN &&
           value_vlan(uplink_argument(device), name, &vlan) == 0 && strcmp(name, uplink) == 0;
}

json_t *edit_uplink_users(json_t *tree, const char *uplink)
{
    json_t *users = json_array(), *table, *segment;
    const char *tenant, *name;
    json_object_foreach (json_object_get(tree, "uplinks"), name, table) {
        if (is_vlan_of(table, uplink))
            json_array_append_new(users, json_sprintf("uplink %s", name));
    }
    json_object_foreach (json_object_get(tree, "tenants"), tenant, table) {
        json_object_foreach (json_object_get(table, "segments"), name, segment) {
            if (text_is(json_object_get(segment, "uplink"), uplink))
                user_add(users, "segment", tenant, name);
        }
    }
    return users;
}

void edit_reset_nat(json_t *nat)
{
    json_t *forwards = json_incref(json_object_get(nat, "forwards"));
    json_object_clear(nat);
    if (forwards)
        json_object_set_new(nat, "forwards", forwards);
}

void edit_tidy_nat(json_t *tree, const char *tenant)
{
    json_t *table = tenant_of(tree, tenant), *nat = json_object_get(table, "nat"), *one;
    const char *name;
    void *next;
    json_object_foreach_safe (nat, next, name, one) {
        if (json_array_size(json_object_get(one, "forwards")) == 0)
            json_object_del(one, "forwards");
        edit_tidy(one);
        if (json_object_size(one) == 0)
            json_object_del(nat, name);
    }
    if (nat && json_object_size(nat) == 0)
        json_object_del(table, "nat");
}

void edit_delete_tenant(json_t *tree, const char *tenant)
{
    json_object_del(json_object_get(tree, "tenants"), tenant);
}

void edit_delete_port(json_t *tree, const char *tenant, const char *port)
{
    json_t *table = tenant_of(tree, tenant), *segment, *value;
    const char *name, *mac;
    void *next;
    json_object_foreach (json_object_get(table, "segments"), name, segment) {
        json_t *statics = json_object_get(segment, "static");
        json_object_foreach_safe (statics, next, mac, value) {
            if (text_is(value, port))
                json_object_del(statics, mac);
        }
        edit_tidy(segment);
    }
    json_object_foreach (json_object_get(table, "nat"), name, value)
        nat_needs_port(value, port, true);
    json_object_del(json_object_get(table, "ports"), port);
}

/* Takes a segment from a trunk. False: it was the last one. */
static bool trunk_shrink(json_t *port, const char *segment)
{
    json_t *trunk = json_object_get(port, "trunk");
    json_array_remove(trunk, (size_t)list_index(trunk, segment));
    if (text_is(json_object_get(port, "native"), segment))
        json_object_del(port, "native");
    return json_array_size(trunk) > 0;
}

void edit_delete_segment(json_t *tree, const char *tenant, const char *segment)
{
    json_t *table = tenant_of(tree, tenant), *ports = json_object_get(table, "ports"), *port;
    const char *name;
    void *next;
    json_object_foreach_safe (ports, next, name, port) {
        if (!port_needs(port, segment))
            continue;
        if (json_object_get(port, "trunk") && trunk_shrink(port, segment))
            continue;
        edit_delete_port(tree, tenant, name);
    }
    json_t *nat = json_object_get(table, "nat");
    json_object_del(nat, segment);
    if (nat && json_object_size(nat) == 0)
        json_object_del(table, "nat");
    json_object_del(json_object_get(table, "segments"), segment); /* last: `segment` may be its key */
}

void edit_delete_uplink(json_t *tree, const char *uplink)
{
    const char *tenant, *name;
    json_t *table, *segment;
    void *next;
    json_object_foreach_safe (json_object_get(tree, "uplinks"), next, name, table) {
        if (is_vlan_of(table, uplink))
            edit_delete_uplink(tree, name);
    }
    json_object_foreach (json_object_get(tree, "tenants"), tenant, table) {
        json_object_foreach_safe (json_object_get(table, "segments"), next, name, segment) {
            if (text_is(json_object_get(segment, "uplink"), uplink))
                edit_delete_segment(tree, tenant, name);
        }
    }
    json_object_del(json_object_get(tree, "uplinks"), uplink);
}
