/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session table: lookup, ageing, end of sessions.
 *
 * Theory of operation. A session is 64 bytes that packets need and 32 that they do not, in two arrays, and
 * three entries of an index (conntrack_index.c) that name it by number: as seen from inside (interface,
 * protocol, inside and remote endpoint), as seen from outside (translated and remote endpoint), and, for one
 * of the sessions of an inside endpoint, by that endpoint alone (its mapping, nat_mapping.c). With the index
 * at 60% and a place in the list of free ones that is 121.3 bytes a session. Addresses are 16 bytes
 * everywhere, so NAT44 and NAT66 are one.
 *
 * Readers take no lock. They find a candidate by 8 bits of the hash, compare all of the key, copy what they
 * need and look at the session's generation again: unchanged and odd means that all of it was one session.
 * What they write back (last seen, packets, phase) may then, if the session ended and its memory was reused
 * in that moment, go to its successor: a packet counted there, a timer refreshed, nothing that translates.
 *
 * Writers: all that creates or ends sessions holds one lock, nat->writer, for a session or a few at a time.
 * So no session is made twice, and what only writers change (index, counters, port bitmaps, free ones) takes
 * no locked instruction: one costs 35 to 65 cycles, and a creation with a lock a stripe of endpoints took
 * fourteen of them, which was half of its time. Workers that all open sessions at once wait for each other
 * for some hundred cycles a session; packets of established sessions never do. A miss is looked up once more
 * under the lock: a reader may miss what moves or is being made, and never finds what is not there.
 *
 * Memory ordering. Creation: generation is even; fields (relaxed); generation + 1 (release); index entries
 * (release). Lookup: entry, generation (acquire), fields, fence (acquire), generation. End: generation + 1
 * (relaxed), fence (release), index entries away. Fields of the next session in the same memory are written
 * after that fence, so a reader that saw one of them sees that the generation changed.
 *
 * Growth. Memory of sessions lies in one reserved range of addresses; control gives it pages before they are
 * needed, and refuses none that exist. A larger index is put in front of the old one, sessions move over a
 * few at a time, lookups ask both meanwhile; the old one is freed after a grace period.
 *
 * Sessions are never evicted for others: a full quota or table refuses new ones. Who floods, meets the own
 * limit, and established connections stay.
 */
#include "conntrack.h"
#include "parse.h"

#define AHEAD 8u /* sessions */

static inline uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline bool session_is(const struct session *session, const struct nat_key *key)
{
    uint64_t ports = load(&session->ports), meta = key->meta;
    uint64_t remote = (load(&session->remote[0]) ^ key->b[0]) | (load(&session->remote[1]) ^ key->b[1]);
    uint64_t inside = (load(&session->inside[0]) ^ key->a[0]) | (load(&session->inside[1]) ^ key->a[1]);
    uint16_t scope = __atomic_load_n(&session->interface, __ATOMIC_RELAXED) ^ (uint16_t)(meta >> 32);
    if ((uint8_t)(__atomic_load_n(&session->protocol, __ATOMIC_RELAXED) ^ (uint8_t)(meta >> 48)))
        return false;
    switch (meta >> 56) {
    case KEY_INBOUND:
        return !(remote | ((ports >> 16 ^ meta) & UINT64_C(0xffffffffffff)));
    case KEY_OUTBOUND:
        return !(inside | remote | scope | (uint32_t)(ports ^ meta));
    default:
        return __atomic_load_n(&session->state, __ATOMIC_RELAXED) & SESSION_MAPPED &&
               !(inside | scope | (uint16_t)(ports ^ meta));
    }
}

static inline void view_fill(const struct session *session, struct session_view *view)
{
    view->inside[0] = __atomic_load_n(&session->inside[0], __ATOMIC_RELAXED);
    view->inside[1] = __atomic_load_n(&session->inside[1], __ATOMIC_RELAXED);
    view->ports = __atomic_load_n(&session->ports, __ATOMIC_RELAXED);
    view->interface = __atomic_load_n(&session->interface, __ATOMIC_RELAXED);
    view->state = __atomic_load_n(&session->state, __ATOMIC_RELAXED);
}

static inline bool candidate(const struct nat *nat, uint32_t id, const struct nat_key *key,
                             struct session_view *view)
{
    const struct session *session = &nat->sessions[id];
    uint32_t generation = __atomic_load_n(&session->generation, __ATOMIC_ACQUIRE);
    if (!(generation & 1) || !session_is(session, key))
        return false;
    view_fill(session, view);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    view->id = id;
    view->generation = generation;
    return __atomic_load_n(&session->generation, __ATOMIC_RELAXED) == generation;
}

