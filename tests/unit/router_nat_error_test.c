/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest hears when its packet does not get out: no session could be made for it, or it was translated
 * and could not leave then. And fragments that come before their first one, on their way by another uplink or
 * to another guest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "nat.h"
#include "router_fixture.h"

#define SOMEBODY 0x08080808u
#define ONE      (OUTSIDE_2 + 4) /* guest 1's own address outside */

static const uint8_t somebody_ipv6[16] = {0x2a, [15] = 8};
static struct flat flat, whole, parts[3];

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)get16(bytes) << 16 | get16(bytes + 2);
}

static void limit_guests(struct lab *lab, uint32_t sessions)
{
    struct dp_router router = {.id = 1, .guest_session_limit = sessions, .name = "t/router"};
    lab_put(lab, DP_KIND_ROUTER, &router);
    lab_compile(lab);
}

static void finish_udp(struct flat *frame)
{
    uint32_t size = frame->size - 34;
    set16(frame->bytes + 40, 0);
    set16(frame->bytes + 40,
          0xffff - slow_sum(frame->bytes + 34, size, slow_pseudo(frame->bytes + 14, 17, size)));
}

static void send_from(struct lab *lab, unsigned port)
{
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 64);
    set16(flat.bytes + 34, port);
    finish_udp(&flat);
    lab_send(lab, lab->guest_1, &flat);
}

/* The only frame at guest 1 is an ICMP error of its router about `about`, exactly as guest 1 sent that. */
static const struct fake_frame *error_about(struct lab *lab, const struct flat *about, unsigned type,
                                            unsigned code)
{
    const struct fake_frame *error = lab_only(lab->guest_1);
    uint32_t quoted = about->size - 14 < 548 ? about->size - 14 : 548;
    assert_memory_equal(error->bytes, GUEST_1_MAC ROUTER_1_MAC, 12);
    assert_true(ipv4_sum_right(error->bytes));
    assert_int_equal(get32(error->bytes + 26), ROUTER_1);
    assert_int_equal(get32(error->bytes + 30), GUEST_1);
    assert_int_equal(error->bytes[34], type);
    assert_int_equal(error->bytes[35], code);
    assert_int_equal(error->size, 42 + quoted);
    assert_memory_equal(error->bytes + 42, about->bytes + 14, quoted);
    assert_int_equal(slow_sum(error->bytes + 34, error->size - 34, 0), 0xffff);
    return error;
}

/* RFC 5508 REQ-8 */
static void test_rfc5508_req8_session_limit(void **state)
{
    struct lab *lab = *state;
    limit_guests(lab, 2);
    send_from(lab, 1000);
    send_from(lab, 1001);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    send_from(lab, 1002);
    error_about(lab, &flat, 3, 13);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_NAT_SESSION_LIMIT), 1);
    assert_int_equal(fake_of(lab->peer)->sent, 2);
    /* sessions that exist are not concerned */
    fixture_clear(lab->fixture);
    send_from(lab, 1000);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    assert_int_equal(fake_of(lab->peer)->sent, 1);
}

static void test_rfc5508_req8_no_port(void **state)
{
    struct lab *lab = *state;
    struct dp_nat_address address = {
        .port = 91, .port_first = 2000, .port_last = 2000, .flags = DP_NAT_F_ANSWER};
    address_map(address.address, (const uint8_t[4]){192, 0, 2, 1});
    lab_put(lab, DP_KIND_NAT_ADDRESS, &address);
    lab_compile(lab);
    send_from(lab, 1000);
    send_from(lab, 1001);
    error_about(lab, &flat, 3, 13);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_NAT_NO_PORT), 1);
    fixture_clear(lab->fixture);
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
    put_ipv4(&flat, 47, GUEST_1, SOMEBODY, 40, 0); /* GRE */
    put_payload(&flat, 40);
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    error_about(lab, &flat, 3, 13);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_NAT_PROTOCOL), 1);
}

static void test_rfc5508_req8_ipv6(void **state)
{
    struct lab *lab = *state;
    lab_outside_ipv6(lab);
    limit_guests(lab, 1);
    for (unsigned port = 1000; port < 1002; port++) {
        udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, somebody_ipv6, 100, 64);
        set16(flat.bytes + 54, port);
        set16(flat.bytes + 60, 0);
        set16(flat.bytes + 60,
              0xffff - slow_sum(flat.bytes + 54, 108, slow_pseudo(flat.bytes + 14, 17, 108)));
        lab_send(lab, lab->guest_1, &flat);
    }
    assert_memory_equal(lab_only(lab->peer)->bytes + 22, outside_ipv6, 16);
    const struct fake_frame *error = lab_only(lab->guest_1);
    assert_memory_equal(error->bytes + 22, router_1_ipv6, 16);
    assert_memory_equal(error->bytes + 38, guest_1_ipv6, 16);
    assert_memory_equal(error->bytes + 54, "\1\1", 2);
    assert_memory_equal(error->bytes + 62, flat.bytes + 14, flat.size - 14);
    uint32_t size = error->size - 54;
    assert_int_equal(slow_sum(error->bytes + 54, size, slow_pseudo(error->bytes + 14, 58, size)), 0xffff);
}

