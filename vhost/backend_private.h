/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The inside of a backend, shared by its files:
 *   backend.c          life, connection, deadlines, checks
 *   backend_socket.c   listening and dialling
 *   backend_message.c  which message is legal when, and what those about the device do
 *   backend_message_ring.c what the messages about memory and rings do
 *   backend_signal.c   signalling a frontend's eventfd
 *   backend_ring.c     starting, stopping and changing rings and memory under the workers' feet
 *
 * Threads: the control thread only.
 */
#include "backend.h"
#include "proto.h"
#include "vring_config.h"

struct backend_ring {
    struct vring *vring;               /* set once */
    uint16_t size;                     /* descriptors; 0: not set */
    bool addressed;                    /* SET_VRING_ADDR seen */
    struct vhost_ring_address address; /* user addresses */
    uint16_t base, base_used;          /* where the ring is to start, or where it stopped */
    bool kicked;                    /* SET_VRING_KICK seen and no GET_VRING_BASE since: the ring is to run */
    bool enabled;                   /* SET_VRING_ENABLE 1 */
    bool error_told;                /* the guest was told that the ring broke */
    enum vring_error error;         /* of a ring that was stopped with it */
    int kick_fd, call_fd, error_fd; /* eventfds of the frontend, ours to close; -1: none */
};

/* What was said since the connection was made; forgotten when it ends. */
struct backend_session {
    bool negotiated;            /* SET_FEATURES seen */
    bool refused;               /* the features were unacceptable: no ring starts */
    uint64_t features;          /* virtio features, with VHOST_USER_F_PROTOCOL_FEATURES */
    uint64_t protocol_features; /* VHOST_PROTOCOL_F_* bits */
    uint8_t status;             /* virtio device status */
    struct memory_table *memory;
    int channel_fd;       /* for our own requests, -1: none */
    bool channel_pending; /* a config change could not be told yet */
};

struct vhost_backend {
    struct vhost_backend_config config; /* path: ours */
    struct vhost_backend_events events;
    void *context;
    uint64_t features_offered;
    uint64_t protocol_offered;
    bool link_up;

    int epoll_fd, timer_fd;
    int listen_fd;          /* server mode */
    uint64_t socket_device; /* of the socket file we made, so that we remove no other */
    uint64_t socket_inode;
    bool listen_paused;       /* no descriptors left for accept(2): again at retry_deadline */
    int connection_fd;        /* -1: not connected */
    int64_t message_deadline; /* ms, CLOCK_MONOTONIC; 0: no message is half received */
    int64_t retry_deadline;   /* ms; 0: none. Dial again, accept again */

    struct vhost_receiver receiver;
    struct backend_session session;
    struct backend_ring rings[VHOST_RINGS_MAX];
    unsigned ring_count;  /* offered: 2 * queue_pairs */
    unsigned deaths_seen; /* memory_deaths at the last check */

    uint64_t connects, protocol_errors;
    char violation[128]; /* of the message being handled, then last_error */
    char last_error[128];
    int64_t log_window; /* ms: start of the current window */
    unsigned log_count; /* lines in it */
};

/* backend.c */
int64_t backend_now_ms(void);
void backend_log(struct vhost_backend *backend, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Notes what the frontend did wrong; returns -EPROTO, upon which the connection is closed. */
int backend_violation(struct vhost_backend *backend, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void backend_changed(struct vhost_backend *backend);
/* A new connection; the descriptor becomes the backend's. */
void backend_adopt(struct vhost_backend *backend, int fd);
void backend_disconnect(struct vhost_backend *backend);
void backend_arm_timer(struct vhost_backend *backend);
int backend_watch(struct vhost_backend *backend, int fd);
/* Tells the frontend that the config space changed, now or at a later check. */
void backend_push_config(struct vhost_backend *backend);

/* backend_socket.c */
int backend_listen(struct vhost_backend *backend);
void backend_unlisten(struct vhost_backend *backend);
void backend_accept(struct vhost_backend *backend);
void backend_dial(struct vhost_backend *backend);

/* backend_message.c: handles backend->receiver's complete message. 0, or -errno: close the connection. */
int backend_message(struct vhost_backend *backend);
/* Answers the message being handled, with its own request and a payload. 0 or a violation. */
int backend_reply(struct vhost_backend *backend, const void *payload, uint32_t size);

/* backend_message_ring.c: 0, a positive errno (refused, the connection goes on) or a violation. */
int backend_set_mem_table(struct vhost_backend *backend, const struct vhost_message *message);
int backend_add_mem_reg(struct vhost_backend *backend, const struct vhost_message *message);
int backend_rem_mem_reg(struct vhost_backend *backend, const struct vhost_message *message);
int backend_set_vring_num(struct vhost_backend *backend, const struct vhost_message *message);
int backend_set_vring_addr(struct vhost_backend *backend, const struct vhost_message *message);
int backend_set_vring_base(struct vhost_backend *backend, const struct vhost_message *message);
int backend_get_vring_base(struct vhost_backend *backend, const struct vhost_message *message);
int backend_set_vring_kick(struct vhost_backend *backend, const struct vhost_message *message);
int backend_set_vring_call(struct vhost_backend *backend, const struct vhost_message *message);
int backend_set_vring_err(struct vhost_backend *backend, const struct vhost_message *message);
int backend_set_vring_enable(struct vhost_backend *backend, const struct vhost_message *message);

/* backend_ring.c */
bool backend_ring_kicked_any(const struct vhost_backend *backend);
/* Starts each ring that has all it needs and is not running. Areas outside guest memory are a violation if
 * `strict`, else the ring waits for more memory. 0 or -EPROTO. */
int backend_rings_start(struct vhost_backend *backend, bool strict);
/* Stops rings [first, first + count), keeps their positions, forgets their kick descriptors. */
void backend_rings_stop(struct vhost_backend *backend, unsigned first, unsigned count);
/* Carries `enabled` (or its absence, without protocol features) to the ring. */
void backend_ring_apply_enabled(struct vhost_backend *backend, unsigned index);
/* The descriptors become the backend's; -1: none. */
void backend_ring_set_kick(struct vhost_backend *backend, unsigned index, int fd);
void backend_ring_set_call(struct vhost_backend *backend, unsigned index, int fd);
void backend_ring_set_error(struct vhost_backend *backend, unsigned index, int fd);
/* `memory` (NULL: none) takes the place of the session's table, which is freed. Running rings go on in it, or
 * stop until their areas are back. */
void backend_set_memory(struct vhost_backend *backend, struct memory_table *memory);
/* Everything the frontend gave is stopped, closed, unmapped and forgotten. */
void backend_rings_forget(struct vhost_backend *backend);

/* backend_signal.c */
int backend_signal_init(void); /* once a process; 0 or -errno */
/* Signals an eventfd without ever blocking, whatever its owner did to it. */
void backend_signal(int fd);
