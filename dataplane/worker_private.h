/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* One worker, as worker.c (its thread) and worker_control.c (the control thread) see it. Nobody else includes
 * this. */
#include <pthread.h>
#include <rte_rcu_qsbr.h>
#include "program.h"
#include "router.h"

#define INJECT_MAX 256u /* power of two */

/* A frame from the control thread, which allocates it, and frees it when it was handled. */
struct injected {
    const struct port *port; /* compared, not followed: it may be gone when its turn comes */
    uint32_t id;             /* the port's */
    bool resumed;            /* a packet that waited, not a frame from the port */
    bool failed;
    struct router_note note; /* its frame is as long as it is */
};

struct worker {
    /* control: w, worker: r */
    const struct snapshot *snapshot; /* NULL: poll nothing, and do not sleep: the next one is coming */
    uint32_t inject_head;            /* entries written so far */
    uint32_t inject_freed;           /* control: entries freed */
    bool stop;

    /* worker: w, control: ro */
    uint64_t rounds __attribute__((aligned(64)));
    uint64_t packets;
    uint64_t busy_cycles;
    uint64_t sleeps;
    uint64_t start; /* TSC */
    uint32_t asleep;
    uint32_t inject_tail; /* entries handled */

    /* worker */
    const struct snapshot *seen; /* whose queues it has disarmed */
    uint64_t idle_since;         /* TSC; 0: the last round found packets */
    uint64_t spin;               /* TSC cycles without work before it sleeps */
    uint64_t tick_at;            /* TSC */
    bool urgent;                 /* scheduled before ordinary threads */
    bool may_be_urgent;          /* control: w before the thread starts */
    struct program program;
    struct packet_vector vector;

    /* fixed while it runs */
    unsigned id;
    int core;
    int epoll_fd, wake_fd;
    struct notifier *notifier;
    struct rte_rcu_qsbr *rcu;
    uint64_t spin_min, spin_max, tick;
    pthread_t thread;

    struct injected *injects[INJECT_MAX]; /* control: w before inject_head, worker: r */
};

void *worker_run(void *argument);
