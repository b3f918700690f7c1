/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft-natload: guests and servers on the two sides of a device that translates addresses. See usage().
 *
 * Established flows: every flow is opened by a guest's frame and answered by its server at the address the
 * device gave it; then both sides send as fast as they can. With as many flows as a ring has buffers each
 * buffer is a flow and is only published again; with others the bytes that differ are rewritten before each
 * publication. New sessions: each frame is the first of its flow, until all have been sent or time is up.
 *
 * What arrives is counted at either side. Frames are given back unread but for one in about a thousand,
 * whose addresses and checksums are looked at.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>
#include "host.h"
#include "nat_flows.h"
#include "nat_port.h"

#define LOOK_EVERY 1024u /* frames */
#define LEARN_NS   20000000000u
#define DRAIN_NS   20000000u
#define WARM_FLOWS NAT_PORT_BUFFERS /* opened before new sessions are counted: the device is awake */
#define WARM_NS    50000000u
#define IDLE_SPINS 16u

struct side {
    struct nat_port *port;
    const struct nat_tuple *tuples; /* of what this side sends */
    uint32_t next, end;             /* flow */
    uint64_t published, unseen;
};

struct load {
    struct nat_flows flows;
    struct side sides[2]; /* guests, servers */
    bool fresh;           /* new sessions */
    double seconds;
    uint64_t rounds, full_rounds, own_cycles;
    uint64_t verified, corrupt, foreign;
};

static void usage(FILE *out)
{
    fputs("usage: weft-natload [options] INSIDE OUTSIDE\n"
          "Guests at INSIDE and servers at OUTSIDE of a device that translates addresses; each is a "
          "vhost-user\n"
          "socket or an interface. JSON on standard output.\n"
          "  --flows N     established flows, sending both ways (1024)\n"
          "  --new N       instead: up to N new sessions, one frame each\n"
          "  --seconds S   length of the run (1)\n"
          "  --core N      run on this CPU\n",
          out);
}

/* Takes what has arrived and looks at it. How many frames. */
static unsigned look(struct load *load, unsigned index)
{
    const uint8_t *frames[NAT_PORT_BATCH];
    uint32_t sizes[NAT_PORT_BATCH];
    struct nat_port *port = load->sides[index].port;
    unsigned count = nat_port_collect(port, frames, sizes);
    for (unsigned i = 0; i < count; i++) {
        enum nat_verdict verdict = index ? nat_flows_at_far(&load->flows, frames[i], sizes[i])
                                         : nat_flows_at_guest(&load->flows, frames[i], sizes[i]);
        load->verified++;
        load->corrupt += verdict == NAT_FRAME_WRONG;
        load->foreign += verdict == NAT_FRAME_FOREIGN;
    }
    nat_port_recycle(port);
    return count;
}

/* Writes the next `count` buffers. */
static void vary(struct side *side, unsigned count)
{
    unsigned buffer = nat_port_next(side->port);
    for (unsigned i = 0; i < count; i++) {
        uint32_t flow = side->next++;
        nat_flows_write(nat_port_buffer(side->port, buffer), &side->tuples[flow], flow);
        buffer = (buffer + 1) % NAT_PORT_BUFFERS;
    }
}

/* Publishes up to a batch; fewer where there is no room. False: there was none at all. */
static bool send_batch(struct load *load, struct side *side, bool rewrite)
{
    uint32_t left = side->end - side->next;
    unsigned count = nat_port_room(side->port);
    load->rounds++;
    load->full_rounds += count < NAT_PORT_BATCH;
    count = count < NAT_PORT_BATCH ? count : NAT_PORT_BATCH;
    if (rewrite)
        count = count < left ? count : left;
    if (count == 0)
        return false;
    if (rewrite)
        vary(side, count);
    side->published += nat_port_publish(side->port, count);
    return true;
}

static bool receive(struct load *load, unsigned index)
{
    struct side *side = &load->sides[index];
    unsigned count;
    if (side->unseen >= LOOK_EVERY || nat_port_drops(side->port)) {
        side->unseen = 0;
        count = look(load, index);
    } else {
        count = nat_port_skip(side->port);
        side->unseen += count;
    }
    return count > 0;
}

/* Opens the flows up to `count`: until the far end knows them all. 0 or -errno. */
static int learn(struct load *load, uint32_t count)
{
    struct side *guests = &load->sides[0];
    uint64_t start = now_ns();
    while (load->flows.known < count && now_ns() - start < LEARN_NS) {
        for (uint32_t i = 0; i < count; i++) {
            if (load->flows.back[i].addresses[1])
                continue;
            guests->next = i;
            guests->end = i + 1;
            while (!send_batch(load, guests, true))
                look(load, 1);
            look(load, 1);
        }
        for (uint64_t last = now_ns(); now_ns() - last < DRAIN_NS;)
            if (look(load, 1))
                last = now_ns();
    }
    return load->flows.known < count ? -ETIMEDOUT : 0;
}

static void drain(struct load *load)
{
    for (uint64_t start = now_ns(), last = start;
         now_ns() - last < DRAIN_NS && now_ns() - start < 2000000000u;)
        for (unsigned i = 0; i < 2; i++)
            if (receive(load, i) || nat_port_in_flight(load->sides[1 - i].port))
                last = now_ns();
}

