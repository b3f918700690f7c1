/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * With the flow cache and without: the same packets, the same changes of configuration and the same time
 * must give the same frames, byte for byte, the same counters and the same sessions. The packets are random
 * from a fixed seed: mostly of few flows, so that they are known, with everything in between that an entry
 * must not be followed for. Nothing but the cache differs: ports are not chosen at random, as forwards,
 * 1:1 addresses and a pool of one port do not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "conntrack.h"
#include "router_fixture.h"

#define BATCHES    4000u
#define BATCH_MAX  24u
#define SOMEBODY   0x08080808u
#define OWN        0xc0000205u /* 1:1 of guest 3 */
#define OTHER_PEER 0xc0000264u
#define OTHER_MAC  "\x02\x00\x00\x00\x00\x42" /* guest 2's, too */
#define PORTS      8u                         /* of a flow family */
#define INSIDE     1000u                      /* guest 1's ports, forwarded from */
#define FORWARDED  2000u
#define SESSIONS   200u

static const uint8_t somebody_ipv6[16] = {0x20, 1, 0xd, 0xb9, [15] = 8};

struct end {
    uint32_t ipv4;
    const uint8_t *ipv6;
    uint16_t port; /* of the first flow */
};

/* Flows of one sender: PORTS of UDP, TCP and echo. */
struct family {
    unsigned from; /* of senders[] */
    const char *router_mac, *mac;
    struct end source, destination;
    bool echo;
};

static const struct family families[] = {
    {0, ROUTER_1_MAC, GUEST_1_MAC, {GUEST_1, guest_1_ipv6, INSIDE}, {SOMEBODY, somebody_ipv6, 53}, false},
    {0, ROUTER_1_MAC, GUEST_1_MAC, {GUEST_1, guest_1_ipv6, 77}, {GUEST_2, guest_2_ipv6, 53}, true},
    {0, ROUTER_1_MAC, GUEST_1_MAC, {GUEST_1, NULL, 77}, {GUEST_2 + 1, NULL, 53}, true}, /* not static */
    {1, ROUTER_2_MAC, GUEST_2_MAC, {GUEST_2, guest_2_ipv6, 53}, {GUEST_1, guest_1_ipv6, 77}, true},
    {2, ROUTER_3_MAC, GUEST_3_MAC, {GUEST_1, NULL, INSIDE}, {SOMEBODY, NULL, 53}, true},
    {3, OUTSIDE_MAC, PEER_MAC, {SOMEBODY, somebody_ipv6, 53}, {OUTSIDE, outside_ipv6, FORWARDED}, false},
    {3, OUTSIDE_MAC, PEER_MAC, {SOMEBODY, NULL, 53}, {OWN, NULL, INSIDE}, true},
};
#define FAMILIES (sizeof(families) / sizeof(families[0]))

struct record {
    uint64_t frames, counters, sessions;
};

struct history {
    struct record records[BATCHES];
    uint64_t hits, packets;
};

static struct flat frames[BATCH_MAX], flat;
static struct history with, without;
static uint64_t random_state;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state & UINT32_MAX) * below >> 32);
}
static bool one_in(uint32_t count)
{
    return rnd(count) == 0;
}

static uint64_t digest(uint64_t sum, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ at[i]) * UINT64_C(0x100000001b3);
    return sum;
}

/* Packets */

static void put_l4(unsigned proto, const struct family *family, unsigned flow, uint32_t payload, bool ipv4)
{
    /* opened again and again, so that most connections are established; ended seldom */
    static const uint8_t flags[] = {0x02, 0x02, 0x02, 0x02, 0x12, 0x12, 0x12, 0x12, 0x11, 0x14};
    unsigned source = family->source.port, destination = family->destination.port;
    *(family->from == 3 ? &destination : &source) += flow;
    if (proto == 17) {
        put_udp(&flat, source, destination, payload);
    } else if (proto == 6) {
        uint32_t at = flat.size;
        put_tcp(&flat, one_in(6) ? flags[rnd(10)] : 0x10 | rnd(2) << 3, 4 * rnd(3));
        set16(flat.bytes + at, source);
        set16(flat.bytes + at + 2, destination);
    } else {
        put8(&flat, ipv4 ? 8 * rnd(2) : 128 + rnd(2));
        put8(&flat, 0);
        put16(&flat, 0);
        put16(&flat, 500 + flow);
        put16(&flat, rnd(65536));
    }
    put_payload(&flat, payload);
}

