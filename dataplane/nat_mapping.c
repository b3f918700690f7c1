/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mappings: which outside endpoint an inside endpoint has, and where those come from.
 *
 * Theory of operation. All sessions of an inside endpoint (interface, protocol, address, port or ICMP id)
 * have the same outside endpoint, whoever they talk to (RFC 4787 REQ-1, RFC 5382 REQ-1, RFC 5508 REQ-1).
 * There is no object for that: the sessions form a ring, one of them has the endpoint's index entry, and the
 * outside endpoint is what each of them has. The mapping lives as long as its last session.
 *
 * An address has a bitmap of taken ports for each of TCP, UDP and ICMP ids, and a configuration one of those
 * that are not to be taken: outside the configured range, forwarded, and UDP 4789 (no guest may speak as the
 * tunnel endpoint). A new port is looked for from a random place on (RFC 6056, 3.3.1), 64 at a time. That
 * place is a keyed hash of the endpoint and of a salt that a worker renews from the clock every 1024 ports:
 * so a batch of packets knows beforehand, as a rule, which ports it will allocate, and has what they need
 * fetched (mapping_foresee). Ports are neither preserved nor kept in parity. Tenants that share an address
 * cannot take each other's part of its ports (share_allows).
 *
 * Everything here is the writer's.
 */
#include "nat_private.h"
#include "tsc.h"

#define SALT_PORTS 1024u

bool mapping_find(const struct nat *nat, const struct nat_key *endpoint, uint64_t hash,
                  struct mapping *mapping)
{
    struct session_view view;
    if (!conntrack_find(nat, endpoint, hash, &view))
        return false;
    *mapping = (struct mapping){
        .head = view.id, .address = ports_address(view.ports), .port = ports_translated(view.ports)};
    return true;
}

/* Where the search for a port begins. */
static uint32_t start_of(const struct nat_context *context, const struct nat_pool *pool, uint64_t endpoint)
{
    const struct nat *nat = context->nat;
    uint64_t random = fold_multiply(endpoint ^ nat->wheels[context->worker].salt, nat->seed[1] | 1);
    uint32_t span = (uint32_t)pool->port_last - pool->port_first + 1;
    return pool->port_first + (uint32_t)((random & UINT32_MAX) * span >> 32);
}

/* Those of the 64 that may be allocated. */
static uint64_t free_ports(const struct nat_pool *pool, unsigned kind, unsigned word)
{
    uint64_t free = ~__atomic_load_n(&pool->address->bitmap[kind][word], __ATOMIC_RELAXED);
    if (__builtin_expect(pool->blocked_groups[kind] >> word / PORT_GROUP & 1, 0))
        free &= ~pool->blocked[kind][word];
    return free;
}

void mapping_prefetch(const struct nat_context *context, const struct nat_pool *pool, uint8_t protocol,
                      uint64_t endpoint)
{
    __builtin_prefetch(
        &pool->address->bitmap[nat_protocol_of(protocol)][start_of(context, pool, endpoint) / 64], 1);
}

uint16_t mapping_foresee(const struct nat_context *context, const struct nat_pool *pool, uint8_t protocol,
                         uint64_t endpoint)
{
    uint32_t start = start_of(context, pool, endpoint), word = start / 64;
    uint64_t free = free_ports(pool, nat_protocol_of(protocol), word) & UINT64_MAX << (start & 63);
    return free ? __builtin_bswap16((uint16_t)(word * 64 + (unsigned)__builtin_ctzll(free))) : 0;
}

static void bitmap_change(uint64_t *word, unsigned bit)
{
    __atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) ^ UINT64_C(1) << bit, __ATOMIC_RELAXED);
}

static uint32_t *used_by(const struct nat_address *address, unsigned kind, uint16_t tenant)
{
    return &address->used_by[kind][tenant & (PORT_SHARERS - 1)];
}

