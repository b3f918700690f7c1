/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control thread's side of the workers: start, stop, publication, wake-up descriptors, injected frames.
 *
 * A receive queue that moves from one worker to another must not be polled by both for a moment. When a
 * publication moves queues, all workers first get no snapshot at all and pass a grace period (microseconds;
 * the rings hold the frames), then the new one. Other publications are one store a worker.
 *
 * A queue's wake-up descriptor is in the epoll set of the worker that polls it. `watches` says what is where.
 */
#include "worker.h"
#include "worker_private.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "tsc.h"

#define SPIN_MIN_US    25u
#define SPIN_MAX_US    200u
#define TICKS_PER_S    64u
#define SETTLE_TURNS   2000u /* of 50 us */
#define RARP_SIZE      60u   /* bytes: RFC 903 in a minimal Ethernet frame without FCS */
#define ETHERTYPE_RARP 0x8035u

struct watch {
    int worker; /* that polls the queue; -1: none */
    int fd;     /* in its epoll set; -1: none */
};

static struct {
    unsigned count;
    struct rte_rcu_qsbr *rcu;
    int rings_fd; /* eventfd: a worker has something for the control thread */
    struct worker *workers[DP_WORKERS_MAX];
    const struct snapshot *snapshot;
    struct watch watches[DP_PORTS_MAX][DP_QUEUES_MAX];
    int8_t next[DP_PORTS_MAX]
               [DP_QUEUES_MAX]; /* worker of each queue in the snapshot that is being published; -1: none */
    const struct port *ports[DP_PORTS_MAX]; /* whose queues watches[] are */
} state;

/* In force until the first publication: workers sleep on it. */
static const struct snapshot no_ports;

unsigned workers_count(void)
{
    return state.count;
}

static void wake(struct worker *worker)
{
    if (eventfd_write(worker->wake_fd, 1) < 0)
        return; /* EAGAIN: the counter is full, so it is readable already */
}

static void *aligned_zeroed(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    return memory ? memset(memory, 0, size) : NULL;
}

static void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    for (unsigned i = 0; i < INJECT_MAX; i++)
        free(worker->injects[i]);
    program_fini(&worker->program);
    notifier_free(worker->notifier);
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    free(worker);
}

static int worker_init(struct worker *worker)
{
    struct epoll_event event = {.events = EPOLLIN};
    uint64_t hz = tsc_hz();

    packet_vector_init(&worker->vector);
    worker->start = tsc_now();
    worker->spin_min = worker->spin = hz / 1000000u * SPIN_MIN_US;
    worker->spin_max = hz / 1000000u * SPIN_MAX_US;
    worker->tick = hz / TICKS_PER_S;
    worker->notifier = notifier_new();
    if (!worker->notifier)
        return -errno;
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->epoll_fd < 0 || worker->wake_fd < 0)
        return -errno;
    event.data.fd = worker->wake_fd;
    if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0)
        return -errno;
    return program_init(&worker->program, worker->notifier, worker->id, state.rings_fd);
}

static struct worker *worker_new(unsigned id, int core, int *error)
{
    struct worker *worker = aligned_zeroed(sizeof(*worker));
    if (!worker) {
        *error = -ENOMEM;
        return NULL;
    }
    worker->id = id;
    worker->core = core;
    worker->rcu = state.rcu;
    worker->snapshot = &no_ports;
    worker->epoll_fd = worker->wake_fd = -1;
    *error = worker_init(worker);
    if (*error) {
        worker_free(worker);
        return NULL;
    }
    return worker;
}

static int thread_start(struct worker *worker)
{
    pthread_attr_t attributes;
    char name[16];
    int error = pthread_attr_init(&attributes);
    if (error)
        return -error;
    if (worker->core >= 0) {
        cpu_set_t cores;
        CPU_ZERO(&cores);
        CPU_SET((unsigned)worker->core, &cores);
        error = pthread_attr_setaffinity_np(&attributes, sizeof(cores), &cores);
    }
    worker->may_be_urgent = sched_getscheduler(0) == SCHED_OTHER; /* else somebody has chosen already */
    rte_rcu_qsbr_thread_register(state.rcu, worker->id);
    if (!error)
        error = pthread_create(&worker->thread, &attributes, worker_run, worker);
    pthread_attr_destroy(&attributes);
    if (error) {
        rte_rcu_qsbr_thread_unregister(state.rcu, worker->id);
        return -error;
    }
    snprintf(name, sizeof(name), "weft-worker-%u", worker->id);
    pthread_setname_np(worker->thread, name);
    return 0;
}

