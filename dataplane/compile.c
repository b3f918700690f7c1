/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compiler: everything that the configuration decides is decided here, once a commit, so that workers
 * follow pointers only. Cost is that of sorting the members; nothing is quadratic.
 *
 * Isolation, first check: a member whose port is of another tenant than its segment gets no output and no way
 * in. The store refuses such a configuration already (objects_check), and workers compare tenants again on
 * output.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "compile.h"
#include "nat.h"
#include "router.h"
#include "storm.h"

#define VID_COUNT 4096u

struct members {
    const struct dp_member **sorted; /* by segment, then port */
    size_t count;
};

static int compare_members(const void *a, const void *b)
{
    const struct dp_member *const *x = a, *const *y = b;
    if ((*x)->segment != (*y)->segment)
        return (*x)->segment < (*y)->segment ? -1 : 1;
    return (*x)->port < (*y)->port ? -1 : (*x)->port > (*y)->port;
}

/* Members whose port is open. */
static int sort_members(struct members *members, const struct objects *objects,
                        const struct compile_port *ports)
{
    size_t count = objects_count(objects, DP_KIND_MEMBER);
    members->sorted = calloc(count ? count : 1, sizeof(struct dp_member *));
    if (!members->sorted)
        return -ENOMEM;
    members->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct dp_member *member = objects_at(objects, DP_KIND_MEMBER, i);
        if (ports[member->port].port)
            members->sorted[members->count++] = member;
    }
    qsort(members->sorted, members->count, sizeof(struct dp_member *), compare_members);
    return 0;
}

static int compile_bridges(struct snapshot *snapshot, const struct objects *objects)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_SEGMENT); i++) {
        const struct dp_segment *segment = objects_at(objects, DP_KIND_SEGMENT, i);
        struct bridge *bridge = calloc(1, sizeof(*bridge));
        if (!bridge)
            return -ENOMEM;
        bridge->id = segment->id;
        bridge->tenant = segment->tenant;
        bridge->mac_limit = segment->mac_limit;
        snapshot->bridges[segment->id] = bridge;
    }
    return 0;
}

static int compile_ingress(struct snapshot *snapshot, const struct objects *objects,
                           const struct compile_port *ports)
{
    for (size_t i = 0; i < objects_count(objects, DP_KIND_PORT); i++) {
        const struct dp_port *config = objects_at(objects, DP_KIND_PORT, i);
        if (!ports[config->id].port)
            continue;
        struct ingress *ingress = calloc(1, sizeof(*ingress));
        if (!ingress)
            return -ENOMEM;
        ingress->port = ports[config->id].port;
        ingress->id = config->id;
        ingress->tenant = config->tenant;
        ingress->flags = config->flags;
        ingress->mac_limit = config->mac_limit;
        ingress->storm_interval = storm_interval(config->storm_pps);
        snapshot->ingress[config->id] = ingress;
    }
    return 0;
}

static int enter_segment(struct ingress *ingress, struct bridge *bridge, uint32_t vid)
{
    if (vid == DP_MEMBER_UNTAGGED) {
        ingress->native = bridge;
        return 0;
    }
    if (!ingress->by_vid) {
        ingress->by_vid = calloc(VID_COUNT, sizeof(struct bridge *));
        if (!ingress->by_vid)
            return -ENOMEM;
    }
    ingress->by_vid[vid] = bridge;
    return 0;
}

/* The members of one segment: sorted[0..count). */
static int compile_segment(struct snapshot *snapshot, const struct dp_member **sorted, size_t count)
{
    struct bridge *bridge = snapshot->bridges[sorted[0]->segment];
    bridge->outputs = calloc(count, sizeof(*bridge->outputs));
    if (!bridge->outputs)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct ingress *ingress = snapshot->ingress[sorted[i]->port];
        if (ingress->tenant != 0 && ingress->tenant != bridge->tenant)
            continue;
        if (enter_segment(ingress, bridge, sorted[i]->vid))
            return -ENOMEM;
        bridge->outputs[bridge->output_count++] =
            (struct output){.to = ingress, .vid = (uint16_t)sorted[i]->vid};
    }
    return 0;
}

static int compile_members(struct snapshot *snapshot, const struct members *members)
{
    for (size_t first = 0, next; first < members->count; first = next) {
        for (next = first + 1; next < members->count; next++)
            if (members->sorted[next]->segment != members->sorted[first]->segment)
                break;
        if (compile_segment(snapshot, members->sorted + first, next - first))
            return -ENOMEM;
    }
    /* Native VLANs that are taken with their tag as well; a member of that very VLAN comes first. */
    for (size_t i = 0; i < members->count; i++) {
        const struct dp_member *member = members->sorted[i];
        struct ingress *ingress = snapshot->ingress[member->port];
        if (member->tagged_vid && ingress->native &&
            !(ingress->by_vid && ingress->by_vid[member->tagged_vid]) &&
            enter_segment(ingress, ingress->native, member->tagged_vid))
            return -ENOMEM;
    }
    return 0;
}

static int compare_allowed(const void *a, const void *b)
{
    const struct dp_allowed *x = a, *y = b;
    return x->port < y->port ? -1 : x->port > y->port;
}

