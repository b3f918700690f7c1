/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours that have to be asked for: packets wait, questions, answers, forged ones, ageing, limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "router_fixture.h"

#define OTHER_MAC "\x02\x00\x00\x00\x00\x63"

static struct flat flat, expected;

static int setup(void **state)
{
    *state = lab_new(0, 0, 9000);
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(neighbours_held(), 0);
    return lab_teardown(state);
}

static void send_1_to_2(struct lab *lab, uint32_t destination, uint32_t payload)
{
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, destination, payload, 64);
    lab_send(lab, lab->guest_1, &flat);
}

static void put_arp_answer(const char *mac, uint32_t address, unsigned operation)
{
    put_ethernet(&flat, ROUTER_2_MAC, mac, 0x0806);
    put(&flat, "\0\1\x08\0\x06\x04", 6);
    put16(&flat, operation);
    put(&flat, mac, 6);
    put32(&flat, address);
    put(&flat, ROUTER_2_MAC, 6);
    put32(&flat, ROUTER_2);
}

static void answer(struct lab *lab, const char *mac, uint32_t address)
{
    put_arp_answer(mac, address, 2);
    lab_send(lab, lab->guest_2, &flat);
    lab_control(lab);
}

static void packets_wait_for_the_answer(void **state)
{
    struct lab *lab = *state;
    for (uint32_t i = 0; i < 3; i++)
        send_1_to_2(lab, GUEST_2, 100 + i);
    assert_int_equal(fake_of(lab->guest_2)->sent, 0);
    lab_control(lab);
    assert_int_equal(neighbours_held(), 3);
    const struct fake_frame *question = lab_only(lab->guest_2);
    put_ethernet(&expected, "\xff\xff\xff\xff\xff\xff", ROUTER_2_MAC, 0x0806);
    put(&expected, "\0\1\x08\0\x06\x04\0\1" ROUTER_2_MAC, 14);
    put32(&expected, ROUTER_2);
    put(&expected, "\0\0\0\0\0\0", 6);
    put32(&expected, GUEST_2);
    assert_int_equal(question->size, 60);
    assert_memory_equal(question->bytes, expected.bytes, 42);
    fixture_clear(lab->fixture);
    answer(lab, GUEST_2_MAC, GUEST_2);
    const struct fake_port *fake = fake_of(lab->guest_2);
    assert_int_equal(fake->sent, 3);
    for (uint32_t i = 0; i < 3; i++) {
        udp_ipv4(&expected, GUEST_2_MAC, ROUTER_2_MAC, GUEST_1, GUEST_2, 100 + i, 63);
        assert_int_equal(fake->frames[i].size, expected.size);
        assert_memory_equal(fake->frames[i].bytes, expected.bytes, expected.size);
    }
    fixture_clear(lab->fixture);
    send_1_to_2(lab, GUEST_2, 10);
    assert_int_equal(fake_of(lab->guest_2)->sent, 1);
}

static void nobody_answers(void **state)
{
    struct lab *lab = *state;
    send_1_to_2(lab, 0x0a000263, 100);
    lab_control(lab);
    lab_wait(lab, 900);
    assert_int_equal(fake_of(lab->guest_2)->sent, 1);
    lab_wait(lab, 3200);
    assert_int_equal(fake_of(lab->guest_2)->sent, 3);
    const struct fake_frame *error = lab_only(lab->guest_1);
    assert_memory_equal(error->bytes + 34, "\3\1", 2);
    assert_memory_equal(error->bytes + 42, flat.bytes + 14, flat.size - 14);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NEIGHBOUR), 1);
    send_1_to_2(lab, 0x0a000263, 100); /* refused at once for a while */
    assert_int_equal(fake_of(lab->guest_1)->sent, 2);
    assert_int_equal(fake_of(lab->guest_2)->sent, 3);
    lab_wait(lab, 5000);
    send_1_to_2(lab, 0x0a000263, 100);
    lab_control(lab);
    assert_int_equal(fake_of(lab->guest_2)->sent, 4); /* asked again */
    lab_wait(lab, 6000);
}

static void only_a_few_packets_wait(void **state)
{
    struct lab *lab = *state;
    for (unsigned i = 0; i < 10; i++) {
        send_1_to_2(lab, GUEST_2, 100);
        lab_control(lab);
    }
    assert_int_equal(neighbours_held(), 4);
    assert_int_equal(fake_of(lab->guest_2)->sent, 1); /* one question */
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NEIGHBOUR), 6);
    answer(lab, GUEST_2_MAC, GUEST_2);
    assert_int_equal(fake_of(lab->guest_2)->sent, 5);
}

