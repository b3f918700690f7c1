/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "layout.h"
#include "ram.h"

#define HUGEPAGE_SIZE (2u << 20)

static int map_memfd(struct ram *ram, bool huge)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
    int fd = memfd_create("weft-vmm-ram", flags), error;
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)ram->size))
        goto fail;
    /* Hugepages are reserved here, so that a later write cannot meet an empty pool (SIGBUS). */
    ram->host = mmap(NULL, ram->size, PROT_READ | PROT_WRITE, MAP_SHARED | (huge ? 0 : MAP_NORESERVE), fd, 0);
    if (ram->host == MAP_FAILED)
        goto fail;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
        munmap(ram->host, ram->size);
        goto fail;
    }
    ram->fd = fd;
    ram->page_size = huge ? HUGEPAGE_SIZE : 4096;
    return 0;
fail:
    error = -errno;
    close(fd);
    ram->host = NULL;
    return error;
}

int ram_init(struct ram *ram, uint64_t size, enum ram_hugepages hugepages, bool preallocate)
{
    memset(ram, 0, sizeof(*ram));
    ram->fd = -1;
    ram->size = size;
    int error = -ENOMEM;
    if (hugepages != RAM_HUGEPAGES_OFF && size % HUGEPAGE_SIZE == 0)
        error = map_memfd(ram, true);
    if (error && hugepages != RAM_HUGEPAGES_ON)
        error = map_memfd(ram, false);
    if (error)
        return error;
    madvise(ram->host, size, MADV_DONTDUMP);
    if (preallocate && madvise(ram->host, size, MADV_POPULATE_WRITE)) {
        error = -errno;
        ram_free(ram);
        return error;
    }
    uint64_t low = size < LAYOUT_LOW_RAM_MAX ? size : LAYOUT_LOW_RAM_MAX;
    ram->ranges[ram->range_count++] = (struct ram_range){0, low, 0};
    if (size > low)
        ram->ranges[ram->range_count++] = (struct ram_range){LAYOUT_HIGH_RAM, size - low, low};
    return 0;
}

void ram_free(struct ram *ram)
{
    if (ram->host)
        munmap(ram->host, ram->size);
    if (ram->fd >= 0)
        close(ram->fd);
    ram->host = NULL;
    ram->fd = -1;
}

static const struct ram_range *range_of(const struct ram *ram, uint64_t address)
{
    for (unsigned i = 0; i < ram->range_count; i++)
        if (address - ram->ranges[i].guest_address < ram->ranges[i].size)
            return &ram->ranges[i];
    return NULL;
}

void *ram_at(const struct ram *ram, uint64_t address, uint64_t size)
{
    const struct ram_range *range = range_of(ram, address);
    if (!range || size == 0 || size > range->size - (address - range->guest_address))
        return NULL;
    return ram->host + range->offset + (address - range->guest_address);
}

int ram_discard(const struct ram *ram, uint64_t address, uint64_t size)
{
    const uint8_t *host = ram_at(ram, address, size);
    if (!host)
        return -EFAULT;
    if (fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, host - ram->host, (off_t)size))
        return -errno;
    return 0;
}
