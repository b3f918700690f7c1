/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the router costs on top of the L2 program, on ports in memory: frames of one tenant's guest to a guest
 * in another segment, out through address translation (established sessions), and as a yardstick the same
 * frames bridged. 64 flows in turn, 64 bytes.
 *
 * Prints cycles a packet, best and median of many stretches. --json: one object a line.
 */
#include <stdio.h>
#include "router_fixture.h"
#include "tsc.h"

#define STRETCH   256u /* batches timed together */
#define STRETCHES 200u

static struct flat frames[PACKET_VECTOR_MAX];

/* As a port's rx would. */
static void receive(struct packet_vector *vector)
{
    packet_vector_reset(vector);
    for (unsigned i = 0; i < PACKET_VECTOR_MAX; i++) {
        struct packet *packet = &vector->packets[i];
        packet->data = packet->buffer + PACKET_HEADROOM;
        packet->size = packet->header_size = (uint16_t)frames[i].size;
        packet->span_count = 0;
        memcpy(packet->data, frames[i].bytes, 64);
    }
    vector->count = PACKET_VECTOR_MAX;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void measure(struct lab *lab, const char *name, const char *mac, uint32_t destination, bool json)
{
    static uint64_t cycles[STRETCHES];
    for (unsigned i = 0; i < PACKET_VECTOR_MAX; i++) {
        udp_ipv4(&frames[i], mac, GUEST_1_MAC, GUEST_1, destination, 22, 64);
        set16(frames[i].bytes + 34, 1000 + i);
        set16(frames[i].bytes + 40, 0);
    }
    for (unsigned stretch = 0; stretch < STRETCHES; stretch++) {
        cycles[stretch] = 0;
        for (unsigned i = 0; i < STRETCH; i++) {
            receive(lab->fixture->vector);
            uint64_t before = tsc_now();
            fixture_run(lab->fixture, lab->guest_1);
            cycles[stretch] += tsc_now() - before;
        }
    }
    qsort(cycles, STRETCHES, sizeof(cycles[0]), compare);
    double packets = (double)STRETCH * PACKET_VECTOR_MAX;
    double best = (double)cycles[0] / packets, median = (double)cycles[STRETCHES / 2] / packets;
    printf(json ? "{\"way\":\"%s\",\"best\":%.1f,\"median\":%.1f}\n"
                : "%-10s best %6.1f  median %6.1f cycles/packet\n",
           name, best, median);
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    struct lab *lab = lab_new(0, 0, 1500);
    lab_neighbours(lab);
    lab_outside(lab, 0, 0, 1500);
    struct ingress *sinks[] = {lab->guest_1, lab->guest_2, lab->peer};
    struct ingress *other = fixture_port(lab->fixture, 5, 1, 0);
    fixture_member(lab->fixture->snapshot->bridges[10], other, 0);
    fdb_static_set(lab->fixture->fdb, 10, (const uint8_t[6]){2, 0, 0, 0, 0, 5}, 5, 0);
    for (unsigned i = 0; i < 3; i++)
        fake_of(sinks[i])->keeps = false;
    fake_of(other)->keeps = false;
    measure(lab, "bridged", "\x02\0\0\0\0\x05", GUEST_2, json);
    measure(lab, "routed", ROUTER_1_MAC, GUEST_2, json);
    measure(lab, "translated", ROUTER_1_MAC, 0x08080808, json);
    lab_free(lab);
    return 0;
}
