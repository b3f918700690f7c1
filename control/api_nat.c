/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api_nat.h"
#include "datagram.h"
#include "values.h"

#define ENDPOINT_SIZE (VALUE_IP_SIZE + 10u)

static const char *wide_text(const uint8_t address[16], char text[VALUE_IP_SIZE])
{
    bool ipv4 = address_is_mapped(address);
    return inet_ntop(ipv4 ? AF_INET : AF_INET6, address + (ipv4 ? 12 : 0), text, VALUE_IP_SIZE);
}

/* 10.0.1.10:443, [fd00::1]:443 */
static const char *endpoint_text(const uint8_t address[16], uint16_t port, char text[ENDPOINT_SIZE])
{
    char host[VALUE_IP_SIZE];
    wide_text(address, host);
    snprintf(text, ENDPOINT_SIZE, address_is_mapped(address) ? "%s:%u" : "[%s]:%u", host, port);
    return text;
}

static const char *protocol_name(uint8_t protocol)
{
    return protocol == 6 ? "tcp" : protocol == 17 ? "udp" : protocol == 1 ? "icmp" : "icmpv6";
}

static const char *session_state(uint8_t state)
{
    static const char *const names[] = {"?", "new", "established", "closing", "closed"};
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

static const struct model_segment *segment_of(const struct model *model, uint32_t router_port)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        if (router_port && model->segments[i].router_port == router_port)
            return &model->segments[i];
    }
    return NULL;
}

static const struct model_uplink *uplink_of(const struct model *model, uint32_t outside_port)
{
    for (unsigned i = 0; i < model->uplink_count; i++) {
        if (outside_port && model->uplinks[i].outside_port == outside_port)
            return &model->uplinks[i];
    }
    return NULL;
}

static bool segment_wanted(const struct nat_filter *filter, const struct model_segment *segment)
{
    return (!filter->tenant || segment->tenant == filter->tenant) &&
           (!filter->segment || segment == filter->segment) &&
           (!filter->port || model_port_in(filter->port, segment));
}

/* The port whose configured address it is; NULL: nobody's. */
static const struct model_port *port_of(const struct model_segment *segment, const uint8_t address[16])
{
    for (unsigned i = 0; i < segment->tenant->port_count; i++) {
        const struct model_port *port = &segment->tenant->ports[i];
        for (unsigned k = 0; model_port_in(port, segment) && k < port->address_count; k++) {
            uint8_t wide[16];
            if (port->addresses[k].family == 4)
                address_map(wide, port->addresses[k].bytes);
            else
                memcpy(wide, port->addresses[k].bytes, 16);
            if (memcmp(wide, address, 16) == 0)
                return port;
        }
    }
    return NULL;
}

static void lease_key(char key[MODEL_FULL_NAME_SIZE + VALUE_IP_SIZE], const char *segment,
                      const char *address)
{
    snprintf(key, MODEL_FULL_NAME_SIZE + VALUE_IP_SIZE, "%s %s", segment, address);
}

/* Whose address DHCP gave it: "acme/app 10.0.1.104" to "acme/vm1". */
static json_t *lease_ports(const struct controller *controller)
{
    json_t *leases = json_array(), *ports = json_object(), *lease;
    size_t index;
    if (controller->guests)
        guests_leases(controller->guests, NULL, leases);
    json_array_foreach (leases, index, lease) {
        char key[MODEL_FULL_NAME_SIZE + VALUE_IP_SIZE];
        lease_key(key, json_string_value(json_object_get(lease, "segment")),
                  json_string_value(json_object_get(lease, "address")));
        json_object_set(ports, key, json_object_get(lease, "port"));
    }
    json_decref(leases);
    return ports;
}

/* Full name of the guest's port, by its configuration or its lease; NULL: unknown. */
static const char *session_port(const struct model_segment *segment, const json_t *leased,
                                const struct dp_session *session)
{
    const struct model_port *port = port_of(segment, session->inside);
    char key[MODEL_FULL_NAME_SIZE + VALUE_IP_SIZE], address[VALUE_IP_SIZE];
    lease_key(key, segment->full_name, wide_text(session->inside, address));
    return port ? port->full_name : json_string_value(json_object_get(leased, key));
}

