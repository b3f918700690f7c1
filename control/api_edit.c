/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * add, set, del: each edits a copy of the configuration's tree and has the whole applied like a file, so that
 * there is one validator and one way to change something.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api_call.h"
#include "schema.h"
#include "values.h"

/* The nouns that can be edited, and where they are in the tree. */
struct place {
    const char *noun;
    const char *group;       /* "ports" */
    const char *schema_path; /* "tenants.*.ports.*" */
    bool in_tenant;
};

static const struct place places[] = {
    {"tenant", "tenants", "tenants.*", false},
    {"uplink", "uplinks", "uplinks.*", false},
    {"segment", "segments", "tenants.*.segments.*", true},
    {"port", "ports", "tenants.*.ports.*", true},
};

struct edit {
    struct api_call *call;
    const struct place *place;
    json_t *tree; /* a copy */
    char tenant[64];
    char name[64];
    json_t *group; /* borrowed; NULL: not there yet */
};

static enum weft_code fail(struct edit *edit, enum weft_code code, const char *text)
{
    return outcome_fail(&edit->call->outcome, code, "%s", text);
}

static bool edit_names(struct edit *edit)
{
    const char *name = api_string(edit->call, "name"), *slash = strchr(name, '/');
    char text[160];
    if (!edit->place->in_tenant)
        snprintf(edit->name, sizeof(edit->name), "%.60s", name);
    if (edit->place->in_tenant && slash) {
        snprintf(edit->tenant, sizeof(edit->tenant), "%.*s", slash - name > 60 ? 60 : (int)(slash - name),
                 name);
        snprintf(edit->name, sizeof(edit->name), "%.60s", slash + 1);
    }
    if (value_name(edit->name) && (!edit->place->in_tenant || value_name(edit->tenant)))
        return true;
    snprintf(text, sizeof(text), "\"%.60s\" is not the name of a %s: %s, of a-z, 0-9 and -, 31 at most", name,
             edit->place->noun, edit->place->in_tenant ? "TENANT/NAME" : "a word");
    fail(edit, WEFT_USAGE, text);
    return false;
}

static bool edit_begin(struct edit *edit, struct api_call *call)
{
    const char *noun = api_string(call, "noun");
    struct model_tenant *tenant;
    edit->call = call;
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(places[i].noun, noun) == 0)
            edit->place = &places[i];
    }
    if (!edit->place) {
        outcome_fail(&call->outcome, WEFT_USAGE,
                     "\"%.40s\" cannot be changed; tenant, segment, port and uplink can", noun);
        return false;
    }
    if (!edit_names(edit))
        return false;
    if (edit->place->in_tenant && !api_find_tenant(call, edit->tenant, &tenant))
        return false;
    edit->tree = json_deep_copy(call->controller->model->config);
    json_t *parent = edit->tree;
    if (edit->place->in_tenant)
        parent = json_object_get(json_object_get(edit->tree, "tenants"), edit->tenant);
    edit->group = json_object_get(parent, edit->place->group);
    if (!edit->group) {
        edit->group = json_object();
        json_object_set_new(parent, edit->place->group, edit->group);
    }
    return true;
}

static void edit_answer(struct edit *edit, const struct change *change)
{
    struct api_call *call = edit->call;
    if (call->outcome.code == WEFT_OK && edit->tree)
        apply_tree(call->controller, edit->tree, change, &call->outcome);
    if (call->outcome.code == WEFT_OK)
        call->result = json_pack("{s:b, s:I, s:O?}", "changed", call->outcome.changed, "generation",
                                 (json_int_t)call->controller->generation, "changes", call->outcome.changes);
    json_decref(edit->tree);
}

static struct change change_of(const struct api_call *call)
{
    return (struct change){
        .by = call->uid,
        .dry_run = api_bool(call, "dry_run"),
        .expected = api_integer(call, "expect_generation", -1),
    };
}

/* Lists may come as "a,b" from a command line. */
static json_t *split_list(const char *text)
{
    json_t *list = json_array();
    while (*text) {
        size_t length = strcspn(text, ",");
        json_array_append_new(list, json_stringn(text, length));
        text += length + (text[length] == ',');
    }
    return list;
}

static json_t *value_for(const char *path, const char *key, json_t *value)
{
    const struct schema_key *row = schema_find(path, key);
    bool list =
        row && (row->type == SCHEMA_NAMES || row->type == SCHEMA_ADDRESSES || row->type == SCHEMA_INTEGERS);
    const char *text = json_string_value(value);
    return list && text && strchr(text, ',') ? split_list(text) : json_incref(value);
}

