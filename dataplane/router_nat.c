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

/* A fragment that was translated outbound makes the turn that its first one made: to `outside`. */
static bool turn(const struct nat_context *context, uint32_t outside, struct packet *packet,
                 struct nat_outcome *outcome)
{
    struct frame_info info;
    bool held;
    return parse_l2(packet, &info) && parse_l3(packet, &info) &&
           nat_inbound(context, outside, packet, &info, outcome, &held) == DP_DROP_COUNT && !held;
}

/* Fragments that came before their first one follow it: `mac` 0: where it went is not known, and they are
 * dropped. They were counted when they came. `turned`: the outside interface of whose addresses the first was
 * sent to another one inside; 0: it was not. Every first fragment that was translated comes by here, so that
 * nothing is left for the next one. */
static void release(struct program *program, const struct routed *first, const struct router_way *way,
                    uint64_t mac, uint32_t turned)
{
    struct nat_context context = context_of(program);
    struct router_piece *piece = program->router->piece;
    struct nat_outcome outcome;
    if (!first_fragment(first))
        return;
    router_flush(program);
    for (;;) {
        struct packet *packet = &piece->packet;
        *packet = (struct packet){
            .buffer = piece->memory, .data = piece->memory + PACKET_HEADROOM, .spans = piece->spans};
        if (!nat_release(&context, packet, &outcome))
            return;
        const uint8_t *ip = packet->data + ETHERNET_HEADER_SIZE;
        bool passes = mac && ip[is_ipv4(first) ? 8 : 7] > 1 &&
                      packet->size <= way->out->mtu + ETHERNET_HEADER_SIZE &&
                      (!turned || outcome.router != 0 || turn(&context, turned, packet, &outcome)) &&
                      outcome.outside == first->inner;
        if (passes)
            router_send_piece(program, way->out, packet, mac);
    }
}

static void destination_of(const struct routed *routed, uint8_t destination[16])
{
    const uint8_t *ip = routed->packet->data + ETHERNET_HEADER_SIZE;
    if (is_ipv4(routed))
        address_map(destination, ip + 16);
    else
        memcpy(destination, ip + 24, 16);
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
    destination_of(routed, destination);
    router_deliver(program, routed, ingress->interface->router, destination);
}

void router_nat_resumed(struct program *program, struct routed *routed)
{
    deliver(program, routed);
}

/* Fragments of a datagram that was translated for the interface `first->inner`: on in that one's router. */
static void release_onward(struct program *program, const struct routed *first, uint32_t turned)
{
    const struct ingress *ingress = program->snapshot->ingress[first->inner];
    const struct interface *inner = ingress ? ingress->interface : NULL;
    uint8_t destination[16] = {0};
    struct router_way way = {inner, destination};
    uint64_t mac = 0;
    if (!first_fragment(first))
        return;
    destination_of(first, destination);
    const struct route *route =
        inner ? route_lookup(is_ipv4(first) ? inner->router->ipv4 : inner->router->ipv6, destination) : NULL;
    if (route && route->interface->router == inner->router && route->kind <= ROUTE_VIA &&
        !router_turns_isolated(program, first, route->interface)) {
        way.out = route->interface;
        way.hop = route->kind == ROUTE_VIA ? route->next_hop : destination;
        mac = router_neighbour_known(program, &way);
    }
    release(program, first, &way, mac, turned);
}

/* `outside`: whose address the packet is to; `turned`: as for release. Otherwise than DP_DROP_COUNT: to be
 * dropped. */
