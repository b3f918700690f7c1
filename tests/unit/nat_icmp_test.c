/* SPDX-License-Identifier: BSD-3-Clause */
/* Address translation of ICMP against RFC 5508, requirement by requirement (docs/nat.md). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "nat_fixture.h"

static struct nat_fixture *fixture;
static struct end guest, server, node;

static int setup(void **state)
{
    fixture = nat_fixture_plain();
    nat_fixture_address(fixture, "2001:db8:1::1", 10000, 20000);
    nat_fixture_source(fixture, 11, "2001:db8:1::1", 0);
    nat_fixture_commit(fixture);
    guest = end_of("10.0.0.5", 4000);
    server = end_of("198.51.100.7", 53);
    node = end_of("203.0.113.9", 0); /* on the way */
    return 0;
}

static int teardown(void **state)
{
    nat_fixture_free(fixture);
    return 0;
}

static struct seen ping_out(struct end from, struct end to, unsigned type, unsigned identifier)
{
    struct flat flat;
    frame_icmp(&flat, from, to, type, 0, identifier, 56);
    return outbound(fixture, 11, &flat);
}

static struct seen ping_in(struct end from, struct end to, unsigned type, unsigned identifier)
{
    struct flat flat;
    frame_icmp(&flat, from, to, type, 0, identifier, 56);
    return inbound(fixture, &flat);
}

/* REQ-1: queries and their answers; endpoint-independent mapping of identifiers. */
static void test_req1_query_mapping(void **state)
{
    struct end second = end_of("198.51.100.9", 0);
    struct seen out = ping_out(guest, server, 8, 77);
    assert_int_equal(out.drop, DP_DROP_COUNT);
    assert_in_range(out.source.port, 10000, 20000);
    struct seen back = ping_in(server, out.source, 0, out.source.port);
    assert_int_equal(back.drop, DP_DROP_COUNT);
    assert_int_equal(back.destination.port, 77);
    assert_memory_equal(back.destination.address, guest.address, 16);
    assert_int_equal(ping_out(guest, second, 8, 77).source.port, out.source.port);
    assert_int_not_equal(ping_out(guest, server, 8, 78).source.port, out.source.port);
    assert_int_equal(ping_out(guest, server, 13, 90).drop, DP_DROP_COUNT); /* timestamp */
    assert_int_equal(ping_in(node, out.source, 0, out.source.port).drop, DP_DROP_NAT_NO_SESSION);
}

/* REQ-2: not less than 60 s. */
static void test_req2_query_timer(void **state)
{
    struct seen out = ping_out(guest, server, 8, 77);
    pass(fixture, 60);
    assert_int_equal(ping_in(server, out.source, 0, out.source.port).drop, DP_DROP_COUNT);
    pass(fixture, 125);
    assert_int_equal(session_count(fixture), 0);
}

/* Answers open no session; what is neither query nor error does not pass. */
static void test_req1_answers_open_nothing(void **state)
{
    assert_int_equal(ping_out(guest, server, 0, 77).drop, DP_DROP_NAT_STATE);
    assert_int_equal(ping_out(guest, server, 5, 77).drop, DP_DROP_NAT_STATE);
    assert_int_equal(ping_out(guest, server, 9, 77).drop, DP_DROP_NAT_STATE);
    assert_int_equal(ping_in(server, end_of("192.0.2.1", 0), 8, 77).drop, DP_DROP_NAT_NO_SESSION);
    assert_int_equal(session_count(fixture), 0);
}

