/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Who uses how much of a room that packets of many sources share: a source is a port of a tenant. Theory of
 * operation in neighbour_quota.c.
 *
 * Threads: control.
 */
#include <stdint.h>

struct quota_tenant;
struct quota_user;

struct quota {
    uint64_t room, used;
    struct quota_tenant *tenants;
};

/* What takes room: part of what it is about. All zero: takes none. */
struct quota_item {
    struct quota_user *user; /* who pays */
    struct quota_item *older, *newer;
    uint32_t cost;
};

struct quota_source {
    uint32_t tenant; /* 0: none */
    uint32_t port;   /* of the tenant's; 0: not known */
};

/* The item takes room, whether there is any or not. 0 or -ENOMEM */
int quota_charge(struct quota *quota, struct quota_source source, struct quota_item *item, uint32_t cost);
/* Gives the room back; nothing if it takes none. */
void quota_release(struct quota *quota, struct quota_item *item);
/* The oldest item of whoever has to give way to something of that source; NULL: nobody has more than it. */
struct quota_item *quota_claim(const struct quota *quota, struct quota_source source, uint32_t cost);