static json_t *session_item(const struct model_segment *segment, const struct model_uplink *uplink,
                            const char *port, const struct dp_session *session)
{
    char inside[ENDPOINT_SIZE], outside[ENDPOINT_SIZE], remote[ENDPOINT_SIZE];
    return json_pack("{s:s, s:s, s:s*, s:s*, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "tenant",
                     segment->tenant->name, "segment", segment->full_name, "port", port, "uplink",
                     uplink ? uplink->name : NULL, "protocol", protocol_name(session->protocol), "state",
                     session_state(session->state), "direction", session->inbound ? "in" : "out", "inside",
                     endpoint_text(session->inside, session->inside_port, inside), "translated",
                     endpoint_text(session->translated, session->translated_port, outside), "remote",
                     endpoint_text(session->remote, session->remote_port, remote), "packets_out",
                     (json_int_t)session->packets_out, "packets_in", (json_int_t)session->packets_in, "age",
                     (json_int_t)session->age_s, "expires_s", (json_int_t)session->expires_s);
}

uint64_t nat_list_sessions(struct controller *controller, const struct nat_filter *filter, json_t *items)
{
    struct dp_client *client = supervisor_client(controller->supervisor);
    const void *object = NULL;
    uint64_t left_out = 0;
    if (!client)
        return 0;
    json_t *leased = lease_ports(controller);
    int status = dp_client_dump(client, DP_KIND_SESSION);
    while (status == 0 &&
           (status = dp_client_next(client, &object)) == 1) { /* to its end, whatever is shown */
        const struct dp_session *session = object;
        const struct model_segment *segment = segment_of(controller->model, session->port);
        status = 0;
        if (!segment || !segment_wanted(filter, segment))
            continue;
        const char *port = session_port(segment, leased, session);
        if (filter->port && (!port || strcmp(port, filter->port->full_name) != 0))
            continue;
        if ((int64_t)json_array_size(items) >= filter->limit)
            left_out++;
        else
            json_array_append_new(
                items, session_item(segment, uplink_of(controller->model, session->outside), port, session));
    }
    json_decref(leased);
    if (status < 0)
        supervisor_disconnect(controller->supervisor, dp_client_error(client));
    return left_out;
}

void nat_list_forwards(const struct model *model, const struct nat_filter *filter, json_t *items)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if (!segment->is_nat || !segment_wanted(filter, segment))
            continue;
        for (unsigned k = 0; k < segment->nat.forward_count; k++) {
            const struct model_forward *forward = &segment->nat.forwards[k];
            char ports[16], to[MODEL_FULL_NAME_SIZE + 8], address[VALUE_IP_SIZE] = "uplink";
            if (filter->port && forward->to != filter->port)
                continue;
            snprintf(ports, sizeof(ports), forward->first == forward->last ? "%u" : "%u-%u", forward->first,
                     forward->last);
            snprintf(to, sizeof(to), "%s:%u", forward->to->name, forward->to_first);
            if (forward->address.family)
                inet_ntop(forward->address.family == 4 ? AF_INET : AF_INET6, forward->address.bytes, address,
                          sizeof(address));
            json_array_append_new(
                items, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "segment", segment->full_name, "protocol",
                                 protocol_name(forward->protocol), "port", ports, "to", to, "address",
                                 address, "uplink", segment->uplink ? segment->uplink->name : ""));
        }
    }
}

void nat_list_leases(const struct controller *controller, const struct nat_filter *filter, json_t *items)
{
    const struct model *model = controller->model;
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if (!segment->router_port || !controller->guests || !segment_wanted(filter, segment))
            continue;
        json_t *leases = json_array(), *lease;
        size_t index;
        guests_leases(controller->guests, segment->full_name, leases);
        json_array_foreach (leases, index, lease) {
            const char *port = json_string_value(json_object_get(lease, "port"));
            if (filter->port && strcmp(port, filter->port->full_name) != 0)
                continue;
            json_array_append(items, lease);
        }
        json_decref(leases);
    }
}

