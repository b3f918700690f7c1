/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Prefixes nest or are disjoint, so n of them cut the address space into at most 2n + 1 intervals, each with
 * one longest match. The table is the sorted array of the intervals' first addresses, and beside it which
 * route each has. A lookup is one binary search (11 steps for 1,024 routes), whatever lengths there are; the
 * usual table of three or four routes lies in two cache lines. A trie would be no faster at this size, and a
 * table of hashes costs a probe a length.
 *
 * Building: prefixes sorted by first address, shorter ones first; a stack of the open prefixes says which one
 * covers what follows an end.
 */
#include "route.h"

#include <stdbool.h>
#include <stdlib.h>

typedef unsigned __int128 address128;

#define NESTING_MAX 130u /* lengths 0..128, and none */
#define NO_ROUTE    UINT32_MAX

struct route_table {
    unsigned count;     /* intervals, >= 1; the first begins at 0 */
    address128 *starts; /* ascending */
    uint64_t *low;      /* the same of a table of IPv4: what is beyond 64 bits is zero; NULL: IPv6 */
    uint32_t *matches;  /* index in routes; NO_ROUTE */
    struct route *routes;
};

static address128 load_address(const uint8_t address[16])
{
    uint64_t high, low;
    memcpy(&high, address, sizeof(high));
    memcpy(&low, address + 8, sizeof(low));
    return (address128)be64toh(high) << 64 | be64toh(low);
}

static const struct route *matched(const struct route_table *table, size_t interval)
{
    uint32_t match = table->matches[interval];
    return match == NO_ROUTE ? NULL : &table->routes[match];
}

static const struct route *lookup_low(const struct route_table *table, const uint8_t address[16])
{
    uint64_t high, key;
    memcpy(&high, address, sizeof(high));
    memcpy(&key, address + 8, sizeof(key));
    key = high ? UINT64_MAX : be64toh(key);
    const uint64_t *base = table->low;
    for (unsigned count = table->count; count > 1;) {
        unsigned half = count / 2;
        base += base[half] <= key ? half : 0;
        count -= half;
    }
    return matched(table, (size_t)(base - table->low));
}

const struct route *route_lookup(const struct route_table *table, const uint8_t address[16])
{
    if (table->low)
        return lookup_low(table, address);
    address128 key = load_address(address);
    const address128 *base = table->starts;
    for (unsigned count = table->count; count > 1;) {
        unsigned half = count / 2;
        base = base[half] <= key ? base + half : base;
        count -= half;
    }
    return matched(table, (size_t)(base - table->starts));
}

struct sorted_prefix {
    address128 first, last;
    uint32_t length, index;
};

static int compare_prefixes(const void *a, const void *b)
{
    const struct sorted_prefix *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* From `start` on `match` is the longest; an interval of no length gives way. */
static void add_interval(struct route_table *table, address128 start, uint32_t match)
{
    if (table->count > 0 && table->starts[table->count - 1] == start)
        table->count--;
    if (table->count > 0 && table->matches[table->count - 1] == match)
        return;
    table->starts[table->count] = start;
    table->matches[table->count++] = match;
}

static void fill(struct route_table *table, const struct sorted_prefix *sorted, unsigned count)
{
    const struct sorted_prefix *open[NESTING_MAX] = {NULL};
    unsigned depth = 0;
    add_interval(table, 0, NO_ROUTE);
    for (unsigned i = 0; i <= count; i++) {
        while (depth > 0 && (i == count || open[depth - 1]->last < sorted[i].first)) {
            address128 next = open[--depth]->last + 1; /* 0: the space ends here */
            if (next)
                add_interval(table, next, depth ? open[depth - 1]->index : NO_ROUTE);
        }
        if (i == count)
            break;
        if (i > 0 && sorted[i].first == sorted[i - 1].first && sorted[i].length == sorted[i - 1].length)
            continue;
        open[depth++] = &sorted[i];
        add_interval(table, sorted[i].first, sorted[i].index);
    }
}

struct route_table *route_table_new(const struct route_prefix *prefixes, unsigned count)
{
    struct route_table *table = calloc(1, sizeof(*table));
    struct sorted_prefix *sorted = calloc(count + 1, sizeof(*sorted));
    if (table) {
        table->starts = calloc(2 * (size_t)count + 1, sizeof(*table->starts));
        table->matches = calloc(2 * (size_t)count + 1, sizeof(*table->matches));
        table->routes = calloc((size_t)count + 1, sizeof(*table->routes));
    }
    if (!table || !sorted || !table->starts || !table->matches || !table->routes) {
        free(sorted);
        route_table_free(table);
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned host_bits = 128u - prefixes[i].length;
        address128 mask = host_bits == 128 ? ~(address128)0 : ((address128)1 << host_bits) - 1;
        address128 first = load_address(prefixes[i].address) & ~mask;
        sorted[i] = (struct sorted_prefix){first, first | mask, prefixes[i].length, i};
        table->routes[i] = prefixes[i].route;
    }
    qsort(sorted, count, sizeof(*sorted), compare_prefixes);
    fill(table, sorted, count);
    bool ipv4 = count > 0;
    for (unsigned i = 0; i < count; i++)
        ipv4 = ipv4 && address_is_ipv4(prefixes[i].address) && prefixes[i].length >= 96;
    free(sorted);
    if (ipv4 && !(table->low = calloc(table->count, sizeof(*table->low)))) {
        route_table_free(table);
        return NULL;
    }
    for (unsigned i = 0; ipv4 && i < table->count; i++)
        table->low[i] = (uint64_t)table->starts[i];
    return table;
}

void route_table_free(struct route_table *table)
{
    if (!table)
        return;
    free(table->starts);
    free(table->low);
    free(table->matches);
    free(table->routes);
    free(table);
}
