/* SPDX-License-Identifier: BSD-3-Clause */
/* Lies about the form of messages: headers, sizes, descriptors, pace. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "hostile.h"

#define FORM    "message form"
#define FDS     "exact number of descriptors"
#define CUT     "truncated control data disconnects"
#define PACE    "1 s to finish a message"
#define EVENT   "call descriptors must be eventfds"
#define FDS_MAX 250

/* How far the set-up goes before the lie. */
enum stage { AT_CONNECT, AT_FEATURES, AT_MEMORY, AT_RINGS };

struct raw {
    enum stage stage;
    uint32_t request, flags;
    uint32_t claimed; /* bytes of payload that the header says */
    uint32_t sent;    /* bytes of payload that follow */
    unsigned fds;     /* /dev/null that many times */
};

static bool reach(struct hostile *h, enum stage stage)
{
    switch (stage) {
    case AT_CONNECT:
        return true;
    case AT_FEATURES:
        return hostile_negotiate(h, 0);
    case AT_MEMORY:
        return hostile_to_memory(h, 0);
    default:
        return hostile_start(h, 0);
    }
}

/* sendmsg(2) as it is, with more descriptors than vhost_send allows. */
static bool send_bytes(struct hostile *h, const void *bytes, size_t size, const int *fds, unsigned fd_count)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
    }
    return sendmsg(h->fd, &header, MSG_NOSIGNAL) == (ssize_t)size ||
           hostile_fail(h, "sendmsg: %s", strerror(errno));
}

static bool send_nulls(struct hostile *h, const void *bytes, size_t size, unsigned fd_count)
{
    int fds[FDS_MAX], null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (unsigned i = 0; i < fd_count; i++)
        fds[i] = null;
    bool sent = send_bytes(h, bytes, size, fds, fd_count);
    close(null);
    return sent;
}

static bool send_raw(struct hostile *h, const void *argument)
{
    const struct raw *raw = argument;
    struct vhost_message message = {.request = raw->request, .flags = raw->flags, .size = raw->claimed};
    return reach(h, raw->stage) && send_nulls(h, &message, VHOST_HEADER_SIZE + raw->sent, raw->fds);
}

/* More payload than any message has, all of it sent. */
static bool send_big(struct hostile *h, const void *argument)
{
    uint8_t bytes[VHOST_HEADER_SIZE + 4096] = {0};
    const uint32_t header[3] = {VHOST_SET_FEATURES, VHOST_FLAG_VERSION, 4096};
    memcpy(bytes, header, sizeof(header));
    return send_bytes(h, bytes, sizeof(bytes), NULL, 0);
}

static bool send_half(struct hostile *h, const void *argument)
{
    const struct raw *raw = argument;
    struct vhost_message message = {.request = raw->request, .flags = raw->flags, .size = raw->claimed};
    return reach(h, raw->stage) && send_nulls(h, &message, raw->sent, raw->fds);
}

/* One byte every 400 ms: each is progress, the whole is not done within a second, nor waited for. */
static bool trickle(struct hostile *h, const void *argument)
{
    struct vhost_message message = {.request = VHOST_SET_FEATURES, .flags = VHOST_FLAG_VERSION, .size = 8};
    for (unsigned i = 0; i < VHOST_HEADER_SIZE + 7; i++)
        if (send(h->fd, (uint8_t *)&message + i, 1, MSG_NOSIGNAL) != 1 || hostile_closed(h, 400))
            return true;
    return hostile_fail(h, "not closed before the message's last byte");
}

static bool half_and_leave(struct hostile *h, const void *argument)
{
    bool sent = send_half(h, argument);
    hostile_disconnect(h);
    return sent;
}

