/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <stdio.h>
#include "dataplane_api.h"
#include "ids.h"

#define TENANTS_MAX 65536u

struct numbering {
    json_t *before; /* name: number, of the generation before */
    json_t *after;
    bool *used;
    uint32_t limit; /* numbers are 1..limit-1 */
    uint32_t next;
};

static void numbering_start(struct numbering *numbering, json_t *before, const char *kind, uint32_t limit)
{
    numbering->before = json_object_get(before, kind);
    numbering->after = json_object();
    numbering->limit = limit;
    json_int_t next = json_integer_value(json_object_get(json_object_get(before, "next"), kind));
    numbering->next = next > 0 && next < limit ? (uint32_t)next : 1;
    numbering->used = calloc(limit, sizeof(bool));
    if (!numbering->used)
        abort();
}

static void numbering_keep(struct numbering *numbering, const char *name, uint32_t *id)
{
    json_int_t number = json_integer_value(json_object_get(numbering->before, name));
    *id = 0;
    if (number <= 0 || number >= numbering->limit || numbering->used[number])
        return;
    *id = (uint32_t)number;
    numbering->used[number] = true;
    json_object_set_new(numbering->after, name, json_integer(number));
}

static bool numbering_assign(struct numbering *numbering, const char *name, uint32_t *id)
{
    if (*id)
        return true;
    for (uint32_t tries = 0; tries < numbering->limit; tries++) {
        uint32_t number = numbering->next;
        numbering->next = number + 1 < numbering->limit ? number + 1 : 1;
        if (!numbering->used[number]) {
            numbering->used[number] = true;
            *id = number;
            json_object_set_new(numbering->after, name, json_integer(number));
            return true;
        }
    }
    return false;
}

static void numbering_end(struct numbering *numbering, json_t *ids, const char *kind)
{
    json_object_set_new(ids, kind, numbering->after);
    json_object_set_new(json_object_get(ids, "next"), kind, json_integer(numbering->next));
    free(numbering->used);
}

/*
 * What weft makes by itself has numbers as well, under names that nobody can give: with a space. They are
 * kept and assigned like the others, after them. `assign` false: what had a number keeps it.
 */
static bool number_own(struct numbering *numbering, const char *name, const char *what, uint32_t *id,
                       bool assign)
{
    char key[MODEL_FULL_NAME_SIZE + 16];
    snprintf(key, sizeof(key), "%s %s", name, what);
    if (assign)
        return numbering_assign(numbering, key, id);
    numbering_keep(numbering, key, id);
    return true;
}

/* Segment and tenant of an uplink's outside, unless a bridged segment is there untagged. */
static bool outside_wanted(const struct model *model, const struct model_uplink *uplink)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if (segment->uplink == uplink && !segment->is_nat && !segment->vlan)
            return false;
    }
    return uplink->is_outside;
}

static bool outsides_assign(struct numbering *numbering, struct model *model, bool tenant, bool assign)
{
    bool complete = true;
    for (unsigned i = 0; i < model->uplink_count; i++) {
        struct model_uplink *uplink = &model->uplinks[i];
        if (outside_wanted(model, uplink))
            complete &= number_own(numbering, uplink->name, "outside",
                                   tenant ? &uplink->outside_tenant : &uplink->outside_segment, assign);
    }
    return complete;
}

static bool own_ports_assign(struct numbering *numbering, struct model *model, bool assign)
{
    bool complete = true;
    for (unsigned i = 0; i < model->uplink_count; i++) {
        struct model_uplink *uplink = &model->uplinks[i];
        if (uplink->is_outside)
            complete &= number_own(numbering, uplink->name, "outside", &uplink->outside_port, assign);
    }
    for (unsigned i = 0; i < model->segment_count; i++) {
        struct model_segment *segment = &model->segments[i];
        bool asked = segment->dhcp.enabled || segment->subnets[1].family; /* DHCP, router solicitations */
        if (segment->is_nat || (segment->is_host_only && asked))
            complete &= number_own(numbering, segment->full_name, "router", &segment->router_port, assign);
        if (segment->is_host_only)
            complete &= number_own(numbering, segment->full_name, "host", &segment->host_port, assign);
    }
    return complete;
}

static bool tenants_assign(struct numbering *numbering, struct model *model)
{
    bool complete = true;
    outsides_assign(numbering, model, true, false);
    for (unsigned i = 0; i < model->tenant_count; i++)
        numbering_keep(numbering, model->tenants[i].name, &model->tenants[i].id);
    for (unsigned i = 0; i < model->tenant_count; i++)
        complete &= numbering_assign(numbering, model->tenants[i].name, &model->tenants[i].id);
    return complete & outsides_assign(numbering, model, true, true);
}

static bool segments_assign(struct numbering *numbering, struct model *model)
{
    bool complete = true;
    outsides_assign(numbering, model, false, false);
    for (unsigned i = 0; i < model->segment_count; i++)
        numbering_keep(numbering, model->segments[i].full_name, &model->segments[i].id);
    for (unsigned i = 0; i < model->segment_count; i++)
        complete &= numbering_assign(numbering, model->segments[i].full_name, &model->segments[i].id);
    return complete & outsides_assign(numbering, model, false, true);
}

/* Uplinks are ports of the dataplane as well; their names have no slash. */
static bool ports_assign(struct numbering *numbering, struct model *model)
{
    bool complete = true;
    own_ports_assign(numbering, model, false);
    for (unsigned i = 0; i < model->uplink_count; i++)
        numbering_keep(numbering, model->uplinks[i].name, &model->uplinks[i].id);
    for (unsigned i = 0; i < model->port_count; i++)
        numbering_keep(numbering, model->ports[i].full_name, &model->ports[i].id);
    for (unsigned i = 0; i < model->uplink_count; i++)
        complete &= numbering_assign(numbering, model->uplinks[i].name, &model->uplinks[i].id);
    for (unsigned i = 0; i < model->port_count; i++)
        complete &= numbering_assign(numbering, model->ports[i].full_name, &model->ports[i].id);
    return complete & own_ports_assign(numbering, model, true);
}

json_t *ids_assign(json_t *before, struct model *model)
{
    struct numbering tenants, segments, ports;
    json_t *ids = json_pack("{s:{}}", "next");
    numbering_start(&tenants, before, "tenant", TENANTS_MAX);
    numbering_start(&segments, before, "segment", DP_SEGMENTS_MAX);
    numbering_start(&ports, before, "port", DP_PORTS_MAX);
    bool complete = tenants_assign(&tenants, model);
    complete &= segments_assign(&segments, model);
    complete &= ports_assign(&ports, model);
    numbering_end(&tenants, ids, "tenant");
    numbering_end(&segments, ids, "segment");
    numbering_end(&ports, ids, "port");
    if (!complete) {
        json_decref(ids);
        return NULL;
    }
    return ids;
}
