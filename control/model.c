/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model.h"
#include "schema.h"
#include "values.h"
#include "weft_api.h"

#define GUEST_SESSIONS 250000 /* of a guest, of whom nothing is said */

void *model_zeroed(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        abort();
    return memory;
}

/* Where "tenants.acme.ports.vm1.mtu" is: the value; a table's key; or the innermost part of it that exists.
 */
static struct document_position position_of(const struct document_node *root, const char *path)
{
    const struct document_node *deepest = NULL;
    if (!root)
        return (struct document_position){0};
    document_find(root, path, &deepest);
    return deepest->kind == DOCUMENT_MAPPING && deepest->key ? deepest->key_position : deepest->position;
}

void model_mistake(const struct model_check *check, enum weft_code code, const char *path, const char *format,
                   ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    diagnostics_add(check->diagnostics, position_of(check->root, path), code, path, "%s", text);
}

static int64_t number_of(json_t *table, const char *key, int64_t fallback)
{
    json_t *value = json_object_get(table, key);
    return value ? json_integer_value(value) : fallback;
}

static bool bool_of(json_t *table, const char *key, bool fallback)
{
    json_t *value = json_object_get(table, key);
    return value ? json_is_true(value) : fallback;
}

struct model_tenant *model_tenant(const struct model *model, const char *name)
{
    for (unsigned i = 0; i < model->tenant_count; i++) {
        if (strcmp(model->tenants[i].name, name) == 0)
            return &model->tenants[i];
    }
    return NULL;
}

struct model_uplink *model_uplink(const struct model *model, const char *name)
{
    for (unsigned i = 0; i < model->uplink_count; i++) {
        if (strcmp(model->uplinks[i].name, name) == 0)
            return &model->uplinks[i];
    }
    return NULL;
}

struct model_segment *model_segment(const struct model_tenant *tenant, const char *name)
{
    for (unsigned i = 0; i < tenant->segment_count; i++) {
        if (strcmp(tenant->segments[i].name, name) == 0)
            return &tenant->segments[i];
    }
    return NULL;
}

struct model_port *model_port(const struct model_tenant *tenant, const char *name)
{
    for (unsigned i = 0; i < tenant->port_count; i++) {
        if (strcmp(tenant->ports[i].name, name) == 0)
            return &tenant->ports[i];
    }
    return NULL;
}

bool model_port_in(const struct model_port *port, const struct model_segment *segment)
{
    for (unsigned i = 0; i < port->trunk_count; i++) {
        if (port->trunk[i] == segment)
            return true;
    }
    return port->segment == segment;
}

static void uplinks_build(const struct model_check *check)
{
    struct model *model = check->model;
    json_t *uplinks = json_object_get(model->config, "uplinks"), *table;
    const char *name;
    model->uplinks = model_zeroed(json_object_size(uplinks), sizeof(*model->uplinks));
    json_object_foreach (uplinks, name, table) {
        model->uplinks[model->uplink_count] = (struct model_uplink){
            .name = name,
            .device = json_string_value(json_object_get(table, "device")),
            .mtu = (uint32_t)number_of(table, "mtu", 0),
            .take_over = bool_of(table, "take-over", false),
        };
        model_uplink_build(&model->uplinks[model->uplink_count++], table);
    }
    for (unsigned i = 0; i < model->uplink_count; i++)
        model_uplink_join(check, &model->uplinks[i]);
}

static void segment_build(const struct model_check *check, struct model_tenant *tenant, const char *name,
                          json_t *table)
{
    struct model_segment *segment = &tenant->segments[tenant->segment_count++];
    segment->tenant = tenant;
    segment->name = name;
    snprintf(segment->full_name, sizeof(segment->full_name), "%s/%s", tenant->name, name);
    segment->mode = json_string_value(json_object_get(table, "mode"));
    segment->vlan = (uint32_t)number_of(table, "vlan", 0);
    segment->ageing = (uint32_t)number_of(table, "ageing", 300);
    segment->isolate_ports = bool_of(table, "isolate-ports", false);
    segment->follow_uplink = bool_of(table, "follow-uplink", true);
    segment->macs = (uint32_t)number_of(table, "macs", 0);
    segment->statics = json_object_get(table, "static");
    model_network_build(segment, table);
    const char *uplink = json_string_value(json_object_get(table, "uplink"));
    if (!uplink)
        return;
    segment->uplink = model_uplink(check->model, uplink);
    if (!segment->uplink) {
        char path[160];
        json_t *uplinks = json_object_get(check->model->config, "uplinks");
        const char *nearest = diagnostics_nearest_key(uplink, uplinks);
        snprintf(path, sizeof(path), "tenants.%s.segments.%s.uplink", tenant->name, name);
        model_mistake(check, WEFT_INVALID, path,
                      nearest ? "there is no uplink \"%s\"; did you mean \"%s\"?"
                              : "there is no uplink \"%s\"",
                      uplink, nearest);
    }
}