/* Nothing is said about errors, groups and later fragments; and what is said has a rate. */
static void test_rfc5508_req8_is_bounded(void **state)
{
    struct lab *lab = *state;
    limit_guests(lab, 1);
    send_from(lab, 1000);
    static const unsigned types[] = {3, 11, 12, 5};
    for (unsigned i = 0; i < 4; i++) {
        put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
        put_ipv4(&flat, 1, GUEST_1, SOMEBODY, 36, 0);
        put8(&flat, types[i]);
        put_payload(&flat, 35);
        finish_ipv4(&flat);
        lab_send(lab, lab->guest_1, &flat);
    }
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, 0xe0000105u, 100, 64);
    lab_send(lab, lab->guest_1, &flat);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 96, 64);
    set16(flat.bytes + 20, 100); /* of a datagram whose first one was never seen: it waits */
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
    put_ipv4(&flat, 6, GUEST_1, SOMEBODY, 20, 0);
    put(&flat, "\x10\0\0\x50\0\0\0\1\0\0\0\0\x50\4\0\0\0\0\0\0", 20); /* RST */
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    for (unsigned i = 0; i < 10000; i++)
        send_from(lab, 1001 + i);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_NAT_SESSION_LIMIT), 10000);
    assert_in_range(fake_of(lab->guest_1)->sent, 1, ROUTER_ERRORS_PPS);
}

/* Its session goes by another uplink, where the packet turns out to be too big. */
static void test_too_big_after_translation(void **state)
{
    struct lab *lab = *state;
    struct dp_neighbour hop = {.port = 92, .mac = {2, 0, 0, 0, 0, 0x64}};
    address_map(hop.address, (const uint8_t[4]){203, 0, 113, 99});
    lab_second_outside(lab, 1280);
    lab_put(lab, DP_KIND_NEIGHBOUR, &hop);
    lab_compile(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 1400, 64);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *error = error_about(lab, &flat, 3, 4);
    assert_int_equal(get16(error->bytes + 40), 1280);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MTU), 1);
    assert_int_equal(fake_of(lab->peer)->sent + fake_of(lab->peer_2)->sent, 0);
    fixture_clear(lab->fixture);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 1000, 64);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(get32(lab_only(lab->peer_2)->bytes + 26), ONE);
}

static void test_no_neighbour_after_translation(void **state)
{
    struct lab *lab = *state;
    lab_second_outside(lab, 1500);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 64);
    lab_send(lab, lab->guest_1, &flat);
    lab_control(lab);
    assert_int_equal(neighbours_held(), 1);
    fixture_clear(lab->fixture);
    lab_wait(lab, 5000); /* nobody answers */
    error_about(lab, &flat, 3, 1);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NEIGHBOUR), 1);
    fixture_clear(lab->fixture);
    lab_send(lab, lab->guest_1, &flat); /* known to have failed: at once */
    error_about(lab, &flat, 3, 1);
}

static void test_no_route_after_translation(void **state)
{
    struct lab *lab = *state;
    struct dp_route route = {.router = 0, .prefix_length = 104, .port = 92};
    char text[OBJECT_TEXT_SIZE];
    lab_second_outside(lab, 1500);
    address_map(route.prefix, (const uint8_t[4]){8, 0, 0, 0});
    assert_int_equal(objects_del(lab->objects, DP_KIND_ROUTE, &route, text), 0);
    lab_compile(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 64);
    lab_send(lab, lab->guest_1, &flat);
    error_about(lab, &flat, 3, 0);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NO_ROUTE), 1);
}

/* A datagram of 1000 bytes from `from`, in `parts` of 336. */
static void cut_parts(const char *router, const char *from, uint32_t source, uint32_t destination,
                      unsigned port, unsigned identification)
{
    udp_ipv4(&whole, router, from, source, destination, 1000, 64);
    set16(whole.bytes + 36, port);
    finish_udp(&whole);
    for (unsigned i = 0; i < 3; i++) {
        uint32_t start = i * 336, left = 1008 - start, size = left < 336 ? left : 336;
        parts[i].size = 0;
        put(&parts[i], whole.bytes, 34);
        put(&parts[i], whole.bytes + 34 + start, size);
        set16(parts[i].bytes + 16, 20 + size);
        set16(parts[i].bytes + 18, identification);
        set16(parts[i].bytes + 20, (start + size < 1008 ? 0x2000 : 0) | start / 8);
        finish_ipv4(&parts[i]);
    }
}

