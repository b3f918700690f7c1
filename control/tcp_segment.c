/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp_segment.h"

#include <string.h>
#include "bytes.h"
#include "datagram.h"

#define ETHERNET_SIZE 14u
#define IPV4_SIZE     20u
#define IPV6_SIZE     40u
#define TCP_SIZE      20u
#define PROTOCOL_TCP  6u
#define HOPS          64u
#define OPTION_END    0u
#define OPTION_NOP    1u
#define OPTION_MSS    2u
#define MSS_SIZE      4u /* bytes of the option */

/* The MSS among the options; 0: none. */
static uint16_t find_mss(const uint8_t *options, size_t size)
{
    for (size_t at = 0; at < size && options[at] != OPTION_END;) {
        if (options[at] == OPTION_NOP) {
            at++;
            continue;
        }
        if (at + 1 >= size || options[at + 1] < 2 || options[at + 1] > size - at)
            return 0;
        if (options[at] == OPTION_MSS && options[at + 1] == MSS_SIZE)
            return load_be16(options + at + 2);
        at += options[at + 1];
    }
    return 0;
}

static bool parse_tcp(const uint8_t *tcp, size_t size, struct tcp_segment *segment)
{
    if (size < TCP_SIZE)
        return false;
    size_t header = (tcp[12] >> 4) * 4u;
    if (header < TCP_SIZE || header > size)
        return false;
    segment->source_port = load_be16(tcp);
    segment->destination_port = load_be16(tcp + 2);
    segment->sequence = load_be32(tcp + 4);
    segment->acknowledgment = load_be32(tcp + 8);
    segment->flags = tcp[13];
    segment->window = load_be16(tcp + 14);
    segment->mss = find_mss(tcp + TCP_SIZE, header - TCP_SIZE);
    segment->payload = tcp + header;
    segment->size = size - header;
    return true;
}

static bool parse_ipv4(const uint8_t *ip, size_t size, struct tcp_segment *segment)
{
    if (size < IPV4_SIZE || ip[0] >> 4 != 4)
        return false;
    size_t header = (ip[0] & 15u) * 4u, total = load_be16(ip + 2);
    if (header < IPV4_SIZE || total < header || total > size || ip[9] != PROTOCOL_TCP ||
        load_be16(ip + 6) & 0x3fff)
        return false;
    address_map(segment->source, ip + 12);
    address_map(segment->destination, ip + 16);
    return parse_tcp(ip + header, total - header, segment);
}

static bool parse_ipv6(const uint8_t *ip, size_t size, struct tcp_segment *segment)
{
    if (size < IPV6_SIZE || ip[0] >> 4 != 6 || ip[6] != PROTOCOL_TCP)
        return false;
    size_t length = load_be16(ip + 4);
    if (length > size - IPV6_SIZE)
        return false;
    memcpy(segment->source, ip + 8, 16);
    memcpy(segment->destination, ip + 24, 16);
    return parse_tcp(ip + IPV6_SIZE, length, segment);
}

bool tcp_segment_parse(const uint8_t *frame, size_t size, struct tcp_segment *segment)
{
    memset(segment, 0, sizeof(*segment));
    if (size < ETHERNET_SIZE)
        return false;
    memcpy(segment->destination_mac, frame, 6);
    memcpy(segment->source_mac, frame + 6, 6);
    uint16_t type = load_be16(frame + 12);
    if (type == 0x0800)
        return parse_ipv4(frame + ETHERNET_SIZE, size - ETHERNET_SIZE, segment);
    return type == 0x86dd && parse_ipv6(frame + ETHERNET_SIZE, size - ETHERNET_SIZE, segment);
}

static void build_ip(const struct tcp_segment *segment, uint8_t *ip, size_t tcp_size, bool mapped)
{
    memset(ip, 0, mapped ? IPV4_SIZE : IPV6_SIZE);
    if (!mapped) {
        ip[0] = 0x60;
        store_be16(ip + 4, tcp_size);
        ip[6] = PROTOCOL_TCP;
        ip[7] = HOPS;
        memcpy(ip + 8, segment->source, 16);
        memcpy(ip + 24, segment->destination, 16);
        return;
    }
    ip[0] = 0x45;
    store_be16(ip + 2, IPV4_SIZE + tcp_size);
    ip[6] = 0x40; /* don't fragment */
    ip[8] = HOPS;
    ip[9] = PROTOCOL_TCP;
    memcpy(ip + 12, segment->source + 12, 4);
    memcpy(ip + 16, segment->destination + 12, 4);
    uint16_t checksum = internet_fold(internet_sum(0, ip, IPV4_SIZE));
    memcpy(ip + 10, &checksum, sizeof(checksum));
}

static void build_tcp(const struct tcp_segment *segment, uint8_t *tcp, size_t header, bool mapped)
{
    size_t skip = mapped ? 12 : 0, size = header + segment->size;
    memset(tcp, 0, header);
    store_be16(tcp, segment->source_port);
    store_be16(tcp + 2, segment->destination_port);
    store_be32(tcp + 4, segment->sequence);
    store_be32(tcp + 8, segment->acknowledgment);
    tcp[12] = (uint8_t)(header / 4 << 4);
    tcp[13] = segment->flags;
    store_be16(tcp + 14, segment->window);
    if (segment->mss) {
        tcp[TCP_SIZE] = OPTION_MSS;
        tcp[TCP_SIZE + 1] = MSS_SIZE;
        store_be16(tcp + TCP_SIZE + 2, segment->mss);
    }
    uint64_t sum = internet_sum(PROTOCOL_TCP + size, segment->source + skip, 16 - skip);
    sum = internet_sum(sum, segment->destination + skip, 16 - skip);
    uint16_t checksum = internet_fold(internet_sum(sum, tcp, size));
    memcpy(tcp + 16, &checksum, sizeof(checksum));
}

size_t tcp_segment_build(const struct tcp_segment *segment, uint8_t *frame, size_t room)
{
    bool mapped = address_is_mapped(segment->source);
    size_t ip_size = mapped ? IPV4_SIZE : IPV6_SIZE, header = TCP_SIZE + (segment->mss ? MSS_SIZE : 0);
    size_t size = ETHERNET_SIZE + ip_size + header + segment->size;
    if (size > room || segment->size > UINT16_MAX / 2)
        return 0;
    uint8_t *ip = frame + ETHERNET_SIZE, *tcp = ip + ip_size;
    memcpy(frame, segment->destination_mac, 6);
    memcpy(frame + 6, segment->source_mac, 6);
    store_be16(frame + 12, mapped ? 0x0800 : 0x86dd);
    if (segment->size)
        memcpy(tcp + header, segment->payload, segment->size);
    build_ip(segment, ip, header + segment->size, mapped);
    build_tcp(segment, tcp, header, mapped);
    return size;
}
