/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A table keeps its objects in a dense array (which is what dumps and the compiler walk) and finds them
 * through an open-addressing index of array positions, linear probing, at most half full. Removal moves the
 * last object into the hole and repairs the index by backward shifting, so there are no tombstones.
 *
 * Tables are counted references. objects_clone() shares all of them; the first put or delete through a
 * version whose table is shared copies that table. A commit is therefore: clone, change, check, replace the
 * pointer; an abort: free.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "objects.h"

#define SLOT_EMPTY      UINT32_MAX
#define ROUTES_MAX      (1u << 16)
#define NEIGHBOURS_MAX  (1u << 17)
#define NAT_OBJECTS_MAX (1u << 16)

struct table {
    unsigned references;
    uint32_t object_size, key_size;
    uint32_t count, capacity; /* objects */
    uint32_t mask;            /* index slots - 1 */
    uint8_t *objects;
    uint32_t *slots;
};

struct objects {
    struct table *tables[DP_KIND_LAST_CONFIGURED + 1];
};

static const uint32_t count_max[DP_KIND_LAST_CONFIGURED + 1] = {
    [DP_KIND_GLOBAL] = 1,
    [DP_KIND_SEGMENT] = DP_SEGMENTS_MAX,
    [DP_KIND_PORT] = DP_PORTS_MAX,
    [DP_KIND_MEMBER] = OBJECT_COUNT_MAX,
    [DP_KIND_STATIC] = OBJECT_COUNT_MAX,
    [DP_KIND_ALLOWED] = OBJECT_COUNT_MAX,
    [DP_KIND_ROUTER] = DP_SEGMENTS_MAX,
    [DP_KIND_INTERFACE] = DP_PORTS_MAX,
    [DP_KIND_ROUTE] = ROUTES_MAX,
    [DP_KIND_NEIGHBOUR] = NEIGHBOURS_MAX,
    [DP_KIND_NAT_ADDRESS] = NAT_OBJECTS_MAX,
    [DP_KIND_NAT_SOURCE] = NAT_OBJECTS_MAX,
    [DP_KIND_NAT_ONE_TO_ONE] = NAT_OBJECTS_MAX,
    [DP_KIND_NAT_FORWARD] = NAT_OBJECTS_MAX,
};

static void *table_object(const struct table *table, uint32_t position)
{
    return table->objects + (size_t)position * table->object_size;
}

/* Keys come from the controller, which is trusted: no seed needed. */
static uint32_t key_hash(const struct table *table, const void *key)
{
    const uint8_t *bytes = key;
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < table->key_size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    hash ^= hash >> 32;
    return (uint32_t)(hash * 0x9e3779b1u >> 7);
}

/* The slot that holds the key's object, or the empty one where it would go. */
static uint32_t find_slot(const struct table *table, const void *key)
{
    uint32_t slot = key_hash(table, key) & table->mask;
    while (table->slots[slot] != SLOT_EMPTY &&
           memcmp(table_object(table, table->slots[slot]), key, table->key_size) != 0)
        slot = (slot + 1) & table->mask;
    return slot;
}

static struct table *table_new(enum dp_kind kind, uint32_t capacity)
{
    struct table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    table->references = 1;
    table->object_size = (uint32_t)dp_object_size(kind);
    table->key_size = (uint32_t)dp_key_size(kind);
    table->capacity = capacity;
    table->mask = capacity * 2 - 1;
    table->objects = reallocarray(NULL, capacity, table->object_size);
    table->slots = reallocarray(NULL, (size_t)table->mask + 1, sizeof(*table->slots));
    if (!table->objects || !table->slots) {
        table_release(table);
        return NULL;
    }
    memset(table->slots, 0xff, ((size_t)table->mask + 1) * sizeof(*table->slots));
    return table;
}

/* Room for `capacity` objects, a power of two >= count. */
static struct table *table_copy(const struct table *table, enum dp_kind kind, uint32_t capacity)
{
    struct table *copy = table_new(kind, capacity);
    if (!copy)
        return NULL;
    copy->count = table->count;
    memcpy(copy->objects, table->objects, (size_t)table->count * table->object_size);
    if (capacity == table->capacity) {
        memcpy(copy->slots, table->slots, ((size_t)table->mask + 1) * sizeof(*table->slots));
        return copy;
    }
    for (uint32_t i = 0; i < copy->count; i++)
        copy->slots[find_slot(copy, table_object(copy, i))] = i;
    return copy;
}

void table_release(struct table *table)
{
    if (!table || --table->references > 0)
        return;
    free(table->objects);
    free(table->slots);
    free(table);
}

size_t table_count(const struct table *table)
{
    return table->count;
}

const void *table_at(const struct table *table, size_t index)
{
    return table_object(table, (uint32_t)index);
}

