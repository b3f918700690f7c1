/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a guest that scans the networks on a link, with whole rows of guests or with somebody there who
 * answers for all of them, can do to others who want new next hops there: nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "router_fixture.h"
#include "tsc.h"

#define SCANNED   0x08000000u /* on the link of the outside */
#define GUESTS    12u         /* more of tenant 1, at ports 41 and on */
#define ROOM      1024u       /* packets that may wait, and neighbours of a port */
#define BURST_MAX 64u         /* notes of one turn of the control thread */

static struct flat flat;

/* Everything is on the outside's link; tenant 1 has a row of guests. */
static int setup(void **state)
{
    struct lab *lab = lab_new(0, 0, 1500);
    struct dp_route route = {.router = 0, .prefix_length = 104, .port = 91};
    address_map(route.prefix, (const uint8_t[4]){8, 0, 0, 0});
    lab_neighbours(lab);
    lab_outside(lab, 0, DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER, 1500);
    lab_put(lab, DP_KIND_ROUTE, &route);
    for (uint32_t i = 0; i < GUESTS; i++)
        fixture_member(lab->fixture->snapshot->bridges[10], fixture_port(lab->fixture, 41 + i, 1, 0), 0);
    lab_compile(lab);
    *state = lab;
    return 0;
}

static int teardown(void **state)
{
    lab_wait(*state, 12000); /* nobody answered */
    assert_int_equal(neighbours_held(), 0);
    return lab_teardown(state);
}

static struct ingress *port_of(struct lab *lab, uint32_t id)
{
    return lab->fixture->snapshot->ingress[id];
}

/* From a guest of tenant 1 (any port) or 2 (port 3) to somewhere outside. */
static void send(struct lab *lab, uint32_t from, uint32_t destination)
{
    const char mac[6] = {2, 0, 0, 0, 1, (char)from};
    udp_ipv4(&flat, from == 3 ? ROUTER_3_MAC : ROUTER_1_MAC, mac, 0x0a000164 + from, destination, 10, 64);
    lab_send(lab, port_of(lab, from), &flat);
}

static bool answers;

static void answer(struct lab *lab, uint32_t address)
{
    put_ethernet(&flat, OUTSIDE_MAC, PEER_MAC, 0x0806);
    put(&flat, "\0\1\x08\0\x06\x04\0\2" PEER_MAC, 14);
    put32(&flat, address);
    put(&flat, OUTSIDE_MAC, 6);
    put32(&flat, OUTSIDE);
    lab_send(lab, lab->peer, &flat);
    lab_control(lab);
}

/* A port's scan of `count` addresses as fast as it is let. */
static void scan(struct lab *lab, uint32_t from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t address = SCANNED + from * 0x10000 + i;
        lab->fixture->program->now += tsc_hz() / ROUTER_RESOLVE_PPS;
        send(lab, from, address);
        lab_control(lab);
        if (answers)
            answer(lab, address);
        fixture_clear(lab->fixture);
    }
}

/* How many of `count` new next hops the guest gets. */
static unsigned reached(struct lab *lab, uint32_t from, unsigned count)
{
    unsigned reached = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t address = SCANNED + 0xff0000 + from * 0x100 + i;
        lab->fixture->program->now += tsc_hz() / ROUTER_RESOLVE_PPS;
        send(lab, from, address);
        lab_control(lab);
        fixture_clear(lab->fixture);
        answer(lab, address);
        reached += fake_of(lab->peer)->sent == 1; /* the packet that waited */
        fixture_clear(lab->fixture);
    }
    return reached;
}

static void another_tenant_is_not_hurt(void **state)
{
    struct lab *lab = *state;
    scan(lab, 1, 2 * ROOM);
    assert_int_equal(neighbours_held(), ROOM);
    assert_int_equal(reached(lab, 3, 64), 64);
}

