/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Software segmentation of TCP (what a NIC's TSO does), for an egress that does not take a TSO frame whole.
 *
 * The segmenter keeps a template of the frame's headers (Ethernet with tags, IP with options or extension
 * headers, TCP with options) and a cursor into the payload: first the payload bytes that are private, then
 * the spans. Each piece gets a copy of the template with the fields that differ, its share of the private
 * payload behind it, and spans that are parts of the frame's. So nothing is copied but headers, nothing is
 * allocated, and a frame of 64 KiB with a small gso_size comes in batches of at most SEGMENTER_BATCH pieces.
 *
 * Checksums start from what the frame's TCP checksum field holds: the pseudo header's sum with the frame's
 * TCP length (virtio 1.2, 5.1.6.2.1), whose length is exchanged for the piece's. A receiver that takes the
 * frame whole computes from the same field, so that both ways say the same, with an IPv6 routing header too.
 *
 * Limits: TCP over IPv4 or IPv6. TCP's urgent pointer is left as it is in every piece, like Linux does.
 */
#include <errno.h>
#include <stdlib.h>
#include "checksum.h"
#include "offload.h"

#define SEGMENTER_BATCH PACKET_VECTOR_MAX
#define SEGMENTER_SPANS PACKET_VECTOR_SPANS
#define PIECE_HEADER_MAX                                                                                     \
    (PACKET_HEADROOM + PACKET_HEADER_MAX) /* private bytes of a frame with all pushed headers */
#define TCP_SEQUENCE_OFFSET  4u
#define TCP_FLAGS_OFFSET     13u
#define TCP_CHECKSUM_OFFSET  16u
#define TCP_FLAG_FIN         0x01u
#define TCP_FLAG_PSH         0x08u
#define TCP_FLAG_CWR         0x80u
#define IPV4_TOTAL_OFFSET    2u
#define IPV4_ID_OFFSET       4u
#define IPV4_CHECKSUM_OFFSET 10u
#define IPV6_PAYLOAD_OFFSET  4u
#define IPV6_HEADER_SIZE     40u

struct segmenter {
    /* the frame */
    const uint8_t *template; /* its headers */
    const uint8_t *private_payload;
    uint32_t private_left;
    const struct packet_span *span; /* next one, of which span_offset bytes are taken */
    const struct packet_span *span_end;
    uint64_t span_offset;
    uint32_t left; /* bytes of payload not yet in a piece */
    uint32_t taken;
    uint32_t gso_size;
    uint32_t index; /* of the next piece */
    struct frame_info info;
    uint32_t header_size; /* Ethernet to TCP */
    bool complete;        /* checksums in software */
    uint16_t id;          /* IPv4: host order */
    uint32_t sequence;    /* host order */
    uint8_t tcp_flags;
    uint64_t pseudo_sum; /* without length */
    uint64_t ipv4_sum;   /* of the IPv4 header without total length, id, checksum */

    unsigned spans_used;
    struct packet pieces[SEGMENTER_BATCH];
    struct packet_span spans[SEGMENTER_SPANS];
    uint8_t memory[SEGMENTER_BATCH][PACKET_HEADROOM + PIECE_HEADER_MAX] __attribute__((aligned(64)));
};

_Static_assert(SEGMENTER_SPANS > PACKET_SPANS_MAX, "one piece always fits a batch");

/* lint: control path */
struct segmenter *segmenter_new(void)
{
    struct segmenter *segmenter = aligned_alloc(64, sizeof(*segmenter));
    if (!segmenter)
        return NULL;
    memset(segmenter, 0, sizeof(*segmenter));
    for (unsigned i = 0; i < SEGMENTER_BATCH; i++) {
        segmenter->pieces[i].buffer = segmenter->memory[i];
        segmenter->pieces[i].data = segmenter->memory[i] + PACKET_HEADROOM;
    }
    return segmenter;
}

/* lint: control path */
void segmenter_free(struct segmenter *segmenter)
{
    free(segmenter);
}

/* Sums that all pieces share. The complement of a word takes it out of a sum (RFC 1624). */
static void start_sums(struct segmenter *segmenter)
{
    const struct frame_info *info = &segmenter->info;
    const uint8_t *ip = segmenter->template + info->l3_offset, *tcp = segmenter->template + info->l4_offset;
    uint16_t partial, length = htobe16((uint16_t)(info->l3_end - info->l4_offset));
    memcpy(&partial, tcp + TCP_CHECKSUM_OFFSET, sizeof(partial));
    segmenter->pseudo_sum = (uint64_t)partial + (uint16_t)~length;

    segmenter->ipv4_sum = 0;
    if (info->flags & FRAME_F_IPV4) {
        uint16_t words[3];
        memcpy(&words[0], ip + IPV4_TOTAL_OFFSET, 2);
        memcpy(&words[1], ip + IPV4_ID_OFFSET, 2);
        memcpy(&words[2], ip + IPV4_CHECKSUM_OFFSET, 2);
        segmenter->id = load_be16(ip + IPV4_ID_OFFSET);
        segmenter->ipv4_sum = checksum_sum(ip, (uint32_t)info->l4_offset - info->l3_offset);
        for (unsigned i = 0; i < 3; i++)
            segmenter->ipv4_sum += (uint16_t)~words[i];
    }
}

