/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: three queues. Inflate and deflate carry arrays of 4 KiB page numbers; inflated pages
 * are punched out of the memfd. The statistics queue holds one buffer of the driver's all the time: we give
 * it back to ask for new figures (once a second), the driver fills it and gives it again.
 */
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "balloon.h"
#include "log.h"
#include "virtqueue.h"

enum { INFLATE, DEFLATE, STATS, QUEUES };
#define QUEUE_SIZE      128
#define PAGE_SIZE       4096ull
#define PAGES_PER_ROUND 8192   /* then the loop serves others first: a page is a system call */
#define PAGES_PER_CHAIN 64     /* what a request costs beside its pages, in pages */
#define PAGES_MAX       1024u  /* page numbers read at a time */
#define ARRAY_SIZE_MAX  32768u /* bytes of page numbers in a request; the rest of it is not looked at */
#define STATS_PERIOD_MS 1000u

struct balloon {
    struct virtio virtio;
    struct virtqueue queues[QUEUES];
    int timer;
    bool stats_held;
    uint16_t stats_head;
    struct balloon_status status;
};

/* Returns the count of page numbers in the request. */
static int inflate(struct balloon *balloon, const struct virtqueue_chain *chain)
{
    uint32_t pages[PAGES_MAX];
    const struct ram *ram = balloon->virtio.ram;
    uint64_t offset;
    for (offset = 0; offset < chain->read_size && offset < ARRAY_SIZE_MAX;) {
        uint64_t size = iov_copy_out(chain->iov, chain->read_count, offset, pages, sizeof(pages));
        offset += size;
        if (ram->page_size != PAGE_SIZE) /* a 4 KiB hole in a hugepage frees nothing */
            continue;
        for (uint64_t i = 0, run; i < size / 4; i += run) {
            for (run = 1; i + run < size / 4 && pages[i + run] == pages[i] + run; run++)
                ;
            if (ram_discard(ram, pages[i] * PAGE_SIZE, run * PAGE_SIZE) == 0)
                balloon->status.discarded += run * PAGE_SIZE;
        }
    }
    return (int)(offset / 4);
}

static void take_stats(struct balloon *balloon, const struct virtqueue_chain *chain)
{
    struct virtio_balloon_stat stat;
    for (uint64_t offset = 0; offset + sizeof(stat) <= chain->read_size && offset < PAGE_SIZE;
         offset += sizeof(stat)) {
        iov_copy_out(chain->iov, chain->read_count, offset, &stat, sizeof(stat));
        if (stat.tag < BALLOON_STATS_COUNT) {
            balloon->status.stats[stat.tag] = stat.val;
            balloon->status.stats_valid[stat.tag] = true;
        }
    }
}

static void serve(struct balloon *balloon, unsigned index)
{
    struct virtqueue *queue = &balloon->queues[index];
    struct virtqueue_chain chain;
    int found = 0;
    int budget = PAGES_PER_ROUND;
    while (budget > 0 && (found = virtqueue_pop(queue, &chain)) > 0) {
        budget -= PAGES_PER_CHAIN;
        if (index == INFLATE)
            budget -= inflate(balloon, &chain);
        if (index != STATS) {
            virtqueue_push(queue, chain.head, 0);
            continue;
        }
        if (balloon->stats_held)
            virtqueue_push(queue, balloon->stats_head, 0);
        take_stats(balloon, &chain);
        balloon->stats_held = true;
        balloon->stats_head = chain.head;
        break;
    }
    if (found < 0) {
        queue->size = 0;
        virtio_needs_reset(&balloon->virtio, "malformed request");
    }
    uint64_t one = 1;
    if (budget <= 0 && write(balloon->virtio.queues[index].kick_fd, &one, sizeof(one)) < 0)
        return; /* it is signalled anyway */
}

static void kicked(void *context, uint32_t events)
{
    (void)events;
    struct balloon *balloon = context;
    uint64_t count;
    for (unsigned i = 0; i < QUEUES; i++)
        if (read(balloon->virtio.queues[i].kick_fd, &count, sizeof(count)) == sizeof(count))
            serve(balloon, i);
}

static void ask_stats(void *context, uint32_t events)
{
    (void)events;
    struct balloon *balloon = context;
    if (balloon->stats_held && balloon->queues[STATS].size) {
        balloon->stats_held = false;
        virtqueue_push(&balloon->queues[STATS], balloon->stats_head, 0);
    }
    if (balloon->virtio.started)
        loop_timer_set(balloon->virtio.loop, balloon->timer, STATS_PERIOD_MS);
}

static void start(struct virtio *virtio)
{
    struct balloon *balloon = (struct balloon *)virtio;
    for (unsigned i = 0; i < QUEUES; i++) {
        bool wanted = i != STATS || virtio_has(virtio, VIRTIO_BALLOON_F_STATS_VQ);
        if (virtqueue_init(&balloon->queues[i], virtio, i) && wanted)
            loop_add(virtio->loop, virtio->queues[i].kick_fd, EPOLLIN, kicked, balloon);
    }
    loop_timer_set(virtio->loop, balloon->timer, STATS_PERIOD_MS);
}

static bool stop(struct virtio *virtio)
{
    struct balloon *balloon = (struct balloon *)virtio;
    for (unsigned i = 0; i < QUEUES; i++) {
        loop_remove(virtio->loop, virtio->queues[i].kick_fd);
        balloon->queues[i].size = 0;
    }
    balloon->stats_held = false;
    memset(balloon->status.stats_valid, 0, sizeof(balloon->status.stats_valid));
    memset(virtio->config + 4, 0, 4); /* actual: whoever drives it next starts empty */
    loop_timer_set(virtio->loop, balloon->timer, 0);
    return true;
}

static const struct virtio_ops ops = {
    .name = "balloon", .type = VIRTIO_ID_BALLOON, .pci_class = 0x00ff00, .start = start, .stop = stop};

struct balloon *balloon_new(const struct virtio_host *host)
{
    struct balloon *balloon = calloc(1, sizeof(*balloon));
    if (!balloon)
        return NULL;
    struct virtio *virtio = &balloon->virtio;
    virtio->features_offered = 1ull << VIRTIO_BALLOON_F_STATS_VQ | 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
                               1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX;
    virtio->config_size = 8; /* num_pages, actual */
    memset(virtio->config_writable + 4, 0xff, 4);
    balloon->timer = loop_timer_new(host->loop, ask_stats, balloon);
    int error = balloon->timer < 0 ? balloon->timer : virtio_init(virtio, host, &ops, 0, QUEUES, QUEUE_SIZE);
    if (error) {
        free(balloon);
        errno = -error;
        return NULL;
    }
    return balloon;
}

void balloon_free(struct balloon *balloon)
{
    if (!balloon)
        return;
    virtio_free(&balloon->virtio);
    free(balloon);
}

struct virtio *balloon_virtio(struct balloon *balloon)
{
    return &balloon->virtio;
}

void balloon_set_target(struct balloon *balloon, uint64_t bytes)
{
    uint32_t pages = (uint32_t)(bytes / PAGE_SIZE);
    balloon->status.target = pages * PAGE_SIZE;
    memcpy(balloon->virtio.config, &pages, sizeof(pages));
    virtio_config_changed(&balloon->virtio);
}

void balloon_status(struct balloon *balloon, struct balloon_status *status)
{
    uint32_t actual;
    memcpy(&actual, balloon->virtio.config + 4, sizeof(actual));
    balloon->status.actual = actual * PAGE_SIZE;
    *status = balloon->status;
}
