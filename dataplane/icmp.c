/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An error is built in a packet of the stage's own: Ethernet and IP header back to the source, ICMP header,
 * and as much of the packet in question as fits 576 bytes (RFC 1812, 4.3.2.3) or 1280 (RFC 4443, 2.4 (c)).
 */
#include "icmp.h"

#include "checksum.h"
#include "program.h"
#include "router_private.h"

#define IPV4_HEADER_SIZE 20u
#define IPV6_HEADER_SIZE 40u
#define ICMP_HEADER_SIZE 8u
#define TCP_HEADER_SIZE  20u
#define HOP_COUNT        64u
#define TOS_INTERNETWORK 0xc0u /* precedence of errors: RFC 1812, 4.3.2.5 */
#define QUOTE_IPV4       (576u - IPV4_HEADER_SIZE - ICMP_HEADER_SIZE)
#define QUOTE_IPV6       (1280u - IPV6_HEADER_SIZE - ICMP_HEADER_SIZE)
#define TCP_FIN          0x01u
#define TCP_SYN          0x02u
#define TCP_RST          0x04u
#define TCP_ACK          0x10u

uint16_t ipv6_sum(const uint8_t *source, const uint8_t *destination, uint8_t proto, const uint8_t *bytes,
                  uint32_t size)
{
    uint64_t sum =
        checksum_sum(source, 16) + checksum_sum(destination, 16) + htobe16((uint16_t)size) + htobe16(proto);
    return checksum_fold(sum + checksum_sum(bytes, size));
}

void ipv6_header(uint8_t *ip, uint32_t size, uint8_t proto, uint8_t hops, const uint8_t source[16],
                 const uint8_t destination[16])
{
    memset(ip, 0, 8);
    ip[0] = 0x60;
    store_be16(ip + 4, size);
    ip[6] = proto;
    ip[7] = hops;
    memcpy(ip + 8, source, 16);
    memcpy(ip + 24, destination, 16);
}

void ipv4_checksum(uint8_t *header)
{
    header[10] = header[11] = 0;
    uint16_t checksum = (uint16_t)~checksum_fold(checksum_sum(header, IPV4_HEADER_SIZE));
    memcpy(header + 10, &checksum, sizeof(checksum));
}

/* Ethernet and IPv4 header of an answer with `size` bytes behind them; NULL: no memory in this round. */
static struct packet *answer_ipv4(struct program *program, const struct routed *about,
                                  const uint8_t source[4], uint8_t tos, uint8_t proto, uint32_t size)
{
    const uint8_t *received = about->packet->data;
    uint32_t total = IPV4_HEADER_SIZE + size;
    struct packet *packet = router_copy(program->router, ETHERNET_HEADER_SIZE + total);
    if (!packet)
        return NULL;
    uint8_t *ip = packet->data + ETHERNET_HEADER_SIZE;
    memcpy(packet->data, received, ETHERNET_HEADER_SIZE);
    router_turn(packet, about->in);
    memset(ip, 0, IPV4_HEADER_SIZE);
    ip[0] = 0x45;
    ip[1] = tos;
    store_be16(ip + 2, total);
    store_be16(ip + 4, program->router->ipv4_id++);
    ip[8] = HOP_COUNT;
    ip[9] = proto;
    memcpy(ip + 12, source, 4);
    memcpy(ip + 16, received + ETHERNET_HEADER_SIZE + 12, 4);
    ipv4_checksum(ip);
    return packet;
}

static struct packet *answer_ipv6(struct program *program, const struct routed *about,
                                  const uint8_t source[16], uint8_t proto, uint32_t size)
{
    const uint8_t *received = about->packet->data;
    struct packet *packet = router_copy(program->router, ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE + size);
    if (!packet)
        return NULL;
    memcpy(packet->data, received, ETHERNET_HEADER_SIZE);
    router_turn(packet, about->in);
    ipv6_header(packet->data + ETHERNET_HEADER_SIZE, size, proto, HOP_COUNT, source,
                received + ETHERNET_HEADER_SIZE + 8);
    return packet;
}

