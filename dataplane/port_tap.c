/* SPDX-License-Identifier: BSD-3-Clause */
/* lint: syscalls allowed, a tap has no other way in or out than one read or write a frame */
/*
 * Tap ports: the host itself as a member of a segment, through /dev/net/tun with a virtio header, so that a
 * TSO frame of 64 KiB crosses in one system call. The interface is made by the controller, which passes one
 * descriptor a queue.
 *
 * Reception reads straight to where the frame is wanted: virtio header and first bytes into the packet's
 * private memory, the rest into the queue's arena (one slot a frame of the batch, one span). The slots'
 * distance is an odd number of cache lines, so that the first lines of frames do not compete for one cache
 * set. Transmission is one writev of the private header and the spans, straight from guest memory.
 *
 * Sleeping: the descriptor is watched edge triggered. A queue may sleep only after a read said EAGAIN: a
 * frame that arrives after that raises the edge, which epoll keeps until it is waited for. `drained` says so.
 * While its worker is busy with other queues, an empty tap is looked at less and less often (every 16th
 * reception at last), because a look is a system call.
 *
 * Link: a tap polls writable exactly while its interface is up (tun_sock_writeable), so no look into the
 * interface's network namespace is needed.
 *
 * Limits: frames longer than PACKET_SIZE_MAX are dropped (the interface's MTU is the controller's business).
 * EIO (interface down), EAGAIN and whatever else the kernel may refuse a frame for counts as no room.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>
#include "counters.h"
#include "port.h"
#include "vnet_header.h"

#define TAP_BATCH        32u             /* frames a reception: bounds the arena and the round */
#define TAP_SLOT_SIZE    PACKET_SIZE_MAX /* bytes: 1025 cache lines */
#define TAP_BACK_OFF_MAX 15u             /* receptions */
#define TAP_TEXT_SIZE    112u
#define TUN_MAJOR        10u
#define TUN_MINOR        200u

_Static_assert(TAP_SLOT_SIZE % 128 == 64, "slots start in different cache sets");

struct tap_queue {
    int fd;           /* control: w before publication */
    bool drained;     /* worker: the last read said that there is nothing */
    uint8_t back_off; /* worker: receptions left out after that; doubles up to TAP_BACK_OFF_MAX */
    uint8_t skip;     /* worker: receptions still to be left out */
    uint8_t *arena;   /* TAP_BATCH slots */
} __attribute__((aligned(64)));

struct tap {
    unsigned count;
    struct tap_queue queues[DP_QUEUES_MAX];
};

static uint8_t more_back_off(uint8_t back_off)
{
    unsigned more = back_off * 2u + 1;
    return (uint8_t)(more < TAP_BACK_OFF_MAX ? more : TAP_BACK_OFF_MAX);
}

static unsigned tap_rx(struct port *port, unsigned queue, struct packet_vector *vector, struct worker_io *io)
{
    struct tap_queue *tap = &((struct tap *)port->private)->queues[queue];
    packet_vector_reset(vector);
    if (tap->skip > 0) {
        tap->skip--;
        return 0;
    }
    tap->drained = false;
    for (unsigned reads = 0; reads < TAP_BATCH; reads++) {
        struct packet *packet = &vector->packets[vector->count];
        uint8_t *slot = tap->arena + (size_t)vector->count * TAP_SLOT_SIZE;
        packet->data = packet->buffer + PACKET_HEADROOM;
        struct iovec parts[2] = {
            {packet->data - VIRTIO_NET_HEADER_SIZE, VIRTIO_NET_HEADER_SIZE + PACKET_HEADER_MAX},
            {slot, TAP_SLOT_SIZE},
        };
        ssize_t size = readv(tap->fd, parts, 2);
        if (size < 0) {
            tap->drained = true;
            break;
        }
        uint32_t frame = (uint32_t)size - VIRTIO_NET_HEADER_SIZE;
        if (size < (ssize_t)(VIRTIO_NET_HEADER_SIZE + PACKET_SIZE_MIN)) {
            counters_drop(port, queue, io->worker, 0, DP_DROP_RX_RUNT);
        } else if (frame > PACKET_SIZE_MAX) {
            counters_drop(port, queue, io->worker, frame, DP_DROP_RX_TOO_LONG);
        } else {
            vnet_header_take(vector, packet, VIRTIO_NET_HEADER_SIZE, slot, frame);
            vector->count++;
        }
    }
    tap->back_off = vector->count > 0 ? 0 : more_back_off(tap->back_off);
    tap->skip = tap->drained ? tap->back_off : 0;
    return vector->count;
}

static void tap_rx_done(struct port *port, unsigned queue, struct worker_io *io)
{
}

/* 0 or -errno. */
static int write_frame(int fd, const struct packet *packet)
{
    struct iovec parts[1 + PACKET_SPANS_MAX];
    unsigned count = vnet_header_put(packet, VIRTIO_NET_HEADER_SIZE, parts);
    return writev(fd, parts, (int)count) < 0 ? -errno : 0;
}

static void tap_tx(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
                   struct worker_io *io, struct vring_tx_result *result)
{
    const struct tap *tap = port->private;
    int fd = tap->queues[queue < tap->count ? queue : 0].fd;
    *result = (struct vring_tx_result){0};
    for (unsigned i = 0; i < count; i++) {
        if (packets[i]->span_count > PACKET_SPANS_MAX) {
            result->too_big++;
            continue;
        }
        int error = write_frame(fd, packets[i]);
        if (error == 0) {
            result->sent++;
            result->sent_bytes += packets[i]->size;
        } else if (error == -EAGAIN || error == -EIO) { /* full or down: so it is for the rest */
            result->no_room += count - i;
            return;
        } else {
            result->no_room++;
        }
    }
}

