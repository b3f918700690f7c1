/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of requests to objects, with what was probably meant.
 */
#include <stdio.h>
#include <string.h>
#include "api_call.h"

static bool not_found(struct api_call *call, const char *tenant, const char *noun, const char *name,
                      json_t *known)
{
    const char *nearest = diagnostics_nearest_key(name, known);
    const char *among = tenant ? tenant : "";
    outcome_fail(&call->outcome, WEFT_NOT_FOUND, "%s%s%s %s \"%.80s\"%s%s%s", tenant ? "tenant " : "", among,
                 tenant ? " has no" : "there is no", noun, name, nearest ? "; did you mean \"" : "",
                 nearest ? nearest : "", nearest ? "\"?" : "");
    return false;
}

static json_t *tenant_config(const struct api_call *call, const char *tenant)
{
    return json_object_get(json_object_get(call->controller->model->config, "tenants"), tenant);
}

bool api_find_tenant(struct api_call *call, const char *name, struct model_tenant **tenant)
{
    *tenant = model_tenant(call->controller->model, name);
    return *tenant ||
           not_found(call, NULL, "tenant", name, json_object_get(call->controller->model->config, "tenants"));
}

/* "acme/web": the tenant, and the name in it. NULL: outcome says why. */
static const char *split(struct api_call *call, const char *noun, const char *name,
                         struct model_tenant **tenant)
{
    char head[WEFT_NAME_LENGTH + 1];
    const char *slash = strchr(name, '/');
    if (!slash || slash == name || !slash[1] || strchr(slash + 1, '/')) {
        outcome_fail(&call->outcome, WEFT_USAGE, "a %s is named TENANT/%s, not \"%.80s\"", noun,
                     strcmp(noun, "port") == 0 ? "PORT" : "SEGMENT", name);
        return NULL;
    }
    size_t length = (size_t)(slash - name);
    snprintf(head, sizeof(head), "%.*s", (int)(length < sizeof(head) ? length : sizeof(head) - 1), name);
    return api_find_tenant(call, head, tenant) ? slash + 1 : NULL;
}

bool api_find_segment(struct api_call *call, const char *name, struct model_segment **segment)
{
    struct model_tenant *tenant;
    const char *rest = split(call, "segment", name, &tenant);
    if (!rest)
        return false;
    *segment = model_segment(tenant, rest);
    return *segment || not_found(call, tenant->name, "segment", rest,
                                 json_object_get(tenant_config(call, tenant->name), "segments"));
}

bool api_find_port(struct api_call *call, const char *name, struct model_port **port)
{
    struct model_tenant *tenant;
    const char *rest = split(call, "port", name, &tenant);
    if (!rest)
        return false;
    *port = model_port(tenant, rest);
    return *port || not_found(call, tenant->name, "port", rest,
                              json_object_get(tenant_config(call, tenant->name), "ports"));
}

bool api_find_uplink(struct api_call *call, const char *name, struct model_uplink **uplink)
{
    *uplink = model_uplink(call->controller->model, name);
    return *uplink ||
           not_found(call, NULL, "uplink", name, json_object_get(call->controller->model->config, "uplinks"));
}

bool api_find_nat(struct api_call *call, const char *name, struct model_segment **segment)
{
    if (!api_find_segment(call, name, segment))
        return false;
    if (!(*segment)->is_nat)
        outcome_fail(&call->outcome, WEFT_INVALID,
                     "segment %s is of mode %s; only mode nat has address translation and port forwards",
                     name, (*segment)->mode);
    return (*segment)->is_nat;
}

bool api_find_vm(struct api_call *call, const char *name, struct model_port **port)
{
    if (!api_find_port(call, name, port))
        return false;
    if (!(*port)->vm)
        outcome_fail(&call->outcome, WEFT_NOT_FOUND,
                     "port %s has no machine; \"weft vm run %s --kernel FILE\" declares one", name, name);
    return (*port)->vm != NULL;
}
