/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed virtqueues, device side (virtio 1.2, 2.8). See vring.c for the theory of operation.
 *
 * Buffers are returned in order, so a used descriptor goes into the very slot where its buffer began. The
 * driver reads used descriptors in order too and stops at the first that is not marked: so all but the first
 * of a batch are written as they come, and storing the first one last publishes the batch.
 */
#include <errno.h>
#include "vring_batch.h"

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
static inline uint16_t load_flags_of(const struct desc *desc)
{
    return load16_acquire((const uint16_t *)(const void *)((const uint8_t *)desc + 14));
}

static inline uint16_t load_flags(const struct vring *ring, uint16_t slot)
{
    return load_flags_of(&ring->desc[slot]);
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

static inline void store_used(struct used_batch *batch, struct desc *desc, uint16_t id, bool wrap,
                              uint32_t size)
{
    uint16_t flags = wrap ? DESC_F_AVAIL | DESC_F_USED : 0;
    if (size > 0)
        flags |= DESC_F_WRITE; /* 2.8.4: the length is valid */
    uint64_t value = htole64(size | (uint64_t)id << 32 | (uint64_t)flags << 48);
    if (likely(batch->first)) {
        __atomic_store_n(&desc->rest, value, __ATOMIC_RELAXED);
    } else {
        batch->first = &desc->rest;
        batch->first_value = value;
    }
}

static inline void put_used(struct vring *ring, struct used_batch *batch, uint16_t id, unsigned descriptors,
                            uint32_t size)
{
    store_used(batch, &ring->desc[ring->used_next], id, ring->used_wrap, size);
    struct position next =
        position_next(ring, (struct position){ring->used_next, ring->used_wrap}, descriptors);
    ring->used_next = next.slot;
    ring->used_wrap = next.wrap;
}

/* 2.8.14 and 2.8.21.2 */
bool vring_packed_wants_interrupt(const struct vring *ring, const struct publication *publication)
{
    uint32_t event = le32toh(__atomic_load_n(ring->driver_event, __ATOMIC_RELAXED));
    uint16_t flags = (event >> 16) & 3, old = publication->old;
    if (!ring->event_idx || flags != EVENT_DESC)
        return flags != EVENT_DISABLE;
    /* Counted from the start of the lap, so that positions of the lap before are negative. */
    uint16_t offset = event & 0x7fff;
    if ((bool)((event >> 15) & 1) != publication->wrap)
        offset = (uint16_t)(offset - ring->size);
    if (publication->new <= old)
        old = (uint16_t)(old - ring->size);
    return event_passed(offset, publication->new, old);
}

static void publish(struct vring *ring, const struct used_batch *batch, uint16_t old,
                    struct notifier *notifier)
{
    /* Release: everything else of the batch is there before its first descriptor is marked used (2.8.21.1).
     */
    __atomic_store_n(batch->first, batch->first_value, __ATOMIC_RELEASE);
    if (ring->call_fd >= 0)
        notifier_published(notifier, ring, old);
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

/* Flags that decide about a buffer: whether it is there, and whether it is one plain descriptor. */
#define DECISIVE (DESC_F_AVAIL | DESC_F_USED | DESC_F_NEXT | DESC_F_WRITE | DESC_F_INDIRECT)

/* Takes buffers as long as each is a frame in one descriptor and one region, `count` at most. */
static unsigned rx_plain(struct vring *ring, unsigned count, struct source *sources, struct pending *pending)
{
    const struct desc *table = ring->desc;
    const struct view view = vring_view(ring);
    struct position position = avail_position(ring);
    unsigned ring_size = ring->size, taken;
    for (taken = 0; taken < count; taken++) {
        uint16_t flags = load_flags_of(&table[position.slot]);
        if ((flags & DECISIVE) != (position.wrap ? DESC_F_AVAIL : DESC_F_USED))
            break;
        struct desc desc = desc_load(&table[position.slot]);
        uint32_t size = desc_length(desc.rest);
        const uint8_t *base = view_translate(&view, desc.address, size);
        if (unlikely(size - FRAME_MIN > FRAME_MAX - FRAME_MIN || !base))
            break;
        prefetch_head(base, size);
        sources[taken] = (struct source){base, size};
        pending[taken] = (struct pending){desc_third(desc.rest), 1};
        if (++position.slot == ring_size)
            position = (struct position){0, !position.wrap};
    }
    set_avail_position(ring, position);
    return taken;
}

unsigned vring_packed_rx(struct vring *ring, struct packet_vector *vector)
{
    struct source sources[PACKET_VECTOR_MAX];
    unsigned taken = 0, slots = 0;
    while (taken < PACKET_VECTOR_MAX && slots < ring->size) {
        unsigned left =
            PACKET_VECTOR_MAX - taken < ring->size - slots ? PACKET_VECTOR_MAX - taken : ring->size - slots;
        unsigned plain = rx_plain(ring, left, &sources[vector->count], &ring->pending[taken]);
        vector->count += plain;
        taken += plain;
        slots += plain;
        if (plain == left)
            break;
        uint16_t flags = load_flags(ring, ring->avail_next);
        if (!is_available(flags, ring->avail_wrap))
            break;
        struct pending *buffer = &ring->pending[taken];
        if (!rx_slow(ring, vector, desc_load(&ring->desc[ring->avail_next]), flags, sources, buffer))
            break;
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
    vring_copy_in(vector, sources);
    return vector->count;
}

void vring_packed_rx_done(struct vring *ring, struct notifier *notifier)
{
    struct used_batch batch = {0};
    struct desc *table = ring->desc;
    struct position position = {ring->used_next, ring->used_wrap};
    uint16_t old = ring->used_next;
    unsigned count = ring->pending_count, size = ring->size;
    for (unsigned i = 0; i < count; i++) {
        struct pending buffer = ring->pending[i];
        store_used(&batch, &table[position.slot], buffer.id, position.wrap, 0);
        unsigned slot = position.slot + buffer.descriptors;
        bool next_lap = slot >= size;
        position = (struct position){(uint16_t)(next_lap ? slot - size : slot), position.wrap ^ next_lap};
    }
    ring->used_next = position.slot;
    ring->used_wrap = position.wrap;
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

/* Packets from the first on, as long as each fits one plain descriptor in one region. Buffers for the guest
 * are given back as they are taken, so both positions of the ring are one. Returns how many were written. */
static unsigned tx_plain(struct vring *ring, struct packet *const *packets, unsigned count,
                         struct used_batch *batch)
{
    struct desc *table = ring->desc;
    const struct view view = vring_view(ring);
    struct position position = avail_position(ring);
    unsigned ring_size = ring->size, taken;
    struct sink sinks[PACKET_VECTOR_MAX];
    for (taken = 0; taken < count; taken++) {
        uint32_t need = VIRTIO_NET_HEADER_SIZE + packets[taken]->size;
        uint16_t flags = load_flags_of(&table[position.slot]);
        if ((flags & DECISIVE) != ((position.wrap ? DESC_F_AVAIL : DESC_F_USED) | DESC_F_WRITE))
            break;
        struct desc desc = desc_load(&table[position.slot]);
        uint8_t *base = view_translate(&view, desc.address, desc_length(desc.rest));
        if (unlikely(desc_length(desc.rest) < need || !base))
            break;
        prefetch_write(base);
        prefetch_write(base + 64);
        sinks[taken] = (struct sink){base, packets[taken]};
        store_used(batch, &table[position.slot], desc_third(desc.rest), position.wrap, need);
        if (++position.slot == ring_size)
            position = (struct position){0, !position.wrap};
    }
    set_avail_position(ring, position);
    ring->used_next = position.slot;
    ring->used_wrap = position.wrap;
    vring_copy_out(sinks, taken);
    return taken;
}

void vring_packed_tx(struct vring *ring, struct packet *const *packets, unsigned count,
                     struct notifier *notifier, struct vring_tx_result *result)
{
    struct used_batch batch = {0};
    uint16_t old = ring->used_next;
    unsigned slots = 0;
    for (unsigned i = 0; i < count && slots < ring->size;) {
        unsigned want = count - i < PACKET_VECTOR_MAX ? count - i : PACKET_VECTOR_MAX;
        if (want > ring->size - slots)
            want = ring->size - slots;
        unsigned plain = tx_plain(ring, packets + i, want, &batch);
        for (unsigned end = i + plain; i < end; i++)
            result->sent_bytes += packets[i]->size;
        result->sent += plain;
        slots += plain;
        if (plain == want)
            continue;
        if (!is_available(load_flags(ring, ring->avail_next), ring->avail_wrap))
            break;
        enum vring_fit fit =
            ring->walked < WALK_BUDGET ? tx_slow(ring, packets[i], &batch, &slots) : FIT_NO_ROOM;
        if (fit == FIT_WRITTEN) {
            result->sent++;
            result->sent_bytes += packets[i]->size;
        } else if (fit == FIT_TOO_BIG) {
            result->too_big++;
        } else {
            break;
        }
        i++;
    }
    if (unlikely(vring_broken(ring))) {
        result->sent = 0;
        result->sent_bytes = 0;
    } else if (result->sent > 0) {
        publish(ring, &batch, old, notifier);
    }
    result->no_room = count - result->sent - result->too_big;
}
