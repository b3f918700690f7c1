/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: bytes of the guest go into a ring. When it becomes non-empty the loop is woken
 * (put_fd) and writes what the other side takes without blocking; where it takes nothing, the loop waits for
 * EPOLLOUT. A regular file always takes. On a socket the ring keeps the last 64 KiB while nobody is
 * connected, so that who comes sees what happened. Input is read only while the port has room. On a terminal,
 * Ctrl-A x leaves (Ctrl-A Ctrl-A sends one).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <poll.h>
#include <unistd.h>
#include "console.h"
#include "log.h"
#include "unix_socket.h"

#define WRITE_SIZE 512u /* bytes that a writable pipe or terminal takes without blocking */
#define ESCAPE     1    /* Ctrl-A */

enum kind { KIND_NONE, KIND_STDIO, KIND_FILE, KIND_SOCKET };

struct console {
    struct loop *loop;
    struct serial *serial;
    enum kind kind;
    int in_fd, out_fd; /* -1: none now */
    int listen_fd;
    int put_fd;       /* eventfd: the ring is no longer empty */
    const char *path; /* of the socket */
    int directory_fd;
    bool in_watched, out_watched, escaped, raw;
    struct termios saved;
    void (*escape)(void *context);
    void *context;
    struct console_status status;
    uint64_t file_size;
    uint32_t head, count; /* of the ring */
    uint8_t ring[CONSOLE_BUFFER_SIZE];
};

static void flush(struct console *console);

static void detach(struct console *console)
{
    loop_remove(console->loop, console->in_fd);
    if (console->kind == KIND_SOCKET)
        close(console->in_fd);
    console->in_fd = -1;
    console->in_watched = false;
    if (console->kind == KIND_SOCKET) {
        console->out_fd = -1;
        console->out_watched = false;
        console->status.attached = false;
    }
}

/* Input */

static unsigned strip_escapes(struct console *console, uint8_t *bytes, unsigned count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        if (console->escaped && bytes[i] == 'x')
            console->escape(console->context);
        bool second = console->escaped;
        console->escaped = !second && bytes[i] == ESCAPE;
        if (!console->escaped && !(second && bytes[i] == 'x'))
            bytes[kept++] = bytes[i];
    }
    return kept;
}

static void watch_input(struct console *console);

static void io_event(void *context, uint32_t events)
{
    struct console *console = context;
    if (events & EPOLLOUT)
        flush(console);
    if (console->in_fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    uint8_t bytes[SERIAL_FIFO_SIZE];
    unsigned room = console->serial ? serial_receive_room(console->serial) : 0;
    if (room > 0) {
        ssize_t got = read(console->in_fd, bytes, room);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            detach(console);
            return;
        }
        unsigned count = got > 0 ? (unsigned)got : 0;
        if (console->raw)
            count = strip_escapes(console, bytes, count);
        serial_receive(console->serial, bytes, count);
    } else if (events & EPOLLHUP) {
        detach(console);
        return;
    }
    watch_input(console);
}

/* Which events are wanted of the descriptors now. */
static void watch_input(struct console *console)
{
    bool want = console->in_fd >= 0 && console->serial && serial_receive_room(console->serial) > 0;
    uint32_t events = want ? EPOLLIN : 0;
    if (console->out_fd == console->in_fd && console->out_watched)
        events |= EPOLLOUT;
    if (console->in_fd >= 0 && console->in_watched)
        loop_change(console->loop, console->in_fd, events);
}

void console_resume_input(void *context)
{
    struct console *console = context;
    if (console)
        watch_input(console);
}

void console_attach(struct console *console, struct serial *serial)
{
    console->serial = serial;
    watch_input(console);
}

/* Output */

static void watch_output(struct console *console, bool want)
{
    if (console->out_watched == want)
        return;
    console->out_watched = want;
    if (console->out_fd == console->in_fd && console->in_fd >= 0)
        watch_input(console);
    else
        loop_change(console->loop, console->out_fd, want ? EPOLLOUT : 0);
}

