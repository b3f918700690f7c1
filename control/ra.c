/* SPDX-License-Identifier: BSD-3-Clause */
#include "ra.h"

#include <string.h>
#include "bytes.h"
#include "datagram.h"

#define ETHERNET_SIZE     14u
#define IPV6_SIZE         40u
#define AT_ICMP           (ETHERNET_SIZE + IPV6_SIZE)
#define PROTOCOL_ICMPV6   58u
#define SOLICITATION      133u
#define ADVERTISEMENT     134u
#define SOLICITATION_SIZE 8u
#define ROUTER_LIFETIME_S 1800u
#define VALID_LIFETIME_S  86400u
#define PREFERRED_S       14400u
#define RDNSS_LIFETIME_S  (3 * RA_INTERVAL_S) /* RFC 8106 5.1 */
#define HOP_LIMIT         255u

enum { OPTION_SOURCE = 1, OPTION_PREFIX = 3, OPTION_MTU = 5, OPTION_RDNSS = 25 };

static const uint8_t unspecified[16];

void ra_link_local(const uint8_t mac[6], uint8_t address[16])
{
    memset(address, 0, 16);
    address[0] = 0xfe;
    address[1] = 0x80;
    address[8] = mac[0] ^ 2;
    address[9] = mac[1];
    address[10] = mac[2];
    address[11] = 0xff;
    address[12] = 0xfe;
    memcpy(address + 13, mac + 3, 3);
}

bool ra_solicitation(const uint8_t *frame, size_t size, uint8_t mac[6], uint8_t address[16])
{
    if (size < AT_ICMP + SOLICITATION_SIZE || load_be16(frame + 12) != 0x86dd || frame[14] >> 4 != 6 ||
        frame[14 + 6] != PROTOCOL_ICMPV6 || frame[14 + 7] != HOP_LIMIT || frame[AT_ICMP] != SOLICITATION ||
        frame[AT_ICMP + 1] != 0)
        return false;
    size_t length = load_be16(frame + 14 + 4);
    if (length < SOLICITATION_SIZE || length > size - AT_ICMP)
        return false;
    memcpy(address, frame + 14 + 8, 16);
    memcpy(mac, frame + 6, 6);
    bool has_source = false;
    for (size_t at = SOLICITATION_SIZE; at < length;) {
        const uint8_t *option = frame + AT_ICMP + at;
        if (length - at < 8 || option[1] == 0 || option[1] * 8u > length - at)
            return false;
        has_source |= option[0] == OPTION_SOURCE;
        at += option[1] * 8u;
    }
    return !(has_source && memcmp(address, unspecified, sizeof(unspecified)) == 0);
}

static size_t add_options(const struct ra_scope *scope, uint8_t *at)
{
    uint8_t *start = at;
    at[0] = OPTION_SOURCE;
    at[1] = 1;
    memcpy(at + 2, scope->mac, 6);
    at += 8;
    memset(at, 0, 8);
    at[0] = OPTION_MTU;
    at[1] = 1;
    store_be32(at + 4, scope->mtu);
    at += 8;
    memset(at, 0, 32);
    at[0] = OPTION_PREFIX;
    at[1] = 4;
    at[2] = scope->prefix_length;
    at[3] = scope->prefix_length == 64 ? 0xc0 : 0x80; /* on-link, autonomous */
    if (!scope->prefix_ends) {
        store_be32(at + 4, VALID_LIFETIME_S);
        store_be32(at + 8, PREFERRED_S);
    }
    for (unsigned i = 0; i < scope->prefix_length; i++) /* the bits beyond are zero */
        at[16 + i / 8] |= scope->address[i / 8] & (0x80u >> i % 8);
    at += 32;
    if (scope->dns) {
        memset(at, 0, 8);
        at[0] = OPTION_RDNSS;
        at[1] = 3;
        store_be32(at + 4, scope->dns_ends ? 0 : RDNSS_LIFETIME_S);
        memcpy(at + 8, scope->address, 16);
        at += 24;
    }
    return (size_t)(at - start);
}

size_t ra_advertise(const struct ra_scope *scope, const uint8_t mac[6], const uint8_t *address,
                    uint8_t *frame)
{
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1}, all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    bool unicast = address && memcmp(address, unspecified, sizeof(unspecified)) != 0;
    uint8_t *ip = frame + ETHERNET_SIZE, *icmp = frame + AT_ICMP;
    memset(frame, 0, AT_ICMP + 16);
    memcpy(frame, unicast ? mac : all_nodes_mac, 6);
    memcpy(frame + 6, scope->mac, 6);
    frame[12] = 0x86;
    frame[13] = 0xdd;
    icmp[0] = ADVERTISEMENT;
    icmp[4] = 64; /* hop limit for guests */
    if (scope->default_router) {
        icmp[6] = ROUTER_LIFETIME_S >> 8;
        icmp[7] = ROUTER_LIFETIME_S & 0xff;
    }
    size_t size = 16 + add_options(scope, icmp + 16);
    ip[0] = 0x60;
    ip[4] = (uint8_t)(size >> 8);
    ip[5] = (uint8_t)size;
    ip[6] = PROTOCOL_ICMPV6;
    ip[7] = HOP_LIMIT;
    ra_link_local(scope->mac, ip + 8);
    memcpy(ip + 24, unicast ? address : all_nodes, 16);
    uint64_t sum = internet_sum(PROTOCOL_ICMPV6 + size, ip + 8, 32);
    uint16_t checksum = internet_fold(internet_sum(sum, icmp, size));
    memcpy(icmp + 2, &checksum, sizeof(checksum));
    return AT_ICMP + size;
}
