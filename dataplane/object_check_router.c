/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks of routers, interfaces, routes and neighbours. Isolation begins here: an interface is of its port's
 * tenant, a route leads to an interface of its own router.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "object_check_private.h"

#define INTERFACE_FLAGS                                                                                      \
    (DP_INTERFACE_F_PUNT_DHCP | DP_INTERFACE_F_PUNT_DNS | DP_INTERFACE_F_PUNT_RS |                           \
     DP_INTERFACE_F_ASK_KERNEL | DP_INTERFACE_F_NO_FORWARD)
#define MAPPED_LENGTH 96u /* of the prefix that IPv4-mapped addresses share */

bool object_address_ipv4(const uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address, mapped, sizeof(mapped)) == 0;
}

bool object_address_valid(const uint8_t address[16])
{
    static const uint8_t loopback[16] = {[15] = 1};
    if (object_address_ipv4(address))
        return address[12] != 0 && address[12] != 127 && address[12] < 224;
    return address[0] != 0xff && !object_all_zero(address, 16) && memcmp(address, loopback, 16) != 0;
}

const char *object_address_text(const uint8_t address[16], char text[46])
{
    bool ipv4 = object_address_ipv4(address);
    return inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? address + 12 : address, text, 46);
}

const struct dp_interface *object_interface(const struct objects *objects, uint32_t port)
{
    return objects_find(objects, DP_KIND_INTERFACE, &port);
}

static bool port_id_valid(uint32_t id)
{
    return id > 0 && id < DP_PORTS_MAX;
}

static int check_router(const struct dp_router *router, char *text)
{
    if (router->id == 0)
        return object_refuse(text, -ERANGE, "router 0 is the outside, which is not configured");
    if (!object_string_valid(router->name, sizeof(router->name), false))
        return object_refuse(text, -EINVAL, "router %u: name empty, not terminated or with forbidden bytes",
                             router->id);
    if (router->pad != 0)
        return object_refuse(text, -EINVAL, "router %.48s: padding not zero", router->name);
    return 0;
}

static int check_interface(const struct dp_interface *interface, char *text)
{
    bool ipv4 = !object_all_zero(interface->ipv4, 16), ipv6 = !object_all_zero(interface->ipv6, 16);
    if (!port_id_valid(interface->port))
        return object_refuse(text, -ERANGE, "interface: port id %u: not in 1..%u", interface->port,
                             DP_PORTS_MAX - 1);
    if (interface->flags & ~INTERFACE_FLAGS)
        return object_refuse(text, -EINVAL, "interface %u: unknown flags 0x%x", interface->port,
                             interface->flags);
    if (ipv4 && (!object_address_ipv4(interface->ipv4) || !object_address_valid(interface->ipv4) ||
                 interface->ipv4_prefix_length <= MAPPED_LENGTH || interface->ipv4_prefix_length > 128))
        return object_refuse(text, -EINVAL, "interface %u: no IPv4 address of a host, or prefix not 97..128",
                             interface->port);
    if (ipv6 && (object_address_ipv4(interface->ipv6) || !object_address_valid(interface->ipv6) ||
                 interface->ipv6_prefix_length == 0 || interface->ipv6_prefix_length > 128))
        return object_refuse(text, -EINVAL, "interface %u: no IPv6 address of a host, or prefix not 1..128",
                             interface->port);
    if ((!ipv4 && interface->ipv4_prefix_length != 0 && interface->ipv4_prefix_length != MAPPED_LENGTH) ||
        (!ipv6 && interface->ipv6_prefix_length != 0))
        return object_refuse(text, -EINVAL, "interface %u: prefix length without an address",
                             interface->port);
    if (!object_all_zero(interface->pad, sizeof(interface->pad)))
        return object_refuse(text, -EINVAL, "interface %u: padding not zero", interface->port);
    return 0;
}

/* Bits beyond the length are zero. */
static bool prefix_valid(const uint8_t address[16], unsigned length)
{
    for (unsigned i = length; i < 128; i++)
        if (address[i / 8] & (0x80u >> (i % 8)))
            return false;
    return true;
}

static bool route_is_ipv4(const struct dp_route *route)
{
    return route->prefix_length >= MAPPED_LENGTH && object_address_ipv4(route->prefix);
}

static int check_route(const struct dp_route *route, char *text)
{
    char prefix[46];
    bool via = !object_all_zero(route->next_hop, 16);
    object_address_text(route->prefix, prefix);
    if (!port_id_valid(route->port))
        return object_refuse(text, -ERANGE, "route to %s: port id %u: not in 1..%u", prefix, route->port,
                             DP_PORTS_MAX - 1);
    if (route->prefix_length > 128 || !prefix_valid(route->prefix, route->prefix_length))
        return object_refuse(text, -EINVAL, "route to %s: length %u, or bits beyond it", prefix,
                             route->prefix_length);
    if (via && (!object_address_valid(route->next_hop) ||
                object_address_ipv4(route->next_hop) != route_is_ipv4(route)))
        return object_refuse(text, -EINVAL, "route to %s: next hop is no host's address of that family",
                             prefix);
    if (!object_all_zero(route->pad, sizeof(route->pad)))
        return object_refuse(text, -EINVAL, "route to %s: padding not zero", prefix);
    return 0;
}

