/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet ports: an interface shared with the host through AF_PACKET sockets (packet_socket.c), one a queue,
 * which the controller makes, filters and passes. What the filter lets through, and who else hears it, is
 * control/xdp/steer.bpf.c.
 *
 * Link: as the controller says (DP_PORT_F_NO_LINK). A port whose interface is not there has no sockets, its
 * link is down.
 *
 * Limits: frames longer than the interface's MTU are refused by the kernel and counted as TX_OVERSIZE.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "packet_socket.h"

#define TEXT_SIZE 112u

struct packet_port {
    struct packet_socket sockets[DP_QUEUES_MAX];
    unsigned count;
    int link_fd; /* of a BPF link, held only; -1: none */
};

static unsigned packet_rx(struct port *port, unsigned queue, struct packet_vector *vector,
                          struct worker_io *io)
{
    return packet_socket_rx(&((struct packet_port *)port->private)->sockets[queue], port, queue, vector, io);
}

static void packet_rx_done(struct port *port, unsigned queue, struct worker_io *io)
{
}

static void packet_tx(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
                      struct worker_io *io, struct vring_tx_result *result)
{
    const struct packet_port *packet = port->private;
    packet_socket_tx(packet->sockets[queue < packet->count ? queue : 0].fd, packets, count, result);
}

static bool packet_arm(struct port *port, unsigned queue)
{
    return packet_socket_arm(&((struct packet_port *)port->private)->sockets[queue]);
}

static void packet_disarm(struct port *port, unsigned queue)
{
    packet_socket_disarm(&((struct packet_port *)port->private)->sockets[queue]);
}

static void packet_check(struct port *port)
{
    bool up = port->config.ifindex != 0 && !(port->config.flags & DP_PORT_F_NO_LINK);
    __atomic_store_n(&port->link, up, __ATOMIC_RELAXED);
}

/* lint: control path */
static void free_port(struct packet_port *packet)
{
    for (unsigned i = 0; i < DP_QUEUES_MAX; i++)
        packet_socket_close(&packet->sockets[i]);
    free(packet);
}

/* On an error the descriptors stay the caller's. */ /* lint: control path */
static int packet_open(struct port *port, const int *fds, unsigned fd_count, char *text)
{
    unsigned sockets = fd_count < port->config.queues ? fd_count : port->config.queues;
    struct packet_port *packet = aligned_alloc(64, sizeof(*packet));
    int error = 0;
    if (!packet) {
        snprintf(text, TEXT_SIZE, "interface %.15s: out of memory", port->config.device);
        return -ENOMEM;
    }
    memset(packet, 0, sizeof(*packet));
    packet->link_fd = -1;
    for (unsigned i = 0; i < DP_QUEUES_MAX; i++)
        packet->sockets[i].fd = -1;
    for (unsigned i = 0; i < sockets && !error; i++)
        error = packet_socket_open(&packet->sockets[i], &port->config, fds[i], text);
    if (error) {
        for (unsigned i = 0; i < sockets; i++)
            packet->sockets[i].fd = -1;
        free_port(packet);
        return error;
    }
    if (fd_count > sockets)
        packet->link_fd = fds[sockets];
    packet->count = sockets;
    for (unsigned i = 0; i < sockets; i++)
        port->wake_fds[i] = fds[i];
    port->private = packet;
    port->offloads = OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN;
    port_set_tx_queues(port, (1u << sockets) - 1);
    packet_check(port);
    return 0;
}

/* lint: control path */
static void packet_close(struct port *port)
{
    struct packet_port *packet = port->private;
    for (unsigned i = 0; i < packet->count; i++)
        port->wake_fds[i] = -1;
    if (packet->link_fd >= 0)
        close(packet->link_fd);
    free_port(packet);
    port->private = NULL;
}

static void packet_state(struct port *port, struct dp_port_state *state)
{
    state->link = port->link;
    state->queues_enabled = ((const struct packet_port *)port->private)->count;
}

static void packet_queue_state(struct port *port, unsigned queue, struct dp_queue_state *state)
{
    state->ring_size = PACKET_VECTOR_MAX;
    state->usable = port->link;
}

const struct port_ops port_packet_ops = {
    .rx = packet_rx,
    .rx_done = packet_rx_done,
    .tx = packet_tx,
    .arm = packet_arm,
    .disarm = packet_disarm,
    .open = packet_open,
    .close = packet_close,
    .state = packet_state,
    .queue_state = packet_queue_state,
    .check = packet_check,
};
