/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include "api_target.h"
#include "edit.h"
#include "values.h"

static const struct {
    const char *noun, *group, *row;
} kinds[] = {
    [TARGET_TENANT] = {"tenant", "tenants", "tenants.*"},
    [TARGET_SEGMENT] = {"segment", "segments", "tenants.*.segments.*"},
    [TARGET_PORT] = {"port", "ports", "tenants.*.ports.*"},
    [TARGET_UPLINK] = {"uplink", "uplinks", "uplinks.*"},
    [TARGET_NAT] = {"nat", "nat", "tenants.*.nat.*"},
    [TARGET_VM] = {"vm", "ports", "tenants.*.ports.*.vm"},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static bool target_noun(struct api_call *call, struct target *target)
{
    const char *words[KIND_COUNT + 1] = {NULL}, *noun = api_string(call, "noun");
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        words[i] = kinds[i].noun;
        if (strcmp(noun, kinds[i].noun) == 0) {
            target->kind = (enum target_kind)i;
            target->noun = kinds[i].noun;
            target->row = kinds[i].row;
            return true;
        }
    }
    const char *nearest = diagnostics_nearest(noun, words);
    outcome_fail(&call->outcome, WEFT_USAGE,
                 nearest ? "\"%.40s\" cannot be changed; did you mean \"%s\"?"
                         : "\"%.40s\" cannot be changed; tenant, segment, port, uplink, nat and vm can",
                 noun, nearest);
    return false;
}

static bool name_part(char part[WEFT_NAME_LENGTH + 1], const char *text, size_t length)
{
    if (length == 0 || length > WEFT_NAME_LENGTH)
        return false;
    memcpy(part, text, length);
    part[length] = '\0';
    return value_name(part);
}

/* "vm1", or "acme/vm1" for what a tenant has. */
static bool target_name(struct api_call *call, struct target *target)
{
    const char *name = api_string(call, "name"), *own = name;
    bool below = target->kind != TARGET_TENANT && target->kind != TARGET_UPLINK;
    size_t length = strcspn(name, "/");
    bool good = true;
    if (below) {
        good = name[length] == '/' && name_part(target->tenant, name, length);
        own = good ? name + length + 1 : name;
    }
    if (good && name_part(target->name, own, strlen(own)))
        return true;
    outcome_fail(&call->outcome, WEFT_USAGE,
                 "\"%.80s\" is no name for a %s: %s, each of 1 to %u of the characters a-z, 0-9 and -", name,
                 target->noun, below ? "TENANT/NAME" : "NAME", WEFT_NAME_LENGTH);
    return false;
}

bool target_open(struct api_call *call, struct target *target)
{
    *target = (struct target){0};
    if (!target_noun(call, target) || !target_name(call, target))
        return false;
    const char *group = kinds[target->kind].group;
    target->tree = json_deep_copy(call->controller->model->config);
    if (target->tenant[0]) {
        json_t *tenant = json_object_get(json_object_get(target->tree, "tenants"), target->tenant);
        target->objects = tenant ? edit_mapping(tenant, group) : NULL;
        snprintf(target->path, sizeof(target->path), "tenants.%s.%s.%s", target->tenant, group, target->name);
    } else {
        target->objects = edit_mapping(target->tree, group);
        snprintf(target->path, sizeof(target->path), "%s.%s", group, target->name);
    }
    target->key = target->name;
    if (target->kind == TARGET_VM) { /* one in a port's table */
        target->objects = json_object_get(target->objects, target->name);
        target->key = "vm";
        snprintf(target->path, sizeof(target->path), "tenants.%s.ports.%s.vm", target->tenant, target->name);
    }
    target->table = json_object_get(target->objects, target->key);
    return true;
}

void target_close(struct target *target)
{
    json_decref(target->tree);
}
