/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What subnets and address translation become:
 *   - host-only: a tap, which is the host's interface, and (with DHCP or IPv6) a router's port that only
 *     hands DHCP and router solicitations up; nothing is routed there.
 *   - nat: the gateway, a router's port with the subnet's addresses. The tenant has one router, which joins
 *     its segments of this mode.
 *   - an uplink that such segments leave by has a port of the outside's router in its untagged segment, or in
 *     that of its VLAN (device vlan:UPLINK.NUMBER); where no bridged segment is that, weft makes one that
 *     belongs to nobody else. Address, MAC, MTU, routes and neighbours of that port are the host's own
 *     (netlink) if the device is shared with its kernel, so none of it is there while the host has no such
 *     interface or address; else they are the uplink's keys.
 *
 * MACs of weft's own ports are made of their numbers, so they stay over restarts; that of an uplink with
 * addresses of its own is made of the machine's id as well, because other hosts are on that network.
 */
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "compile.h"
#include "compile_network.h"
#include "datagram.h"
#include "uplink.h"
#include "values.h"

#define MAC_PREFIX                                                                                           \
    {                                                                                                        \
        0x02, 0x77, 0x65, 0x66                                                                               \
    } /* locally administered */
#define FNV_OFFSET      0xcbf29ce484222325u
#define FNV_PRIME       0x100000001b3u
#define MACHINE_ID      "/etc/machine-id"
#define POOL_PORT_FIRST 1024u
#define POOL_PORT_LAST  65535u

void compile_own_mac(uint32_t port, uint8_t mac[6])
{
    static const uint8_t prefix[4] = MAC_PREFIX;
    memcpy(mac, prefix, sizeof(prefix));
    mac[4] = (uint8_t)(port >> 8);
    mac[5] = (uint8_t)port;
}

/* Not made again anywhere: of the machine's id and the uplink's name. */
static void uplink_own_mac(const struct model_uplink *uplink, uint8_t mac[6])
{
    char id[64] = "";
    uint64_t hash = FNV_OFFSET;
    FILE *file = fopen(MACHINE_ID, "re");
    if (file && !fgets(id, sizeof(id), file))
        id[0] = '\0';
    if (file)
        fclose(file);
    for (const char *at = id; *at; at++)
        hash = (hash ^ (uint8_t)*at) * FNV_PRIME;
    for (const char *at = uplink->name; *at; at++)
        hash = (hash ^ (uint8_t)*at) * FNV_PRIME;
    for (unsigned i = 0; i < 6; i++)
        mac[i] = (uint8_t)(hash >> 8 * i);
    mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
}

/* 16 bytes, IPv4 mapped, as the dataplane has them. */
static void wide(uint8_t to[16], uint8_t family, const uint8_t *bytes)
{
    if (family == 4)
        address_map(to, bytes);
    else if (family == 6)
        memcpy(to, bytes, 16);
}

static uint8_t wide_length(uint8_t family, uint8_t length)
{
    return (uint8_t)(family == 4 ? 96 + length : length);
}

static void add_port(struct object_set *set, const struct dp_port *port, uint32_t segment)
{
    struct dp_member member = {.port = port->id, .vid = DP_MEMBER_UNTAGGED, .segment = segment};
    struct dp_static object = {.segment = segment, .port = port->id};
    memcpy(object.mac, port->mac, sizeof(object.mac));
    object_set_add(set, DP_KIND_PORT, port);
    object_set_add(set, DP_KIND_MEMBER, &member);
    object_set_add(set, DP_KIND_STATIC, &object);
}

static struct dp_port router_port(uint32_t id, uint32_t tenant, const char *name, uint32_t mtu)
{
    struct dp_port port = {.id = id, .tenant = tenant, .type = DP_PORT_ROUTER, .queues = 1, .mtu = mtu};
    snprintf(port.name, sizeof(port.name), "%.56s:router", name);
    snprintf(port.device, sizeof(port.device), "router");
    compile_own_mac(id, port.mac);
    return port;
}

static void compile_host(const struct model_segment *segment, unsigned queues, struct object_set *set)
{
    struct dp_port port = {.id = segment->host_port,
                           .tenant = segment->tenant->id,
                           .type = DP_PORT_TAP,
                           .queues = queues,
                           .mtu = segment->mtu};
    snprintf(port.name, sizeof(port.name), "%.58s:host", segment->full_name);
    snprintf(port.device, sizeof(port.device), "%s", segment->host_interface);
    compile_own_mac(port.id, port.mac);
    add_port(set, &port, segment->id);
}

