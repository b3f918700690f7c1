/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Guest RAM: one sealed memfd, mapped once, seen by the guest as one or two ranges (below and above the
 * 32-bit hole).
 *
 * The guest and its vhost-user backends write this memory while we read it: whoever reads a field to decide
 * something copies it first. ram_at() is the only way from a guest address to a pointer.
 *
 * Threads: immutable after ram_init; ram_at and ram_discard from any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAM_RANGES_MAX 2u

struct ram_range {
    uint64_t guest_address; /* guest physical */
    uint64_t size;          /* bytes */
    uint64_t offset;        /* in the memfd, bytes */
};

struct ram {
    int fd; /* memfd, sealed: neither grows nor shrinks */
    uint8_t *host;
    uint64_t size;      /* bytes */
    uint64_t page_size; /* bytes; 2 MiB with hugepages */
    unsigned range_count;
    struct ram_range ranges[RAM_RANGES_MAX];
};

enum ram_hugepages { RAM_HUGEPAGES_AUTO, RAM_HUGEPAGES_ON, RAM_HUGEPAGES_OFF };

/* size: bytes, a multiple of 4096. 0 or -errno (-ENOMEM: also "no hugepages" with RAM_HUGEPAGES_ON). */
int ram_init(struct ram *ram, uint64_t size, enum ram_hugepages hugepages, bool preallocate);
void ram_free(struct ram *ram);

/* Pointer to [address, address + size) if the whole of it is RAM of one range, else NULL. size > 0. */
void *ram_at(const struct ram *ram, uint64_t address, uint64_t size);
/* Gives the pages back to the host; they read as zeros afterwards. 0 or -errno. */
int ram_discard(const struct ram *ram, uint64_t address, uint64_t size);
