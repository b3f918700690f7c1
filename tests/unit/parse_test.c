/* SPDX-License-Identifier: BSD-3-Clause */
/* The frame parser: each field on frames built here, and every truncation of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "frame.h"
#include "parse.h"

#define DST "\x02\x00\x00\x00\x00\x01"
#define SRC "\x02\x00\x00\x00\x00\x02"

static const uint8_t address6[16] = {0xfd, [15] = 1};

static bool parse(const struct flat *flat, struct frame_info *info)
{
    struct cut *cut = cut_frame(flat->bytes, flat->size, PACKET_HEADER_MAX, 1000);
    memset(info, 0xa5, sizeof(*info));
    bool good = parse_l2(&cut->packet, info) && parse_l3(&cut->packet, info);
    cut_free(cut);
    return good;
}

static void test_plain(void **state)
{
    struct frame_info info;
    struct flat flat;
    put_ethernet(&flat, DST, SRC, 0x0800);
    put_ipv4(&flat, 6, 1, 2, 24 + 300, 8);
    put_tcp(&flat, 0x10, 4);
    put_payload(&flat, 300);
    assert_true(parse(&flat, &info));
    assert_int_equal(info.flags, FRAME_F_IPV4 | FRAME_F_L4);
    assert_int_equal(info.ethertype, 0x0800);
    assert_int_equal(info.tpid, 0);
    assert_int_equal(info.tci, 0);
    assert_int_equal(info.tag_count, 0);
    assert_int_equal(info.ip_proto, 6);
    assert_int_equal(info.l3_offset, 14);
    assert_int_equal(info.l4_offset, 14 + 28);
    assert_int_equal(info.l4_header_size, 24);
    assert_int_equal(info.l3_end, flat.size);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *destination, *source;
        unsigned flags;
    } cases[] = {
        {"\xff\xff\xff\xff\xff\xff", SRC, FRAME_F_MULTICAST},
        {"\x01\x00\x5e\x00\x00\x01", SRC, FRAME_F_MULTICAST},
        {"\x01\x80\xc2\x00\x00\x00", SRC, FRAME_F_MULTICAST | FRAME_F_RESERVED},
        {"\x01\x80\xc2\x00\x00\x0f", SRC, FRAME_F_MULTICAST | FRAME_F_RESERVED},
        {"\x01\x80\xc2\x00\x00\x10", SRC, FRAME_F_MULTICAST},
        {"\x01\x80\xc2\x00\x01\x00", SRC, FRAME_F_MULTICAST},
        {"\x00\x80\xc2\x00\x00\x00", SRC, 0},
        {DST, "\x03\x00\x00\x00\x00\x02", FRAME_F_SOURCE_GROUP},
        {"\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff", FRAME_F_MULTICAST | FRAME_F_SOURCE_GROUP},
    };
    static const unsigned types[] = {0x0806, 0x1234, 0x8100};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned j = 0; j < 3; j++) {
            struct frame_info info;
            struct flat flat;
            put_ethernet(&flat, cases[i].destination, cases[i].source, types[j]);
            put_payload(&flat, 46);
            set16(flat.bytes + 16, 0x9999);
            assert_true(parse(&flat, &info));
            assert_int_equal(info.flags, cases[i].flags);
        }
    }
}

static void test_tags(void **state)
{
    for (unsigned tags = 0; tags <= 6; tags++) {
        struct frame_info info;
        struct flat flat;
        put_ethernet(&flat, DST, SRC, 0);
        flat.size -= 2;
        for (unsigned i = 0; i < tags; i++) {
            put16(&flat, i == 0 ? 0x88a8 : 0x8100);
            put16(&flat, 0x6000 + i); /* priority 3, VID i */
        }
        put16(&flat, 0x0800);
        put_ipv4(&flat, 17, 1, 2, 8, 0);
        put_udp(&flat, 1, 2, 0);
        assert_int_equal(parse(&flat, &info), tags <= FRAME_TAGS_MAX);
        if (tags > FRAME_TAGS_MAX)
            continue;
        assert_int_equal(info.tag_count, tags);
        assert_int_equal(info.tpid, tags ? 0x88a8 : 0);
        assert_int_equal(info.tci, tags ? 0x6000 : 0);
        assert_int_equal(info.l3_offset, 14 + 4 * tags);
        assert_int_equal(info.l4_offset, 34 + 4 * tags);
        assert_int_equal(info.flags, FRAME_F_IPV4 | FRAME_F_L4);
    }
}

