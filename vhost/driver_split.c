/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Split rings from the driver's side (virtio 1.2, 2.7). The device is expected to use buffers in order, as
 * every network device of interest does, so what came back is known from the used index alone; ids are read
 * where lengths are.
 */
#include <string.h>
#include "driver_private.h"

static uint16_t used_index(const struct driver_queue *queue)
{
    return __atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE);
}

static void publish_index(struct driver_queue *queue)
{
    __atomic_store_n(&queue->avail->index, queue->avail_index, __ATOMIC_RELEASE);
}

static unsigned position(const struct driver_queue *queue, uint16_t index)
{
    return index & (queue->size - 1u);
}

static uint16_t *avail_event(const struct driver_queue *queue)
{
    return (uint16_t *)&queue->used->ring[queue->size];
}

static uint16_t *used_event(const struct driver_queue *queue)
{
    return &queue->avail->ring[queue->size];
}

void driver_split_reset(struct driver_queue *queue)
{
    memset(queue->desc, 0, queue->size * sizeof(struct split_descriptor));
    memset(queue->avail, 0, sizeof(*queue->avail) + queue->size * 2u + 2u);
    memset(queue->used, 0, sizeof(*queue->used) + queue->size * 8u + 2u);
    queue->next = queue->oldest = 0;
    queue->avail_index = queue->used_index = queue->kick_index = 0;
    queue->next_buffer = queue->in_flight = 0;
    queue->free_slots = queue->free_buffers = queue->size;
    queue->prepared = false;
    driver_split_disarm(queue);
}

static void fill_table(const struct driver_queue *queue, unsigned head, const struct driver_piece *list,
                       unsigned count)
{
    struct split_descriptor *table =
        (void *)(queue->tables + (size_t)head * queue->indirect_entries * sizeof(*table));
    for (unsigned i = 0; i < count; i++) {
        bool last = i + 1 == count;
        table[i] = (struct split_descriptor){.address = list[i].address,
                                             .size = list[i].size,
                                             .flags = last ? 0 : DESC_F_NEXT,
                                             .next = last ? 0 : (uint16_t)(i + 1)};
    }
    struct split_descriptor *desc = queue->desc;
    desc[head] = (struct split_descriptor){.address = driver_guest_address(queue->device, table),
                                           .size = count * (uint32_t)sizeof(*table),
                                           .flags = DESC_F_INDIRECT};
}

void driver_split_post(struct driver_queue *queue, const struct driver_piece *list, unsigned count)
{
    struct split_descriptor *desc = queue->desc;
    uint16_t head = queue->next;
    bool indirect = count > 1 && count <= queue->indirect_entries;
    unsigned slots = indirect ? 1 : count;
    if (indirect) {
        fill_table(queue, head, list, count);
    } else {
        for (unsigned i = 0; i < count; i++) {
            uint16_t slot = driver_slot_after(queue, head, i), next = driver_slot_after(queue, slot, 1);
            bool last = i + 1 == count;
            desc[slot] = (struct split_descriptor){.address = list[i].address,
                                                   .size = list[i].size,
                                                   .flags = last ? 0 : DESC_F_NEXT,
                                                   .next = last ? 0 : next};
        }
    }
    queue->slots[head] = (uint16_t)slots;
    queue->pieces[head] = (uint16_t)count;
    queue->heads[position(queue, queue->avail_index)] = head;
    queue->avail->ring[position(queue, queue->avail_index)] = head;
    queue->avail_index++;
    queue->next = driver_slot_after(queue, head, slots);
    queue->free_slots -= slots;
    queue->free_buffers -= count;
    queue->in_flight++;
    publish_index(queue);
}

void driver_split_prepare(struct driver_queue *queue, const uint32_t *sizes)
{
    struct split_descriptor *desc = queue->desc;
    for (unsigned i = 0; i < queue->size; i++) {
        desc[i] = (struct split_descriptor){.address = driver_buffer_address(queue, i),
                                            .size = sizes ? sizes[i] : queue->buffer_size,
                                            .flags = sizes ? 0 : DESC_F_WRITE};
        queue->avail->ring[i] = (uint16_t)i;
        queue->heads[i] = (uint16_t)i;
        queue->slots[i] = queue->pieces[i] = 1;
    }
    if (!sizes) {
        queue->avail_index = (uint16_t)(queue->avail_index + queue->size);
        queue->free_slots = 0;
        publish_index(queue);
    }
}

void driver_split_publish(struct driver_queue *queue, unsigned count)
{
    queue->avail_index = (uint16_t)(queue->avail_index + count);
    publish_index(queue);
}

