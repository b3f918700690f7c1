/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address translation alone: cycles a packet of established sessions (1, 10,000, a million; both directions;
 * batches of 64 with prefetch in passes, and one by one without), and new sessions a second.
 *
 * The frames are in private memory already: what is measured is what address translation adds to forwarding,
 * parsing left out. Every size has its own table. A stretch's figure is the median of its batches, so that
 * being preempted does not count; stretches are interleaved, and the best and the median of them are printed.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nat.h"
#include "objects.h"
#include "packet.h"
#include "tsc.h"

#define STRETCHES 15u
#define BATCHES   2000u /* of a stretch */
#define BATCH     64u
#define INSIDE    11u
#define OUTSIDE   1u
#define ADDRESSES 24u
#define NEW_COUNT 300000u /* sessions of a stretch of new ones */
#define TICK      250u    /* sessions that a nat_tick looks at, at least */
#define SIZES     3u

struct flow {
    uint32_t inside, mapped;
    uint16_t inside_port, mapped_port;
};

struct table {
    struct nat_context context;
    struct nat_config *config;
    uint32_t count;
    struct flow *flows;
};

struct frames {
    struct packet packets[BATCH];
    struct frame_info infos[BATCH];
    uint8_t memory[BATCH][PACKET_HEADROOM + PACKET_HEADER_MAX] __attribute__((aligned(64)));
};

static struct frames frames;
static uint64_t random_state = 88172645463325252u;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state & UINT32_MAX) * below >> 32);
}

static void quiesce(void)
{
}

static void put_object(struct objects *objects, enum dp_kind kind, const void *object)
{
    char text[OBJECT_TEXT_SIZE];
    if (objects_put(objects, kind, object, text) < 0) {
        fprintf(stderr, "%s\n", text);
        exit(1);
    }
}

static void mapped_address(uint8_t address[16], uint32_t ipv4)
{
    uint32_t order = htonl(ipv4);
    memset(address, 0, 16);
    address[10] = address[11] = 0xff;
    memcpy(address + 12, &order, 4);
}

static struct nat_config *configure(struct nat *nat)
{
    struct objects *objects = objects_new();
    struct dp_router router = {.id = 1, .name = "t"};
    put_object(objects, DP_KIND_ROUTER, &router);
    for (unsigned i = 0; i < 2; i++) {
        struct dp_interface interface = {
            .port = i ? INSIDE : OUTSIDE, .router = i, .ipv4_prefix_length = 96 + 8};
        mapped_address(interface.ipv4, i ? 0x0a000001 : 0xc00002fe);
        put_object(objects, DP_KIND_INTERFACE, &interface);
    }
    for (unsigned i = 0; i < ADDRESSES; i++) {
        struct dp_nat_address address = {.port = OUTSIDE, .port_first = 1024, .port_last = 65535};
        struct dp_nat_source source = {.port = INSIDE, .outside = OUTSIDE};
        mapped_address(address.address, 0xc0000201 + i);
        mapped_address(source.address, 0xc0000201 + i);
        put_object(objects, DP_KIND_NAT_ADDRESS, &address);
        put_object(objects, DP_KIND_NAT_SOURCE, &source);
    }
    struct nat_config *config = nat_config_new(nat, objects);
    objects_free(objects);
    return config;
}

static void frame_write(unsigned i, uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port)
{
    static const uint8_t start[26] = {2, 0,    0, 0, 0,  1, 2, 0, 0, 0,  0,  2, 8,
                                      0, 0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0};
    struct packet *packet = &frames.packets[i];
    uint8_t *bytes = frames.memory[i] + PACKET_HEADROOM;
    uint32_t addresses[2] = {htonl(from), htonl(to)};
    uint16_t ports[4] = {htons(from_port), htons(to_port), htons(26), htons(0x1234)};
    memcpy(bytes, start, sizeof(start));
    memcpy(bytes + 26, addresses, 8);
    memcpy(bytes + 34, ports, 8);
    packet->data = bytes;
    packet->buffer = frames.memory[i];
    packet->size = packet->header_size = 60;
    if (!parse_l2(packet, &frames.infos[i]) || !parse_l3(packet, &frames.infos[i]))
        abort();
}

