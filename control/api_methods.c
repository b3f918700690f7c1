/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of methods (docs/api.md), their parameters, and those methods that are a few lines.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api_call.h"
#include "bench.h"
#include "config_yaml.h"
#include "export.h"

static void api_hello(struct api_call *call)
{
    int64_t version = api_integer(call, "version", 0);
    if (version != WEFT_API_VERSION) {
        outcome_fail(&call->outcome, WEFT_USAGE, "weftd speaks version %d of the API, not %" PRId64,
                     WEFT_API_VERSION, version);
        return;
    }
    call->result = json_pack("{s:i, s:s, s:s, s:I}", "version", WEFT_API_VERSION, "build", WEFT_VERSION,
                             "role", call->admin ? WEFT_ROLE_ADMIN : WEFT_ROLE_READ, "generation",
                             (json_int_t)call->controller->generation);
}

/* Where there is something to say beside the changes. */
static void answer_notes(struct api_call *call)
{
    if (json_array_size(call->outcome.notes))
        json_object_set(call->result, "notes", call->outcome.notes);
}

void api_answer_change(struct api_call *call)
{
    if (call->outcome.code != WEFT_OK)
        return;
    call->result = json_pack("{s:b, s:I, s:O}", "changed", call->outcome.changed, "generation",
                             (json_int_t)call->controller->generation, "changes", call->outcome.changes);
    answer_notes(call);
}

static const char *filename_of(const struct api_call *call)
{
    const char *filename = api_string(call, "filename");
    return filename ? filename : "input";
}

static void api_config_apply(struct api_call *call)
{
    const char *text = api_string(call, "text");
    struct change change = {
        .by = call->uid,
        .dry_run = api_bool(call, "dry_run"),
        .confirm_within = api_integer(call, "confirm_within", 0),
        .expected = api_integer(call, "expect_generation", -1),
    };
    if (change.confirm_within < 0 || change.confirm_within > WEFT_CONFIRM_SECONDS) {
        outcome_fail(&call->outcome, WEFT_USAGE, "confirm_within is 1 to %d seconds", WEFT_CONFIRM_SECONDS);
        return;
    }
    if (change.confirm_within > 0 && call->controller->generation == 0) {
        outcome_fail(&call->outcome, WEFT_CONFLICT,
                     "confirm_within needs a generation to go back to, and this is the first");
        return;
    }
    apply_text(call->controller, text, strlen(text), filename_of(call), &change, &call->outcome);
    if (call->outcome.code == WEFT_OK && !change.dry_run)
        startup_applied_text(call->controller, text, strlen(text));
    api_answer_change(call);
    if (call->result && call->outcome.changed && change.confirm_within > 0 && !change.dry_run)
        json_object_set_new(call->result, "confirm_within", json_integer(change.confirm_within));
}

static void api_config_diff(struct api_call *call)
{
    const char *text = api_string(call, "text");
    struct change change = {.by = call->uid, .dry_run = true, .expected = -1};
    apply_text(call->controller, text, strlen(text), filename_of(call), &change, &call->outcome);
    if (call->outcome.code != WEFT_OK)
        return;
    call->result = json_pack("{s:s, s:b, s:O}", "schema", WEFT_SCHEMA_DIFF, "same", !call->outcome.changed,
                             "changes", call->outcome.changes);
    answer_notes(call);
}

static void api_config_confirm(struct api_call *call)
{
    if (apply_confirm(call->controller, &call->outcome) == WEFT_OK)
        call->result = json_pack("{s:I}", "generation", (json_int_t)call->controller->generation);
}

static void api_config_rollback(struct api_call *call)
{
    struct change change = {.by = call->uid, .dry_run = api_bool(call, "dry_run"), .expected = -1};
    int64_t generation = api_integer(call, "generation", 0);
    if (generation < 0) {
        outcome_fail(&call->outcome, WEFT_USAGE, "generations are numbered from 1");
        return;
    }
    apply_rollback(call->controller, (uint64_t)generation, &change, &call->outcome);
    api_answer_change(call);
}

static void api_config_history(struct api_call *call)
{
    struct controller *controller = call->controller;
    uint64_t generations[2 * WEFT_HISTORY_MAX];
    size_t count = store_list(controller->store, generations, 2 * WEFT_HISTORY_MAX);
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *record = store_load(controller->store, generations[i]);
        if (!record)
            continue;
        json_t *item = json_object();
        static const char *const keys[] = {"generation", "time", "by", "summary"};
        for (unsigned key = 0; key < 4; key++)
            json_object_set(item, keys[key], json_object_get(record, keys[key]));
        json_object_set_new(item, "current", json_boolean(generations[i] == controller->generation));
        json_object_set_new(item, "unconfirmed",
                            json_boolean(generations[i] == controller->confirm_generation));
        json_array_append_new(items, item);
        json_decref(record);
    }
    call->result = json_pack("{s:s, s:o}", "schema", WEFT_SCHEMA_HISTORY, "items", items);
}