static int check_neighbour(const struct dp_neighbour *neighbour, char *text)
{
    char address[46];
    object_address_text(neighbour->address, address);
    if (!port_id_valid(neighbour->port))
        return object_refuse(text, -ERANGE, "neighbour %s: port id %u: not in 1..%u", address,
                             neighbour->port, DP_PORTS_MAX - 1);
    if (!object_address_valid(neighbour->address) || !object_unicast(neighbour->mac))
        return object_refuse(text, -EINVAL, "neighbour %s: no unicast address, IP or MAC", address);
    if (!object_all_zero(neighbour->pad, sizeof(neighbour->pad)))
        return object_refuse(text, -EINVAL, "neighbour %s: padding not zero", address);
    return 0;
}

int object_check_router(enum dp_kind kind, const void *object, char *text)
{
    switch (kind) {
    case DP_KIND_ROUTER:
        return check_router(object, text);
    case DP_KIND_INTERFACE:
        return check_interface(object, text);
    case DP_KIND_ROUTE:
        return check_route(object, text);
    default:
        return check_neighbour(object, text);
    }
}

static int check_interfaces(const struct objects *objects, char *text)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_INTERFACE); i++) {
        const struct dp_interface *interface = objects_at(objects, DP_KIND_INTERFACE, i);
        const struct dp_port *port = objects_port(objects, interface->port);
        if (!port || port->type != DP_PORT_ROUTER)
            return object_refuse(text, -ENOENT, "interface: port %u does not exist or is no router port",
                                 interface->port);
        if (object_all_zero(port->mac, 6))
            return object_refuse(text, -EINVAL, "interface %.48s: its port has no MAC address", port->name);
        if (interface->router == 0)
            continue;
        if (interface->router != port->tenant)
            return object_refuse(text, -EPERM, "interface %.40s: router %u is another tenant's", port->name,
                                 interface->router);
        if (!objects_find(objects, DP_KIND_ROUTER, &interface->router))
            return object_refuse(text, -ENOENT, "interface %.40s: router %u does not exist", port->name,
                                 interface->router);
    }
    return 0;
}

/* A router port is in one segment, untagged. */
static int check_memberships(const struct objects *objects, char *text)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_MEMBER); i++) {
        const struct dp_member *member = objects_at(objects, DP_KIND_MEMBER, i);
        const struct dp_port *port = objects_port(objects, member->port);
        if (port->type == DP_PORT_ROUTER && (member->vid || member->tagged_vid))
            return object_refuse(text, -EINVAL, "router port %.40s: member with a VLAN tag", port->name);
    }
    return 0;
}

static bool prefix_holds(const uint8_t prefix[16], unsigned length, const uint8_t address[16])
{
    for (unsigned i = 0; i < length; i++)
        if ((prefix[i / 8] ^ address[i / 8]) & (0x80u >> (i % 8)))
            return false;
    return true;
}

/* The outside's next hops are the kernel's, which knows links whose gateway is in no prefix ("onlink"). */
static bool on_link(const struct dp_interface *interface, const uint8_t address[16])
{
    bool link_local = address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
    if (interface->router == 0 || link_local)
        return true;
    if (object_address_ipv4(address))
        return !object_all_zero(interface->ipv4, 16) &&
               prefix_holds(interface->ipv4, interface->ipv4_prefix_length, address);
    return !object_all_zero(interface->ipv6, 16) &&
           prefix_holds(interface->ipv6, interface->ipv6_prefix_length, address);
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int check_routes(const struct objects *objects, uint32_t *ports, size_t count, char *text)
{
    char prefix[46];
    for (size_t i = 0; i < count; i++) {
        const struct dp_route *route = objects_at(objects, DP_KIND_ROUTE, i);
        const struct dp_interface *interface = object_interface(objects, route->port);
        object_address_text(route->prefix, prefix);
        ports[i] = route->port;
        if (!interface)
            return object_refuse(text, -ENOENT, "route to %s: port %u has no interface", prefix, route->port);
        if (interface->router != route->router)
            return object_refuse(text, -EPERM, "route to %s: port %u is of router %u, not %u", prefix,
                                 route->port, interface->router, route->router);
        if (!object_all_zero(route->next_hop, 16) && !on_link(interface, route->next_hop))
            return object_refuse(text, -EINVAL, "route to %s: its next hop is not on the link of port %u",
                                 prefix, route->port);
    }
    qsort(ports, count, sizeof(*ports), compare_ids);
    for (size_t i = DP_ROUTES_MAX; i < count; i++)
        if (ports[i] == ports[i - DP_ROUTES_MAX])
            return object_refuse(text, -ENOSPC, "interface %u: more than %u routes", ports[i], DP_ROUTES_MAX);
    return 0;
}

static int check_neighbours(const struct objects *objects, char *text)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_NEIGHBOUR); i++) {
        const struct dp_neighbour *neighbour = objects_at(objects, DP_KIND_NEIGHBOUR, i);
        char address[46];
        if (!object_interface(objects, neighbour->port))
            return object_refuse(text, -ENOENT, "neighbour %s: port %u has no interface",
                                 object_address_text(neighbour->address, address), neighbour->port);
    }
    return 0;
}

int objects_check_routers(const struct objects *objects, char *text)
{
    int error = check_interfaces(objects, text);
    if (!error)
        error = check_memberships(objects, text);
    if (!error)
        error = check_neighbours(objects, text);
    size_t count = objects_count(objects, DP_KIND_ROUTE);
    if (error || count == 0)
        return error;
    uint32_t *ports = calloc(count, sizeof(*ports));
    if (!ports)
        return object_refuse(text, -ENOMEM, "no memory to check %zu routes", count);
    error = check_routes(objects, ports, count, text);
    free(ports);
    return error;
}
