/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A port here is a line in a short list: owner, segment by name, number. bench_compile()
 * adds them behind whatever the model compiled to, so every reconciliation keeps them and the first one after
 * their owner has gone removes them; a weftd that starts again knows of none and removes them as well. The
 * owner is the connection: the kernel closes it however the client ends.
 *
 * Numbers are taken from the top, where those of configured ports come last. Where both meet, the configured
 * port wins and the other gets a new number (a new port: the generator sees its connection end).
 *
 * Names have a dot, which no configured name may have, so none can be taken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

#define BENCH_PORTS_MAX 128u
#define BENCH_MTU       9216u

struct bench_port {
    const void *owner; /* NULL: free */
    uint32_t id;
    char segment[MODEL_FULL_NAME_SIZE];
    bool trunk; /* frames carry the segment's tag */
    char name[DP_NAME_SIZE];
    char socket[MODEL_SOCKET_SIZE];
};

struct bench {
    struct bench_port ports[BENCH_PORTS_MAX];
    unsigned opened; /* pairs so far: their names */
};

struct bench *bench_new(void)
{
    return calloc(1, sizeof(struct bench));
}

void bench_free(struct bench *bench)
{
    free(bench);
}

static bool id_taken(const struct object_set *set, uint32_t id)
{
    const struct object_list *list = &set->lists[DP_KIND_PORT];
    const struct dp_port *ports = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (ports[i].id == id)
            return true;
    }
    return false;
}

static bool id_ours(const struct bench *bench, const struct bench_port *except, uint32_t id)
{
    for (unsigned i = 0; i < BENCH_PORTS_MAX; i++) {
        if (bench->ports[i].owner && &bench->ports[i] != except && bench->ports[i].id == id)
            return true;
    }
    return false;
}

/* False: none is left. */
static bool choose_id(const struct bench *bench, struct bench_port *port, const struct object_set *set)
{
    if (port->id && !id_taken(set, port->id))
        return true;
    for (uint32_t id = DP_PORTS_MAX - 1; id > 0; id--) {
        if (id_taken(set, id) || id_ours(bench, port, id))
            continue;
        port->id = id;
        return true;
    }
    return false;
}

static const struct model_segment *segment_of(const struct model *model, const char *full_name)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        if (strcmp(model->segments[i].full_name, full_name) == 0)
            return &model->segments[i];
    }
    return NULL;
}

void bench_compile(struct bench *bench, const struct model *model, uint32_t socket_group,
                   struct object_set *set)
{
    bool added = false;
    for (unsigned i = 0; bench && i < BENCH_PORTS_MAX; i++) {
        struct bench_port *port = &bench->ports[i];
        const struct model_segment *segment = port->owner ? segment_of(model, port->segment) : NULL;
        if (!segment || !choose_id(bench, port, set))
            continue;
        struct dp_port object = {
            .id = port->id,
            .tenant = segment->tenant->id,
            .type = DP_PORT_VHOST_USER,
            .queues = 1,
            .mtu = BENCH_MTU,
            .socket_group = socket_group,
        };
        snprintf(object.name, sizeof(object.name), "%s", port->name);
        snprintf(object.device, sizeof(object.device), "%s", port->socket);
        struct dp_member member = {
            .port = port->id,
            .vid = port->trunk ? segment->vlan : DP_MEMBER_UNTAGGED,
            .segment = segment->id,
        };
        object_set_add(set, DP_KIND_PORT, &object);
        object_set_add(set, DP_KIND_MEMBER, &member);
        added = true;
    }
    if (added)
        object_set_sort(set);
}

bool bench_release(struct bench *bench, const void *owner)
{
    bool had = false;
    for (unsigned i = 0; bench && i < BENCH_PORTS_MAX; i++) {
        if (bench->ports[i].owner != owner || !owner)
            continue;
        memset(&bench->ports[i], 0, sizeof(bench->ports[i]));
        had = true;
    }
    return had;
}

static struct bench_port *port_free(struct bench *bench)
{
    for (unsigned i = 0; i < BENCH_PORTS_MAX; i++) {
        if (!bench->ports[i].owner)
            return &bench->ports[i];
    }
    return NULL;
}

static struct bench_port *port_open(struct api_call *call, const struct model_segment *segment, char side)
{
    const struct controller *controller = call->controller;
    struct bench_port *port = port_free(controller->bench);
    if (!port) {
        outcome_fail(&call->outcome, WEFT_LIMIT, "%u ports for benchmarks are open already", BENCH_PORTS_MAX);
        return NULL;
    }
    *port = (struct bench_port){.trunk = api_bool(call, "trunk")};
    int length = snprintf(port->socket, sizeof(port->socket), "%s/vhost/bench.%u.%c",
                          controller->options.run_dir, controller->bench->opened, side);
    if (length >= (int)sizeof(port->socket)) {
        outcome_fail(&call->outcome, WEFT_FAILED, "the run dir's path is too long for another socket");
        return NULL;
    }
    snprintf(port->segment, sizeof(port->segment), "%s", segment->full_name);
    snprintf(port->name, sizeof(port->name), "%.31s/bench.%u.%c", segment->tenant->name,
             controller->bench->opened, side);
    port->owner = call->owner;
    return port;
}

static json_t *port_item(const struct bench_port *port)
{
    return json_pack("{s:s, s:s, s:s}", "name", port->name, "segment", port->segment, "socket", port->socket);
}

void api_bench_open(struct api_call *call)
{
    struct controller *controller = call->controller;
    struct model_segment *segments[2];
    struct bench_port *ports[2] = {NULL, NULL};
    const char *to = api_string(call, "to");
    if (!api_find_segment(call, api_string(call, "segment"), &segments[0]) ||
        !api_find_segment(call, to ? to : api_string(call, "segment"), &segments[1]))
        return;
    if (!call->owner || !controller->bench) {
        outcome_fail(&call->outcome, WEFT_FAILED, "ports for a benchmark need a connection that owns them");
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (api_bool(call, "trunk") && !segments[i]->vlan) {
            outcome_fail(&call->outcome, WEFT_CONFLICT, "segment %s has no vlan to tag frames with",
                         segments[i]->full_name);
            return;
        }
    }
    controller->bench->opened++;
    for (unsigned i = 0; i < 2 && call->outcome.code == WEFT_OK; i++)
        ports[i] = port_open(call, segments[i], i ? 'b' : 'a');
    if (call->outcome.code == WEFT_OK && apply_reconcile(controller) != 0)
        outcome_fail(&call->outcome, WEFT_FAILED, "%s", controller->trouble);
    if (call->outcome.code == WEFT_OK) {
        call->result = json_pack("{s:[o,o], s:i}", "ports", port_item(ports[0]), port_item(ports[1]), "vlan",
                                 api_bool(call, "trunk") ? (int)segments[0]->vlan : 0);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (ports[i])
            memset(ports[i], 0, sizeof(*ports[i]));
    }
    apply_reconcile(controller);
}
