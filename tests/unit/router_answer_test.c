/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the router says itself: errors about packets that it does not forward, and answers to what is asked of
 * it. ICMP texts are built here a second time, field by field.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "router_fixture.h"

#define BROADCAST "\xff\xff\xff\xff\xff\xff"

static struct flat flat, expected;

static void assert_frame(const struct fake_frame *frame, const struct flat *wanted)
{
    assert_int_equal(frame->size, wanted->size);
    assert_memory_equal(frame->bytes, wanted->bytes, wanted->size < FAKE_BYTES ? wanted->size : FAKE_BYTES);
}

/* RFC 792 and 1812: from `source` to guest 1, about the packet in flat. */
static void expect_icmp(unsigned type, unsigned code, uint32_t rest, unsigned id)
{
    uint32_t quoted = flat.size - 14 < 548 ? flat.size - 14 : 548;
    put_ethernet(&expected, GUEST_1_MAC, ROUTER_1_MAC, 0x0800);
    put_ipv4(&expected, 1, ROUTER_1, GUEST_1, 8 + quoted, 0);
    expected.bytes[15] = 0xc0;
    set16(expected.bytes + 18, id);
    set16(expected.bytes + 20, 0);
    put8(&expected, type);
    put8(&expected, code);
    put16(&expected, 0);
    put32(&expected, rest);
    put(&expected, flat.bytes + 14, quoted);
    set16(expected.bytes + 36, 0xffff - slow_sum(expected.bytes + 34, 8 + quoted, 0));
    finish_ipv4(&expected);
}

static void hop_count_used_up(void **state)
{
    struct lab *lab = *state;
    for (unsigned ttl = 0; ttl < 2; ttl++) {
        udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 40, ttl);
        lab_send(lab, lab->guest_1, &flat);
        expect_icmp(11, 0, 0, ttl);
        assert_frame(lab_only(lab->guest_1), &expected);
        fixture_clear(lab->fixture);
    }
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_TTL), 2);
    assert_int_equal(fake_of(lab->guest_2)->sent, 0);
}

static void no_route(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, 0x08080808, 1000, 64);
    lab_send(lab, lab->guest_1, &flat);
    expect_icmp(3, 0, 0, 0);
    assert_frame(lab_only(lab->guest_1), &expected);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NO_ROUTE), 1);
}

static void too_big(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(0, 0, 1000);
    lab_neighbours(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 973, 64);
    lab_send(lab, lab->guest_1, &flat);
    expect_icmp(3, 4, 1000, 0);
    assert_frame(lab_only(lab->guest_1), &expected);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MTU), 1);
    fixture_clear(lab->fixture);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 972, 64);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(lab_only(lab->guest_2)->size, 1014);
}

static void expect_icmpv6(unsigned type, unsigned code, uint32_t rest)
{
    uint32_t quoted = flat.size - 14 < 1232 ? flat.size - 14 : 1232;
    put_ethernet(&expected, GUEST_1_MAC, ROUTER_1_MAC, 0x86dd);
    put_ipv6(&expected, 58, router_1_ipv6, guest_1_ipv6, 8 + quoted);
    expected.bytes[21] = 64;
    put8(&expected, type);
    put8(&expected, code);
    put16(&expected, 0);
    put32(&expected, rest);
    put(&expected, flat.bytes + 14, quoted);
    unsigned sum = slow_pseudo(expected.bytes + 14, 58, 8 + quoted);
    set16(expected.bytes + 56, 0xffff - slow_sum(expected.bytes + 54, 8 + quoted, sum));
}

static void errors_of_ipv6(void **state)
{
    struct lab *lab = *state;
    const uint8_t nowhere[16] = {0x20, 1, [15] = 1}, link_local[16] = {0xfe, 0x80, [15] = 1};
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, guest_2_ipv6, 1400, 1);
    lab_send(lab, lab->guest_1, &flat);
    expect_icmpv6(3, 0, 0);
    assert_frame(lab_only(lab->guest_1), &expected);
    fixture_clear(lab->fixture);
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, nowhere, 10, 64);
    lab_send(lab, lab->guest_1, &flat);
    expect_icmpv6(1, 0, 0);
    assert_frame(lab_only(lab->guest_1), &expected);
    fixture_clear(lab->fixture);
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, link_local, guest_2_ipv6, 10, 64);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(lab_only(lab->guest_1)->bytes[55], 2); /* beyond scope of source address */
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, link_local, 10, 64);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(fake_of(lab->guest_1)->sent, 1);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_TTL), 1);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NO_ROUTE), 3);
}

static void ipv6_too_big(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(0, 0, 1300);
    lab_neighbours(lab);
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, guest_2_ipv6, 1300, 64);
    lab_send(lab, lab->guest_1, &flat);
    expect_icmpv6(2, 0, 1300);
    assert_frame(lab_only(lab->guest_1), &expected);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MTU), 1);
}