static void put_llc(struct flat *flat, unsigned tags, unsigned size, const char *llc, unsigned llc_size)
{
    put_ethernet(flat, DST, SRC, tags ? 0x8100 : size);
    if (tags) {
        put16(flat, 7);
        put16(flat, size);
    }
    put(flat, llc, llc_size);
}

static void test_llc(void **state)
{
    struct frame_info info;
    struct flat flat;
    for (unsigned tags = 0; tags < 2; tags++) {
        put_llc(&flat, tags, 8 + 28, "\xaa\xaa\x03\0\0\0\x08\x06", 8); /* ARP in SNAP */
        put_payload(&flat, 28);
        assert_true(parse(&flat, &info));
        assert_int_equal(info.ethertype, 0x0806);
        assert_int_equal(info.l3_offset, 14 + 4 * tags + 8);
        put_llc(&flat, tags, 8 + 28, "\xaa\xaa\x03\0\0\xf8\x08\x06", 8); /* bridge tunnel */
        put_payload(&flat, 28);
        assert_true(parse(&flat, &info));
        assert_int_equal(info.ethertype, 0x0806);
        put_llc(&flat, tags, 8 + 28, "\xaa\xaa\x03\0\0\x0c\x20\x00", 8); /* CDP: another OUI */
        put_payload(&flat, 28);
        assert_true(parse(&flat, &info));
        assert_int_equal(info.ethertype, 36);
        assert_int_equal(info.l3_offset, 14 + 4 * tags);
        put_llc(&flat, tags, 3, "\x42\x42\x03", 3); /* spanning tree, cut short */
        assert_true(parse(&flat, &info));
        assert_int_equal(info.ethertype, 3);
        put_llc(&flat, tags, 12, "\xaa\xaa\x03\0\0\0\x81\x00\0\x05\x08\0", 12); /* a tag inside SNAP */
        assert_false(parse(&flat, &info));
        put_llc(&flat, tags, 7, "\xaa\xaa\x03\0\0\0\x81", 7);
        assert_true(parse(&flat, &info));
        assert_int_equal(info.ethertype, 7);
    }
}

static void test_ipv4_bad(void **state)
{
    static const struct {
        unsigned offset, value;
        bool good;
    } cases[] = {
        {0, 0x44, false}, /* IHL 4 */
        {0, 0x65, false}, /* version 6 */
        {0, 0x4f, false}, /* IHL beyond the total length */
        {2, 1, false},    /* total length 284 in a frame with less */
        {3, 19, false},   /* total length < header */
        {3, 20, true},    {3, 27, true},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame_info info;
        struct flat flat;
        put_ethernet(&flat, DST, SRC, 0x0800);
        put_ipv4(&flat, 17, 1, 2, 8, 0);
        put_udp(&flat, 1, 2, 0);
        put_payload(&flat, 18);
        flat.bytes[14 + cases[i].offset] = (uint8_t)cases[i].value;
        assert_int_equal(parse(&flat, &info), cases[i].good);
        if (cases[i].good) {
            assert_int_equal(info.flags, FRAME_F_IPV4); /* UDP header beyond the IP length */
            assert_int_equal(info.l3_end, 14 + cases[i].value);
        }
    }
}