void nat_list_neighbours(struct controller *controller, const struct nat_filter *filter, json_t *items)
{
    struct dp_client *client = supervisor_client(controller->supervisor);
    void *objects = NULL;
    size_t count = 0;
    if (!client)
        return;
    if (dp_client_dump_all(client, DP_KIND_NEIGHBOUR_STATE, &objects, &count) < 0) {
        supervisor_disconnect(controller->supervisor, dp_client_error(client));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct dp_neighbour_state *state = (const struct dp_neighbour_state *)objects + i;
        const struct model_segment *segment = segment_of(controller->model, state->port);
        const struct model_uplink *uplink = uplink_of(controller->model, state->port);
        char address[VALUE_IP_SIZE], mac[VALUE_MAC_SIZE];
        bool all = !filter->tenant && !filter->segment && !filter->port;
        if (segment ? !segment_wanted(filter, segment) : !uplink || !all)
            continue;
        value_mac_text(state->mac, mac);
        json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:s, s:I}", "interface",
                                               segment ? segment->full_name : uplink->name, "address",
                                               wide_text(state->address, address), "mac",
                                               state->reachable ? mac : "", "state",
                                               state->is_static   ? "kernel"
                                               : state->reachable ? "reachable"
                                                                  : "asked",
                                               "age", (json_int_t)state->age_s));
    }
    free(objects);
}

/* Interfaces of the routers: their own networks, and what is configured or the kernel's. */
static json_t *route_item(const struct model *model, const struct nat_filter *filter, uint32_t port,
                          const uint8_t prefix[16], uint8_t length, const uint8_t next_hop[16])
{
    static const uint8_t none[16];
    const struct model_segment *segment = segment_of(model, port);
    const struct model_uplink *uplink = uplink_of(model, port);
    char text[VALUE_IP_SIZE], hop[VALUE_IP_SIZE];
    bool all = !filter->tenant && !filter->segment && !filter->port;
    if (segment ? !segment_wanted(filter, segment) : !uplink || !all)
        return NULL;
    unsigned shown = address_is_mapped(prefix) && length >= 96 ? length - 96u : length;
    json_t *item = json_pack("{s:s, s:s*, s:o}", "interface", segment ? segment->full_name : uplink->name,
                             "tenant", segment ? segment->tenant->name : NULL, "prefix",
                             json_sprintf("%s/%u", wide_text(prefix, text), shown));
    if (memcmp(next_hop, none, sizeof(none)) != 0)
        json_object_set_new(item, "next_hop", json_string(wide_text(next_hop, hop)));
    return item;
}

/* The prefix that an address is in. */
static void network_of(const uint8_t address[16], uint8_t length, uint8_t network[16])
{
    memcpy(network, address, 16);
    value_network(network, 6, length);
}

static void list_own_networks(const struct model *model, const struct nat_filter *filter,
                              const struct dp_interface *interface, json_t *items)
{
    static const uint8_t none[16];
    uint8_t network[16];
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *own = i ? interface->ipv6 : interface->ipv4;
        uint8_t length = i ? interface->ipv6_prefix_length : interface->ipv4_prefix_length;
        if (memcmp(own, none, sizeof(none)) == 0)
            continue;
        network_of(own, length, network);
        json_t *item = route_item(model, filter, interface->port, network, length, none);
        if (item)
            json_array_append_new(items, item);
    }
}

/* What no route of the tenant says leaves by the segment's uplink, translated: the sender's segment decides.
 */
static void list_ways_out(const struct model *model, const struct nat_filter *filter, json_t *items)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if (!segment->is_nat || !segment->router_port || !segment->uplink || !segment_wanted(filter, segment))
            continue;
        for (unsigned family = 0; family < (segment->ipv6_nat ? 2u : 1u); family++)
            json_array_append_new(items,
                                  json_pack("{s:s, s:s, s:s, s:s}", "interface", segment->full_name, "tenant",
                                            segment->tenant->name, "prefix", family ? "::/0" : "0.0.0.0/0",
                                            "uplink", segment->uplink->name));
    }
}

