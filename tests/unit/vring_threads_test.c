/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Three workers write one ring of a guest that reads it meanwhile; the control thread holds and releases the
 * ring. Each frame arrives whole, once, and a worker's frames in its order. (Run it under -Dsanitize=thread
 * as well: guest and device have different mappings of the memory, so what is reported there is ours.)
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "vring_guest.h"

#define BUFFERS (GUEST_BASE + GUEST_TABLES)
#define WORKERS 3u
#define FRAMES  20000u /* a worker */
#define BURST   16u

struct worker {
    struct vring *ring;
    unsigned number;
    pthread_t thread;
};

static atomic_uint workers_running;

/* Frame `sequence` of a worker: its length and all of its bytes follow from both numbers. */
static uint32_t make_frame(uint8_t *frame, unsigned worker, unsigned sequence)
{
    uint32_t size = 64 + (sequence * 37 + worker * 11) % 400;
    memset(frame, (int)(sequence * 5 + worker), size);
    memcpy(frame, &worker, 4);
    memcpy(frame + 4, &sequence, 4);
    return size;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct notifier *notifier = notifier_new();
    struct packet *packets[BURST];
    static _Thread_local uint8_t frames[BURST][512];
    for (unsigned sequence = 0; sequence < FRAMES;) {
        struct vring_tx_result result;
        unsigned count = FRAMES - sequence < BURST ? FRAMES - sequence : BURST;
        for (unsigned i = 0; i < count; i++)
            packets[i] = packet_make(frames[i], make_frame(frames[i], worker->number, sequence + i), 128, 1);
        vring_tx(worker->ring, packets, count, notifier, &result);
        sequence += result.sent;
        for (unsigned i = 0; i < count; i++)
            packet_free(packets[i]);
        notifier_flush(notifier);
        if (result.sent == 0)
            sched_yield();
    }
    notifier_free(notifier);
    atomic_fetch_sub(&workers_running, 1);
    return NULL;
}

static void *control(void *argument)
{
    struct vring *ring = argument;
    while (atomic_load(&workers_running) > 0) {
        vring_hold(ring);
        sched_yield();
        vring_release(ring);
        for (unsigned i = 0; i < 50; i++)
            sched_yield();
    }
    return NULL;
}

static void run(bool packed)
{
    struct guest *guest = guest_new(
        &(struct guest_setup){.packed = packed, .shared = true, .size = 64, .base = packed ? 0x8000 : 0});
    struct worker workers[WORKERS];
    unsigned expected[WORKERS] = {0}, received = 0;
    uint64_t address[65536];
    pthread_t controller;
    for (unsigned i = 0; i < 64; i++) {
        struct guest_piece piece = {BUFFERS + 1024ull * i, 1024, true};
        address[guest_add(guest, &piece, 1, GUEST_DIRECT)] = piece.address;
    }
    guest_publish(guest);
    atomic_store(&workers_running, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.ring = guest->ring, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    assert_int_equal(pthread_create(&controller, NULL, control, guest->ring), 0);
    while (received < WORKERS * FRAMES) {
        uint16_t id;
        uint32_t size, number;
        uint8_t frame[512];
        if (!guest_used(guest, &id, &size)) {
            sched_yield();
            continue;
        }
        const uint8_t *bytes = guest_at(guest, address[id]) + VIRTIO_NET_HEADER_SIZE;
        memcpy(&number, bytes, 4);
        assert_in_range(number, 0, WORKERS - 1);
        assert_int_equal(make_frame(frame, number, expected[number]++) + VIRTIO_NET_HEADER_SIZE, size);
        assert_memory_equal(bytes, frame, size - VIRTIO_NET_HEADER_SIZE);
        received++;
        struct guest_piece piece = {address[id], 1024, true};
        uint64_t at = piece.address;
        address[guest_add(guest, &piece, 1, GUEST_DIRECT)] = at;
        guest_publish(guest);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_join(controller, NULL);
    assert_int_equal(vring_broken(guest->ring), VRING_ERROR_NONE);
    guest_free(guest);
}

static void test_split(void **state)
{
    run(false);
}

static void test_packed(void **state)
{
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_split), cmocka_unit_test(test_packed)};
    return cmocka_run_group_tests_name("vring_threads", tests, NULL, NULL);
}
