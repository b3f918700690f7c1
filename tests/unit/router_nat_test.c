/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between tenants and the outside, with the real address translation behind the router: what gets out, what
 * gets in, errors in both directions, hairpins, tenants with the same addresses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "nat.h"
#include "router_fixture.h"

#define SOMEBODY 0x08080808u

static struct flat flat, expected;

static bool udp_right(const struct fake_frame *frame)
{
    uint32_t size = frame->size - 34;
    return ipv4_sum_right(frame->bytes) &&
           slow_sum(frame->bytes + 34, size, slow_pseudo(frame->bytes + 14, 17, size)) == 0xffff;
}

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)get16(bytes) << 16 | get16(bytes + 2);
}

/* Guest 1 sends to somebody outside; returns the outside port. */
static unsigned open_session(struct lab *lab)
{
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 64);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *frame = lab_only(lab->peer);
    assert_memory_equal(frame->bytes, PEER_MAC OUTSIDE_MAC, 12);
    assert_int_equal(frame->bytes[22], 63);
    assert_int_equal(get32(frame->bytes + 26), OUTSIDE);
    assert_int_equal(get32(frame->bytes + 30), SOMEBODY);
    assert_int_equal(get16(frame->bytes + 36), 9);
    assert_true(udp_right(frame));
    unsigned port = get16(frame->bytes + 34);
    assert_in_range(port, 1024, 65535);
    fixture_clear(lab->fixture);
    return port;
}

static void send_back(struct lab *lab, unsigned port, uint32_t payload, unsigned ttl)
{
    udp_ipv4(&flat, OUTSIDE_MAC, PEER_MAC, SOMEBODY, OUTSIDE, payload, ttl);
    set16(flat.bytes + 34, 9);
    set16(flat.bytes + 36, port);
    set16(flat.bytes + 40, 0);
    uint32_t size = 8 + payload;
    set16(flat.bytes + 40, 0xffff - slow_sum(flat.bytes + 34, size, slow_pseudo(flat.bytes + 14, 17, size)));
    lab_send(lab, lab->peer, &flat);
}

static void out_and_back(void **state)
{
    struct lab *lab = *state;
    unsigned port = open_session(lab);
    send_back(lab, port, 200, 60);
    const struct fake_frame *frame = lab_only(lab->guest_1);
    assert_memory_equal(frame->bytes, GUEST_1_MAC ROUTER_1_MAC, 12);
    assert_int_equal(get32(frame->bytes + 26), SOMEBODY);
    assert_int_equal(get32(frame->bytes + 30), GUEST_1);
    assert_int_equal(get16(frame->bytes + 36), 40000);
    assert_int_equal(frame->bytes[22], 59);
    assert_true(udp_right(frame));
}

static void nothing_else_comes_in(void **state)
{
    struct lab *lab = *state;
    unsigned port = open_session(lab);
    send_back(lab, port ^ 1, 10, 64);
    udp_ipv4(&flat, OUTSIDE_MAC, PEER_MAC, SOMEBODY, GUEST_1, 10, 64); /* straight at the guest */
    lab_send(lab, lab->peer, &flat);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    assert_int_equal(tx_drops(lab->outside, DP_DROP_NAT_NO_SESSION), 2);
    /* segment 20 is not translated */
    udp_ipv4(&flat, ROUTER_2_MAC, GUEST_2_MAC, GUEST_2, SOMEBODY, 10, 64);
    lab_send(lab, lab->guest_2, &flat);
    assert_int_equal(tx_drops(lab->router_2, DP_DROP_L3_NO_ROUTE), 1);
    assert_int_equal(fake_of(lab->peer)->sent, 0);
}

