/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of legal offload requests: what is legal passes and becomes true, each deviation from it is
 * refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "frame.h"
#include "offload.h"

#define DST "\x02\x00\x00\x00\x00\x01"
#define SRC "\x02\x00\x00\x00\x00\x02"

static const uint8_t address6[16] = {0xfd, [15] = 1};

struct request {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

static struct packet last;

static bool validate(const struct flat *flat, uint32_t private, struct request request)
{
    struct frame_info info;
    struct cut *cut = cut_frame(flat->bytes, flat->size, private, 5000);
    struct packet *packet = &cut->packet;
    packet->flags = request.flags;
    packet->gso_type = request.gso_type;
    packet->hdr_len = request.hdr_len;
    packet->gso_size = request.gso_size;
    packet->csum_start = request.csum_start;
    packet->csum_offset = request.csum_offset;
    assert_true(parse_l2(packet, &info));
    bool legal = offload_validate(packet, &info);
    last = *packet;
    cut_free(cut);
    return legal;
}

static void tcp4(struct flat *flat, unsigned flags, uint32_t payload)
{
    put_ethernet(flat, DST, SRC, 0x0800);
    put_ipv4(flat, 6, 1, 2, 32 + payload, 0);
    put_tcp(flat, flags, 12);
    put_payload(flat, payload);
}

static void tcp6(struct flat *flat, unsigned flags, uint32_t payload)
{
    put_ethernet(flat, DST, SRC, 0x8100);
    put16(flat, 5);
    put16(flat, 0x86dd);
    put_ipv6(flat, 60, address6, address6, 8 + 20 + payload);
    put8(flat, 6);
    put8(flat, 0);
    put16(flat, 0x0104);
    put32(flat, 0);
    put_tcp(flat, flags, 0);
    put_payload(flat, payload);
}

static void udp4(struct flat *flat, uint32_t payload)
{
    put_ethernet(flat, DST, SRC, 0x0800);
    put_ipv4(flat, 17, 1, 2, 8 + payload, 0);
    put_udp(flat, 1, 2, payload);
    put_payload(flat, payload);
}

static void test_nothing(void **state)
{
    struct flat flat;
    tcp4(&flat, 0x10, 100);
    assert_true(validate(&flat, 128, (struct request){.hdr_len = 7, .gso_size = 9, .csum_start = 3}));
    assert_int_equal(last.hdr_len | last.gso_size | last.csum_start | last.csum_offset, 0);
    assert_true(validate(&flat, 128, (struct request){.flags = VNET_F_DATA_VALID}));
    assert_int_equal(last.flags, 0);
    assert_false(validate(&flat, 128, (struct request){.gso_type = VNET_GSO_TCPV4, .gso_size = 50}));
    assert_false(validate(&flat, 128, (struct request){.gso_type = VNET_GSO_ECN}));
    assert_false(
        validate(&flat, 128,
                 (struct request){.flags = VNET_F_DATA_VALID, .gso_type = VNET_GSO_TCPV4, .gso_size = 50}));
    flat.size = 0; /* not IP at all */
    put_ethernet(&flat, DST, SRC, 0x88b5);
    put_payload(&flat, 46);
    assert_true(validate(&flat, 128, (struct request){.flags = VNET_F_DATA_VALID}));
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 34, 16}));
}

static void test_csum(void **state)
{
    struct flat flat;
    tcp4(&flat, 0x10, 100);
    assert_true(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 1, 99, 34, 16}));
    assert_int_equal(last.hdr_len, 66);
    assert_int_equal(last.gso_size, 0);
    assert_int_equal(last.flags, VNET_F_NEEDS_CSUM);
    assert_true(
        validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM | VNET_F_DATA_VALID, 0, 1, 99, 34, 16}));
    assert_int_equal(last.flags, VNET_F_NEEDS_CSUM);
    for (unsigned bit = 2; bit < 8; bit++)
        assert_false(validate(&flat, 128,
                              (struct request){(uint8_t)(VNET_F_NEEDS_CSUM | 1u << bit), 0, 0, 0, 34, 16}));
    for (unsigned start = 0; start < 200; start++)
        for (unsigned offset = 0; offset < 32; offset++)
            assert_int_equal(
                validate(&flat, 128,
                         (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, (uint16_t)start, (uint16_t)offset}),
                start == 34 && offset == 16);
    assert_false(
        validate(&flat, 65, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 34, 16})); /* header not private */
    assert_true(validate(&flat, 66, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 34, 16}));

    udp4(&flat, 100);
    assert_true(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 34, 6}));
    assert_int_equal(last.hdr_len, 42);
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 34, 16}));
    set16(flat.bytes + 20, 0x2000); /* fragment */
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 34, 6}));
    set16(flat.bytes + 20, 0);
    flat.bytes[23] = 1; /* ICMP */
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 34, 2}));

    tcp6(&flat, 0x10, 100);
    assert_true(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 66, 16}));
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 58, 16}));
}

