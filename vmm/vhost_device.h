/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A virtio device whose rings are served by a vhost-user backend: connection, rings, reconnection. net.c and
 * vhost_blk.c add what is particular to their type.
 *
 * Threads: vhost_open before the sandbox; vhost_run starts a thread that owns the connection from then on.
 * All other calls with the machine lock held; they only say what is wanted and never wait.
 */
#include "frontend.h"
#include "virtio.h"

struct vhost;

struct vhost_config {
    struct virtio *virtio;
    const char *path;         /* the backend's socket */
    bool listen;              /* the backend dials us there */
    unsigned wait_ms;         /* how long vhost_open waits for the backend */
    uint64_t features_wanted; /* virtio features that the device can pass through */
    unsigned config_size;     /* bytes of device configuration to ask for; 0: none */
    bool unordered;           /* the backend may give buffers back in another order */
    bool mandatory_config;    /* the device is nothing without it */
    uint16_t mtu;             /* told to the backend, 0: not */
    uint8_t mac[6];           /* announced after a reconnection; zero: not */
};

/* What the backend is, after vhost_open; later only config and link change. */
struct vhost_info {
    uint64_t features;    /* offered by the backend, and wanted */
    unsigned queue_pairs; /* of a network backend */
    bool has_config;
    uint8_t config[VIRTIO_CONFIG_MAX];
    bool connected;
    bool stale;           /* requests were lost with a backend: the driver must reset the device */
    uint64_t connections; /* since the start */
    char error[96];       /* why the last connection ended */
};

/* Dials, or waits to be dialled, and negotiates. NULL and errno; *what: which step failed (constant text). */
struct vhost *vhost_open(const struct vhost_config *config, const char **what);
/* changed: called in the loop, machine lock held, when vhost_info changed. 0 or -errno. */
int vhost_run(struct vhost *vhost, struct loop *loop, void (*enter)(void),
              void (*changed)(struct virtio *virtio));
void vhost_free(struct vhost *vhost);

/* Rings 0..count of the transport go to the backend; `enabled` of them (from 0) carry traffic. */
void vhost_start(struct vhost *vhost, unsigned count, unsigned enabled);
void vhost_enable(struct vhost *vhost, unsigned enabled);
/* The loop calls virtio_stopped when the backend has let go of the rings. */
void vhost_stop(struct vhost *vhost);
void vhost_info(struct vhost *vhost, struct vhost_info *info);
