/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * virtio block device (virtio 1.2, 5.2) on a raw file or block device: read, write, flush, discard, write
 * zeroes, serial number. The file is what the user said it is: its contents are never looked at.
 */
#include "virtio.h"

struct blk;

struct blk_config {
    int fd; /* open for reading, and writing unless read_only; stays open for the device's life, then closed
             */
    bool read_only;
    char serial[21];  /* at most 20 characters */
    unsigned threads; /* requests served at once, 1..8 */
};

/* NULL and errno. */
struct blk *blk_new(const struct virtio_host *host, unsigned index, const struct blk_config *config);
/* After the sandbox: starts the threads; each calls `enter` first. 0 or -errno. */
int blk_run(struct blk *blk, void (*enter)(void));
void blk_free(struct blk *blk);
struct virtio *blk_virtio(struct blk *blk);
/* Bytes. */
void blk_counters(struct blk *blk, uint64_t *read, uint64_t *written);