int workers_start(const int *cores, unsigned count)
{
    int error = 0;
    if (state.count || !count || count > DP_WORKERS_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++)
        if (cores[i] >= CPU_SETSIZE)
            return -EINVAL;
    state.rcu = aligned_zeroed(rte_rcu_qsbr_get_memsize(DP_WORKERS_MAX));
    if (!state.rcu)
        return -ENOMEM;
    state.rings_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (state.rings_fd < 0)
        error = -errno;
    rte_rcu_qsbr_init(state.rcu, DP_WORKERS_MAX);
    for (unsigned i = 0; i < DP_PORTS_MAX; i++)
        for (unsigned queue = 0; queue < DP_QUEUES_MAX; queue++)
            state.watches[i][queue] = (struct watch){-1, -1};
    while (state.count < count && !error) {
        struct worker *worker = worker_new(state.count, cores[state.count], &error);
        if (!worker)
            break;
        error = thread_start(worker);
        if (error)
            worker_free(worker);
        else
            state.workers[state.count++] = worker;
    }
    if (error)
        workers_stop();
    return error;
}

void workers_stop(void)
{
    for (unsigned i = 0; i < state.count; i++) {
        __atomic_store_n(&state.workers[i]->stop, true, __ATOMIC_RELAXED);
        wake(state.workers[i]);
    }
    for (unsigned i = 0; i < state.count; i++) {
        pthread_join(state.workers[i]->thread, NULL);
        worker_free(state.workers[i]);
        state.workers[i] = NULL;
    }
    if (state.rcu && state.rings_fd >= 0)
        close(state.rings_fd);
    free(state.rcu);
    memset(&state, 0, sizeof(state));
}

void workers_quiesce(void)
{
    if (!state.count)
        return;
    uint64_t token = rte_rcu_qsbr_start(state.rcu);
    while (!rte_rcu_qsbr_check(state.rcu, token, false))
        sched_yield(); /* a worker may share our core */
}

/* Wake-up descriptors */

