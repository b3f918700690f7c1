/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fragments (RFC 4787 REQ-13, REQ-14): translated without reassembly. Copies that wait are in nat_held.c.
 *
 * Theory of operation. Only the first fragment of a datagram has ports. It is translated like any packet, and
 * what its address became is noted under (interface, direction, source, destination, protocol,
 * identification) for 15 s; later fragments take that. One that comes before its first is copied aside, and
 * given out by nat_release once the first has passed. A datagram of which everything passed is forgotten.
 *
 * The parts of a datagram that were seen are kept as up to 6 ranges. A part that overlaps another, one that
 * leaves more ranges than that, one beyond 64 KiB or of a length that is no multiple of 8 and not the last
 * spoils the datagram: the rest of it is dropped (RFC 5722, RFC 1858). Transport headers that are not wholly
 * in the first fragment too.
 *
 * Bounds. 4096 datagrams and 2048 blocks of copies in all; a tenant has at most 256 of each, a guest 128 for
 * what it sends. Inbound ones belong to nobody until their first fragment says whose they are; together they
 * have 1024. Who fills those with pieces from outside hits only datagrams that come out of order: a first
 * fragment that comes first is its tenant's at once (RFC 4787 REQ-14 a). A datagram that finds no place is
 * dropped. Nobody's is evicted, all go after 15 s.
 *
 * Threads: a datagram is in one of 64 stripes with a spinlock each, held for a bounded walk of tags and, when
 * a fragment is held, its copy. Blocks come from one list with its own lock. Lock order: stripe, blocks. A
 * list of fragments to release belongs to the worker that translated the first.
 */
#include "nat_rewrite.h"
#include "nat_fragment.h"

/* Where a fragment lies in its datagram, bytes. */
struct place {
    uint32_t start, end;
    bool more;
};

/* Under the stripe. What it held goes too. */
static void datagram_free(struct nat *nat, struct stripe *stripe, unsigned i)
{
    struct datagram *datagram = &stripe->datagrams[i];
    for (struct held *held = datagram->held, *next; held; held = next) {
        next = held->next;
        held_free(nat, held);
    }
    count_add(&nat->tenants[datagram->tenant].fragments, -1);
    count_add(&nat->fragments->guests[datagram->guest].datagrams, -1);
    datagram->held = NULL;
    stripe->tags[i] = 0;
}

void fragments_expire(struct nat *nat, uint32_t now_s, unsigned count)
{
    struct fragments *fragments = nat->fragments;
    for (unsigned n = 0; fragments && n < count; n++) {
        uint32_t turn = __atomic_fetch_add(&fragments->next_expiry, 1, __ATOMIC_RELAXED);
        struct stripe *stripe = &fragments->stripes[turn & (STRIPES - 1)];
        if (!spin_trylock(&stripe->lock))
            continue;
        for (unsigned i = 0; i < DATAGRAMS; i++)
            if (stripe->tags[i] && (int32_t)(now_s - stripe->deadlines[i]) > 0)
                datagram_free(nat, stripe, i);
        spin_unlock(&stripe->lock);
    }
}

/* Who sends what goes out. */
static uint16_t guest_of(const struct nat *nat, const struct datagram_key *key)
{
    struct nat_key hashed = {
        {key->source[0], key->source[1]}, {0, 0}, key_meta(KEY_GUEST, 0, 0, key->scope, 0)};
    uint16_t bucket = (uint16_t)(nat_hash(nat, &hashed) & (GUEST_BUCKETS - 1));
    return !key->outbound ? 0 : bucket ? bucket : 1;
}

/* Where a datagram is looked for. */
struct datagram_place {
    struct stripe *stripe;
    uint32_t tag;
    const struct datagram_key *key;
};

/* Under the stripe. NULL: there is none; *unused: a place for it, -1: none. */
static struct datagram *datagram_find(struct nat *nat, const struct datagram_place *of, uint32_t now_s,
                                      int *unused)
{
    struct stripe *stripe = of->stripe;
    *unused = -1;
    for (unsigned i = 0; i < DATAGRAMS; i++) {
        if (stripe->tags[i] && (int32_t)(now_s - stripe->deadlines[i]) > 0)
            datagram_free(nat, stripe, i);
        if (!stripe->tags[i])
            *unused = (int)i;
        else if (stripe->tags[i] == of->tag &&
                 memcmp(&stripe->datagrams[i].key, of->key, sizeof(*of->key)) == 0)
            return &stripe->datagrams[i];
    }
    return NULL;
}