static void test_tso(void **state)
{
    struct flat flat;
    const struct request good4 = {VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4, 0, 1448, 34, 16};
    const struct request good6 = {VNET_F_NEEDS_CSUM, VNET_GSO_TCPV6, 0, 1428, 66, 16};
    struct request request;
    tcp4(&flat, 0x18, 65535 - 52);
    assert_true(validate(&flat, 128, good4));
    assert_int_equal(last.gso_type, VNET_GSO_TCPV4);
    assert_int_equal(last.gso_size, 1448);
    assert_int_equal(last.hdr_len, 66);
    static const uint8_t types[] = {VNET_GSO_NONE,
                                    VNET_GSO_TCPV4,
                                    VNET_GSO_TCPV4 | VNET_GSO_ECN,
                                    VNET_GSO_TCPV6,
                                    VNET_GSO_UDP,
                                    VNET_GSO_UDP_L4,
                                    VNET_GSO_ECN,
                                    2,
                                    0x41};
    for (unsigned i = 0; i < sizeof(types); i++) {
        request = good4;
        request.gso_type = types[i];
        assert_int_equal(validate(&flat, 128, request), i <= 2);
    }
    for (unsigned size = 0; size <= 65535; size += size < 100 || size > 65400 ? 1 : 1000) {
        request = good4;
        request.gso_size = (uint16_t)size;
        assert_int_equal(validate(&flat, 128, request), size >= 64 && size < 65535); /* at most 1024 pieces */
        if (size >= 65483 && size < 65535)
            assert_int_equal(last.gso_type, VNET_GSO_NONE); /* one piece */
    }
    request = good4;
    request.flags = 0;
    assert_false(validate(&flat, 128, request));
    flat.size--; /* IP length beyond the frame */
    assert_false(validate(&flat, 128, good4));
    flat.size++;
    set16(flat.bytes + 16, 65534); /* IP length short of the frame */
    assert_false(validate(&flat, 128, good4));

    tcp4(&flat, 0x18, 4000);
    request = good4;
    request.gso_size = 8;
    assert_true(validate(&flat, 128, request));
    request.gso_size = 7;
    assert_false(validate(&flat, 128, request));
    for (unsigned flags = 0; flags < 256; flags++) {
        flat.bytes[47] = (uint8_t)flags;
        assert_int_equal(validate(&flat, 128, good4), !(flags & 0x06)); /* SYN, RST */
        if (!(flags & 0x06))
            assert_int_equal(last.gso_type, VNET_GSO_TCPV4 | (flags & 0x80 ? VNET_GSO_ECN : 0));
    }

    tcp6(&flat, 0x10, 60000);
    assert_true(validate(&flat, 128, good6));
    assert_int_equal(last.hdr_len, 86);
    request = good6;
    request.gso_type = VNET_GSO_TCPV4;
    assert_false(validate(&flat, 128, request));
    set16(flat.bytes + 22, 0); /* IPv6 payload length 0 */
    assert_false(validate(&flat, 128, good6));

    udp4(&flat, 4000);
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, VNET_GSO_UDP, 0, 1472, 34, 6}));
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, VNET_GSO_UDP_L4, 0, 1472, 34, 6}));
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4, 0, 1472, 34, 6}));
}

static void test_tso_in_snap(void **state)
{
    struct flat flat;
    put_ethernet(&flat, DST, SRC, 1000);
    put(&flat, "\xaa\xaa\x03\0\0\0\x08\0", 8);
    put_ipv4(&flat, 6, 1, 2, 20 + 900, 0);
    put_tcp(&flat, 0x10, 0);
    put_payload(&flat, 900);
    assert_true(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, 0, 0, 0, 42, 16}));
    assert_false(validate(&flat, 128, (struct request){VNET_F_NEEDS_CSUM, VNET_GSO_TCPV4, 0, 100, 42, 16}));
}

static void test_fits(void **state)
{
    static const struct {
        uint8_t flags, gso_type;
        uint32_t need;
    } cases[] = {
        {0, 0, 0},
        {1, 0, OFFLOAD_CSUM},
        {1, VNET_GSO_TCPV4, OFFLOAD_TSO4},
        {1, VNET_GSO_TCPV6, OFFLOAD_TSO6},
        {1, VNET_GSO_TCPV6 | VNET_GSO_ECN, OFFLOAD_TSO6 | OFFLOAD_ECN},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct packet packet = {.flags = cases[i].flags, .gso_type = cases[i].gso_type};
        for (uint32_t offloads = 0; offloads < 16; offloads++)
            assert_int_equal(offload_fits(&packet, offloads), (cases[i].need & ~offloads) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),     cmocka_unit_test(test_csum), cmocka_unit_test(test_tso),
        cmocka_unit_test(test_tso_in_snap), cmocka_unit_test(test_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
