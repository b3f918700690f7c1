/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: mapping, translation, containment of SIGBUS.
 *
 * Theory of operation
 *
 * A region of a guest is a piece of a file that the guest's VMM also has open and may truncate or punch at
 * any moment. Touching a page beyond the file's end raises SIGBUS in whichever thread did it. The handler
 * finds the mapping in a process-wide registry, maps private zero pages over all of it (the faulting
 * instruction then simply continues and reads zeros), marks the mapping dead and counts the death. Rings look
 * at the count once a round and stop with VRING_ERROR_MEMORY_GONE; the backend closes the connection. No
 * other port is involved. A fault at an address that is not in the registry goes to the handler that was
 * installed before.
 *
 * The registry is a fixed array of slots that the control thread fills and clears; the handler only reads it.
 * A slot has a generation that is odd while the slot changes (a sequence lock), so that the handler never
 * acts on half of an old and half of a new entry. A mapping in use is in the registry for longer than any
 * worker can touch it.
 *
 * Limits: zero pages cost real memory only where they are written, which a ring does until the end of its
 * round. If the kernel refuses to map zero pages, the fault is treated as any other and the process dies.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>
#include "memory.h"

#define REGISTRY_SLOTS 4096u

struct memory_mapping {
    uint8_t *base;
    size_t size;         /* bytes, multiple of the file's page size */
    unsigned references; /* tables; control thread */
    unsigned slot;       /* in the registry */
    atomic_bool dead;    /* SIGBUS handler: w, all: r */
};

static struct {
    atomic_uint generation; /* odd: being changed */
    atomic_uintptr_t base;
    atomic_size_t size; /* bytes; 0: free */
    _Atomic(struct memory_mapping *) mapping;
} registry[REGISTRY_SLOTS]; /* control: w, SIGBUS handler: r */

static atomic_uint registry_top; /* slots at and above it were never used; control: w, handler: r */
static struct sigaction previous_action;
static bool handler_installed;

atomic_uint memory_deaths;

/* Async-signal-safe: atomics and mmap(2) only. */
static bool contain_fault(uintptr_t address)
{
    unsigned top = atomic_load(&registry_top);
    for (unsigned i = 0; i < top; i++) {
        unsigned generation = atomic_load(&registry[i].generation);
        uintptr_t base = atomic_load(&registry[i].base);
        size_t size = atomic_load(&registry[i].size);
        struct memory_mapping *mapping = atomic_load(&registry[i].mapping);
        if ((generation & 1) || atomic_load(&registry[i].generation) != generation || address - base >= size)
            continue;
        void *wanted = mapping->base;
        /* Two threads may meet holes of one file at once: only the first may map, or it would wipe what the
         * ring wrote meanwhile; the second just tries its access again. */
        if (atomic_exchange(&mapping->dead, true))
            return true;
        atomic_fetch_add(&memory_deaths, 1);
        return mmap(wanted, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == wanted;
    }
    return false;
}

static void handle_sigbus(int signal, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    bool contained = info->si_code > 0 && contain_fault((uintptr_t)info->si_addr);
    errno = saved_errno;
    if (contained)
        return;
    if (previous_action.sa_flags & SA_SIGINFO) {
        previous_action.sa_sigaction(signal, info, context);
    } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
        previous_action.sa_handler(signal);
    } else {
        struct sigaction standard = {.sa_handler = SIG_DFL};
        sigaction(SIGBUS, &standard, NULL);
        raise(SIGBUS); /* taken when this handler returns */
    }
}

int memory_process_init(void)
{
    if (handler_installed)
        return 0;
    struct sigaction action = {.sa_sigaction = handle_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, &previous_action) < 0)
        return -errno;
    handler_installed = true;
    return 0;
}

