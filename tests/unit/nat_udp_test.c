/* SPDX-License-Identifier: BSD-3-Clause */
/* Address translation of UDP against RFC 4787, requirement by requirement (docs/nat.md). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "nat_fixture.h"

static void test_out_and_back(void **state)
{
    struct nat_fixture *fixture = nat_fixture_plain();
    struct end guest = end_of("10.0.0.5", 4000), server = end_of("198.51.100.7", 53);
    struct seen out = udp_out(fixture, 11, guest, server);
    assert_int_equal(out.drop, DP_DROP_COUNT);
    assert_memory_equal(out.source.address, end_of("192.0.2.1", 0).address, 16);
    assert_in_range(out.source.port, 10000, 20000);
    assert_true(end_equal(out.destination, server));
    assert_int_equal(out.outcome.outside, OUTSIDE);
    struct seen back = udp_in(fixture, server, out.source);
    assert_int_equal(back.drop, DP_DROP_COUNT);
    assert_true(end_equal(back.destination, guest));
    assert_true(end_equal(back.source, server));
    assert_int_equal(back.outcome.outside, 11);
    assert_int_equal(back.outcome.router, 1);
    assert_int_equal(session_count(fixture), 1);
    nat_fixture_free(fixture);
}

/* REQ-1: one outside endpoint for an inside one, whoever it talks to. */
static void test_req1_endpoint_independent_mapping(void **state)
{
    struct nat_fixture *fixture = nat_fixture_plain();
    struct end guest = end_of("10.0.0.5", 4000), first = {0};
    for (unsigned i = 1; i < 200; i++) {
        char text[32];
        snprintf(text, sizeof(text), "198.51.100.%u", i);
        struct seen seen = udp_out(fixture, 11, guest, end_of(text, 50 + i));
        assert_int_equal(seen.drop, DP_DROP_COUNT);
        if (i == 1)
            first = seen.source;
        assert_true(end_equal(seen.source, first));
    }
    assert_int_equal(router_state(fixture, 1).mappings, 1);
    assert_int_equal(router_state(fixture, 1).sessions, 199);
    struct seen other = udp_out(fixture, 11, end_of("10.0.0.5", 4001), end_of("198.51.100.1", 51));
    assert_int_not_equal(other.source.port, first.port);
    assert_int_equal(router_state(fixture, 1).mappings, 2);
    nat_fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_and_back),
        cmocka_unit_test(test_req1_endpoint_independent_mapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
