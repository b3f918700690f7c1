/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * add, set, del: small changes are made in a copy of the configuration in force, which is then applied like a
 * file. So they cannot do what a file could not, and cost what a file costs.
 */
#include <stdlib.h>
#include <string.h>
#include "api_target.h"
#include "edit.h"

#define NAMED_MAX 8u /* objects that a message names */

static struct change change_of(const struct api_call *call)
{
    return (struct change){
        .by = call->uid,
        .dry_run = api_bool(call, "dry_run"),
        .expected = api_integer(call, "expect_generation", -1),
    };
}

/* Makes the edited tree the configuration in force. */
static void target_apply(struct api_call *call, struct target *target)
{
    struct change change = change_of(call);
    if (target->kind == TARGET_NAT)
        edit_tidy_nat(target->tree, target->tenant);
    apply_tree(call->controller, target->tree, &change, &call->outcome);
    api_answer_change(call);
}

/* Puts the request's values into `table`. */
static bool target_edit(struct api_call *call, const struct target *target, json_t *table)
{
    struct diagnostics diagnostics = {0};
    edit_values(table, target->row, target->path, json_object_get(call->params, "values"), &diagnostics);
    if (diagnostics.count == 0)
        return true;
    outcome_invalid(&call->outcome, &diagnostics, NULL);
    return false;
}

static bool objects_exist(struct api_call *call, const struct target *target)
{
    struct model_tenant *tenant;
    struct model_port *port;
    if (!target->objects && target->kind == TARGET_VM)
        return api_find_port(call, api_string(call, "name"), &port);
    return target->objects || api_find_tenant(call, target->tenant, &tenant);
}

/* Says which keys are not as the request wants them. */
static void fail_other_values(struct api_call *call, const struct target *target, json_t *wanted)
{
    char keys[200] = "";
    const char *key;
    json_t *value;
    json_t *both[] = {target->table, wanted};
    for (unsigned i = 0; i < 2; i++) {
        json_object_foreach (both[i], key, value) {
            json_t *other = json_object_get(both[1 - i], key);
            if (edit_holds_objects(key, value) || (other && (i == 1 || json_equal(value, other))))
                continue;
            size_t length = strlen(keys);
            snprintf(keys + length, sizeof(keys) - length, "%s%s", length ? ", " : "", key);
        }
    }
    outcome_fail(&call->outcome, WEFT_CONFLICT,
                 "%s %s exists with other values (%s); \"weft %s set\" changes them", target->noun,
                 api_string(call, "name"), keys, target->noun);
}

static void target_add(struct api_call *call, struct target *target)
{
    json_t *table = json_object();
    if (!objects_exist(call, target) || !target_edit(call, target, table)) {
        json_decref(table);
        return;
    }
    if (!target->table)
        json_object_set(target->objects, target->key, table);
    if (!target->table || edit_same(target->table, table))
        target_apply(call, target);
    else
        fail_other_values(call, target, table);
    json_decref(table);
}

void api_add(struct api_call *call)
{
    struct target target;
    bool open = target_open(call, &target);
    if (open && target.kind == TARGET_NAT)
        outcome_fail(&call->outcome, WEFT_USAGE,
                     "a segment of mode nat has its address translation; \"weft nat set\" changes it");
    else if (open)
        target_add(call, &target);
    target_close(&target);
}

/* Says that there is no such object, and what was probably meant. */
static void fail_missing(struct api_call *call, const struct target *target)
{
    const char *name = api_string(call, "name");
    struct model_tenant *tenant;
    struct model_segment *segment;
    struct model_port *port;
    struct model_uplink *uplink;
    if (target->kind == TARGET_TENANT)
        api_find_tenant(call, name, &tenant);
    else if (target->kind == TARGET_SEGMENT || target->kind == TARGET_NAT)
        api_find_segment(call, name, &segment);
    else if (target->kind == TARGET_PORT)
        api_find_port(call, name, &port);
    else if (target->kind == TARGET_VM)
        api_find_vm(call, name, &port);
    else
        api_find_uplink(call, name, &uplink);
}

/* Address translation of a segment that says nothing of it yet. */
static void open_nat(struct target *target)
{
    json_t *tenants = json_object_get(target->tree, "tenants");
    json_t *segments = json_object_get(json_object_get(tenants, target->tenant), "segments");
    if (!target->table && json_object_get(segments, target->name))
        target->table = edit_mapping(target->objects, target->key);
}

void api_set(struct api_call *call)
{
    struct target target;
    if (target_open(call, &target)) {
        if (target.kind == TARGET_NAT)
            open_nat(&target);
        if (!target.table)
            fail_missing(call, &target);
        else if (target_edit(call, &target, target.table))
            target_apply(call, &target);
    }
    target_close(&target);
}

static json_t *target_users(const struct target *target)
{
    switch (target->kind) {
    case TARGET_TENANT:
        return edit_tenant_users(target->tree, target->name);
    case TARGET_SEGMENT:
        return edit_segment_users(target->tree, target->tenant, target->name);
    case TARGET_PORT:
        return edit_port_users(target->tree, target->tenant, target->name);
    case TARGET_NAT:
    case TARGET_VM:
        return json_array();
    default:
        return edit_uplink_users(target->tree, target->name);
    }
}

static void target_delete(const struct target *target)
{
    switch (target->kind) {
    case TARGET_TENANT:
        edit_delete_tenant(target->tree, target->name);
        break;
    case TARGET_SEGMENT:
        edit_delete_segment(target->tree, target->tenant, target->name);
        break;
    case TARGET_PORT:
        edit_delete_port(target->tree, target->tenant, target->name);
        break;
    case TARGET_NAT:
        edit_reset_nat(target->table);
        break;
    case TARGET_VM:
        json_object_del(target->objects, target->key);
        break;
    default:
        edit_delete_uplink(target->tree, target->name);
    }
}

/* False: nothing uses the object. */
static bool fail_used(struct api_call *call, const struct target *target)
{
    json_t *users = target_users(target), *user;
    size_t index, count = json_array_size(users);
    char names[480] = "", more[32] = "";
    json_array_foreach (users, index, user) {
        size_t length = strlen(names);
        if (index == NAMED_MAX)
            break;
        snprintf(names + length, sizeof(names) - length, "%s%s", index ? ", " : "", json_string_value(user));
    }
    if (count > NAMED_MAX)
        snprintf(more, sizeof(more), " and %zu more", count - NAMED_MAX);
    if (count)
        outcome_fail(&call->outcome, WEFT_CONFLICT,
                     "%s %s is used by %.440s%s; --cascade deletes them as well", target->noun,
                     api_string(call, "name"), names, more);
    json_decref(users);
    return count > 0;
}

void api_del(struct api_call *call)
{
    struct target target;
    if (target_open(call, &target) &&
        (api_bool(call, "cascade") || !target.table || !fail_used(call, &target))) {
        if (target.table)
            target_delete(&target);
        target_apply(call, &target);
    }
    target_close(&target);
}
