/* SPDX-License-Identifier: BSD-3-Clause */
/* One memfd holds everything that is shared; each area begins on a page of its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "driver_private.h"

#define PAGE_SIZE     4096u
#define HUGEPAGE_SIZE (2u << 20)

struct layout {
    uint64_t desc, driver, device, tables, buffers; /* bytes */
};

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static struct layout queue_layout(const struct driver_queue *queue)
{
    uint64_t size = queue->size;
    struct layout layout = {
        .desc = round_up(size * 16, PAGE_SIZE),
        .driver = PAGE_SIZE,
        .device = PAGE_SIZE,
        .tables = round_up(size * queue->indirect_entries * 16, PAGE_SIZE),
        .buffers = round_up(size * queue->buffer_size, PAGE_SIZE),
    };
    if (!queue->packed) {
        layout.driver = round_up(sizeof(struct split_avail) + size * 2 + 2, PAGE_SIZE);
        layout.device = round_up(sizeof(struct split_used) + size * 8 + 2, PAGE_SIZE);
    }
    return layout;
}

static int open_file(const struct driver_device *device, uint64_t *size)
{
    if (device->config.hugepages) {
        uint64_t huge_size = round_up(*size, HUGEPAGE_SIZE);
        int fd = memfd_create("weft-driver", MFD_CLOEXEC | MFD_HUGETLB);
        /* fallocate takes the pages now, so that a lack of them is seen here and not as SIGBUS later. */
        if (fd >= 0 && ftruncate(fd, (off_t)huge_size) == 0 &&
            posix_fallocate(fd, 0, (off_t)huge_size) == 0) {
            *size = huge_size;
            return fd;
        }
        if (fd >= 0)
            close(fd);
    }
    int fd = memfd_create("weft-driver", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)*size) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static uint8_t *place(uint8_t **cursor, uint64_t size)
{
    uint8_t *area = *cursor;
    *cursor += size;
    return area;
}

static int open_queue_arrays(struct driver_queue *queue)
{
    queue->slots = calloc(queue->size, sizeof(*queue->slots));
    queue->pieces = calloc(queue->size, sizeof(*queue->pieces));
    queue->heads = calloc(queue->size, sizeof(*queue->heads));
    queue->shadow = calloc(queue->size, sizeof(*queue->shadow));
    queue->collected = calloc(queue->size, sizeof(*queue->collected));
    return queue->slots && queue->pieces && queue->heads && queue->shadow && queue->collected ? 0 : -ENOMEM;
}

int driver_memory_open(struct driver_device *device)
{
    uint64_t size = 0;
    for (unsigned i = 0; i < device->queue_count; i++) {
        struct layout layout = queue_layout(&device->queues[i]);
        size += layout.desc + layout.driver + layout.device + layout.tables + layout.buffers;
    }
    int fd = open_file(device, &size);
    if (fd < 0)
        return fd;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        int error = -errno;
        close(fd);
        return error;
    }
    device->memory_fd = fd;
    device->memory = memory;
    device->memory_size = size;
    uint8_t *cursor = memory;
    for (unsigned i = 0; i < device->queue_count; i++) {
        struct driver_queue *queue = &device->queues[i];
        struct layout layout = queue_layout(queue);
        queue->desc = place(&cursor, layout.desc);
        queue->avail = (void *)place(&cursor, layout.driver);
        queue->used = (void *)place(&cursor, layout.device);
        queue->tables = place(&cursor, layout.tables);
        queue->buffers = place(&cursor, layout.buffers);
        int result = open_queue_arrays(queue);
        if (result < 0)
            return result;
    }
    return 0;
}

void driver_memory_close(struct driver_device *device)
{
    for (unsigned i = 0; i < device->queue_count; i++) {
        struct driver_queue *queue = &device->queues[i];
        free(queue->slots);
        free(queue->pieces);
        free(queue->heads);
        free(queue->shadow);
        free(queue->collected);
    }
    if (device->memory)
        munmap(device->memory, device->memory_size);
    if (device->memory_fd >= 0)
        close(device->memory_fd);
}
