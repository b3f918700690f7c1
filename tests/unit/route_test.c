/* SPDX-License-Identifier: BSD-3-Clause */
/* Longest prefix match against a search through all prefixes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include "route.h"

#define PREFIXES 1024u

static uint64_t random_state = 88172645463325252u;

static uint32_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static bool holds(const struct route_prefix *prefix, const uint8_t address[16])
{
    for (unsigned i = 0; i < prefix->length; i++)
        if ((prefix->address[i / 8] ^ address[i / 8]) & (0x80u >> (i % 8)))
            return false;
    return true;
}

static const struct route_prefix *slow_lookup(const struct route_prefix *prefixes, unsigned count,
                                              const uint8_t address[16])
{
    const struct route_prefix *best = NULL;
    for (unsigned i = 0; i < count; i++)
        if (holds(&prefixes[i], address) && (!best || prefixes[i].length > best->length))
            best = &prefixes[i];
    return best;
}

/* Few bits vary, so that prefixes nest. */
static void random_address(uint8_t address[16], bool ipv4)
{
    memset(address, 0, 16);
    for (unsigned i = ipv4 ? 12 : 0; i < 16; i++)
        address[i] = (uint8_t)(random_next() & 0x83);
    if (ipv4)
        address[10] = address[11] = 0xff;
}

static void cut_off(struct route_prefix *prefix)
{
    for (unsigned i = prefix->length; i < 128; i++)
        prefix->address[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
}

static void compare(bool ipv4, unsigned count)
{
    struct route_prefix *prefixes = calloc(count + 1, sizeof(*prefixes));
    for (unsigned i = 0; i < count; i++) {
        random_address(prefixes[i].address, ipv4);
        prefixes[i].length = (uint8_t)(ipv4 ? 96 + random_next() % 33 : random_next() % 129);
        prefixes[i].route.next_hop[0] = (uint8_t)i;
        prefixes[i].route.next_hop[1] = (uint8_t)(i >> 8);
        cut_off(&prefixes[i]);
    }
    struct route_table *table = route_table_new(prefixes, count);
    assert_non_null(table);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t address[16];
        if (count && i % 2)
            memcpy(address, prefixes[random_next() % count].address, 16);
        else
            random_address(address, ipv4);
        address[15] ^= (uint8_t)(random_next() & 1);
        const struct route *found = route_lookup(table, address);
        const struct route_prefix *expected = slow_lookup(prefixes, count, address);
        assert_int_equal(found != NULL, expected != NULL);
        if (found)
            assert_memory_equal(found->next_hop, expected->route.next_hop, 2);
    }
    route_table_free(table);
    free(prefixes);
}

static void longest_prefix_wins(void **state)
{
    static const unsigned counts[] = {0, 1, 2, 3, 7, 60, PREFIXES};
    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        compare(true, counts[i]);
        compare(false, counts[i]);
    }
}

static void the_ends_of_the_space(void **state)
{
    struct route_prefix prefixes[3] = {{.length = 0, .route.next_hop = {1}},
                                       {.length = 128, .route.next_hop = {2}},
                                       {.length = 1, .route.next_hop = {3}}};
    uint8_t address[16];
    memset(prefixes[1].address, 0xff, 16);
    prefixes[2].address[0] = 0x80;
    struct route_table *table = route_table_new(prefixes, 3);
    memset(address, 0xff, 16);
    assert_int_equal(route_lookup(table, address)->next_hop[0], 2);
    address[15] = 0xfe;
    assert_int_equal(route_lookup(table, address)->next_hop[0], 3);
    memset(address, 0, 16);
    assert_int_equal(route_lookup(table, address)->next_hop[0], 1);
    route_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longest_prefix_wins),
        cmocka_unit_test(the_ends_of_the_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
