/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* The time stamp counter, which is the workers' clock. Any thread. */
#include <stdint.h>
#include <x86intrin.h>

static inline uint64_t tsc_now(void)
{
    return __rdtsc();
}

/* Cycles a second: EAL's figure, or measured once (1 ms) in a process without EAL. */
uint64_t tsc_hz(void);
