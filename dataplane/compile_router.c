/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compiler's part for routers: interfaces, static neighbours, and per router the two route tables, in
 * which are
 *   - each interface's own addresses (local), and the subnet-router anycast address (RFC 4291, 2.6.1)
 *   - each interface's prefix (on-link), and its broadcast and network addresses (RFC 1812, 5.3.5)
 *   - the configured routes
 * Isolation, first check: a route leads to interfaces of its own router only, an interface is of its port's
 * tenant. The store refuses anything else already (objects_check). Prefixes of an interface from and to which
 * nothing is routed are left out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "compile.h"
#include "router.h"

struct prefixes {
    struct route_prefix *list;
    unsigned count, capacity;
};

static int add_prefix(struct prefixes *prefixes, const uint8_t address[16], uint8_t length,
                      const struct route *route)
{
    if (prefixes->count == prefixes->capacity) {
        unsigned capacity = prefixes->capacity ? prefixes->capacity * 2 : 16;
        struct route_prefix *list = reallocarray(prefixes->list, capacity, sizeof(*list));
        if (!list)
            return -ENOMEM;
        prefixes->list = list;
        prefixes->capacity = capacity;
    }
    struct route_prefix *prefix = &prefixes->list[prefixes->count++];
    memcpy(prefix->address, address, 16);
    prefix->length = length;
    prefix->route = *route;
    return 0;
}

/* Bits beyond the prefix: all zero or all one. */
static void host_bits(uint8_t address[16], unsigned length, bool ones)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = length > i * 8 ? length - i * 8 : 0;
        uint8_t mask = kept >= 8 ? 0 : (uint8_t)(0xffu >> kept);
        address[i] = ones ? address[i] | mask : address[i] & (uint8_t)~mask;
    }
}

static int add_ipv4(struct prefixes *prefixes, const struct interface *interface)
{
    struct route route = {.interface = interface, .kind = ROUTE_LOCAL};
    uint8_t address[16];
    int error = add_prefix(prefixes, interface->ipv4, 128, &route);
    memcpy(address, interface->ipv4, 16);
    if (interface->ipv4_length < 127) { /* RFC 3021: no broadcast on a link of two */
        route.kind = ROUTE_BROADCAST;
        host_bits(address, interface->ipv4_length, true);
        error = error ? error : add_prefix(prefixes, address, 128, &route);
        host_bits(address, interface->ipv4_length, false);
        error = error ? error : add_prefix(prefixes, address, 128, &route);
    }
    route.kind = ROUTE_LINK;
    return error ? error : add_prefix(prefixes, address, interface->ipv4_length, &route);
}

static int add_ipv6(struct prefixes *prefixes, const struct interface *interface)
{
    struct route route = {.interface = interface, .kind = ROUTE_LOCAL};
    uint8_t address[16];
    int error = add_prefix(prefixes, interface->ipv6, 128, &route);
    memcpy(address, interface->ipv6, 16);
    host_bits(address, interface->ipv6_length, false);
    if (interface->ipv6_length < 127) /* RFC 6164 */
        error = error ? error : add_prefix(prefixes, address, 128, &route);
    route.kind = ROUTE_LINK;
    return error ? error : add_prefix(prefixes, address, interface->ipv6_length, &route);
}

static const struct interface *interface_at(const struct snapshot *snapshot, uint32_t port)
{
    return snapshot->ingress[port] ? snapshot->ingress[port]->interface : NULL;
}

/* What goes into the tables of one router. */
struct lists {
    struct prefixes ipv4, ipv6;
};

static int add_interfaces(const struct snapshot *snapshot, struct lists *lists)
{
    int error = 0;
    for (unsigned i = 0; i < snapshot->interface_count && !error; i++) {
        const struct interface *interface = &snapshot->interfaces[i];
        struct lists *own = &lists[interface->router - snapshot->routers];
        if (interface->flags & DP_INTERFACE_F_NO_FORWARD)
            continue;
        if (!address_is_zero(interface->ipv4))
            error = add_ipv4(&own->ipv4, interface);
        if (!error && !address_is_zero(interface->ipv6))
            error = add_ipv6(&own->ipv6, interface);
    }
    return error;
}

