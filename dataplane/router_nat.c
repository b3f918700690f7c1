/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between a tenant's router and the outside: packets go through address translation (nat.h), and in no other
 * way.
 *
 *   tenant's interface -> no route in the tenant's router -> route, size, neighbour outside -> nat_outbound
 * -> out outside interface  -> translated address? -> nat_inbound -> the tenant's router (router_deliver)
 *   tenant's interface -> to a translated address -> nat_outbound, nat_inbound -> the other's router
 * (hairpin)
 *
 * Everything that can stop a packet on its way out is looked at before it is translated, so that what waits
 * for a neighbour is the packet as it came and what is reported is what its sender knows. On the way in the
 * receiver is known only after translation; what is reported then goes back through it (router_nat_error), as
 * an error of the guest's own would.
 *
 * An outside interface has a router of its own (number 0) with its routes: a guest leaves by the interface
 * that its segment is translated to, wherever else the destination may be reached.
 */
#include "icmp.h"
#include "nat.h"
#include "program.h"
#include "router_private.h"

static struct nat_context context_of(const struct program *program)
{
    return (struct nat_context){.nat = program->snapshot->nat,
                                .config = program->snapshot->nat_config,
                                .worker = program->output.io.worker,
                                .now_s = program->now_s};
}

static bool is_ipv4(const struct routed *routed)
{
    return routed->info.flags & FRAME_F_IPV4;
}

static bool first_fragment(const struct routed *routed)
{
    return (routed->info.flags & (FRAME_F_FRAGMENT | FRAME_F_FRAGMENT_LATER)) == FRAME_F_FRAGMENT;
}

/* Fragments that came before their first one follow it. They were counted when they came. */
static void release(struct program *program, const struct routed *first, const struct router_way *way,
                    uint64_t mac)
{
    struct nat_context context = context_of(program);
    struct router_piece *piece = program->router->piece;
    struct nat_outcome outcome;
    if (!first_fragment(first))
        return;
    router_flush(program);
    for (;;) {
        piece->packet = (struct packet){
            .buffer = piece->memory, .data = piece->memory + PACKET_HEADROOM, .spans = piece->spans};
        if (!nat_release(&context, &piece->packet, &outcome))
            return;
        const uint8_t *ip = piece->packet.data + ETHERNET_HEADER_SIZE;
        bool passes = mac && ip[is_ipv4(first) ? 8 : 7] > 1 &&
                      piece->packet.size <= way->out->mtu + ETHERNET_HEADER_SIZE;
        if (passes)
            router_send_piece(program, way->out, &piece->packet, mac);
    }
}

/* Translated for an interface of a tenant: on in that tenant's router. */
static void deliver(struct program *program, struct routed *routed)
{
    const struct ingress *ingress = program->snapshot->ingress[routed->inner];
    uint8_t destination[16];
    if (!ingress || !ingress->interface) {
        router_drop(program, routed, DP_DROP_NAT_NO_SESSION);
        return;
    }
    const uint8_t *ip = routed->packet->data + ETHERNET_HEADER_SIZE;
    if (is_ipv4(routed))
        address_map(destination, ip + 16);
    else
        memcpy(destination, ip + 24, 16);
    router_deliver(program, routed, ingress->interface->router, destination);
}

void router_nat_resumed(struct program *program, struct routed *routed)
{
    deliver(program, routed);
}

/* Fragments of an inbound datagram: to where its first one went. */
static void release_inbound(struct program *program, const struct routed *first)
{
    const struct ingress *ingress = program->snapshot->ingress[first->inner];
    const struct interface *inner = ingress ? ingress->interface : NULL;
    uint8_t destination[16] = {0};
    struct router_way way = {inner, destination};
    uint64_t mac = 0;
    if (!first_fragment(first))
        return;
    if (is_ipv4(first))
        address_map(destination, first->packet->data + ETHERNET_HEADER_SIZE + 16);
    else
        memcpy(destination, first->packet->data + ETHERNET_HEADER_SIZE + 24, 16);
    const struct route *route =
        inner ? route_lookup(is_ipv4(first) ? inner->router->ipv4 : inner->router->ipv6, destination) : NULL;
    if (route && route->interface->router == inner->router && route->kind <= ROUTE_VIA) {
        way.out = route->interface;
        way.hop = route->kind == ROUTE_VIA ? route->next_hop : destination;
        mac = router_neighbour_known(program, &way);
    }
    release(program, first, &way, mac);
}

