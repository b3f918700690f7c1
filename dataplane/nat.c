/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Translation of a packet: the way through.
 *
 * Theory of operation. Outbound, a packet's two endpoints and its interface are looked up; the session says
 * what the source becomes. Inbound, the translated endpoint and the remote one are; the session says what the
 * destination becomes. That is all for an established session. A miss makes a session if the packet may open
 * one (TCP: a SYN alone; ICMP: a query; UDP and, for 1:1 addresses, other protocols: anything) and if
 * somebody wants it:
 *
 *   outbound   a forward to this very endpoint (its outside port then serves both ways), a 1:1 address of the
 *              guest, or the interface's pool of addresses (nat_mapping.c)
 *   inbound    a forward; a 1:1 address; a mapping that lets anybody in (endpoint-independent filter)
 *
 * Everything else is dropped by name, and silently: also an unsolicited SYN, which must not be answered for
 * 6 s because an outbound SYN may follow (simultaneous open), and need not be after that (RFC 5382 REQ-4 a:
 * the policy here is not to tell who is there). Hairpinning needs nothing of its own: the router gives a
 * packet whose destination is one of our addresses to nat_inbound after nat_outbound, so the inside receiver
 * sees the sender's outside endpoint (RFC 4787 REQ-9).
 *
 * ICMP errors: nat_icmp.c. Fragments: nat_fragment.c.
 */
#include "nat_flow.h"
#include "nat_rewrite.h"
#include "nat_private.h"

#define ICMP_ECHO_REPLY      0u
#define ICMP_UNREACHABLE     3u
#define ICMP_ECHO            8u
#define ICMP_TIME_EXCEEDED   11u
#define ICMP_PARAMETER       12u
#define ICMP_TIMESTAMP       13u
#define ICMP_TIMESTAMP_REPLY 14u
#define ICMPV6_UNREACHABLE   1u
#define ICMPV6_PARAMETER     4u
#define ICMPV6_ECHO          128u
#define ICMPV6_ECHO_REPLY    129u

enum icmp_kind { ICMP_KIND_OTHER, ICMP_KIND_REQUEST, ICMP_KIND_REPLY, ICMP_KIND_ERROR };

static enum icmp_kind icmp_kind(uint8_t protocol, uint8_t type)
{
    if (protocol == IP_PROTO_ICMPV6)
        return type == ICMPV6_ECHO                                      ? ICMP_KIND_REQUEST
               : type == ICMPV6_ECHO_REPLY                              ? ICMP_KIND_REPLY
               : type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER ? ICMP_KIND_ERROR
                                                                        : ICMP_KIND_OTHER;
    switch (type) {
    case ICMP_ECHO:
    case ICMP_TIMESTAMP:
        return ICMP_KIND_REQUEST;
    case ICMP_ECHO_REPLY:
    case ICMP_TIMESTAMP_REPLY:
        return ICMP_KIND_REPLY;
    case ICMP_UNREACHABLE:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETER:
        return ICMP_KIND_ERROR;
    default: /* source quench too: RFC 5508 REQ-10 c, RFC 6633 */
        return ICMP_KIND_OTHER;
    }
}

void tuple_addresses(struct tuple *tuple, const uint8_t *ip, bool ipv4)
{
    if (ipv4) {
        tuple->source[0] = tuple->destination[0] = 0;
        tuple->source[1] = MAPPED_PREFIX | (uint64_t)rewrite_load32(ip + 12) << 32;
        tuple->destination[1] = MAPPED_PREFIX | (uint64_t)rewrite_load32(ip + 16) << 32;
    } else {
        memcpy(tuple->source, ip + 8, 16);
        memcpy(tuple->destination, ip + 24, 16);
    }
}

