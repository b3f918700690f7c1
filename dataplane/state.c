/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "api_session.h"
#include "counters.h"
#include "fdb.h"
#include "nat.h"
#include "neighbour.h"
#include "state.h"
#include "worker.h"

/* Fills one object; false: there is none at this cursor. */
typedef bool read_one(const struct configuration *configuration, uint64_t cursor, void *object);

static bool read_port_state(const struct configuration *configuration, uint64_t cursor, void *object)
{
    uint32_t id = (uint32_t)cursor;
    struct dp_port_state *state = object;
    struct port *port = ports_get(configuration->ports, id);
    memset(state, 0, sizeof(*state));
    if (port)
        port->ops->state(port, state);
    else if (objects_port(configuration->objects, id))
        snprintf(state->last_error, sizeof(state->last_error), "not open: %s",
                 ports_error(configuration->ports, id));
    else
        return false;
    state->id = id;
    state->learned = fdb_port_count(configuration->fdb, id);
    return true;
}

static bool read_port_counters(const struct configuration *configuration, uint64_t cursor, void *object)
{
    const struct port *port = ports_get(configuration->ports, (uint32_t)cursor);
    if (!port)
        return false;
    counters_port(port, object);
    ((struct dp_port_counters *)object)->id = (uint32_t)cursor;
    return true;
}

static bool read_queue_state(const struct configuration *configuration, uint64_t cursor, void *object)
{
    uint32_t id = (uint32_t)(cursor / DP_QUEUES_MAX), queue = (uint32_t)(cursor % DP_QUEUES_MAX);
    struct port *port = ports_get(configuration->ports, id);
    struct dp_queue_state *state = object;
    if (!port || queue >= port->config.queues)
        return false;
    memset(state, 0, sizeof(*state));
    port->ops->queue_state(port, queue, state);
    counters_queue(port, queue, state);
    state->port = id;
    state->queue = queue;
    state->worker = ports_view(configuration->ports)[id].workers[queue];
    return true;
}

static bool read_worker_state(const struct configuration *configuration, uint64_t cursor, void *object)
{
    memset(object, 0, sizeof(struct dp_worker_state));
    return workers_state((unsigned)cursor, object);
}

/* Cursors 0 to limit - 1, one object each at most. */
static size_t read_range(const struct configuration *configuration, read_one *read, size_t size,
                         uint64_t limit, uint64_t *cursor, uint8_t *objects, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && *cursor < limit)
        if (read(configuration, (*cursor)++, objects + count * size))
            count++;
    if (*cursor >= limit)
        *cursor = API_CURSOR_END;
    return count;
}

static size_t read_fdb(const struct configuration *configuration, uint64_t *cursor,
                       struct dp_fdb_entry *entries, size_t capacity)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned count = fdb_walk(configuration->fdb, cursor, (uint32_t)now.tv_sec, entries, (unsigned)capacity);
    if (count == 0)
        *cursor = API_CURSOR_END;
    return count;
}

static bool read_router_state(const struct configuration *configuration, uint64_t cursor, void *object)
{
    if (cursor >= objects_count(configuration->objects, DP_KIND_ROUTER))
        return false;
    const struct dp_router *router = objects_at(configuration->objects, DP_KIND_ROUTER, cursor);
    memset(object, 0, sizeof(struct dp_router_state));
    nat_router_state(configuration->nat, router->id, object);
    ((struct dp_router_state *)object)->id = router->id;
    return true;
}

static bool read_nat_address_state(const struct configuration *configuration, uint64_t cursor, void *object)
{
    if (cursor >= objects_count(configuration->objects, DP_KIND_NAT_ADDRESS))
        return false;
    struct dp_nat_address_state *state = object;
    const struct dp_nat_address *address = objects_at(configuration->objects, DP_KIND_NAT_ADDRESS, cursor);
    memset(state, 0, sizeof(*state));
    nat_address_state(configuration->nat, address, state);
    state->port = address->port;
    memcpy(state->address, address->address, sizeof(state->address));
    return true;
}

static size_t read_sessions(const struct configuration *configuration, uint64_t *cursor,
                            struct dp_session *sessions, size_t capacity)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned count =
        nat_sessions(configuration->nat, cursor, (uint32_t)now.tv_sec, sessions, (unsigned)capacity);
    if (count == 0)
        *cursor = API_CURSOR_END;
    return count;
}

static size_t read_neighbours(uint64_t *cursor, struct dp_neighbour_state *states, size_t capacity)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return neighbours_read(cursor, (uint32_t)now.tv_sec, states, capacity);
}

size_t state_read(const struct configuration *configuration, enum dp_kind kind, uint64_t *cursor,
                  void *objects, size_t capacity)
{
    size_t size = dp_object_size(kind);
    switch (kind) {
    case DP_KIND_PORT_STATE:
        return read_range(configuration, read_port_state, size, DP_PORTS_MAX, cursor, objects, capacity);
    case DP_KIND_PORT_COUNTERS:
        return read_range(configuration, read_port_counters, size, DP_PORTS_MAX, cursor, objects, capacity);
    case DP_KIND_QUEUE_STATE:
        return read_range(configuration, read_queue_state, size, (uint64_t)DP_PORTS_MAX * DP_QUEUES_MAX,
                          cursor, objects, capacity);
    case DP_KIND_WORKER_STATE:
        return read_range(configuration, read_worker_state, size, workers_count(), cursor, objects, capacity);
    case DP_KIND_FDB_ENTRY:
        return read_fdb(configuration, cursor, objects, capacity);
    case DP_KIND_ROUTER_STATE:
        return read_range(configuration, read_router_state, size,
                          objects_count(configuration->objects, DP_KIND_ROUTER), cursor, objects, capacity);
    case DP_KIND_NAT_ADDRESS_STATE:
        return read_range(configuration, read_nat_address_state, size,
                          objects_count(configuration->objects, DP_KIND_NAT_ADDRESS), cursor, objects,
                          capacity);
    case DP_KIND_SESSION:
        return read_sessions(configuration, cursor, objects, capacity);
    case DP_KIND_NEIGHBOUR_STATE:
        return read_neighbours(cursor, objects, capacity);
    default:
        *cursor = API_CURSOR_END;
        return 0;
    }
}
