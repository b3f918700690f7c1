/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flows that the cache knows: what is followed, and what is not any more after each kind of change. In every
 * test of a change the flow is known first, and nothing but the change makes the next packet take another
 * way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "dp_objects.h"
#include "nat.h"
#include "router_fixture.h"

#define SOMEBODY   0x08080808u
#define OTHER_MAC  "\x02\x00\x00\x00\x00\x42"
#define OTHER_PEER 0xc0000264u
#define OWN        0xc0000205u /* 1:1 */

static struct flat flat;

static uint64_t hits(const struct lab *lab)
{
    return lab->fixture->program->router->flows->hits;
}

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)get16(bytes) << 16 | get16(bytes + 2);
}

static void address_of(uint8_t address[16], uint32_t ipv4)
{
    const uint8_t bytes[4] = {(uint8_t)(ipv4 >> 24), (uint8_t)(ipv4 >> 16), (uint8_t)(ipv4 >> 8),
                              (uint8_t)ipv4};
    address_map(address, bytes);
}

/* Sends what is in `flat`; true if it was followed. */
static bool followed(struct lab *lab, struct ingress *from)
{
    uint64_t before = hits(lab);
    fixture_clear(lab->fixture);
    lab_send(lab, from, &flat);
    return hits(lab) != before;
}

static void put_out(void)
{
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 64);
}

/* An answer to the outside port. */
static void put_back(unsigned port)
{
    udp_ipv4(&flat, OUTSIDE_MAC, PEER_MAC, SOMEBODY, OUTSIDE, 100, 64);
    set16(flat.bytes + 34, 9);
    set16(flat.bytes + 36, port);
    set16(flat.bytes + 40, 0);
}

static void put_routed(void)
{
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 100, 64);
}

/* Guest 1's flow to somebody outside is known both ways; returns its outside port. */
static unsigned know_translated(struct lab *lab)
{
    put_out();
    assert_false(followed(lab, lab->guest_1)); /* opens it */
    assert_false(followed(lab, lab->guest_1)); /* is noted */
    unsigned port = get16(lab_only(lab->peer)->bytes + 34);
    put_back(port);
    followed(lab, lab->peer);
    assert_false(followed(lab, lab->peer));
    assert_true(followed(lab, lab->peer));
    put_out();
    assert_false(followed(lab, lab->guest_1)); /* its session is answered now */
    assert_true(followed(lab, lab->guest_1));
    assert_int_equal(get16(lab_only(lab->peer)->bytes + 34), port);
    return port;
}

static void know_routed(struct lab *lab)
{
    put_routed();
    assert_false(followed(lab, lab->guest_1));
    assert_true(followed(lab, lab->guest_1));
    assert_memory_equal(lab_only(lab->guest_2)->bytes, GUEST_2_MAC ROUTER_2_MAC, 12);
}

static void put_neighbour(struct lab *lab, uint32_t port, uint32_t ipv4, const char *mac)
{
    struct dp_neighbour neighbour = {.port = port};
    address_of(neighbour.address, ipv4);
    memcpy(neighbour.mac, mac, 6);
    lab_put(lab, DP_KIND_NEIGHBOUR, &neighbour);
}

static void del(struct lab *lab, enum dp_kind kind, const void *object)
{
    char text[OBJECT_TEXT_SIZE];
    assert_int_equal(objects_del(lab->objects, kind, object, text), 0);
}

/* What follows */