static void put_sum(unsigned proto, uint32_t l4, bool ipv4)
{
    uint32_t field = l4 + (proto == 17 ? 6 : proto == 6 ? 16 : 2), size = flat.size - l4;
    set16(flat.bytes + field, 0);
    if (proto == 17 && ipv4 && one_in(4))
        return; /* none */
    unsigned pseudo = proto == 1 ? 0 : slow_pseudo(flat.bytes + 14, proto, size);
    unsigned sum = 0xffff - slow_sum(flat.bytes + l4, size, pseudo);
    set16(flat.bytes + field, !sum && proto == 17 ? 0xffff : sum);
}

/* Leaves the checksum, and perhaps the cutting, to the switch. */
static void ask(struct packet *packet, unsigned proto, uint32_t l4, bool ipv4)
{
    uint32_t field = l4 + (proto == 17 ? 6 : 16);
    set16(flat.bytes + field, slow_pseudo(flat.bytes + 14, proto, flat.size - l4));
    *packet = (struct packet){
        .flags = VNET_F_NEEDS_CSUM, .csum_start = (uint16_t)l4, .csum_offset = (uint16_t)(field - l4)};
    if (proto == 6 && one_in(2)) {
        packet->gso_type = ipv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6;
        packet->gso_size = (uint16_t)(400 + rnd(1100));
    }
}

/* A tag between the addresses and the rest; everything else stands four bytes later. */
static void tag(void)
{
    memmove(flat.bytes + 16, flat.bytes + 12, flat.size - 12);
    set16(flat.bytes + 12, one_in(2) ? 0x8100 : 0x88a8);
    set16(flat.bytes + 14, rnd(3));
    flat.size += 4;
}

/* Another protocol: of IPv6, an extension header too. */
static void other_protocol(uint32_t l4, bool ipv4)
{
    static const uint8_t extensions[] = {0, 43, 44, 51, 60, 135, 59, 1};
    uint8_t *protocol = flat.bytes + 14 + (ipv4 ? 9 : 6);
    uint8_t before = *protocol;
    *protocol = ipv4 || one_in(4) ? (uint8_t)rnd(256) : extensions[rnd(8)];
    if (!one_in(3)) {
        flat.bytes[l4] = before;
        flat.bytes[l4 + 1] = (uint8_t)rnd(2);
    }
    if (one_in(2))
        set16(flat.bytes + l4 + 2, rnd(2)); /* fragment header: the whole datagram, or more to come */
}

/* What is seldom about a packet. */
static void distort(uint32_t l4, bool ipv4)
{
    uint8_t *ip = flat.bytes + 14;
    switch (rnd(16)) {
    case 0:
        ip[ipv4 ? 8 : 7] = (uint8_t)rnd(3); /* hops */
        break;
    case 1:
        if (ipv4)
            set16(ip + 6, one_in(2) ? 0x2000 : rnd(0x2100));
        break;
    case 2:
        set16(ip + (ipv4 ? 2 : 4), get16(ip + (ipv4 ? 2 : 4)) + rnd(9) - 4);
        break;
    case 3:
        flat.bytes[l4 + 4 + rnd(9)] ^= (uint8_t)(1 + rnd(255));
        break;
    case 4:
        put_payload(&flat, rnd(30)); /* padding */
        break;
    case 5:
        ip[0] += (uint8_t)rnd(3);
        break;
    case 6:
        flat.bytes[rnd(2) * 6] |= 1; /* a group's address */
        break;
    case 7:
        tag();
        return;
    case 8:
        other_protocol(l4, ipv4);
        break;
    case 9:
        ip[(ipv4 ? 12 : 8) + rnd(ipv4 ? 8 : 32)] ^= (uint8_t)(1u << rnd(8)); /* somebody else's address */
        break;
    case 10:
        set16(flat.bytes + l4 + 2 * rnd(2), 0); /* port */
        break;
    default:
        return;
    }
    if (ipv4)
        finish_ipv4(&flat);
    if (ipv4 && one_in(8))
        ip[rnd(20)] ^= (uint8_t)(1 + rnd(255));
}

