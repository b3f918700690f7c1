/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * list, show, fdb.flush, and finding objects by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api_call.h"
#include "api_item.h"
#include "values.h"

static const struct {
    const char *noun, *schema;
} nouns[] = {
#define X(symbol, noun, schema) {noun, schema},
    WEFT_NOUNS(X)
#undef X
};

static const char *noun_schema(struct api_call *call, const char *noun)
{
    const char *words[16] = {NULL};
    for (unsigned i = 0; i < sizeof(nouns) / sizeof(nouns[0]); i++) {
        if (strcmp(nouns[i].noun, noun) == 0)
            return nouns[i].schema;
        words[i] = nouns[i].noun;
    }
    const char *nearest = diagnostics_nearest(noun, words);
    outcome_fail(&call->outcome, WEFT_USAGE, "there is no noun \"%.40s\"%s%s%s", noun,
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    return NULL;
}

static bool not_found(struct api_call *call, const char *owner, const char *noun, const char *name,
                      json_t *group)
{
    const char *nearest = diagnostics_nearest_key(name, group);
    outcome_fail(&call->outcome, WEFT_NOT_FOUND, "%s%s %s \"%.40s\"%s%s%s", owner ? "tenant " : "there is no",
                 owner ? owner : "", noun, name, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                 nearest ? "\"?" : "");
    return false;
}

bool api_find_tenant(struct api_call *call, const char *name, struct model_tenant **tenant)
{
    *tenant = model_tenant(call->controller->model, name);
    return *tenant ||
           not_found(call, NULL, "tenant", name, json_object_get(call->controller->model->config, "tenants"));
}

bool api_find_uplink(struct api_call *call, const char *name, struct model_uplink **uplink)
{
    *uplink = model_uplink(call->controller->model, name);
    return *uplink ||
           not_found(call, NULL, "uplink", name, json_object_get(call->controller->model->config, "uplinks"));
}

/* The tenant of "acme/web"; *rest is "web". */
static struct model_tenant *find_owner(struct api_call *call, const char *noun, const char *name,
                                       const char **rest)
{
    char owner[64];
    const char *slash = strchr(name, '/');
    struct model_tenant *tenant;
    if (!slash || slash - name >= (int)sizeof(owner)) {
        outcome_fail(&call->outcome, WEFT_USAGE, "\"%.60s\" is not the name of a %s: TENANT/NAME", name,
                     noun);
        return NULL;
    }
    snprintf(owner, sizeof(owner), "%.*s", (int)(slash - name), name);
    *rest = slash + 1;
    return api_find_tenant(call, owner, &tenant) ? tenant : NULL;
}

static json_t *group_of(const struct api_call *call, const struct model_tenant *tenant, const char *group)
{
    json_t *tenants = json_object_get(call->controller->model->config, "tenants");
    return json_object_get(json_object_get(tenants, tenant->name), group);
}

bool api_find_segment(struct api_call *call, const char *name, struct model_segment **segment)
{
    const char *rest;
    struct model_tenant *tenant = find_owner(call, "segment", name, &rest);
    if (!tenant)
        return false;
    *segment = model_segment(tenant, rest);
    return *segment ||
           not_found(call, tenant->name, "has no segment", rest, group_of(call, tenant, "segments"));
}

bool api_find_port(struct api_call *call, const char *name, struct model_port **port)
{
    const char *rest;
    struct model_tenant *tenant = find_owner(call, "port", name, &rest);
    if (!tenant)
        return false;
    *port = model_port(tenant, rest);
    return *port || not_found(call, tenant->name, "has no port", rest, group_of(call, tenant, "ports"));
}

/* What the caller wants to see: NULL is everything. */
struct filter {
    struct model_tenant *tenant;
    struct model_segment *segment;
    struct model_port *port;
};

static bool filter_load(struct api_call *call, struct filter *filter)
{
    const char *tenant = api_string(call, "tenant"), *segment = api_string(call, "segment");
    const char *port = api_string(call, "port");
    return (!tenant || api_find_tenant(call, tenant, &filter->tenant)) &&
           (!segment || api_find_segment(call, segment, &filter->segment)) &&
           (!port || api_find_port(call, port, &filter->port));
}

static bool filter_port(const struct filter *filter, const struct model_port *port)
{
    return (!filter->tenant || port->tenant == filter->tenant) &&
           (!filter->segment || model_port_in(port, filter->segment)) &&
           (!filter->port || port == filter->port);
}

static bool filter_segment(const struct filter *filter, const struct model_segment *segment)
{
    return (!filter->tenant || segment->tenant == filter->tenant) &&
           (!filter->segment || segment == filter->segment) &&
           (!filter->port || model_port_in(filter->port, segment));
}

/* The learned and the configured addresses; empty without a dataplane. */
static struct dp_fdb_entry *load_addresses(struct api_call *call, size_t *count)
{
    struct dp_client *client = supervisor_client(call->controller->supervisor);
    void *entries = NULL;
    *count = 0;
    if (client && dp_client_dump_all(client, DP_KIND_FDB_ENTRY, &entries, count) < 0) {
        supervisor_disconnect(call->controller->supervisor, dp_client_error(client));
        *count = 0;
        return NULL;
    }
    return entries;
}

static void list_segments(struct api_call *call, const struct filter *filter, const struct runtime *runtime,
                          json_t *items)
{
    const struct model *model = call->controller->model;
    size_t count;
    uint32_t *learned = calloc(DP_SEGMENTS_MAX, sizeof(*learned));
    struct dp_fdb_entry *entries = load_addresses(call, &count);
    if (!learned)
        abort();
    for (size_t i = 0; i < count; i++) {
        if (entries[i].segment < DP_SEGMENTS_MAX && !entries[i].is_static)
            learned[entries[i].segment]++;
    }
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if (filter_segment(filter, segment))
            json_array_append_new(items, item_segment(runtime, segment, learned[segment->id]));
    }
    free(entries);
    free(learned);
}

