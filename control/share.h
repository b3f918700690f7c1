/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Fair parts of a table that many guests use: as long as there is room, whoever wants it takes it; in a full
 * one something of whoever has the most gives way, first among tenants, then among the guests of the tenant.
 * So a tenant with many guests takes nothing from another tenant's part, and a guest nothing from another's.
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <stdint.h>

#define SHARE_ENTRIES_MAX 512u

/* Whose an entry of the table is. */
struct share_owner {
    uint32_t tenant;
    uint32_t port; /* the guest's; 0: not known */
};

/* Who gives way to one more of `own` in a full table, whose entries are `owners`. False: nobody. */
bool share_claim(const struct share_owner *owners, unsigned count, const struct share_owner *own,
                 struct share_owner *loser);