static int add_routes(const struct snapshot *snapshot, const struct objects *objects, struct lists *lists)
{
    int error = 0;
    for (size_t i = 0; i < objects_count(objects, DP_KIND_ROUTE) && !error; i++) {
        const struct dp_route *config = objects_at(objects, DP_KIND_ROUTE, i);
        const struct interface *interface = interface_at(snapshot, config->port);
        if (!interface || interface->router->id != config->router ||
            interface->flags & DP_INTERFACE_F_NO_FORWARD)
            continue;
        struct lists *own = &lists[interface->router - snapshot->routers];
        struct route route = {.interface = interface,
                              .kind = address_is_zero(config->next_hop) ? ROUTE_LINK : ROUTE_VIA};
        memcpy(route.next_hop, config->next_hop, 16);
        bool mapped = config->prefix_length >= 96 && address_is_ipv4(config->prefix);
        error = add_prefix(mapped ? &own->ipv4 : &own->ipv6, config->prefix, config->prefix_length, &route);
    }
    return error;
}

static int build_tables(struct snapshot *snapshot, const struct objects *objects)
{
    struct lists *lists = calloc(snapshot->router_count + 1, sizeof(*lists));
    if (!lists)
        return -ENOMEM;
    int error = add_interfaces(snapshot, lists);
    if (!error)
        error = add_routes(snapshot, objects, lists);
    for (unsigned i = 0; i < snapshot->router_count; i++) {
        struct router *router = &snapshot->routers[i];
        if (!error) {
            router->ipv4 = route_table_new(lists[i].ipv4.list, lists[i].ipv4.count);
            router->ipv6 = route_table_new(lists[i].ipv6.list, lists[i].ipv6.count);
            error = router->ipv4 && router->ipv6 ? 0 : -ENOMEM;
        }
        free(lists[i].ipv4.list);
        free(lists[i].ipv6.list);
    }
    free(lists);
    return error;
}

/* Slots for `count` static neighbours, at most half full: one that is free ends every search. */
static int make_room(struct interface *interface, uint32_t count)
{
    uint32_t slots = 2;
    while (slots < 2 * (count + 1))
        slots *= 2;
    interface->neighbours = calloc(slots, sizeof(*interface->neighbours));
    interface->neighbour_mask = slots - 1;
    return interface->neighbours ? 0 : -ENOMEM;
}

static void add_neighbour(struct interface *interface, const struct dp_neighbour *config)
{
    uint32_t slot = neighbour_hash(config->address) & interface->neighbour_mask;
    while (!address_is_zero(interface->neighbours[slot].address))
        slot = (slot + 1) & interface->neighbour_mask;
    memcpy(interface->neighbours[slot].address, config->address, 16);
    memcpy(&interface->neighbours[slot].mac, config->mac, 6);
}

static int build_neighbours(struct snapshot *snapshot, const struct objects *objects)
{
    uint32_t counts[DP_PORTS_MAX] = {0};
    struct interface *interfaces[DP_PORTS_MAX] = {0};
    size_t total = objects_count(objects, DP_KIND_NEIGHBOUR);
    for (size_t i = 0; i < total; i++)
        counts[((const struct dp_neighbour *)objects_at(objects, DP_KIND_NEIGHBOUR, i))->port]++;
    for (unsigned i = 0; i < snapshot->interface_count; i++) {
        struct interface *interface = &snapshot->interfaces[i];
        interfaces[interface->id] = interface;
        if (make_room(interface, counts[interface->id]))
            return -ENOMEM;
    }
    for (size_t i = 0; i < total; i++) {
        const struct dp_neighbour *config = objects_at(objects, DP_KIND_NEIGHBOUR, i);
        if (interfaces[config->port])
            add_neighbour(interfaces[config->port], config);
    }
    return 0;
}