/* The identifier stands for the port of the end that it belongs to: the inside one. */
static enum dp_drop tuple_icmp(struct tuple *tuple, const uint8_t *l4, bool outbound)
{
    enum icmp_kind kind = icmp_kind(tuple->protocol, l4[0]);
    uint16_t identifier = rewrite_load16(l4 + 4);
    if (kind == ICMP_KIND_OTHER)
        return DP_DROP_NAT_STATE;
    tuple->error = kind == ICMP_KIND_ERROR;
    tuple->opens = kind == ICMP_KIND_REQUEST;
    tuple->source_port = outbound ? identifier : 0;
    tuple->destination_port = outbound ? 0 : identifier;
    return DP_DROP_COUNT;
}

static inline enum dp_drop tuple_read(const struct packet *packet, const struct frame_info *info,
                                      bool outbound, struct tuple *tuple)
{
    const uint8_t *l4 = packet->data + info->l4_offset;
    tuple_addresses(tuple, packet->data + info->l3_offset, info->flags & FRAME_F_IPV4);
    tuple->protocol = info->ip_proto;
    tuple->error = false;
    tuple->opens = true;
    tuple->ports = 0;
    if (__builtin_expect(!(info->flags & FRAME_F_L4), 0))
        return info->ip_proto == IP_PROTO_TCP || info->ip_proto == IP_PROTO_UDP ||
                       info->ip_proto == IP_PROTO_ICMP || info->ip_proto == IP_PROTO_ICMPV6
                   ? DP_DROP_L3_MALFORMED
                   : DP_DROP_COUNT;
    if (info->ip_proto == IP_PROTO_ICMP || info->ip_proto == IP_PROTO_ICMPV6)
        return tuple_icmp(tuple, l4, outbound);
    tuple->ports = rewrite_load32(l4);
    if (info->ip_proto == IP_PROTO_TCP) {
        tuple->tcp_flags = l4[13];
        tuple->opens = tcp_opens(tuple->tcp_flags);
    }
    return DP_DROP_COUNT;
}

/* The session's phase after this packet. */
static inline void follow(struct nat *nat, const struct session_view *view, const struct tuple *tuple,
                          bool outbound)
{
    uint8_t state = view->state, phase = state & SESSION_PHASE;
    if (tuple->protocol == IP_PROTO_TCP) {
        if (__builtin_expect(
                phase == PHASE_ESTABLISHED && !(tuple->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)), 1))
            return;
        state = tcp_next(state, outbound, tuple->tcp_flags);
    } else if (phase == PHASE_NEW && outbound == !!(state & SESSION_INBOUND)) {
        state = (state & (uint8_t)~SESSION_PHASE) | PHASE_ESTABLISHED;
    }
    if (__builtin_expect(state != view->state, 0))
        conntrack_set_state(nat, view, state);
}

/* Of what follow() does with the next packet: nothing. */
bool nat_flow_settled(const struct nat *nat, uint32_t id, uint32_t generation, bool outbound, uint8_t *state)
{
    const struct session *session = &nat->sessions[id];
    if (__atomic_load_n(&session->packets_low[!outbound], __ATOMIC_RELAXED) == 1)
        return false; /* the first one: as a rule there is no other in this second */
    uint8_t protocol = __atomic_load_n(&session->protocol, __ATOMIC_RELAXED);
    *state = __atomic_load_n(&session->state, __ATOMIC_RELAXED);
    uint8_t phase = *state & SESSION_PHASE;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&session->generation, __ATOMIC_RELAXED) != generation)
        return false;
    if (protocol == IP_PROTO_TCP)
        return phase == PHASE_ESTABLISHED;
    return phase != PHASE_NEW || outbound != !!(*state & SESSION_INBOUND);
}

static void translate(struct packet *packet, const struct frame_info *info, bool source,
                      const uint64_t address[2], uint16_t port)
{
    uint8_t *l4 = packet->data + info->l4_offset;
    uint64_t delta =
        rewrite_address(packet->data + info->l3_offset, info->flags & FRAME_F_IPV4, source, address);
    uint32_t end = info->l3_end < packet->header_size ? info->l3_end : packet->header_size;
    bool partial = packet->flags & VNET_F_NEEDS_CSUM && packet->csum_start == info->l4_offset;
    rewrite_transport(l4, end - info->l4_offset, info->ip_proto, source, port, delta, partial);
}