static bool tap_arm(struct port *port, unsigned queue)
{
    return !((struct tap *)port->private)->queues[queue].drained;
}

/* Woken or not slept: the next reception looks. */
static void tap_disarm(struct port *port, unsigned queue)
{
    ((struct tap *)port->private)->queues[queue].skip = 0;
}

/* Refuses what is no queue of a tap. Its name may be another one by now: whoever moved the interface to
 * another network namespace may have renamed it there. */ /* lint: control path */
static int check_descriptor(const struct port *port, int fd, unsigned queue, char *text)
{
    struct stat status;
    struct ifreq request = {0};
    const char *device = port->config.device;
    if (fstat(fd, &status) < 0 || !S_ISCHR(status.st_mode) ||
        status.st_rdev != makedev(TUN_MAJOR, TUN_MINOR)) {
        snprintf(text, TAP_TEXT_SIZE, "tap %.15s: descriptor %u is not of /dev/net/tun", device, queue);
        return -EINVAL;
    }
    if (ioctl(fd, TUNGETIFF, &request) < 0) {
        snprintf(text, TAP_TEXT_SIZE, "tap %.15s: descriptor %u belongs to no interface", device, queue);
        return -EINVAL;
    }
    /* IFF_NO_PI cannot be asked: its bit says IFF_NOFILTER here */
    if ((request.ifr_flags & (IFF_TAP | IFF_VNET_HDR)) != (IFF_TAP | IFF_VNET_HDR)) {
        snprintf(text, TAP_TEXT_SIZE, "tap %.15s: not opened with IFF_TAP and IFF_VNET_HDR", device);
        return -EINVAL;
    }
    return 0;
}

/* lint: control path */
static int set_up_queue(struct port *port, struct tap_queue *queue, int fd, char *text)
{
    int header_size = VIRTIO_NET_HEADER_SIZE, little_endian = 1, flags = fcntl(fd, F_GETFL);
    unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0 || ioctl(fd, TUNSETVNETLE, &little_endian) < 0 ||
        ioctl(fd, TUNSETOFFLOAD, offloads) < 0) {
        int error = -errno;
        snprintf(text, TAP_TEXT_SIZE, "tap %.15s: cannot set offloads: %s", port->config.device,
                 strerror(-error));
        return error;
    }
    queue->arena = mmap(NULL, (size_t)TAP_BATCH * TAP_SLOT_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (queue->arena == MAP_FAILED) {
        queue->arena = NULL;
        snprintf(text, TAP_TEXT_SIZE, "tap %.15s: no memory for a queue's frames", port->config.device);
        return -ENOMEM;
    }
    queue->fd = fd;
    return 0;
}

/* lint: control path */
static void free_queues(struct tap *tap)
{
    for (unsigned i = 0; i < DP_QUEUES_MAX; i++)
        if (tap->queues[i].arena)
            munmap(tap->queues[i].arena, (size_t)TAP_BATCH * TAP_SLOT_SIZE);
    free(tap);
}

/* The interface exists and is up. */
static void tap_check(struct port *port)
{
    const struct tap *tap = port->private;
    struct pollfd poll_fd = {.fd = tap->queues[0].fd, .events = POLLOUT};
    bool up = poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLOUT | POLLERR)) == POLLOUT;
    __atomic_store_n(&port->link, up, __ATOMIC_RELAXED);
}

/* On an error the descriptors stay the caller's. */ /* lint: control path */
static int tap_open(struct port *port, const int *fds, unsigned fd_count, char *text)
{
    if (fd_count == 0 || fd_count > DP_QUEUES_MAX) {
        snprintf(text, TAP_TEXT_SIZE, "tap %.15s: %u descriptors instead of 1 to %u", port->config.device,
                 fd_count, DP_QUEUES_MAX);
        return -EINVAL;
    }
    struct tap *tap = aligned_alloc(64, sizeof(*tap));
    if (!tap) {
        snprintf(text, TAP_TEXT_SIZE, "tap %.15s: out of memory", port->config.device);
        return -ENOMEM;
    }
    memset(tap, 0, sizeof(*tap));
    for (unsigned i = 0; i < fd_count; i++) {
        int error = check_descriptor(port, fds[i], i, text);
        if (error == 0)
            error = set_up_queue(port, &tap->queues[i], fds[i], text);
        if (error) {
            free_queues(tap);
            return error;
        }
    }
    tap->count = fd_count;
    port->private = tap;
    port->queues = fd_count;
    port->offloads = OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN;
    for (unsigned i = 0; i < fd_count; i++)
        port->wake_fds[i] = fds[i];
    port_set_tx_queues(port, (1u << fd_count) - 1);
    tap_check(port);
    return 0;
}

/* lint: control path */
static void tap_close(struct port *port)
{
    struct tap *tap = port->private;
    for (unsigned i = 0; i < tap->count; i++) {
        port->wake_fds[i] = -1;
        close(tap->queues[i].fd);
    }
    free_queues(tap);
    port->private = NULL;
}

static void tap_state(struct port *port, struct dp_port_state *state)
{
    state->link = port->link;
    state->queues_enabled = port->queues;
}

static void tap_queue_state(struct port *port, unsigned queue, struct dp_queue_state *state)
{
    state->ring_size = TAP_BATCH;
    state->usable = port->link;
}

const struct port_ops port_tap_ops = {
    .rx = tap_rx,
    .rx_done = tap_rx_done,
    .tx = tap_tx,
    .arm = tap_arm,
    .disarm = tap_disarm,
    .open = tap_open,
    .close = tap_close,
    .state = tap_state,
    .queue_state = tap_queue_state,
    .check = tap_check,
};
