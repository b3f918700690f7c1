/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the schema cannot say: what must go together, what excludes each other, what must be unique, what is
 * too many.
 */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "dataplane_api.h"
#include "model.h"
#include "uplink.h"
#include "values.h"

#define PATH_SIZE 200u

__attribute__((format(printf, 4, 5))) static void segment_mistake(const struct model_check *check,
                                                                  const struct model_segment *segment,
                                                                  const char *key, const char *format, ...);
__attribute__((format(printf, 4, 5))) static void port_mistake(const struct model_check *check,
                                                               const struct model_port *port, const char *key,
                                                               const char *format, ...);

static void mistake_below(const struct model_check *check, const char *tenant, const char *group,
                          const char *name, const char *key, const char *format, va_list arguments)
{
    char path[PATH_SIZE], text[400];
    snprintf(path, sizeof(path), "tenants.%s.%s.%s%s%s", tenant, group, name, key ? "." : "", key ? key : "");
    vsnprintf(text, sizeof(text), format, arguments);
    model_mistake(check, WEFT_INVALID, path, "%s", text);
}

static void segment_mistake(const struct model_check *check, const struct model_segment *segment,
                            const char *key, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    mistake_below(check, segment->tenant->name, "segments", segment->name, key, format, arguments);
    va_end(arguments);
}

static void port_mistake(const struct model_check *check, const struct model_port *port, const char *key,
                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    mistake_below(check, port->tenant->name, "ports", port->name, key, format, arguments);
    va_end(arguments);
}

/* Whether the user wrote the key, though perhaps with a value that the schema refused (and reported). */
static bool was_written(const struct model_check *check, const char *tenant, const char *group,
                        const char *name, const char *key)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "tenants.%s.%s.%s.%s", tenant, group, name, key);
    return check->root && document_find(check->root, path, NULL);
}

const char *model_claim(json_t *claims, const char *what, const char *who)
{
    json_t *before = json_object_get(claims, what);
    if (before)
        return json_string_value(before);
    json_object_set_new(claims, what, json_string(who));
    return NULL;
}

/* The mode wants an uplink: which there are, or how to make one. */
static void needs_uplink(const struct model_check *check, const struct model_segment *segment)
{
    char names[200] = "";
    for (unsigned i = 0; i < check->model->uplink_count; i++) {
        size_t length = strlen(names);
        if (length + WEFT_NAME_LENGTH + 10 > sizeof(names)) {
            snprintf(names + length, sizeof(names) - length, ", ...");
            break;
        }
        snprintf(names + length, sizeof(names) - length, "%s%s", i ? ", " : "",
                 check->model->uplinks[i].name);
    }
    if (names[0])
        segment_mistake(check, segment, NULL, "mode %s needs an uplink (uplink, --uplink); there is: %s",
                        segment->mode, names);
    else
        segment_mistake(
            check, segment, NULL,
            "mode %s needs an uplink (uplink, --uplink), and there is none; \"weft uplink add NAME "
            "--device af_packet:INTERFACE\" makes one",
            segment->mode);
}

static void validate_segment(const struct model_check *check, const struct model_segment *segment,
                             json_t *claims)
{
    json_t *tenants = json_object_get(check->model->config, "tenants");
    json_t *segments = json_object_get(json_object_get(tenants, segment->tenant->name), "segments");
    bool names_uplink = json_object_get(json_object_get(segments, segment->name), "uplink") != NULL;
    if (!segment->mode) {
        if (!was_written(check, segment->tenant->name, "segments", segment->name, "mode"))
            segment_mistake(check, segment, NULL, "needs a mode, like \"mode: isolated\"");
        return;
    }
    bool bridged = strcmp(segment->mode, "bridged") == 0;
    if ((bridged || segment->is_nat) && !names_uplink)
        needs_uplink(check, segment);
    if (!bridged && !segment->is_nat && segment->uplink)
        segment_mistake(check, segment, "uplink", "mode %s has no uplink; modes bridged and nat do",
                        segment->mode);
    if (bridged && segment->uplink && segment->uplink->parent) {
        segment_mistake(check, segment, "uplink",
                        "uplink %s is a VLAN for mode nat; say uplink %s and vlan %u", segment->uplink->name,
                        segment->uplink->parent->name, segment->uplink->vlan);
    } else if (bridged && segment->uplink) {
        char what[96];
        snprintf(what, sizeof(what), "uplink %s vlan %u", segment->uplink->name, segment->vlan);
        const char *other = model_claim(claims, what, segment->full_name);
        if (other && segment->vlan)
            segment_mistake(check, segment, "vlan", "segment %s has VLAN %u on uplink %s already", other,
                            segment->vlan, segment->uplink->name);
        else if (other)
            segment_mistake(check, segment, "uplink", "segment %s is untagged on uplink %s already", other,
                            segment->uplink->name);
    }
}