/* The segment that a port's key names, or NULL with the mistake reported. */
static struct model_segment *segment_named(const struct model_check *check, const struct model_port *port,
                                           const char *key, const char *name)
{
    if (!name)
        return NULL;
    struct model_segment *segment = model_segment(port->tenant, name);
    if (segment)
        return segment;
    char path[160];
    json_t *tenants = json_object_get(check->model->config, "tenants");
    json_t *segments = json_object_get(json_object_get(tenants, port->tenant->name), "segments");
    const char *nearest = diagnostics_nearest_key(name, segments);
    snprintf(path, sizeof(path), "tenants.%s.ports.%s.%s", port->tenant->name, port->name, key);
    model_mistake(check, WEFT_INVALID, path,
                  nearest ? "tenant %s has no segment \"%s\"; did you mean \"%s\"?"
                          : "tenant %s has no segment \"%s\"",
                  port->tenant->name, name, nearest);
    return NULL;
}

static void port_build_segments(const struct model_check *check, struct model_port *port, json_t *table)
{
    json_t *trunk = json_object_get(table, "trunk"), *name;
    size_t index;
    port->segment =
        segment_named(check, port, "segment", json_string_value(json_object_get(table, "segment")));
    port->trunk = model_zeroed(json_array_size(trunk), sizeof(struct model_segment *));
    json_array_foreach (trunk, index, name) {
        struct model_segment *segment = segment_named(check, port, "trunk", json_string_value(name));
        if (segment)
            port->trunk[port->trunk_count++] = segment;
    }
    port->native = segment_named(check, port, "native", json_string_value(json_object_get(table, "native")));
}

static void port_build_addresses(struct model_port *port, json_t *table)
{
    json_t *list = json_object_get(table, "ip"), *text;
    const char *mac = json_string_value(json_object_get(table, "mac"));
    size_t index;
    port->has_mac = mac && value_mac(mac, port->mac) == 0;
    port->addresses = model_zeroed(json_array_size(list), sizeof(*port->addresses));
    json_array_foreach (list, index, text) {
        struct model_address *address = &port->addresses[port->address_count];
        int family = value_ip(json_string_value(text), address->bytes);
        if (family > 0) {
            address->family = (uint8_t)family;
            port->address_count++;
        }
    }
}

static void port_build_socket(const struct model_check *check, struct model_port *port, json_t *table,
                              const char *run_dir)
{
    const char *own = json_string_value(json_object_get(table, "socket"));
    int length;
    if (own)
        length = snprintf(port->socket, sizeof(port->socket), "%s", own);
    else
        length = snprintf(port->socket, sizeof(port->socket), "%s/" WEFT_VHOST_DIR "/%s.%s", run_dir,
                          port->tenant->name, port->name);
    if (length >= (int)sizeof(port->socket) && !port->tap) {
        char path[160];
        snprintf(path, sizeof(path), "tenants.%s.ports.%s", port->tenant->name, port->name);
        model_mistake(check, WEFT_INVALID, path,
                      "the path of its socket is longer than %zu characters: %.60s...",
                      sizeof(port->socket) - 1, port->socket);
    }
}

static void port_build(const struct model_check *check, struct model_tenant *tenant, const char *name,
                       json_t *table, const char *run_dir)
{
    struct model_port *port = &tenant->ports[tenant->port_count++];
    port->tenant = tenant;
    port->name = name;
    snprintf(port->full_name, sizeof(port->full_name), "%s/%s", tenant->name, name);
    const char *spoof = json_string_value(json_object_get(table, "spoof"));
    port->queues = (uint32_t)number_of(table, "queues", 1);
    port->mtu = (uint32_t)number_of(table, "mtu", 1500);
    port->client = bool_of(table, "client", false);
    port->tap = json_string_value(json_object_get(table, "tap"));
    port->spoof_allowed = spoof && strcmp(spoof, "allow") == 0;
    port->isolated_set = json_object_get(table, "isolated") != NULL;
    port->isolated = bool_of(table, "isolated", false);
    port->storm_limit = (uint32_t)number_of(table, "storm-limit", 0);
    port->macs = (uint32_t)number_of(table, "macs", 0);
    port->enabled = bool_of(table, "enabled", true);
    port_build_segments(check, port, table);
    port_build_addresses(port, table);
    port_build_socket(check, port, table, run_dir);
    model_vm_build(check, port, table);
}

