/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A unicast packet's way through a router: checks of RFC 1812 (5.2.2, 5.3.7) and RFC 4291 (2.5), route, hop
 * count, size, neighbour. Nothing is changed before the last of them, so that what is reported or has to wait
 * is the packet as it came.
 */
#include "checksum.h"
#include "icmp.h"
#include "ip_fragment.h"
#include "program.h"
#include "router_private.h"

#define IPV4_HEADER_MIN 20u
#define IPV4_DF         0x40u /* of byte 6 */
#define OPTION_END      0u
#define OPTION_NOP      1u
#define OPTION_LSRR     131u
#define OPTION_SSRR     137u
#define LINK_LOCAL_IPV4 0xa9feu /* 169.254/16, RFC 3927 */

/* Well-formed options, and no source route among them (RFC 7126, 4.3, 4.4: drop). */
static bool options_legal(const uint8_t *ip, uint32_t size)
{
    for (uint32_t at = IPV4_HEADER_MIN; at < size;) {
        uint8_t type = ip[at];
        if (type == OPTION_END)
            return true;
        if (type == OPTION_NOP) {
            at++;
            continue;
        }
        if (type == OPTION_LSRR || type == OPTION_SSRR || at + 1 >= size || ip[at + 1] < 2)
            return false;
        at += ip[at + 1];
        if (at > size)
            return false;
    }
    return true;
}

/* Inline for a header without options: 5 additions, and most have none. */
static uint16_t header_sum(const uint8_t *ip, uint32_t size)
{
    uint32_t words[5];
    if (__builtin_expect(size != IPV4_HEADER_MIN, 0))
        return checksum_fold(checksum_sum(ip, size));
    memcpy(words, ip, sizeof(words));
    return checksum_fold((uint64_t)words[0] + words[1] + words[2] + words[3] + words[4]);
}

static bool ipv4_legal(const struct routed *routed)
{
    const uint8_t *ip = routed->packet->data + ETHERNET_HEADER_SIZE;
    uint32_t size = (uint32_t)routed->info.l4_offset - ETHERNET_HEADER_SIZE;
    if (header_sum(ip, size) != 0xffff)
        return false;
    /* 0/8, 127/8, class D and E as a source; 0/8, 127/8, class E as a destination */
    if (ip[12] == 0 || ip[12] == 127 || ip[12] >= 224 || ip[16] == 0 || ip[16] == 127 || ip[16] >= 240)
        return false;
    return size == IPV4_HEADER_MIN || options_legal(ip, size);
}