static void set_value(json_t *table, const char *path, const char *key, json_t *value)
{
    if (json_is_null(value))
        json_object_del(table, key);
    else
        json_object_set_new(table, key, value_for(path, key, value));
}

/* A dot reaches into a table: limits.ports, static.52:54:00:00:00:01. */
static void set_dotted(struct edit *edit, json_t *table, const char *key, json_t *value)
{
    const char *dot = strchr(key, '.');
    char outer[64], path[SCHEMA_PATH_SIZE];
    if (!dot) {
        set_value(table, edit->place->schema_path, key, value);
        return;
    }
    snprintf(outer, sizeof(outer), "%.*s", dot - key > 60 ? 60 : (int)(dot - key), key);
    snprintf(path, sizeof(path), "%s.%s", edit->place->schema_path, outer);
    json_t *inner = json_object_get(table, outer);
    if (!json_is_object(inner)) {
        inner = json_object();
        json_object_set_new(table, outer, inner);
    }
    set_value(inner, path, dot + 1, value);
    if (json_object_size(inner) == 0)
        json_object_del(table, outer);
}

static void set_values(struct edit *edit, json_t *table)
{
    json_t *values = json_object_get(edit->call->params, "values"), *value;
    const char *key;
    json_object_foreach (values, key, value)
        set_dotted(edit, table, key, value);
}

/* The path that diagnostics give to the edited object. */
static void object_path(const struct edit *edit, char *path, size_t size)
{
    if (edit->place->in_tenant)
        snprintf(path, size, "tenants.%s.%s.%s", edit->tenant, edit->place->group, edit->name);
    else
        snprintf(path, size, "%s.%s", edit->place->group, edit->name);
}

/* The typed form of the object in the tree, or NULL with everything that is wrong in the outcome. */
static json_t *typed_object(struct edit *edit)
{
    struct diagnostics diagnostics = {0};
    struct document *document = document_from_json(edit->tree);
    json_t *tree = document ? schema_check(document_root(document), &diagnostics) : NULL;
    document_free(document);
    if (!tree || diagnostics.count) {
        json_decref(tree);
        if (diagnostics.count)
            outcome_invalid(&edit->call->outcome, &diagnostics, NULL);
        else
            fail(edit, WEFT_USAGE, "values are nested too deeply or too many");
        return NULL;
    }
    json_t *parent = tree;
    if (edit->place->in_tenant)
        parent = json_object_get(json_object_get(tree, "tenants"), edit->tenant);
    json_t *object = json_incref(json_object_get(json_object_get(parent, edit->place->group), edit->name));
    json_decref(tree);
    return object;
}

/* add of what exists: unchanged if each value is what it has, else a conflict. */
static void add_again(struct edit *edit, json_t *existing)
{
    json_t *before = json_deep_copy(existing);
    set_values(edit, existing);
    json_t *object = typed_object(edit);
    if (object && json_equal(object, before)) {
        edit->call->outcome.changes = json_array();
    } else if (object) {
        char path[200], text[320];
        object_path(edit, path, sizeof(path));
        snprintf(text, sizeof(text), "%s %s exists with other values; \"set\" changes them",
                 edit->place->noun, api_string(edit->call, "name"));
        fail(edit, WEFT_CONFLICT, text);
    }
    json_decref(object);
    json_decref(before);
    json_decref(edit->tree);
    edit->tree = NULL;
}

void api_add(struct api_call *call)
{
    struct edit edit = {0};
    struct change change = change_of(call);
    if (!edit_begin(&edit, call)) {
        json_decref(edit.tree);
        return;
    }
    json_t *existing = json_object_get(edit.group, edit.name);
    if (existing) {
        add_again(&edit, existing);
    } else {
        json_t *table = json_object();
        json_object_set_new(edit.group, edit.name, table);
        set_values(&edit, table);
    }
    edit_answer(&edit, &change);
}

static bool edit_exists(struct edit *edit)
{
    char text[240];
    if (json_object_get(edit->group, edit->name))
        return true;
    const char *nearest = diagnostics_nearest_key(edit->name, edit->group);
    snprintf(text, sizeof(text), "%s%s%s %s \"%s\"%s%s%s", edit->place->in_tenant ? "tenant " : "",
             edit->place->in_tenant ? edit->tenant : "", edit->place->in_tenant ? " has no" : "there is no",
             edit->place->noun, edit->name, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
             nearest ? "\"?" : "");
    fail(edit, WEFT_NOT_FOUND, text);
    return false;
}

void api_set(struct api_call *call)
{
    struct edit edit = {0};
    struct change change = change_of(call);
    if (edit_begin(&edit, call) && edit_exists(&edit))
        set_values(&edit, json_object_get(edit.group, edit.name));
    edit_answer(&edit, &change);
}