static void flow_read(struct flow *flow, unsigned i)
{
    uint32_t address;
    uint16_t port;
    memcpy(&address, frames.packets[i].data + 26, 4);
    memcpy(&port, frames.packets[i].data + 34, 2);
    flow->mapped = ntohl(address);
    flow->mapped_port = ntohs(port);
}

#define REMOTE 0xc6336407u

static uint64_t run(struct table *table, bool outbound, bool prefetch)
{
    uint64_t hashes[BATCH], before = tsc_now();
    uint32_t port = outbound ? INSIDE : OUTSIDE;
    struct nat_outcome outcome;
    bool held;
    if (prefetch) {
        for (unsigned i = 0; i < BATCH; i++)
            hashes[i] = nat_prefetch(&table->context, port, outbound, &frames.packets[i], &frames.infos[i]);
        for (unsigned i = 0; i < BATCH; i++)
            if (!nat_prefetch_session(&table->context, hashes[i]) && outbound)
                nat_prefetch_new(&table->context, port, &frames.packets[i], &frames.infos[i], hashes[i]);
        nat_prefetch_ports(&table->context);
    }
    enum dp_drop worst = DP_DROP_COUNT;
    for (unsigned i = 0; i < BATCH; i++) {
        enum dp_drop drop =
            outbound
                ? nat_outbound(&table->context, port, &frames.packets[i], &frames.infos[i], &outcome, &held)
                : nat_inbound(&table->context, port, &frames.packets[i], &frames.infos[i], &outcome, &held);
        worst = drop < worst ? drop : worst;
    }
    uint64_t cycles = tsc_now() - before;
    if (worst != DP_DROP_COUNT) {
        fprintf(stderr, "dropped: %u\n", (unsigned)worst);
        exit(1);
    }
    return cycles;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static uint64_t batches[NEW_COUNT / BATCH + 1]; /* cycles */

static uint64_t median_packet(unsigned count)
{
    qsort(batches, count, sizeof(*batches), compare);
    return batches[count / 2] / BATCH;
}

static uint64_t established(struct table *table, bool outbound, bool prefetch)
{
    table->context.now_s++; /* the first packet of a session in this second writes it down */
    for (unsigned batch = 0; batch < BATCHES; batch++) {
        for (unsigned i = 0; i < BATCH; i++) {
            const struct flow *flow = &table->flows[rnd(table->count)];
            if (outbound)
                frame_write(i, flow->inside, flow->inside_port, REMOTE, 53);
            else
                frame_write(i, REMOTE, 53, flow->mapped, flow->mapped_port);
        }
        batches[batch] = run(table, outbound, prefetch);
    }
    return median_packet(BATCHES);
}

static void table_fill(struct table *table, uint32_t count)
{
    table->context.nat = nat_new(count + 1000000, 0, quiesce);
    table->config = configure(table->context.nat);
    table->context.config = table->config;
    table->context.now_s = 1000;
    table->count = count;
    table->flows = calloc(count, sizeof(*table->flows));
    for (uint32_t i = 0; i < count; i += BATCH) {
        unsigned some = count - i < BATCH ? count - i : BATCH;
        for (unsigned j = 0; j < BATCH; j++) {
            struct flow *flow = &table->flows[j < some ? i + j : i];
            flow->inside = 0x0a010000 + (i + j) % 4096;
            flow->inside_port = (uint16_t)(1024 + (i + j) / 4096);
            if (j >= some)
                *flow = table->flows[0];
            frame_write(j, flow->inside, flow->inside_port, REMOTE, 53);
        }
        run(table, true, false);
        for (unsigned j = 0; j < some; j++)
            flow_read(&table->flows[i + j], j);
        if (i % 8192 == 0)
            nat_maintain(table->context.nat, table->context.now_s);
    }
}

/* Each with an endpoint of its own; they expire before the next stretch. `end`: cycles of that, one session.
 */
static uint64_t new_sessions(struct table *table, uint32_t *next, uint64_t *end)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < NEW_COUNT; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++, ++*next)
            frame_write(j, 0x0a020000 + *next % 4096, (uint16_t)(1024 + *next / 4096 % 60000), REMOTE, 53);
        batches[count++] = run(table, true, true);
        if (i % 8192 == 0)
            nat_maintain(table->context.nat, table->context.now_s);
    }
    uint64_t before = tsc_now();
    for (unsigned i = 0; i < 400; i++) {
        table->context.now_s++;
        for (unsigned j = 0; j < NEW_COUNT / TICK; j++)
            nat_tick(&table->context);
    }
    *end = (tsc_now() - before) / NEW_COUNT;
    return median_packet(count);
}

