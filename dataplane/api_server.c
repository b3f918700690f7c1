/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * At most API_CLIENTS_MAX connections of root or the own user; others are told so in a reply with sequence 0
 * and closed. A connection reads a request, handles it, writes the reply. While a reply cannot be written
 * (the client does not read) or a dump is going on no further request of that connection is read, so that a
 * connection holds one reply of at most DP_MESSAGE_MAX bytes and nothing more. A client that leaves a reply
 * unread for WRITE_DEADLINE_S is disconnected; that ends its transaction.
 *
 * No connection holds the control thread: one request or one reply of a dump a turn, then the others have
 * theirs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>
#include "api_server.h"
#include "port.h"

#define WRITE_DEADLINE_S 5
#define ACCEPT_BACKLOG   16

struct client {
    struct api_server *server; /* NULL: free slot */
    struct api_session *session;
    int fd;
    struct event *readable, *writable;
    bool waiting;      /* for the socket to take the reply */
    size_t reply_size; /* bytes to be written; 0: none */
    uint8_t *reply;    /* DP_MESSAGE_MAX */
};

struct api_server {
    struct event_base *base;
    struct api *api;
    int fd;
    int spare_fd; /* given up for a moment when the process has no descriptor left for accept */
    struct event *acceptable;
    struct sockaddr_un address;
    struct client clients[API_CLIENTS_MAX];
};

static void disconnect(struct client *client)
{
    if (client->readable)
        event_free(client->readable);
    if (client->writable)
        event_free(client->writable);
    api_session_free(client->session);
    free(client->reply);
    close(client->fd);
    memset(client, 0, sizeof(*client));
}

/* The client waits for `event` from now on, with a deadline if it is to read. 0 or -1. */
static int wait_for(struct client *client, bool writable)
{
    static const struct timeval deadline = {.tv_sec = WRITE_DEADLINE_S};
    if (client->waiting == writable &&
        event_pending(writable ? client->writable : client->readable, EV_READ | EV_WRITE, NULL))
        return 0;
    client->waiting = writable;
    event_del(writable ? client->readable : client->writable);
    return writable ? event_add(client->writable, &deadline) : event_add(client->readable, NULL);
}

/* Writes the reply. 1: written, 0: the socket is full, -1: the client is gone. */
static int write_reply(struct client *client)
{
    ssize_t size = send(client->fd, client->reply, client->reply_size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    client->reply_size = 0;
    return size < 0 ? -1 : 1;
}

/* After a reply was made: writes it, or waits until it can be written. A dump's next reply has to wait for
 * its turn. */
static void proceed(struct client *client)
{
    int written = write_reply(client);
    bool wait_writable = written == 0 || (written > 0 && api_session_dumping(client->session));
    if (written < 0 || wait_for(client, wait_writable) < 0)
        disconnect(client);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;
    if (what & EV_TIMEOUT) {
        control_log(LOG_WARNING,
                    "programming socket: a client that does not read its replies was disconnected");
        disconnect(client);
        return;
    }
    if (client->reply_size == 0)
        client->reply_size = api_session_continue(client->session, client->reply);
    event_del(client->writable); /* the deadline starts anew */
    proceed(client);
}

/* Takes the descriptors out of a message. Returns how many; all of them are ours. */
static unsigned take_fds(struct msghdr *message, int *fds, unsigned capacity)
{
    unsigned count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        unsigned here = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
            if (count < capacity)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;
    uint8_t request[API_REQUEST_MAX];
    int fds[DP_PORT_FDS_MAX];
    union {
        char bytes[CMSG_SPACE(sizeof(fds))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {request, sizeof(request)};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t size = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        disconnect(client);
        return;
    }
    unsigned fd_count = take_fds(&message, fds, DP_PORT_FDS_MAX);
    if (message.msg_flags & MSG_CTRUNC) { /* more than any request takes, or we have no room for more */
        control_log(LOG_WARNING,
                    "programming socket: descriptors of a message were lost, client disconnected");
        for (unsigned i = 0; i < fd_count; i++)
            close(fds[i]);
        disconnect(client);
        return;
    }
    client->reply_size =
        api_session_handle(client->session, request, (size_t)size, fds, fd_count, client->reply);
    if (client->reply_size == 0)
        disconnect(client);
    else
        proceed(client);
}

static void refuse(int fd, int status, const char *text)
{
    struct dp_reply reply = {.status = status};
    memcpy(reply.text, text, strlen(text));
    ssize_t size = send(fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)size; /* whether it hears the reason or not */
    close(fd);
}

static struct client *free_slot(struct api_server *server)
{
    for (unsigned i = 0; i < API_CLIENTS_MAX; i++)
        if (!server->clients[i].server)
            return &server->clients[i];
    return NULL;
}

static void connected(struct api_server *server, struct client *client, int fd, int pid)
{
    client->server = server;
    client->fd = fd;
    client->session = api_session_new(server->api, pid);
    client->reply = malloc(DP_MESSAGE_MAX);
    client->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, client);
    client->writable = event_new(server->base, fd, EV_WRITE | EV_PERSIST, on_writable, client);
    if (!client->session || !client->reply || !client->readable || !client->writable ||
        event_add(client->readable, NULL) < 0) {
        control_log(LOG_ERR, "programming socket: no memory for another client");
        disconnect(client);
    }
}

/* No descriptor is left: without this the connection would stay in the queue and wake us for ever. */
static void accept_and_close(struct api_server *server)
{
    close(server->spare_fd);
    int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        refuse(fd, -EMFILE, "the dataplane has no descriptor left");
    server->spare_fd = fcntl(server->fd, F_DUPFD_CLOEXEC, 0);
}

static void on_acceptable(evutil_socket_t listener, short what, void *context)
{
    struct api_server *server = context;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE)
            accept_and_close(server);
        return;
    }
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
        (peer.uid != 0 && peer.uid != geteuid())) {
        control_log(LOG_WARNING, "programming socket: process %d of user %u was refused", (int)peer.pid,
                    peer.uid);
        refuse(fd, -EACCES, "only root and the dataplane's own user may program it");
        return;
    }
    struct client *client = free_slot(server);
    if (client)
        connected(server, client, fd, peer.pid);
    else
        refuse(fd, -EUSERS, "as many clients as there may be are connected already");
}