/* Under the stripe. NULL: there is none, and no place or quota for one. */
static struct datagram *datagram_get(struct nat *nat, const struct datagram_place *of, uint16_t tenant,
                                     uint32_t now_s)
{
    struct stripe *stripe = of->stripe;
    int unused;
    struct datagram *datagram = datagram_find(nat, of, now_s, &unused);
    uint16_t guest = guest_of(nat, of->key);
    if (datagram)
        return datagram;
    if (unused < 0 || !fragment_within_quota(&nat->tenants[tenant].fragments, tenant) ||
        !fragment_within_guests(&nat->fragments->guests[guest].datagrams, guest))
        return NULL;
    count_add(&nat->tenants[tenant].fragments, 1);
    count_add(&nat->fragments->guests[guest].datagrams, 1);
    stripe->tags[unused] = of->tag;
    stripe->deadlines[unused] = now_s + LIFETIME_S;
    datagram = &stripe->datagrams[unused];
    *datagram = (struct datagram){.key = *of->key, .tenant = tenant, .guest = guest, .state = DATAGRAM_WAITS};
    return datagram;
}

/* Adds a part; neighbours are joined. False: overlap, or too many pieces. */
static bool datagram_add(struct datagram *datagram, const struct place *place)
{
    uint16_t start = (uint16_t)(place->start / 8), end = (uint16_t)((place->end + 7) / 8);
    unsigned i, count = datagram->range_count;
    for (i = 0; i < count; i++)
        if (start < datagram->ranges[i].end && end > datagram->ranges[i].start)
            return false;
    if (!place->more) {
        if (datagram->last)
            return false;
        datagram->last = end;
    }
    for (i = 0; i < count; i++)
        if (end > datagram->last && datagram->last)
            return false;
        else if (datagram->last && datagram->ranges[i].end > datagram->last)
            return false;
    for (i = 0; i < count;) {
        if (datagram->ranges[i].end != start && datagram->ranges[i].start != end) {
            i++;
            continue;
        }
        start = datagram->ranges[i].end == start ? datagram->ranges[i].start : start;
        end = datagram->ranges[i].start == end ? datagram->ranges[i].end : end;
        datagram->ranges[i] = datagram->ranges[--count];
        i = 0;
    }
    if (count == RANGES)
        return false;
    datagram->ranges[count].start = start;
    datagram->ranges[count].end = end;
    datagram->range_count = (uint8_t)(count + 1);
    return true;
}

static bool datagram_complete(const struct datagram *datagram)
{
    return datagram->last && datagram->range_count == 1 && datagram->ranges[0].start == 0 &&
           datagram->ranges[0].end == datagram->last;
}

/* Offset of the fragment header; the parser went past it within private bytes. 0: none. */
static uint32_t ipv6_fragment_header(const struct packet *packet, const struct frame_info *info)
{
    uint32_t at = info->l3_offset + IPV6_HEADER;
    uint8_t next = packet->data[info->l3_offset + 6];
    for (unsigned i = 0; i < IPV6_WALK && at + 8 <= info->l4_offset; i++) {
        const uint8_t *header = packet->data + at;
        if (next == IPV6_FRAGMENT)
            return at;
        uint32_t size = next == 51 ? (header[1] + 2u) * 4 : (header[1] + 1u) * 8;
        next = header[0];
        at += size;
    }
    return 0;
}

