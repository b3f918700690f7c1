/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest (or the host's kernel) asks to be done to a frame, checked against our own parse. Legal
 * requests:
 *
 *   flags        gso_type              frame                                                      and
 *   0            NONE                  any
 *   NEEDS_CSUM   NONE                  TCP or UDP, whole header in private bytes, IPv4/IPv6 not   csum_start,
 * csum_offset a fragment                                                 are that header's NEEDS_CSUM   TCPV4
 * | TCPV6 (| ECN) the same, TCP of that IP version, not in SNAP, IP length   gso_size 8..65534, to the
 * frame's end, SYN, RST not set                       <= 1024 pieces
 *
 * DATA_VALID with any of them is taken off. UDP, UDP_L4 and unknown bits are not offered to anyone and so
 * never legal. Afterwards the metadata say what is true: hdr_len ours, ECN exactly if CWR is set, a TSO frame
 * of one piece is none.
 */
#include "offload.h"

#define TCP_CHECKSUM_OFFSET 16u
#define UDP_CHECKSUM_OFFSET 6u
#define TCP_FLAGS_OFFSET    13u
#define TCP_FLAG_SYN        0x02u
#define TCP_FLAG_RST        0x04u
#define TCP_FLAG_CWR        0x80u
#define GSO_SIZE_MIN        8u     /* Linux' TCP_MIN_GSO_SIZE: MSS 48 less 40 bytes of options */
#define GSO_SIZE_MAX        65534u /* 65535 is GSO_BY_FRAGS to Linux */
#define GSO_PIECES_MAX      1024u  /* bounds what one frame can cost: 64 KiB at 64 bytes each */

static void no_gso(struct packet *packet)
{
    packet->gso_type = VNET_GSO_NONE;
    packet->gso_size = 0;
}

static bool validate_csum(struct packet *packet, const struct frame_info *info)
{
    uint32_t field;
    if (!(info->flags & FRAME_F_L4) || (info->flags & FRAME_F_FRAGMENT))
        return false;
    if (info->ip_proto == IP_PROTO_TCP)
        field = TCP_CHECKSUM_OFFSET;
    else if (info->ip_proto == IP_PROTO_UDP)
        field = UDP_CHECKSUM_OFFSET;
    else
        return false;
    if (packet->csum_start != info->l4_offset || packet->csum_offset != field)
        return false;
    packet->hdr_len = (uint16_t)(info->l4_offset + info->l4_header_size);
    return true;
}

/* After validate_csum. */
static bool validate_gso(struct packet *packet, const struct frame_info *info)
{
    unsigned type = packet->gso_type & ~VNET_GSO_ECN;
    if (type != (info->flags & FRAME_F_IPV4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6) ||
        info->ip_proto != IP_PROTO_TCP)
        return false;
    if (info->l3_end != packet->size ||
        info->l3_offset != ETHERNET_HEADER_SIZE + info->tag_count * VLAN_TAG_SIZE)
        return false;
    uint8_t tcp_flags = packet->data[info->l4_offset + TCP_FLAGS_OFFSET];
    uint32_t payload = packet->size - packet->hdr_len, gso_size = packet->gso_size;
    if ((tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_RST)) || gso_size < GSO_SIZE_MIN || gso_size > GSO_SIZE_MAX ||
        payload > gso_size * GSO_PIECES_MAX)
        return false;

    if (payload <= gso_size)
        no_gso(packet);
    else
        packet->gso_type = (uint8_t)(type | (tcp_flags & TCP_FLAG_CWR ? VNET_GSO_ECN : 0));
    return true;
}

bool offload_validate(struct packet *packet, struct frame_info *info)
{
    packet->flags &= (uint8_t)~VNET_F_DATA_VALID;
    if (packet->flags == 0) {
        bool legal = packet->gso_type == VNET_GSO_NONE;
        no_gso(packet);
        packet->hdr_len = 0;
        packet->csum_start = 0;
        packet->csum_offset = 0;
        return legal;
    }
    if (packet->flags != VNET_F_NEEDS_CSUM || !parse_l3(packet, info) || !validate_csum(packet, info))
        return false;
    if (packet->gso_type == VNET_GSO_NONE) {
        packet->gso_size = 0;
        return true;
    }
    return validate_gso(packet, info);
}