/* Descriptors with the header, and with the payload. */
static bool fds_in_two_parts(struct hostile *h, const void *argument)
{
    struct vhost_wire_table table = {.count = 1};
    uint32_t size = offsetof(struct vhost_wire_table, regions) + sizeof(table.regions[0]);
    const uint32_t header[3] = {VHOST_SET_MEM_TABLE, VHOST_FLAG_VERSION, size};
    if (!hostile_negotiate(h, 0))
        return false;
    return send_nulls(h, header, sizeof(header), 8) && (send_nulls(h, &table, size, 8) || true);
}

static bool replies_not_read(struct hostile *h, const void *argument)
{
    struct vhost_message message = {.request = VHOST_GET_FEATURES, .flags = VHOST_FLAG_VERSION};
    for (unsigned i = 0; i < 1000000; i++) {
        struct pollfd item = {.fd = h->fd, .events = POLLOUT};
        if (send(h->fd, &message, VHOST_HEADER_SIZE, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            continue;
        if (errno != EAGAIN)
            return true;
        if (poll(&item, 1, HOSTILE_TIMEOUT_MS) == 0)
            return hostile_fail(h, "the switch stopped reading without closing");
    }
    return hostile_fail(h, "a million replies were kept for us");
}

/* What an eventfd is not. */
enum impostor { PIPE, NULL_DEVICE, MEMFD, SOCKET, EPOLL };
struct swap {
    uint32_t request;
    enum impostor kind;
};

static int open_impostor(enum impostor kind)
{
    int ends[2];
    switch (kind) {
    case PIPE:
        if (pipe2(ends, O_CLOEXEC) < 0)
            return -1;
        close(ends[0]);
        return ends[1];
    case NULL_DEVICE:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case MEMFD:
        return memfd_create("eventfd", MFD_CLOEXEC);
    case SOCKET:
        return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    default:
        return epoll_create1(EPOLL_CLOEXEC);
    }
}

static bool not_an_eventfd(struct hostile *h, const void *argument)
{
    const struct swap *swap = argument;
    int fd = open_impostor(swap->kind);
    bool sent = hostile_start(h, 0) && hostile_send_fd(h, swap->request, HOSTILE_TX, fd);
    close(fd);
    return sent;
}

static bool two_fds(struct hostile *h, const void *argument)
{
    const uint32_t *request = argument;
    uint64_t ring = HOSTILE_TX;
    int fds[2] = {h->rings[0].call_fd, h->rings[1].call_fd};
    return hostile_start(h, 0) && hostile_send(h, *request, 0, &ring, sizeof(ring), fds, 2);
}

static bool flagged_no_fd_with_fd(struct hostile *h, const void *argument)
{
    const uint32_t *request = argument;
    return hostile_start(h, 0) &&
           hostile_send_fd(h, *request, HOSTILE_TX | VHOST_RING_NO_FD, h->rings[1].call_fd);
}

static bool no_fd(struct hostile *h, const void *argument)
{
    const uint32_t *request = argument;
    return hostile_start(h, 0) && hostile_send_fd(h, *request, HOSTILE_TX, -1);
}

static bool table_fds(struct hostile *h, const void *argument)
{
    const unsigned *count = argument;
    struct vhost_wire_region regions[2];
    int fds[3] = {h->memory_fd, h->memory_fd, h->memory_fd};
    hostile_default_regions(regions);
    return hostile_negotiate(h, 0) && hostile_send_table(h, regions, 2, fds, *count);
}

static bool channel_not_a_socket(struct hostile *h, const void *argument)
{
    const enum impostor *kind = argument;
    int fd = open_impostor(*kind);
    bool sent = hostile_negotiate(h, 0) && hostile_send(h, VHOST_SET_BACKEND_REQ_FD, 0, NULL, 0, &fd, 1);
    close(fd);
    return sent;
}

#define V VHOST_FLAG_VERSION
#define RAW(...)                                                                                             \
    &(const struct raw)                                                                                      \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define SWAP(r, k)                                                                                           \
    &(const struct swap)                                                                                     \
    {                                                                                                        \
        r, k                                                                                                 \
    }
#define REQUEST(r)                                                                                           \
    &(const uint32_t)                                                                                        \
    {                                                                                                        \
        r                                                                                                    \
    }
/* clang-format off */
const struct pattern hostile_message_patterns[] = {
    {"version-zero", FORM, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_GET_FEATURES, 0, 0, 0, 0), false},
    {"version-two", FORM, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_GET_FEATURES, 2, 0, 0, 0), false},
    {"reply-to-nothing", FORM, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_GET_FEATURES, V | 4, 0, 0, 0), false},
    {"unknown-flags", FORM, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_GET_FEATURES, V | 0xffff0000, 0, 0, 0), false},
    {"request-zero", FORM, CLOSED, send_raw, RAW(AT_CONNECT, 0, V, 0, 0, 0), false},
    {"request-unknown", FORM, CLOSED, send_raw, RAW(AT_CONNECT, 99, V, 0, 0, 0), false},
    {"request-huge", FORM, CLOSED, send_raw, RAW(AT_CONNECT, 0xffffffff, V, 0, 0, 0), false},
    {"request-not-offered", FORM, CLOSED, send_raw, RAW(AT_FEATURES, VHOST_SET_VRING_ENDIAN, V, 8, 8, 0), false},
    {"log-base-not-offered", FORM, CLOSED, send_raw, RAW(AT_MEMORY, VHOST_SET_LOG_BASE, V, 16, 16, 1), false},
    {"log-fd-not-offered", FORM, CLOSED, send_raw, RAW(AT_MEMORY, VHOST_SET_LOG_FD, V, 0, 0, 1), false},
    {"inflight-not-offered", FORM, CLOSED, send_raw, RAW(AT_MEMORY, VHOST_SET_INFLIGHT_FD, V, 24, 24, 1), false},
    {"iotlb-not-offered", FORM, CLOSED, send_raw, RAW(AT_RINGS, VHOST_IOTLB_MSG, V, 24, 24, 0), false},
    {"postcopy-not-offered", FORM, CLOSED, send_raw, RAW(AT_FEATURES, VHOST_POSTCOPY_ADVISE, V, 0, 0, 0), false},
    {"payload-4-gib", FORM, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_SET_FEATURES, V, 0xffffffff, 8, 0), false},
    {"payload-oversize", FORM, CLOSED, send_big, NULL, false},
    {"payload-short", FORM, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_SET_FEATURES, V, 4, 4, 0), false},
    {"payload-long", FORM, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_SET_FEATURES, V, 16, 16, 0), false},
    {"payload-missing", FORM, CLOSED, send_raw, RAW(AT_FEATURES, VHOST_SET_VRING_NUM, V, 0, 0, 0), false},
    {"payload-unasked", FORM, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_GET_FEATURES, V, 8, 8, 0), false},
    {"address-short", FORM, CLOSED, send_raw, RAW(AT_MEMORY, VHOST_SET_VRING_ADDR, V, 24, 24, 0), false},

    {"half-header-and-silence", PACE, CLOSED, send_half, RAW(AT_CONNECT, VHOST_SET_FEATURES, V, 8, 5, 0), false},
    {"half-payload-and-silence", PACE, CLOSED, send_half, RAW(AT_RINGS, VHOST_SET_FEATURES, V, 8, 15, 0), false},
    {"trickle", PACE, CLOSED, trickle, NULL, false},
    {"half-message-with-descriptors-and-leave", PACE, LEFT, half_and_leave,
     RAW(AT_FEATURES, VHOST_SET_MEM_TABLE, V, 40, 20, 8), false},
    {"half-header-and-leave", PACE, LEFT, half_and_leave, RAW(AT_RINGS, VHOST_SET_FEATURES, V, 8, 3, 0), false},
    {"replies-not-read", PACE, CLOSED, replies_not_read, NULL, false},

    {"surplus-descriptor", FDS, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_GET_FEATURES, V, 0, 0, 1), false},
    {"surplus-descriptors-running", FDS, CLOSED, send_raw, RAW(AT_RINGS, VHOST_SET_VRING_ENABLE, V, 8, 8, 8), false},
    {"surplus-descriptor-unknown-request", FDS, CLOSED, send_raw, RAW(AT_RINGS, 77, V, 0, 0, 8), false},
    {"descriptors-of-a-wrong-version", FDS, CLOSED, send_raw, RAW(AT_CONNECT, VHOST_GET_FEATURES, 0, 0, 0, 8), false},
    {"nine-descriptors", CUT, CLOSED, send_raw, RAW(AT_FEATURES, VHOST_SET_MEM_TABLE, V, 8, 8, 9), false},
    {"two-hundred-descriptors", CUT, CLOSED, send_raw, RAW(AT_FEATURES, VHOST_SET_MEM_TABLE, V, 8, 8, 200), false},
    {"descriptors-in-two-parts", CUT, CLOSED, fds_in_two_parts, NULL, false},
    {"table-without-descriptors", FDS, CLOSED, table_fds, &(const unsigned){0}, false},
    {"table-descriptor-missing", FDS, CLOSED, table_fds, &(const unsigned){1}, false},
    {"table-descriptor-surplus", FDS, CLOSED, table_fds, &(const unsigned){3}, false},
    {"add-region-without-descriptor", FDS, CLOSED, send_raw, RAW(AT_MEMORY, VHOST_ADD_MEM_REG, V, 40, 40, 0), false},
    {"kick-without-descriptor", FDS, CLOSED, no_fd, REQUEST(VHOST_SET_VRING_KICK), false},
    {"call-without-descriptor", FDS, CLOSED, no_fd, REQUEST(VHOST_SET_VRING_CALL), false},
    {"error-without-descriptor", FDS, CLOSED, no_fd, REQUEST(VHOST_SET_VRING_ERR), false},
    {"kick-flagged-none-with-one", FDS, CLOSED, flagged_no_fd_with_fd, REQUEST(VHOST_SET_VRING_KICK), false},
    {"call-flagged-none-with-one", FDS, CLOSED, flagged_no_fd_with_fd, REQUEST(VHOST_SET_VRING_CALL), false},
    {"call-two-descriptors", FDS, CLOSED, two_fds, REQUEST(VHOST_SET_VRING_CALL), false},
    {"kick-two-descriptors", FDS, CLOSED, two_fds, REQUEST(VHOST_SET_VRING_KICK), false},

    {"call-is-a-pipe", EVENT, CLOSED, not_an_eventfd, SWAP(VHOST_SET_VRING_CALL, PIPE), false},
    {"call-is-a-socket", EVENT, CLOSED, not_an_eventfd, SWAP(VHOST_SET_VRING_CALL, SOCKET), false},
    {"call-is-an-epoll", EVENT, CLOSED, not_an_eventfd, SWAP(VHOST_SET_VRING_CALL, EPOLL), false},
    {"call-is-a-memfd-named-eventfd", EVENT, CLOSED, not_an_eventfd, SWAP(VHOST_SET_VRING_CALL, MEMFD), false},
    {"kick-is-dev-null", EVENT, CLOSED, not_an_eventfd, SWAP(VHOST_SET_VRING_KICK, NULL_DEVICE), false},
    {"error-is-a-pipe", EVENT, CLOSED, not_an_eventfd, SWAP(VHOST_SET_VRING_ERR, PIPE), false},
    {"channel-is-dev-null", EVENT, CLOSED, channel_not_a_socket, &(const enum impostor){NULL_DEVICE}, false},
    {"channel-is-a-pipe", EVENT, CLOSED, channel_not_a_socket, &(const enum impostor){PIPE}, false},
};
/* clang-format on */
const unsigned hostile_message_count = sizeof(hostile_message_patterns) / sizeof(hostile_message_patterns[0]);
