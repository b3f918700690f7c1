/* SPDX-License-Identifier: BSD-3-Clause */
/* Address translation of TCP against RFC 5382, requirement by requirement (docs/nat.md). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "nat_fixture.h"

#define FIN     1u
#define SYN     2u
#define RST     4u
#define ACK     16u
#define SYN_ACK 18u

static struct nat_fixture *fixture;
static struct end guest, server, other;

static int setup(void **state)
{
    fixture = nat_fixture_plain();
    guest = end_of("10.0.0.5", 4000);
    server = end_of("198.51.100.7", 443);
    other = end_of("198.51.100.8", 99);
    return 0;
}

static int teardown(void **state)
{
    nat_fixture_free(fixture);
    return 0;
}

/* A connection from the guest; its outside endpoint. */
static struct end connect_out(struct end from, struct end to)
{
    struct seen syn = tcp_out(fixture, 11, from, to, SYN);
    assert_int_equal(syn.drop, DP_DROP_COUNT);
    assert_int_equal(tcp_in(fixture, to, syn.source, SYN_ACK).drop, DP_DROP_COUNT);
    assert_int_equal(tcp_out(fixture, 11, from, to, ACK).drop, DP_DROP_COUNT);
    return syn.source;
}

static enum dp_session_state state_of_first(void)
{
    struct dp_session session;
    uint64_t cursor = 0;
    assert_int_equal(nat_sessions(fixture->nat, &cursor, fixture->context.now_s, &session, 1), 1);
    return (enum dp_session_state)session.state;
}

/* REQ-1: endpoint-independent mapping. */
static void test_req1_endpoint_independent_mapping(void **state)
{
    struct end mapped = connect_out(guest, server);
    assert_true(end_equal(connect_out(guest, other), mapped));
    assert_int_not_equal(connect_out(end_of("10.0.0.5", 4001), other).port, mapped.port);
    assert_int_equal(router_state(fixture, 1).mappings, 2);
}

/* REQ-2: all valid sequences of TCP packets: the three-way handshake, ... */
static void test_req2_handshake(void **state)
{
    struct end mapped = tcp_out(fixture, 11, guest, server, SYN).source;
    assert_int_equal(state_of_first(), DP_SESSION_NEW);
    assert_true(end_equal(tcp_out(fixture, 11, guest, server, SYN).source, mapped)); /* again */
    assert_true(end_equal(tcp_in(fixture, server, mapped, SYN_ACK).destination, guest));
    assert_int_equal(state_of_first(), DP_SESSION_NEW);
    tcp_out(fixture, 11, guest, server, ACK);
    assert_int_equal(state_of_first(), DP_SESSION_ESTABLISHED);
    assert_int_equal(tcp_in(fixture, server, mapped, ACK).drop, DP_DROP_COUNT);
    assert_int_equal(session_count(fixture), 1);
}

/* ... and simultaneous open. */
static void test_req2_simultaneous_open(void **state)
{
    struct end mapped = tcp_out(fixture, 11, guest, server, SYN).source;
    assert_int_equal(tcp_in(fixture, server, mapped, SYN).drop, DP_DROP_COUNT);
    assert_int_equal(tcp_out(fixture, 11, guest, server, SYN_ACK).drop, DP_DROP_COUNT);
    assert_int_equal(tcp_in(fixture, server, mapped, SYN_ACK).drop, DP_DROP_COUNT);
    assert_int_equal(tcp_out(fixture, 11, guest, server, ACK).drop, DP_DROP_COUNT);
    assert_int_equal(state_of_first(), DP_SESSION_ESTABLISHED);
}

/* REQ-3: address and port dependent filter. */
static void test_req3_filter(void **state)
{
    struct end mapped = connect_out(guest, server);
    assert_int_equal(tcp_in(fixture, other, mapped, SYN).drop, DP_DROP_NAT_NO_SESSION);
    assert_int_equal(tcp_in(fixture, other, mapped, ACK).drop, DP_DROP_NAT_NO_SESSION);
    nat_fixture_source(fixture, 11, "192.0.2.1", DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER);
    nat_fixture_commit(fixture);
    assert_int_equal(tcp_in(fixture, other, mapped, ACK).drop, DP_DROP_NAT_STATE);
    assert_int_equal(tcp_in(fixture, other, mapped, SYN).drop, DP_DROP_COUNT);
}

