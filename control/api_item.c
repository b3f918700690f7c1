/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tenants, segments, ports and uplinks as the API shows them (docs/api.md, "Items"): what is configured, from
 * the model, and what it does, from the view.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "api_nat.h"
#include "pci.h"
#include "values.h"
#include "view.h"

static void set_integer(json_t *item, const char *key, uint64_t value)
{
    json_object_set_new(item, key, json_integer((json_int_t)value));
}

static void set_integer_if(json_t *item, const char *key, uint64_t value)
{
    if (value)
        set_integer(item, key, value);
}

/* Names and texts from other processes: valid UTF-8 without control characters. */
static void set_text(json_t *item, const char *key, const char *text)
{
    char clean[256];
    size_t length = 0;
    for (; *text && length < sizeof(clean) - 1; text++)
        clean[length++] = *text >= ' ' && *text <= '~' ? *text : '?';
    clean[length] = '\0';
    json_object_set_new(item, key, json_string(clean));
}

json_t *item_tenant(const struct view *view, const struct model_tenant *tenant)
{
    struct view_sum sum = {0};
    json_t *item = json_pack("{s:s, s:i}", "name", tenant->name, "segments", tenant->segment_count);
    json_t *limits = json_object();
    if (tenant->limit_ports >= 0)
        set_integer(limits, "ports", (uint64_t)tenant->limit_ports);
    set_integer_if(limits, "macs", (uint64_t)tenant->limit_macs);
    set_integer_if(limits, "sessions", tenant->limit_sessions);
    for (unsigned i = 0; i < tenant->segment_count; i++)
        if (tenant->segments[i].is_nat)
            set_integer(limits, "sessions-per-guest", tenant->limit_guest_sessions);
    if (json_object_size(limits))
        json_object_set(item, "limits", limits);
    json_decref(limits);
    for (unsigned i = 0; i < tenant->port_count; i++)
        view_add(view, tenant->ports[i].id, &sum);
    view_sum_json(&sum, item);
    nat_item_tenant(view, tenant, item);
    return item;
}

json_t *item_segment(const struct view *view, const struct model *model, const struct model_segment *segment)
{
    struct view_sum sum = {0};
    uint64_t addresses = 0;
    (void)model;
    for (unsigned i = 0; i < segment->tenant->port_count; i++) {
        if (model_port_in(&segment->tenant->ports[i], segment))
            view_add(view, segment->tenant->ports[i].id, &sum);
    }
    for (size_t i = 0; i < view->address_count; i++)
        addresses += view->addresses[i].segment == segment->id && !view->addresses[i].is_static;
    json_t *item = json_pack("{s:s, s:s, s:s}", "name", segment->full_name, "tenant", segment->tenant->name,
                             "mode", segment->mode);
    set_integer_if(item, "vlan", segment->vlan);
    if (segment->uplink)
        json_object_set_new(item, "uplink", json_string(segment->uplink->name));
    if (segment->uplink)
        json_object_set_new(item, "follow_uplink", json_boolean(segment->follow_uplink));
    set_integer(item, "ageing", segment->ageing);
    set_integer_if(item, "macs", segment->macs);
    json_object_set_new(item, "isolate_ports", json_boolean(segment->isolate_ports));
    json_object_set_new(item, "static", segment->statics ? json_deep_copy(segment->statics) : json_object());
    set_integer(item, "ports", sum.ports);
    set_integer(item, "ports_up", sum.ports_up);
    set_integer(item, "addresses", addresses);
    nat_item_segment(view, segment, item);
    return item;
}

static void set_membership(json_t *item, const struct model_port *port)
{
    if (port->segment)
        json_object_set_new(item, "segment", json_string(port->segment->name));
    if (port->trunk_count) {
        json_t *trunk = json_array();
        for (unsigned i = 0; i < port->trunk_count; i++)
            json_array_append_new(trunk, json_string(port->trunk[i]->name));
        json_object_set_new(item, "trunk", trunk);
    }
    if (port->native)
        json_object_set_new(item, "native", json_string(port->native->name));
}

