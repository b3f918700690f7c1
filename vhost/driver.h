/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The driver's side of a virtio network device over vhost-user, in user space: memory, queue pairs and rings
 * (split or packed) of a synthetic guest. Used by the load generator, `weft bench` and the tests; not by the
 * VMM, whose guest has its own driver.
 *
 * A buffer is named by an index into the queue's own fixed array of equal buffers; its bytes are at
 * driver_buffer(). The first VIRTIO_NET_HEADER_SIZE bytes of each are the virtio header.
 *
 * The switch is expected to use the buffers of a ring in order, as weft, DPDK and OVS do.
 *
 * Threads: a queue belongs to one thread; different queues of a device may be driven by different threads.
 * Errors: 0 or -errno.
 */
#include <stdbool.h>
#include <stdint.h>
#include "frontend.h"
#include "packet.h"

struct driver_device;
struct driver_queue;

struct driver_config {
    const char *path; /* vhost-user socket of the switch */
    bool listen;      /* the switch dials us */
    unsigned queue_pairs;
    uint16_t ring_size;   /* descriptors, power of two for split rings */
    uint32_t buffer_size; /* bytes a buffer, with the virtio header */
    uint64_t features;    /* virtio features wanted; the intersection with what is offered is used */
    int timeout_ms;
    bool hugepages; /* try a hugetlb memfd first */
};

struct driver_device *driver_open(const struct driver_config *config); /* NULL and errno */
void driver_close(struct driver_device *device);
/* After the switch restarted: connects again with rings and buffers kept, positions taken from the rings.
 * What the old switch had not given back is available to the new one. 0 or -errno; after an error it may be
 * tried again. */
int driver_reconnect(struct driver_device *device);
uint64_t driver_features(const struct driver_device *device);
struct vhost_frontend *driver_frontend(struct driver_device *device);

struct driver_queue *driver_rx_queue(struct driver_device *device, unsigned pair); /* switch -> us */
struct driver_queue *driver_tx_queue(struct driver_device *device, unsigned pair); /* us -> switch */

unsigned driver_buffer_count(const struct driver_queue *queue);
uint8_t *driver_buffer(struct driver_queue *queue, unsigned buffer);
uint32_t driver_buffer_size(const struct driver_queue *queue);

/* Simple use. transmit: gathers header and frame into a free buffer (a chain of buffers if it is longer) and
 * publishes it. 0, -EAGAIN (ring full), -EMSGSIZE. receive: copies the next frame out, with its header. Size
 * of the frame, 0: none. */
int driver_transmit(struct driver_queue *queue, const struct virtio_net_header *header, const void *frame,
                    uint32_t size);
int driver_receive(struct driver_queue *queue, struct virtio_net_header *header, void *frame,
                   uint32_t capacity);

/* Load generation: descriptors are built once, then only published again.
 * prepare: every buffer of a tx queue holds a frame of sizes[buffer] bytes (virtio header written by the
 * caller). publish: gives up to `count` buffers that came back to the switch again, returns how many. collect
 * (rx): takes up to `count` used buffers, calls nothing, fills buffers[] and sizes[] (with virtio header),
 * returns how many; a frame that was merged over several buffers is as many entries (num_buffers in the first
 * one's header). recycle gives the oldest ones back, as many as the caller is done with. Not to be mixed with
 * driver_receive while collected buffers are out. A prepared tx queue stays one: driver_transmit is -EINVAL
 * then. */
int driver_prepare(struct driver_queue *queue, const uint32_t *sizes);
unsigned driver_publish(struct driver_queue *queue, unsigned count);
unsigned driver_collect(struct driver_queue *queue, uint16_t *buffers, uint32_t *sizes, unsigned count);
void driver_recycle(struct driver_queue *queue, unsigned count);
/* The buffer of a prepared queue that the next publish gives first; the following ones count up, modulo
 * driver_buffer_count(). Frames sent before driver_prepare move it off 0. */
unsigned driver_next_buffer(const struct driver_queue *queue);
/* Takes up to `count` frames of a receive queue without looking at them and gives their buffers back at once.
 * Nothing that driver_collect took may be out; frames must not be merged over buffers. Returns how many. */
unsigned driver_skip(struct driver_queue *queue, unsigned count);
/* Frames published and not yet used by the switch. */
unsigned driver_in_flight(struct driver_queue *queue);
/* Kicks the switch if it asked for it, for what was given since the last call. */
void driver_kick(struct driver_queue *queue);
/* Waits for a used buffer, for at most timeout_ms. 0 or -ETIMEDOUT. */
int driver_wait(struct driver_queue *queue, int timeout_ms);