/* The three parts are there and make the datagram, with a right checksum. */
static void check_parts(const struct ingress *to, uint32_t source, uint32_t destination)
{
    const struct fake_port *fake = fake_of(to);
    memset(flat.bytes, 0, 34 + 1008);
    assert_int_equal(fake->sent, 3);
    for (unsigned i = 0; i < 3; i++) {
        const struct fake_frame *frame = &fake->frames[i];
        assert_true(ipv4_sum_right(frame->bytes));
        assert_int_equal(get32(frame->bytes + 26), source);
        assert_int_equal(get32(frame->bytes + 30), destination);
        assert_int_equal(frame->bytes[22], 63);
        memcpy(flat.bytes, frame->bytes, 34);
        memcpy(flat.bytes + 34 + (get16(frame->bytes + 20) & 0x1fff) * 8, frame->bytes + 34,
               frame->size - 34);
    }
    assert_memory_equal(flat.bytes + 42, whole.bytes + 42, 1000);
    assert_int_equal(slow_sum(flat.bytes + 34, 1008, slow_pseudo(flat.bytes + 14, 17, 1008)), 0xffff);
}

static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

/* RFC 4787 REQ-9, REQ-14: from one guest to another by way of their outside address. */
static void test_rfc4787_hairpinned_fragments_all_orders(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 64);
    lab_send(lab, lab->guest_1, &flat);
    unsigned port = get16(lab_only(lab->peer)->bytes + 34);
    for (unsigned i = 0; i < 6; i++) {
        fixture_clear(lab->fixture);
        cut_parts(ROUTER_3_MAC, GUEST_3_MAC, 0x0a000132, OUTSIDE, port, 100 + i);
        for (unsigned j = 0; j < 3; j++)
            lab_send(lab, lab->guest_3, &parts[orders[i][j]]);
        check_parts(lab->guest_1, OUTSIDE, GUEST_1);
        assert_int_equal(fake_of(lab->peer)->sent, 0);
    }
    struct dp_router_state state_of;
    for (uint32_t tenant = 1; tenant <= 2; tenant++) {
        nat_router_state(lab->nat, tenant, &state_of);
        assert_int_equal(state_of.fragments, 0); /* complete: forgotten */
    }
}

/* Who may not reach its segment directly, does not by this detour, in pieces either. */
static void test_rfc4787_hairpinned_fragments_isolated(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(0, 0, 1500);
    lab_neighbours(lab);
    lab_outside(lab, 0, DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER, 1500);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 64);
    lab_send(lab, lab->guest_1, &flat);
    unsigned port = get16(lab_only(lab->peer)->bytes + 34);
    fixture_clear(lab->fixture);
    lab->guest_1->flags |= DP_PORT_F_ISOLATED;
    for (unsigned i = 0; i < 6; i++) {
        cut_parts(ROUTER_1_MAC, GUEST_1_MAC, 0x0a000132, OUTSIDE, port, 100 + i);
        for (unsigned j = 0; j < 3; j++)
            lab_send(lab, lab->guest_1, &parts[orders[i][j]]);
    }
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    assert_in_range(tx_drops(lab->router_1, DP_DROP_ISOLATED_PORT), 6, 18);
}

/* By another uplink than the segment's: they follow their first one there, and never anybody else's. */
static void test_fragments_by_another_uplink(void **state)
{
    struct lab *lab = *state;
    struct dp_neighbour hop = {.port = 92, .mac = {2, 0, 0, 0, 0, 0x64}};
    address_map(hop.address, (const uint8_t[4]){203, 0, 113, 99});
    lab_second_outside(lab, 1500);
    cut_parts(ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 9, 99);
    for (unsigned j = 3; j-- > 0;)
        lab_send(lab, lab->guest_1, &parts[j]); /* no neighbour: the first waits, the others are lost */
    lab_control(lab);
    fixture_clear(lab->fixture);
    cut_parts(ROUTER_3_MAC, GUEST_3_MAC, 0x0a000132, 0x09080808u, 9, 98);
    lab_send(lab, lab->guest_3, &parts[0]);
    assert_int_equal(get32(lab_only(lab->peer)->bytes + 26), OUTSIDE);
    lab_put(lab, DP_KIND_NEIGHBOUR, &hop);
    lab_compile(lab);
    neighbours_changed(lab->now_ms);
    assert_int_equal(get32(lab_only(lab->peer_2)->bytes + 26), ONE);
    for (unsigned i = 0; i < 6; i++) {
        fixture_clear(lab->fixture);
        cut_parts(ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 9, 100 + i);
        for (unsigned j = 0; j < 3; j++)
            lab_send(lab, lab->guest_1, &parts[orders[i][j]]);
        check_parts(lab->peer_2, ONE, SOMEBODY);
        assert_int_equal(fake_of(lab->peer)->sent, 0);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, lab_outside_setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        T(test_rfc5508_req8_session_limit),
        T(test_rfc5508_req8_no_port),
        T(test_rfc5508_req8_ipv6),
        T(test_rfc5508_req8_is_bounded),
        T(test_too_big_after_translation),
        T(test_no_neighbour_after_translation),
        T(test_no_route_after_translation),
        T(test_rfc4787_hairpinned_fragments_all_orders),
        T(test_rfc4787_hairpinned_fragments_isolated),
        T(test_fragments_by_another_uplink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