/* What a new session from inside is translated to. */
static enum dp_drop request_outbound(const struct nat_context *context, const struct nat_interface *interface,
                                     const struct tuple *tuple, uint64_t hash,
                                     struct session_request *request)
{
    const struct nat_one_to_one *one = nat_config_inside(interface, tuple->source);
    const struct nat_forward *forward = interface->forward_count
                                            ? nat_config_forward_of(interface, tuple->protocol, tuple->source,
                                                                    __builtin_bswap16(tuple->source_port))
                                            : NULL;
    if (!tuple->opens)
        return DP_DROP_NAT_STATE;
    *request = (struct session_request){.interface = interface,
                                        .inside = {tuple->source[0], tuple->source[1]},
                                        .remote = {tuple->destination[0], tuple->destination[1]},
                                        .inside_port = tuple->source_port,
                                        .remote_port = tuple->destination_port,
                                        .protocol = tuple->protocol,
                                        .hash = hash};
    if (forward) {
        uint32_t offset = (uint32_t)__builtin_bswap16(tuple->source_port) - forward->to_first;
        request->address = forward->address;
        request->translated_port = __builtin_bswap16((uint16_t)(forward->first + offset));
        return DP_DROP_COUNT;
    }
    if (one) {
        request->address = one->address;
        request->translated_port = tuple->source_port;
        return DP_DROP_COUNT;
    }
    if (tuple->protocol != IP_PROTO_TCP && tuple->protocol != IP_PROTO_UDP &&
        tuple->protocol != IP_PROTO_ICMP && tuple->protocol != IP_PROTO_ICMPV6)
        return DP_DROP_NAT_PROTOCOL;
    request->pool = nat_config_pool(context->nat, interface, tuple->source);
    if (!request->pool)
        return DP_DROP_NAT_NO_PORT;
    request->address = request->pool->address;
    return DP_DROP_COUNT;
}

/* The session that a packet from anybody to this mapping goes to: RFC 4787, 5, endpoint-independent filter.
 */
static bool request_mapping(const struct nat_context *context, const struct nat_config_address *address,
                            const struct tuple *tuple, struct session_request *request)
{
    uint32_t *heads =
        __atomic_load_n(&address->state->heads[nat_protocol_of(tuple->protocol)], __ATOMIC_ACQUIRE);
    struct session_view view;
    uint32_t id =
        heads ? __atomic_load_n(&heads[__builtin_bswap16(tuple->destination_port)], __ATOMIC_ACQUIRE) : 0;
    if (!id || !conntrack_read(context->nat, id, &view) || ports_address(view.ports) != address->state->id ||
        ports_translated(view.ports) != tuple->destination_port)
        return false;
    const struct nat_interface *interface = context->config->interfaces[view.interface];
    for (unsigned family = 0; interface && family < 2; family++)
        for (unsigned i = 0; i < interface->pool_count[family]; i++) {
            const struct nat_pool *pool = &interface->pools[family][i];
            if (pool->address != address->state || !pool->endpoint_independent)
                continue;
            request->interface = interface;
            request->pool = pool;
            request->inside[0] = view.inside[0];
            request->inside[1] = view.inside[1];
            request->inside_port = ports_inside(view.ports);
            return true;
        }
    return false;
}