static void tenants_share_an_address(void **state)
{
    struct lab *lab = *state;
    uint8_t address[16];
    address_map(address, (const uint8_t[4]){10, 0, 1, 10});
    struct dp_neighbour neighbour = {.port = 31};
    memcpy(neighbour.address, address, 16);
    memcpy(neighbour.mac, GUEST_3_MAC, 6);
    lab_put(lab, DP_KIND_NEIGHBOUR, &neighbour);
    lab_compile(lab);
    unsigned first = open_session(lab);
    udp_ipv4(&flat, ROUTER_3_MAC, GUEST_3_MAC, GUEST_1, SOMEBODY, 100, 64);
    lab_send(lab, lab->guest_3, &flat);
    unsigned second = get16(lab_only(lab->peer)->bytes + 34);
    assert_int_not_equal(first, second);
    fixture_clear(lab->fixture);
    send_back(lab, second, 10, 64);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    assert_memory_equal(lab_only(lab->guest_3)->bytes, GUEST_3_MAC ROUTER_3_MAC, 12);
    fixture_clear(lab->fixture);
    send_back(lab, first, 10, 64);
    assert_int_equal(fake_of(lab->guest_3)->sent, 0);
    assert_memory_equal(lab_only(lab->guest_1)->bytes, GUEST_1_MAC ROUTER_1_MAC, 12);
}

/* Traceroute: every hop says who it is, and what it says is about what the guest sent. */
static void hops_on_the_way_out(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 40, 1);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *error = lab_only(lab->guest_1);
    assert_int_equal(get32(error->bytes + 26), ROUTER_1);
    assert_int_equal(error->bytes[34], 11);
    assert_memory_equal(error->bytes + 42, flat.bytes + 14, flat.size - 14);
    fixture_clear(lab->fixture);
    /* the next hop's: about what it saw, arrives about what the guest sent */
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 40, 2);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *seen = lab_only(lab->peer);
    put_ethernet(&expected, OUTSIDE_MAC, PEER_MAC, 0x0800);
    put_ipv4(&expected, 1, PEER, OUTSIDE, 8 + 28, 0);
    put(&expected, "\x0b\0\0\0\0\0\0\0", 8);
    put(&expected, seen->bytes + 14, 28);
    set16(expected.bytes + 36, 0xffff - slow_sum(expected.bytes + 34, 36, 0));
    finish_ipv4(&expected);
    lab_send(lab, lab->peer, &expected);
    error = lab_only(lab->guest_1);
    assert_int_equal(get32(error->bytes + 26), PEER);
    assert_int_equal(get32(error->bytes + 30), GUEST_1);
    assert_int_equal(get32(error->bytes + 42 + 12), GUEST_1);
    assert_int_equal(get16(error->bytes + 42 + 20), 40000);
    assert_int_equal(slow_sum(error->bytes + 34, error->size - 34, 0), 0xffff);
}

static void too_big_for_the_outside(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(0, 0, 1500);
    lab_neighbours(lab);
    lab_outside(lab, 0, 0, 1400);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 1400, 64);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *error = lab_only(lab->guest_1);
    assert_memory_equal(error->bytes + 34, "\3\4", 2);
    assert_int_equal(get16(error->bytes + 40), 1400);
    assert_memory_equal(error->bytes + 42, flat.bytes + 14, 548);
    fixture_clear(lab->fixture);
    /* may be fragmented: the pieces are of one translated datagram */
    set16(flat.bytes + 20, 0);
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(fake_of(lab->peer)->sent, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(get32(fake_of(lab->peer)->frames[i].bytes + 26), OUTSIDE);
}

