/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * forward.add and forward.del: one port forward, changed in a copy of the configuration in force, which is
 * then applied like a file.
 */
#include <stdio.h>
#include <string.h>
#include "api_call.h"
#include "edit.h"
#include "schema.h"

#define ROW "tenants.*.nat.*.forwards.*"

/* What a request names. */
struct forward_request {
    struct model_segment *segment;
    json_t *tree;    /* a copy of the configuration */
    json_t *nat;     /* the segment's table in it */
    json_t *list;    /* forwards */
    json_t *forward; /* as asked for, typed */
};

/* One key of the forward, typed by the schema. */
static bool take_key(struct api_call *call, struct forward_request *request, const char *key,
                     struct diagnostics *diagnostics)
{
    json_t *value = json_object_get(call->params, key);
    if (!value)
        return true;
    json_t *typed = schema_value(schema_find(ROW, key), value, key, diagnostics);
    if (typed)
        json_object_set_new(request->forward, key, typed);
    return typed != NULL;
}

/* "acme/vm2:443" is written by who is used to paths: of the segment's own tenant it means vm2:443. */
static bool take_target(struct api_call *call, struct forward_request *request,
                        struct diagnostics *diagnostics)
{
    const char *to = api_string(call, "to"), *tenant = request->segment->tenant->name;
    size_t length = to ? strcspn(to, "/") : 0;
    if (!to || !to[length])
        return take_key(call, request, "to", diagnostics);
    if (strlen(tenant) != length || strncmp(to, tenant, length) != 0) {
        diagnostics_add(diagnostics, (struct document_position){0}, WEFT_INVALID, "to",
                        "\"%.60s\" is a port of another tenant; segment %s forwards to ports of %s", to,
                        request->segment->full_name, tenant);
        return false;
    }
    json_object_set_new(call->params, "to", json_string(to + length + 1));
    return take_key(call, request, "to", diagnostics);
}

static bool open_request(struct api_call *call, struct forward_request *request)
{
    static const char *const keys[] = {"proto", "port", "address"};
    struct diagnostics diagnostics = {0};
    *request = (struct forward_request){0};
    if (!api_find_nat(call, api_string(call, "segment"), &request->segment))
        return false;
    request->forward = json_object();
    bool good = true;
    for (unsigned i = 0; i < 3; i++)
        good &= take_key(call, request, keys[i], &diagnostics);
    good &= take_target(call, request, &diagnostics);
    if (!good) {
        outcome_invalid(&call->outcome, &diagnostics, NULL);
        return false;
    }
    request->tree = json_deep_copy(call->controller->model->config);
    json_t *tenants = json_object_get(request->tree, "tenants");
    json_t *tenant = json_object_get(tenants, request->segment->tenant->name);
    request->nat = edit_mapping(edit_mapping(tenant, "nat"), request->segment->name);
    request->list = json_object_get(request->nat, "forwards");
    if (!request->list) {
        request->list = json_array();
        json_object_set_new(request->nat, "forwards", request->list);
    }
    return true;
}

static void close_request(struct forward_request *request)
{
    json_decref(request->tree);
    json_decref(request->forward);
}

static bool same_key(json_t *a, json_t *b, const char *key)
{
    json_t *left = json_object_get(a, key), *right = json_object_get(b, key);
    return left == right || (left && right && json_equal(left, right));
}

/* The outside address of a forward: its own, or the first of the segment's. NULL: the uplink's. */
static const char *outside_of(const struct forward_request *request, json_t *forward)
{
    json_t *own = json_object_get(forward, "address");
    json_t *pool = json_object_get(request->nat, "address");
    const char *address = json_string_value(own ? own : json_array_get(pool, 0));
    return address && strcmp(address, "uplink") != 0 ? address : NULL;
}

static bool same_outside(const struct forward_request *request, json_t *a, json_t *b)
{
    const char *left = outside_of(request, a), *right = outside_of(request, b);
    return left && right ? strcmp(left, right) == 0 : left == right;
}

/* Index of the forward of the same outside ports; -1: none. */
static int find_forward(const struct forward_request *request)
{
    size_t index;
    json_t *forward;
    json_array_foreach (request->list, index, forward) {
        if (same_key(forward, request->forward, "proto") && same_key(forward, request->forward, "port") &&
            same_outside(request, forward, request->forward))
            return (int)index;
    }
    return -1;
}

static void apply_request(struct api_call *call, struct forward_request *request)
{
    struct change change = {.by = call->uid,
                            .dry_run = api_bool(call, "dry_run"),
                            .expected = api_integer(call, "expect_generation", -1)};
    edit_tidy_nat(request->tree, request->segment->tenant->name);
    apply_tree(call->controller, request->tree, &change, &call->outcome);
    api_answer_change(call);
}

void api_forward_add(struct api_call *call)
{
    struct forward_request request;
    if (open_request(call, &request)) {
        int index = find_forward(&request);
        json_t *before = json_array_get(request.list, (size_t)index);
        if (index >= 0 && !same_key(before, request.forward, "to")) {
            outcome_fail(&call->outcome, WEFT_CONFLICT,
                         "%s port %s of segment %s leads to %s; \"weft forward del\" it first",
                         api_string(call, "proto"), api_string(call, "port"), request.segment->full_name,
                         json_string_value(json_object_get(before, "to")));
        } else {
            if (index < 0)
                json_array_append(request.list, request.forward);
            apply_request(call, &request);
        }
    }
    close_request(&request);
}

void api_forward_del(struct api_call *call)
{
    struct forward_request request;
    if (open_request(call, &request)) {
        int index = find_forward(&request);
        if (index >= 0)
            json_array_remove(request.list, (size_t)index);
        apply_request(call, &request);
    }
    close_request(&request);
}
