/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "storm.h"
#include "switch_fixture.h"

/* Three access ports of tenant 1 in segment 10. */
struct three {
    struct fixture *fixture;
    struct bridge *bridge;
    struct ingress *a, *b, *c;
};

static int setup(void **state)
{
    struct three *t = test_calloc(1, sizeof(*t));
    t->fixture = fixture_new(1000);
    t->bridge = fixture_bridge(t->fixture, 10, 1);
    t->a = fixture_port(t->fixture, 1, 1, 0);
    t->b = fixture_port(t->fixture, 2, 1, 0);
    t->c = fixture_port(t->fixture, 3, 1, 0);
    fixture_member(t->bridge, t->a, 0);
    fixture_member(t->bridge, t->b, 0);
    fixture_member(t->bridge, t->c, 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct three *t = *state;
    bool consistent = fixture_consistent(t->fixture);
    fixture_free(t->fixture);
    test_free(t);
    return consistent ? 0 : -1;
}

static void expect_sent(const struct three *t, unsigned a, unsigned b, unsigned c)
{
    assert_int_equal(fake_of(t->a)->sent, a);
    assert_int_equal(fake_of(t->b)->sent, b);
    assert_int_equal(fake_of(t->c)->sent, c);
}

static void unknown_floods_known_goes_to_one(void **state)
{
    struct three *t = *state;
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    expect_sent(t, 0, 1, 1);
    assert_int_equal(rx_flooded(t->a), 1);
    fixture_unicast(t->fixture, t->b, 0xa, 0xb);
    expect_sent(t, 1, 1, 1);
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    expect_sent(t, 1, 2, 1);
    assert_int_equal(rx_forwarded(t->a), 1);
    assert_int_equal(fdb_segment_count(t->fixture->fdb, 10), 2);
    assert_int_equal(fdb_port_count(t->fixture->fdb, 1), 1);
}

static void broadcast_and_multicast_flood(void **state)
{
    struct three *t = *state;
    uint8_t frame[64] = {0x01, 0x00, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 0xa, 0x08, 0x06};
    fixture_send(t->fixture, t->a, frame, 60);
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    expect_sent(t, 0, 2, 2);
    assert_int_equal(rx_flooded(t->a), 2);
}

static void station_moves(void **state)
{
    struct three *t = *state;
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    fixture_unicast(t->fixture, t->c, 0xff, 0xa);
    fixture_clear(t->fixture);
    fixture_unicast(t->fixture, t->b, 0xa, 0xb);
    expect_sent(t, 0, 0, 1);
    assert_int_equal(fdb_port_count(t->fixture->fdb, 1), 0);
    assert_int_equal(fdb_port_count(t->fixture->fdb, 3), 1);
    assert_int_equal(fdb_segment_count(t->fixture->fdb, 10), 2);
}

static void same_port_is_dropped(void **state)
{
    struct three *t = *state;
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    fixture_clear(t->fixture);
    fixture_unicast(t->fixture, t->a, 0xa, 0xb);
    expect_sent(t, 0, 0, 0);
    assert_int_equal(rx_drops(t->a, DP_DROP_SAME_PORT), 1);
}

static void nobody_else(void **state)
{
    struct three *t = *state;
    struct bridge *lonely = fixture_bridge(t->fixture, 11, 1);
    struct ingress *d = fixture_port(t->fixture, 4, 1, 0);
    fixture_member(lonely, d, 0);
    fixture_unicast(t->fixture, d, 0xff, 0xd);
    assert_int_equal(rx_drops(d, DP_DROP_NO_MEMBER), 1);
    assert_int_equal(rx_flooded(d), 0);
}

static void addresses_belong_to_their_segment(void **state)
{
    struct three *t = *state;
    struct bridge *other = fixture_bridge(t->fixture, 11, 1);
    struct ingress *d = fixture_port(t->fixture, 4, 1, 0), *e = fixture_port(t->fixture, 5, 1, 0);
    fixture_member(other, d, 0);
    fixture_member(other, e, 0);
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    fixture_unicast(t->fixture, e, 0xff, 0xe);
    fixture_clear(t->fixture);
    fixture_unicast(t->fixture, d, 0xa, 0xd); /* 0xa is known in segment 10 only */
    expect_sent(t, 0, 0, 0);
    assert_int_equal(fake_of(e)->sent, 1);
    assert_int_equal(rx_flooded(d), 1);
}

static void limit_of_the_port(void **state)
{
    struct three *t = *state;
    t->a->mac_limit = 2;
    for (uint8_t i = 0x20; i < 0x25; i++)
        fixture_unicast(t->fixture, t->a, 0xff, i);
    assert_int_equal(rx_drops(t->a, DP_DROP_MAC_LIMIT), 3);
    fixture_unicast(t->fixture, t->a, 0xff, 0x20); /* evicts nobody */
    assert_int_equal(rx_flooded(t->a), 3);
    fixture_unicast(t->fixture, t->b, 0xff, 0x30);
    fixture_unicast(t->fixture, t->a, 0xff, 0x30); /* a move to a full port is no move */
    assert_int_equal(rx_drops(t->a, DP_DROP_MAC_LIMIT), 4);
    assert_int_equal(fdb_port_count(t->fixture->fdb, 1), 2);
    assert_int_equal(fdb_port_count(t->fixture->fdb, 2), 1);
}

static void limit_of_the_segment(void **state)
{
    struct three *t = *state;
    t->bridge->mac_limit = 3;
    for (uint8_t i = 0x20; i < 0x25; i++)
        fixture_unicast(t->fixture, i & 1 ? t->a : t->b, 0xff, i);
    assert_int_equal(rx_drops(t->a, DP_DROP_MAC_LIMIT) + rx_drops(t->b, DP_DROP_MAC_LIMIT), 2);
    fixture_unicast(t->fixture, t->c, 0xff, 0x20); /* a move adds none */
    assert_int_equal(rx_flooded(t->c), 1);
    assert_int_equal(fdb_segment_count(t->fixture->fdb, 10), 3);
}

static void flush_forgets(void **state)
{
    struct three *t = *state;
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    fixture_unicast(t->fixture, t->b, 0xff, 0xb);
    assert_int_equal(fdb_flush(t->fixture->fdb, 0, 1), 1);
    fixture_clear(t->fixture);
    fixture_unicast(t->fixture, t->c, 0xa, 0xc);
    expect_sent(t, 1, 1, 0);
    fixture_unicast(t->fixture, t->c, 0xb, 0xc);
    expect_sent(t, 1, 2, 0);
    assert_int_equal(fdb_flush(t->fixture->fdb, 10, 0), 2);
    assert_int_equal(fdb_segment_count(t->fixture->fdb, 10), 0);
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    expect_sent(t, 1, 3, 1);
}

static void static_addresses(void **state)
{
    struct three *t = *state;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 0xb};
    fixture_unicast(t->fixture, t->a, 0xff, 0xb); /* learned in the wrong place first */
    assert_int_equal(fdb_static_set(t->fixture->fdb, 10, mac, 2, 0), 0);
    assert_int_equal(fdb_port_count(t->fixture->fdb, 1), 0);
    fixture_clear(t->fixture);
    fixture_unicast(t->fixture, t->c, 0xb, 0xc);
    expect_sent(t, 0, 1, 0);
    fixture_unicast(t->fixture, t->a, 0xff, 0xb);
    assert_int_equal(rx_drops(t->a, DP_DROP_RX_PROTECTED), 1);
    fixture_unicast(t->fixture, t->b, 0xc, 0xb);
    assert_int_equal(rx_forwarded(t->b), 1);
    fdb_flush(t->fixture->fdb, 0, 0);
    fixture_clear(t->fixture);
    fixture_unicast(t->fixture, t->c, 0xb, 0xc);
    expect_sent(t, 0, 1, 0);
    assert_int_equal(fdb_static_del(t->fixture->fdb, 10, mac), 0);
    fixture_unicast(t->fixture, t->c, 0xb, 0xc);
    expect_sent(t, 1, 2, 0);
}