/* `outside`: whose address the packet is to. Otherwise than DP_DROP_COUNT: to be dropped. */
static enum dp_drop inbound(struct program *program, struct routed *routed, uint32_t outside)
{
    struct nat_context context = context_of(program);
    struct nat_outcome outcome = {0};
    bool held;
    enum dp_drop drop = nat_inbound(&context, outside, routed->packet, &routed->info, &outcome, &held);
    if (drop != DP_DROP_COUNT)
        return drop;
    if (held) {
        router_taken(program, routed);
        return DP_DROP_COUNT;
    }
    const struct ingress *ingress = program->snapshot->ingress[outcome.outside];
    if (ingress && ingress->interface && ingress->interface->router->id != outcome.router)
        return DP_DROP_TENANT;
    routed->inner = outcome.outside;
    routed->flags |= ROUTED_F_TRANSLATED;
    deliver(program, routed);
    release_inbound(program, routed);
    return DP_DROP_COUNT;
}

static bool is_echo_request(const struct routed *routed)
{
    const struct frame_info *info = &routed->info;
    uint8_t type = info->flags & FRAME_F_L4 ? routed->packet->data[info->l4_offset] : 0;
    return !(info->flags & FRAME_F_FRAGMENT) &&
           ((info->ip_proto == IP_PROTO_ICMP && type == ICMP_ECHO_REQUEST) ||
            (info->ip_proto == IP_PROTO_ICMPV6 && type == ICMPV6_ECHO_REQUEST));
}

void router_nat_inbound(struct program *program, struct routed *routed, const uint8_t destination[16])
{
    const struct nat_config *config = program->snapshot->nat_config;
    const struct interface *in = routed->in;
    bool answer = false;
    /* a probe of one of our addresses (RFC 4861, 7.3.3) is about the link, whoever has the address inside */
    if (routed->info.ip_proto == IP_PROTO_ICMPV6 && router_nd(program, routed))
        return;
    if (config && nat_has_address(config, in->ingress->id, destination, &answer)) {
        if (!router_hops_left(program, routed))
            return;
        enum dp_drop drop = inbound(program, routed, in->ingress->id);
        if (drop == DP_DROP_NAT_NO_SESSION && answer && is_echo_request(routed))
            router_echo(program, routed);
        else if (drop != DP_DROP_COUNT)
            router_drop(program, routed, drop);
    } else if (address_equal(destination, in->ipv4)) {
        router_local_ipv4(program, routed);
    } else if (address_equal(destination, in->ipv6)) {
        router_local_ipv6(program, routed);
    } else {
        router_drop(program, routed, DP_DROP_NAT_NO_SESSION);
    }
}

/* From one inside to another by way of their outside addresses. */
static void hairpin(struct program *program, struct routed *routed, uint32_t outside)
{
    struct nat_context context = context_of(program);
    struct nat_outcome outcome = {0};
    struct router_way nowhere = {0};
    bool held;
    if (!router_hops_left(program, routed))
        return;
    enum dp_drop drop = nat_outbound(&context, routed->port, routed->packet, &routed->info, &outcome, &held);
    if (drop == DP_DROP_COUNT && !held) {
        release(program, routed, &nowhere, 0); /* fragments out of order do not make the turn */
        drop = inbound(program, routed, outside);
    } else if (held) {
        router_taken(program, routed);
    }
    if (drop != DP_DROP_COUNT)
        router_drop(program, routed, drop);
}

/* The session leaves by another outside interface than the segment's usual one (a 1:1 address on another
 * uplink). */
