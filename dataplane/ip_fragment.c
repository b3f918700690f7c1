/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fragment's header and first bytes are in a packet of the stage's own, the rest of it are the source's
 * spans (no payload is copied). Fragments are sent one by one, each before the next is made, so that one
 * packet of the stage's serves them all. Options are copied to the later fragments if their copy flag says
 * so.
 *
 * Limits: a checksum that is still a request is completed first. A TSO frame whose segments do not fit comes
 * here only if it may be fragmented, which no TCP of today says; it is cut into segments of its own gso_size
 * first.
 */
#include "ip_fragment.h"

#include "checksum.h"
#include "program.h"
#include "router_private.h"

#define IPV4_HEADER_MIN 20u
#define MORE_FRAGMENTS  0x2000u
#define OFFSET_MASK     0x1fffu
#define OPTION_COPIED   0x80u
#define OPTION_NOP      1u

/* Where the next payload byte is. */
struct payload {
    const struct packet *packet;
    uint32_t private; /* bytes of the private part taken, headers included */
    unsigned span;
    uint64_t span_offset;
};

/* Options that later fragments do not bear become no-operations. */
static void blank_options(uint8_t *ip, uint32_t size)
{
    for (uint32_t at = IPV4_HEADER_MIN; at < size && ip[at] != 0;) {
        uint32_t length = ip[at] == OPTION_NOP ? 1u : ip[at + 1];
        if (ip[at] != OPTION_NOP && !(ip[at] & OPTION_COPIED))
            memset(ip + at, OPTION_NOP, length);
        at += length;
    }
}

/* The next `size` bytes of payload behind the headers of the piece. False: more spans than there may be. */
static bool take(struct payload *payload, struct packet *piece, uint32_t size)
{
    const struct packet *packet = payload->packet;
    uint32_t left = packet->header_size - payload->private, here = left < size ? left : size;
    memcpy(piece->data + piece->header_size, packet->data + payload->private, here);
    payload->private += here;
    piece->header_size = (uint16_t)(piece->header_size + here);
    piece->span_count = 0;
    for (uint64_t rest = size - here; rest > 0;) {
        const struct packet_span *span = &packet->spans[payload->span];
        uint64_t part = span->size - payload->span_offset;
        part = part < rest ? part : rest;
        if (piece->span_count == PACKET_SPANS_MAX)
            return false;
        piece->spans[piece->span_count++] = (struct packet_span){span->base + payload->span_offset, part};
        rest -= part;
        payload->span_offset += part;
        if (payload->span_offset == span->size) {
            payload->span++;
            payload->span_offset = 0;
        }
    }
    return true;
}

/* A piece that was delivered to another router port is looked at in the next pass, when its memory has been
 * used again: it goes on in a copy. */
static void keep_queued(struct router_stage *stage, unsigned before)
{
    while (stage->count > before) {
        struct routed *routed = &stage->queue[before];
        struct packet *copy = router_copy(stage, routed->packet->size);
        if (copy && router_flatten(routed->packet, copy->data, ROUTER_COPY_SIZE)) {
            router_copy_finish(copy, routed->packet->size);
            routed->packet = copy;
        } else {
            routed->packet = NULL; /* counted when its turn comes */
        }
        before++;
    }
}

void router_send_piece(struct program *program, const struct interface *out, struct packet *piece,
                       uint64_t mac)
{
    struct router_stage *stage = program->router;
    unsigned before = stage->count;
    router_send(program, out, piece, mac);
    router_flush(program);
    keep_queued(stage, before);
}

/* False: it could not be cut to the end. */
static bool cut(struct program *program, const struct packet *packet, const struct frame_info *info,
                const struct interface *out, uint64_t mac)
{
    struct router_piece *scratch = program->router->piece;
    const uint8_t *ip = packet->data + ETHERNET_HEADER_SIZE;
    uint32_t header = (uint32_t)info->l4_offset - ETHERNET_HEADER_SIZE, left = info->l3_end - info->l4_offset;
    uint32_t most = (out->mtu - header) & ~7u, word = load_be16(ip + 6), offset = 0;
    struct payload payload = {.packet = packet, .private = info->l4_offset};
    while (left > 0) {
        struct packet *piece = &scratch->packet;
        uint32_t size = left < most ? left : most;
        *piece = (struct packet){.buffer = scratch->memory,
                                 .data = scratch->memory + PACKET_HEADROOM,
                                 .spans = scratch->spans,
                                 .header_size = info->l4_offset,
                                 .size = info->l4_offset + size};
        memcpy(piece->data, packet->data, info->l4_offset);
        if (!take(&payload, piece, size))
            return false;
        uint8_t *own = piece->data + ETHERNET_HEADER_SIZE;
        left -= size;
        store_be16(own + 2, header + size);
        store_be16(own + 6,
                   ((word & OFFSET_MASK) + offset / 8) | (left ? MORE_FRAGMENTS : word & MORE_FRAGMENTS));
        if (offset)
            blank_options(own, header);
        own[10] = own[11] = 0;
        uint16_t checksum = (uint16_t)~checksum_fold(checksum_sum(own, header));
        memcpy(own + 10, &checksum, sizeof(checksum));
        router_send_piece(program, out, piece, mac);
        offset += size;
    }
    return true;
}

static bool cut_segments(struct program *program, const struct packet *packet, const struct frame_info *info,
                         const struct interface *out, uint64_t mac)
{
    struct segmenter *segmenter = program->router->segmenter;
    struct packet *segment;
    bool whole = true;
    segmenter_start(segmenter, packet, 0);
    while (whole && segmenter_next(segmenter, &segment, 1) > 0) {
        struct frame_info own = *info;
        own.l3_end = segment->size;
        whole = cut(program, segment, &own, out, mac);
    }
    return whole;
}

void ip_fragment(struct program *program, struct routed *routed, const struct interface *out, uint64_t mac)
{
    struct packet *packet = routed->packet;
    bool gso = packet->gso_type != VNET_GSO_NONE, whole;
    if (!gso && packet->flags & VNET_F_NEEDS_CSUM && !checksum_complete(packet)) {
        router_drop(program, routed, DP_DROP_TX_CHECKSUM);
        return;
    }
    router_flush(program);
    whole = gso ? cut_segments(program, packet, &routed->info, out, mac)
                : cut(program, packet, &routed->info, out, mac);
    if (whole)
        router_taken(program, routed);
    else
        router_drop(program, routed, DP_DROP_L3_MTU);
}