static void a_row_of_guests_hurts_no_other_tenant(void **state)
{
    struct lab *lab = *state;
    for (uint32_t i = 0; i < GUESTS; i++)
        scan(lab, 41 + i, ROOM / 2);
    assert_int_equal(neighbours_held(), ROOM);
    assert_int_equal(reached(lab, 3, ROOM / 4), ROOM / 4);
}

static void another_guest_of_the_tenant_is_not_hurt(void **state)
{
    struct lab *lab = *state;
    for (uint32_t i = 0; i < GUESTS; i++)
        scan(lab, 41 + i, ROOM / 2);
    assert_int_equal(neighbours_held(), ROOM);
    assert_int_equal(reached(lab, 1, ROOM / (GUESTS + 2)), ROOM / (GUESTS + 2));
}

/* Two that scan have a half each, whoever came first; neither takes from the other any more. */
static void two_scans_share(void **state)
{
    struct lab *lab = *state;
    struct dp_neighbour_state states[2 * ROOM];
    unsigned of_1 = 0, of_3 = 0;
    uint64_t cursor = 0;
    scan(lab, 1, 2 * ROOM);
    scan(lab, 3, 2 * ROOM);
    scan(lab, 1, ROOM);
    size_t count = neighbours_read(&cursor, 1000, states, 2 * ROOM);
    for (size_t i = 0; i < count; i++) {
        of_1 += !states[i].is_static && states[i].address[13] == 1;
        of_3 += !states[i].is_static && states[i].address[13] == 3;
    }
    assert_int_equal(of_1, ROOM / 2);
    assert_int_equal(of_3, ROOM / 2);
}

/* Somebody on the link answers for every address: the table is full of neighbours in use. */
static void answers_fill_no_table_for_others(void **state)
{
    struct lab *lab = *state;
    answers = true;
    scan(lab, 1, 2 * ROOM);
    answers = false;
    assert_int_equal(neighbours_held(), 0);
    assert_int_equal(reached(lab, 3, ROOM / 4), ROOM / 4);
    assert_int_equal(reached(lab, 41, ROOM / 8), ROOM / 8);
}

/* No faster than its turn: one guest does not fill a worker's ring to the control thread, and what it asks
 * for more does not use up what others may ask for. */
static void the_ring_has_room_for_others(void **state)
{
    struct lab *lab = *state;
    for (unsigned i = 0; i < 10 * BURST_MAX; i++)
        send(lab, 1, SCANNED + i);
    send(lab, 3, SCANNED + 0xff0000);
    send(lab, 41, SCANNED + 0xfe0000);
    lab_control(lab);
    fixture_clear(lab->fixture);
    answer(lab, SCANNED + 0xff0000);
    answer(lab, SCANNED + 0xfe0000);
    assert_int_equal(fake_of(lab->peer)->sent, 2);
}

/* The kernel's table of neighbours is not filled by a guest, and its other guests get their turn. */
static void the_kernel_is_not_asked_for_too_many(void **state)
{
    struct lab *lab = *state;
    struct dp_interface interface = {
        .port = 91, .flags = DP_INTERFACE_F_ASK_KERNEL, .ipv4_prefix_length = 120};
    address_map(interface.ipv4, (const uint8_t[4]){192, 0, 2, 1});
    lab_put(lab, DP_KIND_INTERFACE, &interface);
    lab_compile(lab);
    scan(lab, 1, 2 * ROOM);
    assert_int_equal(lab->asked, ROOM / 4);
    scan(lab, 3, 64);
    scan(lab, 41, 64);
    assert_int_equal(lab->asked, ROOM / 4 + 128);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(another_tenant_is_not_hurt),
        T(a_row_of_guests_hurts_no_other_tenant),
        T(another_guest_of_the_tenant_is_not_hurt),
        T(two_scans_share),
        T(answers_fill_no_table_for_others),
        T(the_ring_has_room_for_others),
        T(the_kernel_is_not_asked_for_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
