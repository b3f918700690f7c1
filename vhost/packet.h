/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A frame on its way through the switch.
 *
 * The first bytes of a frame (at most PACKET_HEADER_MAX) are copied once into the packet's private memory;
 * whatever follows stays where it is (guest memory, a mbuf, a read buffer) and is named by bounded spans.
 * Everything that decides (parse, filter, rewrite) looks at private bytes only, so a guest that rewrites its
 * buffer meanwhile can change its own payload and nothing else.
 *
 * This header lives in vhost/ because the rings fill packets and vhost/ may include nothing above it.
 *
 * Threads: a packet vector belongs to one worker. Nothing in it outlives the round: the spans are valid from
 * the receive call of the source until the matching "done" call.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PACKET_HEADROOM     128u   /* bytes before the frame: virtio header, pushed tags, tunnel headers */
#define PACKET_HEADER_MAX   128u   /* private bytes of a frame as received */
#define PACKET_SIZE_MAX     65600u /* bytes: 64 KiB IP packet, Ethernet header and four tags */
#define PACKET_SIZE_MIN     14u    /* bytes: an Ethernet header */
#define PACKET_SPANS_MAX    256u   /* spans of one frame */
#define PACKET_VECTOR_MAX   64u    /* frames of one vector */
#define PACKET_VECTOR_SPANS 1024u  /* spans of one vector; > PACKET_SPANS_MAX + PACKET_VECTOR_MAX */

/* virtio 1.2, 5.1.6: struct virtio_net_hdr, with num_buffers (always present with VERSION_1). Little endian.
 */
struct virtio_net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t num_buffers;
} __attribute__((packed));

#define VIRTIO_NET_HEADER_SIZE 12u /* bytes */

/* virtio_net_header.flags and .gso_type, virtio 1.2, 5.1.6 */
#define VNET_F_NEEDS_CSUM 1u
#define VNET_F_DATA_VALID 2u
#define VNET_GSO_NONE     0u
#define VNET_GSO_TCPV4    1u
#define VNET_GSO_UDP      3u
#define VNET_GSO_TCPV6    4u
#define VNET_GSO_UDP_L4   5u
#define VNET_GSO_ECN      0x80u

/* A piece of payload. Points to memory that its owner may change at any time: copy, never interpret. */
struct packet_span {
    const uint8_t *base;
    uint64_t size; /* bytes, > 0 */
};

struct packet {
    uint8_t *data; /* first byte of the frame, in private memory, >= PACKET_HEADROOM/2 bytes before it
                      at reception */
    struct packet_span *spans; /* the frame's bytes after data[0..header_size) */
    uint32_t size;             /* bytes of the frame: header_size + sum of the spans */
    uint16_t header_size;      /* private bytes, >= min(size, PACKET_HEADER_MAX) at reception */
    uint16_t span_count;
    /* Offload request (virtio 1.2, 5.1.6.2), host order, offsets in bytes from data. The receive side copies
     * what the guest said; offload_validate() in dataplane/ makes it true or drops the frame. */
    uint8_t flags;    /* VNET_F_* */
    uint8_t gso_type; /* VNET_GSO_* */
    uint16_t hdr_len;
    uint16_t gso_size; /* bytes of payload a segment */
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t slot;   /* for the receive side's own use */
    uint8_t *buffer; /* private memory: PACKET_HEADROOM + PACKET_HEADER_MAX bytes, 64-byte aligned */
} __attribute__((aligned(64)));

struct packet_vector {
    unsigned count;      /* packets[0..count) are valid */
    unsigned spans_used; /* spans[0..spans_used) are taken */
    struct packet packets[PACKET_VECTOR_MAX];
    struct packet_span spans[PACKET_VECTOR_SPANS];
    uint8_t memory[PACKET_VECTOR_MAX][PACKET_HEADROOM + PACKET_HEADER_MAX] __attribute__((aligned(64)));
};

/* Once, after allocation (64-byte aligned): wires each packet to its private memory. */
static inline void packet_vector_init(struct packet_vector *vector)
{
    vector->count = 0;
    vector->spans_used = 0;
    for (unsigned i = 0; i < PACKET_VECTOR_MAX; i++) {
        struct packet *packet = &vector->packets[i];
        memset(packet, 0, sizeof(*packet));
        packet->buffer = vector->memory[i];
        packet->data = packet->buffer + PACKET_HEADROOM;
        packet->spans = vector->spans;
    }
}

/* Before each reception. */
static inline void packet_vector_reset(struct packet_vector *vector)
{
    vector->count = 0;
    vector->spans_used = 0;
}
