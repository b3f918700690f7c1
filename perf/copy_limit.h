/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The physical limit of a switch that copies once: memcpy of the same bytes, over as many buffers of the same
 * size, in the same kind of memory. One thread.
 */
#include <stdint.h>

struct copy_limit {
    uint32_t size;        /* bytes of a frame, without the virtio header that is copied with it */
    uint32_t buffer_size; /* bytes from one buffer to the next */
    uint32_t buffers;     /* of each ring */
    double seconds;
};

/* Bytes of frames copied a second; negative: -errno. */
double copy_limit_run(const struct copy_limit *limit);