/* The spoof table of each port that checks sources; also of one that has no address allowed. */
static int compile_spoof(struct snapshot *snapshot, const struct objects *objects)
{
    size_t count = objects_count(objects, DP_KIND_ALLOWED);
    struct dp_allowed *sorted = calloc(count ? count : 1, sizeof(*sorted));
    int error = sorted ? 0 : -ENOMEM;
    for (size_t i = 0; i < count && !error; i++)
        sorted[i] = *(const struct dp_allowed *)objects_at(objects, DP_KIND_ALLOWED, i);
    if (!error)
        qsort(sorted, count, sizeof(*sorted), compare_allowed);
    size_t first = 0;
    for (uint32_t id = 1; id < DP_PORTS_MAX && !error; id++) {
        size_t next = first;
        while (next < count && sorted[next].port == id)
            next++;
        struct ingress *ingress = snapshot->ingress[id];
        if (ingress && ingress->flags & (DP_PORT_F_SPOOF_MAC | DP_PORT_F_SPOOF_IP)) {
            ingress->spoof = spoof_table_new(ingress->flags, sorted + first, (unsigned)(next - first));
            error = ingress->spoof ? 0 : -ENOMEM;
        }
        first = next;
    }
    free(sorted);
    return error;
}

/* Receive queues that are polled: a router port has none. */
static unsigned polled(const struct snapshot *snapshot, const struct compile_port *ports, uint32_t id)
{
    const struct port *port = ports[id].port;
    return snapshot->ingress[id] && port->config.type != DP_PORT_ROUTER ? port->config.queues : 0;
}

static int compile_polls(struct snapshot *snapshot, const struct compile_port *ports)
{
    unsigned counts[DP_WORKERS_MAX] = {0};
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++)
        for (unsigned queue = 0; queue < polled(snapshot, ports, id); queue++)
            counts[ports[id].workers[queue]]++;
    for (unsigned worker = 0; worker < DP_WORKERS_MAX; worker++) {
        if (counts[worker] == 0)
            continue;
        snapshot->polls[worker] = calloc(counts[worker], sizeof(struct poll_queue));
        if (!snapshot->polls[worker])
            return -ENOMEM;
    }
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++) {
        for (unsigned queue = 0; queue < polled(snapshot, ports, id); queue++) {
            unsigned worker = ports[id].workers[queue];
            snapshot->polls[worker][snapshot->poll_count[worker]++] =
                (struct poll_queue){.ingress = snapshot->ingress[id], .queue = queue};
        }
    }
    return 0;
}

struct snapshot *compile(const struct objects *objects, struct fdb *fdb, struct nat *nat,
                         const struct compile_port *ports)
{
    static uint64_t serial;
    struct members members;
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (!snapshot)
        return NULL;
    snapshot->serial = ++serial;
    snapshot->fdb = fdb;
    snapshot->nat = nat;
    int error = sort_members(&members, objects, ports);
    if (!error)
        error = compile_bridges(snapshot, objects);
    if (!error)
        error = compile_ingress(snapshot, objects, ports);
    if (!error)
        error = compile_members(snapshot, &members);
    if (!error)
        error = compile_spoof(snapshot, objects);
    if (!error)
        error = compile_polls(snapshot, ports);
    if (!error)
        error = compile_routers(snapshot, objects);
    if (!error && nat) {
        snapshot->nat_config = nat_config_new(nat, objects);
        error = snapshot->nat_config ? 0 : -ENOMEM;
    }
    free(members.sorted);
    if (error) {
        snapshot_free(snapshot);
        errno = -error;
        return NULL;
    }
    return snapshot;
}

void snapshot_free(struct snapshot *snapshot)
{
    if (!snapshot)
        return;
    for (unsigned worker = 0; worker < DP_WORKERS_MAX; worker++)
        free(snapshot->polls[worker]);
    for (unsigned id = 0; id < DP_PORTS_MAX; id++) {
        if (!snapshot->ingress[id])
            continue;
        free(snapshot->ingress[id]->by_vid);
        if (snapshot->ingress[id]->spoof)
            spoof_table_free(snapshot->ingress[id]->spoof);
        free(snapshot->ingress[id]);
    }
    for (unsigned id = 0; id < DP_SEGMENTS_MAX; id++) {
        if (!snapshot->bridges[id])
            continue;
        free(snapshot->bridges[id]->outputs);
        free(snapshot->bridges[id]);
    }
    nat_config_free(snapshot->nat_config);
    routers_free(snapshot);
    free(snapshot);
}

const struct output *snapshot_output(const struct snapshot *snapshot, uint32_t segment, uint32_t port)
{
    const struct bridge *bridge = snapshot->bridges[segment];
    unsigned low = 0, high = bridge ? bridge->output_count : 0;
    while (low < high) { /* outputs are sorted by port */
        unsigned middle = (low + high) / 2;
        if (bridge->outputs[middle].to->id < port)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = bridge && low < bridge->output_count && bridge->outputs[low].to->id == port;
    return found ? &bridge->outputs[low] : NULL;
}