static void compile_gateway(const struct model_segment *segment, struct object_set *set)
{
    struct dp_port port =
        router_port(segment->router_port, segment->tenant->id, segment->full_name, segment->mtu);
    struct dp_interface interface = {.port = port.id, .router = segment->tenant->id};
    const struct model_prefix *ipv4 = &segment->subnets[0], *ipv6 = &segment->subnets[1];
    if (segment->dhcp.enabled)
        interface.flags |= DP_INTERFACE_F_PUNT_DHCP;
    if (ipv6->family)
        interface.flags |= DP_INTERFACE_F_PUNT_RS;
    if (segment->is_host_only) {
        interface.flags |= DP_INTERFACE_F_NO_FORWARD; /* the addresses are the host's own, at its interface */
    } else {
        interface.flags |= DP_INTERFACE_F_PUNT_DNS;
        wide(interface.ipv4, ipv4->family, ipv4->address);
        wide(interface.ipv6, ipv6->family, ipv6->address);
        interface.ipv4_prefix_length = ipv4->family ? wide_length(4, ipv4->length) : 0;
        interface.ipv6_prefix_length = ipv6->length;
    }
    add_port(set, &port, segment->id);
    object_set_add(set, DP_KIND_INTERFACE, &interface);
}

static void compile_router(const struct model_tenant *tenant, struct object_set *set)
{
    struct dp_router router = {.id = tenant->id,
                               .session_limit = tenant->limit_sessions,
                               .guest_session_limit = tenant->limit_guest_sessions};
    bool needed = false;
    for (unsigned i = 0; i < tenant->segment_count; i++)
        needed |= tenant->segments[i].router_port != 0;
    snprintf(router.name, sizeof(router.name), "%s", tenant->name);
    if (needed)
        object_set_add(set, DP_KIND_ROUTER, &router);
}

static unsigned worker_count(const struct model *model)
{
    json_t *dataplane = json_object_get(model->config, "dataplane");
    size_t count = json_array_size(json_object_get(dataplane, "cores"));
    return count < 1 ? 1 : count > DP_QUEUES_MAX ? DP_QUEUES_MAX : (unsigned)count;
}

/* The internal segment of an uplink's outside. */
static void compile_outside_segment(const struct model_uplink *uplink, struct object_set *set)
{
    struct dp_segment segment = {
        .id = uplink->outside_segment, .tenant = uplink->outside_tenant, .ageing_s = 300};
    struct dp_member member = {.port = model_uplink_carrier(uplink)->id,
                               .vid = uplink->vlan ? uplink->vlan : DP_MEMBER_UNTAGGED,
                               .segment = uplink->outside_segment};
    snprintf(segment.name, sizeof(segment.name), "%s:outside", uplink->name);
    object_set_add(set, DP_KIND_SEGMENT, &segment);
    object_set_add(set, DP_KIND_MEMBER, &member);
}

void compile_network(const struct model *model, struct object_set *set)
{
    for (unsigned i = 0; i < model->tenant_count; i++)
        compile_router(&model->tenants[i], set);
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if (segment->host_port)
            compile_host(segment, worker_count(model), set);
        if (segment->router_port)
            compile_gateway(segment, set);
    }
    for (unsigned i = 0; i < model->uplink_count; i++) {
        if (model->uplinks[i].outside_segment)
            compile_outside_segment(&model->uplinks[i], set);
    }
}

/* What is outside by an uplink, whoever says so. */
struct outside {
    const struct model_uplink *uplink;
    const struct netlink *netlink;
    const struct netlink_link *link; /* NULL: the uplink's keys say */
    uint32_t segment;
    struct model_prefix own[2]; /* family 0: no such address now */
};

static uint32_t outside_segment(const struct model *model, const struct model_uplink *uplink)
{
    const struct model_segment *bridged = model_uplink_bridged(model, uplink);
    return bridged ? bridged->id : uplink->outside_segment;
}

static void outside_host_address(struct outside *outside, uint8_t family)
{
    const struct netlink_address *address =
        netlink_host_address(outside->netlink, outside->link->index, family);
    struct model_prefix *own = &outside->own[family == 6];
    if (!address)
        return;
    own->family = family;
    own->length = address->prefix_length;
    memcpy(own->address, address->bytes, sizeof(own->address));
    memcpy(own->network, address->bytes, sizeof(own->network));
    value_network(own->network, family, own->length);
}

/* False: there is no such thing now. */
static bool outside_open(struct outside *outside, const struct model *model, const struct netlink *netlink,
                         const struct model_uplink *uplink)
{
    static const uint8_t none[6];
    *outside = (struct outside){.uplink = uplink, .netlink = netlink};
    outside->segment = outside_segment(model, uplink);
    if (!uplink->netdev[0]) {
        memcpy(outside->own, uplink->own, sizeof(outside->own));
        return true;
    }
    outside->link = netlink ? netlink_link(netlink, uplink->netdev) : NULL;
    if (!outside->link || !outside->link->index || memcmp(outside->link->mac, none, sizeof(none)) == 0)
        return false;
    outside_host_address(outside, 4);
    outside_host_address(outside, 6);
    return true;
}

