/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rings alone cost: vring_rx, vring_tx, and both with nothing in between, on rings in this process
 * whose driver side is done outside the measured stretches. Split and packed, small and large frames, one
 * descriptor a frame.
 *
 *   vring_bench [STRETCHES [DRIVER-CPU]]
 *
 * With DRIVER-CPU the driver's work (writing the frames, reading the received ones, refilling the rings) is
 * done by a thread on that processor, so that the device finds every line in another core's cache, as it does
 * with a real guest. The two take turns: the driver waits while the device is measured.
 *
 * Prints cycles (of the time stamp counter) a packet, best and median of the stretches: other load on the
 * machine spoils some of them, not the best. For a comparison run two builds alternately.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "host.h"
#include "memory.h"
#include "vring.h"
#include "vring_config.h"

#define RING_SIZE   256u
#define BUFFER_SIZE 2048u
#define AREA        16384u
#define GUEST_BASE  0x100000000ull

static inline uint64_t cycles(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
    return low | (uint64_t)high << 32;
}

/* A ring whose descriptors are built once. */
struct bench_ring {
    bool packed;
    struct vring *ring;
    struct memory_table *table;
    uint8_t *bytes;
    bool wrap;
    uint16_t index;
    uint16_t flags;
    uint32_t length; /* of each descriptor */
};

static void ring_new(struct bench_ring *bench, bool packed, bool receives, uint32_t frame)
{
    uint64_t size = 3 * AREA + RING_SIZE * BUFFER_SIZE;
    int fd = memfd_create("vring_bench", MFD_CLOEXEC);
    const struct memory_region_config region = {GUEST_BASE, size, GUEST_BASE, 0, fd};
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || memory_table_add(NULL, &region, 1, &bench->table) < 0)
        exit(1);
    close(fd);
    bench->packed = packed;
    bench->bytes = bench->table->regions[0].host;
    bench->wrap = true;
    bench->index = 0;
    bench->flags = receives ? 0 : 2;
    bench->length = receives ? frame + VIRTIO_NET_HEADER_SIZE : BUFFER_SIZE;
    for (unsigned i = 0; i < RING_SIZE; i++) {
        uint64_t offset = 3 * AREA + (uint64_t)i * BUFFER_SIZE, address = GUEST_BASE + offset;
        uint16_t head = (uint16_t)i;
        memset(bench->bytes + offset, 0, BUFFER_SIZE);
        memcpy(bench->bytes + 16 * i, &address, 8);
        memcpy(bench->bytes + 16 * i + 8, &bench->length, 4);
        memcpy(bench->bytes + 16 * i + 12, packed ? &head : &bench->flags, 2);
        memcpy(bench->bytes + AREA + 4 + 2 * i, &head, 2);
    }
    bench->ring = vring_new(receives, false);
    const struct vring_config config = {.size = RING_SIZE,
                                        .features = VRING_F_VERSION_1 | (packed ? VRING_F_RING_PACKED : 0),
                                        .memory = bench->table,
                                        .desc = bench->bytes,
                                        .driver = bench->bytes + AREA,
                                        .device = bench->bytes + 2 * AREA,
                                        .base = packed ? 0x8000 : 0,
                                        .base_used = packed ? 0x8000 : 0,
                                        .call_fd = -1};
    if (packed)
        memset(bench->bytes + AREA, 0, 4);
    if (!bench->ring || vring_start(bench->ring, &config) < 0)
        exit(1);
    vring_set_enabled(bench->ring, true);
}

static void ring_free(struct bench_ring *bench)
{
    vring_free(bench->ring);
    memory_table_free(bench->table);
}

/* The driver makes all of the ring available again. */
static void refill(struct bench_ring *bench)
{
    if (!bench->packed) {
        bench->index = (uint16_t)(bench->index + RING_SIZE);
        __atomic_store_n((uint16_t *)(void *)(bench->bytes + AREA + 2), bench->index, __ATOMIC_RELEASE);
        return;
    }
    for (unsigned i = 0; i < RING_SIZE; i++) {
        uint16_t flags = bench->flags | (bench->wrap ? 0x80 : 0x8000), id = (uint16_t)i;
        memcpy(bench->bytes + 16 * i + 8, &bench->length, 4);
        memcpy(bench->bytes + 16 * i + 12, &id, 2);
        __atomic_store_n((uint16_t *)(void *)(bench->bytes + 16 * i + 14), flags, __ATOMIC_RELEASE);
    }
    bench->wrap = !bench->wrap;
}

