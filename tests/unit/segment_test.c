/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The software segmenter against a slow model that cuts the flat frame and computes every checksum from
 * scratch, over random headers, sizes and cuts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "frame.h"
#include "offload.h"

#define DST "\x02\x00\x00\x00\x00\x01"
#define SRC "\x02\x00\x00\x00\x00\x02"

static uint32_t random_state = 4711;

static uint32_t random_next(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

struct shape {
    bool ipv6;
    unsigned tags, ip_options /* IPv6: bytes of a destination options header */, tcp_options, tcp_flags;
    uint32_t payload;
};

/* where things are, known from how the frame was built */
struct place {
    uint32_t l3, l4, headers;
};

static struct place build(struct flat *flat, const struct shape *shape)
{
    struct place place;
    uint32_t tcp = 20 + shape->tcp_options;
    uint8_t source[16], destination[16];
    for (unsigned i = 0; i < 16; i++) {
        source[i] = (uint8_t)random_next();
        destination[i] = (uint8_t)random_next();
    }
    put_ethernet(flat, DST, SRC, 0);
    flat->size -= 2;
    for (unsigned i = 0; i < shape->tags; i++) {
        put16(flat, i == 0 && shape->tags > 1 ? 0x88a8 : 0x8100);
        put16(flat, 100 + i);
    }
    put16(flat, shape->ipv6 ? 0x86dd : 0x0800);
    place.l3 = flat->size;
    if (shape->ipv6) {
        put_ipv6(flat, shape->ip_options ? 60 : 6, source, destination,
                 shape->ip_options + tcp + shape->payload);
        for (unsigned i = 0; i < shape->ip_options; i++)
            put8(flat, i == 0 ? 6 : i == 1 ? shape->ip_options / 8 - 1 : 0);
    } else {
        put_ipv4(flat, 6, random_next(), random_next(), tcp + shape->payload, shape->ip_options);
    }
    place.l4 = flat->size;
    put_tcp(flat, shape->tcp_flags, shape->tcp_options);
    place.headers = flat->size;
    for (uint32_t i = 0; i < shape->payload; i++)
        put8(flat, random_next());
    set16(flat->bytes + place.l4 + 16, slow_pseudo(flat->bytes + place.l3, 6, flat->size - place.l4));
    return place;
}

/* Piece `index` as RFC 791, 8200, 9293 and 3168 want it. */
static void model(const struct flat *flat, const struct place *place, uint32_t gso_size, uint32_t index,
                  struct flat *out)
{
    uint32_t begin = place->headers + index * gso_size, end = begin + gso_size;
    bool last = end >= flat->size;
    end = last ? flat->size : end;
    out->size = 0;
    put(out, flat->bytes, place->headers);
    put(out, flat->bytes + begin, end - begin);
    uint8_t *ip = out->bytes + place->l3, *tcp = out->bytes + place->l4;
    if (ip[0] >> 4 == 6) {
        set16(ip + 4, out->size - place->l3 - 40);
    } else {
        set16(ip + 2, out->size - place->l3);
        set16(ip + 4, get16(ip + 4) + index);
        set16(ip + 10, 0);
        set16(ip + 10, 0xffff - slow_sum(ip, place->l4 - place->l3, 0));
    }
    uint32_t sequence = (get16(tcp + 4) << 16 | get16(tcp + 6)) + index * gso_size;
    set16(tcp + 4, sequence >> 16);
    set16(tcp + 6, sequence);
    if (!last)
        tcp[13] &= 0xf6; /* FIN, PSH */
    if (index > 0)
        tcp[13] &= 0x7f; /* CWR */
    set16(tcp + 16, 0);
    uint32_t length = out->size - place->l4;
    set16(tcp + 16, 0xffff - slow_sum(tcp, length, slow_pseudo(ip, 6, length)));
}

/* The pieces of one frame, asked for `batch` at a time. */
static void check_pieces(struct segmenter *segmenter, const struct flat *flat, const struct place *place,
                         struct cut *cut, uint32_t offloads, unsigned batch)
{
    static struct flat expected, piece;
    struct packet *pieces[PACKET_VECTOR_MAX], before = cut->packet;
    uint32_t gso_size = cut->packet.gso_size, index = 0, payload = flat->size - place->headers;
    unsigned count;
    segmenter_start(segmenter, &cut->packet, offloads);
    while ((count = segmenter_next(segmenter, pieces, batch)) > 0) {
        assert_true(count <= batch);
        for (unsigned i = 0; i < count; i++, index++) {
            assert_true(index * gso_size < payload);
            model(flat, place, gso_size, index, &expected);
            struct packet *packet = pieces[i];
            assert_true(packet->data - packet->buffer >= (ptrdiff_t)PACKET_HEADROOM);
            assert_int_equal(packet->gso_type, VNET_GSO_NONE);
            if (offloads & OFFLOAD_CSUM) {
                assert_int_equal(packet->flags, VNET_F_NEEDS_CSUM);
                assert_int_equal(packet->csum_start, place->l4);
                assert_int_equal(packet->csum_offset, 16);
                flatten(packet, &piece);
                uint32_t length = piece.size - place->l4;
                unsigned sum = slow_sum(piece.bytes + place->l4, length, 0);
                set16(piece.bytes + place->l4 + 16, 0xffff - sum);
            } else {
                assert_int_equal(packet->flags, 0);
                flatten(packet, &piece);
            }
            assert_int_equal(packet->size, piece.size);
            assert_int_equal(piece.size, expected.size);
            assert_memory_equal(piece.bytes, expected.bytes, expected.size);
        }
    }
    assert_int_equal(index, (payload + gso_size - 1) / gso_size);
    assert_memory_equal(&cut->packet, &before, sizeof(before));
    assert_int_equal(segmenter_next(segmenter, pieces, batch), 0);
}

static void check_shape(struct segmenter *segmenter, const struct shape *shape, uint32_t gso_size,
                        uint32_t private, uint32_t span, uint32_t offloads, unsigned batch)
{
    static struct flat flat;
    struct frame_info info;
    struct place place = build(&flat, shape);
    struct cut *cut =
        cut_frame(flat.bytes, flat.size, private < place.headers ? place.headers : private, span);
    struct packet *packet = &cut->packet;
    packet->flags = VNET_F_NEEDS_CSUM;
    packet->gso_type = shape->ipv6 ? VNET_GSO_TCPV6 : VNET_GSO_TCPV4;
    packet->gso_size = (uint16_t)gso_size;
    packet->csum_start = (uint16_t)place.l4;
    packet->csum_offset = 16;
    assert_true(parse_l2(packet, &info) && offload_validate(packet, &info));
    assert_int_equal(packet->hdr_len, place.headers);
    if (packet->gso_type != VNET_GSO_NONE)
        check_pieces(segmenter, &flat, &place, cut, offloads, batch);
    cut_free(cut);
}

static void test_random(void **state)
{
    struct segmenter *segmenter = segmenter_new();
    for (unsigned round = 0; round < 3000; round++) {
        struct shape shape = {
            .ipv6 = random_next() & 1,
            .tags = random_next() % 4,
            .ip_options = random_next() % 3 * 8,
            .tcp_options = random_next() % 4 * 4,
            .tcp_flags = 0x10 | (random_next() & 0xe9), /* any but SYN, RST */
            .payload = 1 + random_next() % (round % 10 ? 4000 : 64000),
        };
        uint32_t gso_size = round % 3 ? 64 + random_next() % 1500 : 64 + random_next() % 65000;
        check_shape(segmenter, &shape, gso_size, random_next() % 129,
                    1 + random_next() % (round % 2 ? 100 : 5000), random_next() & OFFLOAD_CSUM,
                    1 + random_next() % PACKET_VECTOR_MAX);
    }
    segmenter_free(segmenter);
}

/* The most pieces a frame may have, and the most spans. */
static void test_extremes(void **state)
{
    struct segmenter *segmenter = segmenter_new();
    const struct shape small = {.payload = 8 * 1024, .tcp_flags = 0x99};
    const struct shape large = {.payload = 65535 - 40, .tcp_flags = 0x99};
    check_shape(segmenter, &small, 8, 128, 1, 0, PACKET_VECTOR_MAX);
    check_shape(segmenter, &large, 64, 54, 257, OFFLOAD_CSUM, PACKET_VECTOR_MAX);
    check_shape(segmenter, &large, 40000, 54, 255, 0, PACKET_VECTOR_MAX); /* 157 and 99 spans a piece */
    check_shape(segmenter, &large, 65494, 128, 300, 0, PACKET_VECTOR_MAX);
    segmenter_free(segmenter);
}

/* What is not a TSO frame gives no pieces. */
static void test_refused(void **state)
{
    struct segmenter *segmenter = segmenter_new();
    struct packet *pieces[4];
    struct flat flat;
    struct shape shape = {.payload = 3000, .tcp_flags = 0x10};
    build(&flat, &shape);
    for (uint32_t private = 14; private < 128; private ++) {
        struct cut *cut = cut_frame(flat.bytes, flat.size, private, 1000);
        cut->packet.gso_size = 1000;
        segmenter_start(segmenter, &cut->packet, 0);
        assert_int_equal(segmenter_next(segmenter, pieces, 4), private >= 54 ? 3 : 0);
        cut->packet.gso_size = 0;
        segmenter_start(segmenter, &cut->packet, 0);
        assert_int_equal(segmenter_next(segmenter, pieces, 4), 0);
        cut_free(cut);
    }
    segmenter_free(segmenter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