static void both_directions(void **state)
{
    struct lab *lab = *state;
    unsigned port = know_translated(lab);
    put_out();
    followed(lab, lab->guest_1);
    const struct fake_frame *frame = lab_only(lab->peer);
    assert_memory_equal(frame->bytes, PEER_MAC OUTSIDE_MAC, 12);
    assert_int_equal(get32(frame->bytes + 26), OUTSIDE);
    assert_int_equal(frame->bytes[22], 63);
    assert_int_equal(slow_sum(frame->bytes + 34, 108, slow_pseudo(frame->bytes + 14, 17, 108)), 0xffff);
    put_back(port);
    assert_true(followed(lab, lab->peer));
    frame = lab_only(lab->guest_1);
    assert_memory_equal(frame->bytes, GUEST_1_MAC ROUTER_1_MAC, 12);
    assert_int_equal(get32(frame->bytes + 30), GUEST_1);
    assert_int_equal(get16(frame->bytes + 36), 40000);
    assert_int_equal(get16(frame->bytes + 40), 0); /* it had no checksum */
    struct dp_session session;
    uint64_t cursor = 0;
    assert_int_equal(nat_sessions(lab->nat, &cursor, 1000, &session, 1), 1);
    assert_int_equal(session.packets_out, 5);
    assert_int_equal(session.packets_in, 4);
}

static void once_a_second_the_whole_way(void **state)
{
    struct lab *lab = *state;
    unsigned port = know_translated(lab);
    for (unsigned i = 0; i < 400; i++) { /* longer than any session lives unused */
        lab_wait(lab, 1000);
        struct nat_context context = {.nat = lab->nat,
                                      .config = lab->fixture->snapshot->nat_config,
                                      .now_s = lab->fixture->program->now_s};
        nat_tick(&context);
        put_out();
        assert_false(followed(lab, lab->guest_1));
        assert_true(followed(lab, lab->guest_1));
        assert_int_equal(get16(lab_only(lab->peer)->bytes + 34), port);
    }
}

static void padding_is_cut_off(void **state)
{
    struct lab *lab = *state;
    know_translated(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 1, 64);
    put_payload(&flat, 17);
    assert_true(followed(lab, lab->guest_1));
    assert_int_equal(lab_only(lab->peer)->size, 14 + 20 + 8 + 1);
}

/* Ways back inside that packets of a known flow may need. */
static void unusual_packets_are_not_followed(void **state)
{
    struct lab *lab = *state;
    know_translated(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 1);
    assert_false(followed(lab, lab->guest_1));
    assert_int_equal(lab_only(lab->guest_1)->bytes[34], 11); /* time exceeded */
    put_out();
    flat.bytes[24] ^= 1;
    assert_false(followed(lab, lab->guest_1));
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MALFORMED), 1);
    put_out();
    set16(flat.bytes + 16, 129); /* longer than the frame */
    finish_ipv4(&flat);
    assert_false(followed(lab, lab->guest_1));
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MALFORMED), 2);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 96, 64);
    set16(flat.bytes + 20, 0x2000); /* more fragments */
    finish_ipv4(&flat);
    assert_false(followed(lab, lab->guest_1));
    assert_int_equal(fake_of(lab->peer)->sent, 1);
    put_out();
    assert_true(followed(lab, lab->guest_1));
}

/* What ends it */

static void static_neighbour_changes(void **state)
{
    struct lab *lab = *state;
    know_routed(lab);
    put_neighbour(lab, 21, GUEST_2, OTHER_MAC);
    assert_int_equal(fdb_static_set(lab->fixture->fdb, 20, (const uint8_t *)OTHER_MAC, 2, 0), 0);
    lab_compile(lab);
    put_routed();
    assert_false(followed(lab, lab->guest_1));
    assert_memory_equal(lab_only(lab->guest_2)->bytes, OTHER_MAC, 6);
}

static void arp(struct lab *lab, const char *mac, unsigned operation)
{
    put_ethernet(&flat, ROUTER_2_MAC, mac, 0x0806);
    put(&flat, "\0\1\x08\0\x06\x04", 6);
    put16(&flat, operation);
    put(&flat, mac, 6);
    put32(&flat, GUEST_2);
    put(&flat, ROUTER_2_MAC, 6);
    put32(&flat, ROUTER_2);
    lab_send(lab, lab->guest_2, &flat);
    lab_control(lab);
}

static int no_neighbours_setup(void **state)
{
    *state = lab_new(0, 0, 1500);
    return 0;
}