/* A packet that cannot be delivered inside: its sender hears of it in its own terms. */
static void errors_on_the_way_in(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(0, 0, 1500);
    lab_neighbours(lab);
    lab_outside(lab, 0, 0, 1500);
    unsigned port = open_session(lab);
    send_back(lab, port, 100, 1);
    const struct fake_frame *error = lab_only(lab->peer);
    assert_memory_equal(error->bytes + 34, "\x0b\0", 2);
    assert_int_equal(get32(error->bytes + 26), OUTSIDE);
    assert_memory_equal(error->bytes + 42, flat.bytes + 14, 60);
    assert_int_equal(tx_drops(lab->outside, DP_DROP_L3_TTL), 1);
    fixture_clear(lab->fixture);
    for (unsigned i = 0; i < lab->fixture->snapshot->interface_count; i++)
        if (lab->fixture->snapshot->interfaces[i].ingress == lab->router_1)
            lab->fixture->snapshot->interfaces[i].mtu = 600;
    send_back(lab, port, 1000, 64);
    error = lab_only(lab->peer);
    assert_memory_equal(error->bytes + 34, "\3\4", 2);
    assert_int_equal(get16(error->bytes + 40), 600);
    assert_int_equal(get32(error->bytes + 26), OUTSIDE);
    assert_int_equal(get32(error->bytes + 42 + 16), OUTSIDE); /* not the guest's address */
    assert_int_equal(get16(error->bytes + 42 + 22), port);
    assert_int_equal(slow_sum(error->bytes + 34, error->size - 34, 0), 0xffff);
    assert_true(ipv4_sum_right(error->bytes));
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
}

static void replies_wait_for_the_guest(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(0, 0, 1500); /* no static neighbours */
    lab_outside(lab, 0, 0, 1500);
    unsigned port = open_session(lab);
    send_back(lab, port, 77, 64);
    lab_control(lab);
    assert_int_equal(neighbours_held(), 1);
    fixture_clear(lab->fixture);
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0806);
    put(&flat, "\0\1\x08\0\x06\x04\0\2" GUEST_1_MAC, 14);
    put32(&flat, GUEST_1);
    put(&flat, ROUTER_1_MAC, 6);
    put32(&flat, ROUTER_1);
    lab_send(lab, lab->guest_1, &flat);
    lab_control(lab);
    const struct fake_frame *frame = lab_only(lab->guest_1);
    assert_int_equal(frame->size, 34 + 8 + 77);
    assert_int_equal(get32(frame->bytes + 30), GUEST_1);
    assert_true(udp_right(frame));
}

static void packets_wait_for_the_next_hop(void **state)
{
    struct lab *lab = *state;
    struct dp_neighbour hop = {.port = 91};
    char text[OBJECT_TEXT_SIZE];
    address_map(hop.address, (const uint8_t[4]){192, 0, 2, 99});
    assert_int_equal(objects_del(lab->objects, DP_KIND_NEIGHBOUR, &hop, text), 0);
    lab_compile(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 100, 64);
    lab_send(lab, lab->guest_1, &flat);
    lab_control(lab);
    assert_int_equal(neighbours_held(), 1);
    fixture_clear(lab->fixture);
    memcpy(hop.mac, PEER_MAC, 6);
    lab_put(lab, DP_KIND_NEIGHBOUR, &hop);
    lab_compile(lab);
    neighbours_changed(lab->now_ms);
    assert_int_equal(get32(lab_only(lab->peer)->bytes + 26), OUTSIDE);
    assert_true(udp_right(lab_only(lab->peer)));
}

static void hairpins(void **state)
{
    struct lab *lab = *state;
    unsigned port = open_session(lab);
    /* guest 3 of tenant 2 sends to guest 1's outside endpoint */
    udp_ipv4(&flat, ROUTER_3_MAC, GUEST_3_MAC, 0x0a000132, OUTSIDE, 30, 64);
    set16(flat.bytes + 36, port);
    set16(flat.bytes + 40, 0);
    set16(flat.bytes + 40, 0xffff - slow_sum(flat.bytes + 34, 38, slow_pseudo(flat.bytes + 14, 17, 38)));
    lab_send(lab, lab->guest_3, &flat);
    const struct fake_frame *frame = lab_only(lab->guest_1);
    assert_int_equal(get32(frame->bytes + 26), OUTSIDE);
    assert_int_equal(get32(frame->bytes + 30), GUEST_1);
    assert_int_equal(frame->bytes[22], 63);
    assert_true(udp_right(frame));
    assert_int_equal(fake_of(lab->peer)->sent, 0);
}

