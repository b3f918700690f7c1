/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A stream socket carries messages of a 12 byte header and a payload; descriptors travel with one of their
 * bytes. A receiver asks the socket for the rest of the header, then for the rest of the payload, never for
 * more, so that the descriptors of the next message cannot arrive with this one. Descriptors of all parts are
 * collected; whether their number is right is for the one who knows the message. There is room for exactly as
 * many as the largest message may carry: the kernel discards the others and says so (MSG_CTRUNC), which ends
 * the connection.
 */
#include <errno.h>
#include <string.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "proto.h"

static const char *const request_names[VHOST_REQUEST_COUNT] = {
#define X(symbol, id) [id] = #symbol,
    VHOST_REQUESTS(X)
#undef X
};

const char *vhost_request_name(uint32_t request)
{
    if (request >= VHOST_REQUEST_COUNT || !request_names[request])
        return "request";
    return request_names[request];
}

void vhost_receiver_init(struct vhost_receiver *receiver)
{
    receiver->received = 0;
    receiver->fd_count = 0;
}

void vhost_receiver_reset(struct vhost_receiver *receiver)
{
    for (unsigned i = 0; i < receiver->fd_count; i++) {
        if (receiver->fds[i] >= 0)
            close(receiver->fds[i]);
    }
    vhost_receiver_init(receiver);
}

int vhost_receiver_take_fd(struct vhost_receiver *receiver, unsigned index)
{
    int fd = receiver->fds[index];
    receiver->fds[index] = -1;
    return fd;
}

/* Every descriptor that the kernel installed is stored or closed. False: there were more than a message may
 * have. */
static bool collect_fds(struct vhost_receiver *receiver, struct msghdr *header)
{
    bool fit = true;
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
            if (receiver->fd_count < VHOST_MESSAGE_FDS_MAX) {
                receiver->fds[receiver->fd_count++] = fd;
            } else {
                close(fd);
                fit = false;
            }
        }
    }
    return fit;
}

/* Reads up to `size` bytes behind those that are there. Bytes read (> 0), 0: nothing there, or -errno. */
static int receive_part(struct vhost_receiver *receiver, int socket, uint32_t size, const char **violation)
{
    union {
        char bytes[CMSG_SPACE(VHOST_MESSAGE_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = (uint8_t *)&receiver->message + receiver->received, .iov_len = size};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.bytes)};
    ssize_t got;
    do {
        got = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -ECONNRESET;
    bool fit = collect_fds(receiver, &header);
    if (!fit || (header.msg_flags & MSG_CTRUNC)) {
        *violation = "more descriptors than a message may carry";
        return -EPROTO;
    }
    if (got == 0)
        return -ECONNRESET;
    receiver->received += (uint32_t)got;
    return (int)got;
}

int vhost_receive(struct vhost_receiver *receiver, int socket, const char **violation)
{
    const struct vhost_message *message = &receiver->message;
    for (;;) {
        uint32_t wanted = VHOST_HEADER_SIZE;
        if (receiver->received >= VHOST_HEADER_SIZE) {
            if ((message->flags & VHOST_FLAG_VERSION_MASK) != VHOST_FLAG_VERSION) {
                *violation = "protocol version is not 1";
                return -EPROTO;
            }
            if (message->size > VHOST_PAYLOAD_SIZE_MAX) {
                *violation = "payload larger than any message's";
                return -EPROTO;
            }
            wanted += message->size;
            if (receiver->received == wanted)
                return 1;
        }
        int got = receive_part(receiver, socket, wanted - receiver->received, violation);
        if (got <= 0)
            return got;
    }
}

int vhost_send(int socket, const struct vhost_message *message, const int *fds, unsigned fd_count)
{
    union {
        char bytes[CMSG_SPACE(VHOST_MESSAGE_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = VHOST_HEADER_SIZE + message->size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > VHOST_MESSAGE_FDS_MAX || message->size > VHOST_PAYLOAD_SIZE_MAX)
        return -EINVAL;
    if (fd_count > 0) {
        memset(&control, 0, sizeof(control));
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return -errno;
    return (size_t)sent == iov.iov_len ? 0 : -EPIPE;
}

int vhost_socket_address(struct sockaddr_un *address, const char *path)
{
    size_t length = strlen(path);
    if (length == 0)
        return -EINVAL;
    if (length >= sizeof(address->sun_path))
        return -ENAMETOOLONG;
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length + 1);
    return 0;
}

bool vhost_is_eventfd(int fd)
{
    static const char expected[] = "anon_inode:[eventfd]";
    char path[32], target[sizeof(expected)];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof(target));
    return length == sizeof(expected) - 1 && memcmp(target, expected, sizeof(expected) - 1) == 0;
}
