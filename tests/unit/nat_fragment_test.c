/* SPDX-License-Identifier: BSD-3-Clause */
/* Fragments through address translation: in order, out of order, overlapping, too many. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "nat_fixture.h"

static struct nat_fixture *fixture;
static struct end guest, server;
static struct flat whole; /* the datagram before it is cut */

/* The parts that came out are put together and must be the datagram, translated. */
static struct flat together;
static uint32_t together_payload;

static int setup(void **state)
{
    fixture = nat_fixture_plain();
    together_payload = 0;
    nat_fixture_address(fixture, "2001:db8:1::1", 10000, 20000);
    nat_fixture_source(fixture, 11, "2001:db8:1::1", 0);
    nat_fixture_commit(fixture);
    guest = end_of("10.0.0.5", 4000);
    server = end_of("198.51.100.7", 53);
    return 0;
}

static int teardown(void **state)
{
    nat_fixture_free(fixture);
    return 0;
}

/* Bytes from `start` on of the datagram's payload as a fragment. */
static void cut_ipv4(struct flat *flat, uint32_t start, uint32_t size, unsigned identification)
{
    uint32_t payload = whole.size - 34, part = size < payload - start ? size : payload - start;
    flat->size = 0;
    put(flat, whole.bytes, 34);
    put(flat, whole.bytes + 34 + start, part);
    set16(flat->bytes + 14 + 2, 20 + part);
    set16(flat->bytes + 14 + 4, identification);
    set16(flat->bytes + 14 + 6, (start + part < payload ? 0x2000 : 0) | start / 8);
    frame_finish_ipv4(flat);
}

static void cut_ipv6(struct flat *flat, uint32_t start, uint32_t size, unsigned identification)
{
    uint32_t payload = whole.size - 54, part = size < payload - start ? size : payload - start;
    flat->size = 0;
    put(flat, whole.bytes, 54);
    put8(flat, whole.bytes[14 + 6]);
    put8(flat, 0);
    put16(flat, start | (start + part < payload));
    put32(flat, identification);
    put(flat, whole.bytes + 54 + start, part);
    set16(flat->bytes + 14 + 4, 8 + part);
    flat->bytes[14 + 6] = 44;
}

static void cut_whole(struct flat *flat, uint32_t start, uint32_t size, unsigned identification)
{
    if (whole.bytes[14] >> 4 == 4)
        cut_ipv4(flat, start, size, identification);
    else
        cut_ipv6(flat, start, size, identification);
}

static void collect(const struct flat *flat)
{
    bool ipv4 = flat->bytes[14] >> 4 == 4;
    uint32_t header = ipv4 ? 20 : 40, more = ipv4 ? 0 : 8;
    uint32_t start = ipv4 ? (get16(flat->bytes + 20) & 0x1fff) * 8 : get16(flat->bytes + 56) & 0xfff8;
    uint32_t size = flat->size - 14 - header - more;
    memcpy(together.bytes, flat->bytes, 14 + header);
    memcpy(together.bytes + 14 + header + start, flat->bytes + 14 + header + more, size);
    together_payload += size;
    together.size = together_payload + 14 + header;
}

static void check_together(void)
{
    bool ipv4 = together.bytes[14] >> 4 == 4;
    assert_int_equal(together.size, whole.size);
    if (ipv4) {
        set16(together.bytes + 16, together.size - 14);
        set16(together.bytes + 20, 0);
        frame_finish_ipv4(&together);
    } else {
        set16(together.bytes + 18, together.size - 54);
        together.bytes[20] = whole.bytes[20];
    }
    assert_true(frame_checksums(&together));
    together_payload = 0;
}

static void send_part(bool out, const struct flat *flat, bool expect_held)
{
    struct seen seen = out ? outbound(fixture, 11, flat) : inbound(fixture, flat);
    assert_int_equal(seen.drop, DP_DROP_COUNT);
    assert_int_equal(seen.held, expect_held);
    if (!seen.held)
        collect(&seen.frame);
    struct seen more;
    while (release_one(fixture, &more)) {
        assert_int_equal(more.outcome.outside, seen.outcome.outside);
        assert_int_equal(more.outcome.router, seen.outcome.router);
        collect(&more.frame);
    }
}

