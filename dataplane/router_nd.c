/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbour discovery (RFC 4861) at a router port: solicitations for its addresses are answered,
 * advertisements of neighbours that were asked for go to the control thread, router solicitations to the
 * controller. Messages are valid as 6.1.1, 7.1.1 and 7.1.2 say: hop limit 255, code 0, whole, checksum right,
 * options of no zero length.
 */
#include "checksum.h"
#include "icmp.h"
#include "program.h"
#include "router_private.h"

#define IPV6_HEADER_SIZE 40u
#define MESSAGE_MAX      512u /* bytes of a message that is looked at */
#define ND_SIZE          24u  /* solicitation or advertisement without options */
#define RS_SIZE          8u
#define HOP_LIMIT        255u
#define OPTION_SOURCE    1u
#define OPTION_TARGET    2u
#define OPTION_SIZE      8u
#define ADVERT_ROUTER    0x80u
#define ADVERT_SOLICITED 0x40u
#define ADVERT_OVERRIDE  0x20u

struct message {
    const uint8_t *source, *destination; /* IPv6 addresses */
    uint8_t bytes[MESSAGE_MAX];
    uint32_t size;
    const uint8_t *link_layer; /* of the option of the message's kind; NULL: none */
};

/* Copies the message out of the packet and checks it. */
static bool message_read(const struct routed *routed, struct message *message)
{
    const struct packet *packet = routed->packet;
    const struct frame_info *info = &routed->info;
    const uint8_t *ip = packet->data + ETHERNET_HEADER_SIZE;
    uint8_t frame[ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE + MESSAGE_MAX];
    uint32_t offset = ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE;
    /* without extension headers: secure neighbour discovery does without too */
    if (info->l4_offset != offset || info->flags & FRAME_F_FRAGMENT || ip[7] != HOP_LIMIT ||
        !router_flatten(packet, frame, sizeof(frame)))
        return false;
    message->source = ip + 8;
    message->destination = ip + 24;
    message->size = packet->size - offset;
    memcpy(message->bytes, frame + offset, message->size);
    return message->size >= RS_SIZE && message->bytes[1] == 0 &&
           ipv6_sum(ip + 8, ip + 24, IP_PROTO_ICMPV6, message->bytes, message->size) == 0xffff;
}

/* Finds the link-layer address option. False: an option of size 0 or cut short. */
static bool options_read(struct message *message, uint32_t from, uint8_t wanted)
{
    message->link_layer = NULL;
    while (from < message->size) {
        const uint8_t *option = message->bytes + from;
        uint32_t left = message->size - from, size = left >= 2 ? option[1] * 8u : 0;
        if (size == 0 || size > left)
            return false;
        if (option[0] == wanted && size == OPTION_SIZE)
            message->link_layer = option + 2;
        from += size;
    }
    return true;
}

static bool is_ours(const struct program *program, const struct interface *in, const uint8_t address[16])
{
    return (!(in->flags & DP_INTERFACE_F_ASK_KERNEL) &&
            (address_equal(address, in->ipv6) || address_equal(address, in->link_local))) ||
           router_nat_answers(program, in, address);
}

/* An advertisement of `target`, to who asked; to all nodes if the asker has no address yet (7.2.4). */
static void advertise(struct program *program, const struct routed *routed, const struct message *asked,
                      const uint8_t target[16])
{
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1}, all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    const struct interface *in = routed->in;
    bool detection = address_is_zero(asked->source);
    uint32_t size = ND_SIZE + OPTION_SIZE;
    struct packet *packet = router_copy(program->router, ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE + size);
    if (!packet)
        return;
    uint8_t *data = packet->data, *ip = data + ETHERNET_HEADER_SIZE, *icmp = ip + IPV6_HEADER_SIZE;
    memset(data, 0, ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE + size);
    memcpy(data, detection ? all_nodes_mac : routed->packet->data + 6, 6);
    memcpy(data + 6, in->mac, 6);
    store_be16(data + 12, ETHERTYPE_IPV6);
    ipv6_header(ip, size, IP_PROTO_ICMPV6, HOP_LIMIT, target, detection ? all_nodes : asked->source);
    icmp[0] = ICMPV6_NEIGHBOUR_ADVERT;
    icmp[4] = ADVERT_ROUTER | ADVERT_OVERRIDE | (detection ? 0 : ADVERT_SOLICITED);
    memcpy(icmp + 8, target, 16);
    icmp[ND_SIZE] = OPTION_TARGET;
    icmp[ND_SIZE + 1] = 1;
    memcpy(icmp + ND_SIZE + 2, in->mac, 6);
    uint16_t checksum = (uint16_t)~ipv6_sum(ip + 8, ip + 24, IP_PROTO_ICMPV6, icmp, size);
    memcpy(icmp + 2, &checksum, sizeof(checksum));
    router_copy_finish(packet, ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE + size);
    router_emit(program, in, packet);
}

static void solicitation(struct program *program, struct routed *routed, struct message *message)
{
    const uint8_t *target = message->bytes + 8;
    if (message->size < ND_SIZE || target[0] == 0xff || !options_read(message, ND_SIZE, OPTION_SOURCE))
        return;
    if (address_is_zero(message->source) && (message->link_layer || message->destination[0] != 0xff))
        return;
    if (message->link_layer && memcmp(message->link_layer, routed->packet->data + 6, 6) == 0)
        router_seen(program, routed, message->source, message->link_layer, false, true);
    if (is_ours(program, routed->in, target))
        advertise(program, routed, message, target);
}

static void advertisement(struct program *program, struct routed *routed, struct message *message)
{
    const uint8_t *target = message->bytes + 8, *source = routed->packet->data + 6;
    uint8_t flags = message->bytes[4];
    if (message->size < ND_SIZE || target[0] == 0xff || !options_read(message, ND_SIZE, OPTION_TARGET) ||
        (message->destination[0] == 0xff && flags & ADVERT_SOLICITED))
        return;
    if (message->link_layer && memcmp(message->link_layer, source, 6) != 0)
        return; /* by who has it, not by a third one */
    router_seen(program, routed, target, message->link_layer ? message->link_layer : source,
                flags & ADVERT_SOLICITED, flags & ADVERT_OVERRIDE);
}

bool router_nd(struct program *program, struct routed *routed)
{
    struct message message;
    const struct frame_info *info = &routed->info;
    uint8_t type = info->flags & FRAME_F_L4 ? routed->packet->data[info->l4_offset] : 0;
    if (type < ICMPV6_ROUTER_SOLICITATION || type > 137)
        return false;
    if (!message_read(routed, &message)) {
        router_drop(program, routed, DP_DROP_L3_MALFORMED);
        return true;
    }
    if (type == ICMPV6_ROUTER_SOLICITATION && routed->in->flags & DP_INTERFACE_F_PUNT_RS) {
        if (router_punt(program, routed, DP_PUNT_RS))
            router_taken(program, routed);
        else
            router_drop(program, routed, DP_DROP_L3_PUNT);
        return true;
    }
    router_taken(program, routed);
    if (type == ICMPV6_NEIGHBOUR_SOLICITATION)
        solicitation(program, routed, &message);
    else if (type == ICMPV6_NEIGHBOUR_ADVERT)
        advertisement(program, routed, &message);
    return true;
}
