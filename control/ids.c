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

static bool tenants_assign(struct numbering *numbering, struct model *model)
{
    bool complete = true;
    for (unsigned i = 0; i < model->tenant_count; i++)
        numbering_keep(numbering, model->tenants[i].name, &model->tenants[i].id);
    for (unsigned i = 0; i < model->tenant_count; i++)
        complete &= numbering_assign(numbering, model->tenants[i].name, &model->tenants[i].id);
    return complete;
}

static bool segments_assign(struct numbering *numbering, struct model *model)
{
    bool complete = true;
    for (unsigned i = 0; i < model->segment_count; i++)
        numbering_keep(numbering, model->segments[i].full_name, &model->segments[i].id);
    for (unsigned i = 0; i < model->segment_count; i++)
        complete &= numbering_assign(numbering, model->segments[i].full_name, &model->segments[i].id);
    return complete;
}

/* Uplinks are ports of the dataplane as well; their names have no slash. */
static bool ports_assign(struct numbering *numbering, struct model *model)
{
    bool complete = true;
    for (unsigned i = 0; i < model->uplink_count; i++)
        numbering_keep(numbering, model->uplinks[i].name, &model->uplinks[i].id);
    for (unsigned i = 0; i < model->port_count; i++)
        numbering_keep(numbering, model->ports[i].full_name, &model->ports[i].id);
    for (unsigned i = 0; i < model->uplink_count; i++)
        complete &= numbering_assign(numbering, model->uplinks[i].name, &model->uplinks[i].id);
    for (unsigned i = 0; i < model->port_count; i++)
        complete &= numbering_assign(numbering, model->ports[i].full_name, &model->ports[i].id);
    return complete;
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