/* Sends and receives until time is up, or all flows have been sent once. Seconds. */
static double run(struct load *load, uint64_t length, bool rewrite)
{
    unsigned senders = load->fresh ? 1 : 2;
    uint64_t start = now_ns(), now = start;
    while (now - start < length) {
        uint64_t before = __rdtsc();
        bool any = false;
        for (unsigned i = 0; i < senders; i++) {
            struct side *side = &load->sides[i];
            if (rewrite && side->next == side->end && !load->fresh)
                side->next = 0;
            any |= send_batch(load, side, rewrite);
        }
        for (unsigned i = 0; i < 2; i++)
            any |= receive(load, i);
        if (any)
            load->own_cycles += __rdtsc() - before;
        for (unsigned i = 0; !any && i < IDLE_SPINS; i++)
            _mm_pause(); /* the rings' lines are the device's to write */
        now = now_ns();
        if (load->fresh && load->sides[0].next == load->sides[0].end &&
            !nat_port_in_flight(load->sides[0].port))
            break;
    }
    return (double)(now - start) / 1e9;
}

static int prepare(struct load *load, char *const names[2])
{
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &load->sides[i];
        side->tuples = i ? load->flows.back : load->flows.out;
        side->port = nat_port_open(names[i]);
        if (!side->port)
            return fprintf(stderr, "weft-natload: %s: %s\n", names[i], strerror(errno)), -errno;
        for (unsigned j = 0; j < NAT_PORT_BUFFERS; j++)
            nat_flows_build(nat_port_buffer(side->port, j), i == 1);
        int status = nat_port_prepare(side->port);
        if (status)
            return fprintf(stderr, "weft-natload: %s: %s\n", names[i], strerror(-status)), status;
    }
    return 0;
}

/* Flows are open, buffers hold what the run sends, and both directions have passed. 0 or -errno. */
static int warm(struct load *load, bool rewrite)
{
    uint32_t count = load->fresh ? WARM_FLOWS : load->flows.count;
    int status = learn(load, count);
    if (status) {
        fprintf(stderr, "weft-natload: %u of %u flows come through\n", load->flows.known, count);
        return status;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &load->sides[i];
        status = nat_port_sample(side->port);
        if (status)
            return fprintf(stderr, "weft-natload: sampling: %s\n", strerror(-status)), status;
        side->next = load->fresh ? WARM_FLOWS : 0;
        side->end = load->flows.count;
        for (unsigned j = 0; !load->fresh && j < NAT_PORT_BUFFERS; j++)
            nat_flows_write(nat_port_buffer(side->port, j), &side->tuples[j % load->flows.count],
                            j % load->flows.count);
    }
    if (!load->fresh)
        run(load, WARM_NS, rewrite);
    drain(load);
    return 0;
}

static void print(const struct load *load, double seconds, const uint64_t received[2])
{
    uint64_t offered = 0, total = received[0] + received[1];
    for (unsigned i = 0; i < 2; i++)
        offered += load->sides[i].published - nat_port_in_flight(load->sides[i].port);
    double loss = offered > total ? (double)(offered - total) / (double)offered : 0;
    double full = load->rounds ? (double)load->full_rounds / (double)load->rounds : 0;
    bool limit = nat_port_drops(load->sides[0].port) ? loss > 0.01 : full > 0.5;
    json_t *object = json_pack(
        "{s:s, s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:s, s:I, s:I, s:I}", "schema",
        "weft.load.v1", "seconds", seconds, "offered", (json_int_t)offered, "received", (json_int_t)total,
        "received_outside", (json_int_t)received[1], "received_inside", (json_int_t)received[0], "loss", loss,
        "mpps", (double)total / seconds / 1e6, "gbps", (double)total * NAT_PORT_FRAME * 8 / seconds / 1e9,
        "ring_full", full, "own_cycles_per_packet", (double)load->own_cycles / (double)(total ? total : 1),
        "limit", limit ? "switch" : "generator", "verified", (json_int_t)load->verified, "corrupt",
        (json_int_t)load->corrupt, "foreign", (json_int_t)load->foreign);
    json_dumpf(object, stdout, JSON_REAL_PRECISION(8) | JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

static int measure(struct load *load, uint32_t count, char *const names[2])
{
    uint64_t received[2];
    bool rewrite = load->fresh || count != NAT_PORT_BUFFERS;
    int status = nat_flows_new(&load->flows, load->fresh ? count + WARM_FLOWS : count);
    if (status)
        return fprintf(stderr, "weft-natload: %u flows: %s\n", count, strerror(-status)), status;
    status = prepare(load, names);
    if (status == 0)
        status = warm(load, rewrite);
    if (status)
        return status;
    load->rounds = load->full_rounds = load->own_cycles = load->verified = 0;
    for (unsigned i = 0; i < 2; i++) {
        received[i] = nat_port_received(load->sides[i].port);
        load->sides[i].published = 0;
        load->sides[i].unseen = LOOK_EVERY;
    }
    double seconds = run(load, (uint64_t)(load->seconds * 1e9), rewrite);
    drain(load);
    for (unsigned i = 0; i < 2; i++)
        received[i] = nat_port_received(load->sides[i].port) - received[i];
    print(load, seconds, received);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"flows", required_argument, NULL, 'f'},   {"new", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'}, {"core", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct load load = {.seconds = 1};
    uint32_t count = NAT_PORT_BUFFERS;
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h')
            return usage(stdout), 0;
        if (option == '?')
            return usage(stderr), 2;
        if (option == 's')
            load.seconds = strtod(optarg, NULL);
        else if (option == 'c' && pin((unsigned)strtoul(optarg, NULL, 10)))
            return fprintf(stderr, "weft-natload: no CPU %s here\n", optarg), 1;
        else if (option != 'c')
            count = (uint32_t)strtoul(optarg, NULL, 10);
        load.fresh |= option == 'n';
    }
    if (argc - optind != 2)
        return usage(stderr), 2;
    int status = measure(&load, count, argv + optind);
    for (unsigned i = 0; i < 2; i++)
        nat_port_close(load.sides[i].port);
    nat_flows_free(&load.flows);
    return status ? 1 : 0;
}
