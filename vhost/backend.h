/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The switch's end of one vhost-user connection (docs of QEMU, interop/vhost-user; virtio 1.2, 5.1 network
 * device). A backend owns the listening (or dialling) socket of one port, the connection, the guest's memory
 * mappings and the port's rings. It never blocks.
 *
 * Threads: everything here is called from the one control thread of the dataplane. Workers see only the rings
 * (vring.h), whose pointers are fixed for the backend's life.
 *
 * Errors: 0 or -errno; pointers NULL + errno. What a frontend does wrong closes its connection (counted, with
 * a text), never the backend.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "vring.h"

#define VHOST_QUEUE_PAIRS_MAX 8u
#define VHOST_RINGS_MAX       (2u * VHOST_QUEUE_PAIRS_MAX)

struct vhost_backend;

struct vhost_backend_config {
    const char *path;     /* unix socket; copied. Server mode: a stale socket of a dead process is replaced, a
                             live one is -EADDRINUSE */
    bool client;          /* dial `path` (again every second while it is not there) instead of listening */
    unsigned queue_pairs; /* 1..VHOST_QUEUE_PAIRS_MAX offered */
    uint16_t mtu;         /* bytes, offered with VIRTIO_NET_F_MTU; 0: not offered */
    uint8_t mac[6];       /* shown in the device's config space; all zero: VIRTIO_NET_F_MAC not offered */
    bool shared_tx;       /* several workers call vring_tx */
    uint64_t features_off; /* virtio feature bits not to offer (operator's choice, tests) */
    mode_t socket_mode;    /* server mode; 0: 0660 */
    gid_t socket_group;    /* server mode; (gid_t)-1: unchanged */
};

/* Called on the control thread, from inside vhost_backend_run or _free. */
struct vhost_backend_events {
    /* Returns when no worker holds anything it read from a ring before the call (a grace period). */
    void (*quiesce)(void *context);
    /* Connected, disconnected, rings enabled or disabled, features negotiated: read vhost_backend_state(). */
    void (*changed)(void *context);
    /* The kick eventfd of a ring that receives from the guest is now `fd` (-1: none). The old one is still
     * open. Watch it edge triggered and never read it: its counter belongs to the guest. */
    void (*kick_fd)(void *context, unsigned ring, int fd);
    /* VHOST_USER_SEND_RARP: announce `mac` to the segment. */
    void (*announce)(void *context, const uint8_t mac[6]);
    /* level: syslog(3) priority. One line, escaped, no newline. */
    void (*log)(void *context, int level, const char *text);
};

struct vhost_backend_state {
    bool connected;
    bool negotiated;   /* SET_FEATURES seen */
    uint64_t features; /* virtio feature bits in force */
    uint64_t protocol_features;
    unsigned pairs_enabled; /* queue pairs of which both rings are usable */
    bool ring_usable[VHOST_RINGS_MAX];
    uint16_t ring_size[VHOST_RINGS_MAX]; /* descriptors */
    enum vring_error ring_error[VHOST_RINGS_MAX];
    unsigned regions;         /* memory regions mapped */
    uint64_t memory_bytes;    /* mapped */
    uint64_t connects;        /* since the backend was made */
    uint64_t protocol_errors; /* connections closed for a violation */
    char last_error[128];     /* text of the last violation, escaped; empty: none */
};

struct vhost_backend *vhost_backend_new(const struct vhost_backend_config *config,
                                        const struct vhost_backend_events *events, void *context);
/* Closes everything, removes a listening socket, waits for a grace period. */
void vhost_backend_free(struct vhost_backend *backend);

/* A descriptor that polls readable when vhost_backend_run has something to do (an epoll descriptor that holds
 * the sockets and a timer for deadlines and redialling). The same for the backend's whole life. */
int vhost_backend_fd(const struct vhost_backend *backend);
/* Does what can be done now without blocking; bounded work a call. */
void vhost_backend_run(struct vhost_backend *backend);
/* About every 100 ms: notices rings that workers found broken (tells the guest through the error eventfd and
 * the device status NEEDS_RESET) and memory that went away under us (SIGBUS): that port's connection is
 * closed. */
void vhost_backend_check(struct vhost_backend *backend);

/* Ring 2i receives for the guest (we tx), ring 2i+1 transmits for the guest (we rx); virtio 1.2, 5.1.2. Any
 * thread. */
struct vring *vhost_backend_ring(struct vhost_backend *backend, unsigned index);
void vhost_backend_state(const struct vhost_backend *backend, struct vhost_backend_state *state);
/* Link state as the guest sees it (VIRTIO_NET_F_STATUS, config space; needs protocol feature CONFIG to be
 * pushed). */
void vhost_backend_set_link(struct vhost_backend *backend, bool up);

/* Once a process, before the first backend: installs the SIGBUS handler that contains a truncated or punched
 * memory file to its port (zero pages are mapped over the region and the port is marked dead); faults at
 * other addresses go to the handler that was there before. 0 or -errno. */
int vhost_backend_process_init(void);
