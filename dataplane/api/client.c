/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Requests carry a sequence number; the dataplane answers in order. Puts and deletes are pipelined: `pending`
 * counts the requests that were sent and not answered yet, at most WINDOW of them, so that neither side's
 * socket buffer can fill and both wait for each other. Everything else waits until all that is pending has
 * been answered. The first error of a transaction is kept (`failed`) and given to every later call of it.
 *
 * States: usable, or broken (`broken` is the -errno that every later call returns).
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "client.h"

#define WINDOW 64u /* requests */

/* A commit opens and closes thousands of ports before it is answered; a watchdog's period (30 s) is longer.
 */
#define COMMIT_TIMES 5

struct dp_client {
    int fd;
    int timeout_ms;
    int answer_ms; /* limit of the answer that is being waited for */
    int broken;
    int failed;        /* of the open transaction */
    uint32_t sequence; /* of the last request sent */
    unsigned pending;  /* pipelined requests without an answer */
    struct dp_hello hello;
    char error[sizeof(((struct dp_reply *)0)->text) + 64];
    /* dump */
    bool dumping;
    bool more; /* another reply follows */
    enum dp_kind kind;
    size_t next, left; /* offset in buffer, objects left in it */
    uint8_t buffer[DP_MESSAGE_MAX] __attribute__((aligned(16)));
};