static void set_addresses(json_t *item, const struct model_port *port)
{
    if (port->has_mac) {
        char mac[VALUE_MAC_SIZE];
        value_mac_text(port->mac, mac);
        json_object_set_new(item, "mac", json_string(mac));
    }
    if (!port->address_count)
        return;
    json_t *list = json_array();
    for (unsigned i = 0; i < port->address_count; i++) {
        char text[VALUE_IP_SIZE];
        int family = port->addresses[i].family == 4 ? AF_INET : AF_INET6;
        if (inet_ntop(family, port->addresses[i].bytes, text, sizeof(text)))
            json_array_append_new(list, json_string(text));
    }
    json_object_set_new(item, "ip", list);
}

static const char *state_name(const struct dp_port_state *state, bool enabled)
{
    if (!enabled)
        return "disabled";
    if (!state)
        return "unknown";
    if (state->ring_errors)
        return "error";
    return state->link ? "up" : "down";
}

static void set_state(json_t *item, const struct view *view, uint32_t id, bool enabled)
{
    static const struct dp_port_state none;
    const struct dp_port_state *known = view_state(view, id), *state = known ? known : &none;
    char features[20];
    snprintf(features, sizeof(features), "%#" PRIx64, state->features);
    json_object_set_new(item, "state", json_string(state_name(known, enabled)));
    if (state->last_error[0])
        set_text(item, "error", state->last_error);
    set_integer(item, "queues_enabled", state->queues_enabled);
    json_object_set_new(item, "features", json_string(features));
    set_integer(item, "connects", state->connects);
    set_integer(item, "protocol_errors", state->protocol_errors);
    set_integer(item, "ring_errors", state->ring_errors);
    set_integer(item, "memory_bytes", state->memory_bytes);
    set_integer(item, "addresses", state->learned);
}

static void set_counters(json_t *item, const struct view *view, uint32_t id)
{
    static const struct dp_port_counters none;
    const struct dp_port_counters *counters = view_counters(view, id);
    uint64_t from = 0, to = 0;
    if (!counters)
        counters = &none;
    for (unsigned i = 0; i < DP_DROP_COUNT; i++) {
        from += counters->rx_drops[i];
        to += counters->tx_drops[i];
    }
    set_integer(item, "rx_packets", counters->rx_packets);
    set_integer(item, "rx_bytes", counters->rx_bytes);
    set_integer(item, "rx_forwarded", counters->rx_forwarded);
    set_integer(item, "rx_flooded", counters->rx_flooded);
    set_integer(item, "drops_from", from);
    set_integer(item, "tx_offered", counters->tx_offered);
    set_integer(item, "tx_packets", counters->tx_packets);
    set_integer(item, "tx_bytes", counters->tx_bytes);
    set_integer(item, "tx_segments", counters->tx_segments);
    set_integer(item, "drops_to", to);
}

static int32_t worker_core(const struct view *view, uint32_t worker)
{
    for (size_t i = 0; i < view->worker_count; i++) {
        if (view->workers[i].id == worker)
            return view->workers[i].core;
    }
    return -1;
}

static json_t *item_queues(const struct view *view, uint32_t id)
{
    json_t *list = json_array();
    for (size_t i = 0; i < view->queue_count; i++) {
        const struct dp_queue_state *queue = &view->queues[i];
        if (queue->port != id)
            continue;
        json_t *item = json_object();
        set_integer(item, "queue", queue->queue);
        set_integer(item, "worker", queue->worker);
        json_object_set_new(item, "core", json_integer(worker_core(view, queue->worker)));
        set_integer(item, "ring_size", queue->ring_size);
        json_object_set_new(item, "usable", json_boolean(queue->usable != 0));
        set_integer(item, "rx_packets", queue->rx_packets);
        set_integer(item, "rx_bytes", queue->rx_bytes);
        set_integer(item, "tx_packets", queue->tx_packets);
        set_integer(item, "tx_bytes", queue->tx_bytes);
        json_array_append_new(list, item);
    }
    return list;
}

json_t *item_port(const struct view *view, const struct model_port *port, bool queues)
{
    json_t *item = json_pack("{s:s, s:s, s:s}", "name", port->full_name, "tenant", port->tenant->name, "kind",
                             port->tap ? "tap" : "vhost-user");
    set_membership(item, port);
    set_addresses(item, port);
    set_integer(item, "queues", port->queues);
    set_integer(item, "mtu", port->mtu);
    json_object_set_new(item, "spoof", json_string(port->spoof_allowed ? "allow" : "deny"));
    json_object_set_new(item, "isolated", json_boolean(port->isolated));
    json_object_set_new(item, "enabled", json_boolean(port->enabled));
    set_integer_if(item, "storm_limit", port->storm_limit);
    set_integer_if(item, "macs", port->macs);
    if (port->tap)
        json_object_set_new(item, "tap", json_string(port->tap));
    else
        json_object_set_new(item, "socket", json_string(port->socket));
    json_object_set_new(item, "client", json_boolean(port->client));
    set_state(item, view, port->id, port->enabled);
    set_counters(item, view, port->id);
    if (queues)
        json_object_set_new(item, "queue", item_queues(view, port->id));
    return item;
}

