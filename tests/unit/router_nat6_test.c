/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way out by IPv6 (NAT66), with the real address translation behind the router: the next hop has a
 * link-local address, neighbours on the uplink ask for our addresses, errors are translated.
 *
 *   guest 1, fd00:1::10 -> fd00:1::1 [router 1] ~ [outside 2001:db8:1::2] -> fe80::63 peer
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "nat.h"
#include "router_fixture.h"

static const uint8_t outside[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 2},
                     outside_1[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, [15] = 0x77}, /* guest 1's own */
    hop[16] = {0xfe, 0x80, [15] = 0x63}, somebody[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 2, [15] = 9};

static struct flat flat, expected;

static void add_address(struct lab *lab, const uint8_t address[16])
{
    struct dp_nat_address object = {
        .port = 91, .port_first = 1024, .port_last = 65535, .flags = DP_NAT_F_ANSWER};
    memcpy(object.address, address, 16);
    lab_put(lab, DP_KIND_NAT_ADDRESS, &object);
}

static int setup(void **state)
{
    struct lab *lab = lab_new(0, 0, 1500);
    struct dp_interface interface = {.port = 91, .ipv4_prefix_length = 120, .ipv6_prefix_length = 64};
    struct dp_route route = {.router = 0, .prefix_length = 0, .port = 91};
    struct dp_neighbour neighbour = {.port = 91};
    struct dp_nat_source source = {.port = 11, .outside = 91};
    lab_neighbours(lab);
    lab_outside(lab, 0, 0, 1500);
    address_map(interface.ipv4, (const uint8_t[4]){192, 0, 2, 1});
    memcpy(interface.ipv6, outside, 16);
    memcpy(route.next_hop, hop, 16);
    memcpy(neighbour.address, hop, 16);
    memcpy(neighbour.mac, PEER_MAC, 6);
    memcpy(source.address, outside, 16);
    lab_put(lab, DP_KIND_INTERFACE, &interface);
    lab_put(lab, DP_KIND_ROUTE, &route);
    lab_put(lab, DP_KIND_NEIGHBOUR, &neighbour);
    add_address(lab, outside);
    lab_put(lab, DP_KIND_NAT_SOURCE, &source);
    lab_compile(lab);
    *state = lab;
    return 0;
}

static void pin_guest_1(struct lab *lab)
{
    struct dp_nat_one_to_one one = {.outside = 91, .port = 11};
    memcpy(one.address, outside_1, 16);
    memcpy(one.inside, guest_1_ipv6, 16);
    lab_put(lab, DP_KIND_NAT_ONE_TO_ONE, &one);
    lab_compile(lab);
}

static bool sum_right(const uint8_t *frame, unsigned proto, uint32_t size)
{
    return slow_sum(frame + 54, size, slow_pseudo(frame + 14, proto, size)) == 0xffff;
}

static void finish_udp(uint32_t size)
{
    set16(flat.bytes + 60, 0);
    set16(flat.bytes + 60, 0xffff - slow_sum(flat.bytes + 54, size, slow_pseudo(flat.bytes + 14, 17, size)));
}

/* Guest 1 sends to somebody outside; returns the outside port. */
static unsigned open_session(struct lab *lab)
{
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, somebody, 100, 64);
    finish_udp(108);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *frame = lab_only(lab->peer);
    assert_memory_equal(frame->bytes, PEER_MAC OUTSIDE_MAC, 12);
    assert_int_equal(frame->bytes[21], 63);
    assert_memory_equal(frame->bytes + 22, outside, 16);
    assert_memory_equal(frame->bytes + 38, somebody, 16);
    assert_true(sum_right(frame->bytes, 17, 108));
    unsigned port = get16(frame->bytes + 54);
    assert_in_range(port, 1024, 65535);
    fixture_clear(lab->fixture);
    return port;
}

static void out_and_back(void **state)
{
    struct lab *lab = *state;
    unsigned port = open_session(lab);
    udp_ipv6(&flat, OUTSIDE_MAC, PEER_MAC, somebody, outside, 50, 60);
    set16(flat.bytes + 54, 9);
    set16(flat.bytes + 56, port);
    finish_udp(58);
    lab_send(lab, lab->peer, &flat);
    const struct fake_frame *frame = lab_only(lab->guest_1);
    assert_memory_equal(frame->bytes, GUEST_1_MAC ROUTER_1_MAC, 12);
    assert_memory_equal(frame->bytes + 38, guest_1_ipv6, 16);
    assert_int_equal(frame->bytes[21], 59);
    assert_true(sum_right(frame->bytes, 17, 58));
}

