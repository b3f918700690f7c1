/* SPDX-License-Identifier: BSD-3-Clause */
#include "datagram.h"

#include <endian.h>
#include <string.h>
#include "bytes.h"

#define ETHERNET_SIZE 14u
#define IPV4_SIZE     20u
#define IPV6_SIZE     40u
#define UDP_SIZE      8u
#define PROTOCOL_UDP  17u
#define HOPS          64u

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

void address_map(uint8_t address[16], const uint8_t ipv4[4])
{
    memcpy(address, mapped_prefix, sizeof(mapped_prefix));
    memcpy(address + 12, ipv4, 4);
}

bool address_is_mapped(const uint8_t address[16])
{
    return memcmp(address, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

uint64_t internet_sum(uint64_t sum, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (; size >= 2; byte += 2, size -= 2)
        sum += load_be16(byte);
    return size ? sum + ((uint64_t)byte[0] << 8) : sum;
}

uint16_t internet_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htobe16((uint16_t)~sum);
}

static bool parse_udp(const uint8_t *udp, size_t size, struct datagram *datagram)
{
    if (size < UDP_SIZE)
        return false;
    size_t length = load_be16(udp + 4);
    if (length < UDP_SIZE || length > size)
        return false;
    datagram->source_port = load_be16(udp);
    datagram->destination_port = load_be16(udp + 2);
    datagram->payload = udp + UDP_SIZE;
    datagram->size = length - UDP_SIZE;
    return true;
}

static bool parse_ipv4(const uint8_t *ip, size_t size, struct datagram *datagram)
{
    if (size < IPV4_SIZE || ip[0] >> 4 != 4)
        return false;
    size_t header = (ip[0] & 15u) * 4u, total = load_be16(ip + 2);
    if (header < IPV4_SIZE || total < header || total > size || ip[9] != PROTOCOL_UDP ||
        load_be16(ip + 6) & 0x3fff)
        return false;
    address_map(datagram->source, ip + 12);
    address_map(datagram->destination, ip + 16);
    return parse_udp(ip + header, total - header, datagram);
}

static bool parse_ipv6(const uint8_t *ip, size_t size, struct datagram *datagram)
{
    if (size < IPV6_SIZE || ip[0] >> 4 != 6 || ip[6] != PROTOCOL_UDP)
        return false;
    size_t length = load_be16(ip + 4);
    if (length > size - IPV6_SIZE)
        return false;
    memcpy(datagram->source, ip + 8, 16);
    memcpy(datagram->destination, ip + 24, 16);
    return parse_udp(ip + IPV6_SIZE, length, datagram);
}

bool datagram_parse(const uint8_t *frame, size_t size, struct datagram *datagram)
{
    memset(datagram, 0, sizeof(*datagram));
    if (size < ETHERNET_SIZE)
        return false;
    memcpy(datagram->destination_mac, frame, 6);
    memcpy(datagram->source_mac, frame + 6, 6);
    uint16_t type = load_be16(frame + 12);
    if (type == 0x0800)
        return parse_ipv4(frame + ETHERNET_SIZE, size - ETHERNET_SIZE, datagram);
    return type == 0x86dd && parse_ipv6(frame + ETHERNET_SIZE, size - ETHERNET_SIZE, datagram);
}

static void build_ipv4(const struct datagram *datagram, uint8_t *ip, size_t udp_size)
{
    memset(ip, 0, IPV4_SIZE);
    ip[0] = 0x45;
    store_be16(ip + 2, IPV4_SIZE + udp_size);
    ip[6] = 0x40; /* don't fragment */
    ip[8] = HOPS;
    ip[9] = PROTOCOL_UDP;
    memcpy(ip + 12, datagram->source + 12, 4);
    memcpy(ip + 16, datagram->destination + 12, 4);
    uint16_t checksum = internet_fold(internet_sum(0, ip, IPV4_SIZE));
    memcpy(ip + 10, &checksum, sizeof(checksum));
}

static void build_ipv6(const struct datagram *datagram, uint8_t *ip, size_t udp_size)
{
    memset(ip, 0, 8);
    ip[0] = 0x60;
    store_be16(ip + 4, udp_size);
    ip[6] = PROTOCOL_UDP;
    ip[7] = HOPS;
    memcpy(ip + 8, datagram->source, 16);
    memcpy(ip + 24, datagram->destination, 16);
}

static void build_udp(const struct datagram *datagram, uint8_t *udp, size_t udp_size, bool mapped)
{
    store_be16(udp, datagram->source_port);
    store_be16(udp + 2, datagram->destination_port);
    store_be16(udp + 4, udp_size);
    store_be16(udp + 6, 0);
    size_t skip = mapped ? 12 : 0;
    uint64_t sum = internet_sum(PROTOCOL_UDP + udp_size, datagram->source + skip, 16 - skip);
    sum = internet_sum(sum, datagram->destination + skip, 16 - skip);
    uint16_t checksum = internet_fold(internet_sum(sum, udp, udp_size));
    if (checksum == 0)
        checksum = 0xffff; /* RFC 768: 0 means none */
    memcpy(udp + 6, &checksum, sizeof(checksum));
}

size_t datagram_build(const struct datagram *datagram, uint8_t *frame, size_t room)
{
    bool mapped = address_is_mapped(datagram->source);
    size_t ip_size = mapped ? IPV4_SIZE : IPV6_SIZE, udp_size = UDP_SIZE + datagram->size;
    size_t size = ETHERNET_SIZE + ip_size + udp_size;
    if (size > room || udp_size > UINT16_MAX - IPV6_SIZE)
        return 0;
    uint8_t *ip = frame + ETHERNET_SIZE, *udp = ip + ip_size;
    memmove(udp + UDP_SIZE, datagram->payload, datagram->size);
    memcpy(frame, datagram->destination_mac, 6);
    memcpy(frame + 6, datagram->source_mac, 6);
    store_be16(frame + 12, mapped ? 0x0800 : 0x86dd);
    if (mapped)
        build_ipv4(datagram, ip, udp_size);
    else
        build_ipv6(datagram, ip, udp_size);
    build_udp(datagram, udp, udp_size, mapped);
    return size;
}