static bool table_find(const struct nat *nat, const struct index_table *table, const struct nat_key *key,
                       uint64_t hash, struct session_view *view)
{
    uint32_t tag = index_tag(hash);
    for (const struct index_bucket *bucket = index_home(table, hash);; bucket++) {
        for (uint32_t matches = index_matches(bucket, tag); matches; matches &= matches - 1) {
            uint32_t slot = __atomic_load_n(&bucket->slots[__builtin_ctz(matches)], __ATOMIC_ACQUIRE);
            if (candidate(nat, slot & SESSION_IDS_MASK, key, view))
                return true;
        }
        if (__builtin_expect(!__atomic_load_n(&bucket->overflow, __ATOMIC_ACQUIRE), 1) ||
            bucket == table->buckets + table->count + INDEX_TAIL - 1)
            return false;
    }
}

bool conntrack_find(const struct nat *nat, const struct nat_key *key, uint64_t hash,
                    struct session_view *view)
{
    const struct index_tables *tables = index_tables(&nat->index);
    if (__builtin_expect(table_find(nat, &tables->current, key, hash, view), 1))
        return true;
    return __builtin_expect(tables->old.buckets != NULL, 0) && table_find(nat, &tables->old, key, hash, view);
}

bool conntrack_read(const struct nat *nat, uint32_t id, struct session_view *view)
{
    const struct session *session = &nat->sessions[id];
    view->id = id;
    view->generation = __atomic_load_n(&session->generation, __ATOMIC_ACQUIRE);
    view_fill(session, view);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return view->generation & 1 &&
           __atomic_load_n(&session->generation, __ATOMIC_RELAXED) == view->generation;
}

/* Once a second and session. */
static bool touch_time(const struct nat_context *context, const struct session_view *view, uint32_t last_seen)
{
    struct session *session = &context->nat->sessions[view->id];
    int32_t idle = (int32_t)(context->now_s - last_seen);
    if (idle < 0)
        return true; /* another worker's clock is a moment ahead */
    if ((uint32_t)idle >
        session_timeout(__atomic_load_n(&session->protocol, __ATOMIC_RELAXED), view->state)) {
        conntrack_end(context->nat, view->id, view->generation, true, context->now_s);
        return false;
    }
    __atomic_store_n(&session->last_seen, context->now_s, __ATOMIC_RELAXED);
    return true;
}

bool conntrack_touch(const struct nat_context *context, const struct session_view *view, bool outbound)
{
    struct session *session = &context->nat->sessions[view->id];
    uint32_t last_seen = __atomic_load_n(&session->last_seen, __ATOMIC_RELAXED);
    if (__builtin_expect(last_seen != context->now_s, 0) && !touch_time(context, view, last_seen))
        return false;
    session_count_packet(session, outbound);
    return true;
}

/* The end of being half open is counted once, and for the right tenant: under the lock. */
static void half_open_end(struct nat *nat, const struct session_view *view)
{
    struct session *session = &nat->sessions[view->id];
    spin_lock(&nat->writer);
    if (session->generation == view->generation &&
        __atomic_fetch_and(&session->state, (uint8_t)~SESSION_HALF_OPEN, __ATOMIC_RELAXED) &
            SESSION_HALF_OPEN)
        writer_add(&nat->tenants[nat->cold[view->id].tenant].half_open, -1);
    spin_unlock(&nat->writer);
}