/* REQ-4: an unsolicited SYN is dropped without an answer; the outbound SYN that follows opens. */
static void test_req4_unsolicited_syn(void **state)
{
    struct end mapped = connect_out(guest, other);
    struct seen early = tcp_in(fixture, server, mapped, SYN);
    assert_int_equal(early.drop, DP_DROP_NAT_NO_SESSION);
    assert_int_equal(session_count(fixture), 1);
    pass(fixture, 5);
    assert_true(end_equal(tcp_out(fixture, 11, guest, server, SYN).source, mapped));
    assert_int_equal(tcp_in(fixture, server, mapped, SYN).drop, DP_DROP_COUNT);
}

/* REQ-5: established 2 h 4 min, transitory 4 min. */
static void test_req5_established_idle(void **state)
{
    struct end mapped = connect_out(guest, server);
    pass(fixture, 7440);
    assert_int_equal(tcp_in(fixture, server, mapped, ACK).drop, DP_DROP_COUNT);
    pass(fixture, 7440);
    assert_int_equal(tcp_out(fixture, 11, guest, server, ACK).drop, DP_DROP_COUNT);
    fixture->context.now_s += 7441;
    assert_int_equal(tcp_out(fixture, 11, guest, server, ACK).drop, DP_DROP_NAT_STATE);
    assert_int_equal(router_state(fixture, 1).sessions, 0);
}

static void test_req5_transitory_idle(void **state)
{
    struct end mapped = tcp_out(fixture, 11, guest, server, SYN).source;
    pass(fixture, 240);
    assert_int_equal(tcp_in(fixture, server, mapped, SYN_ACK).drop, DP_DROP_COUNT);
    pass(fixture, 240);
    assert_int_equal(session_count(fixture), 1);
    pass(fixture, 62);
    assert_int_equal(session_count(fixture), 0);
}

/* FINs: half closed for as long as it is used; after both, 4 min for what is late. */
static void test_req5_after_fins(void **state)
{
    struct end mapped = connect_out(guest, server);
    tcp_out(fixture, 11, guest, server, FIN | ACK);
    assert_int_equal(state_of_first(), DP_SESSION_CLOSING);
    for (unsigned i = 0; i < 20; i++) {
        pass(fixture, 200);
        assert_int_equal(tcp_in(fixture, server, mapped, ACK).drop, DP_DROP_COUNT);
    }
    assert_int_equal(state_of_first(), DP_SESSION_CLOSING);
    tcp_in(fixture, server, mapped, FIN | ACK);
    assert_int_equal(state_of_first(), DP_SESSION_CLOSED);
    pass(fixture, 239);
    assert_int_equal(tcp_out(fixture, 11, guest, server, ACK).drop, DP_DROP_COUNT);
    assert_int_equal(state_of_first(), DP_SESSION_CLOSED);
    pass(fixture, 302);
    assert_int_equal(session_count(fixture), 0);
}

/* A new connection between the same endpoints. */
static void test_reopened_after_fin(void **state)
{
    struct end mapped = connect_out(guest, server);
    tcp_out(fixture, 11, guest, server, FIN | ACK);
    tcp_in(fixture, server, mapped, FIN | ACK);
    assert_true(end_equal(connect_out(guest, server), mapped));
    assert_int_equal(state_of_first(), DP_SESSION_ESTABLISHED);
    assert_int_equal(session_count(fixture), 1);
}

/* A RST does not end the session at once: it may be a forged one. */
static void test_rfc7857_rst_does_not_close_at_once(void **state)
{
    struct end mapped = connect_out(guest, server);
    assert_int_equal(tcp_in(fixture, server, mapped, RST).drop, DP_DROP_COUNT);
    assert_int_equal(state_of_first(), DP_SESSION_CLOSED);
    pass(fixture, 200);
    assert_int_equal(tcp_out(fixture, 11, guest, server, ACK).drop, DP_DROP_COUNT);
    assert_int_equal(state_of_first(), DP_SESSION_ESTABLISHED);
    pass(fixture, 7000);
    assert_int_equal(tcp_out(fixture, 11, guest, server, RST | ACK).drop, DP_DROP_COUNT);
    pass(fixture, 302);
    assert_int_equal(session_count(fixture), 0);
}

