/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ethdev ports: the physical LAN (or a test's net_ring, net_pcap) through any DPDK driver, named by device
 * arguments.
 *
 * Reception lends the driver's mbufs to the round: the first bytes of a frame are copied to private memory,
 * the rest are spans over the mbuf segments, and rx_done frees them. Transmission copies into mbufs of the
 * port's own pool, so that no packet outlives the round whatever a driver does with its mbufs; an empty pool
 * or a full ring is no room. Checksum and TCP segmentation are left to the device where it can do them and
 * several segments a frame. ECN is not: devices differ in what they do to CWR.
 *
 * A transmit queue may be used by several workers if there are more of them than queues: each has a lock,
 * taken for a batch and hardly ever contended.
 *
 * A device is polled, never slept on. Opening and closing: ethdev_device.c.
 */
#include <rte_ethdev.h>
#include <rte_prefetch.h>
#include "checksum.h"
#include "counters.h"
#include "ethdev_device.h"

#define TCP_CHECKSUM_OFFSET  16u
#define IPV4_CHECKSUM_OFFSET 10u

/* First bytes to private memory, the rest as spans. False: more pieces than a frame may have. */
static bool take_mbuf(struct packet_vector *vector, struct packet *packet, const struct rte_mbuf *mbuf)
{
    unsigned spans = vector->spans_used;
    uint32_t size = 0, private = 0;
    packet->data = packet->buffer + PACKET_HEADROOM;
    packet->spans = &vector->spans[spans];
    for (; mbuf; mbuf = mbuf->next) {
        const uint8_t *data = rte_pktmbuf_mtod(mbuf, const uint8_t *);
        uint32_t left = mbuf->data_len, copy = RTE_MIN(left, PACKET_HEADER_MAX - private);
        memcpy(packet->data + private, data, copy);
        private += copy;
        size += left;
        if (left == copy)
            continue;
        if (spans == PACKET_VECTOR_SPANS || spans - vector->spans_used == PACKET_SPANS_MAX)
            return false;
        vector->spans[spans++] = (struct packet_span){data + copy, left - copy};
    }
    packet->span_count = (uint16_t)(spans - vector->spans_used);
    packet->size = size;
    packet->header_size = (uint16_t) private;
    packet->flags = 0;
    packet->gso_type = VNET_GSO_NONE;
    packet->gso_size = 0;
    packet->hdr_len = 0;
    packet->csum_start = 0;
    packet->csum_offset = 0;
    return true;
}

static unsigned ethdev_rx(struct port *port, unsigned queue, struct packet_vector *vector,
                          struct worker_io *io)
{
    struct ethdev *ethdev = port->private;
    struct ethdev_rx *rx = &ethdev->rx[queue];
    packet_vector_reset(vector);
    rx->count = rte_eth_rx_burst(ethdev->id, (uint16_t)queue, rx->held, ETHDEV_BURST);
    for (unsigned i = 0; i < rx->count; i++)
        rte_prefetch0(rte_pktmbuf_mtod(rx->held[i], const void *));
    for (unsigned i = 0; i < rx->count; i++) {
        struct packet *packet = &vector->packets[vector->count];
        if (!take_mbuf(vector, packet, rx->held[i]))
            counters_drop(port, queue, io->worker, rx->held[i]->pkt_len, DP_DROP_RX_FRAGMENTED);
        else if (packet->size < PACKET_SIZE_MIN)
            counters_drop(port, queue, io->worker, packet->size, DP_DROP_RX_RUNT);
        else if (packet->size > PACKET_SIZE_MAX)
            counters_drop(port, queue, io->worker, packet->size, DP_DROP_RX_TOO_LONG);
        else {
            vector->spans_used += packet->span_count;
            vector->count++;
        }
    }
    return vector->count;
}

static void ethdev_rx_done(struct port *port, unsigned queue, struct worker_io *io)
{
    struct ethdev_rx *rx = &((struct ethdev *)port->private)->rx[queue];
    rte_pktmbuf_free_bulk(rx->held, rx->count);
    rx->count = 0;
}

/* mbufs that the frame takes; 0: more than the device sends */
static unsigned segment_count(const struct ethdev *ethdev, const struct packet *packet)
{
    if (!ethdev->chains)
        return packet->size <= ethdev->room;
    unsigned count = (packet->size + (1u << ETHDEV_ROOM_SHIFT) - 1) >> ETHDEV_ROOM_SHIFT;
    return count <= ethdev->segments_max ? count : 0;
}

/* Copies the frame into `count` fresh mbufs and chains them. */
static void copy_frame(const struct ethdev *ethdev, const struct packet *packet, struct rte_mbuf **mbufs,
                       unsigned count)
{
    struct rte_mbuf *first = mbufs[0], *mbuf = first;
    const uint8_t *source = packet->data;
    uint64_t part = packet->header_size;
    uint32_t left = packet->size, room = ethdev->room;
    unsigned span = 0, next = 1;
    uint8_t *to = rte_pktmbuf_mtod(mbuf, uint8_t *);

    first->pkt_len = packet->size;
    first->nb_segs = (uint16_t)count;
    for (;;) {
        uint32_t copy = (uint32_t)RTE_MIN(part, (uint64_t)RTE_MIN(room, left));
        memcpy(to, source, copy);
        to += copy;
        source += copy;
        part -= copy;
        room -= copy;
        left -= copy;
        mbuf->data_len += (uint16_t)copy;
        if (left == 0)
            break;
        if (part == 0) {
            source = packet->spans[span].base;
            part = packet->spans[span++].size;
        }
        if (room == 0) {
            mbuf->next = mbufs[next];
            mbuf = mbufs[next++];
            to = rte_pktmbuf_mtod(mbuf, uint8_t *);
            room = ethdev->room;
        }
    }
}

/* The device's way to ask for what the packet asks for (rte_mbuf_core.h, RTE_MBUF_F_TX_*). TSO wants the
 * pseudo header's sum without the length and no IPv4 header checksum. */
static void request_offloads(struct rte_mbuf *mbuf, const struct packet *packet)
{
    struct frame_info info;
    if (!(packet->flags & VNET_F_NEEDS_CSUM) || !parse_l2(packet, &info))
        return;
    bool ipv4 = info.ethertype == ETHERTYPE_IPV4, tcp = packet->csum_offset == TCP_CHECKSUM_OFFSET;
    mbuf->l2_len = info.l3_offset;
    mbuf->l3_len = packet->csum_start - info.l3_offset;
    mbuf->ol_flags |= (ipv4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6) |
                      (tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
    if (packet->gso_type == VNET_GSO_NONE)
        return;
    uint8_t *data = rte_pktmbuf_mtod(mbuf, uint8_t *),
            *field = data + packet->csum_start + packet->csum_offset;
    uint16_t sum, length = htobe16((uint16_t)(packet->size - packet->csum_start));
    memcpy(&sum, field, sizeof(sum));
    sum = checksum_fold((uint64_t)sum + (uint16_t)~length);
    memcpy(field, &sum, sizeof(sum));
    if (ipv4) {
        mbuf->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
        memset(data + info.l3_offset + IPV4_CHECKSUM_OFFSET, 0, sizeof(uint16_t));
    }
    mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
    mbuf->tso_segsz = packet->gso_size;
    mbuf->l4_len = packet->hdr_len - packet->csum_start;
}

/* Sends the frames; returns how many went. The others are freed. */
static unsigned send_frames(struct ethdev *ethdev, unsigned queue, struct rte_mbuf **frames, unsigned count)
{
    unsigned ready = count;
    rte_spinlock_lock(&ethdev->tx[queue].lock); /* lint: contended only by more workers than queues */
    if (ethdev->prepare)
        ready = rte_eth_tx_prepare(ethdev->id, (uint16_t)queue, frames, (uint16_t)count);
    unsigned sent = ready ? rte_eth_tx_burst(ethdev->id, (uint16_t)queue, frames, (uint16_t)ready) : 0;
    rte_spinlock_unlock(&ethdev->tx[queue].lock);
    rte_pktmbuf_free_bulk(frames + sent, count - sent);
    return sent;
}

/* A batch takes at most ETHDEV_BURST mbufs: any frame alone has fewer (64 KiB in 2 KiB pieces: 33). */
static void ethdev_tx(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
                      struct worker_io *io, struct vring_tx_result *result)
{
    struct ethdev *ethdev = port->private;
    struct rte_mbuf *mbufs[ETHDEV_BURST], *frames[ETHDEV_BURST];
    unsigned segments[ETHDEV_BURST], i = 0;
    *result = (struct vring_tx_result){0};
    queue = queue < ethdev->tx_queues ? queue : 0;
    while (i < count) {
        unsigned batch = 0, total = 0, used = 0, made = 0;
        for (; i + batch < count && batch < ETHDEV_BURST; batch++) {
            segments[batch] = segment_count(ethdev, packets[i + batch]);
            if (total + segments[batch] > ETHDEV_BURST)
                break;
            total += segments[batch];
        }
        if (rte_pktmbuf_alloc_bulk(ethdev->pool, mbufs, total) != 0) {
            result->no_room += count - i;
            return;
        }
        for (unsigned j = 0; j < batch; used += segments[j++]) {
            if (segments[j] == 0)
                continue;
            copy_frame(ethdev, packets[i + j], &mbufs[used], segments[j]);
            request_offloads(mbufs[used], packets[i + j]);
            frames[made++] = mbufs[used];
        }
        unsigned sent = send_frames(ethdev, queue, frames, made);
        result->too_big += batch - made;
        result->no_room += made - sent;
        result->sent += sent;
        for (unsigned j = 0; j < batch && sent > 0; j++) {
            if (segments[j] == 0)
                continue;
            result->sent_bytes += packets[i + j]->size;
            sent--;
        }
        i += batch;
    }
}

static bool ethdev_arm(struct port *port, unsigned queue)
{
    return true;
}

static void ethdev_disarm(struct port *port, unsigned queue)
{
}

static void ethdev_state(struct port *port, struct dp_port_state *state)
{
    state->link = port->link;
    state->queues_enabled = port->queues;
}

static void ethdev_queue_state(struct port *port, unsigned queue, struct dp_queue_state *state)
{
    state->ring_size = ((const struct ethdev *)port->private)->rx_descriptors;
    state->usable = port->link;
}

const struct port_ops port_ethdev_ops = {
    .rx = ethdev_rx,
    .rx_done = ethdev_rx_done,
    .tx = ethdev_tx,
    .arm = ethdev_arm,
    .disarm = ethdev_disarm,
    .open = ethdev_device_open,
    .close = ethdev_device_close,
    .state = ethdev_state,
    .queue_state = ethdev_queue_state,
    .check = ethdev_device_check,
};
