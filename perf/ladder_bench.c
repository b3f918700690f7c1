/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rings alone cost, both guests' memory warm in this core's cache: taking 64 frames from one guest's
 * split ring, writing them to another's, giving the descriptors back. What a switch with guests on other
 * cores takes beyond this and program_bench is the travel of cache lines between cores.
 *
 * Cycles a packet, median of many batches. --json: one object a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tsc.h"
#include "vring_guest.h"

#define RING    256u
#define BATCH   64u
#define BATCHES 4000u

enum { WALK, TRANSMIT, DONE, COPY, STEPS };

struct side {
    struct guest *guest;
    uint16_t index; /* published */
};

static struct side side_new(bool receives, uint32_t size)
{
    uint32_t stride = (size + VIRTIO_NET_HEADER_SIZE + 4095) / 4096 * 4096;
    struct guest_setup setup = {
        .receives = receives,
        .size = RING,
        .without = VRING_F_EVENT_IDX,
        .memory = GUEST_TABLES + RING * stride + 4096,
    };
    struct side side = {.guest = guest_new(&setup)};
    for (unsigned i = 0; i < RING; i++) {
        guest_desc(side.guest, i, GUEST_BASE + GUEST_TABLES + (uint64_t)i * stride,
                   size + VIRTIO_NET_HEADER_SIZE, receives ? 0 : 2 /* VIRTQ_DESC_F_WRITE */, 0);
        guest_set16(side.guest->driver + 4 + 2 * i, (uint16_t)i);
    }
    guest_set16(side.guest->driver, 1); /* VIRTQ_AVAIL_F_NO_INTERRUPT */
    memset(guest_at(side.guest, GUEST_BASE + GUEST_TABLES), 0, (size_t)RING * stride);
    return side;
}

static void publish(struct side *side)
{
    side->index = (uint16_t)(side->index + BATCH);
    guest_set16(side->guest->driver + 2, side->index);
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double median(uint64_t *values)
{
    qsort(values, BATCHES, sizeof(values[0]), compare);
    return (double)values[BATCHES / 2] / BATCH;
}

static bool measure(uint32_t size, bool json)
{
    static uint64_t cycles[STEPS][BATCHES];
    struct side from = side_new(true, size), to = side_new(false, size);
    struct packet_vector *vector = vector_new();
    struct notifier *notifier = notifier_new();
    struct packet *packets[BATCH];
    bool good = from.guest && to.guest && vector && notifier;
    for (unsigned i = 0; i < BATCHES && good; i++) {
        struct vring_tx_result result = {0};
        publish(&from);
        publish(&to);
        uint64_t start = tsc_now();
        unsigned count = vring_rx(from.guest->ring, vector);
        uint64_t walked = tsc_now();
        for (unsigned p = 0; p < count; p++)
            packets[p] = &vector->packets[p];
        uint64_t ready = tsc_now();
        vring_tx(to.guest->ring, packets, count, notifier, &result);
        uint64_t sent = tsc_now();
        vring_rx_done(from.guest->ring, notifier);
        uint64_t done = tsc_now();
        for (unsigned p = 0; p < BATCH; p++) {
            size_t at = GUEST_TABLES + (size_t)((i * BATCH + RING / 2 + p) % RING) *
                                           ((size + VIRTIO_NET_HEADER_SIZE + 4095) / 4096 * 4096);
            memcpy(guest_at(to.guest, GUEST_BASE + at), guest_at(from.guest, GUEST_BASE + at), size);
        }
        cycles[WALK][i] = walked - start;
        cycles[TRANSMIT][i] = sent - ready;
        cycles[DONE][i] = done - sent;
        cycles[COPY][i] = tsc_now() - done;
        good = count == BATCH && result.sent == BATCH;
    }
    if (good && json)
        printf("{\"size\":%u,\"walk\":%.1f,\"transmit\":%.1f,\"done\":%.1f,\"memcpy\":%.1f}\n", size,
               median(cycles[WALK]), median(cycles[TRANSMIT]), median(cycles[DONE]), median(cycles[COPY]));
    else if (good)
        printf("%5u B  take %7.1f  write %7.1f  give back %5.1f   (memcpy alone %7.1f) cycles/packet\n", size,
               median(cycles[WALK]), median(cycles[TRANSMIT]), median(cycles[DONE]), median(cycles[COPY]));
    notifier_free(notifier);
    free(vector);
    guest_free(from.guest);
    guest_free(to.guest);
    return good;
}

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {60, 508, 1514, 64000};
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (!measure(sizes[i], json)) {
            fprintf(stderr, "ladder_bench: the rings did not take %u frames of %u B\n", BATCH, sizes[i]);
            return 1;
        }
    return 0;
}