/* What the host's side of the interface says. */
static void set_interface(json_t *item, const struct view *view, const struct model_uplink *uplink)
{
    const struct link_facts *link = &uplink->link;
    const struct dp_port_state *state = view_state(view, uplink->id);
    char mac[VALUE_MAC_SIZE];
    json_object_set_new(item, "interface", json_string(uplink_argument(uplink->device)));
    json_object_set_new(item, "link", json_string(!link->ifindex ? "absent" : link->running ? "up" : "down"));
    if (!link->ifindex)
        return;
    value_mac_text(link->mac, mac);
    json_object_set_new(item, "mac", json_string(mac));
    set_integer(item, "interface_mtu", link->mtu);
    set_integer(item, "interface_queues", link->queues);
    if (uplink_kind(uplink->device) != UPLINK_XDP)
        return;
    json_object_set_new(item, "xdp", json_string(steer_mode_name(steer_mode(link->ifindex))));
    if (state && state->queues_enabled)
        json_object_set_new(item, "zero_copy", json_boolean(state->features & DP_XDP_F_ZEROCOPY));
}

/* What sysfs says of a NIC. */
static void set_card(json_t *item, const struct view *view, const struct model_uplink *uplink)
{
    const struct dp_port_state *state = view_state(view, uplink->id);
    struct pci_facts facts;
    pci_read(&pci_this_host, uplink_argument(uplink->device), &facts);
    json_object_set_new(item, "link",
                        json_string(!uplink->nic_usable || !facts.present ? "absent"
                                    : state && state->link                ? "up"
                                                                          : "down"));
    if (facts.driver[0])
        json_object_set_new(item, "driver", json_string(facts.driver));
    if (facts.group >= 0)
        set_integer(item, "iommu_group", facts.group);
}

json_t *item_uplink(const struct view *view, const struct model *model, const struct model_uplink *uplink)
{
    json_t *segments = json_array();
    for (unsigned i = 0; i < model->segment_count; i++) {
        if (model->segments[i].uplink == uplink)
            json_array_append_new(segments, json_string(model->segments[i].full_name));
    }
    json_t *item = json_pack("{s:s, s:s, s:i, s:o}", "name", uplink->name, "device", uplink->device, "mtu",
                             (int)uplink_mtu(uplink), "segments", segments);
    if (uplink_is_shared(uplink->device))
        set_interface(item, view, uplink);
    else if (uplink_kind(uplink->device) == UPLINK_PCI)
        set_card(item, view, uplink);
    set_state(item, view, model_uplink_carrier(uplink)->id, true);
    if (uplink->parent)
        json_object_set_new(item, "counted_at", json_string(uplink->parent->name));
    else
        set_counters(item, view, uplink->id);
    nat_item_uplink(view, uplink, item);
    return item;
}

static const struct {
    const char *name, *text;
} drop_texts[] = {
#define X(symbol, name, text) {name, text},
    DP_DROPS(X)
#undef X
};

void item_drops(const struct view *view, const char *tenant, const char *name, uint32_t port, json_t *items)
{
    const struct dp_port_counters *counters = view_counters(view, port);
    for (unsigned i = 0; counters && i < 2 * DP_DROP_COUNT; i++) {
        bool from = i < DP_DROP_COUNT;
        unsigned reason = i % DP_DROP_COUNT;
        uint64_t packets = from ? counters->rx_drops[reason] : counters->tx_drops[reason];
        if (!packets)
            continue;
        json_array_append_new(items,
                              json_pack("{s:s*, s:s, s:s, s:s, s:s, s:I}", "tenant", tenant, "port", name,
                                        "direction", from ? "from" : "to", "reason", drop_texts[reason].name,
                                        "text", drop_texts[reason].text, "packets", (json_int_t)packets));
    }
}
