/* SPDX-License-Identifier: BSD-3-Clause */
/* lint: syscalls allowed, sleeping and waking are system calls */
/*
 * A worker's thread.
 *
 * Theory of operation. A round takes up to 64 frames of each of its receive queues, runs the program on them,
 * and gives the source's buffers back. Guests are signalled once a round, for the round before, when the
 * first frames of the next one are on their way to the cache: by then the stores that the signal must wait
 * for have arrived. Nothing is left unsignalled at a quiescent state or over a sleep. The snapshot is read at
 * the start of a round and forgotten at its end. Every QUIESCENT_ROUNDS rounds the worker says so to the
 * grace period.
 *
 * A worker without work pauses between rounds, so as not to pull the rings' cache lines from the guests that
 * write them, and after `spin` cycles arms its queues (asks for kicks), which looks at each once more. If
 * there is nothing it goes off-line for grace periods and sleeps in epoll until a guest kicks, a tap or NIC
 * has a frame, or the control thread has something new. A queue that cannot wake a sleeper says "work" when
 * it is armed: then the worker polls on.
 *
 * `spin` adapts between its limits: a sleep that was short was not worth it and doubles it, a long one halves
 * it. An attempt that failed doubles it beyond them: guests are not to be asked for kicks again and again for
 * the sake of a queue that cannot give one.
 *
 * A sleeper is urgent (SCHED_FIFO), so that whoever has its core meanwhile is interrupted at the first kick
 * instead of at the end of a time slice, milliseconds later; after the first round it is an ordinary thread
 * again. Where that is not permitted (CAP_SYS_NICE), it stays one.
 *
 * After a sleep the old snapshot may be gone; its queues are not touched again but through the new one.
 */
#include "worker_private.h"

#include <errno.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <sched.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#include "nat.h"
#include "tsc.h"

#define QUIESCENT_ROUNDS 16u /* power of two */
#define PAUSES           4u  /* between rounds without work */
#define SPIN_AWAKE       64u /* times the longest wait for sleep: between attempts where a queue keeps it awake */
#define WAKE_EVENTS      16

static void tick(struct worker *worker, uint64_t now)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time); /* vDSO: no system call */
    worker->program.now_s = (uint32_t)time.tv_sec;
    worker->tick_at = now + worker->tick;
}

static unsigned poll_queues(struct worker *worker, const struct snapshot *snapshot)
{
    struct worker_io *io = &worker->program.output.io;
    struct packet_vector *vector = &worker->vector;
    const struct poll_queue *polls = snapshot->polls[worker->id];
    unsigned packets = 0;

    for (unsigned i = 0; i < snapshot->poll_count[worker->id]; i++) {
        struct ingress *ingress = polls[i].ingress;
        struct port *port = ingress->port;
        unsigned count = port->ops->rx(port, polls[i].queue, vector, io);
        if (i == 0)
            notifier_flush(io->notifier);
        if (count)
            program_run(&worker->program, snapshot, ingress, polls[i].queue, vector);
        port->ops->rx_done(port, polls[i].queue, io);
        packets += count;
    }
    return packets;
}

static struct packet *inject_packet(struct worker *worker, const struct router_note *note)
{
    packet_vector_reset(&worker->vector);
    struct packet *packet = &worker->vector.packets[0];
    uint8_t *buffer = packet->buffer;
    uint32_t private = note->size < PACKET_HEADER_MAX ? note->size : PACKET_HEADER_MAX;
    *packet = (struct packet){.buffer = buffer,
                              .data = buffer + PACKET_HEADROOM,
                              .spans = worker->vector.spans,
                              .size = note->size,
                              .header_size = (uint16_t) private,
                              .span_count = note->size > private,
                              .flags = note->packet_flags,
                              .gso_type = note->gso_type,
                              .hdr_len = note->hdr_len,
                              .gso_size = note->gso_size,
                              .csum_start = note->csum_start,
                              .csum_offset = note->csum_offset};
    memcpy(packet->data, note->frame, private);
    packet->spans[0] = (struct packet_span){note->frame + private, note->size - private};
    worker->vector.count = 1;
    return packet;
}

/* Frames from the control thread, one at a time: they are rare. */
static unsigned run_injected(struct worker *worker, const struct snapshot *snapshot)
{
    uint32_t head = __atomic_load_n(&worker->inject_head, __ATOMIC_ACQUIRE), tail = worker->inject_tail;
    unsigned count = 0;
    for (; tail != head; tail++, count++) {
        const struct injected *injected = worker->injects[tail & (INJECT_MAX - 1)];
        struct ingress *ingress = snapshot->ingress[injected->id];
        if (!ingress || ingress->port != injected->port)
            continue;
        struct packet *packet = inject_packet(worker, &injected->note);
        if (!injected->resumed) {
            program_run(&worker->program, snapshot, ingress, 0, &worker->vector);
            continue;
        }
        program_start(&worker->program, snapshot);
        router_resume(&worker->program, packet, &injected->note, injected->failed);
    }
    __atomic_store_n(&worker->inject_tail, tail, __ATOMIC_RELEASE);
    return count;
}

static void disarm(struct worker *worker, const struct snapshot *snapshot, unsigned count)
{
    const struct poll_queue *polls = snapshot->polls[worker->id];
    for (unsigned i = 0; i < count; i++)
        polls[i].ingress->port->ops->disarm(polls[i].ingress->port, polls[i].queue);
}

/* True: every queue will wake us and none has a frame. Else none is armed. */
static bool arm(struct worker *worker, const struct snapshot *snapshot)
{
    const struct poll_queue *polls = snapshot->polls[worker->id];
    for (unsigned i = 0; i < snapshot->poll_count[worker->id]; i++)
        if (polls[i].ingress->port->ops->arm(polls[i].ingress->port, polls[i].queue)) {
            disarm(worker, snapshot, i + 1);
            return false;
        }
    return true;
}

