/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What split and packed rings have in common: life, state, translation, chains, and the workers' entry
 * points.
 *
 * Theory of operation
 *
 * A ring is usable while it is active (control's word: started, enabled, not held) and has no error (first
 * word wins, normally the worker's). Both are atomics that each worker's call looks at first. Control changes
 * anything else only after it made the ring inactive and every worker has ended its round, so the rest of the
 * struct needs no locking.
 *
 * A receive batch goes in passes, so that cache misses on guest memory overlap instead of adding up:
 *   1. descriptors: read, checked, translated; the frames' first lines are prefetched     (vring_split.c,
 * vring_packed.c)
 *   2. first HEAD_SIZE bytes of each frame copied into private memory                        (vring_copy.c)
 *   3. packets filled from the private copies                                                (vring_copy.c)
 * A transmit batch likewise: descriptors and prefetch for write, then copies, then one publication.
 *
 * A chain of one descriptor inside one region takes the fast path; everything else (chains, indirect tables,
 * region crossings, several buffers to a frame) is collected into spans by a struct chain and takes the slow
 * path. Both give the same result.
 *
 * This device uses buffers in the order they were made available and holds none between rounds. So
 * VIRTIO_F_IN_ORDER needs nothing more, and the used position of a packed ring is always the slot of the
 * oldest buffer held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vring_private.h"

static const char *const error_texts[] = {
#define X(symbol, text) [VRING_ERROR_##symbol] = text,
    VRING_ERRORS(X)
#undef X
};

const char *vring_error_text(enum vring_error error)
{
    return (unsigned)error < VRING_ERROR_COUNT ? error_texts[error] : "unknown";
}

/* --- control
 * ------------------------------------------------------------------------------------------------ */

struct vring *vring_new(bool receives, bool shared)
{
    struct vring *ring;
    int error = posix_memalign((void **)&ring, 64, sizeof(*ring));
    if (error) {
        errno = error;
        return NULL;
    }
    memset(ring, 0, sizeof(*ring));
    atomic_flag_clear(&ring->lock);
    ring->receives = receives;
    ring->shared = shared;
    ring->call_fd = -1;
    return ring;
}

void vring_free(struct vring *ring)
{
    free(ring);
}

void vring_area_sizes(uint16_t size, uint64_t features, uint64_t *desc, uint64_t *driver, uint64_t *device)
{
    *desc = (uint64_t)size * DESC_SIZE;
    if (features & VRING_F_RING_PACKED) {
        *driver = *device = sizeof(uint32_t);
        return;
    }
    /* The event index at the end is there whether negotiated or not: virtio 1.2, 2.7.6 and 2.7.8. */
    *driver = sizeof(struct split_avail) + (uint64_t)size * sizeof(uint16_t) + sizeof(uint16_t);
    *device =
        sizeof(struct split_used) + (uint64_t)size * sizeof(struct split_used_element) + sizeof(uint16_t);
}

static void update_active(struct vring *ring)
{
    atomic_store_explicit(&ring->active, ring->started && ring->enabled && ring->holds == 0,
                          memory_order_release);
}

static bool aligned(const void *pointer, uintptr_t alignment)
{
    return ((uintptr_t)pointer & (alignment - 1)) == 0;
}

/* virtio 1.2, 2.7 and 2.8.10.1 */
static bool areas_aligned(bool packed, const void *desc, const void *driver, const void *device)
{
    return aligned(desc, 16) && aligned(driver, packed ? 4 : 2) && aligned(device, 4);
}

static void set_areas(struct vring *ring, const struct memory_table *memory, void *desc, void *driver,
                      void *device)
{
    ring->memory = memory;
    ring->desc = desc;
    ring->avail = driver;
    ring->used = device;
    ring->region_guest = ring->region_size = 0;
    ring->region_host = NULL;
    ring->deaths_seen = 0;
}