static bool fragment_read(const struct packet *packet, const struct frame_info *info, uint32_t scope,
                          bool outbound, struct datagram_key *key, struct place *place)
{
    const uint8_t *ip = packet->data + info->l3_offset;
    struct tuple tuple;
    uint32_t field, payload;
    *key = (struct datagram_key){.scope = (uint16_t)scope, .outbound = outbound};
    tuple_addresses(&tuple, ip, info->flags & FRAME_F_IPV4);
    memcpy(key->source, tuple.source, 16);
    memcpy(key->destination, tuple.destination, 16);
    if (info->flags & FRAME_F_IPV4) {
        field = (uint32_t)ip[6] << 8 | ip[7];
        key->identification = rewrite_load16(ip + 4);
        key->protocol = ip[9];
        payload = info->l3_end - info->l3_offset - (ip[0] & 15u) * 4;
        place->start = (field & 0x1fff) * 8;
        place->more = field & 0x2000;
    } else {
        uint32_t at = ipv6_fragment_header(packet, info);
        if (!at)
            return false;
        const uint8_t *header = packet->data + at;
        field = (uint32_t)header[2] << 8 | header[3];
        key->identification = rewrite_load32(header + 4);
        payload = info->l3_end - at - 8; /* protocol 0: RFC 8200, 4.5 reassembles without it */
        place->start = field & 0xfff8;
        place->more = field & 1;
    }
    place->end = place->start + payload;
    return payload && place->end <= DATAGRAM_MAX && !(place->more && payload & 7);
}

static void translate_fragment(struct packet *packet, const struct frame_info *info, bool outbound,
                               const uint64_t address[2])
{
    rewrite_address(packet->data + info->l3_offset, info->flags & FRAME_F_IPV4, outbound, address);
}

/* A part that belongs to the datagram. False: it is spoilt, and so is the part. */
static bool datagram_takes(struct datagram *datagram, const struct place *place)
{
    if (datagram->state != DATAGRAM_SPOILT && datagram_add(datagram, place))
        return true;
    datagram->state = DATAGRAM_SPOILT;
    return false;
}

/* Under the stripe. It may be complete now, and is forgotten then. */
static void datagram_end(struct nat *nat, struct stripe *stripe, const struct datagram *datagram)
{
    if (datagram->state == DATAGRAM_KNOWN && datagram_complete(datagram))
        datagram_free(nat, stripe, (unsigned)(datagram - stripe->datagrams));
}

/* Under the stripe. A fragment that is not the first. */
static enum dp_drop fragment_later(const struct nat_context *context, struct datagram *datagram,
                                   struct packet *packet, const struct frame_info *info,
                                   struct nat_outcome *outcome, bool *held)
{
    if (datagram->state == DATAGRAM_KNOWN) {
        translate_fragment(packet, info, datagram->key.outbound, datagram->address);
        *outcome = datagram->outcome;
        return DP_DROP_COUNT;
    }
    struct held *copy = held_copy(context->nat, packet, datagram->tenant, datagram->guest);
    if (!copy) {
        datagram->state = DATAGRAM_SPOILT;
        return DP_DROP_NAT_FRAGMENT;
    }
    copy->outbound = datagram->key.outbound;
    copy->next = datagram->held;
    datagram->held = copy;
    *held = true;
    return DP_DROP_COUNT;
}

/* Under the stripe. What waited is this worker's to give out. */
static void release(const struct nat_context *context, struct datagram *datagram)
{
    struct wheel *wheel = &context->nat->wheels[context->worker];
    while (datagram->held) {
        struct held *held = datagram->held;
        datagram->held = held->next;
        memcpy(held->address, datagram->address, 16);
        held->outcome = datagram->outcome;
        held->next = wheel->release;
        wheel->release = held;
    }
}

/* Without the stripe: sessions have their own locks. */
static enum dp_drop translate_first(const struct nat_context *context, uint32_t scope, bool outbound,
                                    struct packet *packet, const struct frame_info *info,
                                    struct nat_outcome *outcome)
{
    if (!(info->flags & FRAME_F_L4) && (info->ip_proto == IP_PROTO_TCP || info->ip_proto == IP_PROTO_UDP ||
                                        info->ip_proto == IP_PROTO_ICMP || info->ip_proto == IP_PROTO_ICMPV6))
        return DP_DROP_NAT_FRAGMENT;
    return outbound ? nat_session_outbound(context, context->config->interfaces[scope], packet, info, outcome)
                    : nat_session_inbound(context, scope, packet, info, outcome);
}

