/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver's rings after the switch died at any point: positions and descriptors that the next one finds.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "driver_private.h"
#include "harness.h"

#define FEATURE(bit) (1ull << (bit))
#define TIMEOUT_MS   60000
#define BASIC        FEATURE(VIRTIO_F_VERSION_1)
#define PACKED       (BASIC | FEATURE(VIRTIO_F_RING_PACKED))

static char path[108];

/* A device whose switch is gone: nobody touches its rings but us. */
static struct driver_device *orphan(uint64_t features, uint16_t size, unsigned frames_before)
{
    harness_path(path, sizeof(path));
    struct vhost_backend_config backend = {.path = path, .queue_pairs = 1, .socket_group = (gid_t)-1};
    struct driver_config config = {.path = path,
                                   .queue_pairs = 1,
                                   .ring_size = size,
                                   .buffer_size = 256,
                                   .features = features,
                                   .timeout_ms = TIMEOUT_MS};
    struct harness *harness = harness_start(&backend);
    struct driver_device *device = driver_open(&config);
    assert_non_null(device);
    struct driver_queue *queue = driver_tx_queue(device, 0);
    struct virtio_net_header header = {0};
    uint8_t frame[64] = {0};
    for (unsigned i = 0; i < frames_before;) {
        int result = driver_transmit(queue, &header, frame, sizeof(frame));
        assert_true(result == 0 || result == -EAGAIN);
        i += result == 0;
        driver_kick(queue);
    }
    while (driver_in_flight(queue) > 0)
        driver_kick(queue);
    harness_stop(harness);
    return device;
}

static void post(struct driver_queue *queue, uint32_t size)
{
    struct virtio_net_header header = {0};
    uint8_t frame[2048] = {0};
    assert_int_equal(driver_transmit(queue, &header, frame, size), 0);
}

static uint16_t lap(const struct driver_queue *queue)
{
    return queue->next_wrap ? DESC_F_AVAIL : DESC_F_USED;
}

/* As the device does: both flags equal to its wrap counter. */
static void mark_used(struct driver_queue *queue, unsigned slot, uint16_t id, bool wrap)
{
    struct packed_descriptor *desc = queue->desc;
    desc[slot].size = 0;
    desc[slot].id = id;
    desc[slot].flags = wrap ? DESC_F_AVAIL | DESC_F_USED : 0;
}

static void test_packed_half_published(void **state)
{
    struct driver_device *device = orphan(PACKED, 16, 5);
    struct driver_queue *queue = driver_tx_queue(device, 0);
    struct packed_descriptor *desc = queue->desc;
    struct vhost_frontend_ring ring = {0};
    for (unsigned i = 0; i < 4; i++)
        post(queue, 60);
    /* It gave back the first, and wrote the third and fourth of a batch that it never published. */
    mark_used(queue, 5, 5, true);
    mark_used(queue, 7, 7, true);
    mark_used(queue, 8, 8, true);
    driver_packed_position(queue, &ring);
    assert_int_equal(ring.base, 6 | 0x8000);
    assert_int_equal(ring.base_used, 6 | 0x8000);
    for (unsigned slot = 6; slot <= 8; slot++) {
        assert_int_equal(desc[slot].flags & (DESC_F_AVAIL | DESC_F_USED), DESC_F_AVAIL);
        assert_int_equal(desc[slot].id, slot);
        assert_int_equal(desc[slot].size, VIRTIO_NET_HEADER_SIZE + 60);
        assert_int_equal(desc[slot].address, driver_buffer_address(queue, slot));
    }
    assert_int_equal(driver_in_flight(queue), 3);
    driver_close(device);
}

static void test_packed_over_the_wrap(void **state)
{
    struct driver_device *device = orphan(PACKED, 16, 14);
    struct driver_queue *queue = driver_tx_queue(device, 0);
    struct vhost_frontend_ring ring = {0};
    for (unsigned i = 0; i < 4; i++)
        post(queue, 60);
    assert_int_equal(queue->next, 2);
    assert_int_equal(lap(queue), DESC_F_USED);
    driver_packed_position(queue, &ring);
    assert_int_equal(ring.base, 14 | 0x8000);
    mark_used(queue, 14, 14, true);
    mark_used(queue, 15, 15, true);
    mark_used(queue, 0, 0, false);
    driver_packed_position(queue, &ring);
    assert_int_equal(ring.base, 1);
    assert_int_equal(driver_in_flight(queue), 1);
    driver_close(device);
}

/* A chain comes back as one used descriptor for its first slot. */
static void test_packed_chain(void **state)
{
    struct driver_device *device = orphan(PACKED, 16, 0);
    struct driver_queue *queue = driver_tx_queue(device, 0);
    struct vhost_frontend_ring ring = {0};
    post(queue, 700); /* three buffers of 256 */
    post(queue, 60);
    assert_int_equal(queue->next, 4);
    mark_used(queue, 0, 0, true);
    driver_packed_position(queue, &ring);
    assert_int_equal(ring.base, 3 | 0x8000);
    assert_int_equal(driver_in_flight(queue), 1);
    driver_close(device);
}

