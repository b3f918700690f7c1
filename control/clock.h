/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The clock that waiting is measured with: it does not jump.
 *
 * Threads: any.
 */
#include <stdint.h>
#include <time.h>

/* Milliseconds since some moment in the past (CLOCK_MONOTONIC). */
static inline int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
