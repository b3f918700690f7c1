/* SPDX-License-Identifier: BSD-3-Clause */
#include "ra.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include "datagram.h"

static const struct ra_scope scope = {
    .mac = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55},
    .address = {0xfd, 0x12, [15] = 1},
    .prefix_length = 64,
    .mtu = 1450,
    .default_router = true,
    .dns = true,
};

static const uint8_t link_local[16] = {0xfe, 0x80, [8] = 0x00, 0x11, 0x22, 0xff, 0xfe, 0x33, 0x44, 0x55};

static const uint8_t *option(const uint8_t *icmp, size_t size, uint8_t type)
{
    for (size_t at = 16; at < size; at += icmp[at + 1] * 8u) {
        assert_true(icmp[at + 1] > 0 && at + icmp[at + 1] * 8u <= size);
        if (icmp[at] == type)
            return icmp + at;
    }
    return NULL;
}

static void test_advertisement(void **state)
{
    uint8_t frame[RA_FRAME_MAX];
    size_t size = ra_advertise(&scope, NULL, NULL, frame), icmp_size = size - 54;
    const uint8_t *icmp = frame + 54;
    assert_memory_equal(frame, "\x33\x33\0\0\0\1\x02\x11\x22\x33\x44\x55\x86\xdd", 14);
    assert_int_equal(frame[14 + 4] << 8 | frame[14 + 5], icmp_size);
    assert_int_equal(frame[14 + 7], 255);
    assert_memory_equal(frame + 14 + 8, link_local, 16);
    assert_int_equal(icmp[0], 134);
    assert_int_equal(icmp[6] << 8 | icmp[7], 1800);
    assert_int_equal(
        internet_fold(internet_sum(internet_sum(58 + icmp_size, frame + 22, 32), icmp, icmp_size)), 0);
    assert_memory_equal(option(icmp, icmp_size, 1) + 2, scope.mac, 6);
    assert_memory_equal(option(icmp, icmp_size, 5) + 4, "\0\0\x05\xaa", 4);
    const uint8_t *prefix = option(icmp, icmp_size, 3);
    assert_int_equal(prefix[2], 64);
    assert_int_equal(prefix[3], 0xc0);
    assert_memory_equal(prefix + 16, ((uint8_t[16]){0xfd, 0x12}), 16);
    assert_memory_equal(option(icmp, icmp_size, 25) + 8, scope.address, 16);
}

static void test_without_way_out(void **state)
{
    struct ra_scope closed = scope;
    uint8_t frame[RA_FRAME_MAX];
    closed.default_router = closed.dns = false;
    size_t size = ra_advertise(&closed, scope.mac, link_local, frame);
    assert_memory_equal(frame, scope.mac, 6);
    assert_memory_equal(frame + 14 + 24, link_local, 16);
    assert_int_equal(frame[54 + 6] << 8 | frame[54 + 7], 0);
    assert_null(option(frame + 54, size - 54, 25));
}

/* What is taken back keeps its place and has no lifetime (RFC 4861 6.2.5, RFC 8106 5.1). */
static void test_what_ends(void **state)
{
    struct ra_scope last = scope;
    uint8_t frame[RA_FRAME_MAX];
    last.default_router = false;
    last.prefix_ends = last.dns_ends = true;
    size_t size = ra_advertise(&last, NULL, NULL, frame) - 54;
    const uint8_t *icmp = frame + 54, *prefix = option(icmp, size, 3), *dns = option(icmp, size, 25);
    assert_int_equal(icmp[6] << 8 | icmp[7], 0);
    assert_memory_equal(prefix + 2, "\x40\xc0\0\0\0\0\0\0\0\0", 10);
    assert_memory_equal(prefix + 16, ((uint8_t[16]){0xfd, 0x12}), 16);
    assert_memory_equal(dns + 4, "\0\0\0\0", 4);
    assert_memory_equal(dns + 8, scope.address, 16);
}

static void test_solicitation(void **state)
{
    uint8_t frame[70] = {0x33, 0x33, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x86, 0xdd, 0x60}, mac[6],
            address[16];
    frame[19] = 16;
    frame[20] = 58;
    frame[21] = 255;
    memcpy(frame + 22, link_local, 16);
    frame[54] = 133;
    frame[62] = 1;
    frame[63] = 1;
    assert_true(ra_solicitation(frame, sizeof(frame), mac, address));
    assert_memory_equal(mac, frame + 6, 6);
    assert_memory_equal(address, link_local, 16);
    for (size_t cut = 0; cut < sizeof(frame); cut++)
        assert_false(ra_solicitation(frame, cut, mac, address));
    frame[21] = 64; /* came through a router */
    assert_false(ra_solicitation(frame, sizeof(frame), mac, address));
    frame[21] = 255;
    frame[63] = 0; /* an option of no size */
    assert_false(ra_solicitation(frame, sizeof(frame), mac, address));
    frame[63] = 1;
    memset(frame + 22, 0, 16); /* no address, but a source link-layer address */
    assert_false(ra_solicitation(frame, sizeof(frame), mac, address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_advertisement),
        cmocka_unit_test(test_without_way_out),
        cmocka_unit_test(test_what_ends),
        cmocka_unit_test(test_solicitation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