static void print(const char *what, uint32_t sessions, uint64_t cycles[STRETCHES])
{
    qsort(cycles, STRETCHES, sizeof(*cycles), compare);
    printf("%-28s %8u sessions  best %5lu  median %5lu cycles  (median %.2f M/s)\n", what, sessions,
           (unsigned long)cycles[0], (unsigned long)cycles[STRETCHES / 2],
           (double)tsc_hz() / (double)cycles[STRETCHES / 2] / 1e6);
}

/* The same for a profiler, alone. */
static int only_new(void)
{
    static struct table fresh;
    uint64_t created[STRETCHES], ended[STRETCHES];
    uint32_t next = 0;
    table_fill(&fresh, 1);
    for (unsigned i = 0; i < 3; i++)
        new_sessions(&fresh, &next, ended);
    for (unsigned stretch = 0; stretch < STRETCHES; stretch++)
        created[stretch] = new_sessions(&fresh, &next, &ended[stretch]);
    print("new UDP sessions", NEW_COUNT, created);
    print("their end", NEW_COUNT, ended);
    nat_config_free(fresh.config);
    nat_free(fresh.context.nat);
    free(fresh.flows);
    return 0;
}

int main(int argc, char **argv)
{
    static const uint32_t counts[SIZES] = {1, 10000, 1000000};
    static struct table tables[SIZES], fresh;
    static uint64_t results[SIZES][3][STRETCHES], created[STRETCHES], ended[STRETCHES];
    uint32_t next = 0;
    if (argc > 1 && strcmp(argv[1], "--new") == 0)
        return only_new();
    for (unsigned i = 0; i < SIZES; i++)
        table_fill(&tables[i], counts[i]);
    table_fill(&fresh, 1);
    for (unsigned i = 0; i < 3; i++) /* grown to what a stretch needs */
        new_sessions(&fresh, &next, ended);
    for (unsigned stretch = 0; stretch < STRETCHES; stretch++) {
        for (unsigned i = 0; i < SIZES; i++) {
            results[i][0][stretch] = established(&tables[i], true, true);
            results[i][1][stretch] = established(&tables[i], false, true);
            results[i][2][stretch] = established(&tables[i], true, false);
        }
        created[stretch] = new_sessions(&fresh, &next, &ended[stretch]);
    }
    for (unsigned i = 0; i < SIZES; i++) {
        print("established, outbound", counts[i], results[i][0]);
        print("established, inbound", counts[i], results[i][1]);
        print("outbound without prefetch", counts[i], results[i][2]);
    }
    print("new UDP sessions", NEW_COUNT, created);
    print("their end", NEW_COUNT, ended);
    for (unsigned i = 0; i < SIZES; i++) {
        nat_config_free(tables[i].config);
        nat_free(tables[i].context.nat);
        free(tables[i].flows);
    }
    nat_config_free(fresh.config);
    nat_free(fresh.context.nat);
    free(fresh.flows);
    return 0;
}
