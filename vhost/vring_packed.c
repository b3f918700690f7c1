/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed virtqueues, device side (virtio 1.2, 2.8). See vring.c for the theory of operation.
 *
 * Buffers are returned in order, so a used descriptor goes into the very slot where its buffer began. The
 * driver reads used descriptors in order too and stops at the first that is not marked: so all but the first
 * of a batch are written as they come, and storing the first one last publishes the batch.
 */
#include <errno.h>
#include "vring_private.h"

/* A place in the ring: slot and the wrap counter that goes with it. */
struct position {
    uint16_t slot;
    bool wrap;
};

static inline struct position position_next(const struct vring *ring, struct position position,
                                            unsigned count)
{
    unsigned slot = position.slot + count; /* count <= size */
    if (slot < ring->size)
        return (struct position){(uint16_t)slot, position.wrap};
    return (struct position){(uint16_t)(slot - ring->size), !position.wrap};
}

static inline struct position avail_position(const struct vring *ring)
{
    return (struct position){ring->avail_next, ring->avail_wrap};
}

static inline void set_avail_position(struct vring *ring, struct position position)
{
    ring->avail_next = position.slot;
    ring->avail_wrap = position.wrap;
}

int vring_packed_start(struct vring *ring, const struct vring_config *config)
{
    uint16_t slot = config->base_used & 0x7fff;
    if (slot >= ring->size)
        return -EINVAL;
    ring->avail_next = ring->used_next = slot;
    ring->avail_wrap = ring->used_wrap = config->base_used >> 15;
    return 0;
}

/* 2.8.10 and 2.8.14: flags are in the high half of the device's event suppression area, which we write. The
 * 32-bit store keeps both halves of one state. */
void vring_packed_set_kicks(struct vring *ring, bool wanted)
{
    uint32_t flags = wanted ? EVENT_ENABLE : EVENT_DISABLE;
    __atomic_store_n(ring->device_event, htole32(flags << 16), __ATOMIC_RELAXED);
}

/* The flags word of a slot, once. Acquire: the rest of the descriptor is read after it (2.8.21.1). */
static inline uint16_t load_flags(const struct vring *ring, uint16_t slot)
{
    const uint8_t *desc = (const uint8_t *)&ring->desc[slot];
    return load16_acquire((const uint16_t *)(const void *)(desc + 14));
}

/* 2.8.1: available if the avail bit equals our wrap counter and the used bit does not. */
static inline bool is_available(uint16_t flags, bool wrap)
{
    return (flags & (DESC_F_AVAIL | DESC_F_USED)) == (wrap ? DESC_F_AVAIL : DESC_F_USED);
}

bool vring_packed_has_work(struct vring *ring)
{
    return is_available(load_flags(ring, ring->avail_next), ring->avail_wrap);
}

/* A batch of used descriptors in the making. */
struct used_batch {
    uint64_t *first; /* slot that is stored last; NULL: none yet */
    uint64_t first_value;
};

static inline void put_used(struct vring *ring, struct used_batch *batch, uint16_t id, unsigned descriptors,
                            uint32_t size)
{
    uint64_t *slot = &ring->desc[ring->used_next].rest;
    uint16_t flags = ring->used_wrap ? DESC_F_AVAIL | DESC_F_USED : 0;
    if (size > 0)
        flags |= DESC_F_WRITE; /* 2.8.4: the length is valid */
    uint64_t value = htole64(size | (uint64_t)id << 32 | (uint64_t)flags << 48);
    if (batch->first) {
        __atomic_store_n(slot, value, __ATOMIC_RELAXED);
    } else {
        batch->first = slot;
        batch->first_value = value;
    }
    struct position next =
        position_next(ring, (struct position){ring->used_next, ring->used_wrap}, descriptors);
    ring->used_next = next.slot;
    ring->used_wrap = next.wrap;
}

/* 2.8.14 and 2.8.21.2 */
static bool interrupt_wanted(const struct vring *ring, uint16_t old)
{
    uint32_t event = le32toh(__atomic_load_n(ring->driver_event, __ATOMIC_RELAXED));
    uint16_t flags = (event >> 16) & 3;
    if (!ring->event_idx || flags != EVENT_DESC)
        return flags != EVENT_DISABLE;
    /* Counted from the start of our current lap, so that positions of the lap before are negative. */
    uint16_t offset = event & 0x7fff;
    if ((bool)((event >> 15) & 1) != ring->used_wrap)
        offset = (uint16_t)(offset - ring->size);
    if (ring->used_next <= old)
        old = (uint16_t)(old - ring->size);
    return event_passed(offset, ring->used_next, old);
}

static void publish(struct vring *ring, const struct used_batch *batch, uint16_t old,
                    struct notifier *notifier)
{
    /* Release: everything else of the batch is there before its first descriptor is marked used (2.8.21.1).
     */
    __atomic_store_n(batch->first, batch->first_value, __ATOMIC_RELEASE);
    if (ring->call_fd < 0)
        return;
    full_barrier();
    if (interrupt_wanted(ring, old))
        notifier_add(notifier, ring->call_fd);
}