/* The error about a translated packet, as the guest gets it, must quote what the guest sent. */
static void check_error_in(const struct flat *sent, const struct flat *translated, unsigned type,
                           unsigned code, uint32_t part, struct end from, struct end to)
{
    struct flat flat;
    frame_icmp_error(&flat, from, to, type, code, translated, part);
    struct seen seen = inbound(fixture, &flat);
    bool ipv4 = flat.bytes[14] >> 4 == 4;
    uint32_t inner = 14 + (ipv4 ? 20 : 40) + 8;
    uint32_t quoted = sent->size - 14 < part ? sent->size - 14 : part;
    uint32_t compared = quoted < 96 ? quoted : 96; /* private bytes: what follows was not touched */
    assert_int_equal(seen.drop, DP_DROP_COUNT);
    assert_memory_equal(seen.source.address, from.address, 16); /* REQ-4: the reporter stays */
    assert_memory_equal(seen.frame.bytes + inner, sent->bytes + 14, compared);
    assert_int_equal(seen.outcome.outside, 11);
    assert_int_equal(seen.outcome.router, 1);
}

/* REQ-3, REQ-4: errors from outside, inner headers and checksums translated back. */
static void test_req4_errors_from_outside(void **state)
{
    static const unsigned types[][2] = {{3, 1}, {3, 3}, {3, 4}, {11, 0}, {12, 0}};
    struct flat sent;
    for (unsigned i = 0; i < 5; i++) {
        for (uint32_t part = 28; part < 120; part += 8) {
            frame_udp(&sent, guest, server, 40);
            struct seen out = outbound(fixture, 11, &sent);
            check_error_in(&sent, &out.frame, types[i][0], types[i][1], part, node, out.source);
            frame_tcp(&sent, guest, server, 2, 40);
            out = outbound(fixture, 11, &sent);
            check_error_in(&sent, &out.frame, types[i][0], types[i][1], part, node, out.source);
            frame_icmp(&sent, guest, server, 8, 0, 99, 40);
            out = outbound(fixture, 11, &sent);
            check_error_in(&sent, &out.frame, types[i][0], types[i][1], part, node, out.source);
        }
    }
}

/* REQ-3 a, b: a wrong ICMP checksum or inner header checksum: dropped. */
static void test_req3_checksums_are_validated(void **state)
{
    struct flat sent, flat;
    frame_udp(&sent, guest, server, 40);
    struct seen out = outbound(fixture, 11, &sent);
    frame_icmp_error(&flat, node, out.source, 3, 3, &out.frame, 60);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_COUNT);
    flat.bytes[14 + 20 + 2] ^= 1;
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_L3_MALFORMED);
    struct flat damaged = out.frame;
    damaged.bytes[14 + 8] ^= 1; /* TTL */
    frame_icmp_error(&flat, node, out.source, 3, 3, &damaged, 60);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_NAT_STATE);
    frame_icmp_error(&flat, node, out.source, 3, 3, &out.frame, 27); /* ports not whole */
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_NAT_STATE);
}

/* REQ-3 b, c: the quoted packet may have options; its transport checksum is nobody's business here. */
static void test_req3_embedded_packet(void **state)
{
    struct flat sent, flat, quoted;
    frame_udp(&sent, guest, server, 40);
    struct seen out = outbound(fixture, 11, &sent);
    quoted = out.frame;
    memmove(quoted.bytes + 14 + 24, quoted.bytes + 14 + 20, quoted.size - 34);
    memset(quoted.bytes + 14 + 20, 1, 4); /* no operation */
    quoted.size += 4;
    quoted.bytes[14] = 0x46;
    set16(quoted.bytes + 16, quoted.size - 14);
    set16(quoted.bytes + 24, 0);
    set16(quoted.bytes + 24, 0xffff - slow_sum(quoted.bytes + 14, 24, 0));
    frame_icmp_error(&flat, node, out.source, 3, 3, &quoted, 60);
    struct seen in = inbound(fixture, &flat);
    assert_int_equal(in.drop, DP_DROP_COUNT);
    assert_memory_equal(in.frame.bytes + 14 + 28 + 12, guest.address + 12, 4);
    assert_int_equal(get16(in.frame.bytes + 14 + 28 + 24), guest.port);
    quoted = out.frame;
    quoted.bytes[14 + 26] ^= 0x40; /* UDP's checksum */
    frame_icmp_error(&flat, node, out.source, 3, 3, &quoted, 40);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_COUNT);
}