void nat_list_routes(struct controller *controller, const struct nat_filter *filter, json_t *items)
{
    struct dp_client *client = supervisor_client(controller->supervisor);
    void *interfaces = NULL, *routes = NULL;
    size_t interface_count = 0, route_count = 0;
    if (!client)
        return;
    int error = dp_client_dump_all(client, DP_KIND_INTERFACE, &interfaces, &interface_count);
    if (!error)
        error = dp_client_dump_all(client, DP_KIND_ROUTE, &routes, &route_count);
    if (error)
        supervisor_disconnect(controller->supervisor, dp_client_error(client));
    for (size_t i = 0; i < interface_count; i++)
        list_own_networks(controller->model, filter, (const struct dp_interface *)interfaces + i, items);
    for (size_t i = 0; i < route_count; i++) {
        const struct dp_route *route = (const struct dp_route *)routes + i;
        json_t *item = route_item(controller->model, filter, route->port, route->prefix, route->prefix_length,
                                  route->next_hop);
        if (item)
            json_array_append_new(items, item);
    }
    list_ways_out(controller->model, filter, items);
    free(interfaces);
    free(routes);
}

static json_t *address_json(const struct model_address *address)
{
    char text[VALUE_IP_SIZE];
    return json_string(
        inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, text, sizeof(text)));
}

/* What guests' addresses become. */
static json_t *translated_to(const struct model_segment *segment)
{
    json_t *addresses = json_array();
    for (unsigned i = 0; i < segment->nat.address_count; i++)
        json_array_append_new(addresses, address_json(&segment->nat.addresses[i]));
    if (!segment->nat.address_count)
        json_array_append_new(addresses, json_string("uplink"));
    return addresses;
}

json_t *nat_item(const struct model_segment *segment)
{
    const struct model_nat *nat = &segment->nat;
    json_t *pins = json_object();
    for (unsigned i = 0; i < nat->pin_count; i++)
        json_object_set_new(pins, nat->pins[i].port->name, address_json(&nat->pins[i].address));
    return json_pack("{s:s, s:s, s:s*, s:o, s:s, s:I, s:o}", "name", segment->full_name, "tenant",
                     segment->tenant->name, "uplink", segment->uplink ? segment->uplink->name : NULL,
                     "address", translated_to(segment), "filtering",
                     nat->endpoint_independent_filter ? "endpoint-independent" : "address-and-port",
                     "forwards", (json_int_t)nat->forward_count, "one_to_one", pins);
}

void nat_list_translations(const struct model *model, const struct nat_filter *filter, json_t *items)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        if (model->segments[i].is_nat && segment_wanted(filter, &model->segments[i]))
            json_array_append_new(items, nat_item(&model->segments[i]));
    }
}

static json_t *prefix_json(const struct model_prefix *prefix)
{
    char text[VALUE_IP_SIZE];
    inet_ntop(prefix->family == 4 ? AF_INET : AF_INET6, prefix->address, text, sizeof(text));
    return json_sprintf("%s/%u", text, prefix->length);
}

static const char *own_state(const struct view *view, uint32_t port)
{
    const struct dp_port_state *state = view_state(view, port);
    return !state ? "unknown" : state->link ? "up" : "down";
}

static uint32_t word_of(const uint8_t address[4])
{
    uint32_t word;
    memcpy(&word, address, sizeof(word));
    return ntohl(word);
}

