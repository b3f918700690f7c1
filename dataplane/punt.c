/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Workers write an eventfd when they have put something into a ring; one callback then empties the rings of
 * all workers, notes first: they are what traffic waits for. Work is bounded by the size of the rings.
 *
 * The channel is one SOCK_SEQPACKET socket, nonblocking in both directions. When it is full, punts stay in
 * the rings until it can be written again; the rings fill, and workers drop and count (L3_PUNT). When nobody
 * is at the other end, or it says something that is no struct dp_punt, it is closed and workers drop at once.
 * The controller opens another whenever it likes; nothing else depends on it.
 */
#include "punt.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "objects.h"
#include "router.h"
#include "worker.h"

#define RECEIVE_MAX 64 /* messages a callback */

static struct {
    struct event_base *base;
    struct event *rings;
    struct event *readable, *writable; /* NULL: no channel */
    int fd;
} channel;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static void set_channel(bool open)
{
    for (unsigned i = 0; i < workers_count(); i++)
        __atomic_store_n(&workers_rings(i)->channel, open, __ATOMIC_RELAXED);
}

static void channel_close(void)
{
    if (!channel.readable)
        return;
    set_channel(false);
    event_free(channel.readable);
    if (channel.writable)
        event_free(channel.writable);
    channel.readable = channel.writable = NULL;
    close(channel.fd);
    channel.fd = -1;
}

/* 0, -EAGAIN: full, else the channel is gone. */
static int channel_send(const struct dp_punt *header, const void *frame)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)header, sizeof(*header)},
                             {(void *)(uintptr_t)frame, header->size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = header->size ? 2 : 1};
    if (!channel.readable)
        return -ENOTCONN;
    if (sendmsg(channel.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 0;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == EINTR)
        return -EAGAIN;
    int error = -errno;
    channel_close();
    return error;
}

static void take_notes(struct router_rings *rings)
{
    uint32_t head = __atomic_load_n(&rings->note_head, __ATOMIC_ACQUIRE), tail = rings->note_tail;
    uint64_t now = now_ms();
    for (; tail != head; tail++) {
        neighbours_note(&rings->notes[tail & (ROUTER_NOTES - 1)], now);
        __atomic_store_n(&rings->note_tail, tail + 1, __ATOMIC_RELEASE);
    }
}

/* False: the channel is full. */
static bool take_punts(struct router_rings *rings)
{
    uint32_t head = __atomic_load_n(&rings->punt_head, __ATOMIC_ACQUIRE), tail = rings->punt_tail;
    for (; tail != head; tail++) {
        const struct router_punt *punt = &rings->punts[tail & (ROUTER_PUNTS - 1)];
        if (channel_send(&punt->header, punt->frame) == -EAGAIN)
            return false;
        __atomic_store_n(&rings->punt_tail, tail + 1, __ATOMIC_RELEASE);
    }
    return true;
}

static void take_all(void)
{
    bool room = true;
    for (unsigned i = 0; i < workers_count(); i++)
        take_notes(workers_rings(i));
    for (unsigned i = 0; i < workers_count() && room; i++)
        room = take_punts(workers_rings(i));
    if (!room && channel.writable)
        event_add(channel.writable, NULL);
}

static void on_rings(evutil_socket_t fd, short what, void *context)
{
    eventfd_t value;
    if (eventfd_read((int)fd, &value) == 0)
        take_all();
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    take_all();
}

/* One message. False: the other end is gone, or does not keep to the protocol. */
static bool receive(const uint8_t *bytes, size_t size)
{
    struct dp_punt header;
    if (size < sizeof(header))
        return false;
    memcpy(&header, bytes, sizeof(header));
    if (header.reason != DP_PUNT_SEND || header.size != size - sizeof(header) || header.pad != 0 ||
        header.size < PACKET_SIZE_MIN || header.port == 0 || header.port >= DP_PORTS_MAX)
        return false;
    const struct snapshot *snapshot = workers_snapshot();
    const struct ingress *ingress = snapshot ? snapshot->ingress[header.port] : NULL;
    if (ingress && ingress->interface) /* else it went while the message was on its way */
        workers_inject(ingress->port, bytes + sizeof(header), header.size);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    uint8_t bytes[sizeof(struct dp_punt) + DP_PUNT_FRAME_MAX];
    for (unsigned i = 0; i < RECEIVE_MAX; i++) {
        ssize_t size = recv((int)fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size > 0 && (size_t)size <= sizeof(bytes) && receive(bytes, (size_t)size))
            continue;
        if (size > 0)
            control_log(LOG_WARNING, "punt channel: a message of %zd bytes is none; channel closed", size);
        channel_close();
        return;
    }
}

int punt_open(int fd, char *text)
{
    int type = 0, flags = fcntl(fd, F_GETFL);
    socklen_t size = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET || flags < 0 ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        snprintf(text, OBJECT_TEXT_SIZE, "the punt channel is no SOCK_SEQPACKET socket");
        close(fd);
        return -EINVAL;
    }
    channel_close();
    channel.fd = fd;
    channel.readable = event_new(channel.base, fd, EV_READ | EV_PERSIST, on_readable, NULL);
    channel.writable = event_new(channel.base, fd, EV_WRITE, on_writable, NULL);
    if (!channel.readable || !channel.writable || event_add(channel.readable, NULL) < 0) {
        if (channel.readable)
            channel_close();
        else
            close(fd);
        snprintf(text, OBJECT_TEXT_SIZE, "no memory for the punt channel");
        return -ENOMEM;
    }
    set_channel(true);
    return 0;
}

static void ask_controller(uint32_t port, const uint8_t address[16])
{
    struct dp_punt header = {.port = port, .reason = DP_PUNT_RESOLVE};
    memcpy(header.address, address, sizeof(header.address));
    channel_send(&header, NULL);
}

static int send_frame(struct port *port, const void *frame, uint32_t size)
{
    return workers_inject(port, frame, size);
}

static const struct neighbour_ops neighbour_ops = {.send = send_frame,
                                                   .resume = workers_resume,
                                                   .ask = ask_controller,
                                                   .quiesce = workers_quiesce,
                                                   .snapshot = workers_snapshot};

int punt_start(struct event_base *base)
{
    channel.base = base;
    channel.fd = -1;
    channel.rings = event_new(base, workers_rings_fd(), EV_READ | EV_PERSIST, on_rings, NULL);
    if (!channel.rings || event_add(channel.rings, NULL) < 0)
        return -ENOMEM;
    neighbours_init(&neighbour_ops);
    return 0;
}

void punt_stop(void)
{
    channel_close();
    if (channel.rings)
        event_free(channel.rings);
    channel.rings = NULL;
    neighbours_init(NULL);
}

void punt_configured(void)
{
    neighbours_changed(now_ms());
}

void punt_tick(void)
{
    neighbours_tick(now_ms());
}