static void validate_statics(const struct model_check *check, const struct model_segment *segment,
                             json_t *claims)
{
    const char *mac;
    json_t *value;
    json_object_foreach (segment->statics, mac, value) {
        char key[40], what[160];
        const struct model_port *port = model_port(segment->tenant, json_string_value(value));
        snprintf(key, sizeof(key), "static.%s", mac);
        if (!port) {
            segment_mistake(check, segment, key, "tenant %s has no port \"%s\"", segment->tenant->name,
                            json_string_value(value));
            continue;
        }
        if (!model_port_in(port, segment))
            segment_mistake(check, segment, key, "port %s is not in segment %s", port->full_name,
                            segment->full_name);
        snprintf(what, sizeof(what), "%s mac %s", segment->full_name, mac);
        const char *other = model_claim(claims, what, port->full_name);
        if (other && strcmp(other, port->full_name) != 0)
            segment_mistake(check, segment, key, "is the address of port %s", other);
    }
}

static void validate_trunk(const struct model_check *check, const struct model_port *port)
{
    json_t *claims = json_object();
    for (unsigned i = 0; i < port->trunk_count; i++) {
        const struct model_segment *segment = port->trunk[i];
        if (segment == port->native)
            continue;
        if (!segment->vlan) {
            port_mistake(check, port, "trunk", "segment %s needs a vlan to be on a trunk (or be its native)",
                         segment->full_name);
            continue;
        }
        char vlan[16];
        snprintf(vlan, sizeof(vlan), "%u", segment->vlan);
        const char *other = model_claim(claims, vlan, segment->full_name);
        if (other)
            port_mistake(check, port, "trunk", "segments %s and %s have the same VLAN %s", other,
                         segment->full_name, vlan);
    }
    json_decref(claims);
    if (port->native && !model_port_in(port, port->native))
        port_mistake(check, port, "native", "segment \"%s\" is not in the trunk's list", port->native->name);
}

static void validate_port_place(const struct model_check *check, const struct model_port *port, json_t *table)
{
    bool access = json_object_get(table, "segment") != NULL, trunk = json_object_get(table, "trunk") != NULL;
    if (access && trunk)
        port_mistake(check, port, "trunk", "a port has a segment or a trunk, not both");
    else if (!access && !trunk && !was_written(check, port->tenant->name, "ports", port->name, "segment") &&
             !was_written(check, port->tenant->name, "ports", port->name, "trunk"))
        port_mistake(check, port, NULL, "needs a segment (or a trunk: a list of segments)");
    if (!trunk && json_object_get(table, "native"))
        port_mistake(check, port, "native", "only a trunk has a native segment");
    validate_trunk(check, port);
}

static void validate_port_kind(const struct model_check *check, const struct model_port *port, json_t *table,
                               json_t *claims)
{
    char what[MODEL_SOCKET_SIZE + 16];
    if (port->tap && json_object_get(table, "client"))
        port_mistake(check, port, "client", "a tap port has no vhost-user socket");
    if (port->tap && json_object_get(table, "socket"))
        port_mistake(check, port, "socket", "a tap port has no vhost-user socket");
    if (port->tap)
        snprintf(what, sizeof(what), "tap %s", port->tap);
    else
        snprintf(what, sizeof(what), "socket %s", port->socket);
    const char *other = model_claim(claims, what, port->full_name);
    if (other)
        port_mistake(check, port, port->tap ? "tap" : "socket", "port %s has this %s already", other,
                     port->tap ? "interface" : "socket");
}

/* The port's own addresses are nobody else's in the segment. */
static void validate_port_addresses(const struct model_check *check, const struct model_port *port,
                                    const struct model_segment *segment, json_t *table, json_t *claims)
{
    char what[200];
    json_t *text;
    size_t index;
    if (port->has_mac) {
        snprintf(what, sizeof(what), "%s mac %s", segment->full_name,
                 json_string_value(json_object_get(table, "mac")));
        const char *other = model_claim(claims, what, port->full_name);
        if (other && strcmp(other, port->full_name) != 0)
            port_mistake(check, port, "mac", "is the address of port %s in segment %s", other,
                         segment->full_name);
    }
    json_array_foreach (json_object_get(table, "ip"), index, text) {
        snprintf(what, sizeof(what), "%s ip %s", segment->full_name, json_string_value(text));
        const char *other = model_claim(claims, what, port->full_name);
        if (other && strcmp(other, port->full_name) != 0)
            port_mistake(check, port, "ip", "%s is an address of port %s in segment %s",
                         json_string_value(text), other, segment->full_name);
    }
}

static void validate_port(const struct model_check *check, const struct model_port *port, json_t *claims)
{
    json_t *tenants = json_object_get(check->model->config, "tenants");
    json_t *ports = json_object_get(json_object_get(tenants, port->tenant->name), "ports");
    json_t *table = json_object_get(ports, port->name);
    validate_port_place(check, port, table);
    validate_port_kind(check, port, table, claims);
    if (port->segment)
        validate_port_addresses(check, port, port->segment, table, claims);
    for (unsigned i = 0; i < port->trunk_count; i++)
        validate_port_addresses(check, port, port->trunk[i], table, claims);
}

