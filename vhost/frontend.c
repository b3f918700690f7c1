/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Each call is one or a few messages, sent in order. With protocol feature REPLY_ACK every message is
 * acknowledged, so a refusal is known at the call that caused it; without it, a backend that dislikes a
 * message closes the connection and the next call that expects a reply finds out. The socket is used without
 * blocking and waited for with poll(2) against the call's deadline. An error of the connection is kept and
 * given to every later call: the stream may be out of step.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "frontend.h"

struct vhost_frontend {
    int fd;
    int timeout_ms;
    int error; /* 0, or the -errno that every call returns */
    uint64_t offered, features, protocol_features;
    int channel_fd; /* our end of the backend's channel, -1: none */
    struct vhost_receiver receiver;
    struct vhost_receiver channel_receiver;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 0 when the descriptor polls with one of `events`, -ETIMEDOUT, or -errno. */
static int wait_for(int fd, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - now_ms();
        struct pollfd item = {.fd = fd, .events = events};
        int ready = poll(&item, 1, left > 0 ? (int)left : 0);
        if (ready > 0)
            return 0;
        if (ready == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static int connect_socket(const char *path, int timeout_ms)
{
    struct sockaddr_un address;
    int result = vhost_socket_address(&address, path);
    if (result < 0)
        return result;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* connect(2) on a unix socket waits only while the listener's backlog is full, bounded by the send
     * timeout. */
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        result = errno == EAGAIN ? -ETIMEDOUT : -errno;
        close(fd);
        return result;
    }
    return fd;
}

struct vhost_frontend *vhost_frontend_adopt(int fd, int timeout_ms)
{
    struct vhost_frontend *frontend = calloc(1, sizeof(*frontend));
    if (!frontend) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    frontend->fd = fd;
    frontend->timeout_ms = timeout_ms;
    frontend->channel_fd = -1;
    vhost_receiver_init(&frontend->receiver);
    vhost_receiver_init(&frontend->channel_receiver);
    return frontend;
}

struct vhost_frontend *vhost_frontend_connect(const char *path, int timeout_ms)
{
    int fd = connect_socket(path, timeout_ms);
    if (fd < 0) {
        errno = -fd;
        return NULL;
    }
    return vhost_frontend_adopt(fd, timeout_ms);
}

void vhost_frontend_close(struct vhost_frontend *frontend)
{
    if (!frontend)
        return;
    vhost_receiver_reset(&frontend->receiver);
    vhost_receiver_reset(&frontend->channel_receiver);
    close(frontend->fd);
    if (frontend->channel_fd >= 0)
        close(frontend->channel_fd);
    free(frontend);
}

int vhost_frontend_fd(const struct vhost_frontend *frontend)
{
    return frontend->fd;
}

uint64_t vhost_frontend_protocol_features(const struct vhost_frontend *frontend)
{
    return frontend->protocol_features;
}

static bool has_protocol(const struct vhost_frontend *frontend, unsigned bit)
{
    return frontend->protocol_features >> bit & 1;
}

static int fail(struct vhost_frontend *frontend, int error)
{
    frontend->error = error == -EPIPE || error == -EBADF ? -ECONNRESET : error;
    return frontend->error;
}

static int send_message(struct vhost_frontend *frontend, const struct vhost_message *message, const int *fds,
                        unsigned fd_count, int64_t deadline)
{
    if (frontend->error)
        return frontend->error;
    for (;;) {
        int result = vhost_send(frontend->fd, message, fds, fd_count);
        if (result == 0)
            return 0;
        if (result == -EAGAIN)
            result = wait_for(frontend->fd, POLLOUT, deadline);
        if (result < 0)
            return fail(frontend, result);
    }
}

/* Reads the reply to `request` into *reply. */
static int receive_reply(struct vhost_frontend *frontend, uint32_t request, struct vhost_message *reply,
                         int64_t deadline)
{
    const char *violation;
    int result;
    while ((result = vhost_receive(&frontend->receiver, frontend->fd, &violation)) == 0) {
        result = wait_for(frontend->fd, POLLIN, deadline);
        if (result < 0)
            return fail(frontend, result);
    }
    *reply = frontend->receiver.message;
    bool surplus = frontend->receiver.fd_count > 0;
    vhost_receiver_reset(&frontend->receiver);
    if (result < 0)
        return fail(frontend, result);
    if (surplus || reply->request != request || !(reply->flags & VHOST_FLAG_REPLY))
        return fail(frontend, -EPROTO);
    return 0;
}

static struct vhost_message message_make(uint32_t request, uint32_t payload_size)
{
    return (struct vhost_message){.request = request, .flags = VHOST_FLAG_VERSION, .size = payload_size};
}

/* A message without a reply of its own: acknowledged if that was negotiated. */
static int command(struct vhost_frontend *frontend, struct vhost_message *message, const int *fds,
                   unsigned fd_count)
{
    int64_t deadline = now_ms() + frontend->timeout_ms;
    bool acknowledged = has_protocol(frontend, VHOST_PROTOCOL_F_REPLY_ACK);
    if (acknowledged)
        message->flags |= VHOST_FLAG_NEED_REPLY;
    int result = send_message(frontend, message, fds, fd_count, deadline);
    if (result < 0 || !acknowledged)
        return result;
    struct vhost_message reply;
    result = receive_reply(frontend, message->request, &reply, deadline);
    if (result < 0)
        return result;
    if (reply.size != sizeof(reply.payload.u64))
        return fail(frontend, -EPROTO);
    return reply.payload.u64 == 0 ? 0 : -EINVAL;
}

static int command_u64(struct vhost_frontend *frontend, uint32_t request, uint64_t value)
{
    struct vhost_message message = message_make(request, sizeof(uint64_t));
    message.payload.u64 = value;
    return command(frontend, &message, NULL, 0);
}

static int command_state(struct vhost_frontend *frontend, uint32_t request, uint32_t index, uint32_t num)
{
    struct vhost_message message = message_make(request, sizeof(struct vhost_ring_state));
    message.payload.state = (struct vhost_ring_state){.index = index, .num = num};
    return command(frontend, &message, NULL, 0);
}

static int command_fd(struct vhost_frontend *frontend, uint32_t request, uint32_t index, int fd)
{
    struct vhost_message message = message_make(request, sizeof(uint64_t));
    message.payload.u64 = index | (fd < 0 ? VHOST_RING_NO_FD : 0);
    return command(frontend, &message, &fd, fd < 0 ? 0 : 1);
}

/* A message that is answered with the same request and a payload of its own size. */
static int query(struct vhost_frontend *frontend, struct vhost_message *message, struct vhost_message *reply)
{
    int64_t deadline = now_ms() + frontend->timeout_ms;
    int result = send_message(frontend, message, NULL, 0, deadline);
    return result < 0 ? result : receive_reply(frontend, message->request, reply, deadline);
}

static int query_u64(struct vhost_frontend *frontend, uint32_t request, uint64_t *value)
{
    struct vhost_message message = message_make(request, 0), reply;
    int result = query(frontend, &message, &reply);
    if (result < 0)
        return result;
    if (reply.size != sizeof(reply.payload.u64))
        return fail(frontend, -EPROTO);
    *value = reply.payload.u64;
    return 0;
}

static int open_channel(struct vhost_frontend *frontend)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -errno;
    struct vhost_message message = message_make(VHOST_SET_BACKEND_REQ_FD, 0);
    int result = command(frontend, &message, &ends[1], 1);
    close(ends[1]);
    if (result < 0) {
        close(ends[0]);
        return result;
    }
    frontend->channel_fd = ends[0];
    return 0;
}

static int negotiate_protocol(struct vhost_frontend *frontend, uint64_t want)
{
    uint64_t offered;
    int result = query_u64(frontend, VHOST_GET_PROTOCOL_FEATURES, &offered);
    if (result < 0)
        return result;
    result = command_u64(frontend, VHOST_SET_PROTOCOL_FEATURES, offered & want);
    if (result == 0)
        frontend->protocol_features = offered & want;
    return result;
}

int vhost_frontend_negotiate(struct vhost_frontend *frontend, uint64_t want_protocol, uint64_t *offered,
                             unsigned *queue_pairs_max)
{
    uint64_t pairs = 1;
    int result = query_u64(frontend, VHOST_GET_FEATURES, &frontend->offered);
    if (result == 0 && (frontend->offered >> VHOST_USER_F_PROTOCOL_FEATURES & 1))
        result = negotiate_protocol(frontend, want_protocol);
    if (result == 0) {
        struct vhost_message message = message_make(VHOST_SET_OWNER, 0);
        result = command(frontend, &message, NULL, 0);
    }
    if (result == 0 && has_protocol(frontend, VHOST_PROTOCOL_F_MQ))
        result = query_u64(frontend, VHOST_GET_QUEUE_NUM, &pairs);
    if (result == 0 && has_protocol(frontend, VHOST_PROTOCOL_F_BACKEND_REQ))
        result = open_channel(frontend);
    if (result < 0)
        return result;
    if (pairs == 0 || pairs > 0x8000) /* virtio 1.2, 5.1.4 */
        return fail(frontend, -EPROTO);
    *offered = frontend->offered;
    *queue_pairs_max = (unsigned)pairs;
    return 0;
}

int vhost_frontend_set_features(struct vhost_frontend *frontend, uint64_t features)
{
    features |= frontend->offered & 1ull << VHOST_USER_F_PROTOCOL_FEATURES;
    int result = command_u64(frontend, VHOST_SET_FEATURES, features);
    if (result == 0)
        frontend->features = features;
    return result;
}

int vhost_frontend_set_memory(struct vhost_frontend *frontend, const struct vhost_frontend_region *regions,
                              unsigned count)
{
    if (count == 0 || count > VHOST_TABLE_REGIONS_MAX)
        return -EINVAL;
    struct vhost_message message =
        message_make(VHOST_SET_MEM_TABLE, (uint32_t)(offsetof(struct vhost_wire_table, regions) +
                                                     count * sizeof(struct vhost_wire_region)));
    int fds[VHOST_TABLE_REGIONS_MAX];
    message.payload.table.count = count;
    for (unsigned i = 0; i < count; i++) {
        message.payload.table.regions[i] = (struct vhost_wire_region){
            .guest_address = regions[i].guest_address,
            .size = regions[i].size,
            .user_address = (uintptr_t)regions[i].host_address,
            .mmap_offset = regions[i].offset,
        };
        fds[i] = regions[i].fd;
    }
    return command(frontend, &message, fds, count);
}

int vhost_frontend_set_ring(struct vhost_frontend *frontend, unsigned index,
                            const struct vhost_frontend_ring *ring)
{
    bool packed = frontend->features >> VIRTIO_F_RING_PACKED & 1;
    uint32_t base = packed ? ring->base | (uint32_t)ring->base_used << 16 : ring->base;
    struct vhost_message address = message_make(VHOST_SET_VRING_ADDR, sizeof(struct vhost_ring_address));
    address.payload.address = (struct vhost_ring_address){
        .index = index,
        .desc = (uintptr_t)ring->desc,
        .avail = (uintptr_t)ring->driver,
        .used = (uintptr_t)ring->device,
    };
    int result = command_state(frontend, VHOST_SET_VRING_NUM, index, ring->size);
    if (result == 0)
        result = command_state(frontend, VHOST_SET_VRING_BASE, index, base);
    if (result == 0)
        result = command(frontend, &address, NULL, 0);
    if (result == 0)
        result = command_fd(frontend, VHOST_SET_VRING_CALL, index, ring->call_fd);
    if (result == 0)
        result = command_fd(frontend, VHOST_SET_VRING_KICK, index, ring->kick_fd);
    return result;
}

int vhost_frontend_enable_ring(struct vhost_frontend *frontend, unsigned index, bool enabled)
{
    if (!(frontend->offered >> VHOST_USER_F_PROTOCOL_FEATURES & 1))
        return enabled ? 0 : -EOPNOTSUPP; /* rings start enabled and stay so */
    return command_state(frontend, VHOST_SET_VRING_ENABLE, index, enabled);
}

int vhost_frontend_stop_ring(struct vhost_frontend *frontend, unsigned index, uint16_t *base,
                             uint16_t *base_used)
{
    struct vhost_message message = message_make(VHOST_GET_VRING_BASE, sizeof(struct vhost_ring_state)), reply;
    message.payload.state = (struct vhost_ring_state){.index = index};
    int result = query(frontend, &message, &reply);
    if (result < 0)
        return result;
    if (reply.size != sizeof(reply.payload.state) || reply.payload.state.index != index)
        return fail(frontend, -EPROTO);
    *base = (uint16_t)reply.payload.state.num;
    *base_used = (uint16_t)(reply.payload.state.num >> 16);
    return 0;
}

int vhost_frontend_get_config(struct vhost_frontend *frontend, uint32_t offset, void *data, uint32_t size)
{
    if (!has_protocol(frontend, VHOST_PROTOCOL_F_CONFIG))
        return -EOPNOTSUPP;
    if (offset > VHOST_CONFIG_SIZE_MAX || size > VHOST_CONFIG_SIZE_MAX - offset)
        return -EINVAL;
    struct vhost_message message = message_make(VHOST_GET_CONFIG, VHOST_CONFIG_HEADER_SIZE + size), reply;
    message.payload.config.offset = offset;
    message.payload.config.size = size;
    message.payload.config.flags = 0;
    memset(message.payload.config.data, 0, size);
    int result = query(frontend, &message, &reply);
    if (result < 0)
        return result;
    if (reply.size == 0)
        return -EINVAL;
    if (reply.size != message.size || reply.payload.config.offset != offset ||
        reply.payload.config.size != size)
        return fail(frontend, -EPROTO);
    memcpy(data, reply.payload.config.data, size);
    return 0;
}

int vhost_frontend_set_status(struct vhost_frontend *frontend, uint8_t status)
{
    if (!has_protocol(frontend, VHOST_PROTOCOL_F_STATUS))
        return -EOPNOTSUPP;
    return command_u64(frontend, VHOST_SET_STATUS, status);
}

int vhost_frontend_get_status(struct vhost_frontend *frontend, uint8_t *status)
{
    uint64_t value;
    if (!has_protocol(frontend, VHOST_PROTOCOL_F_STATUS))
        return -EOPNOTSUPP;
    int result = query_u64(frontend, VHOST_GET_STATUS, &value);
    if (result == 0)
        *status = (uint8_t)value;
    return result;
}

int vhost_frontend_reset_device(struct vhost_frontend *frontend)
{
    if (!has_protocol(frontend, VHOST_PROTOCOL_F_RESET_DEVICE))
        return -EOPNOTSUPP;
    struct vhost_message message = message_make(VHOST_RESET_DEVICE, 0);
    return command(frontend, &message, NULL, 0);
}

int vhost_frontend_set_mtu(struct vhost_frontend *frontend, uint16_t mtu)
{
    if (!has_protocol(frontend, VHOST_PROTOCOL_F_NET_MTU))
        return -EOPNOTSUPP;
    return command_u64(frontend, VHOST_NET_SET_MTU, mtu);
}

int vhost_frontend_send_rarp(struct vhost_frontend *frontend, const uint8_t mac[6])
{
    if (!has_protocol(frontend, VHOST_PROTOCOL_F_RARP))
        return -EOPNOTSUPP;
    uint64_t value = 0;
    memcpy(&value, mac, 6);
    return command_u64(frontend, VHOST_SEND_RARP, value);
}

int vhost_frontend_backend_channel(struct vhost_frontend *frontend)
{
    return frontend->channel_fd;
}

int vhost_frontend_backend_event(struct vhost_frontend *frontend)
{
    struct vhost_receiver *receiver = &frontend->channel_receiver;
    const char *violation;
    if (frontend->channel_fd < 0)
        return -EOPNOTSUPP;
    int result = vhost_receive(receiver, frontend->channel_fd, &violation);
    if (result <= 0) {
        if (result < 0)
            vhost_receiver_reset(receiver);
        return result;
    }
    struct vhost_message message = receiver->message;
    vhost_receiver_reset(receiver);
    bool known = message.request == VHOST_BACKEND_CONFIG_CHANGE && message.size == 0;
    if (message.flags & VHOST_FLAG_NEED_REPLY) {
        struct vhost_message reply = message_make(message.request, sizeof(uint64_t));
        reply.flags |= VHOST_FLAG_REPLY;
        reply.payload.u64 = known ? 0 : 1;
        result = vhost_send(frontend->channel_fd, &reply, NULL, 0);
        if (result < 0)
            return result;
    }
    return known ? 1 : -EPROTO;
}
