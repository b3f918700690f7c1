/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vm.*: what is done to machines (docs/api.md). Nothing here waits for a guest: what was begun is answered,
 * and the machine's state says what became of it.
 */
#include <string.h>
#include "api_call.h"
#include "vm.h"

static void act(struct api_call *call, enum vm_action action)
{
    struct vms *vms = call->controller->vms;
    struct model_port *port;
    bool changed;
    if (!api_find_vm(call, api_string(call, "name"), &port) ||
        !vms_act(vms, port, action, &changed, &call->outcome))
        return;
    json_t *item = vms_item(vms, port);
    call->result = json_pack("{s:b, s:s, s:O}", "changed", (int)changed, "name", port->full_name, "state",
                             json_object_get(item, "state"));
    json_decref(item);
}

void api_vm_start(struct api_call *call)
{
    act(call, VM_START);
}

void api_vm_stop(struct api_call *call)
{
    act(call, api_bool(call, "force") ? VM_KILL : VM_STOP);
}

void api_vm_restart(struct api_call *call)
{
    act(call, VM_RESTART);
}

void api_vm_reset(struct api_call *call)
{
    act(call, VM_RESET);
}

void api_vm_pause(struct api_call *call)
{
    act(call, VM_PAUSE);
}

void api_vm_resume(struct api_call *call)
{
    act(call, VM_RESUME);
}

/* `add` of noun vm; of a machine that is there, without values: none are asked for. */
static void declare(struct api_call *call, const struct model_port *port)
{
    json_t *params = call->params, *values = json_object_get(params, "values");
    call->params = json_copy(params); /* the request's own may be needed again */
    json_object_set_new(call->params, "noun", json_string("vm"));
    if (json_object_size(values) == 0 && port->vm)
        api_set(call);
    else
        api_add(call);
    json_decref(call->params);
    call->params = params;
}

/* Declares the machine, then starts it if it is off. */
void api_vm_run(struct api_call *call)
{
    const char *name = api_string(call, "name");
    struct model_port *port;
    bool changed;
    if (!api_find_port(call, name, &port))
        return;
    declare(call, port);
    if (call->outcome.code != WEFT_OK || api_bool(call, "dry_run"))
        return;
    if (api_find_vm(call, name, &port))
        vms_act(call->controller->vms, port, VM_START, &changed, &call->outcome);
}

void api_vm_console(struct api_call *call)
{
    struct model_port *port;
    if (!api_find_vm(call, api_string(call, "name"), &port))
        return;
    json_t *item = vms_item(call->controller->vms, port);
    const char *state = json_string_value(json_object_get(item, "state"));
    if (strcmp(state, "off") == 0 || strcmp(state, "failed") == 0)
        outcome_fail(&call->outcome, WEFT_CONFLICT,
                     "machine %s is %s: it has no console now; what it said last is in %s", port->full_name,
                     state, json_string_value(json_object_get(item, "console_log")));
    else
        call->result =
            json_pack("{s:O, s:O, s:O}", "socket", json_object_get(item, "console"), "log",
                      json_object_get(item, "console_log"), "state", json_object_get(item, "state"));
    json_decref(item);
}