/* With IN_ORDER one used descriptor may stand for a batch. */
static void test_packed_in_order_batch(void **state)
{
    struct driver_device *device = orphan(PACKED | FEATURE(VIRTIO_F_IN_ORDER), 16, 0);
    struct driver_queue *queue = driver_tx_queue(device, 0);
    struct vhost_frontend_ring ring = {0};
    for (unsigned i = 0; i < 8; i++)
        post(queue, 60);
    mark_used(queue, 0, 5, true);
    driver_packed_position(queue, &ring);
    assert_int_equal(ring.base, 6 | 0x8000);
    assert_int_equal(driver_in_flight(queue), 2);
    driver_close(device);
}

static void test_packed_receive_ring(void **state)
{
    struct driver_device *device = orphan(PACKED, 16, 0);
    struct driver_queue *queue = driver_rx_queue(device, 0);
    struct packed_descriptor *desc = queue->desc;
    struct vhost_frontend_ring ring = {0};
    mark_used(queue, 0, 0, true);
    mark_used(queue, 2, 2, true); /* not published */
    driver_packed_position(queue, &ring);
    assert_int_equal(ring.base, 1 | 0x8000);
    assert_int_equal(desc[2].flags, DESC_F_AVAIL | DESC_F_WRITE);
    assert_int_equal(desc[2].size, 256);
    driver_close(device);
}

static void test_split_positions(void **state)
{
    struct driver_device *device = orphan(BASIC, 16, 21);
    struct driver_queue *queue = driver_tx_queue(device, 0);
    struct vhost_frontend_ring ring = {0};
    for (unsigned i = 0; i < 5; i++)
        post(queue, 60);
    assert_int_equal(queue->avail_index, 26);
    driver_split_position(queue, &ring);
    assert_int_equal(ring.base, 21);
    queue->used->index = 23;
    driver_split_position(queue, &ring);
    assert_int_equal(ring.base, 23);
    assert_int_equal(driver_in_flight(queue), 3);
    driver_close(device);
}

/* Nothing more is taken than there is room for, and all of it comes free again. */
static void full_ring(uint64_t features)
{
    struct driver_device *device = orphan(features, 16, 3);
    struct driver_queue *queue = driver_tx_queue(device, 0);
    struct virtio_net_header header = {0};
    uint8_t frame[8192] = {0};
    assert_int_equal(driver_transmit(queue, &header, frame, 16 * 256), -EMSGSIZE);
    for (unsigned i = 0; i < 16; i++)
        post(queue, 60);
    assert_int_equal(driver_transmit(queue, &header, frame, 60), -EAGAIN);
    assert_int_equal(driver_prepare(queue, (uint32_t[16]){0}), -EBUSY);
    vhost_frontend_close(device->frontend);
    device->frontend = NULL;
    struct vhost_backend_config backend = {.path = path, .queue_pairs = 1, .socket_group = (gid_t)-1};
    struct harness *harness = harness_start(&backend);
    assert_int_equal(driver_reconnect(device), 0);
    while (driver_in_flight(queue) > 0)
        driver_kick(queue);
    assert_int_equal(queue->free_slots, 16);
    assert_int_equal(queue->free_buffers, 16);
    driver_close(device);
    harness_stop(harness);
}

static void test_full_ring(void **state)
{
    full_ring(BASIC);
    full_ring(PACKED);
}

static void test_bad_config(void **state)
{
    struct driver_config config = {.path = "/tmp/weft-no-such-socket",
                                   .queue_pairs = 1,
                                   .ring_size = 64,
                                   .buffer_size = 2048,
                                   .features = BASIC,
                                   .timeout_ms = 100};
    assert_null(driver_open(&config));
    assert_int_equal(errno, ENOENT);
    config.ring_size = 100;
    assert_null(driver_open(&config));
    assert_int_equal(errno, EINVAL);
    config.ring_size = 64;
    config.buffer_size = 20;
    assert_null(driver_open(&config));
    assert_int_equal(errno, EINVAL);
    config.buffer_size = 2048;
    config.queue_pairs = 0;
    assert_null(driver_open(&config));
    assert_int_equal(errno, EINVAL);
    driver_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_half_published),
        cmocka_unit_test(test_packed_over_the_wrap),
        cmocka_unit_test(test_packed_chain),
        cmocka_unit_test(test_packed_in_order_batch),
        cmocka_unit_test(test_packed_receive_ring),
        cmocka_unit_test(test_split_positions),
        cmocka_unit_test(test_full_ring),
        cmocka_unit_test(test_bad_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
