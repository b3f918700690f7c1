/* SPDX-License-Identifier: BSD-3-Clause */
/* What the router does with one packet after another: forwards it, refuses it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "router_fixture.h"

static struct flat flat, expected;

static void assert_frame(const struct fake_frame *frame, const struct flat *wanted)
{
    assert_int_equal(frame->size, wanted->size);
    assert_memory_equal(frame->bytes, wanted->bytes, wanted->size < FAKE_BYTES ? wanted->size : FAKE_BYTES);
}

static void forwards_ipv4(void **state)
{
    struct lab *lab = *state;
    for (uint32_t payload = 0; payload <= 1472; payload += 184) {
        udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, payload, 64);
        udp_ipv4(&expected, GUEST_2_MAC, ROUTER_2_MAC, GUEST_1, GUEST_2, payload, 63);
        lab_send(lab, lab->guest_1, &flat);
        assert_frame(lab_only(lab->guest_2), &expected);
        fixture_clear(lab->fixture);
    }
    assert_int_equal(tx_packets(lab->router_1), 9);
    assert_int_equal(rx_forwarded(lab->router_2), 9);
}

static void forwards_ipv6(void **state)
{
    struct lab *lab = *state;
    udp_ipv6(&flat, ROUTER_2_MAC, GUEST_2_MAC, guest_2_ipv6, guest_1_ipv6, 1000, 2);
    udp_ipv6(&expected, GUEST_1_MAC, ROUTER_1_MAC, guest_2_ipv6, guest_1_ipv6, 1000, 1);
    lab_send(lab, lab->guest_2, &flat);
    assert_frame(lab_only(lab->guest_1), &expected);
}

/* Every checksum there is, by way of the id: what comes out must be right again. */
static void hop_count_keeps_the_checksum_right(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 0, 64);
    for (unsigned id = 0; id < 0x10000; id += 7) {
        set16(flat.bytes + 18, id);
        finish_ipv4(&flat);
        lab_send(lab, lab->guest_1, &flat);
        assert_true(ipv4_sum_right(lab_only(lab->guest_2)->bytes));
        fixture_clear(lab->fixture);
    }
    /* the complement of zero: 0xffff is not written for 0x0000 */
    for (unsigned ttl = 2; ttl < 256; ttl++) {
        flat.bytes[22] = (uint8_t)ttl;
        finish_ipv4(&flat);
        lab_send(lab, lab->guest_1, &flat);
        assert_true(ipv4_sum_right(lab_only(lab->guest_2)->bytes));
        fixture_clear(lab->fixture);
    }
}

static void padding_is_cut_off(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 3, 64);
    udp_ipv4(&expected, GUEST_2_MAC, ROUTER_2_MAC, GUEST_1, GUEST_2, 3, 63);
    flat.size = 60;
    lab_send(lab, lab->guest_1, &flat);
    assert_frame(lab_only(lab->guest_2), &expected);
    fixture_clear(lab->fixture);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 200, 64);
    udp_ipv4(&expected, GUEST_2_MAC, ROUTER_2_MAC, GUEST_1, GUEST_2, 200, 63);
    flat.size += 40;
    lab_send(lab, lab->guest_1, &flat);
    assert_frame(lab_only(lab->guest_2), &expected);
}