static void list_addresses(struct api_call *call, const struct filter *filter, json_t *items)
{
    const struct model *model = call->controller->model;
    const struct model_segment **segments = calloc(DP_SEGMENTS_MAX, sizeof(*segments));
    const char **ports = calloc(DP_PORTS_MAX, sizeof(*ports));
    size_t count;
    struct dp_fdb_entry *entries = load_addresses(call, &count);
    if (!segments || !ports)
        abort();
    for (unsigned i = 0; i < model->segment_count; i++)
        segments[model->segments[i].id] = &model->segments[i];
    for (unsigned i = 0; i < model->port_count; i++)
        ports[model->ports[i].id] = model->ports[i].full_name;
    for (unsigned i = 0; i < model->uplink_count; i++)
        ports[model->uplinks[i].id] = model->uplinks[i].name;
    for (size_t i = 0; i < count; i++) {
        char mac[VALUE_MAC_SIZE];
        const struct dp_fdb_entry *entry = &entries[i];
        const struct model_segment *segment =
            entry->segment < DP_SEGMENTS_MAX ? segments[entry->segment] : NULL;
        const char *port = entry->port < DP_PORTS_MAX ? ports[entry->port] : NULL;
        if (!segment || !port || (filter->tenant && segment->tenant != filter->tenant) ||
            (filter->segment && segment != filter->segment) ||
            (filter->port && entry->port != filter->port->id))
            continue;
        value_mac_text(entry->mac, mac);
        json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:b, s:I}", "segment", segment->full_name,
                                               "mac", mac, "port", port, "static", entry->is_static, "age",
                                               (json_int_t)entry->age_s));
    }
    free(entries);
    free(segments);
    free(ports);
}

static void list_drops(struct api_call *call, const struct filter *filter, const struct runtime *runtime,
                       json_t *items)
{
    const struct model *model = call->controller->model;
    for (unsigned i = 0; i < model->port_count; i++) {
        const struct model_port *port = &model->ports[i];
        if (filter_port(filter, port))
            item_drops(items, runtime, port->id, port->tenant->name, port->full_name);
    }
    if (filter->tenant || filter->segment || filter->port)
        return;
    for (unsigned i = 0; i < model->uplink_count; i++)
        item_drops(items, runtime, model->uplinks[i].id, NULL, model->uplinks[i].name);
}