static int fail(struct dp_client *client, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The connection is of no use any more. */
static int fail(struct dp_client *client, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(client->error, sizeof(client->error), format, arguments);
    va_end(arguments);
    client->broken = status;
    client->dumping = false;
    return status;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until the socket is ready for `events` or `deadline`. */
static int wait_ready(struct dp_client *client, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - now_ms();
        struct pollfd poll_fd = {.fd = client->fd, .events = events};
        int count = poll(&poll_fd, 1, left > 0 ? (int)left : 0);
        if (count > 0)
            return 0;
        if (count == 0)
            return fail(client, -ETIMEDOUT, "the dataplane did not answer within %d ms", client->answer_ms);
        if (errno != EINTR)
            return fail(client, -errno, "poll: %s", strerror(errno));
    }
}

/* -EPIPE, and the connection not yet given up: the dataplane hung up, but may have left a reason to be read.
 */
static int send_request(struct dp_client *client, enum dp_op op, enum dp_kind kind, const void *body,
                        size_t size, const int *fds, unsigned fd_count)
{
    struct dp_request request = {
        .op = (uint16_t)op, .kind = (uint16_t)kind, .sequence = ++client->sequence, .size = (uint32_t)size};
    struct iovec iov[2] = {{&request, sizeof(request)}, {(void *)(uintptr_t)body, size}};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * DP_PORT_FDS_MAX)];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = size ? 2 : 1};
    if (fd_count > DP_PORT_FDS_MAX)
        return -EINVAL;
    if (fd_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    int64_t deadline = now_ms() + client->timeout_ms;
    for (;;) {
        if (sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        if (errno == EAGAIN) {
            int error = wait_ready(client, POLLOUT, deadline);
            if (error)
                return error;
        } else if (errno != EINTR) {
            return errno == EPIPE ? -EPIPE
                                  : fail(client, -errno, "connection to the dataplane: %s", strerror(errno));
        }
    }
}

/* Receives one reply into the buffer. Its size beyond the header in *size. */
static int receive_reply(struct dp_client *client, struct dp_reply *reply, size_t *size)
{
    int64_t deadline = now_ms() + client->answer_ms;
    bool reset = false;
    for (;;) {
        ssize_t count = recv(client->fd, client->buffer, sizeof(client->buffer), MSG_DONTWAIT | MSG_TRUNC);
        if (count == 0)
            return fail(client, -ECONNRESET, "the dataplane closed the connection");
        if (count > 0) {
            if ((size_t)count < sizeof(*reply) || (size_t)count > sizeof(client->buffer))
                return fail(client, -EPROTO, "reply of %zd bytes from the dataplane", count);
            memcpy(reply, client->buffer, sizeof(*reply));
            reply->text[sizeof(reply->text) - 1] = 0;
            *size = (size_t)count - sizeof(*reply);
            return 0;
        }
        if (errno == EAGAIN) {
            int error = wait_ready(client, POLLIN, deadline);
            if (error)
                return error;
        } else if (errno == ECONNRESET && !reset) {
            reset = true; /* the kernel tells that first, and then what was sent before */
        } else if (errno != EINTR) {
            return fail(client, -errno, "connection to the dataplane: %s", strerror(errno));
        }
    }
}

/* The answer to the oldest pipelined request. Only a broken connection is an error here. */
static int collect_one(struct dp_client *client)
{
    struct dp_reply reply = {0};
    size_t size = 0;
    int error = receive_reply(client, &reply, &size);
    if (error)
        return error;
    if (reply.sequence != client->sequence - client->pending + 1 || size != 0 || reply.flags != 0)
        return fail(client, -EPROTO, "reply out of sequence from the dataplane");
    client->pending--;
    if (reply.status < 0 && client->failed == 0) {
        client->failed = reply.status;
        snprintf(client->error, sizeof(client->error), "%s", reply.text);
    }
    return 0;
}

static int collect(struct dp_client *client, unsigned leave)
{
    while (client->pending > leave) {
        int error = collect_one(client);
        if (error)
            return error;
    }
    return 0;
}

/* A request with one answer of `expected` bytes of body, which stays in the buffer behind the reply. */
static int transact_fds(struct dp_client *client, enum dp_op op, const void *body, size_t size,
                        size_t expected, const int *fds, unsigned fd_count)
{
    struct dp_reply reply = {0};
    size_t reply_size = 0;
    if (client->broken)
        return client->broken;
    if (client->dumping)
        return -EINVAL;
    int error = collect(client, 0);
    if (!error)
        error = send_request(client, op, DP_KIND_NONE, body, size, fds, fd_count);
    if (!error || error == -EPIPE)
        error = receive_reply(client, &reply, &reply_size);
    if (error)
        return error;
    if (reply.sequence == 0 && reply.status < 0) /* the connection is refused, not the request */
        return fail(client, reply.status, "%s", reply.text);
    if (reply.sequence != client->sequence || reply.status > 0 ||
        reply_size != (reply.status < 0 ? 0 : expected))
        return fail(client, -EPROTO, "reply out of sequence from the dataplane");
    if (reply.status < 0)
        snprintf(client->error, sizeof(client->error), "%s", reply.text);
    return reply.status;
}

static int transact(struct dp_client *client, enum dp_op op, const void *body, size_t size, size_t expected)
{
    return transact_fds(client, op, body, size, expected, NULL, 0);
}

static int connect_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

struct dp_client *dp_client_connect(const char *path, int timeout_ms)
{
    struct dp_client *client = calloc(1, sizeof(*client));
    if (!client)
        return NULL;
    client->timeout_ms = client->answer_ms = timeout_ms;
    client->fd = connect_socket(path);
    int error = client->fd < 0 ? client->fd : 0;
    if (!error) {
        struct dp_hello hello = {.version = DP_API_VERSION, .pid = (uint32_t)getpid()};
        error = transact(client, DP_OP_HELLO, &hello, sizeof(hello), sizeof(hello));
    }
    if (!error) {
        memcpy(&client->hello, client->buffer + sizeof(struct dp_reply), sizeof(client->hello));
        client->hello.build[sizeof(client->hello.build) - 1] = 0;
        if (client->hello.version != DP_API_VERSION)
            error = -EPROTO;
    }
    if (error) {
        dp_client_close(client);
        errno = -error;
        return NULL;
    }
    return client;
}

void dp_client_close(struct dp_client *client)
{
    if (!client)
        return;
    if (client->fd >= 0)
        close(client->fd);
    free(client);
}

int dp_client_fd(const struct dp_client *client)
{
    return client->fd;
}

const struct dp_hello *dp_client_hello(const struct dp_client *client)
{
    return &client->hello;
}

const char *dp_client_error(const struct dp_client *client)
{
    return client->error;
}

int dp_client_begin(struct dp_client *client)
{
    int error =
        client->failed ? dp_client_abort(client) : 0; /* of a transaction that was left after an error */
    return error ? error : transact(client, DP_OP_BEGIN, NULL, 0, 0);
}

static int pipeline(struct dp_client *client, enum dp_op op, enum dp_kind kind, const void *object,
                    const int *fds, unsigned fd_count)
{
    size_t size = dp_object_size(kind);
    if (client->broken)
        return client->broken;
    if (client->dumping || size == 0 || kind > DP_KIND_LAST_CONFIGURED)
        return -EINVAL;
    int error = collect(client, WINDOW - 1);
    if (error)
        return error;
    if (client->failed)
        return client->failed;
    error = send_request(client, op, kind, object, size, fds, fd_count);
    if (error == -EPIPE)
        return fail(client, -ECONNRESET, "the dataplane closed the connection");
    if (!error)
        client->pending++;
    return error;
}

int dp_client_put(struct dp_client *client, enum dp_kind kind, const void *object, const int *fds,
                  unsigned fd_count)
{
    return pipeline(client, DP_OP_PUT, kind, object, fds, fd_count);
}

int dp_client_del(struct dp_client *client, enum dp_kind kind, const void *object)
{
    return pipeline(client, DP_OP_DEL, kind, object, NULL, 0);
}

int dp_client_commit(struct dp_client *client)
{
    if (client->broken)
        return client->broken;
    int error = collect(client, 0);
    if (error)
        return error;
    if (client->failed) { /* its text stays; the dataplane forgets the rest */
        char text[sizeof(client->error)];
        memcpy(text, client->error, sizeof(text));
        int failed = client->failed;
        error = dp_client_abort(client);
        memcpy(client->error, text, sizeof(text));
        return client->broken ? error : failed;
    }
    client->answer_ms = client->timeout_ms * COMMIT_TIMES;
    error = transact(client, DP_OP_COMMIT, NULL, 0, 0);
    client->answer_ms = client->timeout_ms;
    return error;
}

int dp_client_abort(struct dp_client *client)
{
    if (client->broken)
        return client->broken;
    int error = transact(client, DP_OP_ABORT, NULL, 0, 0);
    client->failed = 0;
    return error;
}

int dp_client_dump(struct dp_client *client, enum dp_kind kind)
{
    if (client->broken)
        return client->broken;
    if (client->dumping || dp_object_size(kind) == 0)
        return -EINVAL;
    int error = collect(client, 0);
    if (!error)
        error = send_request(client, DP_OP_DUMP, kind, NULL, 0, NULL, 0);
    if (error == -EPIPE)
        return fail(client, -ECONNRESET, "the dataplane closed the connection");
    if (error)
        return error;
    client->dumping = client->more = true;
    client->kind = kind;
    client->left = 0;
    return 0;
}

/* The next reply of a dump. */
static int receive_objects(struct dp_client *client)
{
    struct dp_reply reply = {0};
    size_t size = 0;
    int error = receive_reply(client, &reply, &size);
    if (error)
        return error;
    if (reply.sequence != client->sequence || reply.status > 0 || (reply.flags & ~DP_REPLY_MORE) != 0 ||
        size != reply.count * dp_object_size(client->kind) || (reply.count > 0 && reply.kind != client->kind))
        return fail(client, -EPROTO, "malformed dump from the dataplane");
    if (reply.status < 0) {
        snprintf(client->error, sizeof(client->error), "%s", reply.text);
        client->dumping = false;
        return reply.status;
    }
    client->more = reply.flags & DP_REPLY_MORE;
    client->next = sizeof(reply);
    client->left = reply.count;
    return 0;
}

int dp_client_next(struct dp_client *client, const void **object)
{
    if (client->broken)
        return client->broken;
    if (!client->dumping)
        return -EINVAL;
    while (client->left == 0) {
        if (!client->more) {
            client->dumping = false;
            return 0;
        }
        int error = receive_objects(client);
        if (error)
            return error;
    }
    *object = client->buffer + client->next;
    client->next += dp_object_size(client->kind);
    client->left--;
    return 1;
}

int dp_client_dump_all(struct dp_client *client, enum dp_kind kind, void **objects, size_t *count)
{
    size_t size = dp_object_size(kind), capacity = 0;
    uint8_t *array = NULL;
    const void *object = NULL;
    int memory = 0;
    *objects = NULL;
    *count = 0;
    int status = dp_client_dump(client, kind);
    if (status < 0)
        return status;
    while ((status = dp_client_next(client, &object)) == 1) {
        if (*count == capacity && !memory) {
            size_t wanted = capacity ? capacity * 2 : 64;
            uint8_t *grown = reallocarray(array, wanted, size);
            if (grown)
                array = grown, capacity = wanted;
            else
                memory = -ENOMEM; /* the dump is still read to its end */
        }
        if (!memory && object)
            memcpy(array + size * (*count)++, object, size);
    }
    if (status == 0 && memory) {
        snprintf(client->error, sizeof(client->error), "no memory for the dump");
        status = memory;
    }
    if (status < 0) {
        free(array);
        *count = 0;
        return status;
    }
    *objects = array;
    return 0;
}

int dp_client_flush(struct dp_client *client, uint32_t segment, uint32_t port)
{
    struct dp_flush flush = {.segment = segment, .port = port};
    return transact(client, DP_OP_FLUSH, &flush, sizeof(flush), 0);
}

int dp_client_punt(struct dp_client *client, int fd)
{
    return transact_fds(client, DP_OP_PUNT, NULL, 0, 0, &fd, 1);
}

int dp_client_stop(struct dp_client *client)
{
    return transact(client, DP_OP_STOP, NULL, 0, 0);
}
