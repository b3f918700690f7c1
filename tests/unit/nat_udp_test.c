/* SPDX-License-Identifier: BSD-3-Clause */
/* Address translation of UDP against RFC 4787, requirement by requirement (docs/nat.md). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "nat_fixture.h"

static struct nat_fixture *fixture;
static struct end guest, server, other;

static int setup(void **state)
{
    fixture = nat_fixture_plain();
    guest = end_of("10.0.0.5", 4000);
    server = end_of("198.51.100.7", 53);
    other = end_of("198.51.100.8", 99);
    return 0;
}

static int teardown(void **state)
{
    nat_fixture_free(fixture);
    return 0;
}

static void test_out_and_back(void **state)
{
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
}

/* REQ-1: one outside endpoint for an inside one, whoever it talks to. */
static void test_req1_endpoint_independent_mapping(void **state)
{
    struct end first = {0};
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
    struct seen second = udp_out(fixture, 11, end_of("10.0.0.5", 4001), end_of("198.51.100.1", 51));
    assert_int_not_equal(second.source.port, first.port);
    assert_int_equal(router_state(fixture, 1).mappings, 2);
}

/* The mapping outlives its first session, whose index entry another one takes over. */
static void test_req1_mapping_outlives_first_session(void **state)
{
    struct end mapped = udp_out(fixture, 11, guest, server).source;
    for (unsigned i = 0; i < 6; i++) {
        pass(fixture, 100);
        assert_true(end_equal(udp_out(fixture, 11, guest, other).source, mapped));
    }
    assert_int_equal(session_count(fixture), 1);
    assert_true(end_equal(udp_out(fixture, 11, guest, server).source, mapped));
    pass(fixture, 1000);
    assert_int_equal(session_count(fixture), 0);
    assert_int_equal(router_state(fixture, 1).mappings, 0);
}

/* REQ-2: a guest keeps one address of several ("paired"); guests are spread. */
static void test_req2_address_pooling_paired(void **state)
{
    nat_fixture_address(fixture, "192.0.2.2", 10000, 20000);
    nat_fixture_address(fixture, "192.0.2.3", 10000, 20000);
    nat_fixture_source(fixture, 11, "192.0.2.2", 0);
    nat_fixture_source(fixture, 11, "192.0.2.3", 0);
    nat_fixture_commit(fixture);
    unsigned used[4] = {0};
    for (unsigned i = 1; i < 250; i++) {
        char text[32];
        snprintf(text, sizeof(text), "10.0.0.%u", i);
        struct seen first = udp_out(fixture, 11, end_of(text, 1000), server);
        struct seen second = udp_out(fixture, 11, end_of(text, 1001), other);
        struct seen tcp = tcp_out(fixture, 11, end_of(text, 1002), other, 2);
        assert_memory_equal(first.source.address, second.source.address, 16);
        assert_memory_equal(first.source.address, tcp.source.address, 16);
        assert_in_range(first.source.address[15], 1, 3);
        used[first.source.address[15]]++;
    }
    assert_true(used[1] > 20 && used[2] > 20 && used[3] > 20);
}

/* REQ-3 (no port overloading): two inside endpoints never have one outside endpoint, also towards different
 * remotes. */
static void test_req3_no_port_overloading(void **state)
{
    static bool taken[65536];
    memset(taken, 0, sizeof(taken));
    for (unsigned i = 0; i < 5000; i++) {
        struct seen seen = udp_out(fixture, i & 1 ? 11 : 21, end_of("10.0.0.5", 1024 + i), server);
        assert_int_equal(seen.drop, DP_DROP_COUNT);
        assert_in_range(seen.source.port, 10000, 20000);
        assert_false(taken[seen.source.port]);
        taken[seen.source.port] = true;
    }
}