static void list_noun(struct api_call *call, const char *noun, const struct filter *filter, json_t *items)
{
    const struct controller *controller = call->controller;
    const struct model *model = controller->model;
    struct runtime *runtime = runtime_load(call->controller);
    if (strcmp(noun, "segment") == 0)
        list_segments(call, filter, runtime, items);
    else if (strcmp(noun, "fdb") == 0)
        list_addresses(call, filter, items);
    else if (strcmp(noun, "drops") == 0)
        list_drops(call, filter, runtime, items);
    for (unsigned i = 0; i < model->tenant_count && strcmp(noun, "tenant") == 0; i++) {
        if (!filter->tenant || filter->tenant == &model->tenants[i])
            json_array_append_new(items, item_tenant(runtime, &model->tenants[i]));
    }
    for (unsigned i = 0; i < model->port_count && strcmp(noun, "port") == 0; i++) {
        if (filter_port(filter, &model->ports[i]))
            json_array_append_new(items, item_port(controller, runtime, &model->ports[i]));
    }
    for (unsigned i = 0; i < model->uplink_count && strcmp(noun, "uplink") == 0; i++)
        json_array_append_new(items, item_uplink(controller, runtime, &model->uplinks[i]));
    runtime_free(runtime);
}

void api_list(struct api_call *call)
{
    const char *noun = api_string(call, "noun"), *schema = noun_schema(call, noun);
    struct filter filter = {0};
    if (!schema || !filter_load(call, &filter))
        return;
    json_t *items = json_array();
    list_noun(call, noun, &filter, items);
    call->result = json_pack("{s:s, s:o}", "schema", schema, "items", items);
}

static json_t *show_item(struct api_call *call, const char *noun, const char *name)
{
    struct filter filter = {0};
    struct model_uplink *uplink;
    json_t *item = NULL;
    struct runtime *runtime = runtime_load(call->controller);
    if (strcmp(noun, "port") == 0 && api_find_port(call, name, &filter.port)) {
        item = item_port(call->controller, runtime, filter.port);
        json_object_set_new(item, "queue", item_queues(runtime, filter.port->id));
    } else if (strcmp(noun, "uplink") == 0 && api_find_uplink(call, name, &uplink)) {
        item = item_uplink(call->controller, runtime, uplink);
    } else if (strcmp(noun, "tenant") == 0 && api_find_tenant(call, name, &filter.tenant)) {
        item = item_tenant(runtime, filter.tenant);
    } else if (strcmp(noun, "segment") == 0 && api_find_segment(call, name, &filter.segment)) {
        json_t *items = json_array();
        list_segments(call, &filter, runtime, items);
        item = json_incref(json_array_get(items, 0));
        json_decref(items);
    }
    runtime_free(runtime);
    return item;
}

void api_show(struct api_call *call)
{
    const char *noun = api_string(call, "noun"), *schema = noun_schema(call, noun);
    if (!schema)
        return;
    if (strcmp(noun, "fdb") == 0 || strcmp(noun, "drops") == 0) {
        outcome_fail(&call->outcome, WEFT_USAGE, "%s is listed, not shown", noun);
        return;
    }
    json_t *item = show_item(call, noun, api_string(call, "name"));
    if (item)
        call->result = json_pack("{s:s, s:[o]}", "schema", schema, "items", item);
}

void api_flush(struct api_call *call)
{
    struct filter filter = {0};
    struct dp_client *client = supervisor_client(call->controller->supervisor);
    size_t count, flushed = 0;
    if (!filter_load(call, &filter))
        return;
    if (!client) {
        outcome_fail(&call->outcome, WEFT_FAILED, "the dataplane is not running: %s",
                     supervisor_reason(call->controller->supervisor));
        return;
    }
    struct dp_fdb_entry *entries = load_addresses(call, &count);
    for (size_t i = 0; i < count; i++)
        flushed += !entries[i].is_static && (!filter.segment || entries[i].segment == filter.segment->id) &&
                   (!filter.port || entries[i].port == filter.port->id);
    free(entries);
    client = supervisor_client(call->controller->supervisor);
    if (!client || dp_client_flush(client, filter.segment ? filter.segment->id : 0,
                                   filter.port ? filter.port->id : 0) < 0) {
        outcome_fail(&call->outcome, WEFT_FAILED, "the dataplane did not forget: %s",
                     client ? dp_client_error(client) : "the connection was lost");
        return;
    }
    call->result = json_pack("{s:I}", "flushed", (json_int_t)flushed);
}
