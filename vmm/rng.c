/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>
#include "rng.h"
#include "virtqueue.h"

#define QUEUE_SIZE      64
#define REQUEST_MAX     4096u  /* bytes; longer buffers are filled in part, which the device may do */
#define BYTES_PER_ROUND 65536u /* then the loop serves others first; the rest follows after a millisecond */

struct rng {
    struct virtio virtio;
    struct virtqueue queue;
    int timer;
};

static void serve(struct rng *rng)
{
    struct virtqueue_chain chain;
    unsigned budget = BYTES_PER_ROUND;
    int found;
    while (budget >= REQUEST_MAX && (found = virtqueue_pop(&rng->queue, &chain)) != 0) {
        if (found < 0) {
            rng->queue.size = 0;
            virtio_needs_reset(&rng->virtio, "malformed request");
            return;
        }
        uint8_t bytes[REQUEST_MAX];
        uint64_t want = chain.write_size < REQUEST_MAX ? chain.write_size : REQUEST_MAX;
        ssize_t got = getrandom(bytes, want, 0);
        uint64_t done =
            got > 0 ? iov_copy_in(chain.iov + chain.read_count, chain.write_count, 0, bytes, (uint64_t)got)
                    : 0;
        virtqueue_push(&rng->queue, chain.head, (uint32_t)done);
        budget -= REQUEST_MAX;
    }
    if (budget < REQUEST_MAX)
        loop_timer_set(rng->virtio.loop, rng->timer, 1);
}

static void kicked(void *context, uint32_t events)
{
    (void)events;
    struct rng *rng = context;
    uint64_t count;
    if (read(rng->virtio.queues[0].kick_fd, &count, sizeof(count)) == sizeof(count))
        serve(rng);
}

static void timer_fired(void *context, uint32_t events)
{
    (void)events;
    serve(context);
}

static void start(struct virtio *virtio)
{
    struct rng *rng = (struct rng *)virtio;
    if (virtqueue_init(&rng->queue, virtio, 0))
        loop_add(virtio->loop, virtio->queues[0].kick_fd, EPOLLIN, kicked, rng);
}

static bool stop(struct virtio *virtio)
{
    struct rng *rng = (struct rng *)virtio;
    loop_remove(virtio->loop, virtio->queues[0].kick_fd);
    rng->queue.size = 0;
    return true;
}

static const struct virtio_ops ops = {
    .name = "rng", .type = VIRTIO_ID_RNG, .pci_class = 0x00ff00, .start = start, .stop = stop};

struct rng *rng_new(const struct virtio_host *host)
{
    struct rng *rng = calloc(1, sizeof(*rng));
    if (!rng)
        return NULL;
    rng->virtio.features_offered = 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC;
    rng->timer = loop_timer_new(host->loop, timer_fired, rng);
    int error = rng->timer < 0 ? rng->timer : virtio_init(&rng->virtio, host, &ops, 0, 1, QUEUE_SIZE);
    if (error) {
        free(rng);
        errno = -error;
        return NULL;
    }
    return rng;
}

void rng_free(struct rng *rng)
{
    if (!rng)
        return;
    virtio_free(&rng->virtio);
    free(rng);
}

struct virtio *rng_virtio(struct rng *rng)
{
    return &rng->virtio;
}