/* Tenant 1 alone, behind ports 10000 to `last`. */
static void alone(unsigned last)
{
    nat_fixture_free(fixture);
    fixture = nat_fixture_new(100000);
    nat_fixture_router(fixture, 1, 0, 0);
    nat_fixture_address(fixture, "192.0.2.1", 10000, last);
    nat_fixture_source(fixture, 11, "192.0.2.1", 0);
    nat_fixture_commit(fixture);
}

/* All ports of the range are used before one is refused, then by name; a freed one is used again. */
static void test_req3_ports_exhausted(void **state)
{
    alone(10099);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(udp_out(fixture, 11, end_of("10.0.0.5", 1024 + i), server).drop, DP_DROP_COUNT);
    assert_int_equal(udp_out(fixture, 11, end_of("10.0.0.5", 3000), server).drop, DP_DROP_NAT_NO_PORT);
    assert_int_equal(router_state(fixture, 1).sessions_refused, 1);
    assert_int_equal(tcp_out(fixture, 11, end_of("10.0.0.5", 3000), server, 2).drop, DP_DROP_COUNT);
    struct dp_nat_address key = {.port = OUTSIDE, .port_first = 10000, .port_last = 10099};
    struct dp_nat_address_state address;
    memcpy(key.address, end_of("192.0.2.1", 0).address, 16);
    nat_address_state(fixture->nat, &key, &address);
    assert_int_equal(address.ports, 100);
    assert_int_equal(address.udp_used, 100);
    assert_int_equal(address.tcp_used, 1);
    assert_int_equal(address.refused, 1);
    /* another remote of a mapped endpoint needs no port */
    assert_int_equal(udp_out(fixture, 11, end_of("10.0.0.5", 1024), other).drop, DP_DROP_COUNT);
    pass(fixture, 400);
    assert_int_equal(udp_out(fixture, 11, end_of("10.0.0.5", 3000), server).drop, DP_DROP_COUNT);
}

/* No guest may speak as the tunnel endpoint. */
static void test_tunnel_port_is_never_taken(void **state)
{
    nat_fixture_address(fixture, "192.0.2.1", 4780, 4799);
    nat_fixture_commit(fixture);
    for (unsigned i = 0; i < 19; i++)
        assert_int_not_equal(udp_out(fixture, 11, end_of("10.0.0.5", 1024 + i), server).source.port, 4789);
    assert_int_equal(udp_out(fixture, 11, end_of("10.0.0.5", 3000), server).drop, DP_DROP_NAT_NO_PORT);
}

/* RFC 6056: where ports come from cannot be told from those before. */
static void test_rfc6056_ports_are_spread(void **state)
{
    unsigned near = 0;
    uint16_t last = 0;
    for (unsigned i = 0; i < 200; i++) {
        uint16_t port = udp_out(fixture, 11, end_of("10.0.0.5", 1024 + i), server).source.port;
        near += (uint16_t)(port - last + 50) < 100;
        last = port;
    }
    assert_true(near < 50);
}

/* REQ-5: not less than two minutes; 5 minutes when answered. */
static void test_req5_timers(void **state)
{
    struct seen out = udp_out(fixture, 11, guest, server);
    pass(fixture, 120);
    assert_int_equal(udp_in(fixture, server, out.source).drop, DP_DROP_COUNT);
    pass(fixture, 300);
    assert_int_equal(udp_in(fixture, server, out.source).drop, DP_DROP_COUNT);
    pass(fixture, 301); /* expired, whether its wheel slot has come or not */
    assert_int_equal(udp_in(fixture, server, out.source).drop, DP_DROP_NAT_NO_SESSION);
    out = udp_out(fixture, 11, guest, server);
    pass(fixture, 190);
    assert_int_equal(session_count(fixture), 0);
    assert_int_equal(udp_in(fixture, server, out.source).drop, DP_DROP_NAT_NO_SESSION);
}

