/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole of weft-dataplane as a process, as weftd and guests see it:
 *
 *     tenant 1, segment 1:  port 1 ── port 2 ── port 3
 *     tenant 1, segment 2:  port 4
 *     tenant 2, segment 3:  port 5
 *
 * The program's path is the first argument.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "switch_process.h"

#define PORTS      5u
#define FRAME_SIZE 64u

static const char *program;
static struct switch_process sw;
static struct driver_device *guests[PORTS + 1];

static void make_frame(uint8_t frame[FRAME_SIZE], unsigned to, unsigned from, uint32_t number)
{
    const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const uint8_t destination[6] = {2, 0, 0, 0, 0, (uint8_t)to}, source[6] = {2, 0, 0, 0, 0, (uint8_t)from};
    memset(frame, 0, FRAME_SIZE);
    memcpy(frame, to ? destination : broadcast, 6);
    memcpy(frame + 6, source, 6);
    frame[12] = 0x88;
    frame[13] = 0xb5; /* IEEE 802 local experimental EtherType */
    memcpy(frame + 14, &number, sizeof(number));
}

static int try_send(unsigned from, unsigned to, uint32_t number)
{
    uint8_t frame[FRAME_SIZE];
    const struct virtio_net_header header = {0};
    struct driver_queue *queue = driver_tx_queue(guests[from], 0);
    make_frame(frame, to, from, number);
    int error = driver_transmit(queue, &header, frame, sizeof(frame));
    driver_kick(queue);
    return error;
}

static void send_frame(unsigned from, unsigned to, uint32_t number)
{
    assert_int_equal(try_send(from, to, number), 0);
}

static int receive(unsigned at, uint8_t *frame)
{
    struct virtio_net_header header;
    return driver_receive(driver_rx_queue(guests[at], 0), &header, frame, 2048);
}

static void expect(unsigned at, unsigned from, unsigned to, uint32_t number)
{
    uint8_t frame[2048], expected[FRAME_SIZE];
    int size;
    while ((size = receive(at, frame)) == 0)
        assert_int_equal(driver_wait(driver_rx_queue(guests[at], 0), SWITCH_TIMEOUT_MS), 0);
    make_frame(expected, to, from, number);
    assert_int_equal(size, FRAME_SIZE);
    assert_memory_equal(frame, expected, FRAME_SIZE);
}

static void expect_nothing(unsigned at)
{
    uint8_t frame[2048];
    assert_int_equal(receive(at, frame), 0);
}

static void program_switch(void)
{
    static const uint32_t segment_of[] = {0, 1, 1, 1, 2, 3}, tenant_of[] = {0, 1, 1, 1, 1, 2};
    assert_int_equal(dp_client_begin(sw.client), 0);
    for (uint32_t id = 1; id <= 3; id++)
        switch_put_segment(&sw, id, id == 3 ? 2 : 1);
    for (uint32_t id = 1; id <= PORTS; id++)
        switch_put_port(&sw, id, tenant_of[id], segment_of[id], 1500);
    if (dp_client_commit(sw.client) != 0)
        fail_msg("%s", dp_client_error(sw.client));
}

static int setup(void **state)
{
    memset(&sw, 0, sizeof(sw));
    switch_start(&sw, program, false);
    program_switch();
    for (unsigned i = 1; i <= PORTS; i++)
        guests[i] = switch_guest(&sw, i);
    for (unsigned i = 1; i <= PORTS; i++)
        wait_until(switch_port_state(&sw, i).link == 1);
    return 0;
}

static int finish(const char *expected)
{
    for (unsigned i = 1; i <= PORTS; i++) {
        driver_close(guests[i]);
        guests[i] = NULL;
    }
    assert_int_equal(switch_end(&sw, 0), 0);
    switch_remove(&sw, expected);
    return 0;
}

static int teardown(void **state)
{
    for (uint32_t id = 1; id <= PORTS; id++)
        wait_until(switch_balanced(&sw, id));
    return finish(NULL);
}

