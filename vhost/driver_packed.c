/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packed rings from the driver's side (virtio 1.2, 2.8).
 *
 * A descriptor that we gave has AVAIL equal to the wrap counter of that lap and USED unequal; one that came
 * back has both equal. The device overwrites length, id and flags, so what we wrote is kept in a shadow:
 * posting a prepared buffer again is one 8-byte store, and after the death of a device the descriptors that
 * it took back in part (a batch is published by its first descriptor) are made available again from it.
 */
#include <string.h>
#include "driver_private.h"

static uint16_t lap_flags(bool wrap)
{
    return wrap ? DESC_F_AVAIL : DESC_F_USED;
}

/* Length, id and flags are the second word of a descriptor. */
static uint64_t *second_word(struct packed_descriptor *descriptor)
{
    return (uint64_t *)(void *)&descriptor->size;
}

static uint64_t make_word(const struct packed_descriptor *shadow, bool wrap)
{
    uint64_t flags = shadow->flags | lap_flags(wrap);
    return shadow->size | (uint64_t)shadow->id << 32 | flags << 48;
}

static bool is_used(uint64_t word, bool wrap)
{
    uint16_t flags = (uint16_t)(word >> 48);
    return !!(flags & DESC_F_USED) == wrap && !!(flags & DESC_F_AVAIL) == wrap;
}

static uint64_t load_word(const struct driver_queue *queue, unsigned slot)
{
    struct packed_descriptor *desc = queue->desc;
    return __atomic_load_n(second_word(&desc[slot]), __ATOMIC_ACQUIRE);
}

static void store_word(struct driver_queue *queue, unsigned slot, bool wrap)
{
    struct packed_descriptor *desc = queue->desc;
    __atomic_store_n(second_word(&desc[slot]), make_word(&queue->shadow[slot], wrap), __ATOMIC_RELEASE);
}

static void advance(const struct driver_queue *queue, uint16_t *slot, bool *wrap, unsigned count)
{
    uint16_t after = driver_slot_after(queue, *slot, count);
    if (after < *slot || count == queue->size)
        *wrap = !*wrap;
    *slot = after;
}

/* Buffers that the used descriptor at `slot` gives back, as slots: one buffer, or with IN_ORDER all up to its
 * id; virtio 1.2, 2.8.9. */
static unsigned used_slots(const struct driver_queue *queue, unsigned slot, uint64_t word)
{
    unsigned id = (uint16_t)(word >> 32) % queue->size;
    if (!queue->in_order)
        return queue->slots[id];
    unsigned distance = id >= slot ? id - slot : id + queue->size - slot;
    return distance + queue->slots[id];
}

void driver_packed_reset(struct driver_queue *queue)
{
    memset(queue->desc, 0, queue->size * sizeof(struct packed_descriptor));
    memset(queue->driver_event, 0, sizeof(*queue->driver_event));
    memset(queue->device_event, 0, sizeof(*queue->device_event));
    memset(queue->shadow, 0, queue->size * sizeof(*queue->shadow));
    queue->next = queue->oldest = 0;
    queue->next_wrap = queue->oldest_wrap = true;
    queue->kick_index = 0;
    queue->next_buffer = queue->in_flight = 0;
    queue->free_slots = queue->free_buffers = queue->size;
    queue->prepared = false;
    driver_packed_disarm(queue);
}

static struct driver_piece fill_table(const struct driver_queue *queue, unsigned head,
                                      const struct driver_piece *list, unsigned count)
{
    struct packed_descriptor *table =
        (void *)(queue->tables + (size_t)head * queue->indirect_entries * sizeof(*table));
    for (unsigned i = 0; i < count; i++)
        table[i] = (struct packed_descriptor){.address = list[i].address, .size = list[i].size};
    return (struct driver_piece){.address = driver_guest_address(queue->device, table),
                                 .size = count * (uint32_t)sizeof(*table)};
}