static enum dp_drop inbound(struct program *program, struct routed *routed, uint32_t outside, uint32_t turned)
{
    const struct router_way nowhere = {0};
    struct nat_context context = context_of(program);
    struct nat_outcome outcome = {0};
    bool held;
    enum dp_drop drop = nat_inbound(&context, outside, routed->packet, &routed->info, &outcome, &held);
    if (drop == DP_DROP_COUNT && held) {
        router_taken(program, routed);
        return DP_DROP_COUNT;
    }
    const struct ingress *ingress = program->snapshot->ingress[outcome.outside];
    if (drop == DP_DROP_COUNT && ingress && ingress->interface &&
        ingress->interface->router->id != outcome.router)
        drop = DP_DROP_TENANT;
    if (drop != DP_DROP_COUNT) {
        release(program, routed, &nowhere, 0, 0);
        return drop;
    }
    routed->inner = outcome.outside;
    routed->flags |= ROUTED_F_TRANSLATED;
    routed->session = outcome.session;
    routed->session_generation = outcome.session_generation;
    deliver(program, routed);
    release_onward(program, routed, turned);
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
        enum dp_drop drop = inbound(program, routed, in->ingress->id, 0);
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

/* The packet was not translated and is as it came. If no session could be made for it, its sender is told:
 * RFC 5508 REQ-8; not while the table grows, where the sender's next attempt may well succeed. (Who opens
 * sessions from outside is not told.) */
static void refuse(struct program *program, struct routed *routed, enum dp_drop drop)
{
    bool full = drop == DP_DROP_NAT_TABLE_FULL && !nat_grows(program->snapshot->nat);
    router_drop(program, routed, drop);
    if (drop != DP_DROP_NAT_SESSION_LIMIT && drop != DP_DROP_NAT_NO_PORT && drop != DP_DROP_NAT_PROTOCOL &&
        !full)
        return;
    if (is_ipv4(routed))
        icmp_error_ipv4(program, routed, ICMP_UNREACHABLE, ICMP_UNREACHABLE_PROHIBITED, 0);
    else
        icmp_error_ipv6(program, routed, ICMPV6_UNREACHABLE, ICMPV6_UNREACHABLE_PROHIBITED, 0);
}

/* From one inside to another by way of their outside addresses. */
static void hairpin(struct program *program, struct routed *routed, uint32_t outside)
{
    struct nat_context context = context_of(program);
    struct nat_outcome outcome = {0};
    bool held;
    routed->key.meta = 0; /* two sessions: not for the flow cache */
    if (!router_hops_left(program, routed))
        return;
    enum dp_drop drop = nat_outbound(&context, routed->port, routed->packet, &routed->info, &outcome, &held);
    if (drop != DP_DROP_COUNT) {
        refuse(program, routed, drop);
        return;
    }
    if (held) {
        router_taken(program, routed);
        return;
    }
    drop = inbound(program, routed, outside, outside);
    if (drop != DP_DROP_COUNT)
        router_drop(program, routed, drop);
}

/* The session leaves by another outside interface than the segment's usual one (a 1:1 address on another
 * uplink). */
static void leave_elsewhere(struct program *program, struct routed *routed, const uint8_t destination[16])
{
    const struct ingress *ingress = program->snapshot->ingress[routed->inner];
    const struct interface *out = ingress ? ingress->interface : NULL;
    if (!out || out->router->id != 0) {
        router_drop(program, routed, DP_DROP_TENANT);
    } else {
        routed->flags |= ROUTED_F_TRANSLATED; /* if it has to wait, it waits translated */
        router_deliver(program, routed, out->router, destination);
    }
    release_onward(program, routed, 0);
}

void router_nat_outbound(struct program *program, struct routed *routed, const uint8_t destination[16])
{
    const struct interface *outside = routed->in->outside[is_ipv4(routed)];
    const struct router *router = outside->router;
    struct nat_context context = context_of(program);
    struct nat_outcome outcome = {0};
    bool held, fragment, answer;
    if (__builtin_expect(nat_has_address(context.config, outside->ingress->id, destination, &answer), 0)) {
        if (answer && is_echo_request(routed) &&
            !nat_is_one_to_one(context.config, outside->ingress->id, destination))
            router_echo(program, routed); /* as from outside */
        else
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
        refuse(program, routed, drop);
        return;
    }
    if (__builtin_expect(held, 0)) {
        router_taken(program, routed);
        return;
    }
    routed->inner = outcome.outside;
    routed->session = outcome.session;
    routed->session_generation = outcome.session_generation;
    if (__builtin_expect(outcome.outside != outside->ingress->id, 0)) {
        leave_elsewhere(program, routed, destination);
        return;
    }
    router_leave(program, routed, outside, mac, fragment);
    release(program, routed, &way, mac, 0);
}

/* Translated outbound, it could not leave: the error is about what went out, and comes back to the guest like
 * one from outside, about what the guest sent. */
static bool error_outbound(const struct nat_context *context, const struct routed *about,
                           struct packet *packet, struct frame_info *info, struct nat_outcome *outcome)
{
    bool held;
    return nat_inbound(context, about->inner, packet, info, outcome, &held) == DP_DROP_COUNT && !held;
}

/* Translated inbound: the error is one of the guest's; if the packet was hairpinned, its sender is inside
 * too. */
static bool error_inbound(const struct nat_context *context, const struct routed *about,
                          struct packet *packet, struct frame_info *info, struct nat_outcome *outcome)
{
    bool held;
    if (nat_outbound(context, about->inner, packet, info, outcome, &held) != DP_DROP_COUNT || held)
        return false;
    return about->in->router->id == 0 ||
           (nat_inbound(context, outcome->outside, packet, info, outcome, &held) == DP_DROP_COUNT && !held);
}

void router_nat_error(struct program *program, const struct routed *about, struct packet *packet)
{
    struct nat_context context = context_of(program);
    const struct ingress *inner = program->snapshot->ingress[about->inner];
    struct nat_outcome outcome = {0};
    struct frame_info info;
    if (!context.config || !inner || !inner->interface || !parse_l2(packet, &info) ||
        !parse_l3(packet, &info))
        return;
    bool outbound = inner->interface->router->id == 0;
    if ((outbound ? error_outbound : error_inbound)(&context, about, packet, &info, &outcome) &&
        outcome.outside == about->in->ingress->id)
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
    const struct routed *translated[ROUTER_QUEUE_MAX];
    uint64_t hashes[ROUTER_QUEUE_MAX];
    unsigned hashed = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct routed *routed = &working[i];
        if (routed->entry || !routed->in || !(routed->info.flags & FRAME_F_L4) ||
            routed->info.flags & FRAME_F_MULTICAST)
            continue;
        bool outbound = routed->in->router->id != 0;
        if (outbound && !routed->in->outside[is_ipv4(routed)])
            continue;
        translated[hashed] = routed;
        hashes[hashed++] = nat_prefetch(&context, routed->port, outbound, routed->packet, &routed->info);
    }
    bool new = false;
    for (unsigned i = 0; i < hashed; i++)
        if (!nat_prefetch_session(&context, hashes[i]) && translated[i]->in->router->id != 0) {
            const struct routed *routed = translated[i];
            nat_prefetch_new(&context, routed->port, routed->packet, &routed->info, hashes[i]);
            new = true;
        }
    if (new)
        nat_prefetch_ports(&context);
}