static ssize_t write_some(struct console *console, const uint8_t *bytes, size_t size)
{
    if (console->kind == KIND_SOCKET)
        return send(console->out_fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (console->kind == KIND_FILE && console->file_size + size > CONSOLE_FILE_MAX) {
        if (ftruncate(console->out_fd, 0) || lseek(console->out_fd, 0, SEEK_SET) < 0)
            return -1;
        console->file_size = 0;
    }
    struct pollfd state = {.fd = console->out_fd, .events = POLLOUT};
    if (poll(&state, 1, 0) != 1) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t done = write(console->out_fd, bytes, size < WRITE_SIZE ? size : WRITE_SIZE);
    if (done > 0)
        console->file_size += (uint64_t)done;
    return done;
}

static void flush(struct console *console)
{
    while (console->count && console->out_fd >= 0) {
        uint32_t size = console->count;
        if (size > CONSOLE_BUFFER_SIZE - console->head)
            size = CONSOLE_BUFFER_SIZE - console->head;
        ssize_t done = write_some(console, console->ring + console->head, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN) {
            watch_output(console, true);
            return;
        }
        if (done < 0) {
            if (console->kind == KIND_SOCKET)
                detach(console);
            else
                console->out_fd = -1;
            return;
        }
        console->head = (console->head + (uint32_t)done) % CONSOLE_BUFFER_SIZE;
        console->count -= (uint32_t)done;
    }
    if (console->out_fd >= 0)
        watch_output(console, false);
}

static void put_event(void *context, uint32_t events)
{
    (void)events;
    struct console *console = context;
    uint64_t count;
    if (read(console->put_fd, &count, sizeof(count)) == sizeof(count))
        flush(console);
}

void console_put(void *context, uint8_t byte)
{
    struct console *console = context;
    console->status.bytes++;
    if (console->kind == KIND_NONE)
        return;
    if (console->count == CONSOLE_BUFFER_SIZE) {
        console->status.dropped++;
        if (console->out_fd >= 0)
            return;
        console->head = (console->head + 1) % CONSOLE_BUFFER_SIZE; /* nobody reads: keep the newest */
        console->count--;
    }
    console->ring[(console->head + console->count++) % CONSOLE_BUFFER_SIZE] = byte;
    uint64_t one = 1;
    if (console->count == 1 && write(console->put_fd, &one, sizeof(one)) < 0)
        return; /* it is signalled anyway */
}

void console_status(const struct console *console, struct console_status *status)
{
    *status = console->status;
}

/* Making one */

static void accept_event(void *context, uint32_t events)
{
    (void)events;
    struct console *console = context;
    int fd = accept4(console->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (console->in_fd >= 0) { /* the newest client has the console */
        send(console->in_fd, "\r\n[console taken over]\r\n", 24, MSG_DONTWAIT | MSG_NOSIGNAL);
        detach(console);
    }
    if (loop_add(console->loop, fd, EPOLLIN, io_event, console)) {
        close(fd);
        return;
    }
    console->in_fd = console->out_fd = fd;
    console->in_watched = true;
    console->status.attached = true;
    watch_input(console);
    flush(console);
}

static int open_stdio(struct console *console)
{
    console->kind = KIND_STDIO;
    console->out_fd = STDOUT_FILENO;
    console->in_fd = STDIN_FILENO;
    if (tcgetattr(STDIN_FILENO, &console->saved) == 0) {
        struct termios raw = console->saved;
        cfmakeraw(&raw);
        raw.c_oflag |= OPOST;
        console->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    console->in_watched = loop_add(console->loop, STDIN_FILENO, EPOLLIN, io_event, console) == 0;
    if (!console->in_watched)
        console->in_fd = -1; /* a file or /dev/null cannot be watched, and has nothing to say */
    loop_add(console->loop, STDOUT_FILENO, 0, io_event, console); /* a regular file is always writable */
    return 0;
}

static int open_kind(struct console *console, const char *spec, const char **what)
{
    *what = "understand (stdio, file:PATH, socket:PATH or none)";
    if (strcmp(spec, "none") == 0)
        return 0;
    if (strcmp(spec, "stdio") == 0)
        return open_stdio(console);
    if (strncmp(spec, "file:", 5) == 0) {
        *what = "open the console's file";
        console->kind = KIND_FILE;
        console->out_fd = open(spec + 5, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0640);
        return console->out_fd < 0 ? -errno : 0;
    }
    if (strncmp(spec, "socket:", 7) != 0)
        return -EINVAL;
    *what = "listen on the console's socket";
    console->kind = KIND_SOCKET;
    console->listen_fd = unix_socket_listen(spec + 7);
    if (console->listen_fd < 0)
        return console->listen_fd;
    console->path = spec + 7;
    console->directory_fd = unix_socket_directory(console->path);
    return loop_add(console->loop, console->listen_fd, EPOLLIN, accept_event, console);
}

struct console *console_new(struct loop *loop, const char *spec, void (*escape)(void *context), void *context,
                            const char **what)
{
    struct console *console = calloc(1, sizeof(*console));
    if (!console)
        return NULL;
    console->loop = loop;
    console->escape = escape;
    console->context = context;
    console->in_fd = console->out_fd = console->listen_fd = -1;
    console->put_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = console->put_fd < 0 ? -errno : loop_add(loop, console->put_fd, EPOLLIN, put_event, console);
    if (!error)
        error = open_kind(console, spec, what);
    if (error) {
        console_free(console);
        errno = -error;
        return NULL;
    }
    return console;
}

void console_free(struct console *console)
{
    if (!console)
        return;
    flush(console);
    if (console->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &console->saved);
    if (console->kind == KIND_SOCKET && console->in_fd >= 0)
        detach(console);
    if (console->kind == KIND_FILE && console->out_fd >= 0)
        close(console->out_fd);
    if (console->listen_fd >= 0) {
        loop_remove(console->loop, console->listen_fd);
        close(console->listen_fd);
        unix_socket_remove(console->directory_fd, console->path);
    }
    loop_remove(console->loop, console->put_fd);
    close(console->put_fd);
    free(console);
}