static void test_two_guests(void **state)
{
    send_frame(1, 0, 1); /* broadcast */
    expect(2, 1, 0, 1);
    expect(3, 1, 0, 1);
    send_frame(2, 1, 2); /* port 1 is known */
    expect(1, 2, 1, 2);
    for (uint32_t i = 0; i < 1000; i++) {
        send_frame(1, 2, i);
        expect(2, 1, 2, i);
        send_frame(2, 1, i);
        expect(1, 2, 1, i);
    }
    send_frame(5, 1, 7); /* another tenant: nobody else in its segment */
    send_frame(4, 2, 7); /* another segment */
    wait_until(switch_counters(&sw, 5).rx_packets == 1 && switch_counters(&sw, 4).rx_packets == 1);
    for (unsigned i = 1; i <= PORTS; i++)
        expect_nothing(i);
    wait_until(switch_balanced(&sw, 5));
    assert_int_equal(switch_counters(&sw, 5).rx_drops[DP_DROP_NO_MEMBER], 1);
    struct dp_port_counters counters = switch_counters(&sw, 1);
    assert_int_equal(counters.rx_packets, 1001);
    assert_int_equal(counters.rx_flooded, 1);
    assert_int_equal(counters.rx_forwarded, 1000);
    assert_int_equal(counters.tx_packets, 1001);
    assert_int_equal(counters.tx_bytes, 1001 * FRAME_SIZE);
}

static void test_state(void **state)
{
    struct dp_fdb_entry *entries;
    struct dp_queue_state *queues;
    struct dp_worker_state *workers;
    size_t count;
    send_frame(1, 0, 1);
    expect(2, 1, 0, 1);
    expect(3, 1, 0, 1);
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_FDB_ENTRY, (void **)&entries, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(entries[0].segment, 1);
    assert_int_equal(entries[0].port, 1);
    assert_int_equal(entries[0].mac[5], 1);
    free(entries);
    assert_int_equal(switch_port_state(&sw, 1).learned, 1);
    assert_int_equal(dp_client_flush(sw.client, 1, 0), 0);
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_FDB_ENTRY, (void **)&entries, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_QUEUE_STATE, (void **)&queues, &count), 0);
    assert_int_equal(count, PORTS);
    assert_int_equal(queues[0].port, 1);
    assert_int_equal(queues[0].ring_size, 256);
    assert_int_equal(queues[0].usable, 1);
    assert_int_equal(queues[0].rx_packets, 1);
    free(queues);
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_WORKER_STATE, (void **)&workers, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(workers[0].queues, PORTS);
    free(workers);
}

/* Frames 1 -> 2 in a thread of their own, each acknowledged by its arrival; at most 100 on the way. */
struct traffic {
    pthread_t thread;
    bool stop;               /* main: w (atomic) */
    uint32_t sent, received; /* thread: w (atomic); main: r */
    bool wrong;              /* a frame out of order, or none for a long time */
};

static void *traffic_run(void *context)
{
    struct traffic *traffic = context;
    uint8_t frame[2048], expected[FRAME_SIZE];
    time_t last = time(NULL);
    for (;;) {
        bool stop = __atomic_load_n(&traffic->stop, __ATOMIC_RELAXED);
        if (stop && traffic->received == traffic->sent)
            return NULL;
        if (!stop && traffic->sent - traffic->received < 100 && try_send(1, 2, traffic->sent) == 0)
            __atomic_store_n(&traffic->sent, traffic->sent + 1, __ATOMIC_RELAXED);
        if (receive(2, frame) > 0) {
            make_frame(expected, 2, 1, traffic->received);
            if (memcmp(frame, expected, FRAME_SIZE) != 0)
                break;
            __atomic_store_n(&traffic->received, traffic->received + 1, __ATOMIC_RELAXED);
            last = time(NULL);
        } else if (time(NULL) > last + SWITCH_TIMEOUT_MS / 1000) {
            break;
        }
    }
    traffic->wrong = true;
    return NULL;
}