/* Whom a new session from outside is for. */
static enum dp_drop request_inbound(const struct nat_context *context,
                                    const struct nat_config_address *address, const struct tuple *tuple,
                                    struct session_request *request)
{
    uint16_t port = __builtin_bswap16(tuple->destination_port);
    const struct nat_forward *forward = nat_config_forward(address, tuple->protocol, port);
    *request = (struct session_request){.address = address->state,
                                        .remote = {tuple->source[0], tuple->source[1]},
                                        .remote_port = tuple->source_port,
                                        .translated_port = tuple->destination_port,
                                        .protocol = tuple->protocol,
                                        .inbound = true};
    if (forward) {
        request->interface = forward->interface;
        request->inside_port = __builtin_bswap16((uint16_t)(forward->to_first + (port - forward->first)));
        memcpy(request->inside, forward->inside, 16);
    } else if (address->one_to_one) {
        request->interface = address->one_to_one->interface;
        request->inside_port = tuple->destination_port;
        memcpy(request->inside, address->one_to_one->inside, 16);
    } else if (tuple->protocol == IP_PROTO_ICMP || tuple->protocol == IP_PROTO_ICMPV6 ||
               !request_mapping(context, address, tuple, request)) {
        return DP_DROP_NAT_NO_SESSION;
    }
    return tuple->opens ? DP_DROP_COUNT : DP_DROP_NAT_STATE;
}

enum dp_drop nat_session_outbound(const struct nat_context *context, const struct nat_interface *interface,
                                  struct packet *packet, const struct frame_info *info,
                                  struct nat_outcome *outcome)
{
    struct nat *nat = context->nat;
    struct session_view view;
    struct tuple tuple;
    enum dp_drop drop = tuple_read(packet, info, true, &tuple);
    if (__builtin_expect(drop != DP_DROP_COUNT, 0))
        return drop;
    if (__builtin_expect(tuple.error, 0))
        return nat_icmp_outbound(context, interface, packet, info, outcome);

    struct nat_key key = key_outbound(tuple.source, tuple.source_port, tuple.destination,
                                      tuple.destination_port, (uint16_t)interface->port, tuple.protocol);
    uint64_t hash = nat_hash(nat, &key);
    bool found = conntrack_find(nat, &key, hash, &view);
    if (__builtin_expect(!found || !conntrack_touch(context, &view, true), 0)) {
        struct session_request request;
        drop = request_outbound(context, interface, &tuple, hash, &request);
        request.missing = !found;
        if (drop == DP_DROP_COUNT)
            drop = conntrack_create(context, &request, &view);
        if (drop != DP_DROP_COUNT)
            return drop;
        conntrack_touch(context, &view, true);
    }
    follow(nat, &view, &tuple, true);
    const struct nat_address *address = outcome_outside(nat, &view, outcome);
    outcome->session = view.id;
    outcome->session_generation = view.generation;
    translate(packet, info, true, address->address, ports_translated(view.ports));
    return DP_DROP_COUNT;
}

enum dp_drop nat_session_inbound(const struct nat_context *context, uint32_t outside, struct packet *packet,
                                 const struct frame_info *info, struct nat_outcome *outcome)
{
    struct nat *nat = context->nat;
    struct session_view view;
    struct tuple tuple;
    enum dp_drop drop = tuple_read(packet, info, false, &tuple);
    if (__builtin_expect(drop != DP_DROP_COUNT, 0))
        return drop;
    if (__builtin_expect(tuple.error, 0))
        return nat_icmp_inbound(context, outside, packet, info, outcome);
    const struct nat_config_address *address = nat_config_find(context->config, outside, tuple.destination);
    if (!address)
        return DP_DROP_NAT_NO_SESSION;

    struct nat_key key = key_inbound(address->state->id, tuple.destination_port, tuple.source,
                                     tuple.source_port, tuple.protocol);
    if (__builtin_expect(!conntrack_find(nat, &key, nat_hash(nat, &key), &view) ||
                             !conntrack_touch(context, &view, false),
                         0)) {
        struct session_request request;
        drop = request_inbound(context, address, &tuple, &request);
        if (drop == DP_DROP_COUNT)
            drop = conntrack_create(context, &request, &view);
        if (drop != DP_DROP_COUNT)
            return drop;
        conntrack_touch(context, &view, false);
    }
    drop = outcome_inside(context, &view, outcome);
    if (__builtin_expect(drop != DP_DROP_COUNT, 0))
        return drop;
    outcome->session = view.id;
    outcome->session_generation = view.generation;
    follow(nat, &view, &tuple, false);
    translate(packet, info, false, view.inside, ports_inside(view.ports));
    return DP_DROP_COUNT;
}

