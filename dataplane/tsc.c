/* SPDX-License-Identifier: BSD-3-Clause */
#include "tsc.h"

#include <rte_cycles.h>
#include <time.h>

static uint64_t measure(void)
{
    struct timespec from, now;
    uint64_t elapsed, start = tsc_now();
    clock_gettime(CLOCK_MONOTONIC, &from);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        elapsed = (uint64_t)(now.tv_sec - from.tv_sec) * 1000000000u + (uint64_t)now.tv_nsec -
                  (uint64_t)from.tv_nsec;
    } while (elapsed < 1000000u);
    return (uint64_t)((unsigned __int128)(tsc_now() - start) * 1000000000u / elapsed);
}

uint64_t tsc_hz(void)
{
    static uint64_t hz;
    uint64_t known = __atomic_load_n(&hz, __ATOMIC_RELAXED);
    if (!known) {
        known = rte_get_tsc_hz();
        if (!known)
            known = measure();
        __atomic_store_n(&hz, known, __ATOMIC_RELAXED);
    }
    return known;
}
