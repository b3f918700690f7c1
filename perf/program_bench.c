/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the L2 program alone costs: classify, learn, look up, output, on ports in memory whose rx and tx do
 * nothing. Addresses are drawn at random, half of them stations of the ingress port, half of the output port.
 *
 * Prints cycles a packet for batches of 64 and 8, best and median of many stretches, so that other load on
 * the machine can be told from the program's cost. --json: one object a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "switch_fixture.h"
#include "tsc.h"

#define STRETCH   512u /* batches timed together */
#define STRETCHES 400u

static uint64_t random_state = 88172645463325252u;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 32) * bound >> 32);
}

static void write_address(uint8_t *at, uint8_t kind, uint32_t number)
{
    const uint8_t mac[6] = {2, kind, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
    memcpy(at, mac, sizeof(mac));
}

/* As a port's rx would: the frames' private headers, and the packets' fields. */
static void receive(struct packet_vector *vector, unsigned count, uint32_t stations)
{
    packet_vector_reset(vector);
    for (unsigned i = 0; i < count; i++) {
        struct packet *packet = &vector->packets[i];
        packet->data = packet->buffer + PACKET_HEADROOM;
        packet->size = 64;
        packet->header_size = 64;
        packet->span_count = 0;
        write_address(packet->data, 0xb, random_below(stations));
        write_address(packet->data + 6, 0xa, random_below(stations));
        packet->data[12] = 0x08;
        packet->data[13] = 0x00;
    }
    vector->count = count;
}

static void learn_stations(struct fixture *fixture, struct ingress *a, struct ingress *b, uint32_t stations)
{
    for (unsigned turn = 0; turn < 2; turn++)
        for (uint32_t i = 0; i < stations; i++) {
            receive(fixture->vector, 1, 1);
            write_address(fixture->vector->packets[0].data, 0xc, 0);
            write_address(fixture->vector->packets[0].data + 6, turn ? 0xa : 0xb, i);
            fixture_run(fixture, turn ? a : b);
            if (i % 1024 == 0)
                fdb_maintain(fixture->fdb, fixture->program->now_s);
        }
    fdb_maintain(fixture->fdb, fixture->program->now_s);
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void measure(struct fixture *fixture, struct ingress *a, uint32_t stations, unsigned batch, bool json)
{
    static uint64_t cycles[STRETCHES];
    for (unsigned stretch = 0; stretch < STRETCHES; stretch++) {
        cycles[stretch] = 0;
        for (unsigned i = 0; i < STRETCH; i++) {
            receive(fixture->vector, batch, stations);
            uint64_t before = tsc_now();
            fixture_run(fixture, a);
            cycles[stretch] += tsc_now() - before;
        }
    }
    qsort(cycles, STRETCHES, sizeof(cycles[0]), compare);
    double packets = (double)STRETCH * batch;
    if (json)
        printf("{\"macs\":%u,\"batch\":%u,\"best\":%.1f,\"median\":%.1f}\n", 2 * stations, batch,
               (double)cycles[0] / packets, (double)cycles[STRETCHES / 2] / packets);
    else
        printf("%8u MACs  batch %2u  best %6.1f  median %6.1f cycles/packet\n", 2 * stations, batch,
               (double)cycles[0] / packets, (double)cycles[STRETCHES / 2] / packets);
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    static const uint32_t stations[] = {1, 5000, 500000};
    for (unsigned i = 0; i < sizeof(stations) / sizeof(stations[0]); i++) {
        struct fixture *fixture = fixture_new(1100000);
        struct bridge *bridge = fixture_bridge(fixture, 1, 1);
        struct ingress *a = fixture_port(fixture, 1, 1, 0), *b = fixture_port(fixture, 2, 1, 0);
        fixture_member(bridge, a, 0);
        fixture_member(bridge, b, 0);
        fake_of(a)->keeps = fake_of(b)->keeps = false;
        learn_stations(fixture, a, b, stations[i]);
        fixture->vector->count = 0;
        fake_of(b)->room = UINT32_MAX;
        measure(fixture, a, stations[i], 64, json);
        fake_of(b)->room = UINT32_MAX;
        measure(fixture, a, stations[i], 8, json);
        if (rx_flooded(a) > stations[i])
            fprintf(stderr, "  %lu frames flooded: not what was to be measured\n",
                    (unsigned long)rx_flooded(a) - stations[i]);
        fixture_free(fixture);
    }
    return 0;
}
