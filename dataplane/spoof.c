/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Source address checks. Addresses are kept as sorted integers: most ports have one MAC and one or two IP
 * addresses, for which a search is one comparison; a port with many costs their logarithm.
 */
#include <errno.h>
#include <stdlib.h>
#include "spoof.h"

#define ARP_SIZE           28u /* RFC 826 for Ethernet and IPv4 */
#define ARP_OP_REQUEST     1u
#define DHCP_CLIENT_PORT   68u
#define DHCP_SERVER_PORT   67u
#define DHCPV6_CLIENT_PORT 546u /* RFC 8415, 7.2 */
#define IPV4_HEADER_MIN    20u
#define ND_OPTION_SOURCE   1u /* RFC 4861, 4.6.1 */
#define ND_OPTION_TARGET   2u
#define ND_HEADER_SIZE     8u
#define ND_TARGET_SIZE     16u

/* ICMPv6 types, RFC 4861, RFC 2710, RFC 3810 */
enum {
    MLD_REPORT = 131,
    MLD_DONE = 132,
    ND_ROUTER_SOLICIT = 133,
    ND_ROUTER_ADVERT = 134,
    ND_NEIGHBOUR_SOLICIT = 135,
    ND_NEIGHBOUR_ADVERT = 136,
    ND_REDIRECT = 137,
    MLD2_REPORT = 143,
};

struct ipv6_key {
    uint64_t high, low; /* host order */
};

struct spoof_table {
    bool check_mac;
    bool check_ip; /* SPOOF_IP, and there is an address */
    bool guard;
    unsigned mac_count, ipv4_count, ipv6_count;
    uint64_t *macs;
    uint32_t *ipv4;
    struct ipv6_key *ipv6;
};

static uint64_t load_mac(const uint8_t *bytes)
{
    uint32_t high;
    uint16_t low;
    memcpy(&high, bytes, sizeof(high));
    memcpy(&low, bytes + 4, sizeof(low));
    return (uint64_t)be32toh(high) << 16 | be16toh(low);
}

static uint32_t load_ipv4(const uint8_t *bytes)
{
    uint32_t address;
    memcpy(&address, bytes, sizeof(address));
    return be32toh(address);
}

static struct ipv6_key load_ipv6(const uint8_t *bytes)
{
    uint64_t words[2];
    memcpy(words, bytes, sizeof(words));
    return (struct ipv6_key){be64toh(words[0]), be64toh(words[1])};
}

static int compare_ipv6(const void *left, const void *right)
{
    const struct ipv6_key *a = left, *b = right;
    if (a->high != b->high)
        return a->high < b->high ? -1 : 1;
    return a->low == b->low ? 0 : a->low < b->low ? -1 : 1;
}

static int compare_mac(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a == b ? 0 : a < b ? -1 : 1;
}

static int compare_ipv4(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a == b ? 0 : a < b ? -1 : 1;
}

static bool has_mac(const struct spoof_table *table, uint64_t mac)
{
    unsigned low = 0, count = table->mac_count;
    while (count > 1) {
        unsigned half = count / 2;
        low += table->macs[low + half] <= mac ? half : 0;
        count -= half;
    }
    return count == 1 && table->macs[low] == mac;
}

static bool has_ipv4(const struct spoof_table *table, uint32_t address)
{
    unsigned low = 0, count = table->ipv4_count;
    while (count > 1) {
        unsigned half = count / 2;
        low += table->ipv4[low + half] <= address ? half : 0;
        count -= half;
    }
    return count == 1 && table->ipv4[low] == address;
}

/* A listed address, or the link-local one that EUI-64 makes of a listed MAC (RFC 4291, appendix A). */
static bool has_ipv6(const struct spoof_table *table, const uint8_t *bytes)
{
    struct ipv6_key key = load_ipv6(bytes);
    unsigned low = 0, count = table->ipv6_count;
    while (count > 1) {
        unsigned half = count / 2;
        low += compare_ipv6(&table->ipv6[low + half], &key) <= 0 ? half : 0;
        count -= half;
    }
    if (count == 1 && compare_ipv6(&table->ipv6[low], &key) == 0)
        return true;
    if (key.high != 0xfe80000000000000u || (key.low >> 24 & 0xffffu) != 0xfffeu)
        return false;
    return has_mac(table, ((key.low >> 40) << 24 | (key.low & 0xffffffu)) ^ 0x020000000000u);
}