int vring_start(struct vring *ring, const struct vring_config *config)
{
    bool packed = config->features & VRING_F_RING_PACKED;
    if (ring->started)
        return -EBUSY;
    if (config->size == 0 || config->size > VRING_SIZE_MAX ||
        (!packed && (config->size & (config->size - 1))) || !config->desc || !config->driver ||
        !config->device || !config->memory ||
        !areas_aligned(packed, config->desc, config->driver, config->device))
        return -EINVAL;
    ring->packed = packed;
    ring->event_idx = config->features & VRING_F_EVENT_IDX;
    ring->mergeable = config->features & VRING_F_MRG_RXBUF;
    ring->indirect = config->features & VRING_F_INDIRECT_DESC;
    ring->size = config->size;
    ring->mask = (uint16_t)(config->size - 1);
    ring->call_fd = config->call_fd;
    ring->pending_count = 0;
    set_areas(ring, config->memory, config->desc, config->driver, config->device);
    int error = packed ? vring_packed_start(ring, config) : vring_split_start(ring, config);
    if (error < 0)
        return error;
    /* A receiver that sleeps in this moment must be woken by the first frame; its first vring_rx turns kicks
     * off. */
    ring->kicks = ring->receives;
    if (packed)
        vring_packed_set_kicks(ring, ring->kicks);
    else
        vring_split_set_kicks(ring, ring->kicks);
    atomic_store(&ring->error, VRING_ERROR_NONE);
    ring->started = true;
    update_active(ring);
    return 0;
}

bool vring_started(const struct vring *ring)
{
    return ring->started;
}

void vring_stop(struct vring *ring, uint16_t *base, uint16_t *base_used)
{
    uint16_t position = 0;
    if (ring->started) {
        position = ring->used_next;
        if (ring->packed)
            position |= (uint16_t)(ring->used_wrap << 15);
    }
    *base = *base_used = position;
    ring->started = false;
    update_active(ring);
    ring->pending_count = 0;
    ring->call_fd = -1;
    set_areas(ring, NULL, NULL, NULL, NULL);
}

void vring_set_enabled(struct vring *ring, bool enabled)
{
    ring->enabled = enabled;
    update_active(ring);
}

bool vring_enabled(const struct vring *ring)
{
    return ring->enabled;
}

void vring_hold(struct vring *ring)
{
    ring->holds++;
    update_active(ring);
}

void vring_release(struct vring *ring)
{
    if (ring->holds > 0)
        ring->holds--;
    update_active(ring);
}

void vring_set_call(struct vring *ring, int call_fd)
{
    ring->call_fd = call_fd;
}

int vring_set_memory(struct vring *ring, const struct memory_table *memory, void *desc, void *driver,
                     void *device)
{
    if (!memory || !desc || !driver || !device || !areas_aligned(ring->packed, desc, driver, device))
        return -EINVAL;
    set_areas(ring, memory, desc, driver, device);
    return 0;
}

void vring_break(struct vring *ring, enum vring_error error)
{
    unsigned char none = VRING_ERROR_NONE;
    atomic_compare_exchange_strong(&ring->error, &none, (unsigned char)error);
}

enum vring_error vring_broken(const struct vring *ring)
{
    return (enum vring_error)atomic_load(&ring->error);
}

bool vring_usable(const struct vring *ring)
{
    return vring_is_usable(ring);
}

const struct vring_rx_counters *vring_rx_counters(const struct vring *ring)
{
    return &ring->counters;
}

/* --- translation and chains
 * ---------------------------------------------------------------------------------- */

uint8_t *vring_translate_slow(struct vring *ring, uint64_t address, uint32_t size)
{
    const struct memory_region *region = memory_find(ring->memory, address);
    if (!region)
        return NULL;
    uint64_t offset = address - region->guest_address;
    if (size > region->size - offset)
        return NULL;
    ring->region_guest = region->guest_address;
    ring->region_size = region->size;
    ring->region_host = region->host;
    return region->host + offset;
}

enum vring_error chain_add(struct vring *ring, struct chain *chain, uint64_t address, uint32_t size,
                           bool write)
{
    ring->walked++;
    if (write != chain->write)
        return VRING_ERROR_DIRECTION;
    struct memory_span *span = &chain->spans[chain->count];
    uint8_t *base = vring_translate(ring, address, size);
    int count;
    if (likely(base)) {
        count = size > 0;
        if (count && chain->count < chain->max)
            *span = (struct memory_span){base, size};
        else if (count)
            count = -E2BIG;
    } else {
        count = memory_translate(ring->memory, address, size, span, chain->max - chain->count);
    }
    if (count == -E2BIG)
        chain->overflow = true;
    else if (count < 0)
        return VRING_ERROR_ADDRESS;
    else
        chain->count += (unsigned)count;
    chain->total += size;
    return VRING_ERROR_NONE;
}

