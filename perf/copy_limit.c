/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "copy_limit.h"
#include "packet.h"

#define HUGEPAGE_SIZE (2u << 20)

static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* As the driver's: hugepages if there are some. */
static uint8_t *area(size_t *size)
{
    size_t huge = (*size + HUGEPAGE_SIZE - 1) / HUGEPAGE_SIZE * HUGEPAGE_SIZE;
    int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE;
    void *memory = mmap(NULL, huge, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
    if (memory == MAP_FAILED)
        memory = mmap(NULL, huge, PROT_READ | PROT_WRITE, flags, -1, 0);
    *size = huge;
    if (memory == MAP_FAILED)
        return NULL;
    memset(memory, 0x5a, huge);
    return memory;
}

double copy_limit_run(const struct copy_limit *limit)
{
    size_t from_size = (size_t)limit->buffers * limit->buffer_size, to_size = from_size;
    uint8_t *from = area(&from_size), *to = from ? area(&to_size) : NULL;
    if (!to) {
        if (from)
            munmap(from, from_size);
        return -ENOMEM;
    }
    uint64_t copied = 0;
    double start = now_s(), now = start;
    while (now - start < limit->seconds) {
        for (uint32_t i = 0; i < limit->buffers; i++) {
            size_t at = (size_t)i * limit->buffer_size;
            memcpy(to + at, from + at, limit->size + VIRTIO_NET_HEADER_SIZE);
            __asm__ volatile("" ::: "memory"); /* each copy is made */
        }
        copied += limit->buffers;
        now = now_s();
    }
    munmap(from, from_size);
    munmap(to, to_size);
    return (double)copied * limit->size / (now - start);
}