static void api_config_export(struct api_call *call)
{
    struct controller *controller = call->controller;
    int64_t generation = api_integer(call, "generation", (int64_t)controller->generation);
    json_t *config = json_incref(controller->model->config);
    if (generation != (int64_t)controller->generation) {
        json_t *record = generation > 0 ? store_load(controller->store, (uint64_t)generation) : NULL;
        json_decref(config);
        config = json_incref(json_object_get(record, "config"));
        json_decref(record);
    }
    if (!config) {
        outcome_fail(&call->outcome, WEFT_NOT_FOUND,
                     "generation %" PRId64 " is not kept; \"weft config history\" lists those that are",
                     generation);
        return;
    }
    char *text = export_yaml(config);
    call->result = json_pack("{s:s, s:s, s:I}", "schema", WEFT_SCHEMA_EXPORT, "text", text, "generation",
                             (json_int_t)generation);
    free(text);
    json_decref(config);
}

static void api_events(struct api_call *call)
{
    int64_t since = api_integer(call, "since", 0);
    call->items = events_since(call->controller->events, since > 0 ? (uint64_t)since : 0);
    call->follow = api_bool(call, "follow");
    call->result = json_object();
}

static const struct api_method methods[] = {
    {"hello", api_hello, false, false, "version:integer"},
    {"status", api_status, false, true, ""},
    {"list", api_list, false, true, "noun:string tenant:string? segment:string? port:string? limit:integer?"},
    {"show", api_show, false, true, "noun:string name:string"},
    {"add", api_add, true, true,
     "noun:string name:string values:object? dry_run:bool? expect_generation:integer?"},
    {"set", api_set, true, true,
     "noun:string name:string values:object dry_run:bool? expect_generation:integer?"},
    {"del", api_del, true, true,
     "noun:string name:string dry_run:bool? expect_generation:integer? cascade:bool?"},
    {"forward.add", api_forward_add, true, true,
     "segment:string proto:string port:string to:string address:string? dry_run:bool? "
     "expect_generation:integer?"},
    {"forward.del", api_forward_del, true, true,
     "segment:string proto:string port:string address:string? dry_run:bool? expect_generation:integer?"},
    {"port.snippet", api_snippet, false, true, "name:string for:string"},
    {"fdb.flush", api_flush, true, true, "segment:string? port:string? dry_run:bool?"},
    {"config.apply", api_config_apply, true, true,
     "text:string filename:string? dry_run:bool? confirm_within:integer? expect_generation:integer?"},
    {"config.diff", api_config_diff, false, true, "text:string filename:string?"},
    {"config.confirm", api_config_confirm, true, false, ""},
    {"config.rollback", api_config_rollback, true, true, "generation:integer? dry_run:bool?"},
    {"config.history", api_config_history, false, true, ""},
    {"config.export", api_config_export, false, true, "generation:integer?"},
    {"vm.run", api_vm_run, true, true, "name:string values:object? dry_run:bool? expect_generation:integer?"},
    {"vm.start", api_vm_start, true, true, "name:string"},
    {"vm.stop", api_vm_stop, true, false, "name:string force:bool?"},
    {"vm.restart", api_vm_restart, true, true, "name:string"},
    {"vm.reset", api_vm_reset, true, false, "name:string"},
    {"vm.pause", api_vm_pause, true, false, "name:string"},
    {"vm.resume", api_vm_resume, true, false, "name:string"},
    {"vm.console", api_vm_console, true, false, "name:string"},
    {"bench.open", api_bench_open, true, true, "segment:string to:string? trunk:bool?"},
    {"events", api_events, false, false, "follow:bool? since:integer?"},
    {"doctor", api_doctor, false, false, "fix:bool?"},
};
#define METHOD_COUNT (sizeof(methods) / sizeof(methods[0]))

const struct api_method *api_method_find(const char *name)
{
    for (unsigned i = 0; i < METHOD_COUNT; i++) {
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    }
    return NULL;
}

const char *api_method_nearest(const char *name)
{
    const char *words[METHOD_COUNT + 1];
    for (unsigned i = 0; i < METHOD_COUNT; i++)
        words[i] = methods[i].name;
    words[METHOD_COUNT] = NULL;
    return diagnostics_nearest(name, words);
}