/* Without a new snapshot: found by ARP, moved, silent. */
static void learned_neighbour_changes(void **state)
{
    struct lab *lab = *state;
    put_routed();
    lab_send(lab, lab->guest_1, &flat);
    lab_control(lab);
    arp(lab, GUEST_2_MAC, 2); /* what waited goes on, and is noted */
    put_routed();
    assert_true(followed(lab, lab->guest_1));
    assert_int_equal(fdb_static_set(lab->fixture->fdb, 20, (const uint8_t *)OTHER_MAC, 2, 0), 0);
    arp(lab, OTHER_MAC, 1);
    put_routed();
    assert_false(followed(lab, lab->guest_1));
    assert_memory_equal(lab_only(lab->guest_2)->bytes, OTHER_MAC, 6);
    for (unsigned i = 0; i < 50; i++) {
        lab_wait(lab, 1000);
        fixture_clear(lab->fixture);
        put_routed();
        lab_send(lab, lab->guest_1, &flat); /* in use, so it is asked for; it does not answer */
    }
    assert_false(followed(lab, lab->guest_1));
    const struct fake_port *fake = fake_of(lab->guest_2);
    for (unsigned i = 0; i < fake->sent; i++)
        assert_int_equal(get16(fake->frames[i].bytes + 12), 0x0806);
}

static void route_changes(void **state)
{
    struct lab *lab = *state;
    know_translated(lab);
    struct dp_route route = {.router = 0, .prefix_length = 96, .port = 91};
    address_of(route.prefix, 0);
    address_of(route.next_hop, OTHER_PEER);
    lab_put(lab, DP_KIND_ROUTE, &route);
    put_neighbour(lab, 91, OTHER_PEER, OTHER_MAC);
    assert_int_equal(fdb_static_set(lab->fixture->fdb, 90, (const uint8_t *)OTHER_MAC, 4, 0), 0);
    lab_compile(lab);
    put_out();
    assert_false(followed(lab, lab->guest_1));
    assert_memory_equal(lab_only(lab->peer)->bytes, OTHER_MAC, 6);
    del(lab, DP_KIND_ROUTE, &route);
    lab_compile(lab);
    put_out();
    assert_false(followed(lab, lab->guest_1));
    assert_int_equal(fake_of(lab->peer)->sent, 0);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NO_ROUTE), 1);
}

/* The egress segment's own affairs hold for what is followed as for all else: a station moves, is forgotten
 * and flooded to, its port goes down. */
static void the_segment_decides(void **state)
{
    struct lab *lab = *state;
    struct ingress *other = fixture_port(lab->fixture, 6, 1, 0);
    fixture_member(lab->fixture->snapshot->bridges[20], other, 0);
    put_neighbour(lab, 21, GUEST_2, OTHER_MAC);
    lab_compile(lab);
    fixture_unicast(lab->fixture, lab->guest_2, 0xfe, 0x42); /* OTHER_MAC is at port 2 */
    put_routed();
    followed(lab, lab->guest_1);
    assert_true(followed(lab, lab->guest_1));
    lab_only(lab->guest_2);
    fixture_unicast(lab->fixture, other, 0xfe, 0x42); /* moved */
    put_routed();
    assert_true(followed(lab, lab->guest_1));
    lab_only(other);
    assert_int_equal(fake_of(lab->guest_2)->sent, 0);
    fdb_flush(lab->fixture->fdb, 20, 0);
    assert_true(followed(lab, lab->guest_1));
    lab_only(other);
    lab_only(lab->guest_2);
    fixture_unicast(lab->fixture, other, 0xfe, 0x42);
    other->port->link = false;
    put_routed();
    assert_true(followed(lab, lab->guest_1));
    assert_int_equal(tx_drops(other, DP_DROP_TX_DOWN), 1);
    other->port->link = true;
    other->native = NULL; /* no member any more: not a way out */
    assert_true(followed(lab, lab->guest_1));
    lab_only(lab->guest_2);
    other->native = lab->fixture->snapshot->bridges[20];
    other->tenant = 2;
    assert_true(followed(lab, lab->guest_1));
    assert_int_equal(tx_drops(other, DP_DROP_TENANT), 1);
}

