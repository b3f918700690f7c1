/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two vhost-user ports, a worker and two guests in one process: the test's thread is the dataplane's control
 * thread, the guests (driver.h) have a thread of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "backend.h"
#include "driver.h"
#include "program.h"
#include "worker.h"

#define FRAMES            300u
#define RUNTS             3u
#define WAIT_SECONDS      120
#define GUEST_CSUM        (UINT64_C(1) << 1)
#define VERSION_1         (UINT64_C(1) << 32)
#define PROTOCOL_FEATURES (UINT64_C(1) << 30) /* vhost-user's own */

static struct event_base *base;
static char directory[] = "/tmp/weft-port-vhost-XXXXXX";
static char paths[2][64];

struct event_base *control_event_base(void)
{
    return base;
}

void control_quiesce(void)
{
    workers_quiesce();
}

void control_wake_fd(struct port *port, unsigned queue, int fd)
{
    workers_wake_fd(port, queue, fd);
}

unsigned control_worker_count(void)
{
    return workers_count();
}

void control_log(int level, const char *format, ...)
{
}

void control_announce(struct port *port, const uint8_t mac[6])
{
    assert_int_equal(workers_announce(port, mac), 0);
}

struct guests {
    uint32_t received, rarp; /* by the second one, atomic */
    uint32_t stage;          /* the control thread's word on how far they may go */
    bool failed;
};

static bool guest_waits(const uint32_t *value, uint32_t wanted)
{
    for (time_t end = time(NULL) + WAIT_SECONDS; __atomic_load_n(value, __ATOMIC_ACQUIRE) < wanted;
         usleep(100))
        if (time(NULL) > end)
            return false;
    return true;
}

static void receive_until(struct guests *guests, struct driver_queue *queue, const uint32_t *value,
                          uint32_t wanted)
{
    struct virtio_net_header header;
    uint8_t frame[2048];
    for (time_t end = time(NULL) + WAIT_SECONDS; *value < wanted && time(NULL) < end;) {
        int size = driver_receive(queue, &header, frame, sizeof(frame));
        if (size <= 0)
            driver_wait(queue, 10);
        else if (frame[12] == 0x80 && frame[13] == 0x35)
            __atomic_fetch_add(&guests->rarp, 1, __ATOMIC_RELEASE);
        else
            __atomic_fetch_add(&guests->received, 1, __ATOMIC_RELEASE);
    }
    if (*value < wanted)
        guests->failed = true;
}

static void converse(struct guests *guests, struct driver_device *a, struct driver_device *b)
{
    struct driver_queue *to = driver_tx_queue(a, 0), *from = driver_rx_queue(b, 0);
    struct virtio_net_header header = {0};
    uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
    for (unsigned i = 1; i <= FRAMES; i++) {
        if (driver_transmit(to, &header, frame, sizeof(frame)))
            guests->failed = true;
        driver_kick(to);
        if (i % 50 == 0)
            receive_until(guests, from, &guests->received, i);
    }
    for (unsigned i = 0; i < RUNTS; i++)
        if (driver_transmit(to, &header, frame, 5))
            guests->failed = true;
    driver_kick(to);
    if (vhost_frontend_send_rarp(driver_frontend(a), (const uint8_t[6]){2, 0, 0, 0, 0, 9}))
        guests->failed = true;
    receive_until(guests, from, &guests->rarp, 1);
}

static void *run_guests(void *argument)
{
    struct guests *guests = argument;
    struct driver_config config = {.queue_pairs = 1,
                                   .ring_size = 128,
                                   .buffer_size = 2048,
                                   .features = VERSION_1 | GUEST_CSUM,
                                   .timeout_ms = 60000};
    struct driver_device *devices[2];
    for (unsigned i = 0; i < 2; i++) {
        config.path = paths[i];
        devices[i] = driver_open(&config);
    }
    if (devices[0] && devices[1] && guest_waits(&guests->stage, 1))
        converse(guests, devices[0], devices[1]);
    else
        guests->failed = true;
    if (!guest_waits(&guests->stage, 2))
        guests->failed = true;
    for (unsigned i = 0; i < 2; i++)
        if (devices[i])
            driver_close(devices[i]);
    __atomic_store_n(&guests->stage, 3, __ATOMIC_RELEASE);
    return NULL;
}

static struct port *ports[2];

static bool both_up(void)
{
    return ports[0]->link && ports[1]->link;
}

static bool both_down(void)
{
    return !ports[0]->link && !ports[1]->link;
}

static bool all_counted(void)
{
    struct dp_port_counters in, out;
    counters_port(ports[0], &in);
    counters_port(ports[1], &out);
    return in.rx_packets == FRAMES + RUNTS + 1 && out.tx_packets == FRAMES + 1;
}

static void control_until(bool (*condition)(void))
{
    const struct timeval slice = {.tv_usec = 1000};
    for (time_t end = time(NULL) + WAIT_SECONDS; !condition();) {
        if (time(NULL) > end)
            fail_msg("not within %d s", WAIT_SECONDS);
        event_base_loopexit(base, &slice);
        event_base_loop(base, EVLOOP_ONCE);
        for (unsigned i = 0; i < 2; i++)
            ports[i]->ops->check(ports[i]);
    }
}