/* A segment without IPv6 to the outside: its guests hear at once that there is no way. */
static void no_way_out(void **state)
{
    struct lab *lab = *state;
    udp_ipv6(&flat, ROUTER_2_MAC, GUEST_2_MAC, guest_2_ipv6, somebody, 40, 64);
    lab_send(lab, lab->guest_2, &flat);
    const struct fake_frame *error = lab_only(lab->guest_2);
    assert_memory_equal(error->bytes + 22, router_2_ipv6, 16);
    assert_memory_equal(error->bytes + 54, "\1\0", 2);
    assert_memory_equal(error->bytes + 62, flat.bytes + 14, flat.size - 14);
    assert_int_equal(tx_drops(lab->router_2, DP_DROP_L3_NO_ROUTE), 1);
    assert_int_equal(fake_of(lab->peer)->sent, 0);
}

static void solicit(const uint8_t *destination, const char *mac, const uint8_t target[16], unsigned hops)
{
    put_ethernet(&flat, mac, PEER_MAC, 0x86dd);
    put_ipv6(&flat, 58, hop, destination, 32);
    flat.bytes[21] = (uint8_t)hops;
    put(&flat, "\x87\0\0\0\0\0\0\0", 8);
    put(&flat, target, 16);
    put(&flat, "\1\1" PEER_MAC, 8);
    set16(flat.bytes + 56, 0xffff - slow_sum(flat.bytes + 54, 32, slow_pseudo(flat.bytes + 14, 58, 32)));
}

/* Who resolves our addresses asks a group, who probes them (RFC 4861, 7.3.3) the address itself. */
static void addresses_are_answered_for(void **state)
{
    struct lab *lab = *state;
    const uint8_t *ours[] = {outside, outside_1};
    pin_guest_1(lab);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t group[16] = {0xff, 2, [11] = 1, 0xff}, mac[7] = "\x33\x33\xff\0\0";
        const uint8_t *target = ours[i / 2];
        group[15] = mac[5] = target[15];
        if (i & 1)
            solicit(target, OUTSIDE_MAC, target, 255);
        else
            solicit(group, (const char *)mac, target, 255);
        lab_send(lab, lab->peer, &flat);
        const struct fake_frame *reply = lab_only(lab->peer);
        assert_memory_equal(reply->bytes, PEER_MAC OUTSIDE_MAC, 12);
        assert_memory_equal(reply->bytes + 22, target, 16);
        assert_memory_equal(reply->bytes + 38, hop, 16);
        assert_memory_equal(reply->bytes + 54, "\x88\0", 2);
        assert_int_equal(reply->bytes[58], 0xe0);
        assert_memory_equal(reply->bytes + 62, target, 16);
        assert_memory_equal(reply->bytes + 78, "\2\1" OUTSIDE_MAC, 8);
        assert_true(sum_right(reply->bytes, 58, 32));
        fixture_clear(lab->fixture);
    }
    solicit(outside_1, OUTSIDE_MAC, outside_1, 254); /* has passed a router */
    lab_send(lab, lab->peer, &flat);
    assert_int_equal(tx_drops(lab->outside, DP_DROP_L3_MALFORMED), 1);
    solicit(outside_1, OUTSIDE_MAC, somebody, 255); /* not ours */
    lab_send(lab, lab->peer, &flat);
    assert_int_equal(fake_of(lab->peer)->sent, 0);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
}

/* A smaller link beyond: about what it saw, arrives about what the guest sent. */
static void too_big_beyond(void **state)
{
    struct lab *lab = *state;
    static const uint8_t far_router[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    uint8_t seen[48 + 8];
    unsigned port = open_session(lab);
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, somebody, 1000, 64);
    finish_udp(1008);
    lab_send(lab, lab->guest_1, &flat);
    memcpy(seen, lab_only(lab->peer)->bytes + 14, sizeof(seen));
    fixture_clear(lab->fixture);
    put_ethernet(&expected, OUTSIDE_MAC, PEER_MAC, 0x86dd);
    put_ipv6(&expected, 58, far_router, outside, 8 + sizeof(seen));
    put(&expected, "\2\0\0\0\0\0\5\0", 8);
    put(&expected, seen, sizeof(seen));
    uint32_t size = 8 + sizeof(seen);
    set16(expected.bytes + 56,
          0xffff - slow_sum(expected.bytes + 54, size, slow_pseudo(expected.bytes + 14, 58, size)));
    lab_send(lab, lab->peer, &expected);
    const struct fake_frame *error = lab_only(lab->guest_1);
    assert_memory_equal(error->bytes + 22, far_router, 16);
    assert_memory_equal(error->bytes + 38, guest_1_ipv6, 16);
    assert_memory_equal(error->bytes + 54, "\2\0", 2);
    assert_memory_equal(error->bytes + 58, "\0\0\5\0", 4);
    assert_memory_equal(error->bytes + 62 + 8, guest_1_ipv6, 16);
    assert_memory_equal(error->bytes + 62 + 40, flat.bytes + 54, 2); /* its port, not the translated one */
    assert_int_not_equal(get16(flat.bytes + 54), port);
    assert_true(sum_right(error->bytes, 58, size));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        T(out_and_back),
        T(no_way_out),
        T(addresses_are_answered_for),
        T(too_big_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