static void mtu_is_lowered(void **state)
{
    struct lab *lab = *state;
    know_routed(lab);
    struct dp_port port = *(const struct dp_port *)objects_find(lab->objects, DP_KIND_PORT, &(uint32_t){21});
    port.mtu = 600;
    lab_put(lab, DP_KIND_PORT, &port);
    lab_compile(lab);
    know_routed(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 600, 64);
    assert_false(followed(lab, lab->guest_1));
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MTU), 1);
    assert_int_equal(lab_only(lab->guest_1)->bytes[35], 4); /* fragmentation needed */
}

/* In the same second and with the same snapshot. */
static void session_ends(void **state)
{
    struct lab *lab = *state;
    unsigned port = know_translated(lab);
    struct dp_nat_source source = {.port = 11, .outside = 91};
    address_of(source.address, OUTSIDE);
    del(lab, DP_KIND_NAT_SOURCE, &source);
    struct nat_config *without = nat_config_new(lab->nat, lab->objects);
    nat_config_changed(lab->nat, without);
    put_back(port);
    assert_false(followed(lab, lab->peer));
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    nat_config_free(without);
    put_out();
    assert_false(followed(lab, lab->guest_1)); /* another session, a port of its own */
    assert_int_equal(fake_of(lab->peer)->sent, 1);
}

static void session_expires(void **state)
{
    struct lab *lab = *state;
    unsigned port = know_translated(lab);
    lab_wait(lab, 301000);
    put_back(port);
    assert_false(followed(lab, lab->peer));
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
}

static void outside_address_is_removed(void **state)
{
    struct lab *lab = *state;
    unsigned port = know_translated(lab);
    struct dp_nat_source source = {.port = 11, .outside = 91};
    address_of(source.address, OUTSIDE);
    del(lab, DP_KIND_NAT_SOURCE, &source);
    source.port = 31;
    del(lab, DP_KIND_NAT_SOURCE, &source);
    struct dp_nat_address address = {.port = 91};
    address_of(address.address, OUTSIDE);
    del(lab, DP_KIND_NAT_ADDRESS, &address);
    lab_compile(lab);
    put_back(port);
    assert_false(followed(lab, lab->peer));
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    put_out();
    assert_false(followed(lab, lab->guest_1));
    assert_int_equal(fake_of(lab->peer)->sent, 0);
}

static void forward_is_removed(void **state)
{
    struct lab *lab = *state;
    struct dp_nat_forward forward = {
        .outside = 91, .protocol = 17, .first = 5000, .last = 5000, .to_first = 53, .port = 11};
    address_of(forward.address, OUTSIDE);
    address_of(forward.inside, GUEST_1);
    lab_put(lab, DP_KIND_NAT_FORWARD, &forward);
    lab_compile(lab);
    put_back(5000);
    followed(lab, lab->peer);
    followed(lab, lab->peer);
    assert_true(followed(lab, lab->peer));
    assert_int_equal(get16(lab_only(lab->guest_1)->bytes + 36), 53);
    del(lab, DP_KIND_NAT_FORWARD, &forward);
    lab_compile(lab);
    assert_false(followed(lab, lab->peer));
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
}

static void one_to_one_changes(void **state)
{
    struct lab *lab = *state;
    struct dp_nat_one_to_one one = {.outside = 91, .port = 11};
    put_neighbour(lab, 31, GUEST_1, GUEST_3_MAC);
    address_of(one.address, OWN);
    address_of(one.inside, GUEST_1);
    lab_put(lab, DP_KIND_NAT_ONE_TO_ONE, &one);
    lab_compile(lab);
    udp_ipv4(&flat, OUTSIDE_MAC, PEER_MAC, SOMEBODY, OWN, 100, 64);
    followed(lab, lab->peer);
    followed(lab, lab->peer);
    assert_true(followed(lab, lab->peer));
    lab_only(lab->guest_1);
    one.port = 31; /* another tenant's guest, with the same inside address */
    lab_put(lab, DP_KIND_NAT_ONE_TO_ONE, &one);
    lab_compile(lab);
    assert_false(followed(lab, lab->peer));
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    lab_only(lab->guest_3);
}

