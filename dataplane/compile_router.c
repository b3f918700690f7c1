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

static int build_tables(const struct snapshot *snapshot, const struct objects *objects, struct router *router)
{
    struct prefixes ipv4 = {0}, ipv6 = {0};
    int error = 0;
    for (unsigned i = 0; i < snapshot->interface_count && !error; i++) {
        const struct interface *interface = &snapshot->interfaces[i];
        if (interface->router != router || interface->flags & DP_INTERFACE_F_NO_FORWARD)
            continue;
        if (!address_is_zero(interface->ipv4))
            error = add_ipv4(&ipv4, interface);
        if (!error && !address_is_zero(interface->ipv6))
            error = add_ipv6(&ipv6, interface);
    }
    for (size_t i = 0; i < objects_count(objects, DP_KIND_ROUTE) && !error; i++) {
        const struct dp_route *config = objects_at(objects, DP_KIND_ROUTE, i);
        const struct ingress *ingress = snapshot->ingress[config->port];
        const struct interface *interface = ingress ? ingress->interface : NULL;
        if (!interface || interface->router != router || interface->flags & DP_INTERFACE_F_NO_FORWARD)
            continue;
        struct route route = {.interface = interface,
                              .kind = address_is_zero(config->next_hop) ? ROUTE_LINK : ROUTE_VIA};
        memcpy(route.next_hop, config->next_hop, 16);
        bool mapped = config->prefix_length >= 96 && address_is_ipv4(config->prefix);
        error = add_prefix(mapped ? &ipv4 : &ipv6, config->prefix, config->prefix_length, &route);
    }
    if (!error) {
        router->ipv4 = route_table_new(ipv4.list, ipv4.count);
        router->ipv6 = route_table_new(ipv6.list, ipv6.count);
        error = router->ipv4 && router->ipv6 ? 0 : -ENOMEM;
    }
    free(ipv4.list);
    free(ipv6.list);
    return error;
}

/* Slots of static neighbours, at most half full; one that is always free ends every search. */
static int build_neighbours(const struct objects *objects, struct interface *interface)
{
    size_t total = objects_count(objects, DP_KIND_NEIGHBOUR);
    uint32_t count = 0, slots = 2;
    for (size_t i = 0; i < total; i++)
        count += ((const struct dp_neighbour *)objects_at(objects, DP_KIND_NEIGHBOUR, i))->port ==
                 interface->ingress->id;
    while (slots < 2 * (count + 1))
        slots *= 2;
    interface->neighbours = calloc(slots, sizeof(*interface->neighbours));
    if (!interface->neighbours)
        return -ENOMEM;
    interface->neighbour_mask = slots - 1;
    for (size_t i = 0; i < total && count > 0; i++) {
        const struct dp_neighbour *config = objects_at(objects, DP_KIND_NEIGHBOUR, i);
        if (config->port != interface->ingress->id)
            continue;
        uint32_t slot = neighbour_hash(config->address) & interface->neighbour_mask;
        while (!address_is_zero(interface->neighbours[slot].address))
            slot = (slot + 1) & interface->neighbour_mask;
        memcpy(interface->neighbours[slot].address, config->address, 16);
        memcpy(&interface->neighbours[slot].mac, config->mac, 6);
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

static const struct interface *interface_at(const struct snapshot *snapshot, uint32_t port)
{
    return snapshot->ingress[port] ? snapshot->ingress[port]->interface : NULL;
}

/* Where a tenant's interface is translated to, unless something said so already. */
static void set_outside(struct snapshot *snapshot, uint32_t port, uint32_t outside, const uint8_t address[16])
{
    const struct interface *to = interface_at(snapshot, outside);
    for (unsigned i = 0; i < snapshot->interface_count && to && to->router->id == 0; i++) {
        struct interface *interface = &snapshot->interfaces[i];
        unsigned family = address_is_ipv4(address) ? 1 : 0;
        if (interface->ingress->id == port && interface->router->id != 0 && !interface->outside[family])
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

static int build_interface(struct snapshot *snapshot, const struct objects *objects,
                           const struct dp_interface *config)
{
    struct ingress *ingress = snapshot->ingress[config->port];
    const struct dp_port *port = objects_port(objects, config->port);
    if (!ingress || !port || port->type != DP_PORT_ROUTER)
        return 0;
    struct router *router = router_of(snapshot, config->router);
    if (!router)
        return 0;
    struct interface *interface = &snapshot->interfaces[snapshot->interface_count];
    *interface = (struct interface){
        .ingress = ingress,
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
    int error = build_neighbours(objects, interface);
    if (error)
        return error;
    snapshot->interface_count++;
    ingress->interface = interface;
    return 0;
}

int compile_routers(struct snapshot *snapshot, const struct objects *objects)
{
    size_t routers = objects_count(objects, DP_KIND_ROUTER);
    size_t interfaces = objects_count(objects, DP_KIND_INTERFACE);
    int error = 0;
    if (interfaces == 0)
        return 0;
    snapshot->routers = calloc(routers + interfaces, sizeof(*snapshot->routers));
    snapshot->interfaces = calloc(interfaces, sizeof(*snapshot->interfaces));
    if (!snapshot->routers || !snapshot->interfaces)
        return -ENOMEM;
    for (size_t i = 0; i < routers; i++)
        snapshot->routers[snapshot->router_count++].id =
            ((const struct dp_router *)objects_at(objects, DP_KIND_ROUTER, i))->id;
    for (size_t i = 0; i < interfaces && !error; i++)
        error = build_interface(snapshot, objects, objects_at(objects, DP_KIND_INTERFACE, i));
    for (unsigned i = 0; i < snapshot->router_count && !error; i++)
        error = build_tables(snapshot, objects, &snapshot->routers[i]);
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
