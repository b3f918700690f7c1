/* SPDX-License-Identifier: BSD-3-Clause */
/* Anti-spoofing: what a port may and may not send, case by case, plain, tagged and in SNAP. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "frame.h"
#include "spoof.h"

#define PASS  DP_DROP_COUNT
#define MAC   "\x52\x54\x00\x01\x02\x03"
#define OTHER "\x52\x54\x00\x01\x02\x04"
#define BCAST "\xff\xff\xff\xff\xff\xff"
#define BOTH  (DP_PORT_F_SPOOF_MAC | DP_PORT_F_SPOOF_IP)
#define IP    0x0a000001u
#define IP2   0x0a000002u

static const uint8_t own6[16] = {0xfd, [15] = 1}, other6[16] = {0xfd, [15] = 2}, none6[16];
static const uint8_t eui6[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 1, 2, 3};
static const uint8_t eui6_other[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 1, 2, 4};
static const uint8_t eui6_global[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 1, 2, 3};
static const uint8_t random6[16] = {0xfe, 0x80, 0,    0,    0,    0,    0,    0,
                                    0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0};

static struct dp_allowed entry(uint32_t type, const void *address, size_t size)
{
    struct dp_allowed allowed = {.port = 1, .type = type};
    memcpy(allowed.address, address, size);
    return allowed;
}

/* kinds: letters of m (MAC), 4, 6 */
static struct spoof_table *table_of(uint32_t flags, const char *kinds)
{
    struct dp_allowed entries[8];
    unsigned count = 0;
    for (; *kinds; kinds++) {
        if (*kinds == 'm')
            entries[count++] = entry(DP_ALLOWED_MAC, MAC, 6);
        else if (*kinds == '4')
            entries[count++] = entry(DP_ALLOWED_IPV4, "\x0a\0\0\x01", 4);
        else
            entries[count++] = entry(DP_ALLOWED_IPV6, own6, 16);
    }
    struct spoof_table *table = spoof_table_new(flags, entries, count);
    assert_non_null(table);
    return table;
}

static enum dp_drop check_bytes(const struct spoof_table *table, const struct flat *flat)
{
    struct frame_info info;
    struct cut *cut = cut_frame(flat->bytes, flat->size, PACKET_HEADER_MAX, 100);
    assert_true(parse_l2(&cut->packet, &info));
    enum dp_drop verdict = spoof_check(table, &cut->packet, &info);
    cut_free(cut);
    return verdict;
}

/* The same verdict plain, with one and two tags, and in SNAP. */
static enum dp_drop check(const struct spoof_table *table, const struct flat *flat)
{
    static const char *const before[] = {"", "\x81\0\0\0", "\x88\xa8\0\x05\x81\0\0\x06",
                                         "\0\x40\xaa\xaa\x03\0\0\0"};
    static const uint32_t sizes[] = {0, 4, 8, 8};
    enum dp_drop first = check_bytes(table, flat);
    for (unsigned i = 1; i < 4; i++) {
        struct flat wrapped = {.size = 0};
        put(&wrapped, flat->bytes, 12);
        put(&wrapped, before[i], sizes[i]);
        put(&wrapped, flat->bytes + 12, flat->size - 12);
        assert_int_equal(check_bytes(table, &wrapped), first);
    }
    return first;
}

static void arp(struct flat *flat, unsigned operation, const char *sender, uint32_t sender_ip)
{
    put_ethernet(flat, BCAST, MAC, 0x0806);
    put16(flat, 1);
    put16(flat, 0x0800);
    put16(flat, 0x0604);
    put16(flat, operation);
    put(flat, sender, 6);
    put32(flat, sender_ip);
    put(flat, "\0\0\0\0\0\0", 6);
    put32(flat, IP2);
}

static void ipv4_udp(struct flat *flat, uint32_t source, uint32_t destination, unsigned from, unsigned to)
{
    put_ethernet(flat, BCAST, MAC, 0x0800);
    put_ipv4(flat, 17, source, destination, 8, 0);
    put_udp(flat, from, to, 0);
}

