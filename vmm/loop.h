/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The event loop of the main thread: epoll over descriptors and one-shot timers. Handlers are called with the
 * machine lock held (the loop takes it), so that they and the vCPUs' exits never run at the same time.
 *
 * Threads: all calls with the machine lock held, or before loop_run.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

typedef void (*loop_handler)(void *context, uint32_t events);

struct loop *loop_new(pthread_mutex_t *lock); /* NULL and errno */
void loop_free(struct loop *loop);

/* Watches `fd` for `events` (EPOLL*). 0 or -errno. */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_handler handler, void *context);
/* Other events for a watched descriptor; 0: none until the next change. */
int loop_change(struct loop *loop, int fd, uint32_t events);
/* After this no handler of `fd` is called, not even in the round that is being run. */
void loop_remove(struct loop *loop, int fd);

/* A timer is a descriptor made before the sandbox closes; it fires once `ms` after loop_timer_set; 0 stops
 * it. */
int loop_timer_new(struct loop *loop, loop_handler handler, void *context); /* id or -errno */
void loop_timer_set(struct loop *loop, int timer, unsigned ms);

/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One round without waiting. */
void loop_poll(struct loop *loop);