static void open_ports(struct snapshot *snapshot, struct ingress ingress[2], struct bridge *bridge)
{
    char text[112] = "";
    for (unsigned i = 0; i < 2; i++) {
        struct dp_port config = {
            .id = i + 1, .tenant = 1, .queues = 1, .mtu = 1500, .socket_group = UINT32_MAX};
        snprintf(paths[i], sizeof(paths[i]), "%s/%u", directory, i);
        snprintf(config.device, sizeof(config.device), "%s", paths[i]);
        ports[i] = port_new(&config, &port_vhost_ops, 1);
        assert_non_null(ports[i]);
        assert_int_equal(port_vhost_ops.open(ports[i], NULL, 0, text), 0);
        ingress[i] = (struct ingress){.port = ports[i], .id = i + 1, .tenant = 1, .native = bridge};
        snapshot->ingress[i + 1] = &ingress[i];
        bridge->outputs[i].to = &ingress[i];
        snapshot->polls[0][i] = (struct poll_queue){&ingress[i], 0};
    }
    snapshot->poll_count[0] = bridge->output_count = 2;
}

static void check_state(void)
{
    struct dp_port_state state = {0};
    struct dp_queue_state queue = {0};
    port_vhost_ops.state(ports[0], &state);
    port_vhost_ops.queue_state(ports[0], 0, &queue);
    assert_int_equal(state.link, 1);
    assert_int_equal(state.features & ~PROTOCOL_FEATURES, VERSION_1 | GUEST_CSUM);
    assert_int_equal(state.queues_enabled, 1);
    assert_int_equal(state.connects, 1);
    assert_int_equal(state.ring_errors, 0);
    assert_true(state.memory_bytes > 0);
    assert_int_equal(queue.ring_size, 128);
    assert_int_equal(queue.usable, 1);
    assert_int_equal(ports[0]->offloads, OFFLOAD_CSUM);
}

static void check_counters(void)
{
    struct dp_port_counters in, out;
    counters_port(ports[0], &in);
    counters_port(ports[1], &out);
    assert_true(counters_consistent(&in));
    assert_true(counters_consistent(&out));
    assert_int_equal(in.rx_flooded, FRAMES + 1);
    assert_int_equal(in.rx_drops[DP_DROP_RX_RUNT], RUNTS);
    assert_int_equal(in.rx_bytes, (FRAMES + 1) * 60);
    assert_int_equal(out.tx_bytes, (FRAMES + 1) * 60);
}

static void guests_talk_through_a_worker(void **unused)
{
    const int core = -1;
    struct outputs {
        struct output outputs[2];
    } members = {0};
    struct bridge bridge = {.id = 1, .tenant = 1, .outputs = members.outputs};
    struct ingress ingress[2];
    struct poll_queue polls[2];
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    struct guests guests = {0};
    pthread_t thread;
    assert_non_null(snapshot);
    assert_non_null(mkdtemp(directory));
    base = event_base_new();
    assert_int_equal(vhost_backend_process_init(), 0);
    assert_int_equal(workers_start(&core, 1), 0);
    snapshot->fdb = fdb_new(100, workers_quiesce);
    snapshot->polls[0] = polls;
    open_ports(snapshot, ingress, &bridge);
    workers_publish(snapshot);
    assert_false(ports[0]->link);

    assert_int_equal(pthread_create(&thread, NULL, run_guests, &guests), 0);
    control_until(both_up);
    check_state();
    __atomic_store_n(&guests.stage, 1, __ATOMIC_RELEASE);
    control_until(all_counted);
    assert_int_equal(fdb_port_count(snapshot->fdb, 1), 2);
    __atomic_store_n(&guests.stage, 2, __ATOMIC_RELEASE);
    control_until(both_down);
    pthread_join(thread, NULL);
    assert_false(guests.failed);
    assert_int_equal(guests.received, FRAMES);
    check_counters();

    workers_stop();
    for (unsigned i = 0; i < 2; i++) {
        port_vhost_ops.close(ports[i]);
        port_free(ports[i]);
        assert_int_not_equal(access(paths[i], F_OK), 0);
    }
    fdb_free(snapshot->fdb);
    free(snapshot);
    event_base_free(base);
    assert_int_equal(rmdir(directory), 0);
}

static void what_it_refuses_has_a_reason(void **unused)
{
    struct dp_port config = {
        .id = 1, .queues = 1, .mtu = 1500, .socket_group = UINT32_MAX, .device = "/nonexistent/x"};
    struct port *port = port_new(&config, &port_vhost_ops, 1);
    char text[112] = "";
    int fd = 0;
    base = event_base_new();
    assert_true(port_vhost_ops.open(port, NULL, 0, text) < 0);
    assert_non_null(strstr(text, "/nonexistent/x"));
    assert_int_equal(port_vhost_ops.open(port, &fd, 1, text), -22 /* -EINVAL */);
    port_free(port);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guests_talk_through_a_worker),
        cmocka_unit_test(what_it_refuses_has_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
