/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What every generator of load wants of its host: the time, and a CPU.
 *
 * Threads: any; each for itself.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

/* Nanoseconds since some moment in the past (CLOCK_MONOTONIC). */
static inline uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The calling thread runs on that CPU only. 0, or an errno: there is no such CPU. */
static inline int pin(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}