/* 2.8.7: all entries of an indirect table are the buffer, in order; NEXT and the id mean nothing there. */
static enum vring_error walk_indirect(struct vring *ring, struct desc desc, struct chain *chain)
{
    uint32_t length = desc_length(desc.rest);
    if (!ring->indirect || length == 0 || length % DESC_SIZE || length / DESC_SIZE > VRING_SIZE_MAX)
        return VRING_ERROR_INDIRECT;
    uint64_t table = desc.address;
    for (unsigned i = 0; i < length / DESC_SIZE && !chain_done(chain); i++) {
        if (!vring_read_indirect(ring, table, i, &desc))
            return VRING_ERROR_ADDRESS;
        uint16_t flags = desc_fourth(desc.rest);
        if (flags & DESC_F_INDIRECT)
            return VRING_ERROR_INDIRECT;
        enum vring_error error =
            chain_add(ring, chain, desc.address, desc_length(desc.rest), flags & DESC_F_WRITE);
        if (error)
            return error;
    }
    return VRING_ERROR_NONE;
}

/* Follows the buffer that starts at `position` with descriptor `desc` (2.8.6). To its end even if the chain
 * has enough, because the id is in the last descriptor and the next buffer starts behind it. */
static enum vring_error walk(struct vring *ring, struct position position, struct desc desc, uint16_t flags,
                             struct chain *chain, struct pending *buffer)
{
    buffer->descriptors = 1;
    buffer->id = desc_third(desc.rest);
    if (flags & DESC_F_INDIRECT)
        return (flags & DESC_F_NEXT) ? VRING_ERROR_INDIRECT : walk_indirect(ring, desc, chain);
    for (;;) {
        if (!chain_done(chain)) {
            enum vring_error error =
                chain_add(ring, chain, desc.address, desc_length(desc.rest), flags & DESC_F_WRITE);
            if (error)
                return error;
        } else {
            ring->walked++;
        }
        buffer->id = desc_third(desc.rest);
        if (!(flags & DESC_F_NEXT))
            return VRING_ERROR_NONE;
        if (buffer->descriptors == ring->size)
            return VRING_ERROR_CHAIN_LOOP;
        buffer->descriptors++;
        position = position_next(ring, position, 1);
        flags = load_flags(ring, position.slot);
        desc = desc_load(&ring->desc[position.slot]);
        if (flags & DESC_F_INDIRECT) /* 2.8.8: not in a chain */
            return VRING_ERROR_INDIRECT;
    }
}

/* A buffer that is not one plain descriptor in one region. False: the batch ends before it, or the ring
 * broke. */
static bool rx_slow(struct vring *ring, struct packet_vector *vector, struct desc desc, uint16_t flags,
                    struct source *sources, struct pending *buffer)
{
    if (!vring_rx_has_room(ring, vector))
        return false;
    struct memory_span spans[PACKET_SPANS_MAX];
    struct chain chain = {.spans = spans, .max = PACKET_SPANS_MAX, .enough = FRAME_MAX + 1};
    enum vring_error error = walk(ring, avail_position(ring), desc, flags, &chain, buffer);
    if (error) {
        vring_break(ring, error);
        return false;
    }
    if (vring_rx_chain(ring, vector, &chain, &sources[vector->count]))
        vector->count++;
    return true;
}

unsigned vring_packed_rx(struct vring *ring, struct packet_vector *vector)
{
    struct source sources[PACKET_VECTOR_MAX];
    unsigned taken = 0, slots = 0;
    while (taken < PACKET_VECTOR_MAX && slots < ring->size) {
        uint16_t flags = load_flags(ring, ring->avail_next);
        if (!is_available(flags, ring->avail_wrap))
            break;
        struct desc desc = desc_load(&ring->desc[ring->avail_next]);
        struct pending *buffer = &ring->pending[taken];
        uint32_t size = desc_length(desc.rest);
        const uint8_t *base;
        if (likely(!(flags & (DESC_F_NEXT | DESC_F_WRITE | DESC_F_INDIRECT)) &&
                   size - FRAME_MIN <= FRAME_MAX - FRAME_MIN &&
                   (base = vring_translate(ring, desc.address, size)))) {
            prefetch_head(base, size);
            sources[vector->count++] = (struct source){base, size};
            *buffer = (struct pending){desc_third(desc.rest), 1};
        } else if (!rx_slow(ring, vector, desc, flags, sources, buffer)) {
            break;
        }
        /* A chain that runs into slots which this batch already holds. */
        slots += buffer->descriptors;
        if (unlikely(slots > ring->size)) {
            vring_break(ring, VRING_ERROR_CHAIN_LOOP);
            break;
        }
        set_avail_position(ring, position_next(ring, avail_position(ring), buffer->descriptors));
        taken++;
    }
    if (unlikely(vring_broken(ring))) {
        packet_vector_reset(vector);
        return 0;
    }
    ring->pending_count = taken;
    vring_copy_in(vector, sources, vector->count);
    return vector->count;
}