static uint64_t at_most(uint64_t value, uint64_t limit)
{
    return value < limit ? value : limit;
}

static void adapt_spin(struct worker *worker, uint64_t slept)
{
    uint64_t spin = at_most(worker->spin, worker->spin_max);
    if (slept < worker->spin_max)
        worker->spin = at_most(spin * 2, worker->spin_max);
    else
        worker->spin = spin / 2 > worker->spin_min ? spin / 2 : worker->spin_min;
}

static void set_urgent(struct worker *worker, bool urgent)
{
    const struct sched_param parameter = {.sched_priority = urgent ? 1 : 0};
    if (worker->may_be_urgent && sched_setscheduler(0, urgent ? SCHED_FIFO : SCHED_OTHER, &parameter) == 0)
        worker->urgent = urgent;
    else if (urgent)
        worker->may_be_urgent = false;
}

/* Kick descriptors are edge triggered and never read; only the wake descriptor is ours to read. */
static void sleep_until_kicked(struct worker *worker)
{
    struct epoll_event events[WAKE_EVENTS];
    uint64_t before = tsc_now(), value;
    counter_add(&worker->sleeps, 1);
    __atomic_store_n(&worker->asleep, 1, __ATOMIC_RELAXED);
    notifier_flush(worker->notifier);
    set_urgent(worker, true);
    rte_rcu_qsbr_thread_offline(worker->rcu, worker->id);
    int count = epoll_wait(worker->epoll_fd, events, WAKE_EVENTS, -1);
    for (int i = 0; i < count; i++)
        if (events[i].data.fd == worker->wake_fd && read(worker->wake_fd, &value, sizeof(value)) < 0)
            break; /* another wake-up took its value: nothing lost */
    rte_rcu_qsbr_thread_online(worker->rcu, worker->id);
    __atomic_store_n(&worker->asleep, 0, __ATOMIC_RELAXED);
    uint64_t now = tsc_now();
    adapt_spin(worker, now - before);
    tick(worker, now);
}

/* Sessions expire when there is nothing else to do, and while there is once a tick. */
static void expire_sessions(struct worker *worker, const struct snapshot *snapshot)
{
    struct nat_context context = {.nat = snapshot->nat,
                                  .config = snapshot->nat_config,
                                  .worker = worker->id,
                                  .now_s = worker->program.now_s};
    if (context.config)
        nat_tick(&context);
}

static void idle(struct worker *worker, const struct snapshot *snapshot, uint64_t now)
{
    for (unsigned i = 0; i < PAUSES; i++)
        __builtin_ia32_pause();
    expire_sessions(worker, snapshot);
    if (!worker->idle_since) {
        worker->idle_since = now;
        return;
    }
    if (now - worker->idle_since < worker->spin)
        return;
    worker->idle_since = 0;
    if (!arm(worker, snapshot)) {
        worker->spin = at_most(worker->spin * 2, worker->spin_max * SPIN_AWAKE);
        return;
    }
    sleep_until_kicked(worker);
    worker->seen = NULL;
}

static void round_run(struct worker *worker, const struct snapshot *snapshot, uint64_t now)
{
    if (snapshot != worker->seen) {
        disarm(worker, snapshot, snapshot->poll_count[worker->id]);
        worker->seen = snapshot;
    }
    worker->program.now = now;
    unsigned packets = poll_queues(worker, snapshot);
    if (__builtin_expect(worker->inject_tail != __atomic_load_n(&worker->inject_head, __ATOMIC_RELAXED), 0))
        packets += run_injected(worker, snapshot);
    counter_add(&worker->rounds, 1);
    if (packets) {
#ifdef WEFT_BENCH_SLOWDOWN /* cycles a packet; perf/meson.build's weft-dataplane-slow, never the product */
        for (uint64_t from = tsc_now(); tsc_now() - from < (uint64_t)packets * WEFT_BENCH_SLOWDOWN;)
            continue;
#endif
        counter_add(&worker->packets, packets);
        counter_add(&worker->busy_cycles, tsc_now() - now);
        worker->idle_since = 0;
    } else {
        idle(worker, snapshot, now);
    }
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;
    /* With EAL up (it knows the TSC then) mempools give a registered thread a cache; without a free lcore id
     * it works as well, uncached. */
    bool registered = rte_get_tsc_hz() && rte_thread_register() == 0;

    rte_rcu_qsbr_thread_online(worker->rcu, worker->id);
    tick(worker, tsc_now());
    for (uint32_t turn = 1; !__atomic_load_n(&worker->stop, __ATOMIC_RELAXED); turn++) {
        const struct snapshot *snapshot = __atomic_load_n(&worker->snapshot, __ATOMIC_ACQUIRE);
        uint64_t now = tsc_now();
        bool urgent = worker->urgent;
        if (__builtin_expect(now >= worker->tick_at, 0)) {
            tick(worker, now);
            if (snapshot)
                expire_sessions(worker, snapshot);
        }
        if (snapshot)
            round_run(worker, snapshot, now);
        else
            __builtin_ia32_pause();
        if (__builtin_expect(urgent, 0))
            set_urgent(worker, false);
        if (!(turn & (QUIESCENT_ROUNDS - 1))) {
            notifier_flush(worker->notifier);
            rte_rcu_qsbr_quiescent(worker->rcu, worker->id);
        }
    }
    notifier_flush(worker->notifier);
    rte_rcu_qsbr_thread_offline(worker->rcu, worker->id);
    if (registered)
        rte_thread_unregister();
    return NULL;
}
