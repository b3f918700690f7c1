/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counted anew each time: only a full table asks, and it is small. Who gives way has at least two more than
 * who comes, so that two with equal parts do not take from each other for ever.
 */
#include "share.h"

#include <assert.h>
#include <stddef.h>

#define SLOTS (2 * SHARE_ENTRIES_MAX) /* half full at most */

struct count {
    uint32_t key, count; /* count 0: free */
};

static struct count *count_of(struct count *counts, uint32_t key)
{
    uint32_t slot = key * UINT32_C(0x9e3779b1) >> 16;
    while (counts[slot % SLOTS].count && counts[slot % SLOTS].key != key)
        slot++;
    counts[slot % SLOTS].key = key;
    return &counts[slot % SLOTS];
}

/* The tenant, or the port in the tenant `in`, with the most. False: none has two more than `own`. */
static bool most(const struct share_owner *owners, unsigned count, const uint32_t *in, uint32_t own,
                 uint32_t *found)
{
    struct count counts[SLOTS] = {0};
    const struct count *biggest = &counts[0];
    for (unsigned i = 0; i < count; i++) {
        if (in && owners[i].tenant != *in)
            continue;
        struct count *of = count_of(counts, in ? owners[i].port : owners[i].tenant);
        of->count++;
        if (of->count > biggest->count)
            biggest = of;
    }
    *found = biggest->key;
    return biggest->count > 0 && (own == UINT32_MAX || biggest->count > count_of(counts, own)->count + 1);
}

bool share_claim(const struct share_owner *owners, unsigned count, const struct share_owner *own,
                 struct share_owner *loser)
{
    assert(count <= SHARE_ENTRIES_MAX);
    if (most(owners, count, NULL, own->tenant, &loser->tenant) && loser->tenant != own->tenant)
        return most(owners, count, &loser->tenant, UINT32_MAX, &loser->port);
    loser->tenant = own->tenant;
    return most(owners, count, &own->tenant, own->port, &loser->port);
}
