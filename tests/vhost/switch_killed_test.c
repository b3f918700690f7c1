/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The switch is killed (SIGKILL) at any moment under traffic and comes back; the guest keeps its rings. Each
 * time the rings must go on: what the dead switch held (at most one batch a direction) may be lost or come
 * twice, nothing else, and nothing is stuck.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "driver.h"
#include "harness.h"

#define FEATURE(bit) (1ull << (bit))
#define BASIC        FEATURE(VIRTIO_F_VERSION_1)
#define KILLS        30u
#define TIMEOUT_S    60

static char path[108];

struct traffic {
    struct driver_device *device;
    uint32_t sent, expected; /* next numbers */
    uint32_t lost, twice;    /* frames */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* A switch in a process of its own, which returns every frame. */
static pid_t start_switch(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    struct vhost_backend_config config = {.path = path, .queue_pairs = 1, .socket_group = (gid_t)-1};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    harness_start(&config);
    for (;;)
        pause();
}

static void kill_switch(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static bool transmit(struct traffic *traffic)
{
    struct virtio_net_header header = {0};
    uint8_t frame[80] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    memcpy(frame + 14, &traffic->sent, sizeof(traffic->sent));
    memset(frame + 18, (int)(traffic->sent & 0xff), sizeof(frame) - 18);
    if (driver_transmit(driver_tx_queue(traffic->device, 0), &header, frame, sizeof(frame)) != 0)
        return false;
    traffic->sent++;
    return true;
}

static void receive(struct traffic *traffic)
{
    struct virtio_net_header header;
    uint8_t frame[2048];
    int size;
    while ((size = driver_receive(driver_rx_queue(traffic->device, 0), &header, frame, sizeof(frame))) != 0) {
        uint32_t number;
        assert_int_equal(size, 80);
        memcpy(&number, frame + 14, sizeof(number));
        for (unsigned i = 18; i < 80; i++)
            assert_int_equal(frame[i], number & 0xff);
        assert_true(number < traffic->sent);
        if (number < traffic->expected) {
            traffic->twice++;
            continue;
        }
        traffic->lost += number - traffic->expected;
        traffic->expected = number + 1;
    }
}

static void exchange(struct traffic *traffic, double seconds)
{
    struct driver_queue *tx = driver_tx_queue(traffic->device, 0);
    double end = now() + seconds;
    do {
        for (unsigned i = 0; i < 32 && traffic->sent - traffic->expected < 100 && transmit(traffic); i++)
            continue;
        driver_kick(tx);
        receive(traffic);
    } while (now() < end);
}

/* Everything that was given comes back, and a new frame comes through. */
static void drain(struct traffic *traffic)
{
    struct driver_queue *tx = driver_tx_queue(traffic->device, 0);
    double end = now() + TIMEOUT_S;
    while (driver_in_flight(tx) > 0) {
        receive(traffic);
        driver_kick(tx);
        sched_yield();
        if (now() > end)
            fail_msg("%u frames are stuck", driver_in_flight(tx));
    }
    while (!transmit(traffic))
        sched_yield();
    uint32_t last = traffic->sent;
    while (traffic->expected < last) {
        driver_kick(tx);
        receive(traffic);
        sched_yield();
        if (now() > end)
            fail_msg("a new frame does not come through");
    }
}

static void reconnect(struct driver_device *device)
{
    double end = now() + TIMEOUT_S;
    while (driver_reconnect(device) != 0) {
        sched_yield();
        if (now() > end)
            fail_msg("the new switch is not reached");
    }
}

static void kills(uint64_t features, unsigned seed)
{
    harness_path(path, sizeof(path));
    pid_t pid = start_switch();
    struct driver_config config = {.path = path,
                                   .queue_pairs = 1,
                                   .ring_size = 256,
                                   .buffer_size = 2048,
                                   .features = features,
                                   .timeout_ms = TIMEOUT_S * 1000};
    struct traffic traffic = {0};
    double end = now() + TIMEOUT_S;
    while (!(traffic.device = driver_open(&config))) {
        sched_yield();
        if (now() > end)
            fail_msg("the switch is not reached: %s", strerror(errno));
    }
    for (unsigned i = 0; i < KILLS; i++) {
        exchange(&traffic, (1 + rand_r(&seed) % 10) / 1000.0);
        kill_switch(pid);
        /* Whatever arrived until then is there. */
        receive(&traffic);
        while (transmit(&traffic) && rand_r(&seed) % 8)
            continue;
        pid = start_switch();
        reconnect(traffic.device);
        drain(&traffic);
    }
    print_message("%u frames, %u kills: %u lost, %u came twice\n", traffic.sent, KILLS, traffic.lost,
                  traffic.twice);
    assert_true(traffic.sent > KILLS * 10);
    assert_true(traffic.lost <= KILLS * PACKET_VECTOR_MAX);
    assert_true(traffic.twice <= KILLS * PACKET_VECTOR_MAX);
    driver_close(traffic.device);
    kill_switch(pid);
    unlink(path);
}

static void test_split(void **state)
{
    kills(BASIC, 1);
    kills(BASIC | FEATURE(VIRTIO_NET_F_MRG_RXBUF) | FEATURE(VIRTIO_RING_F_EVENT_IDX), 2);
}

static void test_split_in_order(void **state)
{
    kills(BASIC | FEATURE(VIRTIO_F_IN_ORDER), 3);
}

static void test_packed(void **state)
{
    kills(BASIC | FEATURE(VIRTIO_F_RING_PACKED), 4);
    kills(BASIC | FEATURE(VIRTIO_F_RING_PACKED) | FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
              FEATURE(VIRTIO_RING_F_EVENT_IDX),
          5);
}

static void test_packed_in_order(void **state)
{
    kills(BASIC | FEATURE(VIRTIO_F_RING_PACKED) | FEATURE(VIRTIO_F_IN_ORDER), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_in_order),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_packed_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
