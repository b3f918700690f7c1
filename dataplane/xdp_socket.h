/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One AF_XDP socket (Documentation/networking/af_xdp.rst) as a queue of a port: its memory (umem), the four
 * rings, and who may touch what.
 *
 * Threads: receive side by the worker that polls the queue; transmit side by every worker, under the lock;
 * open and close by control.
 */
#include <linux/if_xdp.h>
#include <rte_spinlock.h>
#include "port.h"

#define XDP_CHUNK_SIZE 4096u /* bytes: one frame each */
#define XDP_RX_CHUNKS  2048u /* power of two: size of fill and receive ring */
#define XDP_TX_CHUNKS  1024u /* power of two: transmit and completion ring */
#define XDP_UMEM_SIZE  ((XDP_RX_CHUNKS + XDP_TX_CHUNKS) * XDP_CHUNK_SIZE)
#define XDP_PAIRS      256u /* power of two */
#define XDP_TEXT_SIZE  112u

/* A ring shared with the kernel. Indices run freely; entry i is at i & (size - 1). */
struct xdp_ring {
    uint32_t *producer, *consumer; /* one of them is ours to write */
    const uint32_t *flags;         /* XDP_RING_NEED_WAKEUP */
    void *entries;                 /* struct xdp_desc, or uint64_t addresses */
    uint32_t size;                 /* power of two */
    uint32_t own;                  /* our index, published with a release store */
    void *map;
    size_t map_size;
};

struct xdp_socket {
    int fd;
    bool zero_copy;
    uint8_t *umem; /* receive chunks, then transmit chunks */

    /* worker that polls */
    struct xdp_ring rx, fill;
    unsigned held_count;
    uint64_t held[PACKET_VECTOR_MAX]; /* chunks of the frames of this round */

    /* any worker, under the lock */
    rte_spinlock_t lock __attribute__((aligned(64)));
    bool unsent; /* any worker, relaxed: entries wait for a kick */
    struct xdp_ring tx, completion;
    unsigned free_count;
    uint64_t free[XDP_TX_CHUNKS];    /* chunks that are ours */
    uint64_t whole_until;            /* TSC: up to then some pair's frames leave whole; port_xdp.c */
    uint64_t pairs_until[XDP_PAIRS]; /* TSC, by hash of both Ethernet addresses */
} __attribute__((aligned(64)));

/* Makes memory and rings for a fresh AF_XDP socket and binds it to the receive queue. 0 or -errno with the
 * reason in `text` (XDP_TEXT_SIZE); the descriptor becomes the queue's. */
int xdp_socket_open(struct xdp_socket *xdp, const struct dp_port *config, int fd, uint32_t queue, char *text);
/* Closes what is open. */
void xdp_socket_close(struct xdp_socket *xdp);