enum dp_drop nat_outbound(const struct nat_context *context, uint32_t port, struct packet *packet,
                          struct frame_info *info, struct nat_outcome *outcome, bool *held)
{
    *held = false;
    if (!nat_serves(context->config, port) || !(info->flags & (FRAME_F_IPV4 | FRAME_F_IPV6)))
        return DP_DROP_L3_NO_ROUTE;
    if (__builtin_expect(info->flags & FRAME_F_FRAGMENT, 0))
        return nat_fragment(context, port, true, packet, info, outcome, held);
    return nat_session_outbound(context, context->config->interfaces[port], packet, info, outcome);
}

enum dp_drop nat_inbound(const struct nat_context *context, uint32_t outside, struct packet *packet,
                         struct frame_info *info, struct nat_outcome *outcome, bool *held)
{
    *held = false;
    if (!(info->flags & (FRAME_F_IPV4 | FRAME_F_IPV6)))
        return DP_DROP_NAT_NO_SESSION;
    if (__builtin_expect(info->flags & FRAME_F_FRAGMENT, 0))
        return nat_fragment(context, outside, false, packet, info, outcome, held);
    return nat_session_inbound(context, outside, packet, info, outcome);
}

uint64_t nat_prefetch(const struct nat_context *context, uint32_t port, bool outbound,
                      const struct packet *packet, const struct frame_info *info)
{
    struct tuple tuple;
    struct nat_key key;
    if (!context->config || !(info->flags & FRAME_F_L4) ||
        tuple_read(packet, info, outbound, &tuple) != DP_DROP_COUNT || tuple.error)
        return 0;
    if (outbound) {
        key = key_outbound(tuple.source, tuple.source_port, tuple.destination, tuple.destination_port,
                           (uint16_t)port, tuple.protocol);
    } else {
        const struct nat_config_address *address = nat_config_find(context->config, port, tuple.destination);
        if (!address)
            return 0;
        key = key_inbound(address->state->id, tuple.destination_port, tuple.source, tuple.source_port,
                          tuple.protocol);
    }
    uint64_t hash = nat_hash(context->nat, &key);
    const struct index_tables *tables = index_tables(&context->nat->index);
    if (tables)
        __builtin_prefetch(index_home(&tables->current, hash));
    return hash;
}

bool nat_prefetch_session(const struct nat_context *context, uint64_t hash)
{
    const struct index_tables *tables = index_tables(&context->nat->index);
    if (!hash || !tables)
        return true; /* or none that this is about */
    const struct index_bucket *bucket = index_home(&tables->current, hash);
    uint32_t matches = index_matches(bucket, index_tag(hash));
    if (!matches)
        return false;
    uint32_t id = __atomic_load_n(&bucket->slots[__builtin_ctz(matches)], __ATOMIC_RELAXED);
    __builtin_prefetch(&context->nat->sessions[id & SESSION_IDS_MASK], 1);
    return true;
}

void nat_prefetch_new(const struct nat_context *context, uint32_t port, const struct packet *packet,
                      const struct frame_info *info, uint64_t hash)
{
    struct session_request request;
    struct tuple tuple;
    if (nat_serves(context->config, port) && tuple_read(packet, info, true, &tuple) == DP_DROP_COUNT &&
        !tuple.error &&
        request_outbound(context, context->config->interfaces[port], &tuple, hash, &request) == DP_DROP_COUNT)
        conntrack_foresee(context, &request);
}

void nat_prefetch_ports(const struct nat_context *context)
{
    conntrack_foresee_ports(context);
}
