/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Router ports: where a segment meets its router (router.c). Nothing is received from them: what the router
 * sends enters the L2 program directly. Whatever is transmitted to one is queued in the worker's router
 * stage, which counts it when it knows what becomes of it: the result says neither "sent" nor "dropped". A
 * frame with any offload request passes whole.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "counters.h"
#include "router.h"

static unsigned router_rx(struct port *port, unsigned queue, struct packet_vector *vector,
                          struct worker_io *io)
{
    packet_vector_reset(vector);
    return 0;
}

static void router_rx_done(struct port *port, unsigned queue, struct worker_io *io)
{
}

/* ARP, and IP to groups: the rest of what is flooded is not for a router. */
static bool group_frame_wanted(const struct packet *packet)
{
    const uint8_t *data = packet->data;
    uint16_t type = (uint16_t)(data[12] << 8 | data[13]);
    return (data[0] & 1) && (type == ETHERTYPE_ARP || type == ETHERTYPE_IPV4 || type == ETHERTYPE_IPV6);
}

/* The header in memory of the stage's own: flooding edits the frame's from one member to the next. */
static struct packet *copy_header(struct router_stage *stage, const struct packet *packet)
{
    struct packet *copy = router_copy(stage, packet->header_size);
    if (!copy)
        return NULL;
    uint8_t *buffer = copy->buffer, *data = copy->data;
    memcpy(data, packet->data, packet->header_size);
    *copy = *packet;
    copy->buffer = buffer;
    copy->data = data;
    return copy;
}

static void router_tx(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
                      struct worker_io *io, struct vring_tx_result *result)
{
    struct router_stage *stage = io->router;
    *result = (struct vring_tx_result){0};
    for (unsigned i = 0; i < count; i++) {
        struct packet *packet = packets[i];
        if (io->flooding && !group_frame_wanted(packet)) {
            result->sent++;
            result->sent_bytes += packet->size;
            continue;
        }
        if (stage->count < ROUTER_QUEUE_MAX && io->flooding)
            packet = copy_header(stage, packet);
        if (stage->count == ROUTER_QUEUE_MAX || !packet) {
            result->no_room++;
            continue;
        }
        stage->queue[stage->count++] = (struct routed){.packet = packet,
                                                       .port = port->config.id,
                                                       .flags = io->flooding ? ROUTED_F_FLOODED : 0,
                                                       .size = packet->size};
    }
}

static bool router_arm(struct port *port, unsigned queue)
{
    return false;
}

static void router_disarm(struct port *port, unsigned queue)
{
}

/* lint: control path */
static int router_open(struct port *port, const int *fds, unsigned fd_count, char *text)
{
    struct router_port *private = aligned_alloc(64, sizeof(*private));
    if (!private) {
        snprintf(text, 112, "router port %.40s: out of memory", port->config.name);
        return -ENOMEM;
    }
    memset(private, 0, sizeof(*private));
    private->port = port;
    port->private = private;
    port->queues = 0;
    port->offloads = OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN;
    __atomic_store_n(&port->link, true, __ATOMIC_RELAXED);
    neighbours_port_add(private);
    return 0;
}

/* lint: control path */
static void router_close(struct port *port)
{
    neighbours_port_remove(port->private);
    free(port->private);
    port->private = NULL;
}

static void router_state(struct port *port, struct dp_port_state *state)
{
    state->link = port->link;
}

static void router_queue_state(struct port *port, unsigned queue, struct dp_queue_state *state)
{
    state->usable = 1;
}

static void router_check(struct port *port)
{
}

const struct port_ops port_router_ops = {
    .rx = router_rx,
    .rx_done = router_rx_done,
    .tx = router_tx,
    .arm = router_arm,
    .disarm = router_disarm,
    .open = router_open,
    .close = router_close,
    .state = router_state,
    .queue_state = router_queue_state,
    .check = router_check,
};
