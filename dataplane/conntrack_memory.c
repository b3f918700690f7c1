/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of the session table, which is the control thread's affair.
 *
 * Theory of operation. Addresses for the most sessions there may be are reserved at the start and cost
 * nothing. Sessions (both halves) get pages from the low end on, 131,072 at first, or as many as nat_new was
 * told where huge pages are plenty, then as many again as are there, when half of them are in use. Guests the
 * same, by their own use: they are few as a rule. A worker that is faster than that is refused
 * (NAT_TABLE_FULL) until the next call, and says that it wants more. Pages are touched here, so no worker
 * faults.
 *
 * The index is sized for the sessions that have memory. A larger one is published together with the old one
 * (one pointer), then the writer's lock is taken once: from there on nobody enters anything into the old
 * one. Entries move over a few objects at a time, a bounded number a call; then the old one is taken out of
 * sight and freed after a grace period.
 */
#include "conntrack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define HUGEPAGE      (2u << 20) /* bytes */
#define PAGE          4096u
#define PAGE_OBJECTS  1024u   /* whole pages of each kind of object: a small table has no more */
#define MOVED         131072u /* objects that change to the new index a step */
#define MOVED_AT_ONCE 16u     /* with the lock held: workers wait for it */
#define GROW_STEPS    4u /* of a call: some 0.1 s of the control thread's time, while a table grows fast */
#define FIRST         131072u /* sessions there is room for at once */
#define SESSION_SIZE  128u    /* at most */
#define PLENTY        4u      /* times what a larger first table takes has to be free */

_Static_assert(SESSIONS_CHUNK * sizeof(struct guest) % HUGEPAGE == 0, "memory comes in whole huge pages");
_Static_assert(SESSIONS_CHUNK * sizeof(struct session_cold) % HUGEPAGE == 0, "");

/* Now, so that no worker faults. The kernel gives zeroed pages. */
static void touch(void *memory, size_t size)
{
    for (size_t i = 0; i < size; i += PAGE)
        ((volatile uint8_t *)memory)[i] = 0;
}