uint16_t mapping_allocate(const struct nat_context *context, const struct nat_pool *pool, uint16_t tenant,
                          uint8_t protocol, uint64_t endpoint)
{
    struct wheel *wheel = &context->nat->wheels[context->worker];
    unsigned kind = nat_protocol_of(protocol);
    struct nat_address *address = pool->address;
    uint32_t *own = used_by(address, kind, tenant),
             used = __atomic_load_n(&address->used[kind], __ATOMIC_RELAXED);
    if (used >= pool->usable[kind] ||
        !share_allows(__atomic_load_n(own, __ATOMIC_RELAXED), used, pool->usable[kind], pool->sharers))
        return 0;
    if (wheel->allocated++ % SALT_PORTS == 0)
        wheel->salt = tsc_now();
    uint32_t start = start_of(context, pool, endpoint);
    unsigned first = pool->port_first / 64, last = pool->port_last / 64, word = start / 64;
    /* From the start to the end of its word, on to the end, and around to the whole of the first word. */
    uint64_t after = UINT64_MAX << (start & 63);
    for (unsigned count = 0; count <= last - first + 1; count++) {
        uint64_t free = free_ports(pool, kind, word) & after;
        if (free) {
            unsigned bit = (unsigned)__builtin_ctzll(free);
            bitmap_change(&address->bitmap[kind][word], bit);
            writer_add(&address->used[kind], 1);
            writer_add(own, 1);
            return __builtin_bswap16((uint16_t)(word * 64 + bit));
        }
        after = UINT64_MAX;
        word = word == last ? first : word + 1;
    }
    return 0;
}

void mapping_release(struct nat *nat, uint16_t id, uint16_t tenant, uint8_t protocol, uint16_t port)
{
    struct nat_address *address = nat->addresses[id];
    unsigned kind = nat_protocol_of(protocol), number = __builtin_bswap16(port);
    bitmap_change(&address->bitmap[kind][number / 64], number & 63);
    writer_add(&address->used[kind], -1);
    writer_add(used_by(address, kind, tenant), -1);
}

/* Who finds the port from outside finds this session (endpoint-independent filter). */
void mapping_set_head(struct nat *nat, const struct session *session, uint32_t id)
{
    struct nat_address *address = nat->addresses[ports_address(session->ports)];
    uint32_t *heads = __atomic_load_n(&address->heads[nat_protocol_of(session->protocol)], __ATOMIC_ACQUIRE);
    if (heads)
        __atomic_store_n(&heads[__builtin_bswap16(ports_translated(session->ports))], id, __ATOMIC_RELEASE);
}

bool mapping_join(struct nat *nat, uint32_t id, const struct mapping *mapping, uint64_t hash)
{
    struct session_cold *cold = &nat->cold[id];
    if (mapping->head) {
        struct session_cold *head = &nat->cold[mapping->head];
        cold->next = head->next;
        cold->previous = mapping->head;
        nat->cold[head->next].previous = id;
        head->next = id;
        return true;
    }
    cold->next = cold->previous = id;
    if (!index_insert(session_table(nat, id), hash, id))
        return false;
    cold->flags |= SESSION_F_HEAD;
    mapping_set_head(nat, &nat->sessions[id], id);
    writer_add(&nat->tenants[cold->tenant].mappings, 1);
    return true;
}

/* The endpoint's index entry goes from `id` to `next`. They may be in different tables while the index grows;
 * should the other have no room, the endpoint's next session gets a mapping of its own. */
static void hand_over(struct nat *nat, uint32_t id, uint32_t next, uint64_t hash)
{
    const struct index_table *from = session_table(nat, id), *to = session_table(nat, next);
    bool done;
    if (from == to) {
        done = index_replace(from, hash, id, next);
    } else {
        done = index_insert(to, hash, next);
        index_remove(from, hash, id);
    }
    if (done)
        nat->cold[next].flags |= SESSION_F_HEAD;
    mapping_set_head(nat, &nat->sessions[next], next);
}

void mapping_leave(struct nat *nat, uint32_t id, uint64_t hash)
{
    const struct session *session = &nat->sessions[id];
    struct session_cold *cold = &nat->cold[id];
    if (!(cold->flags & SESSION_F_OWNS_PORT))
        return;
    if (cold->next != id) {
        nat->cold[cold->previous].next = cold->next;
        nat->cold[cold->next].previous = cold->previous;
        if (cold->flags & SESSION_F_HEAD)
            hand_over(nat, id, cold->next, hash);
        return;
    }
    if (cold->flags & SESSION_F_HEAD)
        index_remove(session_table(nat, id), hash, id);
    mapping_set_head(nat, session, 0);
    mapping_release(nat, ports_address(session->ports), cold->tenant, session->protocol,
                    ports_translated(session->ports));
    writer_add(&nat->tenants[cold->tenant].mappings, -1);
}
