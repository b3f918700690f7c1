/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The control thread's side of a ring (vring.h is the workers' side). Private to vhost/: backend.c is its
 * user.
 *
 * The life of a ring
 *   vring_new     allocated once; the pointer never changes. Not usable.
 *   vring_start   takes size, features, memory, areas, positions. Usable if it is also enabled and not held.
 *   vring_hold    not usable from now on. After the hold AND quiesce() (every worker has ended the round,
 * with its notifier_flush) no worker touches the ring, its memory or its call descriptor. vring_stop    gives
 * the positions back, forgets memory and areas. The error is forgotten at the next vring_start. vring_free
 *
 * vring_start, _stop, _set_memory, _set_call and _free may be called only while the ring is not usable AND
 * quiesce() has passed since it turned so. Pattern for each change: vring_hold(ring); quiesce(); change;
 * vring_release(ring); One quiesce serves all rings that were held before it. A broken ring is not usable,
 * but a worker may still be inside the round in which it broke: quiesce all the same.
 *
 * Threads: everything here belongs to the control thread, except vring_break (any thread).
 * Errors: 0 or -errno.
 */
#include "memory.h"
#include "vring.h"

/* Virtio feature bits that the rings act on (virtio 1.2, 6 and 5.1.3). */
#define VRING_F_MRG_RXBUF     (1ull << 15)
#define VRING_F_INDIRECT_DESC (1ull << 28)
#define VRING_F_EVENT_IDX     (1ull << 29)
#define VRING_F_VERSION_1     (1ull << 32)
#define VRING_F_RING_PACKED   (1ull << 34)
#define VRING_F_IN_ORDER      (1ull << 35)

struct vring_config {
    uint16_t size;     /* descriptors: split: power of two up to VRING_SIZE_MAX, packed: 1..VRING_SIZE_MAX */
    uint64_t features; /* negotiated virtio features */
    const struct memory_table *memory; /* must live until vring_stop/_set_memory and a grace period */
    /* Where the areas are in this process: each wholly inside one region (memory_user_range with the sizes of
     * vring_area_sizes), aligned to 16, 2, 4 bytes (split; virtio 1.2, 2.7) or 16, 4, 4 (packed; 2.8). */
    void *desc;
    void *driver; /* avail ring / driver event suppression */
    void *device; /* used ring / device event suppression */
    /* Positions as in SET_VRING_BASE. Split: base is the next avail index, base_used is ignored. Packed: bits
     * 0-14 the index, bit 15 the wrap counter. This device uses buffers in order and holds none between
     * rounds, so its next avail position is its used position: where the two differ (the device died holding
     * buffers) the used one (split: the index in the used ring) is where both continue, and the buffers in
     * between are taken again. */
    uint16_t base;
    uint16_t base_used;
    int call_fd; /* eventfd, stays the caller's; -1: never signal */
};

/* receives: frames that the guest transmits (vring_rx); else frames to the guest (vring_tx). shared: several
 * workers call vring_tx. NULL and errno. */
struct vring *vring_new(bool receives, bool shared);
void vring_free(struct vring *ring); /* NULL is fine */

/* Bytes of the three areas for a ring of `size` descriptors (virtio 1.2, 2.7 and 2.8.13). */
void vring_area_sizes(uint16_t size, uint64_t features, uint64_t *desc, uint64_t *driver, uint64_t *device);

/* Clears the error, takes the positions. -EINVAL: size, alignment or a position that cannot be; -EBUSY:
 * started. */
int vring_start(struct vring *ring, const struct vring_config *config);
bool vring_started(const struct vring *ring);
/* Positions in the form of vring_config. Split: *base_used is the used index. Both 0 if the ring was not
 * started. */
void vring_stop(struct vring *ring, uint16_t *base, uint16_t *base_used);

/* Takes effect at once (true) or at the end of the workers' rounds (false). A new ring is disabled. */
void vring_set_enabled(struct vring *ring, bool enabled);
bool vring_enabled(const struct vring *ring);
/* Nested: usable again after as many releases as holds. */
void vring_hold(struct vring *ring);
void vring_release(struct vring *ring);

void vring_set_call(struct vring *ring, int call_fd);
/* The areas' new host addresses come with the new table: all four are replaced. -EINVAL: alignment. */
int vring_set_memory(struct vring *ring, const struct memory_table *memory, void *desc, void *driver,
                     void *device);

/* Breaks the ring; the first error stays. */
void vring_break(struct vring *ring, enum vring_error error);