static void illegal_packets(void **state)
{
    struct lab *lab = *state;
    static const uint32_t sources[] = {0, 0x7f000001, 0xe0000001, 0xf0000001, 0xffffffff};
    static const uint32_t destinations[] = {0, 0x7f000001, 0xf0000001};
    unsigned count = 0;
    for (unsigned i = 0; i < sizeof(sources) / sizeof(sources[0]); i++, count++) {
        udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, sources[i], GUEST_2, 40, 64);
        lab_send(lab, lab->guest_1, &flat);
    }
    for (unsigned i = 0; i < sizeof(destinations) / sizeof(destinations[0]); i++, count++) {
        udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, destinations[i], 40, 64);
        lab_send(lab, lab->guest_1, &flat);
    }
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 40, 64);
    flat.bytes[24] ^= 1; /* checksum */
    lab_send(lab, lab->guest_1, &flat);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0xa9fe0001, GUEST_2, 40, 64);
    lab_send(lab, lab->guest_1, &flat);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 40, 64);
    set16(flat.bytes + 16, 19);
    lab_send(lab, lab->guest_1, &flat);
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
    put_ipv4(&flat, 17, GUEST_1, GUEST_2, 0, 8);
    memcpy(flat.bytes + 34, "\x83\x07\x04\x0a\x00\x00\x01\x00", 8); /* loose source route */
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    memcpy(flat.bytes + 34, "\x07\x01\x04\x0a\x00\x00\x01\x00", 8); /* shorter than itself */
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    count += 5;
    const uint8_t group[16] = {0xff, 2, [15] = 1}, none[16] = {0}, loopback[16] = {[15] = 1};
    const uint8_t *ipv6[] = {group, none, loopback};
    for (unsigned i = 0; i < 3; i++, count += 2) {
        udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, ipv6[i], guest_2_ipv6, 40, 64);
        lab_send(lab, lab->guest_1, &flat);
        udp_ipv6(&flat, ROUTER_1_MAC, GUEST_1_MAC, guest_1_ipv6, ipv6[i], 40, 64);
        lab_send(lab, lab->guest_1, &flat);
    }
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_MALFORMED), count);
    assert_int_equal(fake_of(lab->guest_1)->sent + fake_of(lab->guest_2)->sent, 0);
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
    put_ipv4(&flat, 17, GUEST_1, GUEST_2, 0, 8); /* no-operations */
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(lab_only(lab->guest_2)->size, flat.size);
}

static void broadcasts_are_not_routed(void **state)
{
    struct lab *lab = *state;
    static const uint32_t destinations[] = {0x0a0002ff, 0x0a000200};
    for (unsigned i = 0; i < 2; i++) {
        udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, destinations[i], 40, 64);
        lab_send(lab, lab->guest_1, &flat);
    }
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_L3_NO_ROUTE), 2);
    assert_int_equal(fake_of(lab->guest_1)->sent + fake_of(lab->guest_2)->sent, 0);
}

/* The same addresses, another tenant: what tenant 2's router knows is not where tenant 1's packets go. */
static void tenants_have_tables_of_their_own(void **state)
{
    struct lab *lab = *state;
    udp_ipv4(&flat, ROUTER_3_MAC, GUEST_3_MAC, 0x0a000132, GUEST_2, 20, 64);
    lab_send(lab, lab->guest_3, &flat);
    assert_int_equal(tx_drops(lab->router_3, DP_DROP_L3_NO_ROUTE), 1);
    assert_int_equal(fake_of(lab->guest_2)->sent + fake_of(lab->guest_1)->sent, 0);
    assert_int_equal(lab_only(lab->guest_3)->bytes[34], 3);
}

/* Should the tables ever say otherwise, the worker refuses. */
static void output_to_another_router_is_refused(void **state)
{
    struct lab *lab = *state;
    struct snapshot *snapshot = lab->fixture->snapshot;
    struct router *other = NULL;
    for (unsigned i = 0; i < snapshot->router_count; i++)
        if (snapshot->routers[i].id == 2)
            other = &snapshot->routers[i];
    for (unsigned i = 0; i < snapshot->interface_count; i++)
        if (snapshot->interfaces[i].ingress == lab->router_2)
            snapshot->interfaces[i].router = other;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 20, 64);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_TENANT), 1);
    assert_int_equal(fake_of(lab->guest_2)->sent, 0);
}