static void outside_interface(const struct outside *outside, struct object_set *set)
{
    const struct model_uplink *uplink = outside->uplink;
    uint32_t mtu = outside->link && (!uplink->mtu || outside->link->mtu < uplink->mtu) ? outside->link->mtu
                                                                                       : uplink_mtu(uplink);
    struct dp_port port = router_port(uplink->outside_port, 0, uplink->name,
                                      mtu < 68     ? 68
                                      : mtu > 9216 ? 9216
                                                   : mtu);
    struct dp_interface interface = {.port = port.id};
    if (outside->link)
        memcpy(port.mac, outside->link->mac, sizeof(port.mac));
    else
        uplink_own_mac(uplink, port.mac);
    interface.flags = outside->link ? DP_INTERFACE_F_ASK_KERNEL : 0;
    wide(interface.ipv4, outside->own[0].family, outside->own[0].address);
    wide(interface.ipv6, outside->own[1].family, outside->own[1].address);
    interface.ipv4_prefix_length = outside->own[0].family ? wide_length(4, outside->own[0].length) : 0;
    interface.ipv6_prefix_length = outside->own[1].length;
    add_port(set, &port, outside->segment);
    object_set_add(set, DP_KIND_INTERFACE, &interface);
}

/* Routes and neighbours as the kernel has them. */
/* The prefix of the interface's own address needs no route. */
static bool is_own_prefix(const struct outside *outside, const struct netlink_route *route)
{
    const struct model_prefix *own = &outside->own[route->family == 6];
    return !route->next_hop_family && own->family && own->length == route->prefix_length &&
           model_prefix_has(own, route->family, route->prefix);
}

static void outside_kernel(const struct outside *outside, struct compile_routes *routes,
                           struct object_set *set)
{
    const struct netlink_tables *tables = netlink_tables(outside->netlink);
    for (size_t i = 0; i < tables->route_count; i++) {
        const struct netlink_route *from = &tables->routes[i];
        if (from->index != outside->link->index ||
            (from->next_hop_family && from->next_hop_family != from->family))
            continue; /* a gateway of the other family (RFC 8950) is not supported */
        if (is_own_prefix(outside, from))
            continue;
        struct dp_route route = {.port = outside->uplink->outside_port,
                                 .prefix_length = wide_length(from->family, from->prefix_length)};
        wide(route.prefix, from->family, from->prefix);
        wide(route.next_hop, from->next_hop_family, from->next_hop);
        compile_route_add(routes, &route, from->metric);
    }
    for (size_t i = 0; i < tables->neighbour_count; i++) {
        const struct netlink_neighbour *from = &tables->neighbours[i];
        struct dp_neighbour neighbour = {.port = outside->uplink->outside_port};
        if (from->index != outside->link->index)
            continue;
        wide(neighbour.address, from->family, from->address);
        memcpy(neighbour.mac, from->mac, sizeof(neighbour.mac));
        object_set_add(set, DP_KIND_NEIGHBOUR, &neighbour);
    }
}

/* The default routes that the uplink's keys say. */
static void outside_keys(const struct outside *outside, struct compile_routes *routes)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct model_address *gateway = &outside->uplink->gateways[i];
        struct dp_route route = {.port = outside->uplink->outside_port,
                                 .prefix_length = wide_length(gateway->family, 0)};
        static const uint8_t any[4];
        if (!gateway->family)
            continue;
        if (gateway->family == 4)
            address_map(route.prefix, any);
        wide(route.next_hop, gateway->family, gateway->bytes);
        compile_route_add(routes, &route, 0);
    }
}

/* Address `address` of the outside, with the ports that may be used of it. */
static void nat_address(const struct outside *outside, const uint8_t address[16], bool own,
                        struct object_set *set)
{
    struct dp_nat_address object = {.port = outside->uplink->outside_port,
                                    .port_first = POOL_PORT_FIRST,
                                    .port_last = POOL_PORT_LAST,
                                    .flags = DP_NAT_F_ANSWER};
    memcpy(object.address, address, sizeof(object.address));
    if (own) {
        object.port_first = outside->uplink->port_first;
        object.port_last = outside->uplink->port_last;
        object.flags = outside->link ? 0 : DP_NAT_F_ANSWER; /* 0: the host does */
    }
    object_set_add(set, DP_KIND_NAT_ADDRESS, &object);
}

