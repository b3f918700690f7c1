/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>
#include "virtqueue.h"

/* Offsets in the driver and device areas (2.7.6, 2.7.8). */
enum { AREA_FLAGS = 0, AREA_INDEX = 2, AREA_RING = 4 };
#define USED_SIZE 8u

/* One load, one store: the guest writes the same memory. */
static uint16_t load16(const uint8_t *at)
{
    return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static void store16(uint8_t *at, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELEASE);
}

bool virtqueue_init(struct virtqueue *queue, const struct virtio *virtio, unsigned index)
{
    const struct virtio_queue_state *state = &virtio->queues[index].state;
    memset(queue, 0, sizeof(*queue));
    if (!state->enabled)
        return false;
    queue->ram = virtio->ram;
    queue->size = state->size;
    queue->desc = ram_at(virtio->ram, state->desc, 16ull * state->size);
    queue->driver = ram_at(virtio->ram, state->driver, 6 + 2ull * state->size);
    queue->device = ram_at(virtio->ram, state->device, 6 + 8ull * state->size);
    queue->event_index = virtio_has(virtio, VIRTIO_RING_F_EVENT_IDX);
    queue->call_fd = virtio->queues[index].call_fd;
    return true;
}

static int add_buffer(struct virtqueue *queue, struct virtqueue_chain *chain, const struct vring_desc *desc)
{
    unsigned at = chain->read_count + chain->write_count;
    bool write = desc->flags & VRING_DESC_F_WRITE;
    void *host = ram_at(queue->ram, desc->addr, desc->len);
    if (!host || at == VIRTQUEUE_IOV_MAX || (!write && chain->write_count))
        return -EPROTO;
    chain->iov[at] = (struct iovec){.iov_base = host, .iov_len = desc->len};
    if (write) {
        chain->write_count++;
        chain->write_size += desc->len;
    } else {
        chain->read_count++;
        chain->read_size += desc->len;
    }
    return 0;
}

/* Follows a table of descriptors. An indirect one may stand only in the ring's own table and only alone. */
static int follow(struct virtqueue *queue, struct virtqueue_chain *chain, const uint8_t *table,
                  uint32_t count, uint32_t next, bool indirect)
{
    for (uint32_t steps = 0; steps < count; steps++) {
        struct vring_desc desc;
        if (next >= count)
            return -EPROTO;
        memcpy(&desc, table + 16ull * next, sizeof(desc));
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            const uint8_t *inner = ram_at(queue->ram, desc.addr, desc.len);
            if (indirect || !inner || desc.len % 16 || desc.flags & VRING_DESC_F_NEXT)
                return -EPROTO;
            uint32_t inner_count = desc.len / 16;
            return follow(queue, chain, inner, inner_count < queue->size ? inner_count : queue->size, 0,
                          true);
        }
        int error = add_buffer(queue, chain, &desc);
        if (error || !(desc.flags & VRING_DESC_F_NEXT))
            return error;
        next = desc.next;
    }
    return -EPROTO; /* a loop */
}

int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain)
{
    if (!queue->size)
        return 0;
    uint16_t available = load16(queue->driver + AREA_INDEX);
    if (available == queue->next_avail) {
        if (!queue->event_index)
            return 0;
        /* avail_event: ask for a kick at the next one, then look again. */
        store16(queue->device + AREA_RING + USED_SIZE * queue->size, queue->next_avail);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        available = load16(queue->driver + AREA_INDEX);
        if (available == queue->next_avail)
            return 0;
    }
    if ((uint16_t)(available - queue->next_avail) > queue->size)
        return -EPROTO;
    chain->head = load16(queue->driver + AREA_RING + 2 * (queue->next_avail & (queue->size - 1)));
    chain->read_count = chain->write_count = 0;
    chain->read_size = chain->write_size = 0;
    if (chain->head >= queue->size)
        return -EPROTO;
    int error = follow(queue, chain, queue->desc, queue->size, chain->head, false);
    if (error)
        return error;
    queue->next_avail++;
    return 1;
}

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t size)
{
    struct vring_used_elem element = {.id = head, .len = size};
    memcpy(queue->device + AREA_RING + USED_SIZE * (queue->next_used & (queue->size - 1)), &element,
           sizeof(element));
    uint16_t previous = queue->next_used++;
    store16(queue->device + AREA_INDEX, queue->next_used);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool call;
    if (queue->event_index)
        call =
            vring_need_event(load16(queue->driver + AREA_RING + 2 * queue->size), queue->next_used, previous);
    else
        call = !(load16(queue->driver + AREA_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
    uint64_t one = 1;
    if (call && write(queue->call_fd, &one, sizeof(one)) < 0)
        return; /* counter full: it is signalled anyway */
}

static uint64_t copy(const struct iovec *iov, unsigned count, uint64_t offset, void *to, const void *from,
                     uint64_t size)
{
    uint64_t done = 0;
    for (unsigned i = 0; i < count && done < size; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        uint64_t part = iov[i].iov_len - offset;
        if (part > size - done)
            part = size - done;
        uint8_t *guest = (uint8_t *)iov[i].iov_base + offset;
        if (to)
            memcpy((uint8_t *)to + done, guest, part);
        else
            memcpy(guest, (const uint8_t *)from + done, part);
        done += part;
        offset = 0;
    }
    return done;
}

uint64_t iov_copy_out(const struct iovec *iov, unsigned count, uint64_t offset, void *to, uint64_t size)
{
    return copy(iov, count, offset, to, NULL, size);
}

uint64_t iov_copy_in(const struct iovec *iov, unsigned count, uint64_t offset, const void *from,
                     uint64_t size)
{
    return copy(iov, count, offset, NULL, from, size);
}
