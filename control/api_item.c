/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "api_item.h"
#include "kinds.h"
#include "values.h"

static void set_number(json_t *item, const char *key, uint64_t number)
{
    json_object_set_new(item, key, json_integer((json_int_t)number));
}

static void set_number_if(json_t *item, const char *key, uint64_t number)
{
    if (number)
        set_number(item, key, number);
}

static void set_text(json_t *item, const char *key, const char *text)
{
    if (text)
        json_object_set_new(item, key, json_string(text));
}

json_t *item_tenant(const struct runtime *runtime, const struct model_tenant *tenant)
{
    struct runtime_totals totals = {0};
    json_t *item = json_pack("{s:s, s:i, s:i}", "name", tenant->name, "segments", tenant->segment_count,
                             "ports", tenant->port_count);
    json_t *limits = json_object();
    if (tenant->limit_ports >= 0)
        set_number(limits, "ports", (uint64_t)tenant->limit_ports);
    set_number_if(limits, "macs", (uint64_t)tenant->limit_macs);
    if (json_object_size(limits))
        json_object_set(item, "limits", limits);
    json_decref(limits);
    for (unsigned i = 0; i < tenant->port_count; i++)
        runtime_add(runtime, tenant->ports[i].id, &totals);
    runtime_set_totals(item, &totals);
    return item;
}

json_t *item_segment(const struct runtime *runtime, const struct model_segment *segment, uint64_t addresses)
{
    unsigned ports = 0, up = 0;
    json_t *item = json_pack("{s:s, s:s, s:s}", "name", segment->full_name, "tenant", segment->tenant->name,
                             "mode", segment->mode);
    for (unsigned i = 0; i < segment->tenant->port_count; i++) {
        const struct model_port *port = &segment->tenant->ports[i];
        if (model_port_in(port, segment)) {
            ports++;
            up += runtime_up(runtime, port->id);
        }
    }
    set_number_if(item, "vlan", segment->vlan);
    set_text(item, "uplink", segment->uplink ? segment->uplink->name : NULL);
    set_number(item, "ageing", segment->ageing);
    set_number_if(item, "macs", segment->macs);
    json_object_set_new(item, "isolate_ports", json_boolean(segment->isolate_ports));
    json_object_set_new(item, "static", segment->statics ? json_deep_copy(segment->statics) : json_object());
    set_number(item, "ports", ports);
    set_number(item, "ports_up", up);
    set_number(item, "addresses", addresses);
    return item;
}

/* Text from the dataplane may hold what a guest or the kernel said. */
static void set_clean_text(json_t *item, const char *key, const char *text, size_t size)
{
    char clean[256];
    size_t length = strnlen(text, size < sizeof(clean) ? size : sizeof(clean) - 1);
    for (size_t i = 0; i < length; i++)
        clean[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
    clean[length] = '\0';
    if (length)
        set_text(item, key, clean);
}

/* state, error and what the dataplane knows of the connection. */
static void set_state(json_t *item, const struct controller *controller, const struct runtime *runtime,
                      uint32_t id, bool enabled)
{
    static const struct dp_port_state none;
    const struct dp_port_state *state = runtime->state_of[id];
    const char *word = "unknown";
    char features[20];
    if (!enabled)
        word = "disabled";
    else if (state && state->ring_errors)
        word = "error";
    else if (state)
        word = state->link ? "up" : "down";
    set_text(item, "state", word);
    if (state)
        set_clean_text(item, "error", state->last_error, sizeof(state->last_error));
    else if (supervisor_client(controller->supervisor) == NULL)
        set_text(item, "error", "the dataplane is not running");
    if (!state)
        state = &none;
    snprintf(features, sizeof(features), "%" PRIx64, state->features);
    set_number(item, "queues_enabled", state->queues_enabled);
    set_text(item, "features", features);
    set_number(item, "connects", state->connects);
    set_number(item, "protocol_errors", state->protocol_errors);
    set_number(item, "ring_errors", state->ring_errors);
    set_number(item, "memory_bytes", state->memory_bytes);
    set_number(item, "addresses", state->learned);
}

static void set_counters(json_t *item, const struct runtime *runtime, uint32_t id)
{
    static const struct dp_port_counters none;
    const struct dp_port_counters *counters = runtime->counters_of[id] ? runtime->counters_of[id] : &none;
    set_number(item, "rx_packets", counters->rx_packets);
    set_number(item, "rx_bytes", counters->rx_bytes);
    set_number(item, "tx_packets", counters->tx_packets);
    set_number(item, "tx_bytes", counters->tx_bytes);
    set_number(item, "tx_segments", counters->tx_segments);
    set_number(item, "rx_forwarded", counters->rx_forwarded);
    set_number(item, "rx_flooded", counters->rx_flooded);
    set_number(item, "tx_offered", counters->tx_offered);
    set_number(item, "drops_from", runtime_drops_from(counters));
    set_number(item, "drops_to", runtime_drops_to(counters));
}

static void set_place(json_t *item, const struct model_port *port)
{
    set_text(item, "segment", port->segment ? port->segment->full_name : NULL);
    if (port->trunk_count) {
        json_t *trunk = json_array();
        for (unsigned i = 0; i < port->trunk_count; i++)
            json_array_append_new(trunk, json_string(port->trunk[i]->full_name));
        json_object_set_new(item, "trunk", trunk);
    }
    set_text(item, "native", port->native ? port->native->full_name : NULL);
}

static void set_addresses(json_t *item, const struct model_port *port)
{
    char text[VALUE_IP_SIZE];
    if (port->has_mac) {
        value_mac_text(port->mac, text);
        set_text(item, "mac", text);
    }
    if (port->address_count == 0)
        return;
    json_t *list = json_array();
    for (unsigned i = 0; i < port->address_count; i++) {
        const struct model_address *address = &port->addresses[i];
        inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, text, sizeof(text));
        json_array_append_new(list, json_string(text));
    }
    json_object_set_new(item, "ip", list);
}