bool vring_read_indirect(struct vring *ring, uint64_t table, unsigned index, struct desc *desc)
{
    uint64_t address;
    if (__builtin_add_overflow(table, (uint64_t)index * DESC_SIZE, &address))
        return false;
    struct desc copy;
    const uint8_t *base = vring_translate(ring, address, DESC_SIZE);
    if (likely(base)) {
        memcpy(&copy, base, DESC_SIZE);
    } else { /* the table may cross into the next region anywhere */
        struct memory_span spans[DESC_SIZE];
        int count = memory_translate(ring->memory, address, DESC_SIZE, spans, DESC_SIZE);
        if (count < 0)
            return false;
        uint8_t *to = (uint8_t *)&copy;
        for (int i = 0; i < count; i++) {
            memcpy(to, spans[i].base, spans[i].size);
            to += spans[i].size;
        }
    }
    compiler_barrier();
    *desc = (struct desc){le64toh(copy.address), le64toh(copy.rest)};
    return true;
}

bool vring_rx_chain(struct vring *ring, struct packet_vector *vector, const struct chain *chain,
                    struct source *source)
{
    if (chain->overflow || chain->total > FRAME_MAX) {
        vring_count_drop(ring, chain->overflow ? VRING_DROP_RX_FRAGMENTED : VRING_DROP_RX_TOO_LONG);
        return false;
    }
    if (chain->total < FRAME_MIN) {
        vring_count_drop(ring, VRING_DROP_RX_RUNT);
        return false;
    }
    struct packet *packet = &vector->packets[vector->count];
    packet->spans = &vector->spans[vector->spans_used];
    packet->span_count = (uint16_t)chain->count;
    for (unsigned i = 0; i < chain->count; i++)
        packet->spans[i] = (struct packet_span){chain->spans[i].base, chain->spans[i].size};
    vector->spans_used += chain->count;
    prefetch_read(chain->spans[0].base);
    if (chain->count > 1)
        prefetch_read(chain->spans[1].base);
    *source = (struct source){NULL, (uint32_t)chain->total};
    return true;
}

/* --- workers
 * -------------------------------------------------------------------------------------------------- */

/* Once a call: has any memory of the process died since we last looked, and is it ours? */
static inline bool memory_alive(struct vring *ring)
{
    unsigned deaths = atomic_load_explicit(&memory_deaths, memory_order_relaxed);
    if (likely(deaths == ring->deaths_seen))
        return true;
    if (memory_dead(ring->memory)) {
        vring_break(ring, VRING_ERROR_MEMORY_GONE);
        return false;
    }
    ring->deaths_seen = deaths;
    return true;
}

unsigned vring_rx(struct vring *ring, struct packet_vector *vector)
{
    packet_vector_reset(vector);
    ring->pending_count = 0;
    if (unlikely(!vring_is_usable(ring) || !memory_alive(ring)))
        return 0;
    if (unlikely(ring->kicks))
        vring_disarm(ring);
    ring->walked = 0;
    return ring->packed ? vring_packed_rx(ring, vector) : vring_split_rx(ring, vector);
}

void vring_rx_done(struct vring *ring, struct notifier *notifier)
{
    if (ring->pending_count == 0 || unlikely(vring_broken(ring) != VRING_ERROR_NONE || !memory_alive(ring)))
        return;
    if (ring->packed)
        vring_packed_rx_done(ring, notifier);
    else
        vring_split_rx_done(ring, notifier);
    ring->pending_count = 0;
}

void vring_tx(struct vring *ring, struct packet *const *packets, unsigned count, struct notifier *notifier,
              struct vring_tx_result *result)
{
    *result = (struct vring_tx_result){0};
    if (ring->shared)
        while (unlikely(atomic_flag_test_and_set_explicit(&ring->lock, memory_order_acquire)))
            __builtin_ia32_pause();
    if (unlikely(!vring_is_usable(ring) || !memory_alive(ring))) {
        result->no_room = count;
    } else {
        ring->walked = 0;
        if (ring->packed)
            vring_packed_tx(ring, packets, count, notifier, result);
        else
            vring_split_tx(ring, packets, count, notifier, result);
    }
    if (ring->shared)
        atomic_flag_clear_explicit(&ring->lock, memory_order_release);
}

bool vring_arm(struct vring *ring)
{
    if (!vring_is_usable(ring) || !memory_alive(ring))
        return false;
    ring->kicks = true;
    if (ring->packed)
        vring_packed_set_kicks(ring, true);
    else
        vring_split_set_kicks(ring, true);
    full_barrier();
    return ring->packed ? vring_packed_has_work(ring) : vring_split_has_work(ring);
}

void vring_disarm(struct vring *ring)
{
    if (!vring_is_usable(ring) || !ring->kicks)
        return;
    ring->kicks = false;
    if (ring->packed)
        vring_packed_set_kicks(ring, false);
    else
        vring_split_set_kicks(ring, false);
}