void driver_packed_post(struct driver_queue *queue, const struct driver_piece *list, unsigned count)
{
    struct packed_descriptor *desc = queue->desc;
    uint16_t head = queue->next, slot = head;
    bool head_wrap = queue->next_wrap, wrap = head_wrap;
    bool indirect = count > 1 && count <= queue->indirect_entries;
    unsigned slots = indirect ? 1 : count;
    struct driver_piece table;
    queue->pieces[head] = (uint16_t)count;
    queue->slots[head] = (uint16_t)slots;
    if (indirect) {
        table = fill_table(queue, head, list, count);
        list = &table;
    }
    for (unsigned i = 0; i < slots; i++) {
        uint16_t flags = i + 1 < slots ? DESC_F_NEXT : indirect ? DESC_F_INDIRECT : 0;
        queue->shadow[slot] = (struct packed_descriptor){
            .address = list[i].address, .size = list[i].size, .id = head, .flags = flags};
        desc[slot].address = list[i].address;
        if (i > 0)
            store_word(queue, slot, wrap);
        advance(queue, &slot, &wrap, 1);
    }
    store_word(queue, head, head_wrap);
    queue->next = slot;
    queue->next_wrap = wrap;
    queue->kick_index = (uint16_t)(queue->kick_index + slots);
    queue->free_slots -= slots;
    queue->free_buffers -= count;
    queue->in_flight++;
}

void driver_packed_prepare(struct driver_queue *queue, const uint32_t *sizes)
{
    struct packed_descriptor *desc = queue->desc;
    for (unsigned i = 0; i < queue->size; i++) {
        desc[i].address = driver_buffer_address(queue, i);
        queue->shadow[i] = (struct packed_descriptor){.address = desc[i].address,
                                                      .size = sizes ? sizes[i] : queue->buffer_size,
                                                      .id = (uint16_t)i,
                                                      .flags = sizes ? 0 : DESC_F_WRITE};
        queue->slots[i] = queue->pieces[i] = 1;
    }
    if (!sizes) {
        driver_packed_publish(queue, queue->size);
        queue->free_slots = 0;
    }
}

void driver_packed_publish(struct driver_queue *queue, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        store_word(queue, queue->next, queue->next_wrap);
        advance(queue, &queue->next, &queue->next_wrap, 1);
    }
    queue->kick_index = (uint16_t)(queue->kick_index + count);
}

void driver_packed_reclaim(struct driver_queue *queue)
{
    while (queue->free_slots < queue->size) {
        uint64_t word = load_word(queue, queue->oldest);
        if (!is_used(word, queue->oldest_wrap))
            return;
        unsigned left = used_slots(queue, queue->oldest, word);
        while (left > 0 && queue->in_flight > 0) {
            unsigned slots = queue->slots[queue->oldest];
            queue->free_slots += slots;
            queue->free_buffers += queue->pieces[queue->oldest];
            queue->in_flight--;
            advance(queue, &queue->oldest, &queue->oldest_wrap, slots);
            left = left > slots ? left - slots : 0;
        }
    }
}

unsigned driver_packed_peek(struct driver_queue *queue, struct driver_used *list, unsigned count)
{
    uint16_t slot = queue->oldest;
    bool wrap = queue->oldest_wrap;
    unsigned outstanding = queue->size - queue->free_slots;
    for (unsigned i = 0; i < count; i++) {
        uint64_t word = i < outstanding ? load_word(queue, slot) : 0;
        if (i >= outstanding || !is_used(word, wrap))
            return i;
        list[i] = (struct driver_used){.id = (uint16_t)(word >> 32), .size = (uint32_t)word};
        advance(queue, &slot, &wrap, 1);
    }
    return count;
}

unsigned driver_packed_collect(struct driver_queue *queue, uint16_t *buffers, uint32_t *sizes, unsigned count)
{
    unsigned outstanding = queue->size - queue->free_slots;
    unsigned i;
    if (count > outstanding)
        count = outstanding;
    for (i = 0; i < count; i++) {
        uint64_t word = load_word(queue, queue->oldest);
        if (!is_used(word, queue->oldest_wrap))
            break;
        uint16_t id = (uint16_t)(word >> 32);
        buffers[i] = id < queue->size ? id : 0;
        sizes[i] = (uint32_t)word;
        queue->collected[queue->oldest].id = buffers[i];
        advance(queue, &queue->oldest, &queue->oldest_wrap, 1);
    }
    queue->free_slots += i;
    return i;
}