static void test_fragments(void **state)
{
    static const struct {
        unsigned field, flags;
    } cases[] = {
        {0x4000, FRAME_F_IPV4 | FRAME_F_L4},
        {0x2000, FRAME_F_IPV4 | FRAME_F_L4 | FRAME_F_FRAGMENT},
        {0x0001, FRAME_F_IPV4 | FRAME_F_FRAGMENT | FRAME_F_FRAGMENT_LATER},
        {0x3fff, FRAME_F_IPV4 | FRAME_F_FRAGMENT | FRAME_F_FRAGMENT_LATER},
    };
    for (unsigned i = 0; i < 4; i++) {
        struct frame_info info;
        struct flat flat;
        put_ethernet(&flat, DST, SRC, 0x0800);
        put_ipv4(&flat, 1, 1, 2, 8, 0);
        put_payload(&flat, 8);
        set16(flat.bytes + 20, cases[i].field);
        assert_true(parse(&flat, &info));
        assert_int_equal(info.flags, cases[i].flags);
    }
}

static void test_tcp_header(void **state)
{
    for (unsigned words = 0; words < 16; words++) {
        for (unsigned payload = 20; payload <= 60; payload += 4) {
            struct frame_info info;
            struct flat flat;
            put_ethernet(&flat, DST, SRC, 0x0800);
            put_ipv4(&flat, 6, 1, 2, payload, 0);
            put_tcp(&flat, 0x10, payload - 20);
            flat.bytes[14 + 20 + 12] = (uint8_t)(words << 4);
            assert_true(parse(&flat, &info));
            assert_int_equal(!!(info.flags & FRAME_F_L4), words >= 5 && words * 4 <= payload);
        }
    }
}

/* headers: pairs of type and size in units of 8 bytes; AH sizes as RFC 4302 counts them */
static void put_extensions(struct flat *flat, const unsigned (*headers)[2], unsigned count, unsigned upper)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned size = headers[i][1] * 8, next = i + 1 < count ? headers[i + 1][0] : upper;
        put8(flat, next);
        put8(flat, headers[i][0] == 51 ? size / 4 - 2 : headers[i][0] == 44 ? 0 : headers[i][1] - 1);
        for (unsigned j = 2; j < size; j++)
            put8(flat, 0);
    }
}

static void test_ipv6(void **state)
{
    static const unsigned chain[][2] = {{0, 1}, {60, 1}, {43, 3}, {51, 2}};
    static const unsigned fragment[][2] = {{44, 1}};
    struct frame_info info;
    struct flat flat;
    for (unsigned count = 0; count <= 4; count++) {
        unsigned size = (const unsigned[]){0, 8, 16, 40, 56}[count];
        put_ethernet(&flat, DST, SRC, 0x86dd);
        put_ipv6(&flat, count ? chain[0][0] : 17, address6, address6, size + 8 + 200);
        put_extensions(&flat, chain, count, 17);
        put_udp(&flat, 1, 2, 200);
        put_payload(&flat, 200);
        assert_true(parse(&flat, &info));
        assert_int_equal(info.flags, FRAME_F_IPV6 | FRAME_F_L4);
        assert_int_equal(info.ip_proto, 17);
        assert_int_equal(info.l4_offset, 14 + 40 + size);
        assert_int_equal(info.l3_end, flat.size);
    }
    for (unsigned offset = 0; offset < 3; offset++) { /* atomic, first, later */
        put_ethernet(&flat, DST, SRC, 0x86dd);
        put_ipv6(&flat, 44, address6, address6, 8 + 8);
        put_extensions(&flat, fragment, 1, 17);
        put_udp(&flat, 1, 2, 0);
        set16(flat.bytes + 14 + 42, (const unsigned[]){0, 1, 8}[offset]);
        assert_true(parse(&flat, &info));
        assert_int_equal(info.flags, FRAME_F_IPV6 | FRAME_F_FRAGMENT |
                                         (offset == 2 ? FRAME_F_FRAGMENT_LATER : FRAME_F_L4));
        assert_int_equal(info.ip_proto, 17);
    }
    put_ethernet(&flat, DST, SRC, 0x86dd); /* payload beyond the frame */
    put_ipv6(&flat, 17, address6, address6, 9);
    put_udp(&flat, 1, 2, 0);
    assert_false(parse(&flat, &info));
    set16(flat.bytes + 18, 8);
    assert_true(parse(&flat, &info));
    set16(flat.bytes + 18, 0); /* a jumbogram is none of ours: nothing in it */
    assert_true(parse(&flat, &info));
    assert_int_equal(info.flags, FRAME_F_IPV6);
    flat.bytes[14] = 0x45;
    assert_false(parse(&flat, &info));
}

