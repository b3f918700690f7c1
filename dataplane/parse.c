/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one parser of frames. A cursor (offset, and the end of the private bytes) moves forward only, so each
 * loop ends; tags and extension headers are counted on top of that.
 */
#include "parse.h"

#define LLC_SNAP_SIZE        8u      /* DSAP, SSAP, control, OUI, EtherType (IEEE 802, 9.2.3) */
#define ETHERTYPE_MIN        0x0600u /* IEEE 802.3, 3.2.6: below it the field is a length */
#define IPV4_HEADER_MIN      20u
#define IPV6_HEADER_SIZE     40u
#define IPV6_EXTENSIONS_MAX  8u /* headers; RFC 8504, 5.3 lets a node limit them */
#define TCP_HEADER_MIN       20u
#define UDP_ICMP_HEADER_SIZE 8u
#define IPV4_MORE_OR_OFFSET  0x3fffu /* MF and the fragment offset */
#define IPV4_OFFSET_MASK     0x1fffu
#define IPV6_FRAGMENT_OFFSET 0xfff8u

/* IPv6 extension headers, IANA "IPv6 Extension Header Types" */
enum {
    EXTENSION_HOP_BY_HOP = 0,
    EXTENSION_ROUTING = 43,
    EXTENSION_FRAGMENT = 44,
    EXTENSION_AUTHENTICATION = 51,
    EXTENSION_DESTINATION = 60,
    EXTENSION_MOBILITY = 135,
    EXTENSION_HIP = 139,
    EXTENSION_SHIM6 = 140,
};

static inline uint16_t read_be16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline bool is_tpid(uint16_t type)
{
    return type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ;
}

/* RFC 1042 (OUI 00-00-00) and IEEE 802.1H bridge tunnel (00-00-F8) encapsulation. */
static bool is_snap(const uint8_t *llc)
{
    return llc[0] == 0xaa && llc[1] == 0xaa && llc[2] == 0x03 && llc[3] == 0 && llc[4] == 0 &&
           (llc[5] == 0 || llc[5] == 0xf8);
}

bool parse_l2_tagged(const struct packet *packet, struct frame_info *info)
{
    const uint8_t *data = packet->data;
    unsigned size = packet->header_size, offset = ETHERNET_HEADER_SIZE;
    uint16_t type = read_be16(data + 12);

    info->tpid = 0;
    info->tci = 0;
    info->tag_count = 0;
    while (is_tpid(type)) {
        if (info->tag_count == FRAME_TAGS_MAX || size - offset < VLAN_TAG_SIZE)
            return false;
        if (info->tag_count == 0) {
            info->tpid = type;
            info->tci = read_be16(data + offset);
        }
        info->tag_count++;
        type = read_be16(data + offset + 2);
        offset += VLAN_TAG_SIZE;
    }
    if (type < ETHERTYPE_MIN && size - offset >= LLC_SNAP_SIZE && is_snap(data + offset)) {
        uint16_t inner = read_be16(data + offset + 6);
        if (is_tpid(inner))
            return false;
        if (inner >= ETHERTYPE_MIN) {
            type = inner;
            offset += LLC_SNAP_SIZE;
        }
    }
    info->ethertype = type;
    info->l3_offset = (uint16_t)offset;
    return true;
}

/* Sets FRAME_F_L4 if the whole transport header is there: within what the IP header declares and in private
 * bytes. */
static void parse_l4(const struct packet *packet, struct frame_info *info)
{
    uint32_t end = info->l3_end < packet->header_size ? info->l3_end : packet->header_size;
    uint32_t left = end - info->l4_offset, need;

    switch (info->ip_proto) {
    case IP_PROTO_TCP:
        if (left < TCP_HEADER_MIN)
            return;
        need = (packet->data[info->l4_offset + 12] >> 4) * 4u;
        if (need < TCP_HEADER_MIN)
            return;
        break;
    case IP_PROTO_UDP:
    case IP_PROTO_ICMP:
    case IP_PROTO_ICMPV6:
        need = UDP_ICMP_HEADER_SIZE;
        break;
    default:
        return;
    }
    if (left < need)
        return;
    info->l4_header_size = (uint16_t)need;
    info->flags |= FRAME_F_L4;
}