static void unwatch(struct watch *watch)
{
    if (watch->fd >= 0)
        epoll_ctl(state.workers[watch->worker]->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->fd = -1;
}

static void watch_queue(struct watch *watch, int worker, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (watch->worker == worker && watch->fd == fd)
        return;
    unwatch(watch);
    watch->worker = worker;
    if (worker < 0 || fd < 0)
        return;
    event.data.fd = fd;
    if (epoll_ctl(state.workers[worker]->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        watch->fd = fd;
    else
        control_log(3 /* LOG_ERR */, "cannot watch a receive queue for kicks: %s", strerror(errno));
}

void workers_wake_fd(struct port *port, unsigned queue, int fd)
{
    struct watch *watch = &state.watches[port->config.id][queue];
    port->wake_fds[queue] = fd;
    if (!state.count || state.ports[port->config.id] != port)
        return; /* not published yet */
    int worker = watch->worker;
    watch_queue(watch, worker, fd);
    if (worker >= 0)
        wake(state.workers[worker]); /* frames may have been waiting before the descriptor was there */
}

/* Publication */

/* Fills state.next. True if a queue moves from one worker to another. */
static bool assign_queues(const struct snapshot *snapshot)
{
    bool moves = false;
    memset(state.next, -1, sizeof(state.next));
    for (unsigned w = 0; w < state.count; w++)
        for (unsigned i = 0; i < snapshot->poll_count[w]; i++) {
            const struct poll_queue *poll = &snapshot->polls[w][i];
            uint32_t id = poll->ingress->id;
            int before = state.watches[id][poll->queue].worker;
            state.next[id][poll->queue] = (int8_t)w;
            moves |= state.ports[id] == poll->ingress->port && before >= 0 && before != (int)w;
        }
    return moves;
}

static void store_snapshot(const struct snapshot *snapshot)
{
    for (unsigned i = 0; i < state.count; i++) {
        __atomic_store_n(&state.workers[i]->snapshot, snapshot, __ATOMIC_RELEASE);
        wake(state.workers[i]);
    }
}

/* Queues that nobody polls any more leave the epoll sets, while their descriptors are still open. */
static void unwatch_gone(const struct snapshot *snapshot)
{
    for (uint32_t id = 0; id < DP_PORTS_MAX; id++) {
        const struct port *now = snapshot->ingress[id] ? snapshot->ingress[id]->port : NULL;
        if (!state.ports[id])
            continue;
        for (unsigned queue = 0; queue < DP_QUEUES_MAX; queue++) {
            struct watch *watch = &state.watches[id][queue];
            if (watch->worker >= 0 && (now != state.ports[id] || state.next[id][queue] < 0)) {
                unwatch(watch);
                watch->worker = -1;
            }
        }
        if (now != state.ports[id])
            state.ports[id] = NULL;
    }
}

void workers_publish(const struct snapshot *snapshot)
{
    if (assign_queues(snapshot)) {
        store_snapshot(NULL);
        workers_quiesce();
    }
    unwatch_gone(snapshot);
    state.snapshot = snapshot;
    for (unsigned w = 0; snapshot->interface_count && w < state.count; w++)
        router_stage_prepare(state.workers[w]->program.router);
    store_snapshot(snapshot);
    for (unsigned w = 0; w < state.count; w++)
        for (unsigned i = 0; i < snapshot->poll_count[w]; i++) {
            const struct poll_queue *poll = &snapshot->polls[w][i];
            struct port *port = poll->ingress->port;
            state.ports[poll->ingress->id] = port;
            watch_queue(&state.watches[poll->ingress->id][poll->queue], (int)w, port->wake_fds[poll->queue]);
        }
}

/* Injected frames */

static bool published(const struct port *port)
{
    const struct ingress *ingress = state.snapshot ? state.snapshot->ingress[port->config.id] : NULL;
    return ingress && ingress->port == port;
}

int workers_of_queue(const struct port *port, unsigned queue)
{
    return published(port) && state.ports[port->config.id] == port
               ? state.watches[port->config.id][queue].worker
               : -1;
}

const struct snapshot *workers_snapshot(void)
{
    return state.snapshot;
}

struct router_rings *workers_rings(unsigned worker)
{
    return state.workers[worker]->program.router->rings;
}

int workers_rings_fd(void)
{
    return state.rings_fd;
}

/* Frees what the worker has handled. */
static void free_injected(struct worker *worker)
{
    uint32_t tail = __atomic_load_n(&worker->inject_tail, __ATOMIC_ACQUIRE);
    for (; worker->inject_freed != tail; worker->inject_freed++) {
        free(worker->injects[worker->inject_freed & (INJECT_MAX - 1)]);
        worker->injects[worker->inject_freed & (INJECT_MAX - 1)] = NULL;
    }
}

/* A place for a frame at the worker that polls the port; *error: why there is none. */
static struct injected *inject_begin(const struct port *port, uint32_t size, int *error)
{
    *error = -ENOENT;
    if (!published(port) || !state.count)
        return NULL;
    int polling = workers_of_queue(port, 0);
    struct worker *worker = state.workers[polling < 0 ? 0 : polling];
    free_injected(worker);
    *error = -EAGAIN;
    if (worker->inject_head - worker->inject_freed == INJECT_MAX)
        return NULL;
    struct injected *injected = calloc(1, offsetof(struct injected, note.frame) + size);
    *error = -ENOMEM;
    if (!injected)
        return NULL;
    injected->port = port;
    injected->id = port->config.id;
    return injected;
}

static void inject_end(struct injected *injected)
{
    int polling = workers_of_queue(injected->port, 0);
    struct worker *worker = state.workers[polling < 0 ? 0 : polling];
    worker->injects[worker->inject_head & (INJECT_MAX - 1)] = injected;
    __atomic_store_n(&worker->inject_head, worker->inject_head + 1, __ATOMIC_RELEASE);
    wake(worker);
}

int workers_inject(const struct port *port, const void *frame, uint32_t size)
{
    int error;
    if (size > DP_PUNT_FRAME_MAX)
        return -EMSGSIZE;
    struct injected *injected = inject_begin(port, size, &error);
    if (!injected)
        return error;
    injected->note.size = size;
    memcpy(injected->note.frame, frame, size);
    inject_end(injected);
    return 0;
}

int workers_resume(struct port *port, const struct router_note *note, bool failed)
{
    int error;
    struct injected *injected = inject_begin(port, note->size, &error);
    if (!injected)
        return error;
    memcpy(&injected->note, note, offsetof(struct router_note, frame) + note->size);
    injected->resumed = true;
    injected->failed = failed;
    inject_end(injected);
    return 0;
}

void workers_settle(void)
{
    static const struct timespec pause = {0, 50000};
    for (unsigned i = 0, turns = 0; i < state.count; i++) {
        const struct worker *worker = state.workers[i];
        while (__atomic_load_n(&worker->inject_tail, __ATOMIC_ACQUIRE) != worker->inject_head &&
               turns++ < SETTLE_TURNS)
            nanosleep(&pause, NULL);
    }
}

int workers_announce(const struct port *port, const uint8_t mac[6])
{
    /* hardware type Ethernet, protocol type IPv4, sizes 6 and 4, operation 3 (request reverse) */
    static const uint8_t arp[] = {0, 1, 8, 0, 6, 4, 0, 3};
    uint8_t frame[RARP_SIZE] = {0};
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    frame[12] = ETHERTYPE_RARP >> 8;
    frame[13] = ETHERTYPE_RARP & 0xff;
    memcpy(frame + 14, arp, sizeof(arp));
    memcpy(frame + 22, mac, 6); /* sender hardware address */
    memcpy(frame + 32, mac, 6); /* target hardware address */
    return workers_inject(port, frame, sizeof(frame));
}

bool workers_state(unsigned worker, struct dp_worker_state *out)
{
    memset(out, 0, sizeof(*out));
    if (worker >= state.count)
        return false;
    const struct worker *of = state.workers[worker];
    out->id = worker;
    out->core = of->core;
    out->queues = state.snapshot ? state.snapshot->poll_count[worker] : 0;
    out->asleep = __atomic_load_n(&of->asleep, __ATOMIC_RELAXED);
    out->rounds = counter_read(&of->rounds);
    out->busy_cycles = counter_read(&of->busy_cycles);
    out->total_cycles = tsc_now() - of->start;
    out->packets = counter_read(&of->packets);
    out->sleeps = counter_read(&of->sleeps);
    router_stage_flows(of->program.router, &out->flow_hits, &out->flow_misses);
    out->tsc_hz = tsc_hz();
    return true;
}