static void isolated_ports_do_not_meet_at_the_router(void **state)
{
    struct lab *lab = *state;
    uint8_t address[16];
    address_map(address, (const uint8_t[4]){10, 0, 1, 11});
    struct dp_neighbour other = {.port = 11, .mac = {2, 0, 0, 0, 0, 0xb}};
    memcpy(other.address, address, 16);
    lab_put(lab, DP_KIND_NEIGHBOUR, &other);
    lab_compile(lab);
    lab->guest_1->flags = DP_PORT_F_ISOLATED;
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, 0x0a00010b, 20, 64);
    lab_send(lab, lab->guest_1, &flat);
    assert_int_equal(tx_drops(lab->router_1, DP_DROP_ISOLATED_PORT), 1);
}

/* What is in flat, to be cut into segments of 1448 bytes. */
static void send_tso(struct lab *lab)
{
    struct packet *packet = fixture_receive(lab->fixture, flat.bytes, flat.size);
    packet->flags = VNET_F_NEEDS_CSUM;
    packet->gso_type = VNET_GSO_TCPV4;
    packet->gso_size = 1448;
    packet->csum_start = 34;
    packet->csum_offset = 16;
    fixture_run(lab->fixture, lab->guest_1);
}

static void tso_frames_pass_whole(void **state)
{
    struct lab *lab = *state;
    put_ethernet(&flat, ROUTER_1_MAC, GUEST_1_MAC, 0x0800);
    put_ipv4(&flat, 6, GUEST_1, GUEST_2, 20 + 9000, 0);
    put_tcp(&flat, 0x10, 0);
    put_payload(&flat, 9000);
    finish_ipv4(&flat);
    lab->guest_2->port->offloads = OFFLOAD_CSUM | OFFLOAD_TSO4;
    send_tso(lab);
    const struct fake_frame *frame = lab_only(lab->guest_2);
    assert_int_equal(frame->size, flat.size);
    assert_int_equal(frame->gso_size, 1448);
    assert_int_equal(frame->bytes[22], 63);
    assert_true(ipv4_sum_right(frame->bytes));
    fixture_clear(lab->fixture);
    lab_free(lab);
    *state = lab = lab_new(0, 0, 1487);
    lab_neighbours(lab);
    send_tso(lab); /* 1488 bytes a segment do not fit */
    assert_int_equal(lab_only(lab->guest_1)->bytes[35], 4);
}

static void fragments_in_software(void **state)
{
    struct lab *lab = *state;
    lab_free(lab);
    *state = lab = lab_new(0, 0, 620);
    lab_neighbours(lab);
    udp_ipv4(&flat, ROUTER_1_MAC, GUEST_1_MAC, GUEST_1, GUEST_2, 1400, 64);
    set16(flat.bytes + 20, 0); /* may be fragmented */
    finish_ipv4(&flat);
    lab_send(lab, lab->guest_1, &flat);
    const struct fake_port *fake = fake_of(lab->guest_2);
    assert_int_equal(fake->sent, 3);
    uint32_t at = 0;
    for (unsigned i = 0; i < 3; i++) {
        const struct fake_frame *frame = &fake->frames[i];
        uint32_t size = get16(frame->bytes + 16) - 20, word = get16(frame->bytes + 20);
        assert_true(ipv4_sum_right(frame->bytes));
        assert_int_equal(frame->size, 34 + size);
        assert_in_range(frame->size, 0, 634);
        assert_int_equal((word & 0x1fff) * 8, at);
        assert_int_equal(word >> 13, i < 2);
        assert_int_equal(frame->bytes[22], 63);
        assert_memory_equal(frame->bytes + 34, flat.bytes + 34 + at, size);
        at += size;
    }
    assert_int_equal(at, 1408);
    assert_int_equal(tx_packets(lab->router_1), 1);
    assert_int_equal(rx_forwarded(lab->router_2), 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, lab_neighbours_setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        T(forwards_ipv4),
        T(forwards_ipv6),
        T(hop_count_keeps_the_checksum_right),
        T(padding_is_cut_off),
        T(illegal_packets),
        T(broadcasts_are_not_routed),
        T(tenants_have_tables_of_their_own),
        T(output_to_another_router_is_refused),
        T(isolated_ports_do_not_meet_at_the_router),
        T(tso_frames_pass_whole),
        T(fragments_in_software),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
