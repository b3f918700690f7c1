/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* virtio block device (virtio 1.2, 5.2) served by a vhost-user backend, such as qemu-storage-daemon. */
#include "vhost_device.h"

struct vhost_blk;

/* NULL and errno; *what: which step failed. */
struct vhost_blk *vhost_blk_new(const struct virtio_host *host, unsigned index, const char *path,
                                unsigned wait_ms, const char **what);
int vhost_blk_run(struct vhost_blk *blk, void (*enter)(void)); /* after the sandbox; 0 or -errno */
void vhost_blk_free(struct vhost_blk *blk);
struct virtio *vhost_blk_virtio(struct vhost_blk *blk);
struct vhost *vhost_blk_vhost(struct vhost_blk *blk);