void *conntrack_map(size_t size)
{
    void *memory = MAP_FAILED;
    if (size >= HUGEPAGE)
        memory = mmap(NULL, (size + HUGEPAGE - 1) / HUGEPAGE * HUGEPAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (memory == MAP_FAILED) {
        memory = mmap(NULL, (size + HUGEPAGE - 1) / HUGEPAGE * HUGEPAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return NULL;
        madvise(memory, size, MADV_HUGEPAGE); /* a wish */
    }
    touch(memory, size);
    return memory;
}

void conntrack_unmap(void *memory, size_t size)
{
    if (memory)
        munmap(memory, (size + HUGEPAGE - 1) / HUGEPAGE * HUGEPAGE);
}

/* `count` objects of `size` from `first` on in a reserved range. Huge pages for what is whole ones. */
static int commit(void *base, size_t size, uint32_t first, uint32_t count)
{
    uint8_t *from = (uint8_t *)base + first * size;
    size_t bytes = count * size;
    void *memory = MAP_FAILED;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (((uintptr_t)from | bytes) % HUGEPAGE == 0)
        memory = mmap(from, bytes, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
    if (memory == MAP_FAILED) {
        memory = mmap(from, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (memory == MAP_FAILED)
            return -ENOMEM;
        madvise(memory, bytes, MADV_HUGEPAGE); /* a wish */
    }
    touch(memory, bytes);
    return 0;
}

static void *reserve(size_t size, size_t *reserved)
{
    uint8_t *memory =
        mmap(NULL, size + HUGEPAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    size_t before = (HUGEPAGE - (uintptr_t)memory % HUGEPAGE) % HUGEPAGE;
    if (before)
        munmap(memory, before);
    if (before < HUGEPAGE)
        munmap(memory + before + size, HUGEPAGE - before);
    *reserved = size;
    return memory + before;
}

static int table_make(struct index_table *table, uint32_t entries)
{
    table->count = entries / INDEX_FILL + 1;
    table->mapped_size = ((size_t)table->count + INDEX_TAIL) * sizeof(struct index_bucket);
    table->buckets = conntrack_map(table->mapped_size);
    return table->buckets ? 0 : -ENOMEM;
}

static void tables_free(struct index_tables *tables)
{
    if (!tables)
        return;
    conntrack_unmap(tables->current.buckets, tables->current.mapped_size);
    conntrack_unmap(tables->old.buckets, tables->old.mapped_size);
    free(tables);
}

static int tables_publish(struct index *index, const struct index_tables *next)
{
    struct index_tables *tables = malloc(sizeof(*tables));
    if (!tables)
        return -ENOMEM;
    *tables = *next;
    __atomic_store_n(&index->tables, tables, __ATOMIC_RELEASE);
    return 0;
}

/* A new index in front of the one in use. */
static int index_begin(struct nat *nat, struct index *index, uint32_t entries)
{
    struct index_tables *before = index->tables, next = {.epoch = 1};
    if (table_make(&next.current, entries) < 0)
        return -ENOMEM;
    if (before) {
        next.old = before->current;
        next.epoch = before->epoch + 1;
    }
    if (tables_publish(index, &next) < 0) {
        conntrack_unmap(next.current.buckets, next.current.mapped_size);
        return -ENOMEM;
    }
    index->entries_max = entries;
    index->moved = 1;
    if (before) {
        nat->quiesce();
        free(before);
    }
    return 0;
}

/* Everything has moved. */
static void index_finish(struct nat *nat, struct index *index)
{
    struct index_tables *before = index->tables, next = *before;
    next.old = (struct index_table){0};
    if (tables_publish(index, &next) < 0)
        return;
    nat->quiesce();
    conntrack_unmap(before->old.buckets, before->old.mapped_size);
    free(before);
}

static bool session_move(struct nat *nat, uint32_t id)
{
    const struct index_tables *tables = nat->index.tables;
    /* of another epoch and alive: made before the barrier */
    if (!(nat->sessions[id].generation & 1) || nat->cold[id].epoch == tables->epoch)
        return true;
    uint64_t hashes[SESSION_ENTRIES];
    session_hashes(nat, &nat->sessions[id], hashes);
    unsigned count = nat->cold[id].flags & SESSION_F_HEAD ? SESSION_ENTRIES : SESSION_ENTRIES - 1, done = 0;
    while (done < count && index_insert(&tables->current, hashes[done], id))
        done++;
    const struct index_table *loser = done == count ? &tables->old : &tables->current;
    for (unsigned i = 0; i < done; i++)
        index_remove(loser, hashes[i], id);
    if (done == count)
        nat->cold[id].epoch = tables->epoch;
    return done == count;
}

static bool sessions_move(struct nat *nat, uint32_t first, unsigned count)
{
    bool moved = true;
    for (unsigned i = 0; i < count; i++)
        conntrack_prefetch_entries(nat, first + i);
    for (unsigned i = 0; i < count; i++)
        moved &= session_move(nat, first + i);
    return moved;
}

static bool guests_move(struct nat *nat, uint32_t first, unsigned count)
{
    bool moved = true;
    for (unsigned i = 0; i < count; i++)
        moved &= guest_move(nat, first + i);
    return moved;
}

static void index_move(struct nat *nat, struct index *index, const struct pool *pool,
                       bool (*move)(struct nat *nat, uint32_t first, unsigned count))
{
    uint32_t end = __atomic_load_n(&pool->fresh, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < MOVED && index->moved < end; i += MOVED_AT_ONCE) {
        unsigned count = end - index->moved < MOVED_AT_ONCE ? end - index->moved : MOVED_AT_ONCE;
        spin_lock(&nat->writer);
        bool moved = move(nat, index->moved, count);
        nat->creator = 0;
        spin_unlock(&nat->writer);
        if (!moved)
            return; /* no room in the larger one; not seen to happen: stays in the old one until there is */
        index->moved += count;
    }
    if (index->moved >= end)
        index_finish(nat, index);
}

/* From here on nobody enters anything into an older index. */
static void pool_extend(struct nat *nat, struct pool *pool, uint32_t capacity)
{
    spin_lock(&nat->writer);
    __atomic_store_n(&pool->capacity, capacity, __ATOMIC_RELAXED);
    spin_unlock(&nat->writer);
}

/* Pages for the objects up to `capacity`. Those that have some are left alone. */
static int pool_commit(const struct pool *pool, void *base, size_t size, uint32_t capacity)
{
    uint32_t from = (pool->capacity + SESSIONS_CHUNK - 1) / SESSIONS_CHUNK * SESSIONS_CHUNK;
    uint32_t step = pool->limit < SESSIONS_CHUNK ? PAGE_OBJECTS : SESSIONS_CHUNK;
    uint32_t to = (capacity + step - 1) / step * step;
    return to > from ? commit(base, size, from, to - from) : 0;
}

static int extend_sessions(struct nat *nat, uint32_t capacity)
{
    struct pool *pool = &nat->session_pool;
    if (pool_commit(pool, nat->sessions, sizeof(struct session), capacity) < 0 ||
        pool_commit(pool, nat->cold, sizeof(struct session_cold), capacity) < 0 ||
        pool_commit(pool, nat->free_sessions, sizeof(uint32_t), capacity) < 0 ||
        index_begin(nat, &nat->index, capacity * SESSION_ENTRIES) < 0)
        return -ENOMEM;
    pool_extend(nat, pool, capacity);
    return 0;
}

static int extend_guests(struct nat *nat, uint32_t capacity)
{
    struct pool *pool = &nat->guest_pool;
    if (pool_commit(pool, nat->guests, sizeof(struct guest), capacity) < 0 ||
        index_begin(nat, &nat->guest_index, capacity) < 0)
        return -ENOMEM;
    pool_extend(nat, pool, capacity);
    return 0;
}

static uint32_t times(uint32_t count, uint32_t factor, uint32_t limit)
{
    return count >= limit / factor ? limit : count * factor;
}

static bool half_used(const struct pool *pool)
{
    return pool->capacity < pool->limit &&
           __atomic_load_n(&pool->fresh, __ATOMIC_RELAXED) > pool->capacity / 2;
}

/* One thing that growing takes: a part of the objects to the new index, or more room. False: nothing. */
static bool grow_sessions(struct nat *nat, uint32_t factor)
{
    struct pool *pool = &nat->session_pool;
    if (nat->index.tables->old.buckets)
        index_move(nat, &nat->index, pool, sessions_move);
    else if (half_used(pool))
        return extend_sessions(nat, times(pool->capacity, factor, pool->limit)) == 0;
    else
        return false;
    return true;
}

static bool grow_guests(struct nat *nat, uint32_t factor)
{
    struct pool *pool = &nat->guest_pool;
    if (nat->guest_index.tables->old.buckets)
        index_move(nat, &nat->guest_index, pool, guests_move);
    else if (half_used(pool))
        return extend_guests(nat, times(pool->capacity, factor, pool->limit)) == 0;
    else
        return false;
    return true;
}

/* What an eighth of was taken since the last call may be full before the next one but one. */
void conntrack_grow(struct nat *nat)
{
    const struct pool *pool = &nat->session_pool;
    if (!nat->index.tables)
        return;
    uint32_t fresh = __atomic_load_n(&pool->fresh, __ATOMIC_RELAXED);
    bool refused = __atomic_exchange_n(&nat->grow_wanted, 0, __ATOMIC_RELAXED);
    uint32_t factor = refused || fresh - nat->fresh_before > pool->capacity / 8 ? 4 : 2;
    nat->fresh_before = fresh;
    for (unsigned i = 0; i < GROW_STEPS && grow_sessions(nat, factor); i++)
        ;
    for (unsigned i = 0; i < GROW_STEPS && grow_guests(nat, factor); i++)
        ;
}

/* Are so many bytes of huge pages free? Reserved, not touched, and given back. */
static bool hugepages_free(size_t size)
{
    void *memory = mmap(NULL, (size + HUGEPAGE - 1) / HUGEPAGE * HUGEPAGE, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    conntrack_unmap(memory, size);
    return true;
}

int conntrack_prepare(struct nat *nat)
{
    uint32_t limit = nat->session_pool.limit, guests = limit < FIRST ? limit : FIRST, sessions = guests;
    if (!nat->guest_index.tables && extend_guests(nat, guests) < 0)
        return -ENOMEM;
    if (nat->index.tables)
        return 0;
    if (nat->first > sessions && nat->first <= limit &&
        hugepages_free((size_t)nat->first * SESSION_SIZE * PLENTY))
        sessions = nat->first;
    return extend_sessions(nat, sessions);
}

int conntrack_new(struct nat *nat, uint32_t sessions)
{
    uint32_t rounded = (sessions + SESSIONS_CHUNK) / SESSIONS_CHUNK * SESSIONS_CHUNK;
    if (getrandom(nat->seed, sizeof(nat->seed), 0) != sizeof(nat->seed))
        return -errno;
    nat->sessions = reserve(rounded * sizeof(struct session), &nat->reserved[0]);
    nat->cold = reserve(rounded * sizeof(struct session_cold), &nat->reserved[1]);
    nat->guests = reserve(rounded * sizeof(struct guest), &nat->reserved[2]);
    nat->free_sessions = reserve(rounded * sizeof(uint32_t), &nat->reserved[3]);
    if (!nat->sessions || !nat->cold || !nat->guests || !nat->free_sessions)
        return -ENOMEM;
    /* Number 0 means none, so numbers end one later than the count. */
    nat->session_pool = (struct pool){.fresh = 1, .capacity = 0, .limit = sessions + 1};
    nat->guest_pool = (struct pool){.fresh = 1, .capacity = 0, .limit = sessions + 1};
    return 0;
}

void conntrack_free(struct nat *nat)
{
    void *ranges[4] = {nat->sessions, nat->cold, nat->guests, nat->free_sessions};
    for (unsigned i = 0; i < 4; i++)
        if (ranges[i])
            munmap(ranges[i], nat->reserved[i]);
    tables_free(nat->index.tables);
    tables_free(nat->guest_index.tables);
}