/* No errors about errors, later fragments, groups. */
static void errors_that_are_not_sent(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 40, 1);
    set16(flat.bytes + 20, 1); /* offset 8 */
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 40, 1);
    flat.bytes[23] = 1;
    flat.bytes[34] = 3;
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, guest_2_ipv6, 40, 1);
    flat.bytes[20] = 58;
    flat.bytes[54] = 1;
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_TTL), 3);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    udp_ipv4(&flat, "\x01\x00\x5e\x00\x00\x05", GUEST_1_MAC, GUEST_1, 0xe0000005, 40, 1);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(tx_packets(lab->router_1), 1);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
}

static void errors_are_limited(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 40, 1);
    for (unsigned i = 0; i < 1000; i++)
        lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_TTL), 1000);
    assert_in_range(fake_of(lab->guest_1)->sent, 100, 102); /* a tenth of a second's */
}

static void put_arp(struct flat *to, const char *destination, const char *source, unsigned operation,
                    const char *sender_mac, uint32_t sender, const char *target_mac, uint32_t target)
{
    put_ethernet(to, destination, source, 0x0806);
    put(to, "\0\1\x08\0\x06\x04", 6);
    put16(to, operation);
    put(to, sender_mac, 6);
    put32(to, sender);
    put(to, target_mac, 6);
    put32(to, target);
}

static void arp_is_answered(void **state)
{
    struct lab *lab = *state;
    put_arp(&flat, BROADCAST, GUEST_1_MAC, 1, GUEST_1_MAC, GUEST_1, "\0\0\0\0\0\0", ROUTER_1);
    put_arp(&expected, GUEST_1_MAC, ROUTER_1_MAC, 2, ROUTER_1_MAC, ROUTER_1, GUEST_1_MAC, GUEST_1);
    lab_send(lab, lab->guest_1, &flat);
    assert_frame(lab_only(lab->guest_1), &expected);
    fixture_clear(lab->fixture);
    memcpy(flat.bytes, ROUTER_1_MAC, 6); /* unicast, as caches refresh */
    lab_send(lab, lab->guest_1, &flat);
    assert_frame(lab_only(lab->guest_1), &expected);
    fixture_clear(lab->fixture);
    put_arp(&flat, BROADCAST, GUEST_1_MAC, 1, GUEST_1_MAC, GUEST_1, "\0\0\0\0\0\0", ROUTER_2);
    lab_send(lab, lab->guest_1, &flat);
    put_arp(&flat, BROADCAST, GUEST_1_MAC, 2, GUEST_1_MAC, GUEST_1, "\0\0\0\0\0\0", ROUTER_1);
    lab_send(lab, lab->guest_1, &flat);
    flat.size -= 1;
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MALFORMED), 1);
    assert_int_equal(tx_packets(lab->router_1), 4);
}

static void put_echo(unsigned type, uint32_t destination, uint32_t payload)
{
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
    put_ipv4(&flat, 1, GUEST_1, destination, 8 + payload, 0);
    put8(&flat, type);
    put8(&flat, 0);
    put16(&flat, 0);
    put32(&flat, 0x12340001);
    put_payload(&flat, payload);
    set16(flat.bytes + 36, 0xffff - slow_sum(flat.bytes + 34, 8 + payload, 0));
    finish_ipv4(&flat);
}

static void echo_is_answered(void **state)
{
    struct lab *lab = *state;
    for (uint32_t payload = 0; payload < 1472; payload += 113) {
        put_echo(8, payload & 1 ? ROUTER_1 : ROUTER_2, payload);
        lab_send(lab, lab->guest_1, &flat);
        const struct fake_frame *reply = lab_only(lab->guest_1);
        memcpy(&expected, &flat, sizeof(flat));
        memcpy(expected.bytes, GUEST_1_MAC ROUTER_1_MAC, 12);
        memcpy(expected.bytes + 26, flat.bytes + 30, 4);
        memcpy(expected.bytes + 30, flat.bytes + 26, 4);
        expected.bytes[34] = 0;
        set16(expected.bytes + 36, 0);
        set16(expected.bytes + 36, 0xffff - slow_sum(expected.bytes + 34, 8 + payload, 0));
        finish_ipv4(&expected);
        assert_frame(reply, &expected);
        fixture_clear(lab->fixture);
    }
    put_echo(0, ROUTER_1, 20);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_LOCAL), 1);
}

static void put_icmpv6(const char *mac, const uint8_t *source, const uint8_t *destination, unsigned type,
                       const void *body, uint32_t size)
{
    put_ethernet(&flat, mac, GUEST_1_MAC, 0x86dd);
    put_ipv6(&flat, 58, source, destination, 4 + size);
    put8(&flat, type);
    put8(&flat, 0);
    put16(&flat, 0);
    put(&flat, body, size);
    unsigned sum = slow_pseudo(flat.bytes + 14, 58, 4 + size);
    set16(flat.bytes + 56, 0xffff - slow_sum(flat.bytes + 54, 4 + size, sum));
}