/* The range without the gateway where that is its first or last address: it is never given away. */
static json_t *dhcp_json(const struct model_segment *segment)
{
    const struct model_dhcp *dhcp = &segment->dhcp;
    uint32_t gateway = word_of(segment->subnets[0].address);
    uint32_t from = word_of(dhcp->first), to = word_of(dhcp->last);
    char first[VALUE_IP_SIZE], last[VALUE_IP_SIZE];
    from += from == gateway && from < to;
    to -= to == gateway && from < to;
    inet_ntop(AF_INET, &(uint32_t){htonl(from)}, first, sizeof(first));
    inet_ntop(AF_INET, &(uint32_t){htonl(to)}, last, sizeof(last));
    json_t *range = json_sprintf("%s-%s", first, last);
    return json_pack("{s:o, s:I, s:s}", "range", range, "lease_time", (json_int_t)dhcp->lease, "domain",
                     dhcp->domain);
}

void nat_item_segment(const struct view *view, const struct model_segment *segment, json_t *item)
{
    json_t *gateways = json_array();
    if (!segment->is_host_only && !segment->is_nat) {
        json_decref(gateways);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (segment->subnets[i].family)
            json_array_append_new(gateways, prefix_json(&segment->subnets[i]));
    }
    json_object_set_new(item, segment->is_nat ? "gateway" : "host_address", gateways);
    if (segment->is_host_only) {
        json_object_set_new(item, "host_interface", json_string(segment->host_interface));
        json_object_set_new(item, "host_state", json_string(own_state(view, segment->host_port)));
    }
    if (segment->dhcp.enabled)
        json_object_set_new(item, "dhcp", dhcp_json(segment));
    if (!segment->is_nat)
        return;
    json_object_set_new(item, "nat", translated_to(segment));
    json_object_set_new(item, "forwards", json_integer(segment->nat.forward_count));
    json_object_set_new(item, "one_to_one", json_integer(segment->nat.pin_count));
}

void nat_item_tenant(const struct view *view, const struct model_tenant *tenant, json_t *item)
{
    for (size_t i = 0; i < view->router_count; i++) {
        const struct dp_router_state *state = &view->routers[i];
        if (state->id != tenant->id)
            continue;
        json_object_set_new(item, "sessions", json_integer((json_int_t)state->sessions));
        json_object_set_new(item, "sessions_created", json_integer((json_int_t)state->sessions_created));
        json_object_set_new(item, "sessions_refused", json_integer((json_int_t)state->sessions_refused));
    }
}

void nat_item_uplink(const struct view *view, const struct model_uplink *uplink, json_t *item)
{
    json_t *list = json_array();
    for (size_t i = 0; i < view->nat_address_count; i++) {
        const struct dp_nat_address_state *state = &view->nat_addresses[i];
        char text[VALUE_IP_SIZE];
        if (state->port != uplink->outside_port)
            continue;
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "address", wide_text(state->address, text),
                            "ports", (json_int_t)state->ports, "tcp_used", (json_int_t)state->tcp_used,
                            "udp_used", (json_int_t)state->udp_used, "icmp_used",
                            (json_int_t)state->icmp_used, "refused", (json_int_t)state->refused));
    }
    if (uplink->routes_left_out)
        json_object_set_new(item, "routes_left_out", json_integer((json_int_t)uplink->routes_left_out));
    if (uplink->is_outside)
        json_object_set_new(item, "nat_ports", json_sprintf("%u-%u", uplink->port_first, uplink->port_last));
    if (json_array_size(list))
        json_object_set(item, "nat", list);
    json_decref(list);
}

void nat_own_ports(const struct model *model,
                   void (*visit)(void *context, uint32_t port, const char *name,
                                 const struct model_segment *segment),
                   void *context)
{
    char name[MODEL_FULL_NAME_SIZE + 16];
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        snprintf(name, sizeof(name), "%s:host", segment->full_name);
        if (segment->host_port)
            visit(context, segment->host_port, name, segment);
        snprintf(name, sizeof(name), "%s:router", segment->full_name);
        if (segment->router_port)
            visit(context, segment->router_port, name, segment);
    }
    for (unsigned i = 0; i < model->uplink_count; i++) {
        snprintf(name, sizeof(name), "%s:router", model->uplinks[i].name);
        if (model->uplinks[i].outside_port)
            visit(context, model->uplinks[i].outside_port, name, NULL);
    }
}