/* Large datagrams, all orders of three fragments, both directions, both families. */
static void test_req14_all_orders(void **state)
{
    static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static struct flat flat;
    for (unsigned family = 0; family < 2; family++) {
        struct end from = family ? end_of("fd00::5", 4000) : guest;
        struct end to = family ? end_of("2001:db8::7", 53) : server;
        struct end mapped = udp_out(fixture, 11, from, to).source;
        for (unsigned i = 0; i < 12; i++) {
            bool out = i & 1, first_seen = false;
            if (out)
                frame_udp(&whole, from, to, 4000);
            else
                frame_udp(&whole, to, mapped, 4000);
            for (unsigned j = 0; j < 3; j++) {
                unsigned part = orders[i / 2][j];
                cut_whole(&flat, part * 1480, 1480, 500 + i);
                first_seen |= part == 0;
                send_part(out, &flat, !first_seen);
            }
            check_together();
        }
    }
    assert_int_equal(router_state(fixture, 1).fragments, 0); /* complete: forgotten */
}

/* TCP and ICMP have fragments too. */
static void test_other_protocols(void **state)
{
    static struct flat flat;
    frame_icmp(&whole, guest, server, 8, 0, 77, 3000);
    for (unsigned part = 0; part < 3; part++) {
        cut_whole(&flat, part * 1480, 1480, 9);
        send_part(true, &flat, false);
    }
    check_together();
    frame_tcp(&whole, guest, server, 2, 3000);
    for (unsigned part = 3; part-- > 0;) {
        cut_whole(&flat, part * 1480, 1480, 10);
        send_part(true, &flat, part != 0);
    }
    check_together();
}

/* RFC 4787 REQ-14 a: the first comes last, after 64 KiB in pieces of many. */
static void test_reverse_order_large(void **state)
{
    static struct flat flat;
    frame_udp(&whole, guest, server, 60000);
    for (unsigned part = 7; part-- > 0;) {
        cut_whole(&flat, part * 8968, 8968, 11);
        send_part(true, &flat, part != 0);
    }
    check_together();
}

/* A datagram that overlaps itself is dropped from there on. */
static void test_req14_overlap(void **state)
{
    static struct flat flat;
    frame_udp(&whole, guest, server, 4000);
    cut_whole(&flat, 0, 1480, 1);
    send_part(true, &flat, false);
    cut_whole(&flat, 1472, 1480, 1);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_FRAGMENT);
    cut_whole(&flat, 2960, 1480, 1);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_FRAGMENT);
    cut_whole(&flat, 1480, 1480, 2); /* held, then overlapped by the first */
    assert_true(outbound(fixture, 11, &flat).held);
    cut_whole(&flat, 0, 1488, 2);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_FRAGMENT);
    struct seen none;
    assert_false(release_one(fixture, &none));
    pass(fixture, 40);
    assert_int_equal(router_state(fixture, 1).fragments, 0);
}

/* A first fragment without its transport header; parts of a wrong size; beyond 64 KiB. */
static void test_malformed(void **state)
{
    static struct flat flat;
    frame_tcp(&whole, guest, server, 2, 4000);
    cut_whole(&flat, 0, 16, 1);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_FRAGMENT);
    cut_whole(&flat, 16, 1480, 1);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_FRAGMENT);
    cut_whole(&flat, 0, 1481, 2);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_FRAGMENT);
    cut_whole(&flat, 1480, 1480, 3);
    set16(flat.bytes + 20, 0x1fff);
    frame_finish_ipv4(&flat);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_FRAGMENT);
    assert_int_equal(session_count(fixture), 0);
}

/* What waits in vain goes after 15 s; a later first does not find it. */
static void test_req14_lifetime(void **state)
{
    static struct flat flat;
    frame_udp(&whole, guest, server, 4000);
    cut_whole(&flat, 1480, 1480, 1);
    assert_true(outbound(fixture, 11, &flat).held);
    assert_int_equal(router_state(fixture, 1).fragments, 1);
    pass(fixture, 40);
    assert_int_equal(router_state(fixture, 1).fragments, 0);
    cut_whole(&flat, 0, 1480, 1);
    struct seen none;
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_COUNT);
    assert_false(release_one(fixture, &none));
}