/* A refused connection stays no longer than the transitory time, whatever comes after. */
static void test_rfc7857_refused_connection(void **state)
{
    struct end mapped = tcp_out(fixture, 11, guest, server, SYN).source;
    tcp_in(fixture, server, mapped, RST | ACK);
    tcp_in(fixture, server, mapped, ACK);
    assert_int_equal(state_of_first(), DP_SESSION_CLOSED);
    pass(fixture, 302);
    assert_int_equal(session_count(fixture), 0);
}

/* No session from the middle of a connection. */
static void test_req2_stray_segments(void **state)
{
    static const unsigned flags[] = {ACK, SYN_ACK, FIN, FIN | ACK, RST, RST | ACK, SYN | FIN, SYN | RST, 0};
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        assert_int_equal(tcp_out(fixture, 11, guest, server, flags[i]).drop, DP_DROP_NAT_STATE);
    assert_int_equal(session_count(fixture), 0);
    assert_int_equal(tcp_out(fixture, 11, guest, server, SYN | 8).drop, DP_DROP_COUNT); /* PSH may be there */
}

/* REQ-8 and a: hairpin with the outside source. */
static void test_req8_hairpinning(void **state)
{
    nat_fixture_forward(fixture, "192.0.2.1", 6, 8443, 8443, 12, "10.0.0.6", 443);
    nat_fixture_commit(fixture);
    struct seen syn = tcp_out(fixture, 11, guest, end_of("192.0.2.1", 8443), SYN);
    struct seen in = inbound(fixture, &syn.frame);
    assert_int_equal(in.drop, DP_DROP_COUNT);
    assert_true(end_equal(in.source, syn.source));
    assert_true(end_equal(in.destination, end_of("10.0.0.6", 443)));
    struct seen answer = tcp_out(fixture, 12, in.destination, in.source, SYN_ACK);
    struct seen back = inbound(fixture, &answer.frame);
    assert_true(end_equal(back.destination, guest));
    assert_true(end_equal(back.source, end_of("192.0.2.1", 8443)));
    struct seen ack = tcp_out(fixture, 11, guest, end_of("192.0.2.1", 8443), ACK);
    assert_int_equal(inbound(fixture, &ack.frame).drop, DP_DROP_COUNT);
    struct dp_session sessions[4];
    uint64_t cursor = 0;
    assert_int_equal(nat_sessions(fixture->nat, &cursor, 1000, sessions, 4), 2);
    assert_int_equal(sessions[0].state, DP_SESSION_ESTABLISHED);
    assert_int_equal(sessions[1].state, DP_SESSION_ESTABLISHED);
    assert_int_equal(sessions[0].inbound + sessions[1].inbound, 1);
}

/* What weft sessions list shows. */
static void test_session_is_shown(void **state)
{
    struct end mapped = connect_out(guest, server);
    struct dp_session session;
    uint64_t cursor = 0;
    pass(fixture, 3);
    tcp_in(fixture, server, mapped, ACK);
    pass(fixture, 10);
    assert_int_equal(nat_sessions(fixture->nat, &cursor, fixture->context.now_s, &session, 1), 1);
    assert_int_equal(session.router, 1);
    assert_int_equal(session.port, 11);
    assert_int_equal(session.outside, OUTSIDE);
    assert_int_equal(session.protocol, 6);
    assert_int_equal(session.inbound, 0);
    assert_memory_equal(session.inside, guest.address, 16);
    assert_memory_equal(session.translated, mapped.address, 16);
    assert_memory_equal(session.remote, server.address, 16);
    assert_int_equal(session.inside_port, 4000);
    assert_int_equal(session.translated_port, mapped.port);
    assert_int_equal(session.remote_port, 443);
    assert_int_equal(session.age_s, 10);
    assert_int_equal(session.expires_s, 7430);
    assert_int_equal(session.packets_out, 2);
    assert_int_equal(session.packets_in, 2);
    assert_int_equal(nat_sessions(fixture->nat, &cursor, fixture->context.now_s, &session, 1), 0);
}