/* The first `size` bytes of the IP packet, private ones and what follows. */
static void quote(uint8_t *to, const struct routed *about, uint32_t size)
{
    const struct packet *packet = about->packet;
    uint32_t private = packet->header_size - ETHERNET_HEADER_SIZE, at = private < size ? private : size;
    memcpy(to, packet->data + ETHERNET_HEADER_SIZE, at);
    for (unsigned i = 0; i < packet->span_count && at < size; i++) {
        uint64_t left = size - at, part = packet->spans[i].size < left ? packet->spans[i].size : left;
        memcpy(to + at, packet->spans[i].base, part);
        at += (uint32_t)part;
    }
}

/* An error but for its checksum, which is of the family's; `size` bytes of the packet behind the header. */
static void write_error(uint8_t *icmp, const struct routed *about, uint8_t type, uint8_t code, uint32_t rest,
                        uint32_t size)
{
    uint32_t word = htobe32(rest);
    icmp[0] = type;
    icmp[1] = code;
    icmp[2] = icmp[3] = 0;
    memcpy(icmp + 4, &word, sizeof(word));
    quote(icmp + ICMP_HEADER_SIZE, about, size);
}

/* The sender of a translated packet knows it by other addresses. */
static void send_error(struct program *program, const struct routed *about, struct packet *packet)
{
    if (about->flags & ROUTED_F_TRANSLATED)
        router_nat_error(program, about, packet);
    else
        router_emit(program, about->in, packet);
}

/* Is the packet one that may be reported at all (RFC 1122, 3.2.2)? */
static bool reportable_ipv4(const struct routed *about)
{
    const uint8_t *ip = about->packet->data + ETHERNET_HEADER_SIZE;
    const struct frame_info *info = &about->info;
    if (info->flags & (FRAME_F_MULTICAST | FRAME_F_FRAGMENT_LATER) || ip[16] >= 224 ||
        address_is_zero(about->in->ipv4))
        return false;
    if (info->ip_proto != IP_PROTO_ICMP)
        return true;
    /* about a query only: an error may not bring forth another */
    uint8_t type = info->flags & FRAME_F_L4 ? about->packet->data[info->l4_offset] : ICMP_UNREACHABLE;
    return type == ICMP_ECHO_REQUEST || type == ICMP_ECHO_REPLY || (type >= 13 && type <= 18);
}

void icmp_error_ipv4(struct program *program, const struct routed *about, uint8_t type, uint8_t code,
                     uint32_t rest)
{
    if (!reportable_ipv4(about) || !router_error_allowed(program, about->in))
        return;
    uint32_t left = about->info.l3_end - about->info.l3_offset, size = left < QUOTE_IPV4 ? left : QUOTE_IPV4;
    struct packet *packet = answer_ipv4(program, about, about->in->ipv4 + 12, TOS_INTERNETWORK, IP_PROTO_ICMP,
                                        ICMP_HEADER_SIZE + size);
    if (!packet)
        return;
    uint8_t *icmp = packet->data + ETHERNET_HEADER_SIZE + IPV4_HEADER_SIZE;
    write_error(icmp, about, type, code, rest, size);
    uint16_t checksum = (uint16_t)~checksum_fold(checksum_sum(icmp, ICMP_HEADER_SIZE + size));
    memcpy(icmp + 2, &checksum, sizeof(checksum));
    router_copy_finish(packet, ETHERNET_HEADER_SIZE + IPV4_HEADER_SIZE + ICMP_HEADER_SIZE + size);
    send_error(program, about, packet);
}

/* RFC 4443, 2.4 (e). A packet too big is told to the senders of multicasts too, which are not routed here. */
static bool reportable_ipv6(const struct routed *about)
{
    const struct frame_info *info = &about->info;
    if (info->flags & (FRAME_F_MULTICAST | FRAME_F_FRAGMENT_LATER) ||
        about->packet->data[ETHERNET_HEADER_SIZE + 24] == 0xff)
        return false;
    if (info->ip_proto != IP_PROTO_ICMPV6)
        return true;
    uint8_t type = info->flags & FRAME_F_L4 ? about->packet->data[info->l4_offset] : 0;
    return type & 0x80; /* informational */
}

