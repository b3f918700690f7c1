/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: a few threads serve one queue. Each waits for the queue's kick, takes requests under
 * the device's lock, does the file's work without it, and gives the request back under it. A reset empties
 * the queue (size 0) at once; what is in work then still ends, unheard by the guest, and the last one tells
 * the loop through event_fd, which completes the reset. A malformed request reaches the loop the same way.
 *
 * Lock order: machine lock, then blk->lock. The threads take only blk->lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "blk.h"
#include "log.h"
#include "virtqueue.h"

#define QUEUE_SIZE       256
#define THREADS_MAX      8u
#define STACK_SIZE       (128u << 10)
#define SECTOR           512u
#define SERIAL_SIZE      20u
#define DISCARD_SECTORS  (1u << 22) /* of one discard or write zeroes segment: 2 GiB */
#define DISCARD_SEGMENTS 16u
#define ZEROES_SIZE      65536u

struct blk {
    struct virtio virtio;
    struct blk_config config;
    bool block_device;
    uint64_t sectors;
    int event_fd; /* threads: w, loop: r */
    int exit_fd;  /* readable: the threads end */
    void (*enter)(void);
    unsigned thread_count;
    pthread_t threads[THREADS_MAX];
    pthread_mutex_t lock; /* protects all below */
    struct virtqueue queue;
    unsigned in_work;
    bool broken, stopping, write_through;
    uint64_t bytes_read, bytes_written;
};

/* iov[first..first+count) cut down to [offset, offset + size) of it. Returns the count of pieces. */
static unsigned slice(struct iovec *out, const struct iovec *iov, unsigned count, uint64_t offset,
                      uint64_t size)
{
    unsigned pieces = 0;
    for (unsigned i = 0; i < count && size > 0; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        uint64_t part = iov[i].iov_len - offset < size ? iov[i].iov_len - offset : size;
        out[pieces++] = (struct iovec){(uint8_t *)iov[i].iov_base + offset, part};
        size -= part;
        offset = 0;
    }
    return pieces;
}

static bool range_valid(const struct blk *blk, uint64_t sector, uint64_t count)
{
    return sector <= blk->sectors && count <= blk->sectors - sector;
}