static void leave_elsewhere(struct program *program, struct routed *routed, uint32_t outside,
                            const uint8_t destination[16])
{
    const struct ingress *ingress = program->snapshot->ingress[outside];
    const struct interface *out = ingress ? ingress->interface : NULL;
    if (!out || out->router->id != 0) {
        router_drop(program, routed, DP_DROP_TENANT);
        return;
    }
    routed->inner = outside;
    routed->flags |= ROUTED_F_TRANSLATED; /* if it has to wait, it waits translated */
    router_deliver(program, routed, out->router, destination);
}

void router_nat_outbound(struct program *program, struct routed *routed, const uint8_t destination[16])
{
    const struct interface *outside = routed->in->outside[is_ipv4(routed)];
    const struct router *router = outside->router;
    struct nat_context context = context_of(program);
    struct nat_outcome outcome = {0};
    bool held, fragment, answer;
    if (nat_has_address(context.config, outside->ingress->id, destination, &answer)) {
        hairpin(program, routed, outside->ingress->id);
        return;
    }
    const struct route *route = route_lookup(is_ipv4(routed) ? router->ipv4 : router->ipv6, destination);
    if (route && route->kind == ROUTE_LOCAL) /* the host's own: its kernel is not reached by this way */
        route = NULL;
    if (!router_route_usable(program, routed, route) || !route ||
        !router_size_fits(program, routed, outside, &fragment))
        return;
    struct router_way way = {outside, route->kind == ROUTE_VIA ? route->next_hop : destination};
    uint64_t mac = router_neighbour(program, routed, &way);
    if (__builtin_expect(!mac, 0))
        return;
    enum dp_drop drop = nat_outbound(&context, routed->port, routed->packet, &routed->info, &outcome, &held);
    if (__builtin_expect(drop != DP_DROP_COUNT, 0)) {
        router_drop(program, routed, drop);
        return;
    }
    if (__builtin_expect(held, 0)) {
        router_taken(program, routed);
        return;
    }
    if (__builtin_expect(outcome.outside != outside->ingress->id, 0)) {
        leave_elsewhere(program, routed, outcome.outside, destination);
        return;
    }
    router_leave(program, routed, outside, mac, fragment);
    release(program, routed, &way, mac);
}

void router_nat_error(struct program *program, const struct routed *about, struct packet *packet)
{
    struct nat_context context = context_of(program);
    struct nat_outcome outcome = {0};
    struct frame_info info;
    bool held;
    if (!context.config || !parse_l2(packet, &info) || !parse_l3(packet, &info) ||
        nat_outbound(&context, about->inner, packet, &info, &outcome, &held) != DP_DROP_COUNT || held)
        return;
    if (about->in->router->id != 0 &&
        (nat_inbound(&context, outcome.outside, packet, &info, &outcome, &held) != DP_DROP_COUNT || held))
        return;
    if (outcome.outside == about->in->ingress->id)
        router_emit(program, about->in, packet);
}

bool router_nat_answers(const struct program *program, const struct interface *in, const uint8_t address[16])
{
    const struct nat_config *config = program->snapshot->nat_config;
    bool answer = false;
    return in->router->id == 0 && config && nat_has_address(config, in->ingress->id, address, &answer) &&
           answer;
}

void router_nat_prefetch(struct program *program, struct routed *working, unsigned count)
{
    struct nat_context context = context_of(program);
    uint64_t hashes[ROUTER_QUEUE_MAX];
    unsigned hashed = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct routed *routed = &working[i];
        if (!routed->in || !(routed->info.flags & FRAME_F_L4) || routed->info.flags & FRAME_F_MULTICAST)
            continue;
        bool outbound = routed->in->router->id != 0;
        if (!outbound || routed->in->outside[is_ipv4(routed)])
            hashes[hashed++] = nat_prefetch(&context, routed->port, outbound, routed->packet, &routed->info);
    }
    for (unsigned i = 0; i < hashed; i++)
        nat_prefetch_session(&context, hashes[i]);
}
