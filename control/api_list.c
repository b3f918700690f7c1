/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * list, show and fdb.flush.
 */
#include <string.h>
#include "api_call.h"
#include "api_nat.h"
#include "values.h"
#include "view.h"
#include "vm.h"

enum noun {
#define X(symbol, name, schema) NOUN_##symbol,
    WEFT_NOUNS(X)
#undef X
        NOUN_COUNT
};

static const struct {
    const char *name, *schema;
    unsigned needs; /* of the view */
} nouns[] = {
    [NOUN_TENANT] = {"tenant", "weft.tenant.v1", VIEW_PORTS | VIEW_NAT},
    [NOUN_SEGMENT] = {"segment", "weft.segment.v1", VIEW_PORTS | VIEW_ADDRESSES},
    [NOUN_PORT] = {"port", "weft.port.v1", VIEW_PORTS},
    [NOUN_UPLINK] = {"uplink", "weft.uplink.v1", VIEW_PORTS | VIEW_NAT},
    [NOUN_FDB] = {"fdb", "weft.fdb.v1", VIEW_ADDRESSES},
    [NOUN_VM] = {"vm", "weft.vm.v1", 0},
    [NOUN_DROPS] = {"drops", "weft.drops.v1", VIEW_PORTS},
    [NOUN_NAT] = {"nat", "weft.nat.v1", 0},
    [NOUN_SESSIONS] = {"sessions", "weft.sessions.v1", 0},
    [NOUN_FORWARD] = {"forward", "weft.forward.v1", 0},
    [NOUN_LEASE] = {"lease", "weft.lease.v1", 0},
    [NOUN_NEIGHBOUR] = {"neighbour", "weft.neighbour.v1", 0},
    [NOUN_ROUTE] = {"route", "weft.route.v1", 0},
};

/* What a list is narrowed to. */
struct filter {
    struct model_tenant *tenant;
    struct model_segment *segment;
    struct model_port *port;
};

static bool find_noun(struct api_call *call, const char *name, enum noun *noun)
{
    const char *words[NOUN_COUNT + 1] = {NULL};
    for (unsigned i = 0; i < NOUN_COUNT; i++) {
        words[i] = nouns[i].name;
        if (strcmp(nouns[i].name, name) == 0) {
            *noun = (enum noun)i;
            return true;
        }
    }
    const char *nearest = diagnostics_nearest(name, words);
    outcome_fail(&call->outcome, WEFT_USAGE, "there is no noun \"%.40s\"%s%s%s", name,
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    return false;
}

static bool make_filter(struct api_call *call, struct filter *filter)
{
    const char *tenant = api_string(call, "tenant"), *segment = api_string(call, "segment");
    const char *port = api_string(call, "port");
    if (tenant && !api_find_tenant(call, tenant, &filter->tenant))
        return false;
    if (segment && !api_find_segment(call, segment, &filter->segment))
        return false;
    return !port || api_find_port(call, port, &filter->port);
}

static bool port_wanted(const struct filter *filter, const struct model_port *port)
{
    return (!filter->tenant || port->tenant == filter->tenant) && (!filter->port || port == filter->port) &&
           (!filter->segment || model_port_in(port, filter->segment));
}

static void list_tenants(const struct model *model, const struct view *view, const struct filter *filter,
                         json_t *items)
{
    for (unsigned i = 0; i < model->tenant_count; i++) {
        if (!filter->tenant || &model->tenants[i] == filter->tenant)
            json_array_append_new(items, item_tenant(view, &model->tenants[i]));
    }
}

static void list_segments(const struct model *model, const struct view *view, const struct filter *filter,
                          json_t *items)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if ((!filter->tenant || segment->tenant == filter->tenant) &&
            (!filter->segment || segment == filter->segment) &&
            (!filter->port || model_port_in(filter->port, segment)))
            json_array_append_new(items, item_segment(view, model, segment));
    }
}

static void list_ports(const struct model *model, const struct view *view, const struct filter *filter,
                       json_t *items)
{
    for (unsigned i = 0; i < model->port_count; i++) {
        if (port_wanted(filter, &model->ports[i]))
            json_array_append_new(items, item_port(view, &model->ports[i], false));
    }
}

static void list_vms(const struct controller *controller, const struct filter *filter, json_t *items)
{
    const struct model *model = controller->model;
    for (unsigned i = 0; i < model->port_count; i++) {
        if (model->ports[i].vm && port_wanted(filter, &model->ports[i]))
            json_array_append_new(items, vms_item(controller->vms, &model->ports[i]));
    }
    if (!filter->tenant && !filter->segment && !filter->port)
        vms_leaving(controller->vms, items);
}

