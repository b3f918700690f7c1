/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP errors (RFC 5508, 4): they carry the beginning of a packet that one of our sessions sent or received,
 * which says whose they are and is translated back inside them.
 *
 * An error whose checksum is wrong is dropped, as is one with an inner IPv4 header of a wrong checksum
 * (REQ-3); the inner transport checksum is corrected, not checked, because most of what it covers is missing.
 * Without a session there is nothing to go by: dropped (REQ-4, REQ-5). An error neither refreshes nor ends a
 * session. The outer source of an error from inside becomes the session's outside address, whichever node
 * behind the guest sent it (REQ-5); that of one from outside stays (REQ-4).
 *
 * The inner packet's fields change each for a known difference, so what the outer checksum must change by is
 * the difference of sums over the inner headers. All of them have to be in private bytes.
 */
#include "nat_rewrite.h"
#include "nat_private.h"

#define ICMP_HEADER_SIZE  8u
#define IPV4_HEADER_MIN   20u
#define IPV6_HEADER_SIZE  40u
#define IPV6_FRAGMENT     44u
#define PORTS_SIZE        8u  /* of a transport header that an error has at least (RFC 792) */
#define TRANSPORT_COVERED 18u /* bytes of it up to the end of TCP's checksum */

struct inner {
    uint8_t *ip, *l4, *end; /* end: of private bytes that belong to the packet */
    struct tuple tuple;
    bool ipv4;
};

static bool inner_ipv4(struct inner *inner)
{
    uint8_t *ip = inner->ip;
    uint32_t left = (uint32_t)(inner->end - ip);
    if (left < IPV4_HEADER_MIN || ip[0] >> 4 != 4)
        return false;
    uint32_t size = (ip[0] & 15u) * 4;
    if (size < IPV4_HEADER_MIN || size + PORTS_SIZE > left || (ip[6] & 0x1f) || ip[7] ||
        checksum_fold(checksum_sum(ip, size)) != 0xffff)
        return false;
    inner->l4 = ip + size;
    inner->tuple.protocol = ip[9];
    return true;
}

static bool inner_ipv6(struct inner *inner)
{
    uint8_t *ip = inner->ip;
    uint32_t left = (uint32_t)(inner->end - ip), size = IPV6_HEADER_SIZE;
    if (left < IPV6_HEADER_SIZE + PORTS_SIZE || ip[0] >> 4 != 6)
        return false;
    inner->tuple.protocol = ip[6];
    if (ip[6] == IPV6_FRAGMENT) {
        if (left < IPV6_HEADER_SIZE + 8 + PORTS_SIZE || ip[42] || ip[43] & 0xf8)
            return false;
        inner->tuple.protocol = ip[40];
        size += 8;
    }
    inner->l4 = ip + size;
    return true;
}

/* Sum of all that the ICMP checksum covers. */
static bool icmp_valid(const struct packet *packet, const struct frame_info *info)
{
    uint32_t start = info->l4_offset, end = info->l3_end;
    uint32_t part = end < packet->header_size ? end : packet->header_size;
    uint64_t total = checksum_sum(packet->data + start, part - start);
    bool odd = (part - start) & 1u;
    for (unsigned i = 0; i < packet->span_count && part < end; i++) {
        const struct packet_span *span = &packet->spans[i];
        uint32_t size = span->size < end - part ? (uint32_t)span->size : end - part;
        total = checksum_add(total, checksum_sum(span->base, size), odd);
        odd ^= size & 1u;
        part += size;
    }
    if (info->ip_proto == IP_PROTO_ICMPV6) {
        total += checksum_sum(packet->data + info->l3_offset + 8, 32);
        total += __builtin_bswap32(end - start) + (uint64_t)__builtin_bswap32(IP_PROTO_ICMPV6);
    }
    return checksum_fold(total) == 0xffff;
}

/* The inner packet: its ends as on the wire where the error's receiver sent it. */
static enum dp_drop inner_read(struct packet *packet, const struct frame_info *info, struct inner *inner)
{
    uint32_t end = info->l3_end < packet->header_size ? info->l3_end : packet->header_size;
    if (!icmp_valid(packet, info))
        return DP_DROP_L3_MALFORMED;
    *inner = (struct inner){.ip = packet->data + info->l4_offset + ICMP_HEADER_SIZE,
                            .end = packet->data + end,
                            .ipv4 = info->flags & FRAME_F_IPV4};
    if (!(inner->ipv4 ? inner_ipv4(inner) : inner_ipv6(inner)))
        return DP_DROP_NAT_STATE;
    tuple_addresses(&inner->tuple, inner->ip, inner->ipv4);
    return DP_DROP_COUNT;
}

