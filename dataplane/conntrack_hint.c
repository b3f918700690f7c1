/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the new sessions of a batch will need, found out and fetched before the first of them is made.
 *
 * Theory of operation. A new session touches two buckets of the index beside the one its packet missed in, a
 * word of a port bitmap, its guest's entry and its own lines; most are cold. For a batch of packets that are
 * not known, the hashes are computed and the lines asked for in two steps, as the inbound entry's bucket
 * depends on the port, and that on the bitmap (mapping_foresee). conntrack_create, which comes by in the same
 * order as a rule, takes the hashes from here if the packet's key is the same. They are functions of keys and
 * nothing else: a hint can be useless, and never wrong.
 *
 * Threads: each worker has its own.
 */
#include "nat_private.h"

static bool key_equal(const struct nat_key *a, const struct nat_key *b)
{
    return !((a->a[0] ^ b->a[0]) | (a->a[1] ^ b->a[1]) | (a->b[0] ^ b->b[0]) | (a->b[1] ^ b->b[1]) |
             (a->meta ^ b->meta));
}

void conntrack_foresee(const struct nat_context *context, const struct session_request *request)
{
    const struct nat *nat = context->nat;
    struct hints *hints = &context->nat->wheels[context->worker].hints;
    uint16_t interface = (uint16_t)request->interface->port;
    const struct index_table *table = &index_tables(&nat->index)->current;
    if (hints->complete) {
        hints->count = hints->next = 0;
        hints->complete = false;
    }
    if (hints->count == HINTS_MAX)
        return;
    struct hint *hint = &hints->list[hints->count++];
    struct nat_key endpoint =
        key_endpoint(request->inside, request->inside_port, interface, request->protocol);
    hint->outbound = key_outbound(request->inside, request->inside_port, request->remote,
                                  request->remote_port, interface, request->protocol);
    hint->hashes[0] = request->hash;
    hint->hashes[2] = nat_hash(nat, &endpoint);
    hint->guest = guest_hash(nat, request->inside, interface);
    hint->pool = request->pool;
    hint->address = request->address->id;
    hint->port = request->translated_port;
    __builtin_prefetch(index_home(&index_tables(&nat->guest_index)->current, hint->guest), 1);
    if (!request->pool)
        return;
    __builtin_prefetch(index_home(table, hint->hashes[2]), 1);
    mapping_prefetch(context, request->pool, request->protocol, hint->hashes[2]);
}

void conntrack_foresee_ports(const struct nat_context *context)
{
    const struct nat *nat = context->nat;
    struct hints *hints = &context->nat->wheels[context->worker].hints;
    if (hints->complete)
        return;
    for (unsigned i = 0; i < hints->count; i++) {
        struct hint *hint = &hints->list[i];
        uint8_t protocol = key_protocol(&hint->outbound);
        if (hint->pool)
            hint->port = mapping_foresee(context, hint->pool, protocol, hint->hashes[2]);
        struct nat_key inbound = key_inbound(hint->address, hint->port, hint->outbound.b,
                                             key_second_port(&hint->outbound), protocol);
        hint->hashes[1] = nat_hash(nat, &inbound);
        __builtin_prefetch(index_home(&index_tables(&nat->index)->current, hint->hashes[1]), 1);
    }
    hints->complete = true;
}

const struct hint *conntrack_hint(struct hints *hints, const struct nat_key *outbound, uint64_t hash)
{
    for (unsigned i = hints->next; i < hints->count; i++)
        if (hints->list[i].hashes[0] == hash && key_equal(&hints->list[i].outbound, outbound)) {
            hints->next = i + 1;
            return hints->complete ? &hints->list[i] : NULL;
        }
    return NULL;
}