void icmp_error_ipv6(struct program *program, const struct routed *about, uint8_t type, uint8_t code,
                     uint32_t rest)
{
    if (!reportable_ipv6(about) || !router_error_allowed(program, about->in))
        return;
    const struct interface *in = about->in;
    const uint8_t *source = address_is_zero(in->ipv6) ? in->link_local : in->ipv6;
    uint32_t left = about->info.l3_end - about->info.l3_offset, size = left < QUOTE_IPV6 ? left : QUOTE_IPV6;
    uint32_t length = ICMP_HEADER_SIZE + size;
    struct packet *packet = answer_ipv6(program, about, source, IP_PROTO_ICMPV6, length);
    if (!packet)
        return;
    uint8_t *ip = packet->data + ETHERNET_HEADER_SIZE, *icmp = ip + IPV6_HEADER_SIZE;
    write_error(icmp, about, type, code, rest, size);
    uint16_t checksum = (uint16_t)~ipv6_sum(ip + 8, ip + 24, IP_PROTO_ICMPV6, icmp, length);
    memcpy(icmp + 2, &checksum, sizeof(checksum));
    router_copy_finish(packet, ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE + length);
    send_error(program, about, packet);
}

/* Sequence numbers and flags of the reset. */
static void write_reset(uint8_t *tcp, const struct routed *about)
{
    const struct frame_info *info = &about->info;
    const uint8_t *received = about->packet->data + info->l4_offset;
    uint8_t flags = received[13];
    memset(tcp, 0, TCP_HEADER_SIZE);
    memcpy(tcp, received + 2, 2);
    memcpy(tcp + 2, received, 2);
    tcp[12] = TCP_HEADER_SIZE / 4 << 4;
    if (flags & TCP_ACK) {
        memcpy(tcp + 4, received + 8, 4);
        tcp[13] = TCP_RST;
        return;
    }
    uint32_t sequence;
    memcpy(&sequence, received + 4, sizeof(sequence));
    sequence = be32toh(sequence) + (info->l3_end - info->l4_offset - info->l4_header_size) +
               !!(flags & TCP_SYN) + !!(flags & TCP_FIN);
    sequence = htobe32(sequence);
    memcpy(tcp + 8, &sequence, sizeof(sequence));
    tcp[13] = TCP_RST | TCP_ACK;
}

void tcp_reset(struct program *program, const struct routed *about)
{
    const struct frame_info *info = &about->info;
    const uint8_t *received = about->packet->data + info->l3_offset;
    bool ipv4 = info->flags & FRAME_F_IPV4;
    if (!(info->flags & FRAME_F_L4) || about->packet->data[info->l4_offset + 13] & TCP_RST ||
        !router_error_allowed(program, about->in))
        return;
    struct packet *packet = ipv4
                                ? answer_ipv4(program, about, received + 16, 0, IP_PROTO_TCP, TCP_HEADER_SIZE)
                                : answer_ipv6(program, about, received + 24, IP_PROTO_TCP, TCP_HEADER_SIZE);
    if (!packet)
        return;
    uint8_t *ip = packet->data + ETHERNET_HEADER_SIZE;
    uint8_t *tcp = ip + (ipv4 ? IPV4_HEADER_SIZE : IPV6_HEADER_SIZE);
    write_reset(tcp, about);
    uint16_t checksum;
    if (ipv4)
        checksum = (uint16_t)~checksum_fold(checksum_sum(ip + 12, 8) + htobe16(IP_PROTO_TCP) +
                                            htobe16(TCP_HEADER_SIZE) + checksum_sum(tcp, TCP_HEADER_SIZE));
    else
        checksum = (uint16_t)~ipv6_sum(ip + 8, ip + 24, IP_PROTO_TCP, tcp, TCP_HEADER_SIZE);
    memcpy(tcp + 16, &checksum, sizeof(checksum));
    router_copy_finish(packet, (uint32_t)(tcp + TCP_HEADER_SIZE - packet->data));
    router_emit(program, about->in, packet);
}