static void list_uplinks(const struct model *model, const struct view *view, json_t *items)
{
    for (unsigned i = 0; i < model->uplink_count; i++)
        json_array_append_new(items, item_uplink(view, model, &model->uplinks[i]));
}

struct own_drops {
    const struct view *view;
    const struct filter *filter;
    json_t *items;
};

static void own_port_drops(void *context, uint32_t port, const char *name,
                           const struct model_segment *segment)
{
    const struct own_drops *own = context;
    const struct filter *filter = own->filter;
    bool all = !filter->tenant && !filter->segment && !filter->port;
    bool wanted = segment ? !filter->port && (!filter->tenant || filter->tenant == segment->tenant) &&
                                (!filter->segment || filter->segment == segment)
                          : all;
    if (wanted)
        item_drops(own->view, segment ? segment->tenant->name : NULL, name, port, own->items);
}

static void list_drops(const struct model *model, const struct view *view, const struct filter *filter,
                       json_t *items)
{
    for (unsigned i = 0; i < model->port_count; i++) {
        const struct model_port *port = &model->ports[i];
        if (port_wanted(filter, port))
            item_drops(view, port->tenant->name, port->full_name, port->id, items);
    }
    for (unsigned i = 0; !filter->tenant && !filter->segment && !filter->port && i < model->uplink_count; i++)
        item_drops(view, NULL, model->uplinks[i].name, model->uplinks[i].id, items);
    struct own_drops own = {view, filter, items};
    nat_own_ports(model, own_port_drops, &own);
}

/* False: the noun is not one of the ways out. */
static bool list_nat(struct api_call *call, enum noun noun, const struct filter *filter, json_t *items,
                     uint64_t *left_out)
{
    struct nat_filter nat = {filter->tenant, filter->segment, filter->port,
                             api_integer(call, "limit", WEFT_SESSIONS_SHOWN)};
    switch (noun) {
    case NOUN_SESSIONS:
        *left_out = nat_list_sessions(call->controller, &nat, items);
        return true;
    case NOUN_NAT:
        nat_list_translations(call->controller->model, &nat, items);
        return true;
    case NOUN_FORWARD:
        nat_list_forwards(call->controller->model, &nat, items);
        return true;
    case NOUN_LEASE:
        nat_list_leases(call->controller, &nat, items);
        return true;
    case NOUN_NEIGHBOUR:
        nat_list_neighbours(call->controller, &nat, items);
        return true;
    case NOUN_ROUTE:
        nat_list_routes(call->controller, &nat, items);
        return true;
    default:
        return false;
    }
}

/* Objects by their numbers in the dataplane. */
struct by_id {
    const struct model_segment *segments[DP_SEGMENTS_MAX];
    const struct model_port *ports[DP_PORTS_MAX];
    const struct model_uplink *uplinks[DP_PORTS_MAX];
};

static void index_by_id(const struct model *model, struct by_id *by_id)
{
    memset(by_id, 0, sizeof(*by_id));
    for (unsigned i = 0; i < model->segment_count; i++)
        by_id->segments[model->segments[i].id % DP_SEGMENTS_MAX] = &model->segments[i];
    for (unsigned i = 0; i < model->port_count; i++)
        by_id->ports[model->ports[i].id % DP_PORTS_MAX] = &model->ports[i];
    for (unsigned i = 0; i < model->uplink_count; i++)
        by_id->uplinks[model->uplinks[i].id % DP_PORTS_MAX] = &model->uplinks[i];
}

static void list_addresses(const struct model *model, const struct view *view, const struct filter *filter,
                           json_t *items)
{
    static struct by_id by_id;
    index_by_id(model, &by_id);
    for (size_t i = 0; i < view->address_count; i++) {
        const struct dp_fdb_entry *entry = &view->addresses[i];
        const struct model_segment *segment = by_id.segments[entry->segment % DP_SEGMENTS_MAX];
        const struct model_port *port = by_id.ports[entry->port % DP_PORTS_MAX];
        const struct model_uplink *uplink = by_id.uplinks[entry->port % DP_PORTS_MAX];
        char mac[VALUE_MAC_SIZE];
        if (!segment || (!port && !uplink) || (filter->tenant && segment->tenant != filter->tenant) ||
            (filter->segment && segment != filter->segment) || (filter->port && port != filter->port))
            continue;
        value_mac_text(entry->mac, mac);
        json_array_append_new(items,
                              json_pack("{s:s, s:s, s:s, s:b, s:I}", "segment", segment->full_name, "mac",
                                        mac, "port", port ? port->full_name : uplink->name, "static",
                                        (int)entry->is_static, "age", (json_int_t)entry->age_s));
    }
}