static void nat_source(const struct outside *outside, const struct model_segment *segment,
                       const uint8_t address[16], struct object_set *set)
{
    struct dp_nat_source object = {.port = segment->router_port, .outside = outside->uplink->outside_port};
    memcpy(object.address, address, sizeof(object.address));
    if (segment->nat.endpoint_independent_filter)
        object.flags |= DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER;
    object_set_add(set, DP_KIND_NAT_SOURCE, &object);
}

static bool family_translated(const struct model_segment *segment, uint8_t family)
{
    return family == 4 || (family == 6 && segment->ipv6_nat);
}

static void compile_sources(const struct outside *outside, const struct model_segment *segment,
                            struct object_set *set)
{
    const struct model_nat *nat = &segment->nat;
    uint8_t address[16];
    for (unsigned i = 0; i < nat->address_count; i++) {
        wide(address, nat->addresses[i].family, nat->addresses[i].bytes);
        nat_address(outside, address, false, set);
        nat_source(outside, segment, address, set);
    }
    for (unsigned i = 0; i < 2 && !nat->address_count; i++) {
        const struct model_prefix *own = &outside->own[i];
        if (!own->family || !family_translated(segment, own->family))
            continue;
        wide(address, own->family, own->address);
        nat_address(outside, address, true, set);
        nat_source(outside, segment, address, set);
    }
}

static void compile_forward(const struct outside *outside, const struct model_segment *segment,
                            const struct model_forward *forward, uint8_t family, const uint8_t *address,
                            struct object_set *set)
{
    const struct model_address *inside = model_port_address(forward->to, segment, family);
    struct dp_nat_forward object = {.outside = outside->uplink->outside_port,
                                    .protocol = forward->protocol,
                                    .first = forward->first,
                                    .last = forward->last,
                                    .to_first = forward->to_first,
                                    .port = segment->router_port};
    if (!inside || !family_translated(segment, family))
        return;
    wide(object.address, family, address);
    wide(object.inside, family, inside->bytes);
    object_set_add(set, DP_KIND_NAT_FORWARD, &object);
}

static void compile_forwards(const struct outside *outside, const struct model_segment *segment,
                             struct object_set *set)
{
    for (unsigned i = 0; i < segment->nat.forward_count; i++) {
        const struct model_forward *forward = &segment->nat.forwards[i];
        if (forward->address.family)
            compile_forward(outside, segment, forward, forward->address.family, forward->address.bytes, set);
        for (unsigned k = 0; k < 2 && !forward->address.family; k++) {
            if (outside->own[k].family)
                compile_forward(outside, segment, forward, outside->own[k].family, outside->own[k].address,
                                set);
        }
    }
}

/* The host's own address may become one that a guest was to have: the host's stays the host's. */
static bool is_own(const struct outside *outside, const struct model_address *address)
{
    const struct model_prefix *own = &outside->own[address->family == 6];
    return own->family && memcmp(own->address, address->bytes, address->family == 4 ? 4 : 16) == 0;
}

static void compile_pins(const struct outside *outside, const struct model_segment *segment,
                         struct object_set *set)
{
    for (unsigned i = 0; i < segment->nat.pin_count; i++) {
        const struct model_pin *pin = &segment->nat.pins[i];
        const struct model_address *inside = model_port_address(pin->port, segment, pin->address.family);
        struct dp_nat_one_to_one object = {.outside = outside->uplink->outside_port,
                                           .port = segment->router_port};
        if (!inside || is_own(outside, &pin->address))
            continue;
        wide(object.address, pin->address.family, pin->address.bytes);
        wide(object.inside, inside->family, inside->bytes);
        object_set_add(set, DP_KIND_NAT_ONE_TO_ONE, &object);
    }
}

void compile_outside(const struct model *model, const struct netlink *netlink, struct object_set *set)
{
    for (unsigned i = 0; i < model->uplink_count; i++) {
        struct compile_routes routes = {0};
        struct outside outside;
        model->uplinks[i].routes_left_out = 0;
        if (!model->uplinks[i].outside_port || !outside_open(&outside, model, netlink, &model->uplinks[i]))
            continue;
        outside_interface(&outside, set);
        if (outside.link)
            outside_kernel(&outside, &routes, set);
        else
            outside_keys(&outside, &routes);
        model->uplinks[i].routes_left_out = compile_routes_end(&routes, set);
        for (unsigned k = 0; k < model->segment_count; k++) {
            const struct model_segment *segment = &model->segments[k];
            if (!segment->router_port || !segment->is_nat || segment->uplink != outside.uplink)
                continue;
            compile_sources(&outside, segment, set);
            compile_forwards(&outside, segment, set);
            compile_pins(&outside, segment, set);
        }
    }
}
