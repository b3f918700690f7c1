/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user ports: a guest's rings as a port. The backend (vhost/backend.h) owns the socket, the guest's
 * memory and the rings; here are the workers' calls on the rings, and what the rest of the dataplane hears of
 * the connection: link, offloads, usable queues, kick descriptors, announcements.
 *
 * Frames that a ring itself dropped (runts and the like) are counted by the ring; each reception adds what
 * was new to the port's counters, so that received = forwarded + dropped holds.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include "backend.h"
#include "counters.h"

#define VHOST_TEXT_SIZE 112u

/* Virtio network features, virtio 1.2, 5.1.3 */
#define GUEST_CSUM (UINT64_C(1) << 1)
#define GUEST_TSO4 (UINT64_C(1) << 7)
#define GUEST_TSO6 (UINT64_C(1) << 8)
#define GUEST_ECN  (UINT64_C(1) << 9)

/* One receive queue. worker: rw */
struct vhost_queue {
    uint64_t counted[VRING_DROP_COUNT]; /* drops of the ring that are in the port's counters */
} __attribute__((aligned(64)));

struct vhost_port {
    struct vring *receive[DP_QUEUES_MAX];  /* fixed: from the guest */
    struct vring *transmit[DP_QUEUES_MAX]; /* fixed: to the guest */
    struct vhost_queue queues[DP_QUEUES_MAX];
    /* control */
    struct vhost_backend *backend;
    struct event *event;
    bool shown_up; /* link state told to the guest */
};

static const enum dp_drop drop_reasons[VRING_DROP_COUNT] = {
#define X(symbol, name, text) [VRING_DROP_##symbol] = DP_DROP_##symbol,
    VRING_DROPS(X)
#undef X
};

/* Workers */

static void count_ring_drops(struct port *port, unsigned queue, const struct vring_rx_counters *ring,
                             struct vhost_queue *state, unsigned worker)
{
    struct port_counters *counters = port->counters[worker];
    for (unsigned i = 0; i < VRING_DROP_COUNT; i++) {
        uint64_t drops = ring->drops[i] - state->counted[i];
        if (!drops)
            continue;
        state->counted[i] = ring->drops[i];
        counter_add(&counters->rx_packets, drops);
        counter_add(&counters->queues[queue].rx_packets, drops);
        counter_add(&counters->rx_drops[drop_reasons[i]], drops);
    }
}

static unsigned vhost_rx(struct port *port, unsigned queue, struct packet_vector *vector,
                         struct worker_io *io)
{
    struct vhost_port *vhost = port->private;
    struct vring *ring = vhost->receive[queue];
    unsigned count = vring_rx(ring, vector);
    const struct vring_rx_counters *drops = vring_rx_counters(ring);
    if (__builtin_expect(memcmp(drops->drops, vhost->queues[queue].counted, sizeof(drops->drops)) != 0, 0))
        count_ring_drops(port, queue, drops, &vhost->queues[queue], io->worker);
    return count;
}

static void vhost_rx_done(struct port *port, unsigned queue, struct worker_io *io)
{
    vring_rx_done(((struct vhost_port *)port->private)->receive[queue], io->notifier);
}

static void vhost_tx(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
                     struct worker_io *io, struct vring_tx_result *result)
{
    vring_tx(((struct vhost_port *)port->private)->transmit[queue], packets, count, io->notifier, result);
}

static bool vhost_arm(struct port *port, unsigned queue)
{
    return vring_arm(((struct vhost_port *)port->private)->receive[queue]);
}

static void vhost_disarm(struct port *port, unsigned queue)
{
    vring_disarm(((struct vhost_port *)port->private)->receive[queue]);
}

/* Control: the backend's events */

static void on_quiesce(void *context)
{
    control_quiesce();
}

static uint32_t offloads_of(uint64_t features)
{
    uint32_t offloads = 0;
    if (features & GUEST_CSUM)
        offloads |= OFFLOAD_CSUM;
    if (features & GUEST_TSO4)
        offloads |= OFFLOAD_TSO4;
    if (features & GUEST_TSO6)
        offloads |= OFFLOAD_TSO6;
    if (features & GUEST_ECN)
        offloads |= OFFLOAD_ECN;
    return offloads;
}

/* A worker that fell asleep while a ring was not usable is not kicked for frames that were there before: it
 * is woken for each change. */
static void on_changed(void *context)
{
    struct port *port = context;
    struct vhost_port *vhost = port->private;
    struct vhost_backend_state state;
    uint32_t usable = 0;
    if (!vhost->backend)
        return; /* from inside vhost_backend_new */
    vhost_backend_state(vhost->backend, &state);
    for (unsigned i = 0; i < port->queues; i++)
        if (state.ring_usable[2 * i])
            usable |= 1u << i;
    port_set_tx_queues(port, usable);
    __atomic_store_n(&port->offloads, offloads_of(state.features), __ATOMIC_RELAXED);
    __atomic_store_n(&port->link, usable != 0, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < port->queues; i++)
        control_wake_fd(port, i, port->wake_fds[i]);
}

static void on_kick_fd(void *context, unsigned ring, int fd)
{
    struct port *port = context;
    if (ring % 2 == 1 && ring / 2 < port->queues) {
        control_wake_fd(port, ring / 2, fd);
        port->wake_fds[ring / 2] = fd;
    }
}