static bool is_link_local(const uint8_t address[16])
{
    return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static bool is_ipv4(const struct routed *routed)
{
    return routed->info.flags & FRAME_F_IPV4;
}

/* Bytes of the largest IP packet that leaves: of one segment, for a TSO frame. */
static uint32_t largest(const struct routed *routed)
{
    const struct packet *packet = routed->packet;
    uint32_t end = packet->gso_type == VNET_GSO_NONE ? routed->info.l3_end
                                                     : (uint32_t)packet->hdr_len + packet->gso_size;
    return end - routed->info.l3_offset;
}

static void unreachable(struct program *program, struct routed *routed, const struct route *route)
{
    router_drop(program, routed, DP_DROP_L3_NO_ROUTE);
    if (is_ipv4(routed) && !route)
        icmp_error_ipv4(program, routed, ICMP_UNREACHABLE, ICMP_UNREACHABLE_NET, 0);
    else if (!is_ipv4(routed))
        icmp_error_ipv6(program, routed, ICMPV6_UNREACHABLE,
                        route ? ICMPV6_UNREACHABLE_SCOPE : ICMPV6_UNREACHABLE_ROUTE, 0);
}

bool router_route_usable(struct program *program, struct routed *routed, const struct route *route)
{
    const uint8_t *ip = routed->packet->data + ETHERNET_HEADER_SIZE;
    if (__builtin_expect(
            !route || route->kind == ROUTE_BROADCAST || (!is_ipv4(routed) && is_link_local(ip + 8)), 0)) {
        unreachable(program, routed, route);
        return false;
    }
    return router_hops_left(program, routed);
}

bool router_hops_left(struct program *program, struct routed *routed)
{
    const uint8_t *ip = routed->packet->data + ETHERNET_HEADER_SIZE;
    if (__builtin_expect(ip[is_ipv4(routed) ? 8 : 7] > 1, 1))
        return true;
    router_drop(program, routed, DP_DROP_L3_TTL);
    if (is_ipv4(routed))
        icmp_error_ipv4(program, routed, ICMP_TIME_EXCEEDED, 0, 0);
    else
        icmp_error_ipv6(program, routed, ICMPV6_TIME_EXCEEDED, 0, 0);
    return false;
}

bool router_size_fits(struct program *program, struct routed *routed, const struct interface *out,
                      bool *fragment)
{
    const uint8_t *ip = routed->packet->data + ETHERNET_HEADER_SIZE;
    *fragment = false;
    if (__builtin_expect(largest(routed) <= out->mtu, 1))
        return true;
    if (is_ipv4(routed) && !(ip[6] & IPV4_DF)) {
        *fragment = true;
        return true;
    }
    router_drop(program, routed, DP_DROP_L3_MTU);
    if (is_ipv4(routed))
        icmp_error_ipv4(program, routed, ICMP_UNREACHABLE, ICMP_UNREACHABLE_BIG, out->mtu); /* RFC 1191, 4 */
    else
        icmp_error_ipv6(program, routed, ICMPV6_TOO_BIG, 0, out->mtu);
    return false;
}

void router_deliver(struct program *program, struct routed *routed, const struct router *router,
                    const uint8_t destination[16])
{
    router_follow(program, routed, router, destination,
                  route_lookup(is_ipv4(routed) ? router->ipv4 : router->ipv6, destination));
}

void router_follow(struct program *program, struct routed *routed, const struct router *router,
                   const uint8_t destination[16], const struct route *route)
{
    if (!router_route_usable(program, routed, route) ||
        !router_may_leave(program, routed, router, route->interface))
        return;
    if (__builtin_expect(route->kind == ROUTE_LOCAL, 0)) { /* translated to the router's own address */
        router_drop(program, routed, DP_DROP_L3_LOCAL);
        return;
    }
    const struct interface *out = route->interface;
    bool fragment;
    if (!router_size_fits(program, routed, out, &fragment))
        return;
    struct router_way way = {out, route->kind == ROUTE_VIA ? route->next_hop : destination};
    uint64_t mac = router_neighbour(program, routed, &way);
    if (__builtin_expect(mac != 0, 1))
        router_leave(program, routed, out, mac, fragment);
}

void router_leave(struct program *program, struct routed *routed, const struct interface *out, uint64_t mac,
                  bool fragment)
{
    if (__builtin_expect(fragment, 0)) {
        ip_fragment(program, routed, out, mac);
        return;
    }
    if (routed->key.meta)
        router_flow_note(program, routed, out, mac);
    router_taken(program, routed);
    router_send(program, out, routed->packet, mac);
}

/* A packet that is not for the router itself. */
static void onward(struct program *program, struct routed *routed, const uint8_t destination[16],
                   const struct route *route)
{
    const struct interface *in = routed->in;
    if (__builtin_expect(in->flags & DP_INTERFACE_F_NO_FORWARD, 0))
        router_drop(program, routed, DP_DROP_L3_NO_ROUTE);
    else if (!route && in->outside[is_ipv4(routed)])
        router_nat_outbound(program, routed, destination);
    else
        router_follow(program, routed, in->router, destination, route);
}

void router_forward_ipv4(struct program *program, struct routed *routed)
{
    const uint8_t *ip = routed->packet->data + ETHERNET_HEADER_SIZE;
    const struct interface *in = routed->in;
    uint8_t destination[16];
    if (__builtin_expect(!ipv4_legal(routed), 0)) {
        router_drop(program, routed, DP_DROP_L3_MALFORMED);
        return;
    }
    address_map(destination, ip + 16);
    if (in->router->id == 0) {
        router_nat_inbound(program, routed, destination);
        return;
    }
    const struct route *route = route_lookup(in->router->ipv4, destination);
    if (address_equal(destination, in->ipv4) || (route && route->kind == ROUTE_LOCAL))
        router_local_ipv4(program, routed);
    else if (load_be16(ip + 12) == LINK_LOCAL_IPV4 || load_be16(ip + 16) == LINK_LOCAL_IPV4 || ip[16] >= 224)
        router_drop(program, routed, DP_DROP_L3_MALFORMED);
    else
        onward(program, routed, destination, route);
}

/* Multicast, unspecified, loopback, IPv4-mapped addresses have no way through a router. */
static bool ipv6_legal(const uint8_t *ip)
{
    static const uint8_t loopback[16] = {[15] = 1};
    const uint8_t *source = ip + 8, *destination = ip + 24;
    return source[0] != 0xff && destination[0] != 0xff && !address_is_zero(source) &&
           !address_is_zero(destination) && !address_equal(source, loopback) &&
           !address_equal(destination, loopback) && !address_is_ipv4(source) && !address_is_ipv4(destination);
}

void router_forward_ipv6(struct program *program, struct routed *routed)
{
    const uint8_t *ip = routed->packet->data + ETHERNET_HEADER_SIZE;
    const struct interface *in = routed->in;
    uint8_t destination[16];
    if (__builtin_expect(!ipv6_legal(ip), 0)) {
        router_drop(program, routed, DP_DROP_L3_MALFORMED);
        return;
    }
    memcpy(destination, ip + 24, 16);
    const struct route *route = route_lookup(in->router->ipv6, destination);
    if (address_equal(destination, in->link_local))
        router_local_ipv6(program, routed);
    else if (in->router->id == 0)
        router_nat_inbound(program, routed, destination);
    else if (address_equal(destination, in->ipv6) || (route && route->kind == ROUTE_LOCAL))
        router_local_ipv6(program, routed);
    else if (is_link_local(destination))
        router_drop(program, routed, DP_DROP_L3_NO_ROUTE);
    else
        onward(program, routed, destination, route);
}
