/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Room is shared as by a switch that drops from its longest queue: as long as there is some, whoever wants
 * it takes it. Once it is used up, something of whoever has the most gives way, first among tenants, then
 * among the ports of the tenant. So each of n tenants that want room has an n-th of it, however much the
 * others ask for, however many ports they ask with, and whoever came first; a tenant's ports share the
 * tenant's part in the same way; and a tenant that is alone has it all. Who has the most itself is refused.
 *
 * What a source has is a list in the order it came. Tenants and ports are there while they have something, so
 * there are never more of them than items, and a search for one walks the list.
 */
#include "neighbour_quota.h"

#include <errno.h>
#include <stdlib.h>

struct quota_user {
    struct quota_user *next; /* of the tenant */
    struct quota_tenant *tenant;
    uint32_t port;
    uint64_t used;
    struct quota_item *oldest, *newest;
};

struct quota_tenant {
    struct quota_tenant *next;
    uint32_t id;
    uint64_t used;
    struct quota_user *users;
};

static struct quota_tenant *find_tenant(const struct quota *quota, uint32_t id)
{
    struct quota_tenant *tenant = quota->tenants;
    while (tenant && tenant->id != id)
        tenant = tenant->next;
    return tenant;
}

static struct quota_user *find_user(const struct quota_tenant *tenant, uint32_t port)
{
    struct quota_user *user = tenant ? tenant->users : NULL;
    while (user && user->port != port)
        user = user->next;
    return user;
}

static struct quota_user *user_of(struct quota *quota, struct quota_source source)
{
    struct quota_tenant *tenant = find_tenant(quota, source.tenant);
    struct quota_user *user = find_user(tenant, source.port);
    if (user || !(user = calloc(1, sizeof(*user))))
        return user;
    if (!tenant && !(tenant = calloc(1, sizeof(*tenant)))) {
        free(user);
        return NULL;
    }
    if (!tenant->users) {
        tenant->id = source.tenant;
        tenant->next = quota->tenants;
        quota->tenants = tenant;
    }
    user->port = source.port;
    user->tenant = tenant;
    user->next = tenant->users;
    tenant->users = user;
    return user;
}

static void user_free(struct quota *quota, struct quota_user *user)
{
    struct quota_tenant *tenant = user->tenant, **at = &quota->tenants;
    struct quota_user **link = &tenant->users;
    while (*link != user)
        link = &(*link)->next;
    *link = user->next;
    free(user);
    if (tenant->users)
        return;
    while (*at != tenant)
        at = &(*at)->next;
    *at = tenant->next;
    free(tenant);
}

int quota_charge(struct quota *quota, struct quota_source source, struct quota_item *item, uint32_t cost)
{
    struct quota_user *user = user_of(quota, source);
    if (!user)
        return -ENOMEM;
    *item = (struct quota_item){.user = user, .older = user->newest, .cost = cost};
    *(user->newest ? &user->newest->newer : &user->oldest) = item;
    user->newest = item;
    user->used += cost;
    user->tenant->used += cost;
    quota->used += cost;
    return 0;
}

void quota_release(struct quota *quota, struct quota_item *item)
{
    struct quota_user *user = item->user;
    if (!user)
        return;
    *(item->older ? &item->older->newer : &user->oldest) = item->newer;
    *(item->newer ? &item->newer->older : &user->newest) = item->older;
    user->used -= item->cost;
    user->tenant->used -= item->cost;
    quota->used -= item->cost;
    *item = (struct quota_item){0};
    if (!user->oldest)
        user_free(quota, user);
}

static const struct quota_user *biggest_user(const struct quota_tenant *tenant)
{
    const struct quota_user *biggest = tenant->users;
    for (const struct quota_user *user = biggest->next; user; user = user->next)
        if (user->used > biggest->used)
            biggest = user;
    return biggest;
}

struct quota_item *quota_claim(const struct quota *quota, struct quota_source source, uint32_t cost)
{
    const struct quota_tenant *own = find_tenant(quota, source.tenant), *biggest = quota->tenants;
    for (const struct quota_tenant *tenant = biggest; tenant; tenant = tenant->next)
        if (tenant->used > biggest->used)
            biggest = tenant;
    if (biggest && biggest != own && biggest->used > (own ? own->used : 0) + cost)
        return biggest_user(biggest)->oldest;
    if (!own)
        return NULL;
    const struct quota_user *self = find_user(own, source.port), *most = biggest_user(own);
    return most != self && most->used > (self ? self->used : 0) + cost ? most->oldest : NULL;
}