static int registry_add(struct memory_mapping *mapping)
{
    unsigned slot = 0;
    while (slot < REGISTRY_SLOTS && atomic_load(&registry[slot].size) != 0)
        slot++;
    if (slot == REGISTRY_SLOTS)
        return -ENOSPC;
    atomic_fetch_add(&registry[slot].generation, 1);
    atomic_store(&registry[slot].base, (uintptr_t)mapping->base);
    atomic_store(&registry[slot].mapping, mapping);
    atomic_store(&registry[slot].size, mapping->size);
    atomic_fetch_add(&registry[slot].generation, 1);
    if (slot >= atomic_load(&registry_top))
        atomic_store(&registry_top, slot + 1);
    mapping->slot = slot;
    return 0;
}

static void registry_remove(const struct memory_mapping *mapping)
{
    atomic_fetch_add(&registry[mapping->slot].generation, 1);
    atomic_store(&registry[mapping->slot].size, 0);
    atomic_store(&registry[mapping->slot].mapping, NULL);
    atomic_fetch_add(&registry[mapping->slot].generation, 1);
}

static void mapping_release(struct memory_mapping *mapping)
{
    if (--mapping->references > 0)
        return;
    registry_remove(mapping);
    munmap(mapping->base, mapping->size);
    free(mapping);
}

/* Bytes of a page of the file: mmap(2) and munmap(2) of hugetlbfs want multiples of its page size. 0: not
 * usable. */
static uint64_t file_page_size(int fd)
{
    struct statfs filesystem;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (fstatfs(fd, &filesystem) < 0)
        return 0;
    if (filesystem.f_type == HUGETLBFS_MAGIC)
        page = (uint64_t)filesystem.f_bsize;
    return (page & (page - 1)) ? 0 : page;
}

static int region_map(const struct memory_region_config *config, struct memory_region *region)
{
    struct stat status;
    if (fstat(config->fd, &status) < 0)
        return -errno;
    uint64_t end;
    if (!S_ISREG(status.st_mode) || __builtin_add_overflow(config->offset, config->size, &end) ||
        end > (uint64_t)status.st_size)
        return -EINVAL;
    uint64_t page = file_page_size(config->fd);
    if (page == 0)
        return -EINVAL;
    /* The end of a regular file's last page is inside the page; a hugetlbfs file's size is a multiple of its
     * pages. */
    uint64_t first = config->offset & ~(page - 1), last = (end + page - 1) & ~(page - 1);
    if (last <= first || last - first > SIZE_MAX / 2)
        return -EINVAL;
    struct memory_mapping *mapping = calloc(1, sizeof(*mapping));
    if (!mapping)
        return -ENOMEM;
    mapping->references = 1;
    mapping->size = last - first;
    mapping->base = mmap(NULL, mapping->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, config->fd,
                         (off_t)first);
    int error = mapping->base == MAP_FAILED ? -errno : registry_add(mapping);
    if (error < 0) {
        if (mapping->base != MAP_FAILED)
            munmap(mapping->base, mapping->size);
        free(mapping);
        return error;
    }
    /* A guest's memory has no place in our core dump. */
    (void)madvise(mapping->base, mapping->size, MADV_DONTDUMP);
    *region = (struct memory_region){.guest_address = config->guest_address,
                                     .size = config->size,
                                     .host = mapping->base + (config->offset - first),
                                     .user_address = config->user_address,
                                     .mapping = mapping};
    return 0;
}

static bool ranges_meet(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b ? b - a < a_size : a - b < b_size;
}

/* Where the region belongs in the table, or -EINVAL. */
static int region_place(const struct memory_table *table, const struct memory_region_config *config)
{
    uint64_t guest_last, user_last;
    if (config->size == 0 || __builtin_add_overflow(config->guest_address, config->size - 1, &guest_last) ||
        __builtin_add_overflow(config->user_address, config->size - 1, &user_last))
        return -EINVAL;
    int place = 0;
    for (unsigned i = 0; i < table->count; i++) {
        const struct memory_region *other = &table->regions[i];
        if (ranges_meet(config->guest_address, config->size, other->guest_address, other->size) ||
            ranges_meet(config->user_address, config->size, other->user_address, other->size))
            return -EINVAL;
        place += other->guest_address < config->guest_address;
    }
    return place;
}