json_t *item_port(const struct controller *controller, const struct runtime *runtime,
                  const struct model_port *port)
{
    json_t *item = json_pack("{s:s, s:s, s:s}", "name", port->full_name, "tenant", port->tenant->name, "kind",
                             port->tap ? "tap" : "vhost-user");
    set_place(item, port);
    set_addresses(item, port);
    set_number(item, "queues", port->queues);
    set_number(item, "mtu", port->mtu);
    set_text(item, "spoof", port->spoof_allowed ? "allow" : "deny");
    json_object_set_new(item, "isolated", json_boolean(port->isolated));
    json_object_set_new(item, "enabled", json_boolean(port->enabled));
    set_number_if(item, "storm_limit", port->storm_limit);
    set_number_if(item, "macs", port->macs);
    set_text(item, "socket", port->tap ? NULL : port->socket);
    json_object_set_new(item, "client", json_boolean(port->client));
    set_text(item, "tap", port->tap);
    set_state(item, controller, runtime, port->id, port->enabled);
    set_counters(item, runtime, port->id);
    return item;
}

json_t *item_uplink(const struct controller *controller, const struct runtime *runtime,
                    const struct model_uplink *uplink)
{
    json_t *item = json_pack("{s:s, s:s}", "name", uplink->name, "device", uplink->device);
    json_t *segments = json_array();
    for (unsigned i = 0; i < controller->model->segment_count; i++) {
        if (controller->model->segments[i].uplink == uplink)
            json_array_append_new(segments, json_string(controller->model->segments[i].full_name));
    }
    set_number(item, "mtu", uplink->mtu);
    json_object_set_new(item, "segments", segments);
    set_state(item, controller, runtime, uplink->id, true);
    set_counters(item, runtime, uplink->id);
    return item;
}

static int core_of(const struct runtime *runtime, uint32_t worker)
{
    for (size_t i = 0; i < runtime->worker_count; i++) {
        if (runtime->workers[i].id == worker)
            return runtime->workers[i].core;
    }
    return -1;
}

json_t *item_queues(const struct runtime *runtime, uint32_t port)
{
    json_t *list = json_array();
    for (size_t i = 0; i < runtime->queue_count; i++) {
        const struct dp_queue_state *queue = &runtime->queues[i];
        if (queue->port != port)
            continue;
        json_t *item = json_object();
        set_number(item, "queue", queue->queue);
        set_number(item, "worker", queue->worker);
        json_object_set_new(item, "core", json_integer(core_of(runtime, queue->worker)));
        set_number(item, "ring_size", queue->ring_size);
        json_object_set_new(item, "usable", json_boolean(queue->usable));
        set_number(item, "rx_packets", queue->rx_packets);
        set_number(item, "rx_bytes", queue->rx_bytes);
        set_number(item, "tx_packets", queue->tx_packets);
        set_number(item, "tx_bytes", queue->tx_bytes);
        json_array_append_new(list, item);
    }
    return list;
}

static void drops_of(json_t *items, const uint64_t drops[DP_DROP_COUNT], const char *direction,
                     const char *tenant, const char *port)
{
    for (enum dp_drop reason = 0; reason < DP_DROP_COUNT; reason++) {
        if (!drops[reason])
            continue;
        json_t *item = json_object();
        set_text(item, "tenant", tenant);
        set_text(item, "port", port);
        set_text(item, "direction", direction);
        set_text(item, "reason", dp_drop_name(reason));
        set_text(item, "text", dp_drop_text(reason));
        set_number(item, "packets", drops[reason]);
        json_array_append_new(items, item);
    }
}

void item_drops(json_t *items, const struct runtime *runtime, uint32_t id, const char *tenant,
                const char *port)
{
    const struct dp_port_counters *counters = runtime->counters_of[id];
    if (!counters)
        return;
    drops_of(items, counters->rx_drops, "from", tenant, port);
    drops_of(items, counters->tx_drops, "to", tenant, port);
}