static void outside_addresses_are_answered_for(void **state)
{
    struct lab *lab = *state;
    put_ethernet(&flat, "\xff\xff\xff\xff\xff\xff", PEER_MAC, 0x0806);
    put(&flat, "\0\1\x08\0\x06\x04\0\1" PEER_MAC, 14);
    put32(&flat, PEER);
    put(&flat, "\0\0\0\0\0\0", 6);
    put32(&flat, OUTSIDE);
    lab_send(lab, lab->peer, &flat);
    assert_memory_equal(lab_only(lab->peer)->bytes + 22, OUTSIDE_MAC, 6);
    fixture_clear(lab->fixture);
    put_ethernet(&flat, OUTSIDE_MAC, PEER_MAC, 0x0800);
    put_ipv4(&flat, 1, PEER, OUTSIDE, 8, 0);
    put(&flat, "\x08\0\xf7\xff\0\0\0\0", 8);
    finish_ipv4(&flat);
    lab_send(lab, lab->peer, &flat);
    assert_int_equal(lab_only(lab->peer)->bytes[34], 0);
}

/* Echo to the shared outside address, from inside: RFC 7857, 12. */
static void guests_ping_the_outside_address(void **state)
{
    struct lab *lab = *state;
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
    put_ipv4(&flat, 1, GUEST_1, OUTSIDE, 8, 0);
    put(&flat, "\x08\0\xf7\xfe\0\1\0\0", 8);
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *frame = lab_only(lab->guest_1);
    assert_int_equal(get32(frame->bytes + 26), OUTSIDE);
    assert_int_equal(get32(frame->bytes + 30), GUEST_1);
    assert_int_equal(frame->bytes[34], 0);
    assert_int_equal(slow_sum(frame->bytes + 34, 8, 0), 0xffff);
    assert_int_equal(fake_of(lab->peer)->sent, 0);
}

/* Fragments that come before their first one, in both directions. */
static void fragments_out_of_order(void **state)
{
    struct lab *lab = *state;
    static struct flat first, second;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, SOMEBODY, 1000, 64);
    memcpy(&first, &flat, sizeof(flat));
    first.size = 34 + 512;
    set16(first.bytes + 16, 20 + 512);
    set16(first.bytes + 20, 0x2000);
    finish_ipv4(&first);
    memcpy(&second, &flat, sizeof(flat));
    memmove(second.bytes + 34, flat.bytes + 34 + 512, 1008 - 512);
    second.size = 34 + 1008 - 512;
    set16(second.bytes + 16, 20 + 1008 - 512);
    set16(second.bytes + 20, 512 / 8);
    finish_ipv4(&second);
    lab_send(lab, lab->guest_1, &second);
    assert_int_equal(fake_of(lab->peer)->sent, 0);
    lab_send(lab, lab->guest_1, &first);
    const struct fake_port *fake = fake_of(lab->peer);
    assert_int_equal(fake->sent, 2);
    static struct flat whole;
    memcpy(&whole, &flat, sizeof(flat));
    memcpy(whole.bytes, fake->frames[0].bytes, 34 + 512);
    memcpy(whole.bytes + 34 + 512, fake->frames[1].bytes + 34, 1008 - 512);
    assert_int_equal(get16(fake->frames[1].bytes + 20), 512 / 8);
    assert_true(ipv4_sum_right(fake->frames[0].bytes) && ipv4_sum_right(fake->frames[1].bytes));
    assert_int_equal(get32(fake->frames[1].bytes + 26), OUTSIDE);
    assert_int_equal(slow_sum(whole.bytes + 34, 1008, slow_pseudo(whole.bytes + 14, 17, 1008)), 0xffff);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, lab_outside_setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        T(out_and_back),
        T(nothing_else_comes_in),
        T(tenants_share_an_address),
        T(hops_on_the_way_out),
        T(too_big_for_the_outside),
        T(errors_on_the_way_in),
        T(replies_wait_for_the_guest),
        T(packets_wait_for_the_next_hop),
        T(hairpins),
        T(outside_addresses_are_answered_for),
        T(guests_ping_the_outside_address),
        T(fragments_out_of_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
