/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums against RFC 1071 done 16 bits at a time, over every kind of cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "checksum.h"
#include "frame.h"
#include "offload.h"

#define DST "\x02\x00\x00\x00\x00\x01"
#define SRC "\x02\x00\x00\x00\x00\x02"

static uint32_t random_state = 12345;

static uint32_t random_next(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static void test_sum(void **state)
{
    for (uint32_t size = 0; size < 700; size++) {
        for (uint32_t shift = 0; shift < 9; shift += 3) {
            uint8_t *bytes = malloc(size + shift + 1);
            for (uint32_t i = 0; i < size + shift; i++)
                bytes[i] = (uint8_t)random_next();
            unsigned sum = be16toh(checksum_fold(checksum_sum(bytes + shift, size)));
            unsigned slow = slow_sum(bytes + shift, size, 0);
            assert_true(sum == slow || (sum % 0xffff == 0 && slow % 0xffff == 0));
            free(bytes);
        }
    }
}

static void test_extremes(void **state)
{
    uint8_t *bytes = malloc(PACKET_SIZE_MAX);
    memset(bytes, 0xff, PACKET_SIZE_MAX);
    assert_int_equal(checksum_fold(checksum_sum(bytes, PACKET_SIZE_MAX)), 0xffff);
    assert_int_equal(checksum_fold(UINT64_MAX), 0xffff);
    assert_int_equal(checksum_fold(0x10000), 1);
    memset(bytes, 0, PACKET_SIZE_MAX);
    assert_int_equal(checksum_fold(checksum_sum(bytes, PACKET_SIZE_MAX)), 0);
    free(bytes);
}

/* The receiver's view: sum over pseudo header, header and data is 0xffff. */
static void check_complete(const struct flat *flat, uint32_t private, uint32_t span, unsigned offset)
{
    struct flat out;
    struct cut *cut = cut_frame(flat->bytes, flat->size, private, span);
    struct packet *packet = &cut->packet;
    uint32_t length = flat->size - 34;
    unsigned proto = flat->bytes[23];
    packet->flags = VNET_F_NEEDS_CSUM;
    packet->csum_start = 34;
    packet->csum_offset = (uint16_t)offset;
    assert_true(checksum_complete(packet));
    assert_int_equal(packet->flags, 0);
    flatten(packet, &out);
    assert_int_equal(out.size, flat->size);
    assert_int_equal(slow_sum(out.bytes + 34, length, slow_pseudo(out.bytes + 14, proto, length)), 0xffff);
    set16(out.bytes + 34 + offset, get16(flat->bytes + 34 + offset));
    assert_memory_equal(out.bytes, flat->bytes, flat->size);
    cut_free(cut);
}

static void test_complete(void **state)
{
    for (uint32_t round = 0; round < 2000; round++) {
        struct flat flat;
        bool tcp = round & 1;
        uint32_t payload = round < 1900 ? random_next() % 3000 : random_next() % 65000;
        put_ethernet(&flat, DST, SRC, 0x0800);
        put_ipv4(&flat, tcp ? 6 : 17, random_next(), random_next(), (tcp ? 20 : 8) + payload, 0);
        if (tcp)
            put_tcp(&flat, 0x10, 0);
        else
            put_udp(&flat, 1, 2, payload);
        for (uint32_t i = 0; i < payload; i++)
            put8(&flat, random_next());
        unsigned offset = tcp ? 16 : 6;
        set16(flat.bytes + 34 + offset, slow_pseudo(flat.bytes + 14, tcp ? 6 : 17, flat.size - 34));
        check_complete(&flat, 54 + random_next() % 75, 1 + random_next() % (round % 3 ? 2000 : 20), offset);
    }
}

static void test_udp_zero(void **state)
{
    struct flat flat;
    struct frame_info info;
    put_ethernet(&flat, DST, SRC, 0x0800);
    put_ipv4(&flat, 17, 0, 0, 8 + 2, 0);
    put_udp(&flat, 0, 0, 2);
    put16(&flat, 0);
    set16(flat.bytes + 40, slow_pseudo(flat.bytes + 14, 17, 10));
    set16(flat.bytes + 42, 0xffff - slow_sum(flat.bytes + 34, 10, 0)); /* makes the sum 0xffff */
    struct cut *cut = cut_frame(flat.bytes, flat.size, 128, 1);
    cut->packet.flags = VNET_F_NEEDS_CSUM;
    cut->packet.csum_start = 34;
    cut->packet.csum_offset = 6;
    assert_true(parse_l2(&cut->packet, &info) && offload_validate(&cut->packet, &info));
    assert_true(checksum_complete(&cut->packet));
    assert_int_equal(get16(cut->packet.data + 40), 0xffff);
    cut_free(cut);
}

static void test_field_not_private(void **state)
{
    struct flat flat;
    put_ethernet(&flat, DST, SRC, 0x0800);
    put_ipv4(&flat, 6, 1, 2, 20 + 100, 0);
    put_tcp(&flat, 0x10, 0);
    put_payload(&flat, 100);
    for (uint32_t private = 14; private < 60; private ++) {
        struct cut *cut = cut_frame(flat.bytes, flat.size, private, 50);
        cut->packet.flags = VNET_F_NEEDS_CSUM;
        cut->packet.csum_start = 34;
        cut->packet.csum_offset = 16;
        assert_int_equal(checksum_complete(&cut->packet), private >= 52);
        cut_free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_udp_zero),
        cmocka_unit_test(test_field_not_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