struct spoof_table *spoof_table_new(uint32_t flags, const struct dp_allowed *entries, unsigned count)
{
    size_t each = sizeof(struct ipv6_key) + sizeof(uint64_t) + sizeof(uint32_t);
    struct spoof_table *table = calloc(1, sizeof(*table) + count * each);
    if (!table)
        return NULL;
    table->ipv6 = (struct ipv6_key *)(table + 1);
    table->macs = (uint64_t *)(table->ipv6 + count);
    table->ipv4 = (uint32_t *)(table->macs + count);
    for (unsigned i = 0; i < count; i++) {
        const struct dp_allowed *entry = &entries[i];
        if (entry->type == DP_ALLOWED_MAC)
            table->macs[table->mac_count++] = load_mac(entry->address);
        else if (entry->type == DP_ALLOWED_IPV4)
            table->ipv4[table->ipv4_count++] = load_ipv4(entry->address);
        else if (entry->type == DP_ALLOWED_IPV6)
            table->ipv6[table->ipv6_count++] = load_ipv6(entry->address);
    }
    qsort(table->macs, table->mac_count, sizeof(*table->macs), compare_mac);
    qsort(table->ipv4, table->ipv4_count, sizeof(*table->ipv4), compare_ipv4);
    qsort(table->ipv6, table->ipv6_count, sizeof(*table->ipv6), compare_ipv6);
    table->check_mac = flags & DP_PORT_F_SPOOF_MAC;
    table->guard = flags & DP_PORT_F_GUARD;
    table->check_ip = (flags & DP_PORT_F_SPOOF_IP) && table->ipv4_count + table->ipv6_count > 0;
    return table;
}

void spoof_table_free(struct spoof_table *table)
{
    free(table);
}

