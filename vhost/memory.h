/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A guest's memory as the device sees it: regions mapped from the files that the frontend passed, and the
 * translation of guest addresses into them.
 *
 * A table never changes: a changed memory layout is a new table, which shares the mappings that stay with the
 * old one (reference counted). A table may be freed when no ring uses it and a grace period has passed.
 *
 * Threads: tables are made and freed by the control thread; workers (and the control thread) translate. A
 * mapping's `dead` flag is written by the SIGBUS handler on whichever thread met the hole.
 *
 * Errors: 0 or -errno.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMORY_REGIONS_MAX 64u

/* One region as a frontend describes it (vhost-user, "Memory region description"). */
struct memory_region_config {
    uint64_t guest_address; /* guest physical */
    uint64_t size;          /* bytes */
    uint64_t user_address;  /* the frontend's own address of it; ring addresses are given in these */
    uint64_t offset;        /* of the region in the file, bytes */
    int fd; /* regular file, hugetlbfs file or memfd; stays the caller's and may be closed afterwards */
};

struct memory_mapping; /* private to memory.c */

struct memory_region {
    uint64_t guest_address;
    uint64_t size; /* bytes */
    uint8_t *host; /* where guest_address is in this process */
    uint64_t user_address;
    struct memory_mapping *mapping;
};

struct memory_table {
    unsigned count;
    struct memory_region regions[MEMORY_REGIONS_MAX]; /* ascending guest_address */
};

/* A piece of guest memory, wholly inside a region. */
struct memory_span {
    uint8_t *base;
    uint64_t size; /* bytes */
};

/* Once a process: installs the SIGBUS handler. Faults outside registered mappings go to the handler that was
 * there. Calling it again does nothing. 0 or -errno. */
int memory_process_init(void);

/* Maps regions[0..count) (any order) on top of `old`'s (NULL: none): *table is a new table of both. `old`
 * stays valid and the caller's. count 0 and old NULL make an empty table. -EINVAL: size 0, wraps around,
 * overlaps another by guest or user address, offset + size beyond the file's end, not a regular file, or a
 * mapping that the page size of the file does not allow -E2BIG: more than MEMORY_REGIONS_MAX;  -ENOSPC: more
 * mappings in the process than the SIGBUS registry holds and what fstat(2), mmap(2) say. */
int memory_table_add(const struct memory_table *old, const struct memory_region_config *regions,
                     unsigned count, struct memory_table **table);
/* A new table without the region that has this guest_address, size and user_address. -ENOENT. */
int memory_table_remove(const struct memory_table *old, const struct memory_region_config *region,
                        struct memory_table **table);
/* Unmaps what no other table uses. NULL is fine. */
void memory_table_free(struct memory_table *table);
uint64_t memory_table_bytes(const struct memory_table *table); /* mapped, sum of the regions' sizes */

/* True if the file of one of the table's regions was truncated or punched under us (a SIGBUS was caught). Any
 * thread. */
bool memory_dead(const struct memory_table *table);
/* How many mappings of the process have died so far: cheap test whether memory_dead() is worth asking. */
extern atomic_uint memory_deaths;

/* The frontend's [user_address, +size) as one pointer; NULL if it is not wholly inside one region. size > 0.
 */
void *memory_user_range(const struct memory_table *table, uint64_t user_address, uint64_t size);

/* The region that holds guest address `address`, NULL: none. */
const struct memory_region *memory_find(const struct memory_table *table, uint64_t address);

/* The guest's [address, +size) as spans, in order. Number of spans (0 if size is 0 and the address is inside
 * a region), -EFAULT: not wholly inside guest memory, -E2BIG: more than `max` spans. */
int memory_translate(const struct memory_table *table, uint64_t address, uint64_t size,
                     struct memory_span *spans, unsigned max);