/* REQ-6: packets from inside refresh; so do those from outside (a MAY). */
static void test_req6_refresh(void **state)
{
    struct seen out = udp_out(fixture, 11, guest, server);
    udp_in(fixture, server, out.source);
    for (unsigned i = 0; i < 10; i++) {
        pass(fixture, 290);
        assert_true(end_equal(udp_out(fixture, 11, guest, server).source, out.source));
    }
    for (unsigned i = 0; i < 10; i++) {
        pass(fixture, 290);
        assert_int_equal(udp_in(fixture, server, out.source).drop, DP_DROP_COUNT);
    }
    assert_int_equal(router_state(fixture, 1).sessions_created, 1);
}

/* A packet after the time, before the wheel has come by: a new session, not the old one. */
static void test_req5_expired_session_is_not_used(void **state)
{
    udp_out(fixture, 11, guest, server);
    fixture->context.now_s += 121;
    assert_int_equal(udp_out(fixture, 11, guest, server).drop, DP_DROP_COUNT);
    assert_int_equal(router_state(fixture, 1).sessions_created, 2);
    assert_int_equal(router_state(fixture, 1).sessions, 1);
}

/* REQ-7: the same inside addresses at two tenants, and at two interfaces. */
static void test_req7_overlapping_inside(void **state)
{
    struct seen a = udp_out(fixture, 11, guest, server), b = udp_out(fixture, 21, guest, server);
    struct seen c = udp_out(fixture, 12, guest, server);
    assert_int_not_equal(a.source.port, b.source.port);
    assert_int_not_equal(a.source.port, c.source.port);
    assert_int_equal(udp_in(fixture, server, a.source).outcome.outside, 11);
    assert_int_equal(udp_in(fixture, server, b.source).outcome.outside, 21);
    assert_int_equal(udp_in(fixture, server, b.source).outcome.router, 2);
    assert_int_equal(udp_in(fixture, server, c.source).outcome.outside, 12);
}

/* REQ-8: address and port dependent filter by default. */
static void test_req8_filter_address_and_port_dependent(void **state)
{
    struct seen out = udp_out(fixture, 11, guest, server);
    struct end same_address = server;
    same_address.port++;
    assert_int_equal(udp_in(fixture, server, out.source).drop, DP_DROP_COUNT);
    assert_int_equal(udp_in(fixture, same_address, out.source).drop, DP_DROP_NAT_NO_SESSION);
    assert_int_equal(udp_in(fixture, other, out.source).drop, DP_DROP_NAT_NO_SESSION);
    assert_int_equal(session_count(fixture), 1);
}

/* REQ-8: endpoint-independent filter on request, and nothing of it for those without. */
static void test_req8_filter_endpoint_independent(void **state)
{
    struct seen before = udp_out(fixture, 11, end_of("10.0.0.9", 9), server);
    nat_fixture_source(fixture, 11, "192.0.2.1", DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER);
    nat_fixture_commit(fixture);
    struct seen out = udp_out(fixture, 11, guest, server), closed = udp_out(fixture, 21, guest, server);
    struct seen in = udp_in(fixture, other, out.source);
    assert_int_equal(in.drop, DP_DROP_COUNT);
    assert_true(end_equal(in.destination, guest));
    assert_int_equal(udp_in(fixture, other, closed.source).drop, DP_DROP_NAT_NO_SESSION);
    assert_int_equal(udp_in(fixture, other, before.source).drop, DP_DROP_COUNT);
    struct seen answer = udp_out(fixture, 11, guest, other);
    assert_true(end_equal(answer.source, out.source));
    pass(fixture, 2000);
    assert_int_equal(udp_in(fixture, other, out.source).drop, DP_DROP_NAT_NO_SESSION);
    assert_int_equal(session_count(fixture), 0);
}

