/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What every generator of load wants of its host: the time, and a CPU; and the features that it accepts.
 *
 * Threads: any; each for itself.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

/* virtio 1.2, 5.1.3 and 6 */
#define FEATURE(bit)      (1ull << (bit))
#define FEATURES_PLAIN    (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_NET_F_MRG_RXBUF))
#define FEATURES_OFFLOADS /* checksums and TSO of IPv4, both ways */                                         \
    (FEATURE(VIRTIO_NET_F_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_CSUM) | FEATURE(VIRTIO_NET_F_GUEST_TSO4) |      \
     FEATURE(VIRTIO_NET_F_HOST_TSO4))

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
