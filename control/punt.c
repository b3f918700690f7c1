/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. weftd makes a pair of sockets and hands one end to the dataplane over the programming
 * socket. The pair belongs to one incarnation of the dataplane (its process and start time): when the
 * programming connection is lost and made again, the same dataplane keeps its channel; another one gets a new
 * one, and the old one's end is noticed by its hang-up. Neither side ever waits for the other: what does not
 * fit is dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "log.h"
#include "punt.h"

#define MESSAGES_MAX 64 /* a callback: the rest of weftd has its turn in between */

struct punt {
    struct event_base *base;
    struct punt_callbacks callbacks;
    int fd; /* -1: none */
    struct event *event;
    uint32_t pid; /* of the dataplane that has the other end */
    uint64_t start_time_ns;
};

static void channel_close(struct punt *punt)
{
    if (punt->event)
        event_free(punt->event);
    if (punt->fd >= 0)
        close(punt->fd);
    punt->event = NULL;
    punt->fd = -1;
}

static void take(struct punt *punt, const uint8_t *bytes, size_t size)
{
    struct dp_punt header;
    if (size < sizeof(header))
        return;
    memcpy(&header, bytes, sizeof(header));
    if (header.size != size - sizeof(header))
        return;
    if (header.reason == DP_PUNT_RESOLVE)
        punt->callbacks.resolve(punt->callbacks.context, header.port, header.address);
    else
        punt->callbacks.frame(punt->callbacks.context, &header, bytes + sizeof(header));
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct punt *punt = context;
    uint8_t bytes[sizeof(struct dp_punt) + DP_PUNT_FRAME_MAX];
    (void)what;
    for (int i = 0; i < MESSAGES_MAX && punt->fd == fd; i++) {
        ssize_t size = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0) { /* the dataplane is gone; it, or the next one, gets another channel */
            channel_close(punt);
            return;
        }
        if ((size_t)size <= sizeof(bytes))
            take(punt, bytes, (size_t)size);
    }
}

struct punt *punt_new(struct event_base *base, const struct punt_callbacks *callbacks)
{
    struct punt *punt = calloc(1, sizeof(*punt));
    if (!punt)
        return NULL;
    punt->base = base;
    punt->callbacks = *callbacks;
    punt->fd = -1;
    return punt;
}

void punt_free(struct punt *punt)
{
    if (!punt)
        return;
    channel_close(punt);
    free(punt);
}

int punt_connect(struct punt *punt, struct dp_client *client)
{
    const struct dp_hello *hello = dp_client_hello(client);
    int ends[2];
    if (punt->fd >= 0 && punt->pid == hello->pid && punt->start_time_ns == hello->start_time_ns)
        return 0;
    channel_close(punt);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -errno;
    int error = dp_client_punt(client, ends[1]);
    close(ends[1]);
    if (error) {
        close(ends[0]);
        return error;
    }
    punt->fd = ends[0];
    punt->pid = hello->pid;
    punt->start_time_ns = hello->start_time_ns;
    punt->event = event_new(punt->base, punt->fd, EV_READ | EV_PERSIST, on_readable, punt);
    event_add(punt->event, NULL);
    return 0;
}

int punt_send(struct punt *punt, uint32_t port, const void *frame, size_t size)
{
    struct dp_punt header = {.port = port, .reason = DP_PUNT_SEND, .size = (uint16_t)size};
    struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)frame, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (punt->fd < 0)
        return -ENOTCONN;
    if (size > DP_PUNT_FRAME_MAX)
        return -EMSGSIZE;
    return sendmsg(punt->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}
