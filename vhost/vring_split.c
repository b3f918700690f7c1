/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split virtqueues, device side (virtio 1.2, 2.7). See vring.c for the theory of operation.
 *
 * Used elements are written straight into the used ring beyond its index, where only the device writes, and
 * become the guest's with one store of the index.
 */
#include <errno.h>
#include "vring_private.h"

int vring_split_start(struct vring *ring, const struct vring_config *config)
{
    ring->used_next = ring->avail_next = ring->avail_cached = load16(&ring->used->index);
    return 0;
}

static uint16_t *used_event(const struct vring *ring)
{
    return &ring->avail->ring[ring->size]; /* 2.7.6: written by the driver */
}

static uint16_t *avail_event(const struct vring *ring)
{
    return (uint16_t *)(void *)&ring->used->ring[ring->size]; /* 2.7.8: written by the device */
}

void vring_split_set_kicks(struct vring *ring, bool wanted)
{
    /* 2.7.10: with the event index, flags are 0 and a kick comes when the avail index passes the event. An
     * event just behind us is passed after 65535 more buffers. */
    if (ring->event_idx)
        store16(avail_event(ring), wanted ? ring->avail_next : (uint16_t)(ring->avail_next - 1));
    store16(&ring->used->flags, wanted || ring->event_idx ? 0 : 1 /* VIRTQ_USED_F_NO_NOTIFY */);
}

/* Buffers available, after looking at the guest's index again. 0 with the ring broken: the index jumped. */
static unsigned refresh(struct vring *ring)
{
    /* Acquire: what the index covers is read after it (2.7.13.3). */
    uint16_t index = load16_acquire(&ring->avail->index);
    unsigned available = (uint16_t)(index - ring->avail_next);
    if (unlikely(available > ring->size)) {
        vring_break(ring, VRING_ERROR_INDEX_JUMP);
        return 0;
    }
    ring->avail_cached = index;
    return available;
}

bool vring_split_has_work(struct vring *ring)
{
    return refresh(ring) > 0;
}

/* Hands over everything up to used_next, and asks for an interrupt if the guest wants one. */
static void publish(struct vring *ring, uint16_t old, struct notifier *notifier)
{
    /* Release: the elements (and the frames) are there before the index says so (2.7.8.2). */
    __atomic_store_n(&ring->used->index, htole16(ring->used_next), __ATOMIC_RELEASE);
    if (ring->call_fd < 0)
        return;
    full_barrier();
    bool wanted;
    if (ring->event_idx)
        wanted = event_passed(load16(used_event(ring)), ring->used_next, old);
    else
        wanted = !(load16(&ring->avail->flags) & 1 /* VIRTQ_AVAIL_F_NO_INTERRUPT */);
    if (wanted)
        notifier_add(notifier, ring->call_fd);
}

static inline void put_used(struct vring *ring, uint16_t id, uint32_t size)
{
    uint64_t element = id | (uint64_t)size << 32;
    __atomic_store_n((uint64_t *)(void *)((uint8_t *)ring->used +
                                          offsetof(struct split_used, ring[ring->used_next & ring->mask])),
                     htole64(element), __ATOMIC_RELAXED);
    ring->used_next++;
}

/* Follows a chain from its head's descriptor (2.7.5, 2.7.5.3). */
static enum vring_error walk(struct vring *ring, struct desc desc, struct chain *chain)
{
    unsigned entries = ring->size, walked = 1;
    bool indirect = false;
    uint64_t table = 0;
    for (;;) {
        uint16_t flags = desc_third(desc.rest);
        if (flags & DESC_F_INDIRECT) {
            uint32_t length = desc_length(desc.rest);
            if (indirect || !ring->indirect || (flags & DESC_F_NEXT) || length == 0 || length % DESC_SIZE ||
                length / DESC_SIZE > VRING_SIZE_MAX)
                return VRING_ERROR_INDIRECT;
            indirect = true;
            table = desc.address;
            entries = length / DESC_SIZE;
            walked = 1;
            if (!vring_read_indirect(ring, table, 0, &desc))
                return VRING_ERROR_ADDRESS;
            continue;
        }
        enum vring_error error =
            chain_add(ring, chain, desc.address, desc_length(desc.rest), flags & DESC_F_WRITE);
        if (error || !(flags & DESC_F_NEXT) || chain_done(chain))
            return error;
        uint16_t next = desc_fourth(desc.rest);
        if (next >= entries)
            return VRING_ERROR_CHAIN_NEXT;
        if (++walked > entries)
            return VRING_ERROR_CHAIN_LOOP;
        if (!indirect)
            desc = desc_load(&ring->desc[next]);
        else if (!vring_read_indirect(ring, table, next, &desc))
            return VRING_ERROR_ADDRESS;
    }
}

/* Heads of the next `count` buffers into ring->pending, their descriptors on the way into the cache. */
static bool read_heads(struct vring *ring, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint16_t head = load16(&ring->avail->ring[(ring->avail_next + i) & ring->mask]);
        if (unlikely(head >= ring->size)) {
            vring_break(ring, VRING_ERROR_HEAD_RANGE);
            return false;
        }
        ring->pending[i] = (struct pending){head, 1};
        prefetch_read(&ring->desc[head]);
    }
    return true;
}

/* A head that is not one plain descriptor in one region. False: the batch ends before it, or the ring broke.
 */