void api_list(struct api_call *call)
{
    const struct model *model = call->controller->model;
    struct filter filter = {0};
    uint64_t left_out = 0;
    enum noun noun;
    if (!find_noun(call, api_string(call, "noun"), &noun) || !make_filter(call, &filter))
        return;
    struct view *view = view_new(call->controller, nouns[noun].needs);
    json_t *items = json_array();
    switch (noun) {
    case NOUN_TENANT:
        list_tenants(model, view, &filter, items);
        break;
    case NOUN_SEGMENT:
        list_segments(model, view, &filter, items);
        break;
    case NOUN_PORT:
        list_ports(model, view, &filter, items);
        break;
    case NOUN_UPLINK:
        list_uplinks(model, view, items);
        break;
    case NOUN_VM:
        list_vms(call->controller, &filter, items);
        break;
    case NOUN_FDB:
        list_addresses(model, view, &filter, items);
        break;
    default:
        if (!list_nat(call, noun, &filter, items, &left_out))
            list_drops(model, view, &filter, items);
    }
    view_free(view);
    call->result = json_pack("{s:s, s:o}", "schema", nouns[noun].schema, "items", items);
    if (left_out)
        json_object_set_new(call->result, "left_out", json_integer((json_int_t)left_out));
}

void api_show(struct api_call *call)
{
    const struct model *model = call->controller->model;
    const char *name = api_string(call, "name");
    struct model_tenant *tenant = NULL;
    struct model_segment *segment = NULL;
    struct model_port *port = NULL;
    struct model_uplink *uplink = NULL;
    enum noun noun;
    if (!find_noun(call, api_string(call, "noun"), &noun))
        return;
    bool found = noun == NOUN_TENANT    ? api_find_tenant(call, name, &tenant)
                 : noun == NOUN_SEGMENT ? api_find_segment(call, name, &segment)
                 : noun == NOUN_NAT     ? api_find_nat(call, name, &segment)
                 : noun == NOUN_PORT    ? api_find_port(call, name, &port)
                 : noun == NOUN_UPLINK  ? api_find_uplink(call, name, &uplink)
                 : noun == NOUN_VM      ? api_find_vm(call, name, &port)
                                        : false;
    if (!found) {
        if (call->outcome.code == WEFT_OK)
            outcome_fail(&call->outcome, WEFT_USAGE, "%s is listed, not shown", nouns[noun].name);
        return;
    }
    struct view *view = view_new(call->controller, nouns[noun].needs | VIEW_QUEUES);
    json_t *item = tenant                    ? item_tenant(view, tenant)
                   : noun == NOUN_NAT        ? nat_item(segment)
                   : segment                 ? item_segment(view, model, segment)
                   : port && noun == NOUN_VM ? vms_item(call->controller->vms, port)
                   : port                    ? item_port(view, port, true)
                                             : item_uplink(view, model, uplink);
    view_free(view);
    call->result = json_pack("{s:s, s:[o]}", "schema", nouns[noun].schema, "items", item);
}

void api_flush(struct api_call *call)
{
    struct controller *controller = call->controller;
    struct dp_client *client = supervisor_client(controller->supervisor);
    struct filter filter = {0};
    uint64_t flushed = 0;
    if (!make_filter(call, &filter))
        return;
    if (!client) {
        outcome_fail(&call->outcome, WEFT_FAILED, "the dataplane is not running: nothing to flush");
        return;
    }
    struct view *view = view_new(controller, VIEW_ADDRESSES);
    for (size_t i = 0; i < view->address_count; i++)
        flushed += !view->addresses[i].is_static &&
                   (!filter.segment || view->addresses[i].segment == filter.segment->id) &&
                   (!filter.port || view->addresses[i].port == filter.port->id);
    view_free(view);
    client = supervisor_client(controller->supervisor);
    if (api_bool(call, "dry_run")) {
        call->result = json_pack("{s:I}", "flushed", (json_int_t)flushed);
        return;
    }
    if (!client || dp_client_flush(client, filter.segment ? filter.segment->id : 0,
                                   filter.port ? filter.port->id : 0) < 0) {
        outcome_fail(&call->outcome, WEFT_FAILED, "the dataplane did not flush: %s",
                     client ? dp_client_error(client) : "lost");
        return;
    }
    call->result = json_pack("{s:I}", "flushed", (json_int_t)flushed);
}