/* option: of type `option` with that MAC; 0: none */
static void nd(struct flat *flat, unsigned type, const uint8_t *source, const uint8_t *target,
               unsigned option, const char *mac)
{
    uint32_t body = type == 133 ? 0 : type == 134 ? 8 : type == 137 ? 32 : 16;
    put_ethernet(flat, "\x33\x33\0\0\0\1", MAC, 0x86dd);
    put_ipv6(flat, 58, source, other6, 8 + body + (option ? 8 : 0));
    put8(flat, type);
    put8(flat, 0);
    put16(flat, 0);
    put32(flat, 0);
    if (body == 8)
        put(flat, target, 8);
    for (; body >= 16; body -= 16)
        put(flat, target, 16);
    if (option) {
        put8(flat, option);
        put8(flat, 1);
        put(flat, mac, 6);
    }
}

static void test_mac(void **state)
{
    struct spoof_table *table = table_of(DP_PORT_F_SPOOF_MAC, "m46");
    struct flat flat;
    put_ethernet(&flat, BCAST, MAC, 0x88b5);
    put_payload(&flat, 46);
    assert_int_equal(check(table, &flat), PASS);
    put_ethernet(&flat, BCAST, OTHER, 0x88b5);
    put_payload(&flat, 46);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_MAC);
    ipv4_udp(&flat, IP2, IP, 1, 2); /* no IP check asked for */
    assert_int_equal(check(table, &flat), PASS);
    arp(&flat, 1, MAC, IP2);
    assert_int_equal(check(table, &flat), PASS);
    arp(&flat, 1, OTHER, IP2);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ARP);
    spoof_table_free(table);
    table = table_of(BOTH, ""); /* a port without any address may not send */
    arp(&flat, 1, MAC, IP);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_MAC);
    spoof_table_free(table);
}

static void test_arp(void **state)
{
    struct spoof_table *table = table_of(BOTH, "m46");
    struct flat flat;
    arp(&flat, 1, MAC, IP);
    assert_int_equal(check(table, &flat), PASS);
    arp(&flat, 2, MAC, IP2);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ARP);
    arp(&flat, 1, MAC, 0);
    assert_int_equal(check(table, &flat), PASS); /* probe */
    arp(&flat, 2, MAC, 0);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ARP);
    arp(&flat, 2, OTHER, IP);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ARP);
    for (unsigned i = 0; i < 6; i++) { /* not Ethernet and IPv4 */
        arp(&flat, 1, MAC, IP);
        flat.bytes[14 + i] ^= 1;
        assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ARP);
    }
    for (uint32_t size = 0; size < 28; size++) {
        arp(&flat, 1, MAC, IP);
        flat.size = 14 + size;
        assert_int_equal(check_bytes(table, &flat), DP_DROP_RX_MALFORMED);
    }
    spoof_table_free(table);
}

static void test_ipv4(void **state)
{
    struct spoof_table *table = table_of(BOTH, "m4");
    struct flat flat;
    ipv4_udp(&flat, IP, IP2, 1, 2);
    assert_int_equal(check(table, &flat), PASS);
    ipv4_udp(&flat, IP2, IP, 1, 2);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_IP);
    ipv4_udp(&flat, 0, UINT32_MAX, 68, 67); /* DHCP client */
    assert_int_equal(check(table, &flat), PASS);
    ipv4_udp(&flat, 0, UINT32_MAX, 67, 68); /* DHCP server */
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_IP);
    ipv4_udp(&flat, 0, IP2, 68, 67);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_IP);
    ipv4_udp(&flat, 0, UINT32_MAX, 68, 67);
    flat.bytes[23] = 6; /* not UDP */
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_IP);
    ipv4_udp(&flat, IP, IP2, 1, 2);
    flat.bytes[14] = 0x44;
    assert_int_equal(check(table, &flat), DP_DROP_RX_MALFORMED);
    ipv4_udp(&flat, IP2, IP, 1, 2); /* a later fragment is checked as well */
    set16(flat.bytes + 20, 100);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_IP);
    spoof_table_free(table);
    table = table_of(BOTH, "m6"); /* with IPv6 addresses only, no IPv4 */
    ipv4_udp(&flat, IP, IP2, 1, 2);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_IP);
    spoof_table_free(table);
    table = table_of(BOTH, "m"); /* no IP address: no IP check */
    ipv4_udp(&flat, IP, IP2, 1, 2);
    assert_int_equal(check(table, &flat), PASS);
    spoof_table_free(table);
}