static bool rx_slow(struct vring *ring, struct packet_vector *vector, struct desc desc,
                    struct source *sources)
{
    if (!vring_rx_has_room(ring, vector))
        return false;
    struct memory_span spans[PACKET_SPANS_MAX];
    struct chain chain = {.spans = spans, .max = PACKET_SPANS_MAX, .enough = FRAME_MAX + 1};
    enum vring_error error = walk(ring, desc, &chain);
    if (error) {
        vring_break(ring, error);
        return false;
    }
    if (vring_rx_chain(ring, vector, &chain, &sources[vector->count]))
        vector->count++;
    return true;
}

unsigned vring_split_rx(struct vring *ring, struct packet_vector *vector)
{
    unsigned available = (uint16_t)(ring->avail_cached - ring->avail_next);
    if (available == 0)
        available = refresh(ring);
    unsigned count = available < PACKET_VECTOR_MAX ? available : PACKET_VECTOR_MAX;
    if (count == 0 || !read_heads(ring, count))
        return 0;

    struct source sources[PACKET_VECTOR_MAX];
    unsigned taken = 0;
    for (; taken < count; taken++) {
        struct desc desc = desc_load(&ring->desc[ring->pending[taken].id]);
        uint32_t size = desc_length(desc.rest);
        const uint8_t *base;
        if (likely(desc_third(desc.rest) == 0 && size - FRAME_MIN <= FRAME_MAX - FRAME_MIN &&
                   (base = vring_translate(ring, desc.address, size)))) {
            prefetch_head(base, size);
            sources[vector->count++] = (struct source){base, size};
        } else if (!rx_slow(ring, vector, desc, sources)) {
            break;
        }
    }
    if (unlikely(vring_broken(ring))) {
        packet_vector_reset(vector);
        return 0;
    }
    ring->avail_next = (uint16_t)(ring->avail_next + taken);
    ring->pending_count = taken;
    vring_copy_in(vector, sources, vector->count);
    return vector->count;
}

void vring_split_rx_done(struct vring *ring, struct notifier *notifier)
{
    uint16_t old = ring->used_next;
    for (unsigned i = 0; i < ring->pending_count; i++)
        put_used(ring, ring->pending[i].id, 0);
    publish(ring, old, notifier);
}

/* Collects buffers for one frame and writes it. `ring->filled` becomes used elements only if all of it fits.
 */
static enum vring_fit tx_slow(struct vring *ring, const struct packet *packet)
{
    uint32_t need = VIRTIO_NET_HEADER_SIZE + packet->size, left = need;
    struct chain chain = {.spans = ring->pieces, .max = PIECES_MAX, .write = true, .enough = need};
    unsigned buffers = 0;
    while (left > 0) {
        uint16_t next = (uint16_t)(ring->avail_next + buffers);
        if (next == ring->avail_cached && refresh(ring) <= buffers)
            return vring_broken(ring) ? FIT_BROKEN : buffers == ring->size ? FIT_TOO_BIG : FIT_NO_ROOM;
        uint16_t head = load16(&ring->avail->ring[next & ring->mask]);
        uint64_t before = chain.total;
        enum vring_error error = VRING_ERROR_HEAD_RANGE;
        if (head < ring->size)
            error = walk(ring, desc_load(&ring->desc[head]), &chain);
        uint64_t size = chain.total - before;
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
        ring->filled[buffers++] = (struct filled){head, 1, (uint32_t)size};
        left -= (uint32_t)size;
    }
    vring_copy_out_pieces(ring->pieces, packet, (uint16_t)buffers);
    for (unsigned i = 0; i < buffers; i++)
        put_used(ring, ring->filled[i].id, ring->filled[i].size);
    ring->avail_next = (uint16_t)(ring->avail_next + buffers);
    return FIT_WRITTEN;
}

void vring_split_tx(struct vring *ring, struct packet *const *packets, unsigned count,
                    struct notifier *notifier, struct vring_tx_result *result)
{
    uint16_t old = ring->used_next;
    if ((uint16_t)(ring->avail_cached - ring->avail_next) < count)
        refresh(ring);
    struct sink sinks[PACKET_VECTOR_MAX];
    unsigned sink_count = 0, i = 0;
    for (; i < count; i++) {
        const struct packet *packet = packets[i];
        uint32_t need = VIRTIO_NET_HEADER_SIZE + packet->size;
        /* Merged frames take more buffers than were looked for above. */
        if (unlikely(ring->avail_next == ring->avail_cached) && refresh(ring) == 0)
            break;
        uint16_t head = load16(&ring->avail->ring[ring->avail_next & ring->mask]);
        uint8_t *base;
        struct desc desc = {0};
        if (likely(head < ring->size))
            desc = desc_load(&ring->desc[head]);
        if (likely(desc_third(desc.rest) == DESC_F_WRITE && desc_length(desc.rest) >= need &&
                   sink_count < PACKET_VECTOR_MAX &&
                   (base = vring_translate(ring, desc.address, desc_length(desc.rest))))) {
            prefetch_write(base);
            prefetch_write(base + 64);
            sinks[sink_count++] = (struct sink){base, packet};
            put_used(ring, head, need);
            ring->avail_next++;
        } else {
            enum vring_fit fit = ring->walked < WALK_BUDGET ? tx_slow(ring, packet) : FIT_NO_ROOM;
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
        publish(ring, old, notifier);
    }
    result->no_room = count - result->sent - result->too_big;
}
