/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The object store: what the programming socket configured, one table a kind, and transactions on it.
 *
 * A version of the store (struct objects) is a set of tables. Versions share the tables in which they do not
 * differ; a table that is shared is never written, so a dump that holds a reference to one reads a consistent
 * state however many commits happen meanwhile.
 *
 * Threads: control. Errors: 0 or -errno with a sentence in text (OBJECT_TEXT_SIZE bytes).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dataplane_api.h"
#include "kinds.h"

#define OBJECT_TEXT_SIZE sizeof(((struct dp_reply *)0)->text)

/* Says in `text` why something is refused. Returns `status`. */
int object_refuse(char *text, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Most objects of a kind that has no smaller limit by its ids. */
#define OBJECT_COUNT_MAX (1u << 20)

struct table;
struct objects;

struct objects *objects_new(void);                            /* empty; NULL and ENOMEM */
struct objects *objects_clone(const struct objects *objects); /* O(kinds); NULL and ENOMEM */
void objects_free(struct objects *objects);                   /* NULL: nothing */

/* Checks the object itself (object_check) and adds it, or replaces the one with the same key. */
int objects_put(struct objects *objects, enum dp_kind kind, const void *object, char *text);
int objects_del(struct objects *objects, enum dp_kind kind, const void *object, char *text); /* -ENOENT */

const void *objects_find(const struct objects *objects, enum dp_kind kind, const void *key); /* NULL: none */
size_t objects_count(const struct objects *objects, enum dp_kind kind);
/* index < objects_count; order is arbitrary. */
const void *objects_at(const struct objects *objects, enum dp_kind kind, size_t index);
const struct dp_port *objects_port(const struct objects *objects, uint32_t id);
const struct dp_segment *objects_segment(const struct objects *objects, uint32_t id);

/* One kind's table of a version, for a reader that outlives the version. */
struct table *objects_table(const struct objects *objects, enum dp_kind kind); /* takes a reference */
void table_release(struct table *table);                                       /* NULL: nothing */
size_t table_count(const struct table *table);
const void *table_at(const struct table *table, size_t index);

/* One object by itself: ids in range, names valid, padding zero, strings NUL-padded, values that exist. */
int object_check(enum dp_kind kind, const void *object, char *text);
/* The whole: nothing dangles, tenants match, no device and no segment twice. */
int objects_check(const struct objects *objects, char *text);
/* "port acme/vm1", "member of port 3, vid 12": for texts and logs. */
void object_describe(const struct objects *objects, enum dp_kind kind, const void *object, char *text,
                     size_t size);

/* A change that is being prepared: a version of the store, and descriptors that came with ports. */
struct transaction;
struct transaction *transaction_new(const struct objects *base); /* NULL and ENOMEM */
/* Closes the descriptors that nobody took. The objects go too, but for what transaction_take_objects took. */
void transaction_free(struct transaction *transaction);
/* As objects_put. The descriptors become the transaction's in any case. */
int transaction_put(struct transaction *transaction, enum dp_kind kind, const void *object, const int *fds,
                    unsigned fd_count, char *text);
int transaction_del(struct transaction *transaction, enum dp_kind kind, const void *object, char *text);
const struct objects *transaction_objects(const struct transaction *transaction);
struct objects *transaction_take_objects(struct transaction *transaction);
/* Descriptors put with the port; they become the caller's if `take`. Returns how many. */
bool transaction_has_fds(const struct transaction *transaction, uint32_t port);
unsigned transaction_take_fds(struct transaction *transaction, uint32_t port, int fds[DP_PORT_FDS_MAX]);