static void only_what_was_asked_for_is_learned(void **state)
{
    struct lab *lab = *state;
    for (uint32_t i = 1; i < 200; i++)
        answer(lab, OTHER_MAC, 0x0a000200 + i);
    struct dp_neighbour_state states[8];
    uint64_t cursor = 0;
    assert_int_equal(neighbours_read(&cursor, 1000, states, 8), 0);
    assert_true(cursor == UINT64_MAX);
    send_1_to_2(lab, GUEST_2, 100);
    lab_control(lab);
    /* a reply whose Ethernet source is not who it says it is */
    put_arp_answer(GUEST_2_MAC, GUEST_2, 2);
    memcpy(flat.bytes + 6, OTHER_MAC, 6);
    lab_send(lab, lab->guest_2, &flat);
    lab_control(lab);
    assert_int_equal(neighbours_held(), 1);
    answer(lab, GUEST_2_MAC, GUEST_2);
    cursor = 0;
    assert_int_equal(neighbours_read(&cursor, (uint32_t)(lab->now_ms / 1000), states, 8), 1);
    assert_int_equal(states[0].port, 21);
    assert_int_equal(states[0].reachable, 1);
    assert_memory_equal(states[0].mac, GUEST_2_MAC, 6);
    assert_memory_equal(states[0].address + 12, "\x0a\0\2\x14", 4);
}

static void silent_neighbours_are_asked_again(void **state)
{
    struct lab *lab = *state;
    send_1_to_2(lab, GUEST_2, 100);
    lab_control(lab);
    answer(lab, GUEST_2_MAC, GUEST_2);
    fixture_clear(lab->fixture);
    lab_wait(lab, 29000);
    assert_int_equal(fake_of(lab->guest_2)->sent, 0);
    send_1_to_2(lab, GUEST_2, 100);
    fixture_clear(lab->fixture);
    lab_wait(lab, 3000);
    const struct fake_port *fake = fake_of(lab->guest_2);
    assert_in_range(fake->sent, 1, 3);
    assert_memory_equal(fake->frames[0].bytes, GUEST_2_MAC, 6); /* it alone */
    answer(lab, GUEST_2_MAC, GUEST_2);
    fixture_clear(lab->fixture);
    lab_wait(lab, 20000);
    assert_int_equal(fake->sent, 0);
    send_1_to_2(lab, GUEST_2, 100); /* meanwhile it went on without a pause */
    assert_int_equal(fake->sent, 1);
    lab_wait(lab, 700 * 1000);
    struct dp_neighbour_state states[8];
    uint64_t cursor = 0;
    assert_int_equal(neighbours_read(&cursor, 1000, states, 8), 0); /* not used: forgotten */
}

static void a_gone_neighbour_is_found_out(void **state)
{
    struct lab *lab = *state;
    send_1_to_2(lab, GUEST_2, 100);
    lab_control(lab);
    answer(lab, GUEST_2_MAC, GUEST_2);
    for (unsigned second = 0; second < 50; second++) {
        send_1_to_2(lab, GUEST_2, 100);
        lab_wait(lab, 1000);
    }
    assert_true(tx_drops(lab->router_1, DP_DROP_L3_NEIGHBOUR) > 0);
    lab_wait(lab, 10000);
}

static void a_neighbour_moves(void **state)
{
    struct lab *lab = *state;
    send_1_to_2(lab, GUEST_2, 100);
    lab_control(lab);
    answer(lab, GUEST_2_MAC, GUEST_2);
    put_arp_answer(OTHER_MAC, GUEST_2, 1); /* announces itself */
    lab_send(lab, lab->guest_2, &flat);
    lab_control(lab);
    fixture_clear(lab->fixture);
    send_1_to_2(lab, GUEST_2, 100);
    assert_memory_equal(lab_only(lab->guest_2)->bytes, OTHER_MAC, 6);
}