void vring_packed_rx_done(struct vring *ring, struct notifier *notifier)
{
    struct used_batch batch = {0};
    uint16_t old = ring->used_next;
    for (unsigned i = 0; i < ring->pending_count; i++)
        put_used(ring, &batch, ring->pending[i].id, ring->pending[i].descriptors, 0);
    publish(ring, &batch, old, notifier);
}

/* Collects buffers for one frame and writes it; `slots` of the ring are taken by the batch already. */
static enum vring_fit tx_slow(struct vring *ring, const struct packet *packet, struct used_batch *batch,
                              unsigned *slots)
{
    uint32_t need = VIRTIO_NET_HEADER_SIZE + packet->size, left = need;
    struct chain chain = {.spans = ring->pieces, .max = PIECES_MAX, .write = true, .enough = need};
    struct position position = avail_position(ring);
    unsigned buffers = 0, taken = 0;
    while (left > 0) {
        uint16_t flags = 0;
        if (*slots + taken < ring->size)
            flags = load_flags(ring, position.slot);
        if (*slots + taken >= ring->size || !is_available(flags, position.wrap))
            return taken == ring->size ? FIT_TOO_BIG : FIT_NO_ROOM;
        struct pending buffer;
        uint64_t before = chain.total;
        enum vring_error error =
            walk(ring, position, desc_load(&ring->desc[position.slot]), flags, &chain, &buffer);
        uint64_t size = chain.total - before;
        if (!error && *slots + taken + buffer.descriptors > ring->size)
            error = VRING_ERROR_CHAIN_LOOP;
        if (!error && !chain.overflow && size < VIRTIO_NET_HEADER_SIZE && size < left)
            error = VRING_ERROR_BUFFER_RUNT; /* 5.1.6.3.1 */
        if (error) {
            vring_break(ring, error);
            return FIT_BROKEN;
        }
        if (chain.overflow || buffers == PIECES_MAX || (size < left && !ring->mergeable))
            return FIT_TOO_BIG;
        if (size > left)
            size = left;
        ring->filled[buffers++] = (struct filled){buffer.id, buffer.descriptors, (uint32_t)size};
        left -= (uint32_t)size;
        taken += buffer.descriptors;
        position = position_next(ring, position, buffer.descriptors);
    }
    vring_copy_out_pieces(ring->pieces, packet, (uint16_t)buffers);
    for (unsigned i = 0; i < buffers; i++)
        put_used(ring, batch, ring->filled[i].id, ring->filled[i].descriptors, ring->filled[i].size);
    set_avail_position(ring, position);
    *slots += taken;
    return FIT_WRITTEN;
}

void vring_packed_tx(struct vring *ring, struct packet *const *packets, unsigned count,
                     struct notifier *notifier, struct vring_tx_result *result)
{
    struct used_batch batch = {0};
    uint16_t old = ring->used_next;
    struct sink sinks[PACKET_VECTOR_MAX];
    unsigned sink_count = 0, slots = 0;
    for (unsigned i = 0; i < count && slots < ring->size; i++) {
        const struct packet *packet = packets[i];
        uint32_t need = VIRTIO_NET_HEADER_SIZE + packet->size;
        uint16_t flags = load_flags(ring, ring->avail_next);
        if (!is_available(flags, ring->avail_wrap))
            break;
        struct desc desc = desc_load(&ring->desc[ring->avail_next]);
        uint8_t *base;
        if (likely((flags & (DESC_F_NEXT | DESC_F_WRITE | DESC_F_INDIRECT)) == DESC_F_WRITE &&
                   desc_length(desc.rest) >= need && sink_count < PACKET_VECTOR_MAX &&
                   (base = vring_translate(ring, desc.address, desc_length(desc.rest))))) {
            prefetch_write(base);
            prefetch_write(base + 64);
            sinks[sink_count++] = (struct sink){base, packet};
            put_used(ring, &batch, desc_third(desc.rest), 1, need);
            set_avail_position(ring, position_next(ring, avail_position(ring), 1));
            slots++;
        } else {
            enum vring_fit fit =
                ring->walked < WALK_BUDGET ? tx_slow(ring, packet, &batch, &slots) : FIT_NO_ROOM;
            if (fit == FIT_TOO_BIG) {
                result->too_big++;
                continue;
            }
            if (fit != FIT_WRITTEN)
                break;
        }
        result->sent++;
        result->sent_bytes += packet->size;
    }
    if (unlikely(vring_broken(ring))) {
        result->sent = 0;
        result->sent_bytes = 0;
    } else if (result->sent > 0) {
        vring_copy_out(sinks, sink_count);
        publish(ring, &batch, old, notifier);
    }
    result->no_room = count - result->sent - result->too_big;
}
