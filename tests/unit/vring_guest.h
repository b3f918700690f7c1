/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A guest for ring tests: memory in a memfd (seen by the test in one mapping, by the device in regions cut
 * where the test wants), one virtqueue in it, split or packed, and the driver's side of that virtqueue with
 * every legal layout of a buffer. Plain and slow on purpose: it is the second opinion on what the
 * specification says (virtio 1.2, 2.7, 2.8).
 */
#include <stdbool.h>
#include <stdint.h>
#include "memory.h"
#include "vring.h"
#include "vring_config.h"

#define GUEST_BASE   0x40000000ull /* guest address of the first byte */
#define GUEST_USER   0x7e0000000000ull
#define GUEST_RINGS  (256u * 1024)                /* bytes at the start that hold the rings */
#define GUEST_TABLES (GUEST_RINGS + 1024u * 1024) /* indirect tables up to here; buffers after it */
#define GUEST_CUTS   8u

struct guest_piece {
    uint64_t address; /* guest physical */
    uint32_t size;    /* bytes */
    bool write;       /* for the device */
};

enum guest_layout {
    GUEST_DIRECT,
    GUEST_INDIRECT,
    GUEST_MIXED, /* split rings: the first piece direct, the others in an indirect table */
    GUEST_LAYOUTS
};

struct guest_setup {
    bool packed;
    bool receives; /* the device's view: vring_rx */
    bool shared;
    uint16_t size;
    uint64_t features;         /* in addition to VERSION_1, INDIRECT_DESC and RING_PACKED as `packed` says */
    uint64_t without;          /* features taken off again */
    uint16_t base;             /* split: index to start from; packed: position and wrap counter */
    uint32_t memory;           /* bytes; 0: 4 MiB */
    uint32_t cuts[GUEST_CUTS]; /* offsets, multiples of 4096, at which a new region starts; 0: end of list */
    int call_fd;               /* 0 and -1: none */
};

struct guest {
    struct guest_setup setup;
    int fd;
    uint8_t *bytes; /* the test's mapping */
    struct memory_table *table;
    struct vring *ring;
    /* the areas in the test's mapping */
    uint8_t *desc, *driver, *device;
    /* driver state */
    uint16_t next_desc; /* split: next free descriptor; packed: next slot */
    uint16_t avail;     /* split: index to publish */
    uint16_t used;      /* split: index seen; packed: slot */
    bool avail_wrap, used_wrap;
    unsigned free_count;  /* descriptors */
    uint16_t held[65536]; /* descriptors of buffer id */
    uint16_t next_id;     /* packed */
    uint64_t next_table;  /* offset */
    /* packed: the first descriptor of what is added but not yet published */
    bool first_valid;
    uint16_t first_slot, first_flags;
};

struct guest *guest_new(const struct guest_setup *setup);
void guest_free(struct guest *guest);
static inline uint8_t *guest_at(struct guest *guest, uint64_t address)
{
    return guest->bytes + (address - GUEST_BASE);
}
/* Adds one buffer; becomes visible with guest_publish. Buffer id, -1: no descriptors left. */
int guest_add(struct guest *guest, const struct guest_piece *pieces, unsigned count,
              enum guest_layout layout);
void guest_publish(struct guest *guest);
/* Next buffer that the device returned. */
bool guest_used(struct guest *guest, uint16_t *id, uint32_t *size);

/* Raw access for hostile tests. */
void guest_desc(struct guest *guest, unsigned slot, uint64_t address, uint32_t length, uint16_t third,
                uint16_t fourth);
void guest_set16(uint8_t *at, uint16_t value);
uint16_t guest_get16(const uint8_t *at);

/* A vector, wired. */
struct packet_vector *vector_new(void);
/* The packet's bytes, all of them, into `to` (PACKET_SIZE_MAX bytes). */
void packet_bytes(const struct packet *packet, uint8_t *to);
/* A packet of its own: `size` bytes of which `private_size` are private and the rest is cut into `spans`
 * spans. The bytes stay the caller's but for the private ones. */
struct packet *packet_make(const uint8_t *bytes, uint32_t size, uint32_t private_size, unsigned spans);
void packet_free(struct packet *packet);

uint32_t random_below(uint32_t limit);
void random_bytes(void *to, size_t size);
