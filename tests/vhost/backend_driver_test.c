/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver library against a backend in the same process, whose worker returns every frame. Each frame's
 * payload is verified, over all ring layouts, sizes and features, and over reconnection of either side.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include "driver.h"
#include "harness.h"

#define FEATURE(bit) (1ull << (bit))
#define BASIC        FEATURE(VIRTIO_F_VERSION_1)
#define TIMEOUT_MS   60000

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fill_frame(uint8_t *frame, uint32_t size, uint32_t number)
{
    memset(frame, 0x02, 12);
    frame[12] = 0x88;
    frame[13] = 0xb5;
    for (uint32_t i = 14; i < size; i++)
        frame[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
    if (size >= 18)
        memcpy(frame + 14, &number, sizeof(number));
}

/* Sends `count` frames of changing sizes up to size_max through the switch and checks what comes back, in
 * order. */
static void exchange(struct driver_device *device, unsigned pair, unsigned count, uint32_t size_max)
{
    static uint8_t sent[PACKET_SIZE_MAX], expected[PACKET_SIZE_MAX], received[PACKET_SIZE_MAX];
    struct driver_queue *tx = driver_tx_queue(device, pair), *rx = driver_rx_queue(device, pair);
    struct virtio_net_header header = {0};
    unsigned out = 0, in = 0,
             window = driver_buffer_count(rx) / 2 / (size_max / driver_buffer_size(rx) + 1) + 1;
    double deadline = now() + TIMEOUT_MS / 1000.0;
    while (in < count) {
        uint32_t size = 60 + out * 97 % (size_max - 59);
        if (out < count && out - in < window) {
            fill_frame(sent, size, out);
            int result = driver_transmit(tx, &header, sent, size);
            assert_true(result == 0 || result == -EAGAIN);
            out += result == 0;
            driver_kick(tx);
            if (result == 0)
                continue;
        }
        int got = driver_receive(rx, &header, received, sizeof(received));
        assert_true(got >= 0);
        if (got == 0) {
            if (now() > deadline)
                fail_msg("pair %u: %u of %u frames came back", pair, in, count);
            continue;
        }
        size = 60 + in * 97 % (size_max - 59);
        fill_frame(expected, size, in);
        assert_int_equal(got, size);
        assert_memory_equal(received, expected, size);
        in++;
    }
}

static struct driver_device *open_driver(const char *path, unsigned pairs, uint16_t ring_size,
                                         uint32_t buffer_size, uint64_t features)
{
    struct driver_config config = {.path = path,
                                   .queue_pairs = pairs,
                                   .ring_size = ring_size,
                                   .buffer_size = buffer_size,
                                   .features = features,
                                   .timeout_ms = TIMEOUT_MS};
    struct driver_device *device = driver_open(&config);
    if (!device)
        fail_msg("driver_open: %s", strerror(errno));
    return device;
}

static bool one_pair_enabled(const struct vhost_backend_state *state)
{
    return state->pairs_enabled == 1 && state->regions == 1;
}

static bool eight_pairs_enabled(const struct vhost_backend_state *state)
{
    return state->pairs_enabled == 8 && state->regions == 1;
}

/* One run: as many frames as make the ring wrap several times. */
static void run(unsigned pairs, uint16_t ring_size, uint32_t buffer_size, uint64_t features,
                uint32_t size_max)
{
    char path[108];
    harness_path(path, sizeof(path));
    struct vhost_backend_config config = {
        .path = path, .queue_pairs = pairs, .mtu = 1500, .socket_group = (gid_t)-1};
    unsigned fds = harness_fd_count(), maps = harness_map_count();
    struct harness *harness = harness_start(&config);
    struct driver_device *device = open_driver(path, pairs, ring_size, buffer_size, features);
    assert_int_equal(driver_features(device) & ~FEATURE(VHOST_USER_F_PROTOCOL_FEATURES), features);
    for (unsigned pair = 0; pair < pairs; pair++)
        exchange(device, pair, 3u * ring_size < 1000 ? 1000 : 3u * ring_size, size_max);
    assert_true(harness_wait(harness,
                             pairs == 8   ? eight_pairs_enabled
                             : pairs == 1 ? one_pair_enabled
                                          : harness_connected,
                             TIMEOUT_MS));
    driver_close(device);
    assert_true(harness_wait(harness, harness_disconnected, TIMEOUT_MS));
    struct vhost_backend_state state = harness_state(harness);
    assert_int_equal(state.protocol_errors, 0);
    assert_int_equal(state.memory_bytes, 0);
    harness_stop(harness);
    assert_int_equal(harness_fd_count(), fds);
    assert_int_equal(harness_map_count(), maps);
}

static void test_layouts(void **context)
{
    static const uint64_t sets[] = {
        BASIC,
        BASIC | FEATURE(VIRTIO_F_IN_ORDER),
        BASIC | FEATURE(VIRTIO_RING_F_EVENT_IDX),
        BASIC | FEATURE(VIRTIO_F_RING_PACKED),
        BASIC | FEATURE(VIRTIO_F_RING_PACKED) | FEATURE(VIRTIO_F_IN_ORDER),
        BASIC | FEATURE(VIRTIO_F_RING_PACKED) | FEATURE(VIRTIO_RING_F_EVENT_IDX),
    };
    for (unsigned i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        run(1, 256, 2048, sets[i], 1514);
}

static void test_sizes(void **context)
{
    for (unsigned size = 64; size <= 4096; size *= 4) {
        run(1, (uint16_t)size, 2048, BASIC, 1514);
        run(1, (uint16_t)size, 2048, BASIC | FEATURE(VIRTIO_F_RING_PACKED), 1514);
    }
    run(1, 300, 2048, BASIC | FEATURE(VIRTIO_F_RING_PACKED), 1514);
}

static void test_mergeable(void **context)
{
    uint64_t features = BASIC | FEATURE(VIRTIO_NET_F_MRG_RXBUF);
    run(1, 256, 2048, features, 60000);
    run(1, 256, 2048, features | FEATURE(VIRTIO_F_RING_PACKED), 60000);
    run(1, 1024, 256, features, 9216);
    run(1, 1024, 256, features | FEATURE(VIRTIO_F_RING_PACKED) | FEATURE(VIRTIO_F_IN_ORDER), 9216);
}

static void test_indirect(void **context)
{
    uint64_t features = BASIC | FEATURE(VIRTIO_NET_F_MRG_RXBUF) | FEATURE(VIRTIO_RING_F_INDIRECT_DESC);
    run(1, 256, 2048, features, 60000);
    run(1, 256, 2048, features | FEATURE(VIRTIO_F_RING_PACKED), 60000);
}

static void test_pairs(void **context)
{
    uint64_t features = BASIC | FEATURE(VIRTIO_NET_F_MQ);
    run(8, 256, 2048, features, 1514);
    run(8, 64, 2048, features | FEATURE(VIRTIO_F_RING_PACKED), 1514);
}

/* Buffers posted once and published again and again; every frame counted. */
static void prepared(uint64_t features)
{
    char path[108];
    harness_path(path, sizeof(path));
    struct vhost_backend_config config = {.path = path, .queue_pairs = 1, .socket_group = (gid_t)-1};
    struct harness *harness = harness_start(&config);
    struct driver_device *device = open_driver(path, 1, 256, 2048, features);
    struct driver_queue *tx = driver_tx_queue(device, 0), *rx = driver_rx_queue(device, 0);
    uint32_t frame_sizes[256], sizes[64];
    uint16_t buffers[64];
    for (unsigned i = 0; i < 256; i++) {
        frame_sizes[i] = VIRTIO_NET_HEADER_SIZE + 60 + i;
        memset(driver_buffer(tx, i), 0, VIRTIO_NET_HEADER_SIZE);
        fill_frame(driver_buffer(tx, i) + VIRTIO_NET_HEADER_SIZE, 60 + i, i);
    }
    assert_int_equal(driver_prepare(tx, frame_sizes), 0);
    unsigned out = 0, in = 0;
    double deadline = now() + TIMEOUT_MS / 1000.0;
    while (in < 20000 && now() < deadline) {
        if (out < 20000 && out - in < 128) {
            unsigned want = 20000 - out < 32 ? 20000 - out : 32;
            out += driver_publish(tx, want);
            driver_kick(tx);
        }
        unsigned count = driver_collect(rx, buffers, sizes, 64);
        for (unsigned i = 0; i < count; i++, in++) {
            assert_int_equal(sizes[i], frame_sizes[in % 256]);
            assert_memory_equal(driver_buffer(rx, buffers[i]) + VIRTIO_NET_HEADER_SIZE,
                                driver_buffer(tx, in % 256) + VIRTIO_NET_HEADER_SIZE,
                                sizes[i] - VIRTIO_NET_HEADER_SIZE);
        }
        driver_recycle(rx, count);
    }
    assert_int_equal(in, 20000);
    assert_int_equal(driver_in_flight(tx), 0);
    driver_close(device);
    harness_stop(harness);
}

static void test_prepared(void **context)
{
    prepared(BASIC);
    prepared(BASIC | FEATURE(VIRTIO_F_IN_ORDER));
    prepared(BASIC | FEATURE(VIRTIO_F_RING_PACKED));
    prepared(BASIC | FEATURE(VIRTIO_F_RING_PACKED) | FEATURE(VIRTIO_F_IN_ORDER));
}

/* The call eventfd wakes a driver that waits. */
static void wait_for_call(uint64_t features)
{
    char path[108];
    harness_path(path, sizeof(path));
    struct vhost_backend_config config = {.path = path, .queue_pairs = 1, .socket_group = (gid_t)-1};
    struct harness *harness = harness_start(&config);
    struct driver_device *device = open_driver(path, 1, 64, 2048, features);
    struct virtio_net_header header = {0};
    uint8_t frame[100], received[200];
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(driver_wait(driver_rx_queue(device, 0), i == 0 ? 20 : 0), -ETIMEDOUT);
        fill_frame(frame, sizeof(frame), i);
        assert_int_equal(driver_transmit(driver_tx_queue(device, 0), &header, frame, sizeof(frame)), 0);
        driver_kick(driver_tx_queue(device, 0));
        assert_int_equal(driver_wait(driver_rx_queue(device, 0), TIMEOUT_MS), 0);
        int got;
        while ((got = driver_receive(driver_rx_queue(device, 0), &header, received, sizeof(received))) == 0)
            assert_int_equal(driver_wait(driver_rx_queue(device, 0), TIMEOUT_MS), 0);
        assert_int_equal(got, sizeof(frame));
        assert_memory_equal(received, frame, sizeof(frame));
    }
    driver_close(device);
    harness_stop(harness);
}

static void test_call(void **context)
{
    wait_for_call(BASIC);
    wait_for_call(BASIC | FEATURE(VIRTIO_RING_F_EVENT_IDX));
    wait_for_call(BASIC | FEATURE(VIRTIO_F_RING_PACKED));
    wait_for_call(BASIC | FEATURE(VIRTIO_F_RING_PACKED) | FEATURE(VIRTIO_RING_F_EVENT_IDX));
}

/* The driver stays, the switch goes away and comes back: positions come from the rings. */
static void switch_restarts(uint64_t features, bool listen)
{
    char path[108];
    harness_path(path, sizeof(path));
    struct vhost_backend_config config = {
        .path = path, .queue_pairs = 2, .client = listen, .socket_group = (gid_t)-1};
    struct driver_config driver = {.path = path,
                                   .listen = listen,
                                   .queue_pairs = 2,
                                   .ring_size = 128,
                                   .buffer_size = 2048,
                                   .features = features | FEATURE(VIRTIO_NET_F_MQ),
                                   .timeout_ms = TIMEOUT_MS};
    struct harness *harness = harness_start(&config);
    struct driver_device *device = driver_open(&driver);
    assert_non_null(device);
    for (unsigned round = 0; round < 4; round++) {
        exchange(device, 0, 150 + round, 1514);
        exchange(device, 1, 70, 1514);
        harness_stop(harness);
        /* Frames sent while nobody is there are delivered by the next switch. */
        uint8_t frame[64];
        struct virtio_net_header header = {0};
        fill_frame(frame, sizeof(frame), 7);
        assert_int_equal(driver_transmit(driver_tx_queue(device, 0), &header, frame, sizeof(frame)), 0);
        harness = harness_start(&config);
        assert_int_equal(driver_reconnect(device), 0);
        assert_int_equal(driver_wait(driver_rx_queue(device, 0), TIMEOUT_MS), 0);
        uint8_t received[64];
        assert_int_equal(driver_receive(driver_rx_queue(device, 0), &header, received, sizeof(received)), 64);
        assert_memory_equal(received, frame, sizeof(frame));
    }
    driver_close(device);
    harness_stop(harness);
}

static void test_switch_restarts(void **context)
{
    switch_restarts(BASIC, false);
    switch_restarts(BASIC | FEATURE(VIRTIO_F_IN_ORDER) | FEATURE(VIRTIO_RING_F_EVENT_IDX), false);
    switch_restarts(BASIC | FEATURE(VIRTIO_F_RING_PACKED), false);
    switch_restarts(BASIC | FEATURE(VIRTIO_F_RING_PACKED) | FEATURE(VIRTIO_F_IN_ORDER), false);
    switch_restarts(BASIC, true);
    switch_restarts(BASIC | FEATURE(VIRTIO_F_RING_PACKED), true);
}

/* The switch stays, a driver connects, works and goes, a thousand times. */
static void test_thousand_connects(void **context)
{
    char path[108];
    harness_path(path, sizeof(path));
    struct vhost_backend_config config = {.path = path, .queue_pairs = 1, .socket_group = (gid_t)-1};
    struct harness *harness = harness_start(&config);
    unsigned fds = harness_fd_count(), maps = harness_map_count();
    for (unsigned i = 0; i < 1000; i++) {
        struct driver_device *device =
            open_driver(path, 1, 64, 2048, BASIC | (i % 2 ? FEATURE(VIRTIO_F_RING_PACKED) : 0));
        exchange(device, 0, 4, 100);
        driver_close(device);
    }
    assert_true(harness_wait(harness, harness_disconnected, TIMEOUT_MS));
    assert_int_equal(harness_fd_count(), fds);
    assert_int_equal(harness_map_count(), maps);
    struct vhost_backend_state state = harness_state(harness);
    assert_int_equal(state.connects, 1000);
    assert_int_equal(state.protocol_errors, 0);
    assert_int_equal(harness_log_count(harness, LOG_WARNING), 0);
    harness_stop(harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_mergeable),
        cmocka_unit_test(test_indirect),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_prepared),
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_switch_restarts),
        cmocka_unit_test(test_thousand_connects),
    };
    vhost_backend_process_init(); /* before descriptors are counted */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
