/* SPDX-License-Identifier: BSD-3-Clause */
#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "notify.h"

#define USEC_PER_SECOND 1000000ull

static void notify_send(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || !*path || strlen(path) >= sizeof(address.sun_path))
        return;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0'; /* abstract */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address, size);
    close(fd);
}

void notify_ready(const char *status)
{
    static bool said;
    char text[256];
    snprintf(text, sizeof(text), "%sSTATUS=%.200s", said ? "" : "READY=1\n", status);
    said = true;
    notify_send(text);
}

void notify_stopping(void)
{
    notify_send("STOPPING=1");
}

struct notify_watchdog {
    struct event *timer;
};

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what, (void)context;
    notify_send("WATCHDOG=1");
}

struct notify_watchdog *notify_watchdog_new(struct event_base *base)
{
    const char *text = getenv("WATCHDOG_USEC");
    unsigned long long period = text ? strtoull(text, NULL, 10) / 2 : 0;
    struct notify_watchdog *watchdog = period ? calloc(1, sizeof(*watchdog)) : NULL;
    if (!watchdog)
        return NULL;
    struct timeval delay = {(time_t)(period / USEC_PER_SECOND), (suseconds_t)(period % USEC_PER_SECOND)};
    watchdog->timer = event_new(base, -1, EV_PERSIST, on_timer, NULL);
    event_add(watchdog->timer, &delay);
    return watchdog;
}

void notify_watchdog_free(struct notify_watchdog *watchdog)
{
    if (!watchdog)
        return;
    event_free(watchdog->timer);
    free(watchdog);
}
