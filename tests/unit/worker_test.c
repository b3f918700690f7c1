/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Worker threads on ports whose frames are numbers: sleeping and waking, publication under traffic, queues
 * that move between workers, injected frames. Runs under the thread and address sanitizers as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "program.h"
#include "worker.h"

#define PORTS        2u
#define QUEUES       2u
#define WAIT_SECONDS 120

struct live_queue {
    uint32_t pending; /* frames that the guest has for us; test: +, worker: - (atomic) */
    uint32_t next;    /* number of the next one; worker polling it */
    uint32_t polling; /* workers in rx..rx_done now */
    uint32_t clashes;
    int kick_fd;
};

struct live_port {
    struct port *port;
    struct live_queue queues[QUEUES];
    uint32_t sent;     /* frames that left by the port (atomic) */
    uint32_t rarp;     /* of them, RARP */
    uint32_t disorder; /* frames whose number was not one more than the last of its source queue */
    uint32_t last[QUEUES];
    uint32_t lock;
    bool poll_only; /* arm always finds work */
};

static struct live_port ports[PORTS];
static struct fdb *fdb;

void control_log(int level, const char *format, ...)
{
}

static unsigned live_rx(struct port *port, unsigned queue, struct packet_vector *vector, struct worker_io *io)
{
    struct live_port *live = port->private;
    struct live_queue *from = &live->queues[queue];
    packet_vector_reset(vector);
    if (__atomic_fetch_add(&from->polling, 1, __ATOMIC_ACQ_REL))
        __atomic_fetch_add(&from->clashes, 1, __ATOMIC_RELAXED);
    uint32_t count = __atomic_load_n(&from->pending, __ATOMIC_ACQUIRE);
    if (count > PACKET_VECTOR_MAX)
        count = PACKET_VECTOR_MAX;
    for (uint32_t i = 0; i < count; i++) {
        struct packet *packet = &vector->packets[i];
        packet->data = packet->buffer + PACKET_HEADROOM;
        memset(packet->data, 0xff, 6);
        memcpy(packet->data + 6, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)port->config.id}, 6);
        packet->data[12] = 0x88;
        packet->data[13] = 0xb5;
        packet->data[14] = (uint8_t)queue;
        uint32_t number = from->next++;
        memcpy(packet->data + 16, &number, sizeof(number));
        packet->size = packet->header_size = 60;
        packet->span_count = 0;
        packet->flags = packet->gso_type = 0;
    }
    __atomic_fetch_sub(&from->pending, count, __ATOMIC_ACQ_REL);
    vector->count = count;
    return count;
}

static void live_rx_done(struct port *port, unsigned queue, struct worker_io *io)
{
    __atomic_fetch_sub(&((struct live_port *)port->private)->queues[queue].polling, 1, __ATOMIC_ACQ_REL);
}

static void live_tx(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
                    struct worker_io *io, struct vring_tx_result *result)
{
    struct live_port *live = port->private;
    *result = (struct vring_tx_result){.sent = count};
    while (__atomic_exchange_n(&live->lock, 1, __ATOMIC_ACQUIRE))
        sched_yield();
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *data = packets[i]->data;
        uint32_t number;
        result->sent_bytes += packets[i]->size;
        if (data[12] == 0x80 && data[13] == 0x35) {
            live->rarp++;
            continue;
        }
        memcpy(&number, data + 16, sizeof(number));
        live->disorder += number != live->last[data[14]]++;
    }
    __atomic_store_n(&live->lock, 0, __ATOMIC_RELEASE);
    __atomic_fetch_add(&live->sent, count, __ATOMIC_RELEASE);
}

static bool live_arm(struct port *port, unsigned queue)
{
    struct live_port *live = port->private;
    return live->poll_only || __atomic_load_n(&live->queues[queue].pending, __ATOMIC_ACQUIRE);
}

static void live_disarm(struct port *port, unsigned queue)
{
}

static const struct port_ops live_ops = {
    .rx = live_rx, .rx_done = live_rx_done, .tx = live_tx, .arm = live_arm, .disarm = live_disarm};

/* Both ports in segment 1; queue q of each polled by worker_of[q]. */
static struct snapshot *snapshot_new(const unsigned worker_of[QUEUES])
{
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    struct bridge *bridge = calloc(1, sizeof(*bridge));
    assert_non_null(snapshot);
    assert_non_null(bridge);
    snapshot->fdb = fdb;
    snapshot->bridges[1] = bridge;
    *bridge = (struct bridge){.id = 1, .tenant = 1, .outputs = calloc(PORTS, sizeof(struct output))};
    for (unsigned w = 0; w < DP_WORKERS_MAX; w++)
        snapshot->polls[w] = calloc(PORTS * QUEUES, sizeof(struct poll_queue));
    for (unsigned i = 0; i < PORTS; i++) {
        struct ingress *ingress = calloc(1, sizeof(*ingress));
        *ingress = (struct ingress){.port = ports[i].port, .id = i + 1, .tenant = 1, .native = bridge};
        snapshot->ingress[i + 1] = ingress;
        bridge->outputs[bridge->output_count++].to = ingress;
        for (unsigned queue = 0; queue < QUEUES; queue++) {
            unsigned w = worker_of[queue];
            snapshot->polls[w][snapshot->poll_count[w]++] = (struct poll_queue){ingress, queue};
        }
    }
    return snapshot;
}