/* True if what is at the address is a socket that nobody listens at: a dead process left it. */
static bool stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int listen_at(struct api_server *server)
{
    const struct sockaddr_un *address = &server->address;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    mode_t mask = umask(0117);
    int status = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    if (status < 0 && errno == EADDRINUSE && stale(address) && unlink(address->sun_path) == 0)
        status = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    umask(mask);
    if (status == 0)
        status = listen(fd, ACCEPT_BACKLOG);
    if (status < 0) {
        status = -errno;
        close(fd);
        return status;
    }
    return fd;
}

struct api_server *api_server_new(struct event_base *base, const char *path, const struct api_ops *ops,
                                  void *context)
{
    struct api_server *server = calloc(1, sizeof(*server));
    if (!server)
        return NULL;
    int error = -ENAMETOOLONG;
    server->base = base;
    server->fd = server->spare_fd = -1;
    server->address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(server->address.sun_path))
        goto fail;
    memcpy(server->address.sun_path, path, strlen(path));
    error = -ENOMEM;
    server->api = api_new(ops, context);
    if (!server->api)
        goto fail;
    server->fd = error = listen_at(server);
    if (error < 0)
        goto fail;
    server->spare_fd = fcntl(server->fd, F_DUPFD_CLOEXEC, 0);
    error = server->spare_fd < 0 ? -errno : -ENOMEM;
    if (server->spare_fd < 0)
        goto fail;
    server->acceptable = event_new(base, server->fd, EV_READ | EV_PERSIST, on_acceptable, server);
    if (!server->acceptable || event_add(server->acceptable, NULL) < 0)
        goto fail;
    return server;
fail:
    api_server_free(server);
    errno = -error;
    return NULL;
}

void api_server_free(struct api_server *server)
{
    if (!server)
        return;
    for (unsigned i = 0; i < API_CLIENTS_MAX; i++)
        if (server->clients[i].server)
            disconnect(&server->clients[i]);
    if (server->acceptable)
        event_free(server->acceptable);
    if (server->fd >= 0) {
        unlink(server->address.sun_path);
        close(server->fd);
    }
    if (server->spare_fd >= 0)
        close(server->spare_fd);
    api_free(server->api);
    free(server);
}