/* Removes what refers to a segment or a port, or says who does. */
static bool release_segment(struct edit *edit, const struct model_segment *segment, bool cascade, char *users,
                            size_t size)
{
    json_t *tenant = json_object_get(json_object_get(edit->tree, "tenants"), edit->tenant);
    bool used = false;
    for (unsigned i = 0; i < segment->tenant->port_count; i++) {
        const struct model_port *port = &segment->tenant->ports[i];
        size_t length = strlen(users);
        if (!model_port_in(port, segment))
            continue;
        used = true;
        snprintf(users + length, size - length, "%s%s", length ? ", " : "", port->full_name);
        if (cascade)
            json_object_del(json_object_get(tenant, "ports"), port->name);
    }
    return !used || cascade;
}

static bool release_port(struct edit *edit, const struct model_port *port, bool cascade, char *users,
                         size_t size)
{
    json_t *tenant = json_object_get(json_object_get(edit->tree, "tenants"), edit->tenant);
    bool used = false;
    for (unsigned i = 0; i < port->tenant->segment_count; i++) {
        const struct model_segment *segment = &port->tenant->segments[i];
        json_t *table = json_object_get(json_object_get(tenant, "segments"), segment->name);
        const char *mac;
        json_t *name;
        void *next;
        json_object_foreach_safe (segment->statics, next, mac, name) {
            size_t length = strlen(users);
            if (strcmp(json_string_value(name), port->name) != 0)
                continue;
            used = true;
            snprintf(users + length, size - length, "%sstatic %s of segment %s", length ? ", " : "", mac,
                     segment->full_name);
            if (cascade)
                json_object_del(json_object_get(table, "static"), mac);
        }
    }
    return !used || cascade;
}

static bool release_tenant(const struct model_tenant *tenant, bool cascade, char *users, size_t size)
{
    snprintf(users, size, "%u segments and %u ports", tenant->segment_count, tenant->port_count);
    return cascade || (tenant->segment_count == 0 && tenant->port_count == 0);
}

static bool release_uplink(const struct model *model, const struct model_uplink *uplink, char *users,
                           size_t size)
{
    bool used = false;
    for (unsigned i = 0; i < model->segment_count; i++) {
        size_t length = strlen(users);
        if (model->segments[i].uplink != uplink)
            continue;
        used = true;
        snprintf(users + length, size - length, "%ssegment %s", length ? ", " : "",
                 model->segments[i].full_name);
    }
    return !used;
}

/* Whether the object may go; if not, the outcome names who needs it. A tenant's guests go with `cascade`, but
 * an uplink never takes segments along. */
static bool edit_release(struct edit *edit)
{
    const struct model *model = edit->call->controller->model;
    const struct model_tenant *tenant =
        model_tenant(model, edit->place->in_tenant ? edit->tenant : edit->name);
    bool cascade = api_bool(edit->call, "cascade"), free_to_go;
    char users[300] = "", text[480];
    if (strcmp(edit->place->noun, "segment") == 0)
        free_to_go = release_segment(edit, model_segment(tenant, edit->name), cascade, users, sizeof(users));
    else if (strcmp(edit->place->noun, "port") == 0)
        free_to_go = release_port(edit, model_port(tenant, edit->name), cascade, users, sizeof(users));
    else if (strcmp(edit->place->noun, "tenant") == 0)
        free_to_go = release_tenant(tenant, cascade, users, sizeof(users));
    else
        free_to_go = release_uplink(model, model_uplink(model, edit->name), users, sizeof(users));
    if (free_to_go)
        return true;
    snprintf(text, sizeof(text), "%s %s is used by %s; remove them first%s", edit->place->noun,
             api_string(edit->call, "name"), users,
             strcmp(edit->place->noun, "uplink") == 0 ? "" : ", or say cascade");
    fail(edit, WEFT_CONFLICT, text);
    return false;
}

void api_del(struct api_call *call)
{
    struct edit edit = {0};
    struct change change = change_of(call);
    bool begun = edit_begin(&edit, call);
    if (!begun && call->outcome.code == WEFT_NOT_FOUND) /* no such tenant: nothing to remove */
        outcome_clear(&call->outcome);
    if (begun && json_object_get(edit.group, edit.name)) {
        if (edit_release(&edit))
            json_object_del(edit.group, edit.name);
    } else if (call->outcome.code == WEFT_OK) {
        json_decref(edit.tree);
        edit.tree = NULL;
        call->outcome.changes = json_array();
    }
    edit_answer(&edit, &change);
}
