/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flow cache.
 *
 * Theory of operation. Most packets that a router passes belong to a flow of which it passed one a moment
 * ago, and what it finds out about them it found out then: route, next hop, translation. An entry keeps the
 * result, found by what it was made of: the interface that the packet came in by, addresses, protocol and
 * ports (of an interface that is not translated, addresses alone: a million flows between two hosts are one).
 * The packet before it went the whole way; the cache never decides anything itself.
 *
 *   router_run: for each packet   key; its set's line is on the way to the processor      router_flow.c
 *               for each          an entry? it and its session are on the way. None: parse, as without a
 * cache for each, in the order they came entry        of this key, still true? rewrite, count, router_emit ->
 * the egress segment's L2 program none         route, translate, neighbour (router_forward.c, router_nat.c);
 * router_leave notes what became of it
 *
 * What an entry stands for can end in four ways, and each is looked at for every packet:
 *
 *   epoch                a number that changes with the snapshot (everything that is configured: interfaces,
 *                        MTU, routes, static neighbours, what is translated to what) and with the second of
 *                        the clock. One comparison while the entry is looked for. So no entry outlives the
 *                        second it was made in, and once a second a packet of each flow goes the whole way:
 *                        that is what keeps the session and the neighbour in use alive, and all there is to
 *                        ageing here.
 *   session generation   the session ended, or its memory is another one's (conntrack.c)
 *   session state        it would not do for this packet what it did for the last one: TCP that is not
 *                        established, a UDP session that gets its first answer
 *   neighbour generation of the interface to leave by: some neighbour there has another MAC address, or none
 *
 * And what may differ between packets of a flow is looked at in each: header checksum, hop count, size (of
 * the largest segment) against the MTU, TCP flags. Options, fragments of what is translated, SYN, FIN and
 * RST, ICMP but for echo, packets to the router, hairpins, what has to wait: the whole way. What comes out
 * is the same, byte for byte and count for count (router_flow_equal_test has both side by side).
 *
 * The frame then enters the L2 program of the egress segment as any routed frame does. Tenant, isolation,
 * address table, flooding, link state are that program's, so no entry has to be told of any of them: the
 * worst that a wrong entry could do is to send a packet to a wrong MAC address in the segment of an interface
 * which its own tenant's router has, or which it is translated to.
 *
 * Sets of eight entries, and a cache line that says which of them are in use, 8 bits of their hashes, and
 * their sessions: a flow that has no entry costs that line; one that has costs its entry's and its session's
 * as well, which are fetched at once.
 *
 * An entry is not replaced before its epoch is over: the flow that finds no place goes the whole way. So
 * nobody can push another's flows out; and what takes places has its bound: a session's flow is noted with
 * its second packet of that direction, not with its first, and where there is more than one tenant none has
 * more than six entries of a set (tenants whose numbers are equal modulo 256 count as one). A flood of flows
 * costs its own tenant the time that the whole way takes, and leaves others a quarter of the places in every
 * set. Flows that come in from outside are those of the tenant that they are translated for.
 *
 * Where nobody is known, as while new sessions are opened by the million, looking is given up for a while: a
 * pass of many packets of which none has an entry lets the next ones go the whole way, one at first, seven of
 * eight in the end, until somebody is known again. Packets that are not looked for are not noted either.
 *
 * Epochs are 16 bits: what says which entries are in use (1 MiB) is emptied when they begin anew, after 18
 * hours without a change of the configuration.
 */
#include "flow_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define HUGEPAGE   (2u << 20) /* bytes */
#define IPV6_BYTES 32u        /* two addresses */

/* lint: control path */
static void *map(size_t size)
{
    void *memory = MAP_FAILED;
    if (size % HUGEPAGE == 0)
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (memory == MAP_FAILED)
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memset(memory, 0, size); /* touched now: no worker faults */
}

static void unmap(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}

/* lint: control path */
struct flow_cache *flow_cache_new(uint32_t entries)
{
    struct flow_cache *cache = calloc(1, sizeof(*cache));
    if (!cache)
        return NULL;
    cache->mask = entries - 1;
    cache->epoch = 1;
    cache->owner_ways = FLOW_WAYS;
    cache->sets = map(entries / FLOW_WAYS * sizeof(struct flow_set));
    cache->entries = map(entries * sizeof(struct flow_entry));
    cache->wide = map(entries * sizeof(struct flow_wide));
    if (!cache->sets || !cache->entries || !cache->wide ||
        getrandom(cache->seed, sizeof(cache->seed), 0) != sizeof(cache->seed)) {
        flow_cache_free(cache);
        errno = ENOMEM;
        return NULL;
    }
    return cache;
}

/* lint: control path */
void flow_cache_free(struct flow_cache *cache)
{
    if (!cache)
        return;
    size_t entries = (size_t)cache->mask + 1;
    unmap(cache->sets, entries / FLOW_WAYS * sizeof(struct flow_set));
    unmap(cache->entries, entries * sizeof(struct flow_entry));
    unmap(cache->wide, entries * sizeof(struct flow_wide));
    free(cache);
}

void flow_cache_renew(struct flow_cache *cache, uint64_t serial, uint32_t now_s, bool shared)
{
    cache->serial = serial;
    cache->now_s = now_s;
    cache->owner_ways = shared ? FLOW_OWNER_WAYS : FLOW_WAYS;
    if (__builtin_expect(++cache->epoch, 1))
        return;
    memset(cache->sets, 0, ((size_t)cache->mask + 1) / FLOW_WAYS * sizeof(struct flow_set));
    cache->epoch = 1;
}

struct flow_entry *flow_find(const struct flow_cache *cache, const struct flow_key *key, uint64_t hash,
                             const uint64_t addresses[4])
{
    const struct flow_set *set = flow_set(cache, hash);
    for (unsigned ways = flow_candidates(cache, set, hash); ways; ways &= ways - 1) {
        struct flow_entry *entry = flow_entry(cache, set, (unsigned)__builtin_ctz(ways));
        if (flow_is(cache, entry, key, addresses))
            return entry;
    }
    return NULL;
}

/* A free entry becomes the key's. NULL: none is, or the owner has its part. */
static struct flow_entry *take(struct flow_cache *cache, const struct flow_key *key, uint64_t hash,
                               const uint64_t addresses[4], uint32_t owner)
{
    struct flow_set *set = flow_set(cache, hash);
    unsigned live = flow_live(cache, set), own = live & flow_equal(set->owners, (uint8_t)owner);
    if (live == FLOW_FULL || (unsigned)__builtin_popcount(own) >= cache->owner_ways)
        return NULL;
    unsigned way = (unsigned)__builtin_ctz(~live);
    struct flow_entry *entry = flow_entry(cache, set, way);
    set->epochs[way] = cache->epoch;
    set->tags[way] = flow_tag(hash);
    set->owners[way] = (uint8_t)owner;
    entry->key = *key;
    if (flow_meta_kind(key->meta) == FLOW_IPV6)
        memcpy(flow_wide(cache, entry)->addresses, addresses, IPV6_BYTES);
    return entry;
}

struct flow_entry *flow_cache_put(struct flow_cache *cache, const struct flow_key *key, uint64_t hash,
                                  const uint64_t addresses[4], const struct flow_action *action,
                                  uint32_t owner)
{
    struct flow_entry *entry = flow_find(cache, key, hash, addresses);
    if (!entry)
        entry = take(cache, key, hash, addresses, owner);
    if (!entry)
        return NULL;
    entry->action = *action;
    flow_set(cache, hash)->sessions[(entry - cache->entries) & (FLOW_WAYS - 1)] = action->session;
    return entry;
}
