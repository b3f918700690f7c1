/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a router port is asked itself: ARP (RFC 826), echo (RFC 792, 4443), and what goes to the controller
 * (DHCP, DNS). Answered in place: the packet is turned round. Anything else at the router's own addresses is
 * refused: TCP with a reset, UDP with port unreachable, other protocols with protocol unreachable (RFC 1122,
 * 3.2.2.1), each rate limited; where the host's kernel owns the address (DP_INTERFACE_F_ASK_KERNEL), which
 * answers there itself, with nothing.
 */
#include "checksum.h"
#include "icmp.h"
#include "program.h"
#include "router_private.h"

#define ARP_SIZE         28u /* bytes: Ethernet and IPv4 */
#define ARP_REQUEST      1u
#define ARP_REPLY        2u
#define IPV4_HEADER_MIN  20u
#define HOP_COUNT        64u
#define PORT_DNS         53u
#define PORT_DHCP_SERVER 67u
#define PORT_DHCP_CLIENT 68u

/* The router answers for the address. */
static bool arp_answers(const struct program *program, const struct interface *in, const uint8_t target[16])
{
    return (!(in->flags & DP_INTERFACE_F_ASK_KERNEL) && address_equal(target, in->ipv4)) ||
           router_nat_answers(program, in, target);
}

/* An answer that we wait for, or news about an address that we know: to the control thread. */
void router_seen(struct program *program, const struct routed *routed, const uint8_t address[16],
                 const uint8_t mac[6], bool solicited, bool override)
{
    if (mac[0] & 1)
        return;
    struct neighbour *neighbour = neighbour_find(interface_port(routed->in), address);
    if (!neighbour)
        return;
    uint64_t value = neighbour_value(neighbour), same = 0;
    memcpy(&same, mac, 6);
    if (value & NEIGHBOUR_F_FRESH && (value & NEIGHBOUR_MAC_MASK) == same)
        return;
    struct router_note *note = router_note_get(program->router);
    if (!note)
        return;
    note->kind = NOTE_SEEN;
    note->port = routed->port;
    memcpy(note->address, address, 16);
    memcpy(note->mac, mac, 6);
    note->solicited = solicited;
    note->override = override;
    router_note_put(program->router);
}

void router_arp(struct program *program, struct routed *routed)
{
    static const uint8_t types[6] = {0, 1, 8, 0, 6, 4}; /* Ethernet, IPv4, their sizes */
    struct packet *packet = routed->packet;
    const struct interface *in = routed->in;
    uint8_t *arp = packet->data + ETHERNET_HEADER_SIZE, sender[16], target[16];
    if (packet->header_size < ETHERNET_HEADER_SIZE + ARP_SIZE || memcmp(arp, types, sizeof(types)) != 0) {
        router_drop(program, routed, DP_DROP_L3_MALFORMED);
        return;
    }
    uint16_t operation = load_be16(arp + 6);
    router_taken(program, routed);
    address_map(sender, arp + 14);
    address_map(target, arp + 24);
    /* The sender must be who sends: a neighbour's address is not learned from a third one. */
    if (memcmp(arp + 8, packet->data + 6, 6) == 0)
        router_seen(program, routed, sender, arp + 8,
                    operation == ARP_REPLY && memcmp(arp + 18, in->mac, 6) == 0, true);
    if (operation != ARP_REQUEST || !arp_answers(program, in, target) || address_equal(sender, target))
        return;
    router_turn(packet, in);
    store_be16(arp + 6, ARP_REPLY);
    memcpy(arp + 18, arp + 8, 10); /* target: who asked */
    memcpy(arp + 8, in->mac, 6);
    memcpy(arp + 14, target + 12, 4);
    router_emit(program, in, packet);
}

/* The request becomes the reply: the ICMP checksum changes by the type alone (RFC 1624). */
static void echo_turn(uint8_t *icmp, uint8_t request, uint8_t reply)
{
    uint32_t sum =
        (uint16_t)~load_be16(icmp + 2) + (uint16_t) ~((uint32_t)request << 8) + ((uint32_t)reply << 8);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    icmp[0] = reply;
    store_be16(icmp + 2, ~sum);
}

static void echo_ipv4(struct program *program, struct routed *routed)
{
    struct packet *packet = routed->packet;
    uint8_t *ip = packet->data + ETHERNET_HEADER_SIZE, source[4];
    uint32_t size = (uint32_t)routed->info.l4_offset - ETHERNET_HEADER_SIZE;
    router_taken(program, routed);
    echo_turn(packet->data + routed->info.l4_offset, ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY);
    memcpy(source, ip + 12, 4);
    memcpy(ip + 12, ip + 16, 4);
    memcpy(ip + 16, source, 4);
    ip[8] = HOP_COUNT;
    ip[10] = ip[11] = 0;
    uint16_t checksum = (uint16_t)~checksum_fold(checksum_sum(ip, size));
    memcpy(ip + 10, &checksum, sizeof(checksum));
    router_turn(packet, routed->in);
    router_emit(program, routed->in, packet);
}