static void neighbours_of_ipv6(void **state)
{
    struct lab *lab = *state;
    udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, guest_2_ipv6, 100, 64);
    lab_send(lab, lab->guest_1, &flat);
    lab_control(lab);
    const struct fake_frame *question = lab_only(lab->guest_2);
    const uint8_t link_local[16] = {0xfe, 0x80, [8] = 0, 0, 0, 0xff, 0xfe, 0, 0, 0xf2};
    const uint8_t group[16] = {0xff, 2, [11] = 1, 0xff, 0, 0, 0x20};
    put_ethernet(&expected, "\x33\x33\xff\0\0\x20", ROUTER_2_MAC, 0x86dd);
    put_ipv6(&expected, 58, link_local, group, 32);
    put(&expected, "\x87\0\0\0\0\0\0\0", 8);
    put(&expected, guest_2_ipv6, 16);
    put(&expected, "\1\1" ROUTER_2_MAC, 8);
    set16(expected.bytes + 56,
          0xffff - slow_sum(expected.bytes + 54, 32, slow_pseudo(expected.bytes + 14, 58, 32)));
    assert_int_equal(question->size, expected.size);
    assert_memory_equal(question->bytes, expected.bytes, expected.size);
    fixture_clear(lab->fixture);
    put_ethernet(&flat, ROUTER_2_MAC, GUEST_2_MAC, 0x86dd);
    put_ipv6(&flat, 58, guest_2_ipv6, link_local, 32);
    put(&flat, "\x88\0\0\0\x60\0\0\0", 8);
    put(&flat, guest_2_ipv6, 16);
    put(&flat, "\2\1" GUEST_2_MAC, 8);
    set16(flat.bytes + 56, 0xffff - slow_sum(flat.bytes + 54, 32, slow_pseudo(flat.bytes + 14, 58, 32)));
    lab_send(lab, lab->guest_2, &flat);
    lab_control(lab);
    udp_ipv6(&expected, GUEST_2_MAC, ROUTER_2_MAC, guest_1_ipv6, guest_2_ipv6, 100, 63);
    assert_memory_equal(lab_only(lab->guest_2)->bytes, expected.bytes, expected.size);
}

/* A scan of more addresses than there is room for: what is in use stays. */
static void a_scan_evicts_nobody(void **state)
{
    struct lab *lab = *state;
    send_1_to_2(lab, GUEST_2, 100);
    lab_control(lab);
    answer(lab, GUEST_2_MAC, GUEST_2);
    struct dp_route route = {.router = 1, .prefix_length = 112, .port = 21};
    address_map(route.prefix, (const uint8_t[4]){172, 16, 0, 0});
    lab_put(lab, DP_KIND_ROUTE, &route);
    lab_compile(lab);
    for (uint32_t i = 1; i < 3000; i++) {
        send_1_to_2(lab, 0xac100000 + i, 10);
        if (i % 100 == 0)
            lab_wait(lab, 100);
        else
            lab_control(lab);
    }
    fixture_clear(lab->fixture);
    send_1_to_2(lab, GUEST_2, 100);
    assert_int_equal(fake_of(lab->guest_2)->sent, 1);
    assert_in_range(neighbours_held(), 1, 1023);
    lab_wait(lab, 10000);
}

static void static_neighbours_come_later(void **state)
{
    struct lab *lab = *state;
    send_1_to_2(lab, GUEST_2, 100);
    lab_control(lab);
    fixture_clear(lab->fixture);
    lab_neighbours(lab);
    neighbours_changed(lab->now_ms);
    assert_int_equal(lab_only(lab->guest_2)->size, 142);
    struct dp_neighbour_state states[8];
    uint64_t cursor = 0;
    assert_int_equal(neighbours_read(&cursor, 1000, states, 8), 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(states[i].is_static, 1);
}

static void the_controller_is_asked(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(0, DP_INTERFACE_F_ASK_KERNEL, 1500);
    send_1_to_2(lab, GUEST_2, 100);
    lab_control(lab);
    assert_int_equal(lab->asked, 1);
    assert_int_equal(lab->asked_port, 21);
    assert_memory_equal(lab->asked_address + 12, "\x0a\0\2\x14", 4);
    assert_int_equal(fake_of(lab->guest_2)->sent, 0);
    lab_wait(lab, 5000);
    assert_int_equal(lab->asked, 3);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NEIGHBOUR), 1);
}

static void a_port_leaves_with_what_waits(void **state)
{
    struct lab *lab = *state;
    send_1_to_2(lab, GUEST_2, 100);
    lab_control(lab);
    assert_int_equal(neighbours_held(), 1);
    struct router_port *port = lab->router_2->port->private;
    neighbours_port_remove(port);
    assert_int_equal(neighbours_held(), 0);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NEIGHBOUR), 1);
    neighbours_port_add(port);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(packets_wait_for_the_answer),
        T(nobody_answers),
        T(only_a_few_packets_wait),
        T(only_what_was_asked_for_is_learned),
        T(silent_neighbours_are_asked_again),
        T(a_gone_neighbour_is_found_out),
        T(a_neighbour_moves),
        T(neighbours_of_ipv6),
        T(a_scan_evicts_nobody),
        T(static_neighbours_come_later),
        T(the_controller_is_asked),
        T(a_port_leaves_with_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