static void traffic_start(struct traffic *traffic)
{
    *traffic = (struct traffic){0};
    send_frame(1, 0, 0);
    expect(2, 1, 0, 0);
    expect(3, 1, 0, 0);
    send_frame(2, 1, 0); /* both are known now */
    expect(1, 2, 1, 0);
    assert_int_equal(pthread_create(&traffic->thread, NULL, traffic_run, traffic), 0);
    wait_until(__atomic_load_n(&traffic->received, __ATOMIC_RELAXED) > 100);
}

static void traffic_end(struct traffic *traffic)
{
    uint32_t before = __atomic_load_n(&traffic->received, __ATOMIC_RELAXED);
    wait_until(__atomic_load_n(&traffic->received, __ATOMIC_RELAXED) > before + 100 || traffic->wrong);
    __atomic_store_n(&traffic->stop, true, __ATOMIC_RELAXED);
    pthread_join(traffic->thread, NULL);
    assert_false(traffic->wrong);
    assert_int_equal(traffic->sent, traffic->received);
}

/* 100 ports, 4000 segments and 10000 addresses of the segment in use come and go while frames pass: not one
 * frame is lost. */
static void test_commits_under_traffic(void **state)
{
    struct traffic traffic;
    traffic_start(&traffic);
    for (unsigned round = 0; round < 6; round++) {
        assert_int_equal(dp_client_begin(sw.client), 0);
        for (uint32_t id = 100; id < 4100; id++) {
            struct dp_segment segment = {.id = id};
            if (round % 2)
                assert_int_equal(dp_client_del(sw.client, DP_KIND_SEGMENT, &segment), 0);
            else
                switch_put_segment(&sw, id, 7);
        }
        for (uint32_t id = 100; id < 200; id++) {
            struct dp_port port = {.id = id};
            struct dp_member member = {.port = id};
            if (round % 2) {
                assert_int_equal(dp_client_del(sw.client, DP_KIND_PORT, &port), 0);
                assert_int_equal(dp_client_del(sw.client, DP_KIND_MEMBER, &member), 0);
            } else {
                switch_put_port(&sw, id, 7, id, 1500);
            }
        }
        for (uint32_t i = 0; i < 10000; i++) {
            struct dp_static address = {.segment = 1, .port = 3};
            address.mac[0] = 2;
            address.mac[1] = 1;
            memcpy(address.mac + 2, &i, sizeof(i));
            if (round % 2)
                assert_int_equal(dp_client_del(sw.client, DP_KIND_STATIC, &address), 0);
            else
                assert_int_equal(dp_client_put(sw.client, DP_KIND_STATIC, &address, NULL, 0), 0);
        }
        if (dp_client_commit(sw.client) != 0)
            fail_msg("%s", dp_client_error(sw.client));
    }
    traffic_end(&traffic);
}

/* A port whose MTU changes is exchanged: its guest has to connect again, the others notice nothing. */
static void test_port_exchanged(void **state)
{
    struct traffic traffic;
    traffic_start(&traffic);
    assert_int_equal(dp_client_begin(sw.client), 0);
    switch_put_port(&sw, 3, 1, 1, 9000);
    assert_int_equal(dp_client_commit(sw.client), 0);
    wait_until(switch_port_state(&sw, 3).link == 0);
    assert_int_equal(driver_reconnect(guests[3]), 0);
    wait_until(switch_port_state(&sw, 3).link == 1);
    traffic_end(&traffic);
    send_frame(3, 0, 5);
    expect(1, 3, 0, 5);
    expect(2, 3, 0, 5);
    send_frame(1, 3, 6);
    expect(3, 1, 3, 6);
}