static void ipv6_echo_is_answered(void **state)
{
    struct lab *lab = *state;
    const uint8_t body[11] = {0x12, 0x34, 0, 1, 97, 98, 99, 100, 101, 102, 103};
    put_icmpv6(ROUTER_1_MAC, guest_1_ipv6, router_1_ipv6, 128, body, sizeof(body));
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *reply = lab_only(lab->guest_1);
    assert_memory_equal(reply->bytes + 22, router_1_ipv6, 16);
    assert_memory_equal(reply->bytes + 38, guest_1_ipv6, 16);
    assert_int_equal(reply->bytes[54], 129);
    unsigned sum = slow_pseudo(reply->bytes + 14, 58, 15);
    assert_int_equal(slow_sum(reply->bytes + 54, 15, sum), 0xffff);
}

static void solicitation_is_answered(void **state)
{
    struct lab *lab = *state;
    const uint8_t group[16] = {0xff, 2, [11] = 1, 0xff, 0, 0, 1}, none[16] = {0};
    uint8_t body[28] = {0};
    memcpy(body + 4, router_1_ipv6, 16);
    const uint8_t option[8] = {1, 1, 2, 0, 0, 0, 0, 0xa};
    memcpy(body + 20, option, sizeof(option));
    put_icmpv6("\x33\x33\xff\0\0\1", guest_1_ipv6, group, 135, body, 28);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *reply = lab_only(lab->guest_1);
    put_ethernet(&expected, GUEST_1_MAC, ROUTER_1_MAC, 0x86dd);
    put_ipv6(&expected, 58, router_1_ipv6, guest_1_ipv6, 32);
    put(&expected, "\x88\0\0\0\xe0\0\0\0", 8);
    put(&expected, router_1_ipv6, 16);
    put(&expected, "\2\1" ROUTER_1_MAC, 8);
    set16(expected.bytes + 56,
          0xffff - slow_sum(expected.bytes + 54, 32, slow_pseudo(expected.bytes + 14, 58, 32)));
    assert_frame(reply, &expected);
    fixture_clear(lab->fixture);
    /* duplicate address detection: to all nodes, not solicited */
    put_icmpv6("\x33\x33\xff\0\0\1", none, group, 135, body, 20);
    lab_send(lab, lab->guest_1, &flat);
    assert_memory_equal(lab_only(lab->guest_1)->bytes, "\x33\x33\0\0\0\1", 6);
    assert_int_equal(lab_only(lab->guest_1)->bytes[58], 0xa0);
    fixture_clear(lab->fixture);
    flat.bytes[21] = 254; /* has passed a router */
    lab_send(lab, lab->guest_1, &flat);
    flat.bytes[21] = 255;
    flat.bytes[56] ^= 1;
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MALFORMED), 2);
    assert_int_equal(fake_of(lab->guest_1)->sent, 0);
}

static void closed_ports(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, ROUTER_1, 20, 64);
    lab_send(lab, lab->guest_1, &flat);
    expect_icmp(3, 3, 0, 0);
    assert_frame(lab_only(lab->guest_1), &expected);
    fixture_clear(lab->fixture);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, ROUTER_1, 20, 64);
    flat.bytes[23] = 132;
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    expect_icmp(3, 2, 0, 1);
    assert_frame(lab_only(lab->guest_1), &expected);
    fixture_clear(lab->fixture);
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
    put_ipv4(&flat, 6, GUEST_1, ROUTER_1, 25, 0);
    put_tcp(&flat, 0x02, 0);
    put_payload(&flat, 5);
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_frame *reset = lab_only(lab->guest_1);
    assert_int_equal(reset->size, 54);
    assert_int_equal(reset->bytes[47], 0x14);
    assert_memory_equal(reset->bytes + 34, "\0\x50\x9c\x40\0\0\0\0\xff\xff\xff\xf6\x50\x14\0\0", 16);
    assert_int_equal(slow_sum(reset->bytes + 34, 20, slow_pseudo(reset->bytes + 14, 6, 20)), 0xffff);
    assert_true(ipv4_sum_right(reset->bytes));
    flat.bytes[47] = 0x04;
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(fake_of(lab->guest_1)->sent, 1);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_LOCAL), 4);
}

static void no_forwarding_where_there_is_none(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(DP_INTERFACE_F_NO_FORWARD, 0, 1500);
    lab_neighbours(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 20, 64);
    lab_send(lab, lab->guest_1, &flat);
    udp_ipv4(&flat, ROUTER_2_MAC, GUEST_2_MAC, GUEST_2, GUEST_1, 20, 64);
    lab_send(lab, lab->guest_2, &flat);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NO_ROUTE), 1);
    assert_int_equal(tx_drops(lab->router_2, DP_DROP_L3_NO_ROUTE), 1);
    put_echo(8, ROUTER_1, 20);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(lab_only(lab->guest_1)->bytes[34], 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, lab_neighbours_setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        T(hop_count_used_up),
        T(no_route),
        T(too_big),
        T(errors_of_ipv6),
        T(ipv6_too_big),
        T(errors_that_are_not_sent),
        T(errors_are_limited),
        T(arp_is_answered),
        T(echo_is_answered),
        T(ipv6_echo_is_answered),
        T(solicitation_is_answered),
        T(closed_ports),
        T(no_forwarding_where_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