/* No guest takes all that is its tenant's, unless the configuration says so. */
static uint32_t guest_sessions(json_t *limits)
{
    int64_t of_tenant = number_of(limits, "sessions", 0);
    int64_t part = of_tenant && of_tenant / 2 < GUEST_SESSIONS ? (of_tenant + 1) / 2 : GUEST_SESSIONS;
    return (uint32_t)number_of(limits, "sessions-per-guest", part);
}

static void tenants_build(const struct model_check *check, const char *run_dir)
{
    struct model *model = check->model;
    json_t *tenants = json_object_get(model->config, "tenants"), *tenant_table, *table;
    const char *tenant_name, *name;
    size_t segment_count = 0, port_count = 0;
    json_object_foreach (tenants, tenant_name, tenant_table) {
        segment_count += json_object_size(json_object_get(tenant_table, "segments"));
        port_count += json_object_size(json_object_get(tenant_table, "ports"));
    }
    model->tenants = model_zeroed(json_object_size(tenants), sizeof(*model->tenants));
    model->segments = model_zeroed(segment_count, sizeof(*model->segments));
    model->ports = model_zeroed(port_count, sizeof(*model->ports));
    json_object_foreach (tenants, tenant_name, tenant_table) {
        struct model_tenant *tenant = &model->tenants[model->tenant_count++];
        json_t *limits = json_object_get(tenant_table, "limits");
        *tenant = (struct model_tenant){
            .name = tenant_name,
            .limit_ports = number_of(limits, "ports", -1),
            .limit_macs = number_of(limits, "macs", 0),
            .limit_sessions = (uint32_t)number_of(limits, "sessions", 0),
            .limit_guest_sessions = guest_sessions(limits),
            .segments = model->segments + model->segment_count,
            .ports = model->ports + model->port_count,
        };
        json_object_foreach (json_object_get(tenant_table, "segments"), name, table)
            segment_build(check, tenant, name, table);
        json_object_foreach (json_object_get(tenant_table, "ports"), name, table)
            port_build(check, tenant, name, table, run_dir);
        for (unsigned i = 0; i < tenant->segment_count; i++) {
            json_t *nat = json_object_get(tenant_table, "nat");
            model_nat_build(check, &tenant->segments[i], json_object_get(nat, tenant->segments[i].name));
        }
        model->segment_count += tenant->segment_count;
        model->port_count += tenant->port_count;
    }
}

void model_free(struct model *model)
{
    if (!model)
        return;
    for (unsigned i = 0; i < model->port_count; i++) {
        free(model->ports[i].trunk);
        free(model->ports[i].addresses);
        free(model->ports[i].vm);
    }
    for (unsigned i = 0; i < model->segment_count; i++)
        model_nat_free(&model->segments[i]);
    free(model->tenants);
    free(model->uplinks);
    free(model->segments);
    free(model->ports);
    json_decref(model->config);
    free(model);
}

struct model *model_build(json_t *config, const char *run_dir, const struct document_node *root,
                          struct diagnostics *diagnostics)
{
    size_t before = diagnostics->count;
    struct model *model = model_zeroed(1, sizeof(*model));
    struct model_check check = {model, root, diagnostics, run_dir};
    model->config = json_incref(config);
    uplinks_build(&check);
    tenants_build(&check, run_dir);
    model_validate(&check);
    if (diagnostics->count != before) {
        model_free(model);
        return NULL;
    }
    return model;
}

struct model *model_from_document(const struct document *document, const char *run_dir,
                                  struct diagnostics *diagnostics)
{
    size_t before = diagnostics->count;
    const struct document_node *root = document_root(document);
    json_t *config = schema_check(root, diagnostics);
    struct model *model = config ? model_build(config, run_dir, root, diagnostics) : NULL;
    json_decref(config);
    diagnostics_sort(diagnostics);
    if (diagnostics->count != before) {
        model_free(model);
        return NULL;
    }
    return model;
}
