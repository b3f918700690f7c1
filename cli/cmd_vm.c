/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done to machines. weftd answers when it has begun; unless told otherwise these commands wait until
 * the machine is in the state that was asked for, by looking again and again, and say 8 (accepted, not
 * converged) if it is not in time.
 */
#include <poll.h>
#include <string.h>
#include <time.h>

#include "change.h"
#include "client.h"
#include "commands.h"
#include "output.h"

#define LOOK_MS 50

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static json_t *name_params(const struct cli_context *context)
{
    json_t *params = json_object();
    json_object_set_new(params, "name", output_json_string(context->arguments[0]));
    return params;
}

/* The machine's item in *item, the caller's. */
static int look(struct cli_context *context, json_t **item)
{
    json_t *result, *params = name_params(context);
    json_object_set_new(params, "noun", json_string("vm"));
    int code = client_call(context, "show", params, false, &result);
    if (code)
        return code;
    *item = json_incref(json_array_get(json_object_get(result, "items"), 0));
    json_decref(result);
    return WEFT_OK;
}

static const char *text_of(const json_t *item, const char *key)
{
    const char *text = json_string_value(json_object_get(item, key));
    return text ? text : "";
}

/* Waits for the state; `not_pid`: of another process than that. *item: as it was seen last. */
static int wait_for(struct cli_context *context, const char *state, json_int_t not_pid, json_t **item)
{
    long long end = now_ms() + 1000ll * context->timeout_s;
    for (*item = NULL;; poll(NULL, 0, LOOK_MS)) {
        json_decref(*item);
        *item = NULL;
        int code = look(context, item);
        if (code)
            return code;
        const char *now = text_of(*item, "state");
        if (strcmp(now, state) == 0 &&
            (!not_pid || json_integer_value(json_object_get(*item, "pid")) != not_pid))
            return WEFT_OK;
        if (strcmp(now, "off") == 0 && strcmp(state, "running") == 0) { /* it was started before */
            output_note("machine %s has powered off already", context->arguments[0]);
            return WEFT_OK;
        }
        if (strcmp(now, "failed") == 0 && strcmp(state, "running") == 0) {
            output_error("machine %s does not run: %s", context->arguments[0], text_of(*item, "reason"));
            return WEFT_FAILED;
        }
        if (now_ms() >= end) {
            output_error("machine %s is still %s after %u s; --timeout waits longer%s", context->arguments[0],
                         now, context->timeout_s,
                         strcmp(state, "off") == 0 ? ", \"weft vm stop --force\" ends it" : "");
            return WEFT_NOT_CONVERGED;
        }
    }
}

static void print_state(const struct cli_context *context, const json_t *item)
{
    if (context->format == CLI_FORMAT_JSON) {
        output_json(context->out, item, false);
        return;
    }
    char line[OUTPUT_CELL_SIZE + 64];
    snprintf(line, sizeof(line), "%s%s%s", text_of(item, "name"),
             context->format == CLI_FORMAT_NAME ? "" : " ",
             context->format == CLI_FORMAT_NAME ? "" : text_of(item, "state"));
    output_text(context->out, line);
}

/* `state`: to wait for; NULL: none. */
static int act(struct cli_context *context, const char *method, json_t *params, const char *state)
{
    json_t *result, *item = NULL;
    json_int_t pid = 0;
    int code = WEFT_OK;
    if (strcmp(method, "vm.restart") == 0) {
        code = look(context, &item);
        pid = json_integer_value(json_object_get(item, "pid"));
        json_decref(item);
    }
    if (code) {
        json_decref(params);
        return code;
    }
    code = client_call(context, method, params, true, &result);
    if (code)
        return code;
    if (state && !cli_is_given(context, "no-wait")) {
        code = wait_for(context, state, pid, &item);
        json_decref(result);
        result = item;
    }
    if (!code)
        print_state(context, result);
    json_decref(result);
    return code;
}

int cmd_vm_start(struct cli_context *context)
{
    return act(context, "vm.start", name_params(context), "running");
}

int cmd_vm_stop(struct cli_context *context)
{
    json_t *params = name_params(context);
    if (cli_is_given(context, "force"))
        json_object_set_new(params, "force", json_true());
    return act(context, "vm.stop", params, "off");
}

int cmd_vm_restart(struct cli_context *context)
{
    return act(context, "vm.restart", name_params(context), "running");
}

int cmd_vm_reset(struct cli_context *context)
{
    return act(context, "vm.reset", name_params(context), NULL);
}

int cmd_vm_pause(struct cli_context *context)
{
    return act(context, "vm.pause", name_params(context), "paused");
}

int cmd_vm_resume(struct cli_context *context)
{
    return act(context, "vm.resume", name_params(context), "running");
}

int cmd_vm_run(struct cli_context *context)
{
    json_t *params = name_params(context), *item = NULL;
    json_object_set_new(params, "values", change_values(context, false));
    int code = change_run(context, "vm.run", params);
    if (code || context->dry_run || cli_is_given(context, "no-wait"))
        return code;
    code = wait_for(context, "running", 0, &item);
    json_decref(item);
    return code;
}