static void test_failed_commit(void **state)
{
    char path[108];
    struct dp_port port = {.id = 9,
                           .tenant = 1,
                           .type = DP_PORT_VHOST_USER,
                           .name = "t1/p9",
                           .queues = 1,
                           .mtu = 1500,
                           .device = "/nowhere/at/all.sock",
                           .socket_group = UINT32_MAX};
    assert_int_equal(dp_client_begin(sw.client), 0);
    switch_put_port(&sw, 8, 1, 1, 1500);
    assert_int_equal(dp_client_put(sw.client, DP_KIND_PORT, &port, NULL, 0), 0);
    assert_int_equal(dp_client_commit(sw.client), -ENOENT);
    assert_non_null(strstr(dp_client_error(sw.client), "t1/p9"));
    switch_port_path(&sw, 8, path);
    assert_int_equal(access(path, F_OK), -1); /* its socket is gone again */
    test_two_guests(state);
}

static void test_port_down_and_removed(void **state)
{
    char path[108];
    struct dp_port port;
    struct dp_member member = {.port = 3};
    void *ports;
    size_t count;
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_PORT, &ports, &count), 0);
    assert_int_equal(count, PORTS);
    for (size_t i = 0; i < count; i++)
        if (((struct dp_port *)ports)[i].id == 2)
            port = ((struct dp_port *)ports)[i];
    free(ports);
    port.flags = DP_PORT_F_DOWN;
    assert_int_equal(dp_client_begin(sw.client), 0);
    assert_int_equal(dp_client_put(sw.client, DP_KIND_PORT, &port, NULL, 0), 0);
    assert_int_equal(dp_client_commit(sw.client), 0);
    send_frame(2, 1, 1);
    send_frame(1, 0, 1);
    expect(3, 1, 0, 1);
    wait_until(switch_counters(&sw, 2).rx_drops[DP_DROP_PORT_DOWN] == 1);
    expect_nothing(1);
    expect_nothing(2);
    assert_int_equal(switch_counters(&sw, 2).tx_packets, 0);
    assert_int_equal(switch_port_state(&sw, 2).link, 0);
    /* port 3 goes: socket and all */
    port.id = 3;
    assert_int_equal(dp_client_begin(sw.client), 0);
    assert_int_equal(dp_client_del(sw.client, DP_KIND_MEMBER, &member), 0);
    assert_int_equal(dp_client_del(sw.client, DP_KIND_PORT, &port), 0);
    assert_int_equal(dp_client_commit(sw.client), 0);
    switch_port_path(&sw, 3, path);
    assert_int_equal(access(path, F_OK), -1);
    send_frame(1, 0, 2);
    wait_until(switch_counters(&sw, 1).rx_packets == 2);
    expect_nothing(3);
    assert_int_equal(dp_client_begin(sw.client), 0); /* so that the end finds what it expects */
    switch_put_port(&sw, 3, 1, 1, 1500);
    assert_int_equal(dp_client_commit(sw.client), 0);
}

/* The switch is killed and started again: guests reconnect with their rings and go on. */
static void test_killed(void **state)
{
    test_two_guests(state);
    int status = switch_end(&sw, SIGKILL);
    assert_true(WIFSIGNALED(status));
    switch_start(&sw, program, true);
    program_switch();
    for (unsigned i = 1; i <= PORTS; i++)
        assert_int_equal(driver_reconnect(guests[i]), 0);
    for (unsigned i = 1; i <= PORTS; i++)
        wait_until(switch_port_state(&sw, i).link == 1);
    test_two_guests(state);
}

static void test_terminated(void **state)
{
    assert_int_equal(switch_end(&sw, SIGTERM), 0);
    for (unsigned i = 1; i <= PORTS; i++)
        driver_close(guests[i]);
    switch_remove(&sw, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s WEFT-DATAPLANE\n", argv[0]);
        return 2;
    }
    program = argv[1];
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(test_two_guests),
        test(test_state),
        test(test_commits_under_traffic),
        test(test_port_exchanged),
        test(test_failed_commit),
        test(test_port_down_and_removed),
        test(test_killed),
        cmocka_unit_test_setup(test_terminated, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
