/* SPDX-License-Identifier: BSD-3-Clause */
/* Who has an address? An ARP request (RFC 826) or a neighbour solicitation (RFC 4861, 4.3). */
#include "checksum.h"
#include "icmp.h"
#include "neighbour.h"
#include "router.h"

#define ARP_FRAME_SIZE 60u /* Ethernet's smallest */
#define ND_SIZE        32u
#define ND_HOP_LIMIT   255u

static uint32_t arp_request(const struct interface *interface, const uint8_t target[16], const uint8_t *mac,
                            uint8_t *frame)
{
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 1};
    memset(frame, 0, ARP_FRAME_SIZE);
    memcpy(frame, mac ? mac : everybody, 6);
    memcpy(frame + 6, interface->mac, 6);
    store_be16(frame + 12, ETHERTYPE_ARP);
    memcpy(frame + 14, head, sizeof(head));
    memcpy(frame + 22, interface->mac, 6);
    memcpy(frame + 28, interface->ipv4 + 12, 4);
    memcpy(frame + 38, target + 12, 4);
    return ARP_FRAME_SIZE;
}

/* To the solicited-node group (RFC 4291, 2.7.1) unless the MAC is known. */
static uint32_t solicitation(const struct interface *interface, const uint8_t target[16], const uint8_t *mac,
                             uint8_t *frame)
{
    uint8_t *ip = frame + 14, *icmp = ip + 40;
    uint8_t group[16] = {0xff, 2, [11] = 1, 0xff}, group_mac[6] = {0x33, 0x33, 0xff};
    memcpy(group + 13, target + 13, 3);
    memcpy(group_mac + 3, target + 13, 3);
    memset(frame, 0, NEIGHBOUR_QUESTION_MAX);
    memcpy(frame, mac ? mac : group_mac, 6);
    memcpy(frame + 6, interface->mac, 6);
    store_be16(frame + 12, ETHERTYPE_IPV6);
    ipv6_header(ip, ND_SIZE, IP_PROTO_ICMPV6, ND_HOP_LIMIT, interface->link_local, mac ? target : group);
    icmp[0] = ICMPV6_NEIGHBOUR_SOLICITATION;
    memcpy(icmp + 8, target, 16);
    icmp[24] = icmp[25] = 1; /* source link-layer address, 8 bytes */
    memcpy(icmp + 26, interface->mac, 6);
    uint16_t checksum = (uint16_t)~ipv6_sum(ip + 8, ip + 24, IP_PROTO_ICMPV6, icmp, ND_SIZE);
    memcpy(icmp + 2, &checksum, sizeof(checksum));
    return NEIGHBOUR_QUESTION_MAX;
}

uint32_t neighbour_question(const struct interface *interface, const uint8_t target[16], const uint8_t *mac,
                            uint8_t *frame)
{
    return address_is_ipv4(target) ? arp_request(interface, target, mac, frame)
                                   : solicitation(interface, target, mac, frame);
}
