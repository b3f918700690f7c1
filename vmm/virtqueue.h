/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7) for the devices that this process serves itself.
 * Every field that the guest writes is read once and checked; buffers are handed out as iovecs wholly inside
 * RAM.
 *
 * Threads: one at a time; the devices hold their own lock.
 */
#include <stdint.h>
#include <sys/uio.h>
#include "virtio.h"

#define VIRTQUEUE_IOV_MAX 128u

struct virtqueue {
    const struct ram *ram;
    uint8_t *desc, *driver, *device; /* guest memory: only virtqueue.c dereferences it */
    uint16_t size;
    uint16_t next_avail, next_used; /* free running */
    bool event_index;
    int call_fd;
};

/* A chain of descriptors: iov[0..read_count) is for the device to read, the next write_count to write. */
struct virtqueue_chain {
    uint16_t head;
    unsigned read_count, write_count;
    uint64_t read_size, write_size; /* bytes */
    struct iovec iov[VIRTQUEUE_IOV_MAX];
};

/* From the settled state of a transport queue; false: the driver did not enable it. */
bool virtqueue_init(struct virtqueue *queue, const struct virtio *virtio, unsigned index);
/* 1: a chain; 0: none; -EPROTO: the driver broke the rules (needs reset). */
int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain);
/* Gives a chain back, `size` bytes written to it, and interrupts the guest if it wants that. */
void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t size);

/* Copies between a buffer and iov[first..first+count), from byte `offset` of those. Returns the bytes copied.
 */
uint64_t iov_copy_out(const struct iovec *iov, unsigned count, uint64_t offset, void *to, uint64_t size);
uint64_t iov_copy_in(const struct iovec *iov, unsigned count, uint64_t offset, const void *from,
                     uint64_t size);