void driver_packed_recycle(struct driver_queue *queue, unsigned count)
{
    struct packed_descriptor *desc = queue->desc;
    for (unsigned i = 0; i < count; i++) {
        uint16_t slot = queue->next, id = queue->collected[slot].id;
        if (queue->shadow[slot].id != id) {
            queue->shadow[slot].id = id;
            queue->shadow[slot].address = desc[slot].address = driver_buffer_address(queue, id);
        }
        store_word(queue, slot, queue->next_wrap);
        advance(queue, &queue->next, &queue->next_wrap, 1);
    }
    queue->kick_index = (uint16_t)(queue->kick_index + count);
    queue->free_slots -= count;
}

unsigned driver_packed_skip(struct driver_queue *queue, unsigned count)
{
    unsigned i;
    for (i = 0; i < count && is_used(load_word(queue, queue->oldest), queue->oldest_wrap); i++) {
        advance(queue, &queue->oldest, &queue->oldest_wrap, 1);
        store_word(queue, queue->next, queue->next_wrap);
        advance(queue, &queue->next, &queue->next_wrap, 1);
    }
    queue->kick_index = (uint16_t)(queue->kick_index + i);
    return i;
}

unsigned driver_packed_next_buffer(const struct driver_queue *queue)
{
    return queue->next;
}

/* The first slot that did not come back is where the next device begins; everything from there on that we
 * gave is made available once more, as the old device may have marked some of it used behind that slot. */
void driver_packed_position(struct driver_queue *queue, struct vhost_frontend_ring *ring)
{
    struct packed_descriptor *desc = queue->desc;
    uint16_t slot = queue->oldest;
    bool wrap = queue->oldest_wrap;
    unsigned outstanding = queue->size - queue->free_slots;
    while (outstanding > 0) {
        uint64_t word = load_word(queue, slot);
        unsigned slots = is_used(word, wrap) ? used_slots(queue, slot, word) : 0;
        if (slots == 0 || slots > outstanding)
            break;
        outstanding -= slots;
        advance(queue, &slot, &wrap, slots);
    }
    ring->base = ring->base_used = (uint16_t)(slot | wrap << 15);
    for (; outstanding > 0; outstanding--) {
        desc[slot].address = queue->shadow[slot].address;
        store_word(queue, slot, wrap);
        advance(queue, &slot, &wrap, 1);
    }
}

/* virtio 1.2, 2.8.21.3 */
bool driver_packed_wants_kick(struct driver_queue *queue)
{
    uint16_t added = queue->kick_index;
    queue->kick_index = 0;
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t word = __atomic_load_n((uint32_t *)(void *)queue->device_event, __ATOMIC_RELAXED);
    unsigned mode = word >> 16 & 3;
    if (mode != EVENT_DESC)
        return mode == EVENT_ENABLE;
    uint16_t event = word & 0x7fff;
    if (!!(word & 0x8000) != queue->next_wrap)
        event = (uint16_t)(event - queue->size);
    return (uint16_t)(queue->next - event - 1) < added;
}

static void set_event(struct driver_queue *queue, uint16_t event, uint16_t mode)
{
    __atomic_store_n((uint32_t *)(void *)queue->driver_event, event | (uint32_t)mode << 16, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_seq_cst);
}

void driver_packed_arm(struct driver_queue *queue)
{
    set_event(queue, (uint16_t)(queue->oldest | queue->oldest_wrap << 15),
              queue->event_idx ? EVENT_DESC : EVENT_ENABLE);
}

void driver_packed_disarm(struct driver_queue *queue)
{
    set_event(queue, 0, EVENT_DISABLE);
}

bool driver_packed_pending(struct driver_queue *queue)
{
    return queue->free_slots < queue->size && is_used(load_word(queue, queue->oldest), queue->oldest_wrap);
}
