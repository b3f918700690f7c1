/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The dataplane's objects that a model means, and sets of such objects.
 *
 * Threads: weftd has one.
 */
#include <stddef.h>
#include <stdint.h>
#include "kinds.h"
#include "model.h"

#define OBJECT_KINDS (DP_KIND_LAST_CONFIGURED + 1)

struct object_list {
    void *items; /* sorted by key */
    size_t count;
    size_t room;
};

struct object_set {
    struct object_list lists[OBJECT_KINDS]; /* by enum dp_kind */
};

void object_set_add(struct object_set *set, enum dp_kind kind, const void *object);
void object_set_sort(struct object_set *set);
void object_set_clear(struct object_set *set);
int object_compare(enum dp_kind kind, const void *a, const void *b); /* keys, as memcmp does */

/* Of all objects but the first kind (dp_global): tells one set from another. */
uint64_t object_set_hash(const struct object_set *set);

/* `socket_group`: group of vhost-user sockets, UINT32_MAX: unchanged. The result is sorted. */
void compile_model(const struct model *model, uint64_t generation, uint32_t socket_group,
                   struct object_set *set);
