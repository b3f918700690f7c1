/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "switch_fixture.h"

#define TCP_HEADERS 54u

/* Three access ports in one segment: the checks on the way in, the adaptation on the way out. */
struct three {
    struct fixture *fixture;
    struct ingress *a, *b, *c;
};

static int setup(void **state)
{
    struct three *t = test_calloc(1, sizeof(*t));
    t->fixture = fixture_new(1000);
    struct bridge *bridge = fixture_bridge(t->fixture, 10, 1);
    t->a = fixture_port(t->fixture, 1, 1, 0);
    t->b = fixture_port(t->fixture, 2, 1, 0);
    t->c = fixture_port(t->fixture, 3, 1, 0);
    fixture_member(bridge, t->a, 0);
    fixture_member(bridge, t->b, 0);
    fixture_member(bridge, t->c, 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct three *t = *state;
    bool consistent = fixture_consistent(t->fixture);
    fixture_free(t->fixture);
    test_free(t);
    return consistent ? 0 : -1;
}

/* TCP over IPv4 from 02::0a to `to` (0xff: broadcast) with `payload` bytes, checksum left as a request. */
static uint32_t tcp_frame(uint8_t *bytes, uint8_t to, uint32_t payload)
{
    uint32_t size = TCP_HEADERS + payload;
    memset(bytes, 0, size);
    fixture_frame(bytes, to, 0xa, NULL, 0);
    bytes[12] = 0x08;
    bytes[13] = 0x00;
    uint8_t *ip = bytes + 14, *tcp = bytes + 34;
    ip[0] = 0x45;
    ip[2] = (uint8_t)((size - 14) >> 8);
    ip[3] = (uint8_t)(size - 14);
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
    tcp[12] = 0x50;
    tcp[13] = 0x10;
    for (uint32_t i = 0; i < payload; i++)
        bytes[TCP_HEADERS + i] = (uint8_t)(i * 7);
    /* the pseudo header's sum stands in the field (virtio 1.2, 5.1.6.2) */
    uint32_t sum = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 6 + 20 + payload;
    sum = (sum & 0xffff) + (sum >> 16);
    tcp[16] = (uint8_t)(sum >> 8);
    tcp[17] = (uint8_t)sum;
    return size;
}

static struct packet *receive_tcp(struct three *t, uint8_t *bytes, uint8_t to, uint32_t payload)
{
    struct packet *packet = fixture_receive(t->fixture, bytes, tcp_frame(bytes, to, payload));
    packet->flags = VNET_F_NEEDS_CSUM;
    packet->csum_start = 34;
    packet->csum_offset = 16;
    return packet;
}

/* Ones' complement sum over the TCP part with its pseudo header: 0xffff if the checksum is right. */
static uint16_t tcp_sum(const struct fake_frame *frame)
{
    uint32_t length = frame->size - 34, sum = 6 + length;
    for (unsigned i = 26; i < 34; i += 2)
        sum += (uint32_t)(frame->bytes[i] << 8 | frame->bytes[i + 1]);
    for (uint32_t i = 34; i < frame->size; i++)
        sum += i & 1 ? frame->bytes[i] : (uint32_t)frame->bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void learn_all(struct three *t)
{
    fixture_unicast(t->fixture, t->b, 0xff, 0xb);
    fixture_unicast(t->fixture, t->c, 0xff, 0xc);
    fixture_clear(t->fixture);
}

static void reserved_addresses(void **state)
{
    struct three *t = *state;
    uint8_t frame[64] = {0x01, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 0xa, 0x88, 0xcc};
    for (unsigned i = 0; i < 16; i++) {
        frame[5] = (uint8_t)i;
        fixture_send(t->fixture, t->a, frame, 60);
    }
    assert_int_equal(rx_drops(t->a, DP_DROP_RESERVED_MAC), 16);
    frame[5] = 0x10;
    fixture_send(t->fixture, t->a, frame, 60);
    assert_int_equal(rx_flooded(t->a), 1);
    frame[6] |= 1;
    fixture_send(t->fixture, t->a, frame, 60);
    assert_int_equal(rx_drops(t->a, DP_DROP_RESERVED_MAC), 17);
    assert_int_equal(fdb_segment_count(t->fixture->fdb, 10), 1);
}

static void truncated(void **state)
{
    struct three *t = *state;
    const uint8_t tagged[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0};
    fixture_send(t->fixture, t->a, tagged, 13);
    fixture_send(t->fixture, t->a, tagged, sizeof(tagged));
    assert_int_equal(rx_drops(t->a, DP_DROP_RX_MALFORMED), 2);
}

static void oversize(void **state)
{
    struct three *t = *state;
    uint8_t bytes[2000];
    tcp_frame(bytes, 0xff, sizeof(bytes) - TCP_HEADERS);
    fixture_send(t->fixture, t->a, bytes, 1523);
    assert_int_equal(rx_drops(t->a, DP_DROP_RX_OVERSIZE), 1);
    fixture_send(t->fixture, t->a, bytes, 1522);
    assert_int_equal(rx_flooded(t->a), 1);
    t->b->port->max_frame = 1000;
    fixture_send(t->fixture, t->a, bytes, 1001);
    assert_int_equal(tx_drops(t->b, DP_DROP_TX_OVERSIZE), 1);
    assert_int_equal(fake_of(t->b)->sent, 1);
    assert_int_equal(fake_of(t->c)->sent, 2);
}

static void down_ports(void **state)
{
    struct three *t = *state;
    learn_all(t);
    t->b->port->link = false;
    t->c->flags = DP_PORT_F_DOWN;
    fixture_unicast(t->fixture, t->a, 0xb, 0xa);
    fixture_unicast(t->fixture, t->a, 0xc, 0xa);
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    assert_int_equal(tx_drops(t->b, DP_DROP_TX_DOWN), 2);
    assert_int_equal(tx_drops(t->c, DP_DROP_TX_DOWN), 2);
    t->a->flags = DP_PORT_F_DOWN;
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    assert_int_equal(rx_drops(t->a, DP_DROP_PORT_DOWN), 1);
}

static void full_output(void **state)
{
    struct three *t = *state;
    uint8_t bytes[10][64];
    learn_all(t);
    fake_of(t->b)->room = 4;
    for (unsigned i = 0; i < 10; i++)
        fixture_receive(t->fixture, bytes[i], fixture_frame(bytes[i], 0xb, 0xa, NULL, 0));
    fixture_run(t->fixture, t->a);
    assert_int_equal(fake_of(t->b)->sent, 4);
    assert_int_equal(tx_drops(t->b, DP_DROP_TX_FULL), 6);
    assert_int_equal(rx_forwarded(t->a), 10);
}

static void no_segment(void **state)
{
    struct three *t = *state;
    struct ingress *d = fixture_port(t->fixture, 4, 1, 0);
    fixture_unicast(t->fixture, d, 0xff, 0xd);
    assert_int_equal(rx_drops(d, DP_DROP_VLAN_UNKNOWN), 1);
}

static void spoofed_sources(void **state)
{
    struct three *t = *state;
    struct dp_allowed allowed[] = {{.port = 1, .type = DP_ALLOWED_MAC, .address = {2, 0, 0, 0, 0, 0xa}}};
    t->a->spoof = spoof_table_new(DP_PORT_F_SPOOF_MAC, allowed, 1);
    assert_non_null(t->a->spoof);
    fixture_unicast(t->fixture, t->a, 0xff, 0xa);
    fixture_unicast(t->fixture, t->a, 0xff, 0xb);
    assert_int_equal(rx_drops(t->a, DP_DROP_SPOOF_MAC), 1);
    assert_int_equal(rx_flooded(t->a), 1);
    assert_int_equal(fdb_segment_count(t->fixture->fdb, 10), 1);
    spoof_table_free(t->a->spoof);
}

static void bad_offload_request(void **state)
{
    struct three *t = *state;
    uint8_t bytes[128];
    receive_tcp(t, bytes, 0xff, 10)->csum_start = 20;
    fixture_run(t->fixture, t->a);
    receive_tcp(t, bytes, 0xff, 10)->gso_type = VNET_GSO_UDP;
    fixture_run(t->fixture, t->a);
    fixture_receive(t->fixture, bytes, 60)->gso_type = VNET_GSO_TCPV4;
    fixture_run(t->fixture, t->a);
    assert_int_equal(rx_drops(t->a, DP_DROP_RX_OFFLOAD), 3);
}

/* One output takes the request, the next does not, the third does again: each gets what it can use. */
static void checksum_for_those_who_need_it(void **state)
{
    struct three *t = *state;
    struct ingress *d = fixture_port(t->fixture, 4, 1, 0);
    uint8_t bytes[1024];
    fixture_member(t->fixture->snapshot->bridges[10], d, 0);
    t->b->port->offloads = d->port->offloads = OFFLOAD_CSUM;
    receive_tcp(t, bytes, 0xff, 400);
    receive_tcp(t, bytes, 0xff, 400);
    fixture_run(t->fixture, t->a);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fake_of(t->b)->frames[i].flags, VNET_F_NEEDS_CSUM);
        assert_int_equal(fake_of(t->b)->frames[i].csum_start, 34);
        assert_int_equal(fake_of(t->c)->frames[i].flags, 0);
        assert_int_equal(tcp_sum(&fake_of(t->c)->frames[i]), 0xffff);
        assert_int_equal(fake_of(d)->frames[i].flags, VNET_F_NEEDS_CSUM);
        assert_memory_equal(fake_of(d)->frames[i].bytes, bytes, 454);
    }
}