static bool parse_ipv4(const struct packet *packet, struct frame_info *info)
{
    const uint8_t *header = packet->data + info->l3_offset;
    if ((uint32_t)packet->header_size - info->l3_offset < IPV4_HEADER_MIN || header[0] >> 4 != 4)
        return false;
    uint32_t header_size = (header[0] & 0x0fu) * 4u, total = read_be16(header + 2);
    uint16_t fragment = read_be16(header + 6);
    if (header_size < IPV4_HEADER_MIN || total < header_size || total > packet->size - info->l3_offset ||
        header_size > (uint32_t)packet->header_size - info->l3_offset)
        return false;

    info->flags |= FRAME_F_IPV4;
    info->ip_proto = header[9];
    info->l4_offset = (uint16_t)(info->l3_offset + header_size);
    info->l3_end = info->l3_offset + total;
    if (fragment & IPV4_MORE_OR_OFFSET)
        info->flags |= FRAME_F_FRAGMENT;
    if (fragment & IPV4_OFFSET_MASK)
        info->flags |= FRAME_F_FRAGMENT_LATER;
    else
        parse_l4(packet, info);
    return true;
}

static bool is_extension(uint8_t proto)
{
    switch (proto) {
    case EXTENSION_HOP_BY_HOP:
    case EXTENSION_ROUTING:
    case EXTENSION_FRAGMENT:
    case EXTENSION_AUTHENTICATION:
    case EXTENSION_DESTINATION:
    case EXTENSION_MOBILITY:
    case EXTENSION_HIP:
    case EXTENSION_SHIM6:
        return true;
    default:
        return false;
    }
}

/* Steps over extension headers to the upper-layer header, RFC 8200, 4. A later fragment ends the walk: what
 * follows it is payload. */
static bool skip_extensions(const struct packet *packet, struct frame_info *info)
{
    uint32_t end = info->l3_end < packet->header_size ? info->l3_end : packet->header_size;
    uint32_t offset = info->l4_offset;
    uint8_t proto = info->ip_proto;

    for (unsigned count = 0; is_extension(proto); count++) {
        const uint8_t *header = packet->data + offset;
        if (count == IPV6_EXTENSIONS_MAX || end - offset < 8)
            return false;
        uint32_t size = (header[1] + 1u) * 8;
        if (proto == EXTENSION_FRAGMENT) {
            size = 8;
            info->flags |= FRAME_F_FRAGMENT;
            if (read_be16(header + 2) & IPV6_FRAGMENT_OFFSET)
                info->flags |= FRAME_F_FRAGMENT_LATER;
        } else if (proto == EXTENSION_AUTHENTICATION) {
            size = (header[1] + 2u) * 4; /* RFC 4302, 2.2 */
        }
        if (size > end - offset)
            return false;
        proto = header[0];
        offset += size;
        if (info->flags & FRAME_F_FRAGMENT_LATER)
            break;
    }
    info->ip_proto = proto;
    info->l4_offset = (uint16_t)offset;
    return true;
}

static bool parse_ipv6(const struct packet *packet, struct frame_info *info)
{
    const uint8_t *header = packet->data + info->l3_offset;
    if ((uint32_t)packet->header_size - info->l3_offset < IPV6_HEADER_SIZE || header[0] >> 4 != 6)
        return false;
    uint32_t payload = read_be16(header + 4);
    if (payload > packet->size - info->l3_offset - IPV6_HEADER_SIZE)
        return false;

    info->flags |= FRAME_F_IPV6;
    info->ip_proto = header[6];
    info->l4_offset = (uint16_t)(info->l3_offset + IPV6_HEADER_SIZE);
    info->l3_end = info->l4_offset + payload;
    if (!skip_extensions(packet, info))
        return false;
    if (!(info->flags & FRAME_F_FRAGMENT_LATER))
        parse_l4(packet, info);
    return true;
}

bool parse_l3(const struct packet *packet, struct frame_info *info)
{
    info->flags &= FRAME_F_MULTICAST | FRAME_F_RESERVED | FRAME_F_SOURCE_GROUP;
    info->ip_proto = 0;
    info->l4_offset = 0;
    info->l4_header_size = 0;
    info->l3_end = 0;
    if (info->ethertype == ETHERTYPE_IPV4)
        return parse_ipv4(packet, info);
    if (info->ethertype == ETHERTYPE_IPV6)
        return parse_ipv6(packet, info);
    return true;
}