static void isolated_ports(void **state)
{
    struct three *t = *state;
    t->a->flags = t->b->flags = DP_PORT_F_ISOLATED;
    fixture_unicast(t->fixture, t->b, 0xff, 0xb);
    expect_sent(t, 0, 0, 1);
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    assert_int_equal(rx_drops(t->a, DP_DROP_ISOLATED_PORT), 1);
    expect_sent(t, 0, 0, 1);
    fixture_unicast(t->fixture, t->c, 0xb, 0xc);
    expect_sent(t, 0, 1, 1);
    fixture_unicast(t->fixture, t->a, 0xc, 0xa);
    expect_sent(t, 0, 1, 2);
    t->c->flags = DP_PORT_F_ISOLATED;
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    assert_int_equal(rx_drops(t->a, DP_DROP_ISOLATED_PORT), 2);
}

/* The compiler would never build this: the output stage refuses it all the same. */
static void other_tenant_is_refused(void **state)
{
    struct three *t = *state;
    fixture_unicast(t->fixture, t->b, 0xff, 0xb);
    t->b->tenant = 2;
    fixture_clear(t->fixture);
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    expect_sent(t, 0, 0, 1);
    assert_int_equal(tx_drops(t->b, DP_DROP_TENANT), 2);
    assert_int_equal(rx_forwarded(t->a), 1);
    t->b->tenant = 0; /* serves several */
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    assert_int_equal(fake_of(t->b)->sent, 1);
}