/* REQ-9: hairpin: two guests by their outside endpoints; the receiver sees the sender's outside one. */
static void test_req9_hairpinning(void **state)
{
    struct end peer = end_of("10.0.0.6", 6000);
    struct end a = udp_out(fixture, 11, guest, server).source, b = udp_out(fixture, 12, peer, server).source;
    assert_int_equal(udp_in(fixture, a, b).drop, DP_DROP_NAT_NO_SESSION); /* filtered */
    bool answer;
    assert_true(nat_has_address(fixture->config, OUTSIDE, b.address, &answer));
    /* the peer sends too: hole punching */
    struct seen punch = udp_out(fixture, 12, peer, a);
    assert_true(end_equal(punch.source, b));
    assert_int_equal(inbound(fixture, &punch.frame).drop, DP_DROP_NAT_NO_SESSION);
    struct seen out = udp_out(fixture, 11, guest, b);
    assert_true(end_equal(out.source, a));
    struct seen in = inbound(fixture, &out.frame);
    assert_int_equal(in.drop, DP_DROP_COUNT);
    assert_true(end_equal(in.source, a));
    assert_true(end_equal(in.destination, peer));
    assert_int_equal(in.outcome.outside, 12);
}

/* REQ-9 with a forward: a guest reaches another one by the outside address. */
static void test_req9_hairpinning_to_forward(void **state)
{
    nat_fixture_forward(fixture, "192.0.2.1", 17, 7000, 7009, 12, "10.0.0.6", 60);
    nat_fixture_commit(fixture);
    struct seen out = udp_out(fixture, 11, guest, end_of("192.0.2.1", 7003));
    struct seen in = inbound(fixture, &out.frame);
    assert_int_equal(in.drop, DP_DROP_COUNT);
    assert_true(end_equal(in.destination, end_of("10.0.0.6", 63)));
    struct seen answer = udp_out(fixture, 12, in.destination, in.source);
    assert_true(end_equal(answer.source, end_of("192.0.2.1", 7003)));
    struct seen back = inbound(fixture, &answer.frame);
    assert_true(end_equal(back.destination, guest));
    assert_int_equal(back.outcome.outside, 11);
}

/* REQ-10: payloads are not looked at (no ALG). REQ-11: what happens does not depend on what happened. */
static void test_req11_deterministic(void **state)
{
    for (unsigned i = 0; i < 300; i++) {
        struct end from = end_of("10.0.0.5", 1024 + i);
        struct end first = udp_out(fixture, 11, from, server).source;
        assert_true(end_equal(udp_out(fixture, 11, from, other).source, first));
        assert_int_equal(udp_in(fixture, other, first).drop, DP_DROP_COUNT);
        assert_int_equal(udp_in(fixture, end_of("203.0.113.1", 1), first).drop, DP_DROP_NAT_NO_SESSION);
    }
}

/* A UDP checksum of 0 stays 0 (RFC 768), one that becomes 0 is sent as 0xffff. */
static void test_checksum_zero(void **state)
{
    struct flat flat;
    frame_udp(&flat, guest, server, 18);
    set16(flat.bytes + 14 + 20 + 6, 0);
    struct seen out = outbound(fixture, 11, &flat);
    assert_int_equal(out.drop, DP_DROP_COUNT);
    assert_int_equal(get16(out.frame.bytes + 14 + 20 + 6), 0);
    unsigned zeros = 0;
    frame_udp(&flat, server, out.source, 18);
    for (unsigned i = 0; i < 65536; i++) { /* every value of a payload word: one gives the sum 0xffff */
        struct flat one = flat;
        set16(one.bytes + 14 + 28, i);
        frame_finish_udp(&one);
        struct seen in = inbound(fixture, &one);
        assert_int_equal(in.drop, DP_DROP_COUNT);
        assert_int_not_equal(get16(in.frame.bytes + 14 + 20 + 6), 0);
        zeros += get16(in.frame.bytes + 14 + 20 + 6) == 0xffff;
    }
    assert_int_equal(zeros, 1);
}