/* One packet of the sender into `flat`; `offload`: what it asks for. */
static void make(unsigned from, struct packet *offload)
{
    const struct family *family;
    do
        family = &families[rnd(FAMILIES)];
    while (family->from != from);
    bool ipv4 = !family->source.ipv6 || one_in(2);
    unsigned kind = rnd(family->echo ? 5 : 4), proto = kind < 2 ? 17 : kind < 4 ? 6 : ipv4 ? 1 : 58;
    uint32_t payload = one_in(6) ? rnd(1460) : 16 + rnd(60), l4 = ipv4 ? 34 : 54;
    put_ethernet(&flat, family->router_mac, family->mac, ipv4 ? 0x0800 : 0x86dd);
    if (ipv4)
        put_ipv4(&flat, proto, family->source.ipv4, family->destination.ipv4, 0, 0);
    else
        put_ipv6(&flat, proto, family->source.ipv6, family->destination.ipv6, 0);
    put_l4(proto, family, rnd(PORTS), payload, ipv4);
    set16(flat.bytes + (ipv4 ? 16 : 18), flat.size - (ipv4 ? 14 : 54));
    set16(flat.bytes + 20, ipv4 && one_in(3) ? 0 : get16(flat.bytes + 20)); /* may be cut in pieces */
    *offload = (struct packet){0};
    if ((proto == 17 || proto == 6) && one_in(4))
        ask(offload, proto, l4, ipv4);
    else
        put_sum(proto, l4, ipv4);
    if (ipv4)
        finish_ipv4(&flat);
    if (one_in(6))
        distort(l4, ipv4);
}

/* Changes */

static void address_of(uint8_t address[16], uint32_t ipv4)
{
    const uint8_t bytes[4] = {(uint8_t)(ipv4 >> 24), (uint8_t)(ipv4 >> 16), (uint8_t)(ipv4 >> 8),
                              (uint8_t)ipv4};
    address_map(address, bytes);
}

static void toggle(struct lab *lab, enum dp_kind kind, const void *object, bool there)
{
    char text[OBJECT_TEXT_SIZE];
    if (there)
        lab_put(lab, kind, object);
    else
        objects_del(lab->objects, kind, object, text);
}

static void forward(struct lab *lab, unsigned protocol, bool ipv4, bool there)
{
    struct dp_nat_forward object = {.outside = 91,
                                    .protocol = (uint16_t)protocol,
                                    .first = FORWARDED,
                                    .last = FORWARDED + PORTS - 1,
                                    .to_first = INSIDE,
                                    .port = 11};
    address_of(object.address, OUTSIDE);
    address_of(object.inside, GUEST_1);
    if (!ipv4) {
        memcpy(object.address, outside_ipv6, 16);
        memcpy(object.inside, guest_1_ipv6, 16);
    }
    toggle(lab, DP_KIND_NAT_FORWARD, &object, there);
}

static void one_to_one(struct lab *lab, bool there)
{
    struct dp_nat_one_to_one one = {.outside = 91, .port = 31};
    address_of(one.address, OWN);
    address_of(one.inside, GUEST_1);
    toggle(lab, DP_KIND_NAT_ONE_TO_ONE, &one, there);
}

