/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A DPDK device as an ethdev port has it: port_ethdev.c moves frames through it, ethdev_device.c plugs it in
 * and out.
 */
#include <rte_mbuf.h>
#include <rte_spinlock.h>
#include "port.h"

#define ETHDEV_BURST      PACKET_VECTOR_MAX
#define ETHDEV_ROOM_SHIFT 11u /* 2 KiB of frame an mbuf */

/* Receive side of a queue; worker: rw. */
struct ethdev_rx {
    unsigned count;
    struct rte_mbuf *held[ETHDEV_BURST];
} __attribute__((aligned(64)));

struct ethdev_tx {
    rte_spinlock_t lock;
} __attribute__((aligned(64)));

struct ethdev {
    uint16_t id; /* DPDK's port id */
    uint16_t rx_queues, tx_queues;
    uint16_t rx_descriptors;
    uint16_t segments_max; /* mbufs a frame that the device sends */
    uint32_t room;         /* bytes of frame an mbuf */
    bool chains;           /* room is 1 << ETHDEV_ROOM_SHIFT, frames may have several mbufs */
    bool prepare;          /* offloads are asked for: rte_eth_tx_prepare first */
    struct rte_mempool *pool;
    struct ethdev_rx rx[DP_QUEUES_MAX];
    struct ethdev_tx tx[DP_QUEUES_MAX];
};

/* control: finds or plugs in the device that port->config.device names and starts it; sets port->private,
 * queues, offloads, transmit queues. 0 or -errno with *text filled (112 bytes). */
int ethdev_device_open(struct port *port, const int *fds, unsigned fd_count, char *text);
/* control: after the grace period; stops and unplugs it */
void ethdev_device_close(struct port *port);
/* control: reads the link state */
void ethdev_device_check(struct port *port);
