/* SPDX-License-Identifier: BSD-3-Clause */
/* lint: syscalls allowed, the kernel is kicked once a batch where it asks for it */
/*
 * XDP ports: an interface shared with the host, from which the XDP program of the controller
 * (control/xdp/steer.bpf.c) redirects what is the switch's to AF_XDP sockets, one for each of its receive
 * queues. A frame crosses by one copy, between guest memory and the socket's memory.
 *
 * Receive queues 0..n-1 of the port are those sockets. The last one is a packet socket (packet_socket.c): it
 * has what the host gets too (group addresses), because XDP cannot hand a frame to both, and it has all of
 * the switch's frames while the program has no sockets to give them to. A frame takes one way or the other.
 *
 * Reception: the frames of a round stay in their chunks (spans over them) until rx_done puts the chunks into
 * the fill ring. Transmission: a chunk of ours is filled and described; chunks come back by the completion
 * ring. In copy mode the kick is what transmits, some frames a call; if it stops early (EAGAIN, EBUSY) the
 * rest waits in the ring, `unsent` says so, and the queue's worker kicks again.
 *
 * Two ways out. AF_XDP has no offloads: where it is zero-copy, segments and checksums are completed by the
 * output stage. In copy mode each segment costs the kernel a buffer and a copy, so there TSO frames leave
 * whole by the packet socket, to be cut by the kernel or the NIC. All else takes the ring, which is the
 * cheaper way for a single frame, but for what would overtake a TSO frame or be overtaken by it: frames
 * between the same two Ethernet addresses, until WHOLE_S seconds have passed without TSO between them. What
 * of them is in the ring before is sent first.
 *
 * Limits: frames larger than a chunk (4 KiB less 256 bytes that XDP wants) cannot be received; the controller
 * limits the MTU. A driver that is busy when a pair changes its way may still swap two of its frames.
 */
#include <errno.h>
#include <rte_prefetch.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "counters.h"
#include "packet_socket.h"
#include "tsc.h"
#include "xdp_socket.h"

#define WHOLE_S 1u /* longer than a transmit queue of the kernel holds a frame */

struct xdp_port {
    struct xdp_socket sockets[DP_QUEUES_MAX];
    struct packet_socket packet;
    unsigned count;        /* AF_XDP sockets */
    uint64_t whole_cycles; /* WHOLE_S; 0: zero-copy, nothing leaves by the packet socket */
    int link_fd;           /* of the XDP program's BPF link, held only; -1: none */
};

static void take_frame(struct packet_vector *vector, struct packet *packet, const uint8_t *frame,
                       uint32_t size)
{
    uint32_t private = size < PACKET_HEADER_MAX ? size : PACKET_HEADER_MAX;
    packet->data = packet->buffer + PACKET_HEADROOM;
    memcpy(packet->data, frame, private);
    packet->spans = &vector->spans[vector->spans_used];
    packet->span_count = 0;
    packet->size = size;
    packet->header_size = (uint16_t) private;
    packet->flags = 0;
    packet->gso_type = VNET_GSO_NONE;
    packet->gso_size = 0;
    packet->hdr_len = 0;
    packet->csum_start = 0;
    packet->csum_offset = 0;
    if (size > private) {
        packet->spans[0] = (struct packet_span){frame + private, size - private};
        packet->span_count = 1;
        vector->spans_used++;
    }
    vector->count++;
}