static void neighbour(struct lab *lab, uint32_t port, uint32_t ipv4, const char *mac)
{
    struct dp_neighbour object = {.port = port};
    address_of(object.address, ipv4);
    memcpy(object.mac, mac, 6);
    lab_put(lab, DP_KIND_NEIGHBOUR, &object);
}

static void mtu(struct lab *lab, uint32_t id, uint32_t bytes)
{
    struct dp_port port = *(const struct dp_port *)objects_find(lab->objects, DP_KIND_PORT, &id);
    port.mtu = bytes;
    lab_put(lab, DP_KIND_PORT, &port);
}

static void default_route(struct lab *lab, uint32_t next_hop)
{
    struct dp_route route = {.router = 0, .prefix_length = 96, .port = 91};
    address_of(route.prefix, 0);
    address_of(route.next_hop, next_hop);
    lab_put(lab, DP_KIND_ROUTE, &route);
}

/* Guest 2 says where its second address is. */
static void announce(struct lab *lab, const char *mac)
{
    put_ethernet(&flat, ROUTER_2_MAC, mac, 0x0806);
    put(&flat, "\0\1\x08\0\x06\x04\0\2", 8);
    put(&flat, mac, 6);
    put32(&flat, GUEST_2 + 1);
    put(&flat, ROUTER_2_MAC, 6);
    put32(&flat, ROUTER_2);
    lab_send(lab, lab->guest_2, &flat);
    lab_control(lab);
}

static void pass(struct lab *lab, unsigned milliseconds)
{
    lab_wait(lab, milliseconds);
    struct nat_context context = {
        .nat = lab->nat, .config = lab->fixture->snapshot->nat_config, .now_s = lab->fixture->program->now_s};
    nat_tick(&context);
}

static void change(struct lab *lab)
{
    switch (rnd(12)) {
    case 0:
        forward(lab, one_in(2) ? 6 : 17, one_in(2), one_in(2));
        break;
    case 1:
        one_to_one(lab, one_in(2));
        break;
    case 2:
        neighbour(lab, 21, GUEST_2, one_in(2) ? GUEST_2_MAC : OTHER_MAC);
        break;
    case 3:
        mtu(lab, one_in(2) ? 21 : 91, one_in(2) ? 1500 : 700);
        break;
    case 4:
        default_route(lab, one_in(2) ? PEER : OTHER_PEER);
        break;
    case 5:
    case 6:
        announce(lab, one_in(2) ? GUEST_2_MAC : OTHER_MAC);
        return;
    case 7:
        pass(lab, one_in(8) ? 130000 : 1000 + rnd(3000));
        return;
    default:
        pass(lab, 100 + rnd(600));
        return;
    }
    lab_compile(lab);
}

/* What there is at first; the pool has one port, so none is taken at random. */
static struct lab *build(bool cached)
{
    struct lab *lab = lab_new(0, 0, 1500);
    struct dp_nat_address address = {
        .port = 91, .port_first = 9999, .port_last = 9999, .flags = DP_NAT_F_ANSWER};
    lab_neighbours(lab);
    lab_outside(lab, 0, 0, 1500);
    lab_outside_ipv6(lab);
    for (unsigned i = 0; i < 6; i++)
        lab->nat->seed[i] = (i + 1) * UINT64_C(0xd1342543de82ef95);
    address_of(address.address, OUTSIDE);
    lab_put(lab, DP_KIND_NAT_ADDRESS, &address);
    memcpy(address.address, outside_ipv6, 16);
    lab_put(lab, DP_KIND_NAT_ADDRESS, &address);
    for (unsigned i = 0; i < 4; i++)
        forward(lab, i & 1 ? 6 : 17, i & 2, true);
    one_to_one(lab, true);
    neighbour(lab, 31, GUEST_1, GUEST_3_MAC);
    neighbour(lab, 91, OTHER_PEER, OTHER_MAC);
    if (fdb_static_set(lab->fixture->fdb, 20, (const uint8_t *)OTHER_MAC, 2, 0) ||
        fdb_static_set(lab->fixture->fdb, 90, (const uint8_t *)OTHER_MAC, 4, 0))
        abort();
    lab_compile(lab);
    if (!cached) {
        flow_cache_free(lab->fixture->program->router->flows);
        lab->fixture->program->router->flows = NULL;
    }
    return lab;
}

