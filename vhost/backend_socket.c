/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Server mode: the socket file is made with its owner and mode before anybody can connect (connections are
 * refused until listen(2)). A file that is already there is tried: if nobody answers it is a dead process's
 * and is replaced, otherwise the address is in use. One frontend at a time: a second one is turned away,
 * unless the first one's process is gone and its end just was not read yet. Client mode: dials, and again a
 * second after each failure or disconnection.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>
#include "backend_private.h"

#define RETRY_MS       1000
#define LISTEN_BACKLOG 8

/* Removes the socket of a process that is gone. 0: removed; -EADDRINUSE, -EEXIST (no socket), or -errno. */
static int remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0)
        return -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int result = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;
    close(fd);
    if (result != -ECONNREFUSED)
        return result == -ENOENT ? 0 : -EADDRINUSE;
    return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int bind_socket(int fd, const struct sockaddr_un *address)
{
    for (unsigned attempt = 0;; attempt++) {
        if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
            return 0;
        if (errno != EADDRINUSE || attempt > 0)
            return -errno;
        int result = remove_stale(address);
        if (result < 0)
            return result;
    }
}

int backend_listen(struct vhost_backend *backend)
{
    struct sockaddr_un address;
    struct stat status;
    const struct vhost_backend_config *config = &backend->config;
    int result = vhost_socket_address(&address, config->path);
    if (result < 0)
        return result;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    result = bind_socket(fd, &address);
    if (result < 0) {
        close(fd);
        return result;
    }
    if (lstat(config->path, &status) < 0 ||
        (config->socket_group != (gid_t)-1 && lchown(config->path, (uid_t)-1, config->socket_group) < 0) ||
        chmod(config->path, config->socket_mode) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        result = -errno;
        unlink(config->path);
        close(fd);
        return result;
    }
    backend->listen_fd = fd;
    backend->socket_device = status.st_dev;
    backend->socket_inode = status.st_ino;
    return 0;
}

void backend_unlisten(struct vhost_backend *backend)
{
    struct stat status;
    if (backend->listen_fd < 0)
        return;
    if (lstat(backend->config.path, &status) == 0 && status.st_dev == backend->socket_device &&
        status.st_ino == backend->socket_inode)
        unlink(backend->config.path);
    close(backend->listen_fd);
    backend->listen_fd = -1;
}

static bool peer_gone(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLRDHUP};
    return poll(&item, 1, 0) == 1 && (item.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

void backend_accept(struct vhost_backend *backend)
{
    int fd = accept4(backend->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            struct epoll_event nothing = {.events = 0, .data.fd = backend->listen_fd};
            epoll_ctl(backend->epoll_fd, EPOLL_CTL_MOD, backend->listen_fd, &nothing);
            backend_log(backend, LOG_ERR, "a frontend cannot be accepted: %s", strerror(errno));
            backend->listen_paused = true;
            backend->retry_deadline = backend_now_ms() + RETRY_MS;
            backend_arm_timer(backend);
        }
        return;
    }
    if (backend->connection_fd >= 0 && !peer_gone(backend->connection_fd)) {
        backend_log(backend, LOG_WARNING, "a second frontend was turned away: one is connected");
        close(fd);
        return;
    }
    if (backend->connection_fd >= 0)
        backend_disconnect(backend);
    backend_adopt(backend, fd);
}

void backend_dial(struct vhost_backend *backend)
{
    struct sockaddr_un address;
    backend->retry_deadline = backend_now_ms() + RETRY_MS;
    int fd = vhost_socket_address(&address, backend->config.path) < 0
                 ? -1
                 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        backend->retry_deadline = 0;
        backend_adopt(backend, fd);
    } else if (fd >= 0) {
        close(fd);
    }
    backend_arm_timer(backend);
}
