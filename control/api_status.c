/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * status: everything on one screen.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "api_call.h"
#include "uplink.h"
#include "view.h"
#include "vm.h"

static json_t *status_controller(const struct controller *controller)
{
    char started[EVENTS_TIME_SIZE];
    events_time(controller->started_ns, started);
    json_t *item = json_pack("{s:i, s:s, s:I, s:s, s:s, s:s, s:s}", "pid", (int)getpid(), "build",
                             WEFT_VERSION, "generation", (json_int_t)controller->generation, "started",
                             started, "run_dir", controller->options.run_dir, "state_dir",
                             controller->options.state_dir, "config", controller->options.config);
    if (controller->confirm_generation) {
        int64_t left = (int64_t)(controller->confirm_deadline_ns - events_now()) / 1000000000;
        json_object_set_new(item, "unconfirmed",
                            json_pack("{s:I, s:I}", "generation", (json_int_t)controller->confirm_generation,
                                      "seconds_left", (json_int_t)(left > 0 ? left : 0)));
    }
    return item;
}

static json_t *status_dataplane(const struct controller *controller)
{
    static const char *const names[] = {
        [SUPERVISOR_DOWN] = "down", [SUPERVISOR_STARTING] = "starting", [SUPERVISOR_UP] = "up"};
    const struct supervisor *supervisor = controller->supervisor;
    const struct dp_client *client = supervisor_client(supervisor);
    json_t *item = json_pack("{s:s, s:i, s:b, s:b}", "state", names[supervisor_state(supervisor)], "restarts",
                             (int)supervisor_restarts(supervisor), "adopted", supervisor_adopted(supervisor),
                             "converged", controller->converged);
    if (controller->trouble[0])
        json_object_set_new(item, "reason", json_string(controller->trouble));
    if (client) {
        const struct dp_hello *hello = dp_client_hello(client);
        char started[EVENTS_TIME_SIZE];
        events_time(hello->start_time_ns, started);
        json_object_set_new(item, "pid", json_integer(hello->pid));
        json_object_set_new(item, "build",
                            json_stringn(hello->build, strnlen(hello->build, sizeof(hello->build))));
        json_object_set_new(item, "started", json_string(started));
    }
    return item;
}

static json_t *status_workers(const struct view *view)
{
    json_t *list = json_array();
    for (size_t i = 0; i < view->worker_count; i++) {
        const struct dp_worker_state *worker = &view->workers[i];
        double busy = worker->total_cycles ? (double)worker->busy_cycles / (double)worker->total_cycles : 0;
        json_array_append_new(
            list,
            json_pack("{s:i, s:i, s:i, s:b, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "id", (int)worker->id,
                      "core", (int)worker->core, "queues", (int)worker->queues, "asleep", (int)worker->asleep,
                      "busy", busy, "busy_cycles", (json_int_t)worker->busy_cycles, "total_cycles",
                      (json_int_t)worker->total_cycles, "packets", (json_int_t)worker->packets, "rounds",
                      (json_int_t)worker->rounds, "sleeps", (json_int_t)worker->sleeps, "flow_hits",
                      (json_int_t)worker->flow_hits, "flow_misses", (json_int_t)worker->flow_misses));
    }
    return list;
}

static void warn(json_t *warnings, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void warn(json_t *warnings, const char *format, ...)
{
    char text[CONTROLLER_TEXT_SIZE + 64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    json_array_append_new(warnings, json_string(text));
}

/* Guests of its segments are cut off: doctor says more. */
static void warn_of_link(const struct view *view, const struct model_uplink *uplink, json_t *warnings)
{
    const struct dp_port_state *state = view_state(view, uplink->id);
    if (uplink->parent)
        return; /* its carrier's matter */
    if (uplink_is_shared(uplink->device) && !uplink->link.ifindex)
        warn(warnings, "uplink %s: there is no interface %s", uplink->name, uplink_argument(uplink->device));
    else if (state && !state->link)
        warn(warnings, "uplink %s: %s has no link", uplink->name, uplink->device);
}

static json_t *status_warnings(const struct controller *controller, const struct view *view)
{
    const struct model *model = controller->model;
    json_t *warnings = json_array();
    if (!controller->converged)
        warn(warnings, "the dataplane does not hold the configuration: %s",
             controller->trouble[0] ? controller->trouble : "it is being started");
    if (controller->file_trouble[0])
        warn(warnings, "%s", controller->file_trouble);
    vms_warn(controller->vms, warnings);
    for (unsigned i = 0; i < model->uplink_count; i++) {
        const struct model_uplink *uplink = &model->uplinks[i];
        warn_of_link(view, uplink, warnings);
        if (uplink->routes_left_out)
            warn(warnings, "uplink %s: guests do not use %zu of the host's routes: %u are possible",
                 uplink->name, uplink->routes_left_out, DP_ROUTES_MAX);
    }
    for (unsigned i = 0; i < model->port_count; i++) {
        const struct dp_port_state *state = view_state(view, model->ports[i].id);
        if (state && state->ring_errors)
            warn(warnings, "port %s: %u broken rings; the guest has to reset its NIC",
                 model->ports[i].full_name, state->ring_errors);
    }
    return warnings;
}

void api_status(struct api_call *call)
{
    struct controller *controller = call->controller;
    const struct model *model = controller->model;
    struct view *view = view_new(controller, VIEW_PORTS | VIEW_WORKERS);
    struct view_sum sum = {0};
    json_t *tenants = json_array(), *totals = json_object();
    for (unsigned i = 0; i < model->tenant_count; i++)
        json_array_append_new(tenants, item_tenant(view, &model->tenants[i]));
    for (unsigned i = 0; i < model->port_count; i++)
        view_add(view, model->ports[i].id, &sum);
    json_object_set_new(totals, "tenants", json_integer(model->tenant_count));
    json_object_set_new(totals, "segments", json_integer(model->segment_count));
    view_sum_json(&sum, totals);
    call->result = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "schema", WEFT_SCHEMA_STATUS,
                             "controller", status_controller(controller), "dataplane",
                             status_dataplane(controller), "workers", status_workers(view), "totals", totals,
                             "tenants", tenants, "warnings", status_warnings(controller, view));
    view_free(view);
}