void segmenter_start(struct segmenter *segmenter, const struct packet *packet, uint32_t offloads)
{
    struct frame_info *info = &segmenter->info;
    segmenter->left = 0;
    if (packet->gso_size == 0 || packet->header_size > PIECE_HEADER_MAX || !parse_l2(packet, info) ||
        !parse_l3(packet, info) || !(info->flags & FRAME_F_L4) || info->ip_proto != IP_PROTO_TCP ||
        info->l3_end != packet->size)
        return;

    uint32_t sequence;
    segmenter->header_size = (uint32_t)info->l4_offset + info->l4_header_size;
    segmenter->template = packet->data;
    segmenter->private_payload = packet->data + segmenter->header_size;
    segmenter->private_left = packet->header_size - segmenter->header_size;
    segmenter->span = packet->spans;
    segmenter->span_end = packet->spans + packet->span_count;
    segmenter->span_offset = 0;
    segmenter->left = packet->size - segmenter->header_size;
    segmenter->taken = 0;
    segmenter->index = 0;
    segmenter->gso_size = packet->gso_size;
    segmenter->complete = !(offloads & OFFLOAD_CSUM);
    memcpy(&sequence, packet->data + info->l4_offset + TCP_SEQUENCE_OFFSET, sizeof(sequence));
    segmenter->sequence = be32toh(sequence);
    segmenter->tcp_flags = packet->data[info->l4_offset + TCP_FLAGS_OFFSET];
    start_sums(segmenter);
}

/* The next `payload` bytes of payload go to the piece, behind its headers. False: not enough spans left. */
static bool take_payload(struct segmenter *segmenter, struct packet *piece, uint32_t payload)
{
    uint32_t from_private = segmenter->private_left < payload ? segmenter->private_left : payload;
    uint64_t rest = payload - from_private, offset = segmenter->span_offset;
    const struct packet_span *span = segmenter->span;
    unsigned used = segmenter->spans_used;

    while (rest > 0) {
        if (used == SEGMENTER_SPANS || span == segmenter->span_end)
            return false;
        uint64_t part = span->size - offset < rest ? span->size - offset : rest;
        segmenter->spans[used++] = (struct packet_span){span->base + offset, part};
        rest -= part;
        offset += part;
        if (offset == span->size) {
            span++;
            offset = 0;
        }
    }
    memcpy(piece->data + segmenter->header_size, segmenter->private_payload, from_private);
    segmenter->private_payload += from_private;
    segmenter->private_left -= from_private;
    piece->spans = &segmenter->spans[segmenter->spans_used];
    piece->span_count = (uint16_t)(used - segmenter->spans_used);
    piece->header_size = (uint16_t)(segmenter->header_size + from_private);
    piece->size = segmenter->header_size + payload;
    segmenter->spans_used = used;
    segmenter->span = span;
    segmenter->span_offset = offset;
    return true;
}

static void write_ip(const struct segmenter *segmenter, struct packet *piece)
{
    uint8_t *ip = piece->data + segmenter->info.l3_offset;
    uint32_t total = piece->size - segmenter->info.l3_offset;
    if (segmenter->info.flags & FRAME_F_IPV6) {
        store_be16(ip + IPV6_PAYLOAD_OFFSET, total - IPV6_HEADER_SIZE);
        return;
    }
    uint16_t id = (uint16_t)(segmenter->id + segmenter->index);
    uint16_t checksum =
        (uint16_t)~checksum_fold(segmenter->ipv4_sum + htobe16((uint16_t)total) + htobe16(id));
    store_be16(ip + IPV4_TOTAL_OFFSET, total);
    store_be16(ip + IPV4_ID_OFFSET, id);
    memcpy(ip + IPV4_CHECKSUM_OFFSET, &checksum, sizeof(checksum));
}

static void write_tcp(const struct segmenter *segmenter, struct packet *piece, bool last)
{
    uint8_t *tcp = piece->data + segmenter->info.l4_offset;
    uint32_t sequence = htobe32(segmenter->sequence + segmenter->taken);
    uint16_t length = htobe16((uint16_t)(piece->size - segmenter->info.l4_offset));
    uint16_t partial = checksum_fold(segmenter->pseudo_sum + length);
    uint8_t flags = segmenter->tcp_flags;
    if (!last)
        flags &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PSH);
    if (segmenter->index > 0)
        flags &= (uint8_t)~TCP_FLAG_CWR; /* RFC 3168, 6.1.2: once */
    memcpy(tcp + TCP_SEQUENCE_OFFSET, &sequence, sizeof(sequence));
    tcp[TCP_FLAGS_OFFSET] = flags;
    memcpy(tcp + TCP_CHECKSUM_OFFSET, &partial, sizeof(partial));

    piece->flags = VNET_F_NEEDS_CSUM;
    piece->gso_type = VNET_GSO_NONE;
    piece->gso_size = 0;
    piece->hdr_len = (uint16_t)segmenter->header_size;
    piece->csum_start = segmenter->info.l4_offset;
    piece->csum_offset = TCP_CHECKSUM_OFFSET;
    if (segmenter->complete)
        checksum_complete(piece);
}

unsigned segmenter_next(struct segmenter *segmenter, struct packet **pieces, unsigned count)
{
    unsigned made = 0;
    segmenter->spans_used = 0;
    if (count > SEGMENTER_BATCH)
        count = SEGMENTER_BATCH;
    while (made < count && segmenter->left > 0) {
        struct packet *piece = &segmenter->pieces[made];
        uint32_t payload = segmenter->left < segmenter->gso_size ? segmenter->left : segmenter->gso_size;
        if (!take_payload(segmenter, piece, payload))
            break;
        memcpy(piece->data, segmenter->template, segmenter->header_size);
        write_ip(segmenter, piece);
        write_tcp(segmenter, piece, payload == segmenter->left);
        segmenter->left -= payload;
        segmenter->taken += payload;
        segmenter->index++;
        pieces[made++] = piece;
    }
    return made;
}