/* An ICMP query's identifier. An error about an error does not exist (RFC 1122, 3.2.2). */
static bool inner_identifier(const struct inner *inner, uint16_t *identifier)
{
    uint8_t type = inner->l4[0];
    *identifier = rewrite_load16(inner->l4 + 4);
    return inner->ipv4 ? type == 0 || type == 8 || type == 13 || type == 14 : type == 128 || type == 129;
}

/* `ours`: the port of the end that is translated, `remote`: of the other one. `source`: ours is the source.
 */
static bool inner_ports(struct inner *inner, bool source, uint16_t *ours, uint16_t *remote)
{
    switch (inner->tuple.protocol) {
    case IP_PROTO_TCP:
    case IP_PROTO_UDP:
        *ours = rewrite_load16(inner->l4 + (source ? 0 : 2));
        *remote = rewrite_load16(inner->l4 + (source ? 2 : 0));
        return true;
    case IP_PROTO_ICMP:
    case IP_PROTO_ICMPV6:
        *remote = 0;
        return inner_identifier(inner, ours);
    default:
        *ours = *remote = 0;
        return true;
    }
}

static void inner_transport(const struct inner *inner, bool source, uint16_t port, uint64_t delta)
{
    uint32_t left = (uint32_t)(inner->end - inner->l4);
    if (inner->tuple.protocol == IP_PROTO_TCP && left < TRANSPORT_COVERED)
        rewrite_port(inner->l4 + (source ? 0 : 2), port); /* its checksum is not there */
    else
        rewrite_transport(inner->l4, left, inner->tuple.protocol, source, port, delta, false);
}

/* Inner packet, outer address and ICMP checksum. `source`: the inner source is ours, then the outer
 * destination is too. */
static void rewrite_error(struct packet *packet, const struct frame_info *info, const struct inner *inner,
                          bool source, const uint64_t address[2], uint16_t port)
{
    uint8_t *icmp = packet->data + info->l4_offset;
    size_t covered = (size_t)(inner->end - inner->ip);
    uint16_t before = checksum_fold(checksum_sum(inner->ip, covered));
    uint64_t delta = rewrite_address(inner->ip, inner->ipv4, source, address);
    inner_transport(inner, source, port, delta);
    uint16_t after = checksum_fold(checksum_sum(inner->ip, covered));
    uint64_t change = (uint64_t)(uint16_t)~before + after;
    delta = rewrite_address(packet->data + info->l3_offset, inner->ipv4, !source, address);
    rewrite_checksum(icmp + 2, inner->ipv4 ? change : change + delta);
}

enum dp_drop nat_icmp_outbound(const struct nat_context *context, const struct nat_interface *interface,
                               struct packet *packet, const struct frame_info *info,
                               struct nat_outcome *outcome)
{
    struct nat *nat = context->nat;
    struct session_view view;
    struct inner inner;
    uint16_t inside_port, remote_port;
    enum dp_drop drop = inner_read(packet, info, &inner);
    if (drop != DP_DROP_COUNT)
        return drop;
    if (!inner_ports(&inner, false, &inside_port, &remote_port))
        return DP_DROP_NAT_STATE;
    struct nat_key key = key_outbound(inner.tuple.destination, inside_port, inner.tuple.source, remote_port,
                                      (uint16_t)interface->port, inner.tuple.protocol);
    if (!conntrack_find(nat, &key, nat_hash(nat, &key), &view))
        return DP_DROP_NAT_STATE;
    const struct nat_address *address = outcome_outside(nat, &view, outcome);
    rewrite_error(packet, info, &inner, false, address->address, ports_translated(view.ports));
    return DP_DROP_COUNT;
}

enum dp_drop nat_icmp_inbound(const struct nat_context *context, uint32_t outside, struct packet *packet,
                              const struct frame_info *info, struct nat_outcome *outcome)
{
    struct nat *nat = context->nat;
    struct session_view view;
    struct inner inner;
    struct tuple outer;
    uint16_t translated_port, remote_port;
    enum dp_drop drop = inner_read(packet, info, &inner);
    if (drop != DP_DROP_COUNT)
        return drop;
    tuple_addresses(&outer, packet->data + info->l3_offset, inner.ipv4);
    const struct nat_config_address *address = nat_config_find(context->config, outside, inner.tuple.source);
    if (!address || !address_equal(outer.destination, inner.tuple.source) ||
        !inner_ports(&inner, true, &translated_port, &remote_port))
        return DP_DROP_NAT_STATE;
    struct nat_key key = key_inbound(address->state->id, translated_port, inner.tuple.destination,
                                     remote_port, inner.tuple.protocol);
    if (!conntrack_find(nat, &key, nat_hash(nat, &key), &view))
        return DP_DROP_NAT_NO_SESSION;
    drop = outcome_inside(context, &view, outcome);
    if (drop == DP_DROP_COUNT)
        rewrite_error(packet, info, &inner, true, view.inside, ports_inside(view.ports));
    return drop;
}