static void ipv6_udp(struct flat *flat, const uint8_t *source)
{
    put_ethernet(flat, "\x33\x33\0\0\0\1", MAC, 0x86dd);
    put_ipv6(flat, 17, source, other6, 8);
    put_udp(flat, 1, 2, 0);
}

static void test_ipv6(void **state)
{
    static const struct {
        const uint8_t *source;
        enum dp_drop with6, without6;
    } cases[] = {
        {own6, PASS, DP_DROP_SPOOF_IP},
        {other6, DP_DROP_SPOOF_IP, DP_DROP_SPOOF_IP},
        {eui6, PASS, PASS},
        {eui6_other, DP_DROP_SPOOF_IP, DP_DROP_SPOOF_IP},
        {eui6_global, DP_DROP_SPOOF_IP, DP_DROP_SPOOF_IP},
        {random6, DP_DROP_SPOOF_IP, DP_DROP_SPOOF_IP},
        {none6, DP_DROP_SPOOF_IP, DP_DROP_SPOOF_IP}, /* not DAD, not MLD */
    };
    struct spoof_table *with6 = table_of(BOTH, "m46"), *without6 = table_of(BOTH, "m4");
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flat flat;
        ipv6_udp(&flat, cases[i].source);
        assert_int_equal(check(with6, &flat), cases[i].with6);
        assert_int_equal(check(without6, &flat), cases[i].without6);
    }
    spoof_table_free(with6);
    spoof_table_free(without6);
}

static void test_nd(void **state)
{
    static const struct {
        unsigned type;
        const uint8_t *source, *target;
        unsigned option;
        const char *mac;
        enum dp_drop verdict;
    } cases[] = {
        {135, own6, other6, 1, MAC, PASS},
        {135, own6, other6, 0, NULL, PASS},
        {135, own6, other6, 1, OTHER, DP_DROP_SPOOF_ND},
        {135, other6, own6, 1, MAC, DP_DROP_SPOOF_IP},
        {135, none6, own6, 0, NULL, PASS}, /* DAD */
        {135, none6, eui6, 0, NULL, PASS},
        {135, none6, other6, 0, NULL, DP_DROP_SPOOF_ND}, /* denies another its address */
        {136, own6, own6, 2, MAC, PASS},
        {136, own6, eui6, 2, MAC, PASS},
        {136, own6, other6, 2, MAC, DP_DROP_SPOOF_ND},
        {136, own6, own6, 2, OTHER, DP_DROP_SPOOF_ND},
        {136, none6, own6, 2, MAC, DP_DROP_SPOOF_IP},
        {133, eui6, NULL, 1, MAC, PASS},
        {133, none6, NULL, 0, NULL, PASS},
        {133, eui6, NULL, 1, OTHER, DP_DROP_SPOOF_ND},
        {134, eui6, own6, 1, MAC, PASS},
        {134, eui6, own6, 1, OTHER, DP_DROP_SPOOF_ND},
        {137, eui6, own6, 2, OTHER, DP_DROP_SPOOF_ND},
        {137, eui6, own6, 2, MAC, PASS},
    };
    struct spoof_table *table = table_of(BOTH, "m46");
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct flat flat;
        nd(&flat, cases[i].type, cases[i].source, cases[i].target, cases[i].option, cases[i].mac);
        if (check(table, &flat) != cases[i].verdict)
            fail_msg("case %u: %d, not %d", i, check(table, &flat), cases[i].verdict);
    }
    spoof_table_free(table);
}

