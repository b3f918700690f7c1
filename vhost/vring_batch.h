/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * How a batch passes through a ring: what its passes hand to each other, prefetches, copies. Shared by
 * vring.c, vring_split.c, vring_packed.c and vring_copy.c; the worker inside the ring calls everything here.
 */
#include "vring_private.h"

/* The region hit last, where no store to guest memory makes the compiler read it again. */
struct view {
    uint64_t guest, size;
    uint8_t *host;
    struct vring *ring;
};

static inline struct view vring_view(struct vring *ring)
{
    return (struct view){ring->region_guest, ring->region_size, ring->region_host, ring};
}

static inline uint8_t *view_translate(const struct view *view, uint64_t address, uint32_t size)
{
    uint64_t offset = address - view->guest;
    if (likely(offset < view->size && size <= view->size - offset))
        return view->host + offset;
    return vring_translate_slow(view->ring, address, size);
}

/* Frames found by a receive pass, before their first bytes are copied. */
struct source {
    const uint8_t *base; /* the whole chain is here; NULL: it is in the packet's spans */
    uint32_t size;       /* bytes with the virtio header, FRAME_MIN..FRAME_MAX */
};

/* What a transmit pass found: `base` has room for the packet and its virtio header. */
struct sink {
    uint8_t *base;
    const struct packet *packet;
};

/* The packet's offload fields are laid out as in struct virtio_net_header: they are copied, not converted. */
_Static_assert(offsetof(struct packet, gso_type) == offsetof(struct packet, flags) + 1 &&
                   offsetof(struct packet, hdr_len) == offsetof(struct packet, flags) + 2 &&
                   offsetof(struct packet, gso_size) == offsetof(struct packet, flags) + 4 &&
                   offsetof(struct packet, csum_start) == offsetof(struct packet, flags) + 6 &&
                   offsetof(struct packet, csum_offset) == offsetof(struct packet, flags) + 8 &&
                   __BYTE_ORDER == __LITTLE_ENDIAN,
               "offload fields are a virtio header");

/* vring_copy.c */
/* Fills vector->packets[0..count) from as many sources. */
void vring_copy_in(struct packet_vector *vector, const struct source *sources);
void vring_copy_out(const struct sink *sinks, unsigned count);
/* Writes header, private bytes and spans into pieces that hold at least that many bytes. */
void vring_copy_out_pieces(const struct memory_span *pieces, const struct packet *packet,
                           uint16_t num_buffers);

static inline void prefetch_read(const void *address)
{
    __builtin_prefetch(address, 0, 3);
}

static inline void prefetch_write(const void *address)
{
    __builtin_prefetch(address, 1, 3);
}

/* The lines that vring_copy_in reads. (The third: 55 to 35 cycles a packet in vring_rx between cores.) */
static inline void prefetch_head(const uint8_t *base, uint32_t size)
{
    prefetch_read(base);
    prefetch_read(base + 64);
    if (size > 128)
        prefetch_read(base + 128);
}