static struct {
    struct bench_ring from, to;
    uint32_t frame;
    atomic_uint turn; /* even: device, odd: driver */
    atomic_bool end;
    atomic_uint sink;
} driver;

/* What a guest does between two stretches. */
static void drive(void)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < RING_SIZE; i++) {
        memset(driver.from.bytes + 3 * AREA + i * BUFFER_SIZE + VIRTIO_NET_HEADER_SIZE, (int)i, driver.frame);
        for (unsigned j = 0; j < driver.frame; j += 64)
            sum += driver.to.bytes[3 * AREA + i * BUFFER_SIZE + j];
    }
    atomic_store(&driver.sink, sum);
    refill(&driver.from);
    refill(&driver.to);
}

static void *driver_thread(void *cpu)
{
    pin(*(unsigned *)cpu);
    while (!atomic_load(&driver.end)) {
        if (!(atomic_load(&driver.turn) & 1)) {
            __builtin_ia32_pause();
            continue;
        }
        drive();
        atomic_fetch_add(&driver.turn, 1);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, bool packed, uint32_t frame, double *samples, unsigned count)
{
    qsort(samples, count, sizeof(*samples), compare);
    printf("%-8s %-7s %5u bytes   best %7.1f   median %7.1f cycles a packet\n", what,
           packed ? "packed" : "split", frame, samples[0], samples[count / 2]);
}

static void run(bool packed, uint32_t frame, unsigned stretches, bool threaded)
{
    struct packet_vector *vector = aligned_alloc(64, sizeof(*vector));
    struct packet *packets[PACKET_VECTOR_MAX];
    double *rx = calloc(stretches, sizeof(*rx)), *tx = calloc(stretches, sizeof(*tx)),
           *done = calloc(stretches, sizeof(*done)), *forward = calloc(stretches, sizeof(*forward));
    ring_new(&driver.from, packed, true, frame);
    ring_new(&driver.to, packed, false, frame);
    driver.frame = frame;
    packet_vector_init(vector);
    for (unsigned i = 0; i < PACKET_VECTOR_MAX; i++)
        packets[i] = &vector->packets[i];
    for (unsigned stretch = 0; stretch < stretches; stretch++) {
        uint64_t sum[3] = {0};
        if (threaded) {
            atomic_fetch_add(&driver.turn, 1);
            while (atomic_load(&driver.turn) & 1)
                __builtin_ia32_pause();
        } else {
            refill(&driver.from);
            refill(&driver.to);
        }
        for (unsigned batch = 0; batch < RING_SIZE / PACKET_VECTOR_MAX; batch++) {
            struct vring_tx_result result;
            uint64_t t0 = cycles();
            unsigned count = vring_rx(driver.from.ring, vector);
            uint64_t t1 = cycles();
            vring_tx(driver.to.ring, packets, count, NULL, &result);
            uint64_t t2 = cycles();
            vring_rx_done(driver.from.ring, NULL);
            uint64_t t3 = cycles();
            if (count != PACKET_VECTOR_MAX || result.sent != count)
                exit(1);
            sum[0] += t1 - t0;
            sum[1] += t2 - t1;
            sum[2] += t3 - t2;
        }
        rx[stretch] = (double)sum[0] / RING_SIZE;
        tx[stretch] = (double)sum[1] / RING_SIZE;
        done[stretch] = (double)sum[2] / RING_SIZE;
        forward[stretch] = (double)(sum[0] + sum[1] + sum[2]) / RING_SIZE;
    }
    report("rx", packed, frame, rx, stretches);
    report("tx", packed, frame, tx, stretches);
    report("rx_done", packed, frame, done, stretches);
    report("forward", packed, frame, forward, stretches);
    ring_free(&driver.from);
    ring_free(&driver.to);
    free(vector);
    free(rx);
    free(tx);
    free(done);
    free(forward);
}

int main(int argc, char **argv)
{
    static const uint32_t frames[] = {64, 512, 1518};
    unsigned stretches = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5000, cpu = 0;
    bool threaded = argc > 2;
    pthread_t thread;
    if (stretches == 0)
        return 2;
    if (threaded) {
        cpu = (unsigned)strtoul(argv[2], NULL, 10);
        pin(cpu == 0);
        if (pthread_create(&thread, NULL, driver_thread, &cpu) != 0)
            return 1;
    }
    for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
        for (int packed = 0; packed < 2; packed++)
            run(packed, frames[i], stretches, threaded);
    if (threaded) {
        atomic_store(&driver.end, true);
        pthread_join(thread, NULL);
    }
    return 0;
}