static void on_announce(void *context, const uint8_t mac[6])
{
    control_announce(context, mac);
}

/* lint: control path */
static void on_log(void *context, int level, const char *text)
{
    const struct port *port = context;
    control_log(level, "port %s: %s", port->config.name, text);
}

static const struct vhost_backend_events events = {
    .quiesce = on_quiesce,
    .changed = on_changed,
    .kick_fd = on_kick_fd,
    .announce = on_announce,
    .log = on_log,
};

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct port *port = context;
    vhost_backend_run(((struct vhost_port *)port->private)->backend);
}

/* Control: the port's operations */

/* lint: control path */
static void vhost_free(struct port *port)
{
    struct vhost_port *vhost = port->private;
    if (vhost->event)
        event_free(vhost->event);
    if (vhost->backend)
        vhost_backend_free(vhost->backend);
    free(vhost);
    port->private = NULL;
}

static int open_backend(struct port *port, struct vhost_port *vhost)
{
    const struct dp_port *config = &port->config;
    struct vhost_backend_config backend = {
        .path = config->device,
        .client = config->flags & DP_PORT_F_CLIENT,
        .queue_pairs = config->queues,
        .mtu = (uint16_t)config->mtu,
        .shared_tx = control_worker_count() > 1,
        .features_off = config->features_off,
        .socket_group = (gid_t)config->socket_group,
    };
    memcpy(backend.mac, config->mac, sizeof(backend.mac));
    vhost->backend = vhost_backend_new(&backend, &events, port);
    if (!vhost->backend)
        return -errno;
    for (unsigned i = 0; i < port->queues; i++) {
        vhost->transmit[i] = vhost_backend_ring(vhost->backend, 2 * i);
        vhost->receive[i] = vhost_backend_ring(vhost->backend, 2 * i + 1);
    }
    vhost->shown_up = !(config->flags & (DP_PORT_F_DOWN | DP_PORT_F_NO_LINK));
    vhost_backend_set_link(vhost->backend, vhost->shown_up);
    vhost->event = event_new(control_event_base(), vhost_backend_fd(vhost->backend), EV_READ | EV_PERSIST,
                             on_readable, port);
    if (!vhost->event || event_add(vhost->event, NULL) < 0)
        return -ENOMEM;
    return 0;
}

/* lint: control path */
static int vhost_open(struct port *port, const int *fds, unsigned fd_count, char *text)
{
    if (fd_count) {
        snprintf(text, VHOST_TEXT_SIZE, "port %.63s: a vhost-user port takes no descriptors",
                 port->config.name);
        return -EINVAL;
    }
    struct vhost_port *vhost = aligned_alloc(64, sizeof(*vhost));
    if (!vhost)
        return -ENOMEM;
    memset(vhost, 0, sizeof(*vhost));
    port->private = vhost;
    int error = open_backend(port, vhost);
    if (error) {
        snprintf(text, VHOST_TEXT_SIZE, "socket %.70s: %s", port->config.device, strerror(-error));
        vhost_free(port);
        return error;
    }
    on_changed(port);
    return 0;
}

/* lint: control path */
static void vhost_state(struct port *port, struct dp_port_state *state)
{
    const struct vhost_port *vhost = port->private;
    struct vhost_backend_state backend;
    vhost_backend_state(vhost->backend, &backend);
    state->link = port->link && !(port->config.flags & DP_PORT_F_DOWN);
    state->features = backend.features;
    state->protocol_features = backend.protocol_features;
    state->queues_enabled = backend.pairs_enabled;
    state->connects = backend.connects;
    state->protocol_errors = backend.protocol_errors;
    state->memory_bytes = backend.memory_bytes;
    state->mappings = backend.regions;
    for (unsigned i = 0; i < 2 * port->queues; i++)
        state->ring_errors += backend.ring_error[i] != VRING_ERROR_NONE;
    snprintf(state->last_error, sizeof(state->last_error), "%s", backend.last_error);
}

static void vhost_queue_state(struct port *port, unsigned queue, struct dp_queue_state *state)
{
    const struct vhost_port *vhost = port->private;
    struct vhost_backend_state backend;
    vhost_backend_state(vhost->backend, &backend);
    state->ring_size = backend.ring_size[2 * queue + 1];
    state->usable = backend.ring_usable[2 * queue] && backend.ring_usable[2 * queue + 1];
}

static void vhost_check(struct port *port)
{
    struct vhost_port *vhost = port->private;
    bool up = !(port->config.flags & (DP_PORT_F_DOWN | DP_PORT_F_NO_LINK));
    vhost_backend_check(vhost->backend);
    if (up != vhost->shown_up)
        vhost_backend_set_link(vhost->backend, up);
    vhost->shown_up = up;
}

const struct port_ops port_vhost_ops = {
    .rx = vhost_rx,
    .rx_done = vhost_rx_done,
    .tx = vhost_tx,
    .arm = vhost_arm,
    .disarm = vhost_disarm,
    .open = vhost_open,
    .close = vhost_free,
    .state = vhost_state,
    .queue_state = vhost_queue_state,
    .check = vhost_check,
};
