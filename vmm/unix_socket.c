/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "unix_socket.h"

#define BACKLOG 4

/* True if the file is a socket and a connection to it is refused: its owner is gone. */
static int is_stale(const struct sockaddr_un *address)
{
    struct stat stat;
    if (lstat(address->sun_path, &stat) || !S_ISSOCK(stat.st_mode))
        return 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    int refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

int unix_socket_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(address.sun_path))
        return length ? -ENAMETOOLONG : -EINVAL;
    memcpy(address.sun_path, path, length + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (is_stale(&address))
        unlink(path);
    mode_t mask = umask(0117); /* 0660 from its first moment on */
    int error = bind(fd, (const struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
    umask(mask);
    if (!error && listen(fd, BACKLOG))
        error = -errno;
    if (!error)
        return fd;
    close(fd);
    return error;
}

const char *unix_socket_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int unix_socket_directory(const char *path)
{
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)] = ".";
    const char *slash = strrchr(path, '/');
    if (slash)
        snprintf(directory, sizeof(directory), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void unix_socket_remove(int directory, const char *path)
{
    if (directory < 0)
        return;
    unlinkat(directory, unix_socket_file(path), 0);
    close(directory);
}