void driver_split_reclaim(struct driver_queue *queue)
{
    uint16_t used = used_index(queue);
    if (queue->prepared) {
        unsigned count = (uint16_t)(used - queue->used_index);
        queue->free_slots += count;
        queue->free_buffers += count;
        queue->in_flight -= count;
        queue->used_index = used;
        return;
    }
    while (queue->used_index != used && queue->in_flight > 0) {
        uint16_t head = queue->heads[position(queue, queue->used_index)];
        queue->free_slots += queue->slots[head];
        queue->free_buffers += queue->pieces[head];
        queue->in_flight--;
        queue->used_index++;
    }
}

unsigned driver_split_peek(struct driver_queue *queue, struct driver_used *list, unsigned count)
{
    unsigned there = (uint16_t)(used_index(queue) - queue->used_index);
    if (count > there)
        count = there;
    for (unsigned i = 0; i < count; i++) {
        const struct split_used_element *element =
            &queue->used->ring[position(queue, (uint16_t)(queue->used_index + i))];
        list[i] = (struct driver_used){.id = (uint16_t)element->id, .size = element->size};
    }
    return count;
}

unsigned driver_split_collect(struct driver_queue *queue, uint16_t *buffers, uint32_t *sizes, unsigned count)
{
    unsigned there = (uint16_t)(used_index(queue) - queue->used_index);
    if (count > there)
        count = there;
    for (unsigned i = 0; i < count; i++) {
        unsigned slot = position(queue, queue->used_index++);
        const struct split_used_element *element = &queue->used->ring[slot];
        buffers[i] = (uint16_t)position(queue, (uint16_t)element->id);
        sizes[i] = element->size;
        queue->collected[slot].id = buffers[i];
    }
    queue->free_slots += count;
    return count;
}

void driver_split_recycle(struct driver_queue *queue, unsigned count)
{
    /* All buffers that are not with the device are the collected ones: the oldest is where the avail ring is
     * full. */
    for (unsigned i = 0; i < count; i++) {
        unsigned slot = position(queue, queue->avail_index++);
        if (queue->avail->ring[slot] != queue->collected[slot].id)
            queue->avail->ring[slot] = queue->collected[slot].id;
    }
    queue->free_slots -= count;
    publish_index(queue);
}

/* The device uses buffers in the order of the avail ring, so what the next lap names is what is there
 * already.
 */
unsigned driver_split_skip(struct driver_queue *queue, unsigned count)
{
    unsigned there = (uint16_t)(used_index(queue) - queue->used_index);
    if (count > there)
        count = there;
    if (count == 0)
        return 0;
    queue->used_index = (uint16_t)(queue->used_index + count);
    queue->avail_index = (uint16_t)(queue->avail_index + count);
    publish_index(queue);
    return count;
}

unsigned driver_split_next_buffer(const struct driver_queue *queue)
{
    return position(queue, queue->avail_index);
}

/* The used index is in shared memory and was written last: what is behind it was delivered, what is before it
 * is still available, whatever became of the device. */
void driver_split_position(struct driver_queue *queue, struct vhost_frontend_ring *ring)
{
    ring->base = used_index(queue);
    ring->base_used = ring->base;
}

bool driver_split_wants_kick(struct driver_queue *queue)
{
    uint16_t old = queue->kick_index;
    queue->kick_index = queue->avail_index;
    atomic_thread_fence(memory_order_seq_cst); /* the published index before the device's wish; 2.7.13.4 */
    if (!queue->event_idx)
        return !(__atomic_load_n(&queue->used->flags, __ATOMIC_RELAXED) & 1);
    uint16_t event = __atomic_load_n(avail_event(queue), __ATOMIC_RELAXED);
    return (uint16_t)(queue->avail_index - event - 1) < (uint16_t)(queue->avail_index - old);
}

void driver_split_arm(struct driver_queue *queue)
{
    __atomic_store_n(&queue->avail->flags, 0, __ATOMIC_RELAXED);
    __atomic_store_n(used_event(queue), queue->used_index, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_seq_cst);
}

void driver_split_disarm(struct driver_queue *queue)
{
    __atomic_store_n(&queue->avail->flags, 1, __ATOMIC_RELAXED);
    __atomic_store_n(used_event(queue), (uint16_t)(queue->used_index - 1), __ATOMIC_RELAXED);
}

bool driver_split_pending(struct driver_queue *queue)
{
    return used_index(queue) != queue->used_index;
}
