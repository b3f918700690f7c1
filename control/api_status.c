/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "api_call.h"
#include "api_item.h"

static json_t *status_controller(const struct controller *controller)
{
    char started[EVENTS_TIME_SIZE];
    events_time(controller->started_ns, started);
    json_t *item = json_pack("{s:i, s:s, s:I, s:s, s:s, s:s, s:s}", "pid", (int)getpid(), "build",
                             WEFT_VERSION, "generation", (json_int_t)controller->generation, "started",
                             started, "run_dir", controller->options.run_dir, "state_dir",
                             controller->options.state_dir, "config", controller->options.config);
    if (controller->confirm_generation) {
        uint64_t now = events_now(), deadline = controller->confirm_deadline_ns;
        uint64_t left = deadline > now ? (deadline - now) / 1000000000u : 0;
        json_object_set_new(item, "unconfirmed",
                            json_pack("{s:I, s:I}", "generation", (json_int_t)controller->confirm_generation,
                                      "seconds_left", (json_int_t)left));
    }
    return item;
}

static json_t *status_dataplane(const struct controller *controller)
{
    static const char *const words[] = {"down", "starting", "up"};
    struct supervisor *supervisor = controller->supervisor;
    struct dp_client *client = supervisor_client(supervisor);
    json_t *item = json_pack("{s:s, s:i, s:b, s:b}", "state", words[supervisor_state(supervisor)], "restarts",
                             (int)supervisor_restarts(supervisor), "adopted", supervisor_adopted(supervisor),
                             "converged", controller->converged && client);
    const char *reason = client ? controller->trouble : supervisor_reason(supervisor);
    if (*reason)
        json_object_set_new(item, "reason", json_string(reason));
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

static json_t *status_workers(const struct runtime *runtime)
{
    json_t *list = json_array();
    for (size_t i = 0; i < runtime->worker_count; i++) {
        const struct dp_worker_state *worker = &runtime->workers[i];
        double busy = worker->total_cycles ? (double)worker->busy_cycles / (double)worker->total_cycles : 0;
        json_array_append_new(
            list,
            json_pack("{s:i, s:i, s:i, s:b, s:f, s:I, s:I, s:I, s:I, s:I}", "id", (int)worker->id, "core",
                      (int)worker->core, "queues", (int)worker->queues, "asleep", worker->asleep != 0, "busy",
                      busy, "busy_cycles", (json_int_t)worker->busy_cycles, "total_cycles",
                      (json_int_t)worker->total_cycles, "packets", (json_int_t)worker->packets, "rounds",
                      (json_int_t)worker->rounds, "sleeps", (json_int_t)worker->sleeps));
    }
    return list;
}

static json_t *status_totals(const struct controller *controller, const struct runtime *runtime)
{
    const struct model *model = controller->model;
    struct runtime_totals totals = {0};
    json_t *item = json_pack("{s:i, s:i, s:i}", "tenants", (int)model->tenant_count, "segments",
                             (int)model->segment_count, "ports", (int)model->port_count);
    for (unsigned i = 0; i < model->port_count; i++)
        runtime_add(runtime, model->ports[i].id, &totals);
    runtime_set_totals(item, &totals);
    return item;
}

static void warn(json_t *warnings, const char *text)
{
    if (*text)
        json_array_append_new(warnings, json_string(text));
}

/* The cores that the configuration names are those that workers run on, unless somebody else started it. */
static void warn_cores(const struct controller *controller, const struct runtime *runtime, json_t *warnings)
{
    json_t *core, *dataplane = json_object_get(controller->model->config, "dataplane");
    size_t index;
    char text[160];
    json_array_foreach (json_object_get(dataplane, "cores"), index, core) {
        bool found = runtime->worker_count == 0;
        for (size_t i = 0; i < runtime->worker_count; i++)
            found |= runtime->workers[i].core == json_integer_value(core);
        if (found)
            continue;
        snprintf(text, sizeof(text),
                 "no worker runs on core %lld; the dataplane was started with other settings",
                 (long long)json_integer_value(core));
        warn(warnings, text);
    }
}

static void warn_ports(const struct controller *controller, const struct runtime *runtime, json_t *warnings)
{
    char text[240];
    for (unsigned i = 0; i < controller->model->port_count; i++) {
        const struct model_port *port = &controller->model->ports[i];
        const struct dp_port_state *state = runtime->state_of[port->id];
        if (!state || !state->ring_errors || json_array_size(warnings) > 20)
            continue;
        snprintf(text, sizeof(text), "port %s: %u broken rings", port->full_name, state->ring_errors);
        warn(warnings, text);
    }
}

static json_t *status_warnings(const struct controller *controller, const struct runtime *runtime)
{
    json_t *warnings = json_array();
    char text[CONTROLLER_TEXT_SIZE + 40];
    if (!supervisor_client(controller->supervisor)) {
        snprintf(text, sizeof(text), "the dataplane is not running: %s",
                 supervisor_reason(controller->supervisor));
        warn(warnings, text);
    } else {
        warn(warnings, controller->trouble);
    }
    warn(warnings, controller->file_trouble);
    if (controller->confirm_generation)
        warn(warnings, "the configuration waits to be confirmed (weft config confirm)");
    warn_cores(controller, runtime, warnings);
    warn_ports(controller, runtime, warnings);
    return warnings;
}

void api_status(struct api_call *call)
{
    struct controller *controller = call->controller;
    struct runtime *runtime = runtime_load(controller);
    json_t *tenants = json_array();
    for (unsigned i = 0; i < controller->model->tenant_count; i++)
        json_array_append_new(tenants, item_tenant(runtime, &controller->model->tenants[i]));
    call->result =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "schema", WEFT_SCHEMA_STATUS, "controller",
                  status_controller(controller), "dataplane", status_dataplane(controller), "workers",
                  status_workers(runtime), "totals", status_totals(controller, runtime), "tenants", tenants,
                  "warnings", status_warnings(controller, runtime));
    runtime_free(runtime);
}