/* Under the stripe. The first has been translated, or could not be. */
static void first_done(const struct nat_context *context, struct datagram *datagram,
                       const struct packet *packet, const struct frame_info *info, enum dp_drop drop,
                       const struct nat_outcome *outcome)
{
    struct nat *nat = context->nat;
    struct tuple tuple;
    if (drop != DP_DROP_COUNT) {
        datagram->state = DATAGRAM_SPOILT;
        return;
    }
    tuple_addresses(&tuple, packet->data + info->l3_offset, info->flags & FRAME_F_IPV4);
    memcpy(datagram->address, datagram->key.outbound ? tuple.source : tuple.destination, 16);
    datagram->outcome = *outcome;
    datagram->state = DATAGRAM_KNOWN;
    if (datagram->tenant == NOBODY) {
        count_add(&nat->tenants[NOBODY].fragments, -1);
        datagram->tenant = context->config->interfaces[outcome->outside]->tenant;
        count_add(&nat->tenants[datagram->tenant].fragments, 1);
    }
    release(context, datagram);
}

/* A first fragment says whose its datagram is, so it is translated before it takes a place. */
static enum dp_drop fragment_first(const struct nat_context *context, const struct datagram_place *of,
                                   const struct place *place, struct packet *packet,
                                   const struct frame_info *info, struct nat_outcome *outcome)
{
    struct nat *nat = context->nat;
    uint32_t scope = of->key->scope;
    bool outbound = of->key->outbound;
    int unused;
    spin_lock(&of->stripe->lock);
    struct datagram *datagram = datagram_find(nat, of, context->now_s, &unused);
    bool known = datagram, legal = !datagram || datagram_takes(datagram, place);
    spin_unlock(&of->stripe->lock);
    if (!legal)
        return DP_DROP_NAT_FRAGMENT;

    enum dp_drop drop = translate_first(context, scope, outbound, packet, info, outcome);
    uint16_t tenant = outbound                ? context->config->interfaces[scope]->tenant
                      : drop == DP_DROP_COUNT ? context->config->interfaces[outcome->outside]->tenant
                                              : NOBODY;
    spin_lock(&of->stripe->lock);
    datagram = datagram_get(nat, of, tenant, context->now_s);
    if (datagram && !known)
        legal = datagram_takes(datagram, place);
    if (datagram && legal) {
        first_done(context, datagram, packet, info, drop, outcome);
        datagram_end(nat, of->stripe, datagram);
    }
    spin_unlock(&of->stripe->lock);
    return drop == DP_DROP_COUNT && (!datagram || !legal) ? DP_DROP_NAT_FRAGMENT : drop;
}

enum dp_drop nat_fragment(const struct nat_context *context, uint32_t scope, bool outbound,
                          struct packet *packet, const struct frame_info *info, struct nat_outcome *outcome,
                          bool *held)
{
    struct nat *nat = context->nat;
    struct datagram_key key;
    struct place place;
    if (!nat->fragments || !fragment_read(packet, info, scope, outbound, &key, &place))
        return DP_DROP_NAT_FRAGMENT;
    if (place.start == 0 && !place.more) /* an atomic fragment, RFC 6946: a whole datagram */
        return translate_first(context, scope, outbound, packet, info, outcome);

    struct nat_key hashed = {{key.source[0], key.source[1]},
                             {key.destination[0], key.destination[1]},
                             key.identification | (uint64_t)key.scope << 32 | (uint64_t)key.protocol << 48 |
                                 (uint64_t)outbound << 56};
    uint64_t hash = nat_hash(nat, &hashed);
    struct datagram_place of = {.stripe = &nat->fragments->stripes[hash >> 32 & (STRIPES - 1)],
                                .tag = (uint32_t)hash | 1,
                                .key = &key};
    if (place.start == 0)
        return fragment_first(context, &of, &place, packet, info, outcome);

    uint16_t tenant = outbound ? context->config->interfaces[scope]->tenant : NOBODY;
    enum dp_drop drop = DP_DROP_NAT_FRAGMENT;
    spin_lock(&of.stripe->lock);
    struct datagram *datagram = datagram_get(nat, &of, tenant, context->now_s);
    if (datagram && datagram_takes(datagram, &place)) {
        drop = fragment_later(context, datagram, packet, info, outcome, held);
        datagram_end(nat, of.stripe, datagram);
    }
    spin_unlock(&of.stripe->lock);
    return drop;
}