/* An address learned before its port left the segment is not a way out any more. */
static void entries_do_not_outlive_membership(void **state)
{
    struct three *t = *state;
    struct bridge *other = fixture_bridge(t->fixture, 11, 1);
    fixture_unicast(t->fixture, t->b, 0xff, 0xb);
    fixture_member(other, t->b, 0);
    t->bridge->output_count = 0;
    fixture_member(t->bridge, t->a, 0);
    fixture_member(t->bridge, t->c, 0);
    fixture_clear(t->fixture);
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    expect_sent(t, 0, 0, 1);
    t->fixture->snapshot->ingress[2] = NULL; /* nor if the port is gone */
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    t->fixture->snapshot->ingress[2] = t->b;
    expect_sent(t, 0, 0, 2);
    assert_int_equal(rx_flooded(t->a), 2);
}

static void storm_limit(void **state)
{
    struct three *t = *state;
    const unsigned pps = 1000, burst = pps / 10;
    t->a->storm_interval = storm_interval(pps);
    for (unsigned i = 0; i < 3 * burst; i++)
        fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    assert_in_range(rx_flooded(t->a), burst, burst + 2);
    assert_int_equal(rx_drops(t->a, DP_DROP_STORM), 3 * burst - rx_flooded(t->a));
    t->fixture->program->now += t->a->storm_interval * 10;
    uint64_t before = rx_flooded(t->a);
    for (unsigned i = 0; i < 20; i++)
        fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    assert_int_equal(rx_flooded(t->a) - before, 10);
    fixture_unicast(t->fixture, t->b, 0xff, 0xb);
    uint64_t dropped = rx_drops(t->a, DP_DROP_STORM);
    fixture_unicast(t->fixture, t->a, 0xb, 0xa); /* known addresses are not limited */
    assert_int_equal(rx_drops(t->a, DP_DROP_STORM), dropped);
    assert_int_equal(rx_forwarded(t->a), 1);
}

/* A whole batch: to one output in one call, to many in arrival order each. */
static void batches(void **state)
{
    struct three *t = *state;
    uint8_t bytes[PACKET_VECTOR_MAX][64];
    fixture_unicast(t->fixture, t->b, 0xff, 0xb);
    fixture_unicast(t->fixture, t->c, 0xff, 0xc);
    fixture_clear(t->fixture);
    for (unsigned i = 0; i < PACKET_VECTOR_MAX; i++)
        fixture_receive(t->fixture, bytes[i], fixture_frame(bytes[i], 0xb, 0xa, NULL, 0));
    fixture_run(t->fixture, t->a);
    expect_sent(t, 0, PACKET_VECTOR_MAX, 0);
    assert_int_equal(fake_of(t->b)->calls, 1);
    fixture_clear(t->fixture);
    for (unsigned i = 0; i < PACKET_VECTOR_MAX; i++) {
        static const uint8_t to[4] = {0xb, 0xc, 0xff, 0xb};
        uint32_t size = fixture_frame(bytes[i], to[i % 4], 0xa, NULL, 0);
        bytes[i][20] = (uint8_t)i;
        fixture_receive(t->fixture, bytes[i], size);
    }
    fixture_run(t->fixture, t->a);
    expect_sent(t, 0, 48, 32);
    assert_int_equal(fake_of(t->b)->calls, 2);
    for (unsigned i = 0; i + 1 < 32; i++)
        assert_true(fake_of(t->b)->frames[i].bytes[20] < fake_of(t->b)->frames[i + 1].bytes[20]);
    assert_int_equal(rx_forwarded(t->a), PACKET_VECTOR_MAX + 48);
    assert_int_equal(rx_flooded(t->a), 16);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(unknown_floods_known_goes_to_one),
        T(broadcast_and_multicast_flood),
        T(station_moves),
        T(same_port_is_dropped),
        T(nobody_else),
        T(addresses_belong_to_their_segment),
        T(limit_of_the_port),
        T(limit_of_the_segment),
        T(flush_forgets),
        T(static_addresses),
        T(isolated_ports),
        T(other_tenant_is_refused),
        T(entries_do_not_outlive_membership),
        T(storm_limit),
        T(batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
