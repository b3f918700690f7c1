/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "loop.h"

#define LOOP_BATCH 16

/* A watched descriptor. Removed ones stay in the list until the end of the round, with fd -1. */
struct watch {
    struct watch *next;
    int fd;
    bool timer;
    loop_handler handler;
    void *context;
};

struct loop {
    int epoll_fd;
    bool stopped; /* main thread only: handlers set it */
    pthread_mutex_t *lock;
    struct watch *watches;
};

struct loop *loop_new(pthread_mutex_t *lock)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    loop->lock = lock;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->watches) {
        struct watch *watch = loop->watches;
        loop->watches = watch->next;
        if (watch->timer)
            close(watch->fd);
        free(watch);
    }
    close(loop->epoll_fd);
    free(loop);
}

static struct watch *find(struct loop *loop, int fd)
{
    for (struct watch *watch = loop->watches; watch; watch = watch->next)
        if (watch->fd == fd)
            return watch;
    return NULL;
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_handler handler, void *context)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return -ENOMEM;
    watch->fd = fd;
    watch->handler = handler;
    watch->context = context;
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
        free(watch);
        return -errno;
    }
    watch->next = loop->watches;
    loop->watches = watch;
    return 0;
}

int loop_change(struct loop *loop, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = find(loop, fd)};
    if (!event.data.ptr)
        return -ENOENT;
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &event) ? -errno : 0;
}

void loop_remove(struct loop *loop, int fd)
{
    struct watch *watch = find(loop, fd);
    if (!watch)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    watch->fd = -1;
}

static void free_removed(struct loop *loop)
{
    for (struct watch **link = &loop->watches; *link;) {
        struct watch *watch = *link;
        if (watch->fd >= 0) {
            link = &watch->next;
            continue;
        }
        *link = watch->next;
        free(watch);
    }
}

int loop_timer_new(struct loop *loop, loop_handler handler, void *context)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int error = loop_add(loop, fd, EPOLLIN, handler, context);
    if (error) {
        close(fd);
        return error;
    }
    find(loop, fd)->timer = true;
    return fd;
}

void loop_timer_set(struct loop *loop, int timer, unsigned ms)
{
    (void)loop;
    struct itimerspec when = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000}};
    timerfd_settime(timer, 0, &when, NULL);
}

static void run_round(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[LOOP_BATCH];
    int count = epoll_wait(loop->epoll_fd, events, LOOP_BATCH, timeout_ms);
    pthread_mutex_lock(loop->lock);
    for (int i = 0; i < count; i++) {
        struct watch *watch = events[i].data.ptr;
        uint64_t expirations;
        if (watch->fd < 0 ||
            (watch->timer && read(watch->fd, &expirations, sizeof(expirations)) != sizeof(expirations)))
            continue;
        watch->handler(watch->context, events[i].events);
    }
    free_removed(loop);
    pthread_mutex_unlock(loop->lock);
}

void loop_run(struct loop *loop)
{
    do
        run_round(loop, -1);
    while (!loop->stopped);
}

void loop_poll(struct loop *loop)
{
    run_round(loop, 0);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}