void conntrack_set_state(struct nat *nat, const struct session_view *view, uint8_t state)
{
    uint8_t phase = state & SESSION_PHASE, from = view->state;
    if (!__atomic_compare_exchange_n(&nat->sessions[view->id].state, &from, state, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return; /* another packet came first: the next one tells as much */
    /* A refused connection stays half open: else a SYN and a RST a session would get round that limit. */
    if (state & SESSION_HALF_OPEN && phase != PHASE_NEW && phase != PHASE_SYN_BOTH && phase != PHASE_CLOSED)
        half_open_end(nat, view);
}

uint32_t conntrack_take(struct nat *nat)
{
    struct pool *pool = &nat->session_pool;
    /* of one that is taken soon */
    uint32_t ahead =
        pool->free > AHEAD ? nat->free_sessions[pool->free - 1 - AHEAD] : pool->fresh + AHEAD - pool->free;
    __builtin_prefetch(&nat->sessions[ahead], 1);
    __builtin_prefetch(&nat->cold[ahead], 1);
    if (pool->free) {
        writer_add(&pool->free, -1);
        return nat->free_sessions[pool->free];
    }
    if (pool->fresh < pool->capacity) {
        writer_add(&pool->fresh, 1);
        return pool->fresh - 1;
    }
    __atomic_store_n(&nat->grow_wanted, 1, __ATOMIC_RELAXED);
    return 0;
}

void conntrack_give(struct nat *nat, uint32_t id)
{
    struct pool *pool = &nat->session_pool;
    nat->free_sessions[pool->free] = id;
    writer_add(&pool->free, 1);
}

void session_hashes(const struct nat *nat, const struct session *session, uint64_t hashes[SESSION_ENTRIES])
{
    uint64_t ports = session->ports;
    struct nat_key outbound = key_outbound(session->inside, ports_inside(ports), session->remote,
                                           ports_remote(ports), session->interface, session->protocol);
    struct nat_key inbound = key_inbound(ports_address(ports), ports_translated(ports), session->remote,
                                         ports_remote(ports), session->protocol);
    struct nat_key endpoint =
        key_endpoint(session->inside, ports_inside(ports), session->interface, session->protocol);
    hashes[0] = nat_hash(nat, &outbound);
    hashes[1] = nat_hash(nat, &inbound);
    hashes[2] = nat_hash(nat, &endpoint);
}

const struct index_table *session_table(const struct nat *nat, uint32_t id)
{
    const struct index_tables *tables = index_tables(&nat->index);
    return nat->cold[id].epoch == tables->epoch ? &tables->current : &tables->old;
}

static void kill(struct nat *nat, uint32_t id)
{
    struct session *session = &nat->sessions[id];
    struct session_cold *cold = &nat->cold[id];
    const struct index_table *table = session_table(nat, id);
    uint64_t hashes[SESSION_ENTRIES];

    __atomic_store_n(&session->generation, session->generation + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    session_hashes(nat, session, hashes);
    index_remove(table, hashes[0], id);
    index_remove(table, hashes[1], id);
    mapping_leave(nat, id, hashes[2]);

    struct tenant_state *tenant = &nat->tenants[cold->tenant];
    uint8_t state = __atomic_exchange_n(&session->state, 0, __ATOMIC_RELAXED);
    if (state & SESSION_HALF_OPEN)
        writer_add(&tenant->half_open, -1);
    if (cold->flags & SESSION_F_INBOUND)
        writer_add(&tenant->inbound, -1);
    writer_add(&tenant->sessions, -1);
    guest_leave(nat, cold->guest, cold->flags & SESSION_F_INBOUND);
    writer_add(&nat->addresses[ports_address(session->ports)]->sessions, -1);
}

bool conntrack_idle(const struct nat *nat, uint32_t id, uint32_t now_s)
{
    const struct session *session = &nat->sessions[id];
    int32_t idle = (int32_t)(now_s - __atomic_load_n(&session->last_seen, __ATOMIC_RELAXED));
    uint8_t state = __atomic_load_n(&session->state, __ATOMIC_RELAXED);
    return idle >= 0 && (uint32_t)idle > session_timeout(session->protocol, state);
}

void conntrack_prefetch_entries(const struct nat *nat, uint32_t id)
{
    const struct index_tables *tables = index_tables(&nat->index);
    const struct index_table *table = session_table(nat, id);
    uint64_t hashes[SESSION_ENTRIES];
    if (!(nat->sessions[id].generation & 1))
        return;
    session_hashes(nat, &nat->sessions[id], hashes);
    for (unsigned i = 0; i < SESSION_ENTRIES; i++) {
        __builtin_prefetch(index_home(table, hashes[i]), 1);
        if (table != &tables->current)
            __builtin_prefetch(index_home(&tables->current, hashes[i]), 1);
    }
}

void conntrack_end_locked(struct nat *nat, uint32_t id, uint32_t generation, bool expired, uint32_t now_s)
{
    if (nat->sessions[id].generation == generation && (!expired || conntrack_idle(nat, id, now_s)))
        kill(nat, id);
}

void conntrack_end(struct nat *nat, uint32_t id, uint32_t generation, bool expired, uint32_t now_s)
{
    spin_lock(&nat->writer);
    conntrack_end_locked(nat, id, generation, expired, now_s);
    spin_unlock(&nat->writer);
}