/* Back into the segment it came from: not for an isolated port, whoever sent the flow's packets before. */
static void isolated_ports_stay_apart(void **state)
{
    struct lab *lab = *state;
    struct bridge *bridge = lab->fixture->snapshot->bridges[10];
    struct ingress *isolated = fixture_port(lab->fixture, 6, 1, DP_PORT_F_ISOLATED);
    fixture_member(bridge, isolated, 0);
    put_neighbour(lab, 11, GUEST_1 + 1, OTHER_MAC);
    assert_int_equal(fdb_static_set(lab->fixture->fdb, 10, (const uint8_t *)OTHER_MAC, 1, 0), 0);
    lab_compile(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, "\x02\0\0\0\0\x77", GUEST_1 + 2, GUEST_1 + 1, 10, 64);
    for (unsigned i = 0; i < 3; i++) {
        followed(lab, lab->guest_1);
        lab_only(lab->guest_1);
    }
    assert_false(followed(lab, isolated));
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_ISOLATED_PORT), 1);
}

/* Two guests with the same address, to the same remote, from the same port. */
static void tenants_stay_apart(void **state)
{
    struct lab *lab = *state;
    put_neighbour(lab, 31, GUEST_1, GUEST_3_MAC);
    lab_compile(lab);
    unsigned first = know_translated(lab);
    udp_ipv4(&flat, ROUTER_3_MAC, GUEST_3_MAC, GUEST_1, SOMEBODY, 100, 64);
    followed(lab, lab->guest_3);
    unsigned second = get16(lab_only(lab->peer)->bytes + 34);
    followed(lab, lab->guest_3);
    assert_true(followed(lab, lab->guest_3));
    assert_int_equal(get16(lab_only(lab->peer)->bytes + 34), second);
    assert_int_not_equal(first, second);
    for (unsigned i = 0; i < 6; i++) {
        put_back(i & 1 ? second : first);
        assert_int_equal(followed(lab, lab->peer), !(i & 1) || i == 5); /* noted with the second answer */
        lab_only(i & 1 ? lab->guest_3 : lab->guest_1);
        assert_int_equal(fake_of(i & 1 ? lab->guest_1 : lab->guest_3)->sent, 0);
    }
}

/* A tenant that sprays has no more than its part of each set. */
static void a_flood_leaves_places(void **state)
{
    struct lab *lab = *state;
    lab_wait(lab, 1000);
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 4 * LAB_FLOWS; i++) {
            udp_ipv4(&flat, ROUTER_3_MAC, GUEST_3_MAC, GUEST_1, SOMEBODY + 1 + i % LAB_FLOWS, 1, 64);
            lab_send(lab, lab->guest_3, &flat);
        }
    know_routed(lab);
}

int main(void)
{
#define OUTSIDE_TEST(name) cmocka_unit_test_setup_teardown(name, lab_outside_setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        OUTSIDE_TEST(both_directions),
        OUTSIDE_TEST(once_a_second_the_whole_way),
        OUTSIDE_TEST(padding_is_cut_off),
        OUTSIDE_TEST(unusual_packets_are_not_followed),
        cmocka_unit_test_setup_teardown(static_neighbour_changes, lab_neighbours_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(learned_neighbour_changes, no_neighbours_setup, lab_teardown),
        OUTSIDE_TEST(route_changes),
        cmocka_unit_test_setup_teardown(the_segment_decides, lab_neighbours_setup, lab_teardown),
        cmocka_unit_test_setup_teardown(mtu_is_lowered, lab_neighbours_setup, lab_teardown),
        OUTSIDE_TEST(session_ends),
        OUTSIDE_TEST(session_expires),
        OUTSIDE_TEST(outside_address_is_removed),
        OUTSIDE_TEST(forward_is_removed),
        OUTSIDE_TEST(one_to_one_changes),
        cmocka_unit_test_setup_teardown(isolated_ports_stay_apart, lab_neighbours_setup, lab_teardown),
        OUTSIDE_TEST(tenants_stay_apart),
        OUTSIDE_TEST(a_flood_leaves_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