static void snapshot_drop(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    for (unsigned w = 0; w < DP_WORKERS_MAX; w++)
        free(snapshot->polls[w]);
    for (unsigned i = 1; i <= PORTS; i++)
        free(snapshot->ingress[i]);
    free(snapshot->bridges[1]->outputs);
    free(snapshot->bridges[1]);
    free(snapshot);
}

static int setup(void **state)
{
    const int cores[2] = {-1, -1};
    fdb = fdb_new(1000, workers_quiesce);
    memset(ports, 0, sizeof(ports));
    for (unsigned i = 0; i < PORTS; i++) {
        struct dp_port config = {.id = i + 1, .tenant = 1, .queues = QUEUES, .mtu = 1500};
        ports[i].port = port_new(&config, &live_ops, 2);
        ports[i].port->private = &ports[i];
        ports[i].port->link = true;
        for (unsigned queue = 0; queue < QUEUES; queue++)
            ports[i].queues[queue].kick_fd = ports[i].port->wake_fds[queue] = eventfd(0, EFD_NONBLOCK);
    }
    return fdb && workers_start(cores, 2) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    bool consistent = true;
    workers_stop();
    for (unsigned i = 0; i < PORTS; i++) {
        struct dp_port_counters sum;
        counters_port(ports[i].port, &sum);
        consistent &= counters_consistent(&sum);
        for (unsigned queue = 0; queue < QUEUES; queue++)
            close(ports[i].queues[queue].kick_fd);
        port_free(ports[i].port);
    }
    fdb_free(fdb);
    return consistent ? 0 : -1;
}

static bool asleep(unsigned worker)
{
    struct dp_worker_state state;
    return workers_state(worker, &state) && state.asleep;
}

static bool both_asleep(void)
{
    return asleep(0) && asleep(1);
}

static uint32_t wanted;

static bool all_sent(void)
{
    return __atomic_load_n(&ports[1].sent, __ATOMIC_ACQUIRE) >= wanted;
}

static void wait_for(bool (*condition)(void))
{
    time_t end = time(NULL) + WAIT_SECONDS;
    while (!condition())
        if (time(NULL) > end)
            fail_msg("not within %d s", WAIT_SECONDS);
        else
            sched_yield();
}

static void offer(unsigned queue, uint32_t count)
{
    struct live_queue *from = &ports[0].queues[queue];
    __atomic_fetch_add(&from->pending, count, __ATOMIC_RELEASE);
    assert_int_equal(eventfd_write(from->kick_fd, 1), 0);
}

static void sleeps_and_wakes_on_a_kick(void **state)
{
    struct snapshot *snapshot = snapshot_new((const unsigned[]){0, 1});
    wait_for(both_asleep);
    workers_publish(snapshot);
    for (uint32_t round = 1; round <= 50; round++) {
        wait_for(both_asleep);
        wanted = round;
        offer(round % QUEUES, 1);
        wait_for(all_sent);
    }
    wait_for(both_asleep); /* the round that sent is over and counted */
    struct dp_worker_state worker;
    assert_true(workers_state(0, &worker));
    assert_true(worker.sleeps >= 25);
    assert_int_equal(worker.packets, 25);
    assert_false(workers_state(2, &worker));
    assert_int_equal(ports[1].disorder, 0);
    workers_stop();
    snapshot_drop(snapshot);
}

/* A descriptor that comes while the worker sleeps counts as a kick: frames may have been there before it. */
static void new_kick_descriptor_wakes(void **state)
{
    struct snapshot *snapshot = snapshot_new((const unsigned[]){0, 1});
    int other = eventfd(0, EFD_NONBLOCK), first = ports[0].queues[0].kick_fd;
    workers_publish(snapshot);
    wait_for(both_asleep);
    __atomic_fetch_add(&ports[0].queues[0].pending, 3, __ATOMIC_RELEASE);
    workers_wake_fd(ports[0].port, 0, other);
    wanted = 3;
    wait_for(all_sent);
    wait_for(both_asleep);
    ports[0].queues[0].kick_fd = other;
    offer(0, 2);
    wanted = 5;
    wait_for(all_sent);
    workers_wake_fd(ports[0].port, 0, -1);
    close(first);
    workers_stop();
    snapshot_drop(snapshot);
}