/* REQ-4: without a session, or to another address than the quoted source: dropped. */
static void test_req4_error_without_session(void **state)
{
    struct flat sent, flat;
    frame_udp(&sent, end_of("192.0.2.1", 15000), server, 40);
    frame_icmp_error(&flat, node, end_of("192.0.2.1", 0), 3, 3, &sent, 60);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_NAT_NO_SESSION);
    frame_icmp_error(&flat, node, end_of("192.0.2.2", 0), 3, 3, &sent, 60);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_NAT_STATE);
    frame_icmp_error(&flat, guest, server, 3, 3, &sent, 60);
    assert_int_equal(outbound(fixture, 11, &flat).drop, DP_DROP_NAT_STATE);
    assert_int_equal(session_count(fixture), 0);
}

/* REQ-5: errors from inside: the outer source and the quoted destination are those seen outside. */
static void test_req5_errors_from_inside(void **state)
{
    struct flat flat, received;
    struct seen out = udp_out(fixture, 11, guest, server);
    frame_udp(&received, server, out.source, 33);
    struct seen in = inbound(fixture, &received);
    frame_icmp_error(&flat, guest, server, 3, 3, &in.frame, 60);
    struct seen error = outbound(fixture, 11, &flat);
    assert_int_equal(error.drop, DP_DROP_COUNT);
    assert_memory_equal(error.source.address, out.source.address, 16);
    assert_memory_equal(error.frame.bytes + 14 + 28, received.bytes + 14, 60);
    frame_icmp_error(&flat, end_of("10.0.0.77", 0), server, 11, 0, &in.frame, 60); /* a node behind it */
    error = outbound(fixture, 11, &flat);
    assert_memory_equal(error.source.address, out.source.address, 16);
}

/* REQ-6: errors do not end or refresh a session. */
static void test_req6_error_leaves_session_alone(void **state)
{
    struct flat sent, flat;
    frame_udp(&sent, guest, server, 40);
    struct seen out = outbound(fixture, 11, &sent);
    frame_icmp_error(&flat, node, out.source, 3, 3, &out.frame, 60);
    pass(fixture, 100);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_COUNT);
    assert_int_equal(udp_in(fixture, server, out.source).drop, DP_DROP_COUNT);
    pass(fixture, 250);
    assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_COUNT);
    pass(fixture, 115);
    assert_int_equal(session_count(fixture), 0);
}

/* REQ-7: hairpinned errors, and traceroute to a forwarded address. */
static void test_req7_hairpinned_error(void **state)
{
    nat_fixture_forward(fixture, "192.0.2.1", 17, 7000, 7000, 12, "10.0.0.6", 60);
    nat_fixture_commit(fixture);
    struct flat flat, sent;
    frame_udp(&sent, guest, end_of("192.0.2.1", 7000), 40);
    struct seen out = outbound(fixture, 11, &sent);
    struct seen in = inbound(fixture, &out.frame);
    frame_icmp_error(&flat, end_of("10.0.0.6", 0), in.source, 3, 3, &in.frame, 60);
    struct seen error = outbound(fixture, 12, &flat);
    assert_int_equal(error.drop, DP_DROP_COUNT);
    assert_memory_equal(error.source.address, end_of("192.0.2.1", 0).address, 16);
    struct seen back = inbound(fixture, &error.frame);
    assert_int_equal(back.drop, DP_DROP_COUNT);
    assert_memory_equal(back.destination.address, guest.address, 16);
    assert_memory_equal(back.frame.bytes + 14 + 28, sent.bytes + 14, 60);
}