static bool kick(struct xdp_socket *xdp)
{
    return sendto(xdp->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0;
}

/* Kicks until the kernel took all that it takes now. Under the lock. */
static void send_out(struct xdp_socket *xdp)
{
    bool left = true;
    for (unsigned kicks = 0; kicks < XDP_TX_CHUNKS / 16 && left; kicks++) {
        if (!(__atomic_load_n(xdp->tx.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP))
            break; /* the driver looks by itself */
        int error = kick(xdp) ? 0 : errno;
        left = __atomic_load_n(xdp->tx.consumer, __ATOMIC_ACQUIRE) != xdp->tx.own;
        if (error == EAGAIN)
            continue;
        left &=
            error == 0 || error == EBUSY || error == ENOBUFS; /* else down or gone: not before the next tx */
        break;
    }
    __atomic_store_n(&xdp->unsent, left, __ATOMIC_RELAXED);
}

static void send_rest(struct xdp_socket *xdp)
{
    if (rte_spinlock_trylock(&xdp->lock)) {
        send_out(xdp);
        rte_spinlock_unlock(&xdp->lock);
    }
}

static unsigned xdp_rx(struct port *port, unsigned queue, struct packet_vector *vector, struct worker_io *io)
{
    struct xdp_port *private = port->private;
    struct xdp_socket *xdp = &private->sockets[queue];
    if (queue >= private->count)
        return packet_socket_rx(&private->packet, port, queue, vector, io);
    packet_vector_reset(vector);
    xdp->held_count = 0;
    if (__builtin_expect(__atomic_load_n(&xdp->unsent, __ATOMIC_RELAXED), 0))
        send_rest(xdp);
    const struct xdp_desc *entries = xdp->rx.entries;
    uint32_t count = __atomic_load_n(xdp->rx.producer, __ATOMIC_ACQUIRE) - xdp->rx.own;
    count = count < PACKET_VECTOR_MAX ? count : PACKET_VECTOR_MAX;
    for (uint32_t i = 0; i < count; i++)
        rte_prefetch0(xdp->umem + entries[(xdp->rx.own + i) & (XDP_RX_CHUNKS - 1)].addr);
    for (uint32_t i = 0; i < count; i++) {
        const struct xdp_desc *entry = &entries[xdp->rx.own++ & (XDP_RX_CHUNKS - 1)];
        xdp->held[xdp->held_count++] = entry->addr & ~(uint64_t)(XDP_CHUNK_SIZE - 1);
        if (entry->len < PACKET_SIZE_MIN)
            counters_drop(port, queue, io->worker, entry->len, DP_DROP_RX_RUNT);
        else
            take_frame(vector, &vector->packets[vector->count], xdp->umem + entry->addr, entry->len);
    }
    if (count)
        __atomic_store_n(xdp->rx.consumer, xdp->rx.own, __ATOMIC_RELEASE);
    return vector->count;
}

static void wake_driver(const struct xdp_socket *xdp)
{
    if (__builtin_expect(__atomic_load_n(xdp->fill.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP, 0) &&
        recvfrom(xdp->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0)
        return; /* nothing to be done about it; the next round asks again */
}

/* The fill ring has room for every receive chunk. */
static void xdp_rx_done(struct port *port, unsigned queue, struct worker_io *io)
{
    struct xdp_port *private = port->private;
    struct xdp_socket *xdp = &private->sockets[queue];
    if (queue >= private->count || xdp->held_count == 0)
        return;
    uint64_t *entries = xdp->fill.entries;
    for (unsigned i = 0; i < xdp->held_count; i++)
        entries[xdp->fill.own++ & (XDP_RX_CHUNKS - 1)] = xdp->held[i];
    __atomic_store_n(xdp->fill.producer, xdp->fill.own, __ATOMIC_RELEASE);
    xdp->held_count = 0;
    wake_driver(xdp);
}

/* Chunks that the kernel is done with. Under the lock. */
static void reclaim(struct xdp_socket *xdp)
{
    const uint64_t *entries = xdp->completion.entries;
    uint32_t end = __atomic_load_n(xdp->completion.producer, __ATOMIC_ACQUIRE);
    while (xdp->completion.own != end && xdp->free_count < XDP_TX_CHUNKS)
        xdp->free[xdp->free_count++] = entries[xdp->completion.own++ & (XDP_TX_CHUNKS - 1)];
    __atomic_store_n(xdp->completion.consumer, xdp->completion.own, __ATOMIC_RELEASE);
}

static void copy_frame(uint8_t *to, const struct packet *packet)
{
    memcpy(to, packet->data, packet->header_size);
    to += packet->header_size;
    for (unsigned i = 0; i < packet->span_count; i++) {
        memcpy(to, packet->spans[i].base, packet->spans[i].size);
        to += packet->spans[i].size;
    }
}

/* Under the lock. The transmit ring has room for every transmit chunk. */
static void enqueue(struct xdp_socket *xdp, struct packet *const *packets, unsigned count,
                    struct vring_tx_result *result)
{
    struct xdp_desc *entries = xdp->tx.entries;
    for (unsigned i = 0; i < count; i++) {
        const struct packet *packet = packets[i];
        if (packet->size > XDP_CHUNK_SIZE) {
            result->too_big++;
            continue;
        }
        if (xdp->free_count == 0) {
            result->no_room += count - i;
            break;
        }
        uint64_t chunk = xdp->free[--xdp->free_count];
        copy_frame(xdp->umem + chunk, packet);
        entries[xdp->tx.own++ & (XDP_TX_CHUNKS - 1)] = (struct xdp_desc){.addr = chunk, .len = packet->size};
        result->sent++;
        result->sent_bytes += packet->size;
    }
    __atomic_store_n(xdp->tx.producer, xdp->tx.own, __ATOMIC_RELEASE);
}

/* Frames of one batch, by their ways out. */
struct ways {
    unsigned ring_count, whole_count;
    struct packet *ring[PACKET_VECTOR_MAX], *whole[PACKET_VECTOR_MAX];
};

static unsigned pair_of(const struct packet *packet)
{
    uint64_t first, second;
    memcpy(&first, packet->data, sizeof(first));
    memcpy(&second, packet->data + 4, sizeof(second));
    return (unsigned)((first * 0x9e3779b97f4a7c15u ^ second * 0xc2b2ae3d27d4eb4fu) >> 56) & (XDP_PAIRS - 1);
}

static bool any_tso(struct packet *const *packets, unsigned count)
{
    unsigned types = 0;
    for (unsigned i = 0; i < count; i++)
        types |= packets[i]->gso_type;
    return types != VNET_GSO_NONE;
}

/* False: all of them take the ring. Under the lock. */
static bool divide(struct xdp_socket *xdp, struct packet *const *packets, unsigned count, uint64_t hold,
                   struct ways *ways)
{
    uint64_t now = tsc_now();
    if (now >= xdp->whole_until && !any_tso(packets, count))
        return false;
    ways->ring_count = ways->whole_count = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t *until = &xdp->pairs_until[pair_of(packets[i])];
        if (packets[i]->gso_type != VNET_GSO_NONE)
            *until = xdp->whole_until = now + hold;
        if (now < *until)
            ways->whole[ways->whole_count++] = packets[i];
        else
            ways->ring[ways->ring_count++] = packets[i];
    }
    return true;
}

/* Under the lock. */
static void send_by_ring(struct xdp_socket *xdp, struct packet *const *packets, unsigned count,
                         struct vring_tx_result *result)
{
    reclaim(xdp);
    enqueue(xdp, packets, count, result);
    send_out(xdp);
}

static void send_divided(struct xdp_port *private, struct xdp_socket *xdp, const struct ways *ways,
                         struct vring_tx_result *result)
{
    struct vring_tx_result whole;
    if (ways->ring_count || xdp->unsent)
        send_by_ring(xdp, ways->ring, ways->ring_count, result);
    packet_socket_tx(private->packet.fd, ways->whole, ways->whole_count, &whole);
    result->sent += whole.sent;
    result->sent_bytes += whole.sent_bytes;
    result->no_room += whole.no_room;
    result->too_big += whole.too_big;
}

static void xdp_tx(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
                   struct worker_io *io, struct vring_tx_result *result)
{
    struct xdp_port *private = port->private;
    struct xdp_socket *xdp = &private->sockets[queue < private->count ? queue : 0];
    struct ways ways;
    *result = (struct vring_tx_result){0};
    rte_spinlock_lock(&xdp->lock); /* lint: contended only by more workers than queues */
    if (private->whole_cycles && divide(xdp, packets, count, private->whole_cycles, &ways))
        send_divided(private, xdp, &ways, result);
    else
        send_by_ring(xdp, packets, count, result);
    rte_spinlock_unlock(&xdp->lock);
}

static bool xdp_arm(struct port *port, unsigned queue)
{
    struct xdp_port *private = port->private;
    struct xdp_socket *xdp = &private->sockets[queue];
    if (queue >= private->count)
        return packet_socket_arm(&private->packet);
    wake_driver(xdp);
    return __atomic_load_n(&xdp->unsent, __ATOMIC_RELAXED) ||
           __atomic_load_n(xdp->rx.producer, __ATOMIC_ACQUIRE) != xdp->rx.own;
}

static void xdp_disarm(struct port *port, unsigned queue)
{
    struct xdp_port *private = port->private;
    if (queue >= private->count)
        packet_socket_disarm(&private->packet);
}

static void xdp_check(struct port *port)
{
    bool up = port->config.ifindex != 0 && !(port->config.flags & DP_PORT_F_NO_LINK);
    __atomic_store_n(&port->link, up, __ATOMIC_RELAXED);
}

/* Closes memory and rings; descriptors only if they are the port's already. */ /* lint: control path */
static void free_port(struct xdp_port *private, bool own)
{
    for (unsigned i = 0; i < DP_QUEUES_MAX; i++) {
        private->sockets[i].fd = own ? private->sockets[i].fd : -1;
        xdp_socket_close(&private->sockets[i]);
    }
    private->packet.fd = own ? private->packet.fd : -1;
    packet_socket_close(&private->packet);
    if (own && private->link_fd >= 0)
        close(private->link_fd);
    free(private);
}

/* lint: control path */
static struct xdp_port *new_port(void)
{
    struct xdp_port *private = aligned_alloc(64, sizeof(*private));
    if (!private)
        return NULL;
    memset(private, 0, sizeof(*private));
    for (unsigned i = 0; i < DP_QUEUES_MAX; i++)
    private->sockets[i].fd = -1;
    private->packet.fd = -1;
    private->link_fd = -1;
    return private;
}

static bool all_zero_copy(const struct xdp_port *private)
{
    for (unsigned i = 0; i < private->count; i++)
        if (!private->sockets[i].zero_copy)
            return false;
    return private->count > 0;
}

/* On an error the descriptors stay the caller's. */ /* lint: control path */
static int xdp_open(struct port *port, const int *fds, unsigned fd_count, char *text)
{
    unsigned sockets = fd_count ? port->config.queues - 1 : 0;
    struct xdp_port *private = new_port();
    int error = 0;
    if (!private) {
        snprintf(text, XDP_TEXT_SIZE, "interface %.15s: out of memory", port->config.device);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < sockets && !error; i++)
        error = xdp_socket_open(&private->sockets[i], &port->config, fds[i], i, text);
    if (!error && fd_count)
        error = packet_socket_open(&private->packet, &port->config, fds[sockets], text);
    if (error) {
        free_port(private, false);
        return error;
    }
    if (fd_count)
    private->link_fd = fds[sockets + 1];
    private->count = sockets;
    for (unsigned i = 0; i < sockets + (fd_count ? 1 : 0); i++)
        port->wake_fds[i] = fds[i];
    port->private = private;
    private->whole_cycles = all_zero_copy(private) ? 0 : WHOLE_S * tsc_hz();
    port->offloads = private->whole_cycles ? OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN : 0;
    port_set_tx_queues(port, (1u << sockets) - 1);
    xdp_check(port);
    return 0;
}

/* lint: control path */
static void xdp_close(struct port *port)
{
    for (unsigned i = 0; i < DP_QUEUES_MAX; i++)
        port->wake_fds[i] = -1;
    free_port(port->private, true);
    port->private = NULL;
}

static void xdp_state(struct port *port, struct dp_port_state *state)
{
    const struct xdp_port *private = port->private;
    state->link = port->link;
    state->queues_enabled = private->count;
    state->features = all_zero_copy(private) ? DP_XDP_F_ZEROCOPY : 0;
}

static void xdp_queue_state(struct port *port, unsigned queue, struct dp_queue_state *state)
{
    state->ring_size =
        queue < ((const struct xdp_port *)port->private)->count ? XDP_RX_CHUNKS : PACKET_VECTOR_MAX;
    state->usable = port->link;
}

const struct port_ops port_xdp_ops = {
    .rx = xdp_rx,
    .rx_done = xdp_rx_done,
    .tx = xdp_tx,
    .arm = xdp_arm,
    .disarm = xdp_disarm,
    .open = xdp_open,
    .close = xdp_close,
    .state = xdp_state,
    .queue_state = xdp_queue_state,
    .check = xdp_check,
};
