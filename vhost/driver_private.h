/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The inside of a driver device, shared by its files:
 *   driver.c        device, connection, frames in and out, waiting
 *   driver_memory.c the shared memory and where everything lies in it
 *   driver_split.c  split rings (virtio 1.2, 2.7)
 *   driver_packed.c packed rings (virtio 1.2, 2.8)
 *
 * A ring's slots are named 0..size-1. A buffer that takes several descriptors takes successive slots; its
 * name (head, buffer id) is its first slot.
 */
#include <stdatomic.h>
#include "driver.h"

#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u
#define DESC_F_AVAIL    (1u << 7)
#define DESC_F_USED     (1u << 15)

#define DRIVER_FRAME_MAX (VIRTIO_NET_HEADER_SIZE + PACKET_SIZE_MAX) /* bytes of a chain at most */

struct split_descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags;
    uint16_t next;
};

struct packed_descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t id;
    uint16_t flags;
};

struct split_avail {
    uint16_t flags;
    uint16_t index;
    uint16_t ring[]; /* [size] is the used event */
};

struct split_used_element {
    uint32_t id;
    uint32_t size;
};

struct split_used {
    uint16_t flags;
    uint16_t index;
    struct split_used_element ring[]; /* behind [size]: the avail event */
};

#define EVENT_ENABLE  0u
#define EVENT_DISABLE 1u
#define EVENT_DESC    2u

struct packed_event {
    uint16_t position; /* bits 0-14 index, 15 wrap counter */
    uint16_t flags;
};

/* A piece of memory to be posted. */
struct driver_piece {
    uint64_t address; /* guest */
    uint32_t size;    /* bytes */
};

struct driver_used {
    uint16_t id;
    uint32_t size; /* bytes written */
};

struct driver_queue {
    struct driver_device *device;
    unsigned index; /* of the ring in the device */
    bool receives;  /* switch -> us */
    bool packed, event_idx, in_order, mergeable;
    bool prepared;
    uint16_t size;             /* descriptors and buffers */
    uint16_t indirect_entries; /* of an indirect table; 0: indirect descriptors are not used */

    void *desc;
    union {
        struct split_avail *avail;
        struct packed_event *driver_event;
    };
    union {
        struct split_used *used;
        struct packed_event *device_event;
    };
    uint8_t *tables;  /* size tables of indirect_entries descriptors each */
    uint8_t *buffers; /* size buffers */
    uint32_t buffer_size;
    int kick_fd, call_fd;

    /* Next descriptor slot to fill, and the oldest one not known to be back; 0..size-1. */
    uint16_t next, oldest;
    bool next_wrap, oldest_wrap; /* packed: their wrap counters */
    uint16_t avail_index;        /* split: published, free running */
    uint16_t used_index;         /* split: seen, free running */
    uint16_t
        kick_index; /* split: avail_index at the last decision about a kick; packed: slots filled since */
    unsigned free_slots; /* transmit: slots not in flight. Receive: collected and not recycled */
    unsigned free_buffers;
    unsigned next_buffer;
    unsigned in_flight;               /* frames (transmit) */
    uint16_t *slots;                  /* by id: slots the posted buffer takes */
    uint16_t *pieces;                 /* by id: of our buffers it holds */
    uint16_t *heads;                  /* split: ids in the order of publication, by avail index % size */
    struct packed_descriptor *shadow; /* packed: what we wrote, as the device overwrites it */
    struct driver_used *collected;    /* receive: by slot of the used ring */
};

struct driver_device {
    struct driver_config config; /* path: ours */
    uint64_t features;
    struct vhost_frontend *frontend; /* NULL: a reconnection failed */
    int listen_fd;
    int memory_fd;
    uint8_t *memory;
    uint64_t memory_size; /* bytes */
    struct driver_queue *queues;
    unsigned queue_count;
};

/* Guest address of a byte of our memory: neither the host address nor the offset, so that a mix-up is
 * noticed. */
#define DRIVER_GUEST_BASE 0x140000000ull
static inline uint64_t driver_guest_address(const struct driver_device *device, const void *host)
{
    return DRIVER_GUEST_BASE + (uint64_t)((const uint8_t *)host - device->memory);
}

static inline uint16_t driver_slot_after(const struct driver_queue *queue, unsigned slot, unsigned count)
{
    slot += count;
    return (uint16_t)(slot >= queue->size ? slot - queue->size : slot);
}

static inline uint64_t driver_buffer_address(const struct driver_queue *queue, unsigned buffer)
{
    return driver_guest_address(queue->device, queue->buffers + (size_t)buffer * queue->buffer_size);
}

/* driver_memory.c: allocates the memory and lays out every queue. 0 or -errno. */
int driver_memory_open(struct driver_device *device);
void driver_memory_close(struct driver_device *device);

/*
 * Each ring layout has the same functions.
 *   reset         empty ring, nothing in flight
 *   post          one buffer of `count` pieces for the device to read; there is room for it
 *   prepare       descriptor i names buffer i with sizes[i] bytes, all free (NULL: all to receive, given at
 * once) publish       gives the next `count` prepared ones again reclaim       notes what a transmit ring got
 * back peek          how many used buffers there are, at most `count`, without taking them collect takes up
 * to `count` used buffers of a receive ring, in order recycle       gives the oldest `count` collected ones
 * again skip          collect and recycle at once, without looking next_buffer   the prepared buffer that
 * publish gives next position      where a new device has to begin; repairs what the old one left half done
 *   wants_kick    whether what was published since the last call needs a kick
 *   arm, disarm   ask for a call for the next used buffer, or for none
 *   pending       whether a used buffer is there
 */
#define DRIVER_LAYOUT(prefix)                                                                                \
    void prefix##_reset(struct driver_queue *queue);                                                         \
    void prefix##_post(struct driver_queue *queue, const struct driver_piece *list, unsigned count);         \
    void prefix##_prepare(struct driver_queue *queue, const uint32_t *sizes);                                \
    void prefix##_publish(struct driver_queue *queue, unsigned count);                                       \
    void prefix##_reclaim(struct driver_queue *queue);                                                       \
    unsigned prefix##_peek(struct driver_queue *queue, struct driver_used *list, unsigned count);            \
    unsigned prefix##_collect(struct driver_queue *queue, uint16_t *buffers, uint32_t *sizes,                \
                              unsigned count);                                                               \
    void prefix##_recycle(struct driver_queue *queue, unsigned count);                                       \
    unsigned prefix##_skip(struct driver_queue *queue, unsigned count);                                      \
    unsigned prefix##_next_buffer(const struct driver_queue *queue);                                         \
    void prefix##_position(struct driver_queue *queue, struct vhost_frontend_ring *ring);                    \
    bool prefix##_wants_kick(struct driver_queue *queue);                                                    \
    void prefix##_arm(struct driver_queue *queue);                                                           \
    void prefix##_disarm(struct driver_queue *queue);                                                        \
    bool prefix##_pending(struct driver_queue *queue);
DRIVER_LAYOUT(driver_split)
DRIVER_LAYOUT(driver_packed)