/* DNS is answered at the address of the interface itself. */
static bool wants_dns(const struct routed *routed)
{
    const struct frame_info *info = &routed->info;
    return routed->in->flags & DP_INTERFACE_F_PUNT_DNS &&
           (info->ip_proto == IP_PROTO_UDP || info->ip_proto == IP_PROTO_TCP) && info->flags & FRAME_F_L4 &&
           !(info->flags & FRAME_F_FRAGMENT) &&
           load_be16(routed->packet->data + info->l4_offset + 2) == PORT_DNS;
}

static bool wants_dhcp(const struct routed *routed)
{
    const struct frame_info *info = &routed->info;
    const uint8_t *udp = routed->packet->data + info->l4_offset;
    return routed->in->flags & DP_INTERFACE_F_PUNT_DHCP && info->flags & FRAME_F_IPV4 &&
           info->ip_proto == IP_PROTO_UDP && info->flags & FRAME_F_L4 && !(info->flags & FRAME_F_FRAGMENT) &&
           load_be16(udp) == PORT_DHCP_CLIENT && load_be16(udp + 2) == PORT_DHCP_SERVER;
}

static void punt(struct program *program, struct routed *routed, enum dp_punt_reason reason)
{
    if (router_punt(program, routed, reason))
        router_taken(program, routed);
    else
        router_drop(program, routed, DP_DROP_L3_PUNT);
}

void router_local_ipv4(struct program *program, struct routed *routed)
{
    const struct frame_info *info = &routed->info;
    const struct interface *in = routed->in;
    bool silent = in->flags & DP_INTERFACE_F_ASK_KERNEL || info->flags & FRAME_F_FRAGMENT;
    if (!silent && info->ip_proto == IP_PROTO_ICMP && info->flags & FRAME_F_L4 &&
        routed->packet->data[info->l4_offset] == ICMP_ECHO_REQUEST) {
        echo_ipv4(program, routed);
        return;
    }
    if (wants_dhcp(routed)) {
        punt(program, routed, DP_PUNT_DHCP);
        return;
    }
    if (wants_dns(routed)) {
        punt(program, routed, DP_PUNT_DNS);
        return;
    }
    router_drop(program, routed, DP_DROP_L3_LOCAL);
    if (silent || info->ip_proto == IP_PROTO_ICMP)
        return;
    if (info->ip_proto == IP_PROTO_TCP)
        tcp_reset(program, routed);
    else
        icmp_error_ipv4(program, routed, ICMP_UNREACHABLE,
                        info->ip_proto == IP_PROTO_UDP ? ICMP_UNREACHABLE_PORT : ICMP_UNREACHABLE_PROTOCOL,
                        0);
}

/* A packet without an address of its own yet asks for one: nothing else is for a router. */
void router_group_ipv4(struct program *program, struct routed *routed)
{
    if (wants_dhcp(routed))
        punt(program, routed, DP_PUNT_DHCP);
    else
        router_taken(program, routed);
}

static void echo_ipv6(struct program *program, struct routed *routed)
{
    struct packet *packet = routed->packet;
    uint8_t *ip = packet->data + ETHERNET_HEADER_SIZE, source[16];
    router_taken(program, routed);
    echo_turn(packet->data + routed->info.l4_offset, ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY);
    memcpy(source, ip + 8, 16);
    memcpy(ip + 8, ip + 24, 16);
    memcpy(ip + 24, source, 16);
    ip[7] = HOP_COUNT;
    router_turn(packet, routed->in);
    router_emit(program, routed->in, packet);
}

void router_echo(struct program *program, struct routed *routed)
{
    if (routed->info.flags & FRAME_F_IPV4)
        echo_ipv4(program, routed);
    else
        echo_ipv6(program, routed);
}

void router_local_ipv6(struct program *program, struct routed *routed)
{
    const struct frame_info *info = &routed->info;
    bool silent = routed->in->flags & DP_INTERFACE_F_ASK_KERNEL || info->flags & FRAME_F_FRAGMENT;
    if (info->ip_proto == IP_PROTO_ICMPV6 && router_nd(program, routed))
        return;
    if (!silent && info->ip_proto == IP_PROTO_ICMPV6 && info->flags & FRAME_F_L4 &&
        routed->packet->data[info->l4_offset] == ICMPV6_ECHO_REQUEST) {
        echo_ipv6(program, routed);
        return;
    }
    if (wants_dns(routed)) {
        punt(program, routed, DP_PUNT_DNS);
        return;
    }
    router_drop(program, routed, DP_DROP_L3_LOCAL);
    if (silent || info->ip_proto == IP_PROTO_ICMPV6)
        return;
    if (info->ip_proto == IP_PROTO_TCP)
        tcp_reset(program, routed);
    else if (info->ip_proto == IP_PROTO_UDP)
        icmp_error_ipv6(program, routed, ICMPV6_UNREACHABLE, ICMPV6_UNREACHABLE_PORT, 0);
    else /* RFC 8200, 4: pointer to the Next Header field, exact without extension headers */
        icmp_error_ipv6(program, routed, ICMPV6_PARAMETER, ICMPV6_PARAMETER_NEXT_HEADER, 6);
}

void router_group_ipv6(struct program *program, struct routed *routed)
{
    if (routed->info.ip_proto != IP_PROTO_ICMPV6 || !router_nd(program, routed))
        router_taken(program, routed);
}
