/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The virtio header in front of frames that the kernel hands over and takes: tap (12 bytes, little endian)
 * and packet sockets (10 bytes, native, which is the same on the machines that weft is for). It stands in a
 * packet's headroom, right before the frame.
 *
 * Threads: worker.
 */
#include <endian.h>
#include <string.h>
#include <sys/uio.h>
#include "packet.h"

/* A received frame of `size` bytes: header and first bytes are in private memory, the rest is at `slot`. */
static inline void vnet_header_take(struct packet_vector *vector, struct packet *packet, unsigned header_size,
                                    const uint8_t *slot, uint32_t size)
{
    struct virtio_net_header header = {0};
    memcpy(&header, packet->data - header_size, header_size);
    packet->flags = header.flags & VNET_F_NEEDS_CSUM;
    packet->gso_type = header.gso_type;
    packet->hdr_len = le16toh(header.hdr_len);
    packet->gso_size = le16toh(header.gso_size);
    packet->csum_start = le16toh(header.csum_start);
    packet->csum_offset = le16toh(header.csum_offset);
    packet->size = size;
    packet->header_size = (uint16_t)(size < PACKET_HEADER_MAX ? size : PACKET_HEADER_MAX);
    packet->spans = &vector->spans[vector->spans_used];
    packet->span_count = 0;
    if (size > PACKET_HEADER_MAX) {
        packet->spans[0] = (struct packet_span){slot, size - PACKET_HEADER_MAX};
        packet->span_count = 1;
        vector->spans_used++;
    }
}

/* Writes the header of a frame to be sent, and names it and the frame in `parts` (1 + span_count of them).
 * Returns how many. */
static inline unsigned vnet_header_put(const struct packet *packet, unsigned header_size, struct iovec *parts)
{
    struct virtio_net_header header = {
        .flags = packet->flags,
        .gso_type = packet->gso_type,
        .hdr_len = htole16(packet->hdr_len),
        .gso_size = htole16(packet->gso_size),
        .csum_start = htole16(packet->csum_start),
        .csum_offset = htole16(packet->csum_offset),
    };
    uint8_t *start = packet->data - header_size;
    memcpy(start, &header, header_size);
    parts[0] = (struct iovec){start, header_size + packet->header_size};
    for (unsigned i = 0; i < packet->span_count; i++)
        parts[1 + i] = (struct iovec){(void *)(uintptr_t)packet->spans[i].base, packet->spans[i].size};
    return 1u + packet->span_count;
}