static struct packet *receive_tso(struct three *t, uint8_t *bytes, uint8_t to, uint32_t payload,
                                  uint16_t gso_size)
{
    struct packet *packet = receive_tcp(t, bytes, to, payload);
    packet->gso_type = VNET_GSO_TCPV4;
    packet->gso_size = gso_size;
    return packet;
}

static void tso_passes_whole_or_in_pieces(void **state)
{
    struct three *t = *state;
    static uint8_t bytes[60000];
    learn_all(t);
    t->b->port->offloads = OFFLOAD_CSUM | OFFLOAD_TSO4;
    receive_tso(t, bytes, 0xff, 50000, 1400);
    fixture_run(t->fixture, t->a);
    assert_int_equal(fake_of(t->b)->sent, 1);
    assert_int_equal(fake_of(t->b)->frames[0].size, 50000 + TCP_HEADERS);
    assert_int_equal(fake_of(t->c)->sent, 36);
    assert_int_equal(fake_of(t->c)->frames[35].size, 50000 - 35 * 1400 + TCP_HEADERS);
    for (unsigned i = 0; i < 36; i++)
        assert_int_equal(tcp_sum(&fake_of(t->c)->frames[i]), 0xffff);
    struct dp_port_counters counters;
    counters_port(t->c->port, &counters);
    assert_int_equal(counters.tx_packets, 1 + 1); /* and b's broadcast */
    assert_int_equal(counters.tx_segments, 36);

    t->c->port->offloads = OFFLOAD_CSUM;
    fixture_clear(t->fixture);
    receive_tso(t, bytes, 0xc, 50000, 1400);
    fixture_run(t->fixture, t->a);
    assert_int_equal(fake_of(t->c)->sent, 36);
    assert_int_equal(fake_of(t->c)->frames[0].flags, VNET_F_NEEDS_CSUM);
}