static void batch(struct lab *lab, struct history *history)
{
    struct ingress *senders[] = {lab->guest_1, lab->guest_2, lab->guest_3, lab->peer};
    unsigned from = rnd(4), count = 1 + rnd(BATCH_MAX);
    for (unsigned i = 0; i < count; i++) {
        struct packet offload;
        make(from, &offload);
        frames[i].size = 0;
        put(&frames[i], flat.bytes, flat.size);
        struct packet *packet = fixture_receive(lab->fixture, frames[i].bytes, frames[i].size);
        packet->flags = offload.flags;
        packet->gso_type = offload.gso_type;
        packet->gso_size = offload.gso_size;
        packet->csum_start = offload.csum_start;
        packet->csum_offset = offload.csum_offset;
    }
    fixture_run(lab->fixture, senders[from]);
    lab_control(lab);
    history->packets += count;
}

static struct record look(const struct lab *lab)
{
    static struct dp_session sessions[SESSIONS];
    struct record record = {UINT64_C(0xcbf29ce484222325), UINT64_C(0xcbf29ce484222325)};
    uint64_t cursor = 0;
    const struct ingress *ends[] = {lab->guest_1, lab->guest_2, lab->guest_3, lab->peer};
    for (unsigned i = 0; i < 4; i++) {
        const struct fake_port *fake = fake_of(ends[i]);
        assert_true(fake->sent <= FAKE_FRAMES);
        record.frames = digest(record.frames, &fake->sent, sizeof(fake->sent));
        for (unsigned j = 0; j < fake->sent; j++) {
            const struct fake_frame *frame = &fake->frames[j];
            record.frames = digest(record.frames, frame, offsetof(struct fake_frame, bytes));
            record.frames = digest(record.frames, frame->bytes, frame->size);
        }
    }
    for (unsigned id = 0; id < DP_PORTS_MAX; id++) {
        struct dp_port_counters sum;
        if (!lab->fixture->snapshot->ingress[id])
            continue;
        counters_port(lab->fixture->snapshot->ingress[id]->port, &sum);
        record.counters = digest(record.counters, &sum, sizeof(sum));
    }
    unsigned count = nat_sessions(lab->nat, &cursor, lab->fixture->program->now_s, sessions, SESSIONS);
    assert_true(count < SESSIONS);
    record.sessions = digest(UINT64_C(0xcbf29ce484222325), sessions, count * sizeof(sessions[0]));
    return record;
}

static void play(bool cached, struct history *history)
{
    struct lab *lab = build(cached);
    random_state = 88172645463325252u;
    for (unsigned i = 0; i < BATCHES; i++) {
        fixture_clear(lab->fixture);
        if (one_in(8))
            change(lab);
        batch(lab, history);
        history->records[i] = look(lab);
    }
    history->hits = cached ? lab->fixture->program->router->flows->hits : 0;
    lab_wait(lab, 8000); /* nothing waits any more */
    lab_free(lab);
}

static void same_with_and_without(void **state)
{
    play(true, &with);
    play(false, &without);
    for (unsigned i = 0; i < BATCHES; i++)
        if (memcmp(&with.records[i], &without.records[i], sizeof(with.records[i])) != 0)
            fail_msg("batch %u differs in its %s", i,
                     with.records[i].frames != without.records[i].frames       ? "frames"
                     : with.records[i].counters != without.records[i].counters ? "counters"
                                                                               : "sessions");
    print_message("%u of %u packets followed\n", (unsigned)with.hits, (unsigned)with.packets);
    assert_true(with.hits * 8 > with.packets); /* or it was no test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_with_and_without)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