static void validate_limits(const struct model_check *check, const struct model_tenant *tenant)
{
    char path[PATH_SIZE];
    if (tenant->limit_ports >= 0 && tenant->port_count > tenant->limit_ports) {
        snprintf(path, sizeof(path), "tenants.%s.limits.ports", tenant->name);
        model_mistake(check, WEFT_LIMIT, path, "tenant %s has %u ports, its limit is %lld", tenant->name,
                      tenant->port_count, (long long)tenant->limit_ports);
    }
    int64_t wanted = 0; /* one at least for a segment that does not say */
    for (unsigned i = 0; i < tenant->segment_count; i++)
        wanted += tenant->segments[i].macs ? tenant->segments[i].macs : 1;
    if (tenant->limit_macs && wanted > tenant->limit_macs) {
        snprintf(path, sizeof(path), "tenants.%s.limits.macs", tenant->name);
        model_mistake(check, WEFT_LIMIT, path,
                      "tenant %s may learn %lld addresses, its segments want %lld at least", tenant->name,
                      (long long)tenant->limit_macs, (long long)wanted);
    }
}

static void validate_uplinks(const struct model_check *check, json_t *claims)
{
    char path[PATH_SIZE], what[280];
    static const char *const places[] = {"device", "interface"};
    for (unsigned i = 0; i < check->model->uplink_count; i++) {
        const struct model_uplink *uplink = &check->model->uplinks[i];
        snprintf(path, sizeof(path), "uplinks.%s.device", uplink->name);
        if (!uplink->device) {
            if (!check->root || !document_find(check->root, path, NULL))
                model_mistake(check, WEFT_INVALID, path, "missing; it says how the uplink is reached");
            continue;
        }
        if (uplink->take_over && uplink_kind(uplink->device) != UPLINK_PCI) {
            char key[PATH_SIZE];
            snprintf(key, sizeof(key), "uplinks.%s.take-over", uplink->name);
            model_mistake(check, WEFT_INVALID, key, "is for pci: other devices are not taken from the host");
        }
        bool shared = uplink_is_shared(uplink->device);
        const char *place = shared ? uplink_argument(uplink->device) : uplink->device;
        snprintf(what, sizeof(what), "%s %.*s", places[shared], (int)strcspn(place, ","), place);
        const char *other = model_claim(claims, what, uplink->name);
        if (other)
            model_mistake(check, WEFT_INVALID, path, "is the device of uplink %s", other);
    }
}

static void validate_cores(const struct model_check *check)
{
    cpu_set_t set;
    size_t index;
    json_t *core, *dataplane = json_object_get(check->model->config, "dataplane");
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return;
    json_array_foreach (json_object_get(dataplane, "cores"), index, core) {
        long long number = json_integer_value(core);
        if (number >= CPU_SETSIZE || !CPU_ISSET((size_t)number, &set))
            model_mistake(check, WEFT_INVALID, "dataplane.cores",
                          "this machine has no CPU %lld that weftd may use", number);
    }
}

/* Numbers of the dataplane: weft's own ports and segments need some as well. */
static void validate_counts(const struct model_check *check)
{
    const struct model *model = check->model;
    unsigned ports = model->port_count + model->uplink_count, segments = model->segment_count;
    for (unsigned i = 0; i < model->segment_count; i++)
        ports += model->segments[i].is_host_only ? 2 : model->segments[i].is_nat;
    for (unsigned i = 0; i < model->uplink_count; i++) {
        ports += model->uplinks[i].is_outside;
        segments += model->uplinks[i].is_outside;
    }
    if (ports >= DP_PORTS_MAX)
        model_mistake(check, WEFT_LIMIT, "tenants",
                      "%u ports, uplinks, and interfaces of host and router; %u are possible", ports,
                      DP_PORTS_MAX - 1);
    if (segments >= DP_SEGMENTS_MAX)
        model_mistake(check, WEFT_LIMIT, "tenants", "%u segments, %u are possible", segments,
                      DP_SEGMENTS_MAX - 1);
}

void model_validate(const struct model_check *check)
{
    const struct model *model = check->model;
    json_t *claims = json_object();
    validate_cores(check);
    validate_uplinks(check, claims);
    for (unsigned i = 0; i < model->segment_count; i++)
        validate_segment(check, &model->segments[i], claims);
    for (unsigned i = 0; i < model->port_count; i++)
        validate_port(check, &model->ports[i], claims);
    for (unsigned i = 0; i < model->segment_count; i++)
        validate_statics(check, &model->segments[i], claims);
    model_vm_validate(check, claims);
    for (unsigned i = 0; i < model->tenant_count; i++)
        validate_limits(check, &model->tenants[i]);
    model_validate_network(check, claims);
    validate_counts(check);
    json_decref(claims);
}