/* RFC 4291, appendix A: the link-local address made of the MAC. */
static void make_link_local(uint8_t address[16], const uint8_t mac[6])
{
    const uint8_t bytes[16] = {0xfe,       0x80,   0,      0,    0,    0,      0,      0,
                               mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    memcpy(address, bytes, 16);
}

/* The tenant's router; for an outside interface a new one of its own. */
static struct router *router_of(struct snapshot *snapshot, uint32_t id)
{
    for (unsigned i = 0; i < snapshot->router_count && id != 0; i++)
        if (snapshot->routers[i].id == id)
            return &snapshot->routers[i];
    return id == 0 ? &snapshot->routers[snapshot->router_count++] : NULL;
}

/* Where a tenant's interface is translated to, unless something said so already. */
static void set_outside(struct snapshot *snapshot, uint32_t port, uint32_t outside, const uint8_t address[16])
{
    const struct interface *to = interface_at(snapshot, outside), *from = interface_at(snapshot, port);
    for (unsigned i = 0; i < snapshot->interface_count && to && to->router->id == 0; i++) {
        struct interface *interface = &snapshot->interfaces[i];
        unsigned family = address_is_ipv4(address) ? 1 : 0;
        if (interface == from && interface->router->id != 0 && !interface->outside[family])
            interface->outside[family] = to;
    }
}

/* Of sources first: they are for a whole segment. */
static void build_outsides(struct snapshot *snapshot, const struct objects *objects)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NAT_SOURCE); i++) {
        const struct dp_nat_source *source = objects_at(objects, DP_KIND_NAT_SOURCE, i);
        set_outside(snapshot, source->port, source->outside, source->address);
    }
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NAT_ONE_TO_ONE); i++) {
        const struct dp_nat_one_to_one *entry = objects_at(objects, DP_KIND_NAT_ONE_TO_ONE, i);
        set_outside(snapshot, entry->port, entry->outside, entry->address);
    }
}

static void build_interface(struct snapshot *snapshot, const struct objects *objects,
                            const struct dp_interface *config)
{
    struct ingress *ingress = snapshot->ingress[config->port];
    const struct dp_port *port = objects_port(objects, config->port);
    if (!ingress || !port || port->type != DP_PORT_ROUTER)
        return;
    struct router *router = router_of(snapshot, config->router);
    if (!router)
        return;
    struct interface *interface = &snapshot->interfaces[snapshot->interface_count];
    *interface = (struct interface){
        .ingress = ingress,
        .id = config->port,
        .router = router,
        .flags = config->flags,
        .mtu = port->mtu,
        .ipv4_length = config->ipv4_prefix_length,
        .ipv6_length = config->ipv6_prefix_length,
    };
    memcpy(interface->mac, port->mac, 6);
    memcpy(interface->ipv4, config->ipv4, 16);
    memcpy(interface->ipv6, config->ipv6, 16);
    make_link_local(interface->link_local, port->mac);
    snapshot->interface_count++;
    ingress->interface = interface;
}

int compile_routers(struct snapshot *snapshot, const struct objects *objects)
{
    size_t routers = objects_count(objects, DP_KIND_ROUTER);
    size_t interfaces = objects_count(objects, DP_KIND_INTERFACE);
    if (interfaces == 0)
        return 0;
    snapshot->routers = calloc(routers + interfaces, sizeof(*snapshot->routers));
    snapshot->interfaces = calloc(interfaces, sizeof(*snapshot->interfaces));
    if (!snapshot->routers || !snapshot->interfaces)
        return -ENOMEM;
    for (size_t i = 0; i < routers; i++)
        snapshot->routers[snapshot->router_count++].id =
            ((const struct dp_router *)objects_at(objects, DP_KIND_ROUTER, i))->id;
    for (size_t i = 0; i < interfaces; i++)
        build_interface(snapshot, objects, objects_at(objects, DP_KIND_INTERFACE, i));
    int error = build_neighbours(snapshot, objects);
    if (!error)
        error = build_tables(snapshot, objects);
    if (!error)
        build_outsides(snapshot, objects);
    return error;
}

void routers_free(struct snapshot *snapshot)
{
    for (unsigned i = 0; i < snapshot->interface_count; i++)
        free(snapshot->interfaces[i].neighbours);
    for (unsigned i = 0; i < snapshot->router_count; i++) {
        route_table_free(snapshot->routers[i].ipv4);
        route_table_free(snapshot->routers[i].ipv6);
    }
    free(snapshot->interfaces);
    free(snapshot->routers);
}