static void table_remove(struct table *table, uint32_t slot)
{
    uint32_t position = table->slots[slot], last = --table->count;
    if (position != last) {
        table->slots[find_slot(table, table_object(table, last))] = position;
        memcpy(table_object(table, position), table_object(table, last), table->object_size);
    }
    /* Close the gap: an object further on in the run moves here if its probe sequence passes this slot. */
    for (uint32_t next = (slot + 1) & table->mask; table->slots[next] != SLOT_EMPTY;
         next = (next + 1) & table->mask) {
        uint32_t home = key_hash(table, table_object(table, table->slots[next])) & table->mask;
        if (((next - home) & table->mask) >= ((next - slot) & table->mask)) {
            table->slots[slot] = table->slots[next];
            slot = next;
        }
    }
    table->slots[slot] = SLOT_EMPTY;
}

struct objects *objects_new(void)
{
    struct objects *objects = calloc(1, sizeof(*objects));
    if (!objects)
        return NULL;
    for (unsigned kind = 1; kind <= DP_KIND_LAST_CONFIGURED; kind++) {
        objects->tables[kind] = table_new((enum dp_kind)kind, 8);
        if (!objects->tables[kind]) {
            objects_free(objects);
            errno = ENOMEM;
            return NULL;
        }
    }
    return objects;
}

struct objects *objects_clone(const struct objects *objects)
{
    struct objects *copy = calloc(1, sizeof(*copy));
    if (!copy)
        return NULL;
    for (unsigned kind = 1; kind <= DP_KIND_LAST_CONFIGURED; kind++)
        copy->tables[kind] = objects_table(objects, (enum dp_kind)kind);
    return copy;
}

void objects_free(struct objects *objects)
{
    if (!objects)
        return;
    for (unsigned kind = 1; kind <= DP_KIND_LAST_CONFIGURED; kind++)
        table_release(objects->tables[kind]);
    free(objects);
}

/* The kind's table, for writing, with room for one more object. NULL: no memory. */
static struct table *writable(struct objects *objects, enum dp_kind kind)
{
    struct table *table = objects->tables[kind];
    bool full = table->count == table->capacity;
    if (table->references == 1 && !full)
        return table;
    struct table *copy = table_copy(table, kind, full ? table->capacity * 2 : table->capacity);
    if (copy) {
        table_release(table);
        objects->tables[kind] = copy;
    }
    return copy;
}

int objects_put(struct objects *objects, enum dp_kind kind, const void *object, char *text)
{
    int error = object_check(kind, object, text);
    if (error)
        return error;
    struct table *table = writable(objects, kind);
    if (!table) {
        snprintf(text, OBJECT_TEXT_SIZE, "no memory for another %s", dp_kind_name(kind));
        return -ENOMEM;
    }
    uint32_t slot = find_slot(table, object);
    if (table->slots[slot] == SLOT_EMPTY) {
        if (table->count >= count_max[kind]) {
            snprintf(text, OBJECT_TEXT_SIZE, "more than %u objects of kind %s", count_max[kind],
                     dp_kind_name(kind));
            return -ENOSPC;
        }
        table->slots[slot] = table->count++;
    }
    memcpy(table_object(table, table->slots[slot]), object, table->object_size);
    return 0;
}

int objects_del(struct objects *objects, enum dp_kind kind, const void *object, char *text)
{
    if (!objects_find(objects, kind, object)) {
        char name[80];
        object_describe(objects, kind, object, name, sizeof(name));
        snprintf(text, OBJECT_TEXT_SIZE, "%s does not exist", name);
        return -ENOENT;
    }
    struct table *table = writable(objects, kind);
    if (!table) {
        snprintf(text, OBJECT_TEXT_SIZE, "no memory to remove a %s", dp_kind_name(kind));
        return -ENOMEM;
    }
    table_remove(table, find_slot(table, object));
    return 0;
}

const void *objects_find(const struct objects *objects, enum dp_kind kind, const void *key)
{
    const struct table *table = objects->tables[kind];
    uint32_t position = table->slots[find_slot(table, key)];
    return position == SLOT_EMPTY ? NULL : table_object(table, position);
}

size_t objects_count(const struct objects *objects, enum dp_kind kind)
{
    return objects->tables[kind]->count;
}

const void *objects_at(const struct objects *objects, enum dp_kind kind, size_t index)
{
    return table_at(objects->tables[kind], index);
}

const struct dp_port *objects_port(const struct objects *objects, uint32_t id)
{
    return objects_find(objects, DP_KIND_PORT, &id);
}

const struct dp_segment *objects_segment(const struct objects *objects, uint32_t id)
{
    return objects_find(objects, DP_KIND_SEGMENT, &id);
}

struct table *objects_table(const struct objects *objects, enum dp_kind kind)
{
    objects->tables[kind]->references++;
    return objects->tables[kind];
}