/* A checksum left to us: the field has the pseudo header's sum, and still does afterwards. */
static void test_partial_checksum(void **state)
{
    struct flat flat;
    struct frame_info info;
    struct nat_outcome outcome;
    bool held;
    frame_udp(&flat, guest, server, 30);
    set16(flat.bytes + 14 + 20 + 6, frame_pseudo_sum(&flat));
    struct cut *cut = cut_frame(flat.bytes, flat.size, PACKET_HEADER_MAX, 100);
    cut->packet.flags = VNET_F_NEEDS_CSUM;
    cut->packet.csum_start = 34;
    cut->packet.csum_offset = 6;
    assert_true(parse_l2(&cut->packet, &info) && parse_l3(&cut->packet, &info));
    assert_int_equal(nat_outbound(&fixture->context, 11, &cut->packet, &info, &outcome, &held),
                     DP_DROP_COUNT);
    flatten(&cut->packet, &flat);
    assert_int_equal(get16(flat.bytes + 14 + 20 + 6), frame_pseudo_sum(&flat));
    cut_free(cut);
}

/* A forward: in, back, and from the guest's port on its own; ranges; others' ports stay closed. */
static void test_forward(void **state)
{
    nat_fixture_forward(fixture, "192.0.2.1", 17, 7000, 7009, 11, "10.0.0.5", 60);
    nat_fixture_forward(fixture, "192.0.2.9", 17, 53, 53, 21, "10.0.0.5", 5353);
    nat_fixture_commit(fixture);
    for (unsigned i = 0; i < 10; i++) {
        struct seen in = udp_in(fixture, other, end_of("192.0.2.1", 7000 + i));
        assert_int_equal(in.drop, DP_DROP_COUNT);
        assert_true(end_equal(in.destination, end_of("10.0.0.5", 60 + i)));
        struct seen back = udp_out(fixture, 11, in.destination, other);
        assert_true(end_equal(back.source, end_of("192.0.2.1", 7000 + i)));
        struct seen own = udp_out(fixture, 11, in.destination, server);
        assert_true(end_equal(own.source, end_of("192.0.2.1", 7000 + i)));
    }
    assert_int_equal(udp_in(fixture, other, end_of("192.0.2.1", 6999)).drop, DP_DROP_NAT_NO_SESSION);
    assert_int_equal(udp_in(fixture, other, end_of("192.0.2.1", 7010)).drop, DP_DROP_NAT_NO_SESSION);
    struct seen in = udp_in(fixture, other, end_of("192.0.2.9", 53));
    assert_true(end_equal(in.destination, end_of("10.0.0.5", 5353)));
    assert_int_equal(in.outcome.router, 2);
    assert_int_equal(router_state(fixture, 2).sessions, 1);
}

/* Forwarded ports are not for the pool, whether the forward came before or after. */
static void test_forward_takes_port_from_pool(void **state)
{
    alone(10009);
    for (unsigned i = 0; i < 10; i++)
        udp_out(fixture, 11, end_of("10.0.0.5", 1024 + i), server);
    assert_int_equal(session_count(fixture), 10);
    nat_fixture_forward(fixture, "192.0.2.1", 17, 10003, 10004, 12, "10.0.0.6", 60);
    nat_fixture_commit(fixture);
    assert_int_equal(session_count(fixture), 8);
    pass(fixture, 1000);
    for (unsigned i = 0; i < 8; i++) {
        struct seen seen = udp_out(fixture, 11, end_of("10.0.0.5", 1024 + i), server);
        assert_int_equal(seen.drop, DP_DROP_COUNT);
        assert_true(seen.source.port != 10003 && seen.source.port != 10004);
    }
    assert_int_equal(udp_out(fixture, 11, end_of("10.0.0.5", 1050), server).drop, DP_DROP_NAT_NO_PORT);
}