static void test_ipv6_endless(void **state)
{
    static const unsigned many[][2] = {{0, 1},  {60, 1}, {60, 1}, {60, 1}, {60, 1},
                                       {60, 1}, {60, 1}, {60, 1}, {60, 1}};
    static const unsigned longer[][2] = {{60, 10}};
    struct frame_info info;
    struct flat flat;
    put_ethernet(&flat, DST, SRC, 0x86dd); /* one header too many */
    put_ipv6(&flat, 0, address6, address6, 9 * 8 + 8);
    put_extensions(&flat, many, 9, 17);
    put_udp(&flat, 1, 2, 0);
    assert_false(parse(&flat, &info));
    put_ethernet(&flat, DST, SRC, 0x86dd);
    put_ipv6(&flat, 0, address6, address6, 8 * 8 + 8);
    put_extensions(&flat, many, 8, 17);
    put_udp(&flat, 1, 2, 0);
    assert_true(parse(&flat, &info));
    put_ethernet(&flat, DST, SRC, 0x86dd); /* a header that leaves the private bytes */
    put_ipv6(&flat, 60, address6, address6, 80 + 8);
    put_extensions(&flat, longer, 1, 17);
    put_udp(&flat, 1, 2, 0);
    assert_false(parse(&flat, &info));
}

/* Every truncation of a frame is either parsed within its bytes or refused; ASan watches. */
static void test_truncated(void **state)
{
    static const unsigned chain[][2] = {{0, 1}, {60, 1}, {44, 1}};
    struct flat flat;
    put_ethernet(&flat, DST, SRC, 0x88a8);
    put16(&flat, 5);
    put16(&flat, 0x8100);
    put16(&flat, 0);
    put16(&flat, 0x86dd);
    put_ipv6(&flat, 0, address6, address6, 24 + 20);
    put_extensions(&flat, chain, 3, 6);
    put_tcp(&flat, 0x10, 0);
    for (uint32_t size = 0; size < flat.size; size++) {
        struct frame_info info;
        struct flat shorter = flat;
        shorter.size = size;
        assert_false(parse(&shorter, &info));
        if (size > 22 + 40) { /* the length is right, the header is cut */
            set16(shorter.bytes + 22 + 4, size - 22 - 40);
            bool good = parse(&shorter, &info);
            assert_int_equal(good, size >= 22 + 40 + 24);
            assert_true(!good || !(info.flags & FRAME_F_L4));
        }
    }
}

/* The private bytes end before the headers do: the transport header is not named. */
static void test_short_private(void **state)
{
    struct frame_info info;
    struct flat flat;
    put_ethernet(&flat, DST, SRC, 0x0800);
    put_ipv4(&flat, 6, 1, 2, 20 + 100, 40);
    put_tcp(&flat, 0x10, 0);
    put_payload(&flat, 100);
    for (uint32_t private = 14; private <= 100; private ++) {
        struct cut *cut = cut_frame(flat.bytes, flat.size, private, 7);
        assert_true(parse_l2(&cut->packet, &info));
        assert_int_equal(parse_l3(&cut->packet, &info), private >= 74);
        if (private >= 74)
            assert_int_equal(!!(info.flags & FRAME_F_L4), private >= 94);
        cut_free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_tags),          cmocka_unit_test(test_llc),
        cmocka_unit_test(test_ipv4_bad),      cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_tcp_header),    cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_ipv6_endless),  cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_short_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