/* REQ-7: a query to another guest's 1:1 address, and its answer. */
static void test_req7_hairpinned_query(void **state)
{
    nat_fixture_one_to_one(fixture, "192.0.2.50", 12, "10.0.0.7");
    nat_fixture_commit(fixture);
    struct seen out = ping_out(guest, end_of("192.0.2.50", 0), 8, 77);
    struct seen in = inbound(fixture, &out.frame);
    assert_int_equal(in.drop, DP_DROP_COUNT);
    assert_int_equal(in.outcome.outside, 12);
    assert_memory_equal(in.source.address, end_of("192.0.2.1", 0).address, 16);
    assert_memory_equal(in.destination.address, end_of("10.0.0.7", 0).address, 16);
    struct flat flat;
    frame_icmp(&flat, in.destination, in.source, 0, 0, in.source.port, 56);
    struct seen answer = outbound(fixture, 12, &flat);
    struct seen back = inbound(fixture, &answer.frame);
    assert_int_equal(back.drop, DP_DROP_COUNT);
    assert_memory_equal(back.source.address, end_of("192.0.2.50", 0).address, 16);
    assert_memory_equal(back.destination.address, guest.address, 16);
    assert_int_equal(back.destination.port, 77);
}

/* REQ-10 c, REQ-11: source quench, redirects, information requests, advertisements do not pass. */
static void test_req10_messages_not_supported(void **state)
{
    static const unsigned types[] = {4, 5, 9, 10, 15, 16, 17, 18, 30, 40};
    struct flat sent, flat;
    frame_udp(&sent, guest, server, 40);
    struct seen out = outbound(fixture, 11, &sent);
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        frame_icmp_error(&flat, node, out.source, types[i], 0, &out.frame, 60);
        assert_int_equal(inbound(fixture, &flat).drop, DP_DROP_NAT_STATE);
        assert_int_equal(ping_out(guest, server, types[i], 77).drop, DP_DROP_NAT_STATE);
    }
    assert_int_equal(session_count(fixture), 1);
}

/* NAT66: echo, and errors with their pseudo headers. */
static void test_icmpv6(void **state)
{
    struct end from = end_of("fd00::5", 4000), to = end_of("2001:db8::7", 53);
    struct end router = end_of("2001:db8:9::1", 0);
    struct seen out = ping_out(from, to, 128, 77);
    assert_int_equal(out.drop, DP_DROP_COUNT);
    struct seen back = ping_in(to, out.source, 129, out.source.port);
    assert_int_equal(back.destination.port, 77);
    assert_int_equal(ping_out(from, to, 135, 77).drop, DP_DROP_NAT_STATE);
    static const unsigned types[][2] = {{1, 4}, {2, 0}, {3, 0}, {4, 1}};
    struct flat sent;
    for (unsigned i = 0; i < 4; i++) {
        for (uint32_t part = 48; part < 140; part += 8) {
            frame_udp(&sent, from, to, 80);
            out = outbound(fixture, 11, &sent);
            check_error_in(&sent, &out.frame, types[i][0], types[i][1], part, router, out.source);
            frame_icmp(&sent, from, to, 128, 0, 98, 80);
            out = outbound(fixture, 11, &sent);
            check_error_in(&sent, &out.frame, types[i][0], types[i][1], part, router, out.source);
            frame_tcp(&sent, from, to, 2, 80);
            out = outbound(fixture, 11, &sent);
            check_error_in(&sent, &out.frame, types[i][0], types[i][1], part, router, out.source);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_req1_query_mapping),
        TEST(test_req2_query_timer),
        TEST(test_req1_answers_open_nothing),
        TEST(test_req4_errors_from_outside),
        TEST(test_req3_checksums_are_validated),
        TEST(test_req3_embedded_packet),
        TEST(test_req4_error_without_session),
        TEST(test_req5_errors_from_inside),
        TEST(test_req6_error_leaves_session_alone),
        TEST(test_req7_hairpinned_error),
        TEST(test_req7_hairpinned_query),
        TEST(test_req10_messages_not_supported),
        TEST(test_icmpv6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