/* 1:1 addresses: both directions, ports kept, all protocols. */
static void test_one_to_one(void **state)
{
    nat_fixture_one_to_one(fixture, "192.0.2.50", 11, "10.0.0.5");
    nat_fixture_commit(fixture);
    struct seen out = udp_out(fixture, 11, guest, server);
    assert_true(end_equal(out.source, end_of("192.0.2.50", 4000)));
    struct seen in = udp_in(fixture, other, end_of("192.0.2.50", 77));
    assert_true(end_equal(in.destination, end_of("10.0.0.5", 77)));
    assert_int_equal(in.outcome.outside, 11);
    assert_int_equal(tcp_in(fixture, other, end_of("192.0.2.50", 22), 2).drop, DP_DROP_COUNT);
    assert_int_equal(tcp_in(fixture, other, end_of("192.0.2.50", 23), 16).drop, DP_DROP_NAT_STATE);
    struct flat flat;
    frame_icmp(&flat, other, end_of("192.0.2.50", 0), 8, 0, 5, 20);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_COUNT);
    frame_other(&flat, other, end_of("192.0.2.50", 0), 47, 40);
    struct seen gre = inbound(fixture, &flat);
    assert_int_equal(gre.drop, DP_DROP_COUNT);
    assert_memory_equal(gre.destination.address, guest.address, 16);
    frame_other(&flat, guest, other, 47, 40);
    gre = outbound(fixture, 11, &flat);
    assert_int_equal(gre.drop, DP_DROP_COUNT);
    assert_memory_equal(gre.source.address, end_of("192.0.2.50", 0).address, 16);
    frame_other(&flat, end_of("10.0.0.6", 0), other, 47, 40);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_PROTOCOL);
    assert_int_equal(router_state(fixture, 1).sessions, 5);
    assert_int_equal(udp_out(fixture, 11, end_of("10.0.0.6", 4000), server).source.address[15], 1);
}

/* NAT66: the same code, 16 bytes of addresses. */
static void test_ipv6(void **state)
{
    struct end from = end_of("fd00::5", 4000), to = end_of("2001:db8::7", 53);
    assert_int_equal(udp_out(fixture, 11, from, to).drop, DP_DROP_NAT_NO_PORT);
    nat_fixture_address(fixture, "2001:db8:1::1", 10000, 20000);
    nat_fixture_source(fixture, 11, "2001:db8:1::1", 0);
    nat_fixture_one_to_one(fixture, "2001:db8:1::9", 11, "fd00::9");
    nat_fixture_commit(fixture);
    struct seen out = udp_out(fixture, 11, from, to);
    assert_int_equal(out.drop, DP_DROP_COUNT);
    assert_memory_equal(out.source.address, end_of("2001:db8:1::1", 0).address, 16);
    struct seen back = udp_in(fixture, to, out.source);
    assert_true(end_equal(back.destination, from));
    struct seen tcp = tcp_out(fixture, 11, end_of("fd00::9", 33), to, 2);
    assert_true(end_equal(tcp.source, end_of("2001:db8:1::9", 33)));
    assert_int_equal(udp_out(fixture, 11, guest, server).source.address[15], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_out_and_back),
        TEST(test_req1_endpoint_independent_mapping),
        TEST(test_req1_mapping_outlives_first_session),
        TEST(test_req2_address_pooling_paired),
        TEST(test_req3_no_port_overloading),
        TEST(test_req3_ports_exhausted),
        TEST(test_tunnel_port_is_never_taken),
        TEST(test_rfc6056_ports_are_spread),
        TEST(test_req5_timers),
        TEST(test_req6_refresh),
        TEST(test_req5_expired_session_is_not_used),
        TEST(test_req7_overlapping_inside),
        TEST(test_req8_filter_address_and_port_dependent),
        TEST(test_req8_filter_endpoint_independent),
        TEST(test_req9_hairpinning),
        TEST(test_req9_hairpinning_to_forward),
        TEST(test_req11_deterministic),
        TEST(test_checksum_zero),
        TEST(test_partial_checksum),
        TEST(test_forward),
        TEST(test_forward_takes_port_from_pool),
        TEST(test_one_to_one),
        TEST(test_ipv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