static void a_port_that_cannot_wake_is_polled(void **state)
{
    struct snapshot *snapshot = snapshot_new((const unsigned[]){0, 0});
    ports[1].poll_only = true;
    workers_publish(snapshot);
    for (wanted = 1; wanted < 100; wanted++) {
        __atomic_fetch_add(&ports[0].queues[0].pending, 1, __ATOMIC_RELEASE); /* and no kick */
        wait_for(all_sent);
    }
    assert_false(asleep(0));
    workers_stop();
    snapshot_drop(snapshot);
}

/* Queues change their worker under traffic: never polled by two, nothing lost, nothing out of order. */
static void queues_move_under_traffic(void **state)
{
    struct snapshot *old = NULL;
    wanted = 0;
    for (unsigned turn = 0; turn < 200; turn++) {
        struct snapshot *snapshot = snapshot_new((const unsigned[]){turn & 1, turn >> 1 & 1});
        offer(0, 50);
        offer(1, 50);
        wanted += 100;
        workers_publish(snapshot);
        workers_quiesce();
        snapshot_drop(old);
        old = snapshot;
        assert_int_equal(workers_of_queue(ports[0].port, 0), turn & 1);
    }
    wait_for(all_sent);
    for (unsigned i = 0; i < PORTS; i++)
        for (unsigned queue = 0; queue < QUEUES; queue++)
            assert_int_equal(ports[i].queues[queue].clashes, 0);
    assert_int_equal(ports[1].disorder, 0);
    assert_int_equal(ports[1].sent, 200 * 100);
    struct dp_port_counters sum;
    workers_stop();
    counters_port(ports[0].port, &sum);
    assert_int_equal(sum.rx_flooded, 200 * 100);
    snapshot_drop(old);
}

static void announcement_is_flooded_and_learned(void **state)
{
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x77};
    struct snapshot *snapshot = snapshot_new((const unsigned[]){0, 1});
    assert_int_equal(workers_announce(ports[0].port, mac), -2 /* -ENOENT: not published yet */);
    workers_publish(snapshot);
    wait_for(both_asleep);
    assert_int_equal(workers_announce(ports[0].port, mac), 0);
    wanted = 1;
    wait_for(all_sent);
    assert_int_equal(ports[1].rarp, 1);
    assert_int_equal(fdb_port_count(fdb, 1), 1);
    static const uint8_t big[DP_PUNT_FRAME_MAX + 1];
    assert_int_equal(workers_inject(ports[0].port, big, sizeof(big)), -90 /* -EMSGSIZE */);
    workers_stop();
    snapshot_drop(snapshot);
}

/* The port has left the snapshot when the frame's turn comes. */
static void nothing_of_a_removed_port(void **state)
{
    struct snapshot *with = snapshot_new((const unsigned[]){0, 1}),
                    *without = snapshot_new((const unsigned[]){0, 1});
    struct ingress *gone = without->ingress[1];
    without->ingress[1] = NULL;
    without->bridges[1]->outputs[0] = without->bridges[1]->outputs[--without->bridges[1]->output_count];
    for (unsigned w = 0; w < 2; w++)
        without->polls[w][0] = without->polls[w][--without->poll_count[w]];
    workers_publish(with);
    workers_publish(without);
    workers_quiesce();
    assert_int_equal(workers_announce(ports[0].port, (const uint8_t[6]){2}), -2 /* -ENOENT */);
    assert_int_equal(workers_of_queue(ports[0].port, 0), -1);
    assert_int_equal(workers_of_queue(ports[1].port, 1), 1);
    workers_stop();
    without->ingress[1] = gone;
    snapshot_drop(with);
    snapshot_drop(without);
}

static void bad_starts_are_refused(void **state)
{
    const int cores[2] = {-1, 1 << 20};
    assert_int_equal(workers_start(cores, 1), -22 /* -EINVAL: running already */);
    workers_stop();
    assert_int_equal(workers_start(cores, 0), -22);
    assert_int_equal(workers_start(cores, DP_WORKERS_MAX + 1), -22);
    assert_int_equal(workers_start(cores, 2), -22);
    const int absent[1] = {CPU_SETSIZE - 1};
    assert_int_equal(workers_start(absent, 1), -22);
    assert_int_equal(workers_count(), 0);
    workers_quiesce();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sleeps_and_wakes_on_a_kick),
        T(new_kick_descriptor_wakes),
        T(a_port_that_cannot_wake_is_polled),
        T(queues_move_under_traffic),
        T(announcement_is_flooded_and_learned),
        T(nothing_of_a_removed_port),
        T(bad_starts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