/* A TSO frame passes whole, its partial checksum right. */
static void test_tso(void **state)
{
    static struct flat flat;
    struct frame_info info;
    struct nat_outcome outcome;
    bool held;
    connect_out(guest, server);
    frame_tcp(&flat, guest, server, ACK, 60000);
    unsigned before = frame_pseudo_sum(&flat);
    set16(flat.bytes + 14 + 20 + 16, before);
    struct cut *cut = cut_frame(flat.bytes, flat.size, PACKET_HEADER_MAX, 4096);
    cut->packet.flags = VNET_F_NEEDS_CSUM;
    cut->packet.gso_type = VNET_GSO_TCPV4;
    cut->packet.gso_size = 1448;
    cut->packet.csum_start = 34;
    cut->packet.csum_offset = 16;
    assert_true(parse_l2(&cut->packet, &info) && parse_l3(&cut->packet, &info));
    assert_int_equal(nat_outbound(&fixture->context, 11, &cut->packet, &info, &outcome, &held),
                     DP_DROP_COUNT);
    flatten(&cut->packet, &flat);
    assert_int_equal(flat.size, 60054);
    assert_int_equal(get16(flat.bytes + 14 + 20 + 16), frame_pseudo_sum(&flat));
    assert_int_not_equal(before, frame_pseudo_sum(&flat));
    cut_free(cut);
}

/* What a configuration does not allow any more ends; the rest stays. */
static void test_config_change_ends_sessions(void **state)
{
    nat_fixture_forward(fixture, "192.0.2.1", 6, 8443, 8443, 11, "10.0.0.5", 443);
    nat_fixture_one_to_one(fixture, "192.0.2.50", 21, "10.0.0.7");
    nat_fixture_commit(fixture);
    struct end mapped = connect_out(guest, server);
    assert_int_equal(tcp_in(fixture, other, end_of("192.0.2.1", 8443), SYN).drop, DP_DROP_COUNT);
    assert_int_equal(tcp_in(fixture, other, end_of("192.0.2.50", 22), SYN).drop, DP_DROP_COUNT);
    nat_fixture_commit(fixture);
    assert_int_equal(session_count(fixture), 3);
    nat_fixture_forward(fixture, "192.0.2.1", 6, 8443, 8443, 11, "10.0.0.5", 444);
    nat_fixture_commit(fixture);
    assert_int_equal(session_count(fixture), 2);
    nat_fixture_one_to_one(fixture, "192.0.2.50", 21, "10.0.0.8");
    nat_fixture_commit(fixture);
    assert_int_equal(session_count(fixture), 1);
    assert_int_equal(tcp_in(fixture, server, mapped, ACK).drop, DP_DROP_COUNT);
    nat_fixture_address(fixture, "192.0.2.1", 100, 200);
    nat_fixture_commit(fixture);
    assert_int_equal(session_count(fixture), 0);
    assert_int_equal(router_state(fixture, 1).mappings, 0);
    assert_int_equal(tcp_in(fixture, server, mapped, ACK).drop, DP_DROP_NAT_NO_SESSION);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_req1_endpoint_independent_mapping),
        TEST(test_req2_handshake),
        TEST(test_req2_simultaneous_open),
        TEST(test_req3_filter),
        TEST(test_req4_unsolicited_syn),
        TEST(test_req5_established_idle),
        TEST(test_req5_transitory_idle),
        TEST(test_req5_after_fins),
        TEST(test_reopened_after_fin),
        TEST(test_rfc7857_rst_does_not_close_at_once),
        TEST(test_rfc7857_refused_connection),
        TEST(test_req2_stray_segments),
        TEST(test_req8_hairpinning),
        TEST(test_session_is_shown),
        TEST(test_tso),
        TEST(test_config_change_ends_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