static void tso_that_does_not_fit(void **state)
{
    struct three *t = *state;
    static uint8_t bytes[60000];
    learn_all(t);
    t->c->port->max_frame = 1000;
    receive_tso(t, bytes, 0xc, 5000, 1400);
    fixture_run(t->fixture, t->a);
    assert_int_equal(tx_drops(t->c, DP_DROP_TX_OVERSIZE), 1);
    fake_of(t->b)->room = 3;
    receive_tso(t, bytes, 0xb, 5000, 1000);
    fixture_run(t->fixture, t->a);
    assert_int_equal(tx_drops(t->b, DP_DROP_TX_FULL), 1);
    assert_int_equal(fake_of(t->b)->sent, 3);
}

/* Frames around one that is segmented leave in the order they came. */
static void order_around_segments(void **state)
{
    struct three *t = *state;
    static uint8_t small[2][256], bytes[60000];
    learn_all(t);
    receive_tcp(t, small[0], 0xc, 100);
    receive_tso(t, bytes, 0xc, 3000, 1000);
    receive_tcp(t, small[1], 0xc, 101);
    fixture_run(t->fixture, t->a);
    const uint32_t sizes[] = {100, 1000, 1000, 1000, 101};
    assert_int_equal(fake_of(t->c)->sent, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(fake_of(t->c)->frames[i].size, sizes[i] + TCP_HEADERS);
}

static void queues_of_the_output(void **state)
{
    struct three *t = *state;
    port_set_tx_queues(t->b->port, 1u << 2 | 1u << 5);
    learn_all(t);
    static const unsigned expected[] = {2, 5, 2, 5};
    for (unsigned queue = 0; queue < 4; queue++) {
        uint8_t bytes[64];
        fixture_receive(t->fixture, bytes, fixture_frame(bytes, 0xb, 0xa, NULL, 0));
        program_run(t->fixture->program, t->fixture->snapshot, t->a, queue, t->fixture->vector);
        packet_vector_reset(t->fixture->vector);
        assert_int_equal(fake_of(t->b)->last_queue, expected[queue]);
    }
    struct dp_queue_state sum;
    counters_queue(t->b->port, 2, &sum);
    assert_int_equal(sum.tx_packets, 2 + 1); /* and c's broadcast */
    counters_queue(t->a->port, 3, &sum);
    assert_int_equal(sum.rx_packets, 1);
}

/* Any bytes in, from any port: nothing but the counters is sure, and those are exact. */
static void random_frames(void **state)
{
    struct three *t = *state;
    uint64_t random = 88172645463325252u;
    static uint8_t bytes[PACKET_VECTOR_MAX][256];
    t->b->port->offloads = OFFLOAD_CSUM | OFFLOAD_TSO4;
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < PACKET_VECTOR_MAX; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            uint32_t size = tcp_frame(bytes[i], (uint8_t)(0xa + (random & 7)), 60);
            bytes[i][11] = (uint8_t)(0xa + (random >> 3 & 7));
            bytes[i][random >> 8 & 127] ^= (uint8_t)(random >> 16);
            struct packet *packet = fixture_receive(t->fixture, bytes[i], size - (random >> 24 & 31));
            packet->flags = random >> 32 & 1;
            packet->gso_type = random >> 33 & 3 ? 0 : VNET_GSO_TCPV4;
            packet->gso_size = random >> 36 & 63;
            packet->csum_start = 34;
            packet->csum_offset = 16;
        }
        fixture_run(t->fixture, round & 1 ? t->a : t->c);
        fixture_clear(t->fixture);
        assert_true(fixture_consistent(t->fixture));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(reserved_addresses),
        T(truncated),
        T(oversize),
        T(down_ports),
        T(full_output),
        T(no_segment),
        T(spoofed_sources),
        T(bad_offload_request),
        T(checksum_for_those_who_need_it),
        T(tso_passes_whole_or_in_pieces),
        T(tso_that_does_not_fit),
        T(order_around_segments),
        T(queues_of_the_output),
        T(random_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