static void test_nd_evasion(void **state)
{
    struct spoof_table *table = table_of(BOTH, "m46");
    struct flat flat;
    nd(&flat, 136, own6, own6, 2, MAC);
    flat.bytes[14 + 40 + 24 + 1] = 0; /* option of length 0 */
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ND);
    flat.bytes[14 + 40 + 24 + 1] = 2; /* longer than the message */
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ND);
    nd(&flat, 136, own6, own6, 2, MAC); /* a second, forged option behind a long one */
    flat.bytes[14 + 40 + 24] = 14;
    put_payload(&flat, 8);
    put(&flat, "\x02\x01" OTHER, 8);
    flat.bytes[14 + 40 + 24 + 1] = 2;
    set16(flat.bytes + 18, flat.size - 54);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ND);
    nd(&flat, 136, own6, own6, 2, MAC); /* options beyond the private bytes */
    for (unsigned i = 0; i < 8; i++)
        put(&flat, "\x0e\x01\0\0\0\0\0\0", 8);
    set16(flat.bytes + 18, flat.size - 54);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ND);
    nd(&flat, 136, own6, own6, 0, NULL); /* target cut off */
    flat.size -= 4;
    set16(flat.bytes + 18, flat.size - 54);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ND);

    put_ethernet(&flat, "\x33\x33\0\0\0\1", MAC, 0x86dd); /* behind a fragment header */
    put_ipv6(&flat, 44, own6, other6, 8 + 24);
    put(&flat, "\x3a\0\0\0\0\0\0\1", 8);
    put(&flat, "\x88\0\0\0\0\0\0\0", 8);
    put(&flat, own6, 16);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ND);
    flat.bytes[14 + 40 + 3] = 1; /* first fragment whose ICMP header is not whole */
    flat.size = 14 + 40 + 8 + 4;
    set16(flat.bytes + 18, 12);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ND);

    put_ethernet(&flat, "\x33\x33\0\0\0\1", MAC, 0x86dd); /* forged, behind destination options */
    put_ipv6(&flat, 60, own6, other6, 8 + 24);
    put(&flat, "\x3a\0\x01\x04\0\0\0\0", 8);
    put(&flat, "\x88\0\0\0\0\0\0\0", 8);
    put(&flat, other6, 16);
    assert_int_equal(check(table, &flat), DP_DROP_SPOOF_ND);
    memcpy(flat.bytes + flat.size - 16, own6, 16);
    assert_int_equal(check(table, &flat), PASS);
    spoof_table_free(table);
}

/* Router advertisements, redirects and what DHCP servers send, with every way to write them. */
static void test_guard(void **state)
{
    static const struct {
        uint32_t flags;
        const char *kinds;
    } tables[] = {{DP_PORT_F_SPOOF_MAC, "m"}, {BOTH, "m46"}};
    for (unsigned i = 0; i < 2; i++) {
        struct spoof_table *open = table_of(tables[i].flags, tables[i].kinds);
        struct spoof_table *table = table_of(tables[i].flags | DP_PORT_F_GUARD, tables[i].kinds);
        struct flat flat;
        for (unsigned type = 133; type <= 137; type++) {
            nd(&flat, type, eui6, own6, type == 133 || type == 135 ? 1 : 2, MAC);
            bool router = type == 134 || type == 137;
            assert_int_equal(check(open, &flat), PASS);
            assert_int_equal(check(table, &flat), router ? DP_DROP_GUARD : PASS);
        }
        put_ethernet(&flat, "\x33\x33\0\0\0\1", MAC,
                     0x86dd); /* behind destination options and a fragment header */
        put_ipv6(&flat, 60, own6, other6, 8 + 8 + 16);
        put(&flat, "\x2c\0\x01\x04\0\0\0\0\x3a\0\0\1\0\0\0\1\x86", 17);
        put_payload(&flat, 15);
        assert_int_equal(check(table, &flat), DP_DROP_GUARD);
        for (unsigned port = 67; port <= 69; port++) {
            ipv4_udp(&flat, IP, IP2, 67, port);
            assert_int_equal(check(open, &flat), PASS);
            assert_int_equal(check(table, &flat), port == 68 ? DP_DROP_GUARD : PASS);
            ipv6_udp(&flat, own6);
            set16(flat.bytes + 56, 546 + 67 - port);
            assert_int_equal(check(open, &flat), PASS);
            assert_int_equal(check(table, &flat), port == 67 ? DP_DROP_GUARD : PASS);
        }
        ipv4_udp(&flat, IP, IP2, 1, 68); /* with options in front */
        memmove(flat.bytes + 14 + 24, flat.bytes + 14 + 20, 8);
        memset(flat.bytes + 14 + 20, 1, 4);
        flat.bytes[14] = 0x46;
        flat.size += 4;
        set16(flat.bytes + 16, 32);
        assert_int_equal(check(table, &flat), DP_DROP_GUARD);
        flat.bytes[21] = 1; /* payload of a later fragment */
        assert_int_equal(check(table, &flat), PASS);
        flat.bytes[21] = 0;
        flat.bytes[23] = 6;
        flat.size = 14 + 24 + 2;
        set16(flat.bytes + 16, 26);
        assert_int_equal(check(table, &flat), PASS);
        spoof_table_free(table);
        spoof_table_free(open);
    }
}