/* Moves all of `size` bytes between file and guest, or fails. */
static uint8_t transfer(struct blk *blk, const struct virtqueue_chain *chain, uint64_t sector, bool write)
{
    struct iovec iov[VIRTQUEUE_IOV_MAX];
    uint64_t size = write ? chain->read_size - sizeof(struct virtio_blk_outhdr) : chain->write_size - 1;
    if (size % SECTOR || !range_valid(blk, sector, size / SECTOR) || (write && blk->config.read_only))
        return VIRTIO_BLK_S_IOERR;
    unsigned count = write ? slice(iov, chain->iov, chain->read_count, sizeof(struct virtio_blk_outhdr), size)
                           : slice(iov, chain->iov + chain->read_count, chain->write_count, 0, size);
    off_t at = (off_t)(sector * SECTOR);
    struct iovec *next = iov;
    while (size > 0) {
        ssize_t done = write ? pwritev(blk->config.fd, next, (int)count, at)
                             : preadv(blk->config.fd, next, (int)count, at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return VIRTIO_BLK_S_IOERR;
        size -= (uint64_t)done;
        at += done;
        while (count && (size_t)done >= next->iov_len) {
            done -= (ssize_t)next->iov_len;
            next++;
            count--;
        }
        if (done && count) {
            next->iov_base = (uint8_t *)next->iov_base + done;
            next->iov_len -= (size_t)done;
        }
    }
    if (write && blk->write_through && fdatasync(blk->config.fd))
        return VIRTIO_BLK_S_IOERR;
    return VIRTIO_BLK_S_OK;
}

/* For file systems that know no other way (tmpfs, NFS before 4.2). */
static int write_zeroes(const struct blk *blk, uint64_t sector, uint64_t sectors)
{
    static uint8_t zeroes[ZEROES_SIZE];
    struct iovec iov[VIRTQUEUE_IOV_MAX];
    off_t at = (off_t)(sector * SECTOR);
    for (uint64_t size = sectors * SECTOR; size > 0;) {
        unsigned count = 0;
        for (uint64_t left = size; left > 0 && count < VIRTQUEUE_IOV_MAX; left -= iov[count++].iov_len)
            iov[count] = (struct iovec){zeroes, left < ZEROES_SIZE ? left : ZEROES_SIZE};
        ssize_t done = pwritev(blk->config.fd, iov, (int)count, at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        size -= (uint64_t)done;
        at += done;
    }
    return 0;
}

static int punch(const struct blk *blk, uint64_t sector, uint64_t sectors, bool zeroes, bool unmap)
{
    if (blk->block_device) {
        uint64_t range[2] = {sector * SECTOR, sectors * SECTOR};
        return ioctl(blk->config.fd, zeroes ? BLKZEROOUT : BLKDISCARD, range);
    }
    int mode = zeroes && !unmap ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;
    int result = fallocate(blk->config.fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)(sector * SECTOR),
                           (off_t)(sectors * SECTOR));
    return result && zeroes && errno == EOPNOTSUPP ? write_zeroes(blk, sector, sectors) : result;
}

static uint8_t discard(const struct blk *blk, const struct virtqueue_chain *chain, bool zeroes)
{
    struct virtio_blk_discard_write_zeroes segments[DISCARD_SEGMENTS];
    uint64_t size = chain->read_size - sizeof(struct virtio_blk_outhdr);
    if (blk->config.read_only || size % sizeof(segments[0]) || size > sizeof(segments))
        return VIRTIO_BLK_S_IOERR;
    iov_copy_out(chain->iov, chain->read_count, sizeof(struct virtio_blk_outhdr), segments, size);
    for (uint64_t i = 0; i < size / sizeof(segments[0]); i++) {
        uint32_t flags = segments[i].flags;
        if (flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
            return VIRTIO_BLK_S_UNSUPP;
        if (segments[i].num_sectors > DISCARD_SECTORS ||
            !range_valid(blk, segments[i].sector, segments[i].num_sectors))
            return VIRTIO_BLK_S_IOERR;
        if (segments[i].num_sectors &&
            punch(blk, segments[i].sector, segments[i].num_sectors, zeroes, flags != 0))
            return errno == EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
    }
    return VIRTIO_BLK_S_OK;
}

/* Serves a request; *written: bytes written into the guest's buffers. */
static uint8_t serve(struct blk *blk, const struct virtqueue_chain *chain, uint32_t *written)
{
    struct virtio_blk_outhdr header;
    *written = 0;
    iov_copy_out(chain->iov, chain->read_count, 0, &header, sizeof(header));
    switch (header.type) {
    case VIRTIO_BLK_T_IN: {
        uint8_t status = transfer(blk, chain, header.sector, false);
        *written = status == VIRTIO_BLK_S_OK ? (uint32_t)(chain->write_size - 1) : 0;
        return status;
    }
    case VIRTIO_BLK_T_OUT:
        return transfer(blk, chain, header.sector, true);
    case VIRTIO_BLK_T_FLUSH:
        return fdatasync(blk->config.fd) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        return discard(blk, chain, header.type == VIRTIO_BLK_T_WRITE_ZEROES);
    case VIRTIO_BLK_T_GET_ID: {
        uint64_t size = chain->write_size - 1 < SERIAL_SIZE ? chain->write_size - 1 : SERIAL_SIZE;
        *written = (uint32_t)iov_copy_in(chain->iov + chain->read_count, chain->write_count, 0,
                                         blk->config.serial, size);
        return VIRTIO_BLK_S_OK;
    }
    default:
        return VIRTIO_BLK_S_UNSUPP;
    }
}

static void tell_loop(struct blk *blk)
{
    uint64_t one = 1;
    if (write(blk->event_fd, &one, sizeof(one)) < 0)
        return; /* counter full: it is readable anyway */
}

/* With the lock held, dropped around the work. False: nothing to do. */
static bool serve_one(struct blk *blk)
{
    struct virtqueue_chain chain;
    int found = virtqueue_pop(&blk->queue, &chain);
    /* A request has a whole header to read and a status byte to write, or there is no way to answer. */
    if (found < 0 || (found && (chain.read_size < sizeof(struct virtio_blk_outhdr) || !chain.write_size ||
                                chain.read_size > UINT32_MAX || chain.write_size > UINT32_MAX))) {
        blk->queue.size = 0;
        blk->broken = true;
        tell_loop(blk);
        return false;
    }
    if (!found)
        return false;
    blk->in_work++;
    pthread_mutex_unlock(&blk->lock);
    uint32_t written;
    uint8_t status = serve(blk, &chain, &written);
    iov_copy_in(chain.iov + chain.read_count, chain.write_count, chain.write_size - 1, &status, 1);
    pthread_mutex_lock(&blk->lock);
    blk->in_work--;
    blk->bytes_read += written;
    blk->bytes_written += chain.read_size - sizeof(struct virtio_blk_outhdr);
    if (blk->queue.size)
        virtqueue_push(&blk->queue, chain.head, written + 1);
    if (blk->stopping && !blk->in_work)
        tell_loop(blk);
    return true;
}

static void *thread_main(void *context)
{
    struct blk *blk = context;
    blk->enter();
    struct pollfd fds[2] = {{.fd = blk->virtio.queues[0].kick_fd, .events = POLLIN},
                            {.fd = blk->exit_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
        uint64_t count;
        if (fds[1].revents)
            break;
        if (read(fds[0].fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
            break;
        pthread_mutex_lock(&blk->lock);
        while (serve_one(blk))
            ;
        pthread_mutex_unlock(&blk->lock);
    }
    return NULL;
}

static void loop_event(void *context, uint32_t events)
{
    (void)events;
    struct blk *blk = context;
    uint64_t count;
    if (read(blk->event_fd, &count, sizeof(count)) < 0)
        return;
    pthread_mutex_lock(&blk->lock);
    bool broken = blk->broken, stopped = blk->stopping && !blk->in_work;
    blk->broken = false;
    if (stopped)
        blk->stopping = false;
    pthread_mutex_unlock(&blk->lock);
    if (stopped)
        virtio_stopped(&blk->virtio);
    else if (broken)
        virtio_needs_reset(&blk->virtio, "malformed request");
}

static void start(struct virtio *virtio)
{
    struct blk *blk = (struct blk *)virtio;
    uint64_t one = 1;
    pthread_mutex_lock(&blk->lock);
    virtqueue_init(&blk->queue, virtio, 0);
    blk->write_through = !virtio_has(virtio, VIRTIO_BLK_F_FLUSH); /* 5.2.6.2: no flush, no cache */
    blk->broken = false;
    pthread_mutex_unlock(&blk->lock);
    if (write(virtio->queues[0].kick_fd, &one, sizeof(one)) < 0)
        return; /* it is signalled anyway */
}

static bool stop(struct virtio *virtio)
{
    struct blk *blk = (struct blk *)virtio;
    pthread_mutex_lock(&blk->lock);
    blk->queue.size = 0;
    bool idle = blk->in_work == 0;
    blk->stopping = !idle;
    pthread_mutex_unlock(&blk->lock);
    return idle;
}

static const struct virtio_ops ops = {
    .name = "blk", .type = VIRTIO_ID_BLOCK, .pci_class = 0x018000, .start = start, .stop = stop};

static int measure(struct blk *blk)
{
    struct stat stat;
    if (fstat(blk->config.fd, &stat))
        return -errno;
    uint64_t size = (uint64_t)stat.st_size;
    blk->block_device = S_ISBLK(stat.st_mode);
    if (blk->block_device && ioctl(blk->config.fd, BLKGETSIZE64, &size))
        return -errno;
    blk->sectors = size / SECTOR;
    return 0;
}

static void fill_config(struct blk *blk)
{
    struct virtio *virtio = &blk->virtio;
    struct virtio_blk_config config = {
        .capacity = blk->sectors,
        .seg_max = VIRTQUEUE_IOV_MAX - 2,
        .max_discard_sectors = DISCARD_SECTORS,
        .max_discard_seg = DISCARD_SEGMENTS,
        .discard_sector_alignment = 8,
        .max_write_zeroes_sectors = DISCARD_SECTORS,
        .max_write_zeroes_seg = DISCARD_SEGMENTS,
        .write_zeroes_may_unmap = 1,
    };
    _Static_assert(offsetof(struct virtio_blk_config, unused1) + 3 <= VIRTIO_CONFIG_MAX, "config fits");
    virtio->config_size = offsetof(struct virtio_blk_config, unused1) + 3;
    memcpy(virtio->config, &config, virtio->config_size);
    virtio->features_offered = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_FLUSH |
                               1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX;
    if (blk->config.read_only)
        virtio->features_offered |= 1ull << VIRTIO_BLK_F_RO;
    else
        virtio->features_offered |= 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}

struct blk *blk_new(const struct virtio_host *host, unsigned index, const struct blk_config *config)
{
    struct blk *blk = calloc(1, sizeof(*blk));
    if (!blk)
        return NULL;
    blk->config = *config;
    pthread_mutex_init(&blk->lock, NULL);
    blk->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    blk->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = blk->event_fd < 0 || blk->exit_fd < 0 ? -errno : measure(blk);
    if (!error) {
        fill_config(blk);
        error = virtio_init(&blk->virtio, host, &ops, index, 1, QUEUE_SIZE);
    }
    if (!error)
        error = loop_add(host->loop, blk->event_fd, EPOLLIN, loop_event, blk);
    if (error) {
        close(blk->event_fd);
        close(blk->exit_fd);
        free(blk);
        errno = -error;
        return NULL;
    }
    return blk;
}

int blk_run(struct blk *blk, void (*enter)(void))
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    blk->enter = enter;
    int error = 0;
    while (!error && blk->thread_count < blk->config.threads && blk->thread_count < THREADS_MAX) {
        error = -pthread_create(&blk->threads[blk->thread_count], &attributes, thread_main, blk);
        if (!error)
            blk->thread_count++;
    }
    pthread_attr_destroy(&attributes);
    return error;
}

void blk_free(struct blk *blk)
{
    if (!blk)
        return;
    uint64_t one = 1;
    if (write(blk->exit_fd, &one, sizeof(one)) == sizeof(one))
        for (unsigned i = 0; i < blk->thread_count; i++)
            pthread_join(blk->threads[i], NULL);
    loop_remove(blk->virtio.loop, blk->event_fd);
    virtio_free(&blk->virtio);
    close(blk->event_fd);
    close(blk->exit_fd);
    close(blk->config.fd);
    pthread_mutex_destroy(&blk->lock);
    free(blk);
}

struct virtio *blk_virtio(struct blk *blk)
{
    return &blk->virtio;
}

void blk_counters(struct blk *blk, uint64_t *bytes_read, uint64_t *bytes_written)
{
    pthread_mutex_lock(&blk->lock);
    *bytes_read = blk->bytes_read;
    *bytes_written = blk->bytes_written;
    pthread_mutex_unlock(&blk->lock);
}