static unsigned flood(unsigned count)
{
    static struct flat flat;
    unsigned held = 0;
    for (unsigned i = 0; i < count; i++) {
        cut_whole(&flat, 1480, 1480, i);
        struct seen seen = outbound(fixture, 11, &flat);
        held += seen.held;
        assert_true(seen.held || seen.drop == DP_DROP_NAT_FRAGMENT);
    }
    return held;
}

/* A guest that sends fragments without a first meets its own quota, then its tenant its own; another guest,
 * another tenant do not notice. */
static void test_req14_quota(void **state)
{
    static struct flat flat;
    frame_udp(&whole, guest, server, 4000);
    assert_in_range(flood(5000), 100, 128);
    frame_udp(&whole, end_of("10.0.0.6", 4000), server, 4000);
    assert_in_range(flood(5000), 100, 128);
    frame_udp(&whole, end_of("10.0.0.7", 4000), server, 4000);
    flood(5000);
    assert_in_range(router_state(fixture, 1).fragments, 200, 256);
    frame_udp(&whole, guest, server, 4000);
    for (unsigned i = 0; i < 100; i++) {
        cut_whole(&flat, 1480, 1480, i);
        assert_true(outbound(fixture, 21, &flat).held);
        cut_whole(&flat, 0, 1480, i);
        assert_int_equal(outbound(fixture, 21, &flat).drop, DP_DROP_COUNT);
        struct seen seen;
        assert_true(release_one(fixture, &seen));
        assert_false(release_one(fixture, &seen));
    }
    pass(fixture, 40);
    cut_whole(&flat, 1480, 1480, 1);
    assert_true(outbound(fixture, 11, &flat).held);
}

/* Inbound fragments that nobody asked for. */
static void test_inbound_without_session(void **state)
{
    static struct flat flat;
    frame_udp(&whole, server, end_of("192.0.2.1", 15000), 4000);
    cut_whole(&flat, 1480, 1480, 1);
    assert_true(inbound(fixture, &flat).held);
    cut_whole(&flat, 0, 1480, 1);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_NAT_NO_SESSION);
    cut_whole(&flat, 2960, 1480, 1);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_NAT_FRAGMENT);
}

/* RFC 4787 REQ-14 a: pieces from outside that belong to nothing cost nobody a datagram that comes in order.
 */
static void test_req14_flood_from_outside(void **state)
{
    static struct flat flat;
    struct end mapped = udp_out(fixture, 11, guest, server).source;
    unsigned held = 0;
    for (unsigned i = 0; i < 30000; i++) {
        frame_udp(&whole, end_of("203.0.113.9", i), end_of("192.0.2.1", i), 4000);
        cut_whole(&flat, 1480, 1480, i);
        held += inbound(fixture, &flat).held;
    }
    assert_in_range(held, 900, 1024);
    for (unsigned i = 0; i < 200; i++) {
        frame_udp(&whole, server, mapped, 4000);
        for (unsigned part = 0; part < 3; part++) {
            cut_whole(&flat, part * 1480, 1480, i);
            send_part(false, &flat, false);
        }
        check_together();
    }
    /* and from another tenant's view nothing happened either */
    frame_udp(&whole, guest, server, 4000);
    cut_whole(&flat, 1480, 1480, 1);
    assert_true(outbound(fixture, 21, &flat).held);
}

/* An IPv6 packet with a fragment header that is whole (RFC 6946). */
static void test_atomic_fragment(void **state)
{
    static struct flat flat;
    frame_udp(&whole, end_of("fd00::5", 4000), end_of("2001:db8::7", 53), 400);
    cut_whole(&flat, 0, 1480, 1);
    send_part(true, &flat, false);
    check_together();
    assert_int_equal(router_state(fixture, 1).fragments, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_req14_all_orders), TEST(test_other_protocols),
        TEST(test_req14_overlap),    TEST(test_reverse_order_large),
        TEST(test_malformed),        TEST(test_req14_lifetime),
        TEST(test_req14_quota),      TEST(test_inbound_without_session),
        TEST(test_atomic_fragment),  TEST(test_req14_flood_from_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
