/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which of an interface's outside addresses a guest has: always the same one (RFC 4787 REQ-2, "paired").
 *
 * Theory of operation. A table of 1024 slots or more is made with the configuration; a keyed hash of the
 * guest's address says which slot is its own. It is filled as Eisenbud et al. do it ("Maglev", NSDI 2016,
 * 3.4): each address has an order of its own of all slots, and in turn each takes the next one in its order
 * that nobody has. So all have as many slots, but for one, and when an address is added or removed few guests
 * get another one.
 *
 * Threads: control makes tables, workers read them.
 */
#include "nat_private.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS_MIN  1024u
#define SLOTS_EACH 4u

#define UNUSED UINT16_MAX

static void fill(const struct nat *nat, const struct nat_pool *pools, unsigned count, uint16_t *slots,
                 uint32_t mask, uint32_t *taken)
{
    memset(slots, 0xff, (mask + 1u) * sizeof(*slots));
    for (uint32_t left = mask + 1; left;) {
        for (unsigned i = 0; i < count && left; i++) {
            const uint64_t *address = pools[i].address->address;
            uint64_t order = fold_multiply(address[0] ^ nat->seed[2], address[1] ^ nat->seed[3]);
            uint32_t start = (uint32_t)order, step = (uint32_t)(order >> 32) | 1; /* odd: comes by all */
            while (slots[(start + taken[i] * step) & mask] != UNUSED)
                taken[i]++;
            slots[(start + taken[i]++ * step) & mask] = (uint16_t)i;
            left--;
        }
    }
}

int nat_pool_table(const struct nat *nat, struct nat_interface *interface, unsigned family)
{
    unsigned count = interface->pool_count[family];
    uint32_t size = SLOTS_MIN;
    if (count < 2)
        return 0;
    while (size < count * SLOTS_EACH)
        size *= 2;
    uint32_t *taken = calloc(count, sizeof(*taken));
    interface->pool_slots[family] = calloc(size, sizeof(uint16_t));
    interface->pool_mask[family] = size - 1;
    if (taken && interface->pool_slots[family])
        fill(nat, interface->pools[family], count, interface->pool_slots[family], size - 1, taken);
    free(taken);
    return taken && interface->pool_slots[family] ? 0 : -ENOMEM;
}

const struct nat_pool *nat_config_pool(const struct nat *nat, const struct nat_interface *interface,
                                       const uint64_t inside[2])
{
    unsigned family = !address_is_ipv4(inside);
    if (interface->pool_count[family] < 2)
        return interface->pools[family];
    uint64_t guest = fold_multiply(inside[0] ^ nat->seed[0], inside[1] ^ nat->seed[1]);
    return &interface->pools[family][interface->pool_slots[family][guest & interface->pool_mask[family]]];
}
