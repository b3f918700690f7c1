/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What somebody outside can do by way of a forward, and what one tenant can do to another one behind the same
 * address, in the same table: use up what is its own, and no more.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "nat_fixture.h"

#define SYN 2u
#define RST 4u
#define ACK 16u

static struct end web, server;

/* Somebody outside, one of many. */
static struct end stranger(unsigned number)
{
    char text[32];
    snprintf(text, sizeof(text), "203.%u.%u.9", number >> 8 & 255, number & 255);
    return end_of(text, 1024 + (number >> 16));
}

/* Tenants 1 and 2 behind ports 10000 to 10999; a forward to guest 5 of tenant 1 for TCP and UDP. */
static struct nat_fixture *make(uint32_t sessions, uint32_t limit, uint32_t guest_limit)
{
    struct nat_fixture *fixture = nat_fixture_new(sessions);
    server = end_of("198.51.100.7", 53);
    web = end_of("192.0.2.1", 443);
    nat_fixture_router(fixture, 1, limit, guest_limit);
    nat_fixture_router(fixture, 2, 0, 0);
    nat_fixture_address(fixture, "192.0.2.1", 10000, 10999);
    nat_fixture_source(fixture, 11, "192.0.2.1", 0);
    nat_fixture_source(fixture, 21, "192.0.2.1", 0);
    nat_fixture_forward(fixture, "192.0.2.1", 6, 443, 443, 11, "10.0.0.5", 443);
    nat_fixture_forward(fixture, "192.0.2.1", 17, 443, 443, 11, "10.0.0.5", 443);
    nat_fixture_commit(fixture);
    return fixture;
}

/* A SYN flood whose sessions are all reset, by the guest (nothing listens) or by who forged the SYN: still
 * half open, still a quarter. */
static void test_reset_flood_stays_half_open(void **state)
{
    for (unsigned by_guest = 0; by_guest < 2; by_guest++) {
        struct nat_fixture *fixture = make(100000, 400, 0);
        unsigned passed = 0;
        for (unsigned i = 0; i < 1000; i++) {
            enum dp_drop drop = tcp_in(fixture, stranger(i), web, SYN).drop;
            passed += drop == DP_DROP_COUNT;
            assert_true(drop == DP_DROP_COUNT || drop == DP_DROP_NAT_SESSION_LIMIT);
            if (drop == DP_DROP_COUNT && by_guest)
                tcp_out(fixture, 11, guest_end(5, 443), stranger(i), RST | ACK);
            else if (drop == DP_DROP_COUNT)
                tcp_in(fixture, stranger(i), web, RST);
        }
        assert_int_equal(passed, 100);
        /* one of them comes back in earnest, and is not half open any more */
        assert_int_equal(tcp_in(fixture, stranger(0), web, SYN).drop, DP_DROP_COUNT);
        tcp_out(fixture, 11, guest_end(5, 443), stranger(0), SYN | ACK);
        assert_int_equal(tcp_in(fixture, stranger(2000), web, SYN).drop, DP_DROP_NAT_SESSION_LIMIT);
        tcp_in(fixture, stranger(0), web, ACK);
        assert_int_equal(tcp_in(fixture, stranger(2000), web, SYN).drop, DP_DROP_COUNT);
        pass(fixture, 8000);
        assert_int_equal(session_count(fixture), 0);
        for (unsigned i = 0; i < 100; i++) /* nothing is counted that is not there */
            assert_int_equal(tcp_in(fixture, stranger(i), web, SYN).drop, DP_DROP_COUNT);
        nat_fixture_free(fixture);
    }
}

/* A flood that the guest answers (a name server, forged sources): a quarter of the tenant's sessions, and of
 * the guest's, is for what they open themselves. */
static void test_answered_flood_leaves_room(void **state)
{
    for (unsigned guest_limit = 0; guest_limit <= 200; guest_limit += 200) {
        struct nat_fixture *fixture = make(100000, 400, guest_limit);
        unsigned passed = 0, limit = guest_limit ? guest_limit : 400;
        for (unsigned i = 0; i < 1000; i++) {
            bool good = udp_in(fixture, stranger(i), web).drop == DP_DROP_COUNT;
            passed += good;
            if (good)
                assert_int_equal(udp_out(fixture, 11, guest_end(5, 443), stranger(i)).drop, DP_DROP_COUNT);
        }
        assert_int_equal(passed, limit / 4 * 3);
        for (unsigned i = 0; i < limit / 4; i++)
            assert_int_equal(udp_out(fixture, 11, guest_end(5, 1024 + i), server).drop, DP_DROP_COUNT);
        assert_int_equal(udp_out(fixture, 11, guest_end(5, 900), server).drop, DP_DROP_NAT_SESSION_LIMIT);
        pass(fixture, 1000);
        assert_int_equal(session_count(fixture), 0);
        for (unsigned i = 0; i < limit; i++)
            assert_int_equal(udp_out(fixture, 11, guest_end(5, 1024 + i), server).drop, DP_DROP_COUNT);
        nat_fixture_free(fixture);
    }
}

/* One tenant takes all the ports that it can get of the address that both are translated to. */
static void test_ports_of_a_shared_address(void **state)
{
    struct nat_fixture *fixture = make(100000, 0, 0);
    for (unsigned round = 0; round < 2; round++) {
        unsigned taken = 0;
        for (unsigned i = 0; i < 3000; i++) {
            enum dp_drop drop = udp_out(fixture, 11, guest_end(i % 5, 1024 + i), server).drop;
            taken += drop == DP_DROP_COUNT;
            assert_true(drop == DP_DROP_COUNT || drop == DP_DROP_NAT_NO_PORT);
        }
        assert_int_equal(taken, 750);
        for (unsigned i = 0; i < 125; i++)
            assert_int_equal(udp_out(fixture, 21, guest_end(5, 1024 + i), server).drop, DP_DROP_COUNT);
        assert_int_equal(tcp_out(fixture, 11, guest_end(5, 9), server, SYN).drop, DP_DROP_COUNT);
        pass(fixture, 1000);
        assert_int_equal(session_count(fixture), 0);
    }
    nat_fixture_free(fixture);
}

/* One tenant fills the table, at its full size and while it grows; the other one has its part of it. */
static void test_table_of_two(void **state)
{
    struct nat_fixture *fixture = make(200000, 0, 0);
    unsigned refused = 0;
    for (unsigned i = 0; i < 400000; i++) {
        struct seen seen = udp_out(fixture, 11, guest_end(5, 1024), stranger(i));
        refused += seen.drop == DP_DROP_NAT_TABLE_FULL;
        assert_true(seen.drop == DP_DROP_COUNT || seen.drop == DP_DROP_NAT_TABLE_FULL);
        if (i % 20 == 0) /* while the first one is refused, too */
            assert_int_equal(udp_out(fixture, 21, guest_end(5, 1024), stranger(i)).drop, DP_DROP_COUNT);
        if (i % 50000 == 0)
            nat_maintain(fixture->nat, fixture->context.now_s);
    }
    assert_int_not_equal(refused, 0);
    assert_in_range(router_state(fixture, 1).sessions, 100000, 150000);
    assert_int_equal(router_state(fixture, 2).sessions, 20000);
    assert_false(nat_grows(fixture->nat));
    nat_fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_flood_stays_half_open),
        cmocka_unit_test(test_answered_flood_leaves_room),
        cmocka_unit_test(test_ports_of_a_shared_address),
        cmocka_unit_test(test_table_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
