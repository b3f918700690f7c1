/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One AF_PACKET socket with a virtio header (packet(7), PACKET_VNET_HDR) as a queue of a port: frames with
 * their offload requests cross whole, the VLAN tag that the kernel takes off a received frame is put back.
 *
 * Threads: rx, arm and disarm by the worker that polls the queue; tx by every worker; the rest control.
 */
#include "port.h"

struct packet_socket {
    int fd;           /* control: w before publication; -1: none, nothing is received or sent */
    bool drained;     /* worker: the last look said that there is nothing */
    uint8_t back_off; /* worker: receptions left out after that */
    uint8_t skip;     /* worker: receptions still to be left out */
    struct packet_socket_batch *batch; /* worker: where frames are received to */
} __attribute__((aligned(64)));

/* Checks that the descriptor is what DP_PORT_PACKET says, makes room for received frames. 0 or -errno with
 * the reason in `text` (112 bytes); the descriptor becomes the queue's. */
int packet_socket_open(struct packet_socket *socket, const struct dp_port *config, int fd, char *text);
/* Closes the descriptor, if there is one. */
void packet_socket_close(struct packet_socket *socket);

unsigned packet_socket_rx(struct packet_socket *socket, struct port *port, unsigned queue,
                          struct packet_vector *vector, const struct worker_io *io);
void packet_socket_tx(int fd, struct packet *const *packets, unsigned count, struct vring_tx_result *result);
/* True: not empty as far as we know. */
bool packet_socket_arm(const struct packet_socket *socket);
void packet_socket_disarm(struct packet_socket *socket);
