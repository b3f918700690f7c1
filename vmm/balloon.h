/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Traditional virtio memory balloon (virtio 1.2, 5.5): inflate (pages go back to the host), deflate on demand
 * and when the guest is out of memory, statistics.
 *
 * Threads: with the machine lock held.
 */
#include "virtio.h"

struct balloon;

#define BALLOON_STATS(X)                                                                                     \
    X(0, "swap-in")                                                                                          \
    X(1, "swap-out")                                                                                         \
    X(2, "major-faults")                                                                                     \
    X(3, "minor-faults")                                                                                     \
    X(4, "free")                                                                                             \
    X(5, "total")                                                                                            \
    X(6, "available")                                                                                        \
    X(7, "disk-caches")                                                                                      \
    X(8, "hugetlb-allocations")                                                                              \
    X(9, "hugetlb-failures")
#define BALLOON_STATS_COUNT 10u

struct balloon_status {
    uint64_t target;    /* bytes that the guest is asked to give back */
    uint64_t actual;    /* bytes that it says it gave */
    uint64_t discarded; /* bytes handed back to the host, since the start */
    bool stats_valid[BALLOON_STATS_COUNT];
    uint64_t stats[BALLOON_STATS_COUNT];
};

struct balloon *balloon_new(const struct virtio_host *host); /* NULL and errno */
void balloon_free(struct balloon *balloon);
struct virtio *balloon_virtio(struct balloon *balloon);
void balloon_set_target(struct balloon *balloon, uint64_t bytes);
void balloon_status(struct balloon *balloon, struct balloon_status *status);