static struct memory_table *table_copy(const struct memory_table *old)
{
    struct memory_table *table = calloc(1, sizeof(*table));
    if (!table || !old)
        return table;
    *table = *old;
    for (unsigned i = 0; i < table->count; i++)
        table->regions[i].mapping->references++;
    return table;
}

int memory_table_add(const struct memory_table *old, const struct memory_region_config *regions,
                     unsigned count, struct memory_table **result)
{
    if (count > MEMORY_REGIONS_MAX || (old ? old->count : 0) + count > MEMORY_REGIONS_MAX)
        return -E2BIG;
    struct memory_table *table = table_copy(old);
    if (!table)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        struct memory_region region;
        int place = region_place(table, &regions[i]);
        int error = place < 0 ? place : region_map(&regions[i], &region);
        if (error < 0) {
            memory_table_free(table);
            return error;
        }
        memmove(&table->regions[place + 1], &table->regions[place],
                (table->count - (unsigned)place) * sizeof(table->regions[0]));
        table->regions[place] = region;
        table->count++;
    }
    *result = table;
    return 0;
}

int memory_table_remove(const struct memory_table *old, const struct memory_region_config *region,
                        struct memory_table **result)
{
    unsigned place = 0;
    while (place < old->count && (old->regions[place].guest_address != region->guest_address ||
                                  old->regions[place].size != region->size ||
                                  old->regions[place].user_address != region->user_address))
        place++;
    if (place == old->count)
        return -ENOENT;
    struct memory_table *table = table_copy(old);
    if (!table)
        return -ENOMEM;
    mapping_release(table->regions[place].mapping);
    table->count--;
    memmove(&table->regions[place], &table->regions[place + 1],
            (table->count - place) * sizeof(table->regions[0]));
    *result = table;
    return 0;
}

void memory_table_free(struct memory_table *table)
{
    if (!table)
        return;
    for (unsigned i = 0; i < table->count; i++)
        mapping_release(table->regions[i].mapping);
    free(table);
}

uint64_t memory_table_bytes(const struct memory_table *table)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < table->count; i++)
        bytes += table->regions[i].size;
    return bytes;
}

bool memory_dead(const struct memory_table *table)
{
    for (unsigned i = 0; i < table->count; i++)
        if (atomic_load(&table->regions[i].mapping->dead))
            return true;
    return false;
}

void *memory_user_range(const struct memory_table *table, uint64_t user_address, uint64_t size)
{
    for (unsigned i = 0; i < table->count; i++) {
        const struct memory_region *region = &table->regions[i];
        uint64_t offset = user_address - region->user_address;
        if (size > 0 && offset < region->size && size <= region->size - offset)
            return region->host + offset;
    }
    return NULL;
}

const struct memory_region *memory_find(const struct memory_table *table, uint64_t address)
{
    unsigned low = 0, high = table->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const struct memory_region *region = &table->regions[middle];
        if (address - region->guest_address < region->size)
            return region;
        if (address < region->guest_address)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

int memory_translate(const struct memory_table *table, uint64_t address, uint64_t size,
                     struct memory_span *spans, unsigned max)
{
    const struct memory_region *region = memory_find(table, address), *end = table->regions + table->count;
    int count = 0;
    if (!region)
        return -EFAULT;
    while (size > 0) {
        /* The next region continues this one only if it starts exactly where this one ends. */
        if (region == end || address - region->guest_address >= region->size)
            return -EFAULT;
        uint64_t offset = address - region->guest_address, piece = region->size - offset;
        if (piece > size)
            piece = size;
        if ((unsigned)count == max)
            return -E2BIG;
        spans[count++] = (struct memory_span){region->host + offset, piece};
        size -= piece;
        if (size > 0 && __builtin_add_overflow(address, piece, &address))
            return -EFAULT;
        region++;
    }
    return count;
}