static enum dp_drop check_arp(const struct spoof_table *table, const struct packet *packet,
                              const struct frame_info *info)
{
    static const uint8_t ethernet_ipv4[] = {0, 1, 8, 0, 6, 4}; /* hardware, protocol, address sizes */
    const uint8_t *arp = packet->data + info->l3_offset;
    if (packet->header_size - (uint32_t)info->l3_offset < ARP_SIZE)
        return DP_DROP_RX_MALFORMED;
    if (memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
        return DP_DROP_SPOOF_ARP;
    if (table->check_mac && !has_mac(table, load_mac(arp + 8)))
        return DP_DROP_SPOOF_ARP;
    if (table->check_ip) {
        uint32_t sender = load_ipv4(arp + 14);
        bool probe = sender == 0 && arp[6] == 0 && arp[7] == ARP_OP_REQUEST; /* RFC 5227, 2.1.1 */
        if (!probe && !has_ipv4(table, sender))
            return DP_DROP_SPOOF_ARP;
    }
    return DP_DROP_COUNT;
}

static bool is_dhcp_client(const struct packet *packet, const struct frame_info *info)
{
    const uint8_t *udp = packet->data + info->l4_offset;
    return (info->flags & FRAME_F_L4) && info->ip_proto == IP_PROTO_UDP && udp[0] == 0 &&
           udp[1] == DHCP_CLIENT_PORT && udp[2] == 0 && udp[3] == DHCP_SERVER_PORT;
}

static uint32_t load_port(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 8 | bytes[1];
}

/* What a DHCP server sends, from whatever port: clients look at their own. A later fragment is not looked at,
 * and useless without the first one. */
static bool is_dhcp_answer(const struct packet *packet, const struct frame_info *info)
{
    const uint8_t *ip = packet->data + info->l3_offset;
    uint32_t left = (uint32_t)packet->header_size - info->l3_offset, size;
    if (left < IPV4_HEADER_MIN || ip[9] != IP_PROTO_UDP || ip[6] & 0x1f || ip[7])
        return false;
    size = (ip[0] & 15u) * 4;
    return left >= size + 4 && load_port(ip + size + 2) == DHCP_CLIENT_PORT;
}

static enum dp_drop check_ipv4(const struct spoof_table *table, const struct packet *packet,
                               const struct frame_info *info)
{
    const uint8_t *ip = packet->data + info->l3_offset;
    uint32_t source = load_ipv4(ip + 12);
    if (has_ipv4(table, source))
        return DP_DROP_COUNT;
    bool unconfigured = source == 0 && load_ipv4(ip + 16) == UINT32_MAX && is_dhcp_client(packet, info);
    return unconfigured ? DP_DROP_COUNT : DP_DROP_SPOOF_IP;
}

static bool is_nd(uint8_t type)
{
    return type >= ND_ROUTER_SOLICIT && type <= ND_REDIRECT;
}

/* What routers and DHCP servers alone say. */
static bool is_router_or_server(const struct packet *packet, const struct frame_info *info, uint8_t type)
{
    if (info->ip_proto == IP_PROTO_UDP && info->flags & FRAME_F_L4)
        return load_port(packet->data + info->l4_offset + 2) == DHCPV6_CLIENT_PORT;
    return type == ND_ROUTER_ADVERT || type == ND_REDIRECT;
}

/* Where the options begin, RFC 4861, 4.1 to 4.5. */
static uint32_t nd_options_offset(uint8_t type)
{
    switch (type) {
    case ND_ROUTER_SOLICIT:
        return ND_HEADER_SIZE;
    case ND_ROUTER_ADVERT:
        return ND_HEADER_SIZE + 8;
    case ND_REDIRECT:
        return ND_HEADER_SIZE + 2 * ND_TARGET_SIZE;
    default:
        return ND_HEADER_SIZE + ND_TARGET_SIZE;
    }
}

/* Link-layer addresses in the options are the port's. What does not fit the private bytes cannot be checked
 * and does not pass: a forged option must not hide behind long ones. */
static bool nd_options_pass(const struct spoof_table *table, const uint8_t *options, uint32_t size)
{
    while (size > 0) {
        uint32_t option_size = size >= 2 ? options[1] * 8u : 0;
        if (option_size == 0 || option_size > size)
            return false;
        if ((options[0] == ND_OPTION_SOURCE || options[0] == ND_OPTION_TARGET) &&
            (option_size != 8 || !has_mac(table, load_mac(options + 2))))
            return false;
        options += option_size;
        size -= option_size;
    }
    return true;
}

/* Neighbour discovery: never in fragments (RFC 6980), wholly in private bytes. */
static bool nd_passes(const struct spoof_table *table, const struct packet *packet,
                      const struct frame_info *info, bool unspecified)
{
    const uint8_t *icmp = packet->data + info->l4_offset;
    uint32_t size = info->l3_end - info->l4_offset, options = nd_options_offset(icmp[0]);
    if ((info->flags & FRAME_F_FRAGMENT) || info->l3_end > packet->header_size || size < options)
        return false;
    /* what an advertisement announces, and what duplicate address detection claims */
    bool claims = icmp[0] == ND_NEIGHBOUR_ADVERT || (icmp[0] == ND_NEIGHBOUR_SOLICIT && unspecified);
    if (claims && table->check_ip && !has_ipv6(table, icmp + ND_HEADER_SIZE))
        return false;
    return !table->check_mac || nd_options_pass(table, icmp + options, size - options);
}

static enum dp_drop check_ipv6(const struct spoof_table *table, const struct packet *packet,
                               const struct frame_info *info)
{
    static const uint8_t none[16];
    const uint8_t *source = packet->data + info->l3_offset + 8;
    bool unspecified = memcmp(source, none, sizeof(none)) == 0;
    bool icmp = info->ip_proto == IP_PROTO_ICMPV6 && !(info->flags & FRAME_F_FRAGMENT_LATER);
    uint8_t type = icmp && (info->flags & FRAME_F_L4) ? packet->data[info->l4_offset] : 0;

    if (icmp && !(info->flags & FRAME_F_L4))
        return DP_DROP_SPOOF_ND; /* its type cannot be seen */
    if (table->guard && is_router_or_server(packet, info, type))
        return DP_DROP_GUARD;
    if (table->check_ip && !unspecified && !has_ipv6(table, source))
        return DP_DROP_SPOOF_IP;
    if (table->check_ip && unspecified && type != ND_NEIGHBOUR_SOLICIT && type != ND_ROUTER_SOLICIT &&
        type != MLD_REPORT && type != MLD_DONE && type != MLD2_REPORT)
        return DP_DROP_SPOOF_IP;
    if (is_nd(type) && !nd_passes(table, packet, info, unspecified))
        return DP_DROP_SPOOF_ND;
    return DP_DROP_COUNT;
}

enum dp_drop spoof_check(const struct spoof_table *table, const struct packet *packet,
                         struct frame_info *info)
{
    if (table->check_mac && !has_mac(table, load_mac(packet->data + 6)))
        return DP_DROP_SPOOF_MAC;
    if (info->ethertype == ETHERTYPE_ARP)
        return check_arp(table, packet, info);
    if (info->ethertype != ETHERTYPE_IPV4 && info->ethertype != ETHERTYPE_IPV6)
        return DP_DROP_COUNT;
    if (table->guard && info->ethertype == ETHERTYPE_IPV4 && is_dhcp_answer(packet, info))
        return DP_DROP_GUARD;
    if (!table->check_ip && info->ethertype == ETHERTYPE_IPV4)
        return DP_DROP_COUNT;
    if (!parse_l3(packet, info))
        return DP_DROP_RX_MALFORMED;
    return info->flags & FRAME_F_IPV4 ? check_ipv4(table, packet, info) : check_ipv6(table, packet, info);
}
