/* SPDX-License-Identifier: BSD-3-Clause */
/* New sessions of a batch: what is found out beforehand (nat_prefetch and after) changes nothing of what
 * comes of it. And which of several outside addresses a guest has. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nat_fixture.h"
#include "nat_private.h"

#define FLOWS 32u
#define BATCH (2 * FLOWS) /* each flow's first packet twice */

struct batch {
    struct packet packets[BATCH];
    struct frame_info infos[BATCH];
    uint8_t memory[BATCH][PACKET_HEADROOM + PACKET_HEADER_MAX];
};

static void build(struct batch *batch)
{
    struct flat flat;
    memset(batch, 0, sizeof(*batch));
    for (unsigned i = 0; i < BATCH; i++) {
        struct packet *packet = &batch->packets[i];
        frame_udp(&flat, guest_end(5, 1000 + i % FLOWS), end_of("198.51.100.7", 53), 4);
        packet->buffer = batch->memory[i];
        packet->data = batch->memory[i] + PACKET_HEADROOM;
        packet->size = packet->header_size = flat.size;
        memcpy(packet->data, flat.bytes, flat.size);
        assert_true(parse_l2(packet, &batch->infos[i]) && parse_l3(packet, &batch->infos[i]));
    }
}

static void foresee(struct batch *batch, const struct nat_context *context)
{
    uint64_t hashes[BATCH];
    for (unsigned i = 0; i < BATCH; i++)
        hashes[i] = nat_prefetch(context, 11, true, &batch->packets[i], &batch->infos[i]);
    for (unsigned i = 0; i < BATCH; i++)
        if (!nat_prefetch_session(context, hashes[i]))
            nat_prefetch_new(context, 11, &batch->packets[i], &batch->infos[i], hashes[i]);
    nat_prefetch_ports(context);
}

static uint16_t translate(struct batch *batch, unsigned i, const struct nat_context *context)
{
    struct nat_outcome outcome;
    uint16_t port;
    bool held;
    assert_int_equal(nat_outbound(context, 11, &batch->packets[i], &batch->infos[i], &outcome, &held),
                     DP_DROP_COUNT);
    memcpy(&port, batch->packets[i].data + 34, sizeof(port));
    return port;
}

static void check(struct nat_fixture *fixture, const uint16_t ports[BATCH])
{
    for (unsigned i = 0; i < FLOWS; i++) {
        assert_int_equal(ports[i], ports[i + FLOWS]);
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(ports[i], ports[j]);
    }
    assert_int_equal(session_count(fixture), FLOWS);
    assert_int_equal(router_state(fixture, 1).mappings, FLOWS);
}

static void test_flows_twice_in_a_batch(void **state)
{
    struct nat_fixture *fixture = nat_fixture_plain();
    static struct batch batch;
    uint16_t ports[BATCH];
    build(&batch);
    foresee(&batch, &fixture->context);
    for (unsigned i = 0; i < BATCH; i++)
        ports[i] = translate(&batch, i, &fixture->context);
    check(fixture, ports);
    nat_fixture_free(fixture);
}

/* What one worker has foreseen, another one makes before it. */
static void test_two_workers(void **state)
{
    struct nat_fixture *fixture = nat_fixture_plain();
    struct nat_context other = fixture->context;
    static struct batch batch;
    uint16_t ports[BATCH];
    other.worker = 1;
    build(&batch);
    foresee(&batch, &fixture->context);
    for (unsigned i = 0; i < FLOWS; i++) {
        bool first = i % 3 == 0;
        ports[i] = translate(&batch, i, first ? &fixture->context : &other);
        ports[i + FLOWS] = translate(&batch, i + FLOWS, first ? &other : &fixture->context);
    }
    check(fixture, ports);
    nat_fixture_free(fixture);
}

/* Both have found nothing, and then both make it. */
static void test_made_meanwhile(void **state)
{
    struct nat_fixture *fixture = nat_fixture_plain();
    struct nat_context other = fixture->context;
    const struct nat_interface *interface = fixture->config->interfaces[11];
    struct session_request request = {.interface = interface,
                                      .pool = interface->pools[0],
                                      .address = interface->pools[0]->address,
                                      .inside_port = 1000,
                                      .remote_port = 53,
                                      .protocol = IP_PROTO_UDP,
                                      .missing = true};
    struct session_view first, second;
    struct end inside = guest_end(5, 0), remote = end_of("198.51.100.7", 0);
    memcpy(request.inside, inside.address, 16);
    memcpy(request.remote, remote.address, 16);
    other.worker = 1;
    for (unsigned i = 0; i < 8; i++) {
        request.inside_port = (uint16_t)(1000 + i);
        assert_int_equal(conntrack_create(i & 1 ? &other : &fixture->context, &request, &first),
                         DP_DROP_COUNT);
        assert_int_equal(conntrack_create(i & 1 ? &fixture->context : &other, &request, &second),
                         DP_DROP_COUNT);
        assert_int_equal(first.id, second.id);
    }
    assert_int_equal(session_count(fixture), 8);
    nat_fixture_free(fixture);
}

#define GUESTS 4096u

static void add_address(struct nat_fixture *fixture, unsigned i)
{
    char text[32];
    snprintf(text, sizeof(text), "192.0.2.%u", 10 + i);
    nat_fixture_address(fixture, text, 1024, 65535);
    nat_fixture_source(fixture, 11, text, 0);
}

static unsigned address_of(const struct nat_fixture *fixture, unsigned guest)
{
    const struct nat_interface *interface = fixture->config->interfaces[11];
    struct end end = guest_end(guest, 0);
    uint64_t inside[2];
    memcpy(inside, end.address, 16);
    const struct nat_pool *pool = nat_config_pool(fixture->nat, interface, inside);
    return (uint8_t)(pool->address->address[1] >> 56) - 10u;
}

/* Eight addresses have as many guests each, but for chance; with a ninth few guests get another one. */
static void test_addresses_of_guests(void **state)
{
    struct nat_fixture *fixture = nat_fixture_new(1000);
    unsigned counts[9] = {0}, moved = 0;
    static unsigned before[GUESTS];
    nat_fixture_router(fixture, 1, 0, 0);
    for (unsigned i = 0; i < 8; i++)
        add_address(fixture, i);
    nat_fixture_commit(fixture);
    for (unsigned i = 0; i < GUESTS; i++) {
        before[i] = address_of(fixture, i);
        assert_in_range(before[i], 0, 7);
        counts[before[i]]++;
    }
    for (unsigned i = 0; i < 8; i++)
        assert_in_range(counts[i], GUESTS / 8 / 2, GUESTS / 8 * 2);
    add_address(fixture, 8);
    nat_fixture_commit(fixture);
    for (unsigned i = 0; i < GUESTS; i++)
        moved += address_of(fixture, i) != before[i];
    assert_in_range(moved, 1, GUESTS / 2);
    nat_fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flows_twice_in_a_batch),
        cmocka_unit_test(test_two_workers),
        cmocka_unit_test(test_made_meanwhile),
        cmocka_unit_test(test_addresses_of_guests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