static void test_mld(void **state)
{
    static const unsigned types[] = {131, 132, 143, 128, 130};
    struct spoof_table *table = table_of(BOTH, "m46");
    for (unsigned i = 0; i < 5; i++) {
        struct flat flat;
        put_ethernet(&flat, "\x33\x33\0\0\0\x16", MAC, 0x86dd);
        put_ipv6(&flat, 0, none6, other6, 8 + 24);
        put(&flat, "\x3a\0\x05\x02\0\0\0\0", 8);
        put8(&flat, types[i]);
        put_payload(&flat, 23);
        assert_int_equal(check(table, &flat), i < 3 ? PASS : DP_DROP_SPOOF_IP);
    }
    spoof_table_free(table);
}

/* Many addresses: each found, neighbours of each not. */
static void test_many(void **state)
{
    enum { COUNT = 101 };
    struct dp_allowed entries[3 * COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned number = (i * 37 % COUNT) * 2 + 2;
        uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)number}, ipv4[4] = {10, 0, 0, (uint8_t)number};
        uint8_t ipv6[16] = {0xfd, [7] = (uint8_t)(number & 4), [15] = (uint8_t)number};
        entries[3 * i] = entry(DP_ALLOWED_MAC, mac, 6);
        entries[3 * i + 1] = entry(DP_ALLOWED_IPV4, ipv4, 4);
        entries[3 * i + 2] = entry(DP_ALLOWED_IPV6, ipv6, 16);
    }
    struct spoof_table *table = spoof_table_new(BOTH, entries, 3 * COUNT);
    for (unsigned number = 0; number < 256; number++) {
        bool listed = number >= 2 && number <= 2 * COUNT && number % 2 == 0;
        uint8_t ipv6[16] = {0xfd, [7] = (uint8_t)(number & 4), [15] = (uint8_t)number};
        struct flat flat;
        ipv4_udp(&flat, 0x0a000000 | number, IP, 1, 2);
        memcpy(flat.bytes + 6, "\x02\0\0\0\0\x02", 6);
        assert_int_equal(check(table, &flat), listed ? PASS : DP_DROP_SPOOF_IP);
        flat.bytes[11] = (uint8_t)number;
        set16(flat.bytes + 28, 2); /* source 10.0.0.2 */
        assert_int_equal(check(table, &flat) == DP_DROP_SPOOF_MAC, !listed);
        ipv6_udp(&flat, ipv6);
        memcpy(flat.bytes + 6, "\x02\0\0\0\0\x02", 6);
        assert_int_equal(check(table, &flat), listed ? PASS : DP_DROP_SPOOF_IP);
    }
    spoof_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mac),   cmocka_unit_test(test_arp), cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_ipv6),  cmocka_unit_test(test_nd),  cmocka_unit_test(test_nd_evasion),
        cmocka_unit_test(test_guard), cmocka_unit_test(test_mld), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
