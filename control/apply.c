/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A change is a whole new configuration, whoever asks for it. apply() does, in this
 * order:
 *
 *   1. number the objects, compile them, say what changes;
 *   2. write the new generation aside (a full disk ends here, before anything changed);
 *   3. restart the dataplane if its own settings change;
 *   4. program the difference in one transaction and verify it by a dump;
 *   5. commit the generation on disk by one rename.
 *
 * If a step fails, those before it are undone: the dataplane is programmed with the old generation and the
 * old one stays in force. A kill in between leaves the generation that `current` names, and the next start
 * reconciles the dataplane with it. Changes are made one after the other, since the event loop runs them to
 * their end.
 *
 * A generation that must be confirmed is written down (confirm.N.json) before it is committed, so that weftd
 * goes back to the one before even if it was killed in between. Until then nothing else is changed: a small
 * change by somebody else must not make the way back disappear.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "compile.h"
#include "config_yaml.h"
#include "controller.h"
#include "host_interface.h"
#include "ids.h"
#include "log.h"
#include "plan.h"
#include "reconcile.h"
#include "reserved_ports.h"
#include "schema.h"
#include "uplink_pci.h"
#include "vm.h"

static void confirm_name(char name[48], uint64_t generation)
{
    snprintf(name, 48, "confirm.%" PRIu64 ".json", generation);
}

static int open_descriptors(void *context, const struct dp_port *port, int fds[DP_PORT_FDS_MAX], char *text,
                            size_t size)
{
    struct controller *controller = context;
    if (port->type != DP_PORT_TAP)
        return uplinks_open(controller->uplinks, port, fds, text, size);
    int error = taps_open(controller->taps, port, fds, text, size);
    return error ? error : (int)port->queues;
}

/* Makes the dataplane and the host's interfaces hold these objects, which are the model's. 0 or -errno with
 * the reason in `text`. */
static int program_objects(struct controller *controller, const struct model *model,
                           const struct object_set *want, char *text, size_t size)
{
    const char *run_dir = controller->options.run_dir;
    controller->programmed_hash = 0;
    struct dp_client *client = supervisor_client(controller->supervisor);
    struct reconcile_opener opener = {open_descriptors, controller};
    if (!client) {
        const char *reason = supervisor_reason(controller->supervisor);
        snprintf(text, size, "the dataplane is not running%s%s", *reason ? ": " : "", reason);
        return -ENOTCONN;
    }
    int error = host_interface_check(model, run_dir, text, size);
    if (!error && controller->guests && model_has_routers(model)) {
        error = guests_connect(controller->guests, client);
        if (error)
            snprintf(text, size, "the dataplane takes no punt channel: %s", dp_client_error(client));
    }
    if (!error)
        error = uplink_pci_prepare(run_dir, want, text, size);
    if (!error)
        error = reconcile(client, want, &opener, text, size);
    if (error == -ECONNRESET || error == -ETIMEDOUT || error == -EPROTO || error == -EPIPE)
        supervisor_disconnect(controller->supervisor, text);
    const struct object_list *ports = &want->lists[DP_KIND_PORT];
    if (!error) {
        taps_keep(controller->taps, ports->items, ports->count);
        uplinks_settle(controller->uplinks, want);
        uplink_pci_settle(run_dir, want);
        taps_adopt(controller->taps, ports->items, ports->count);
        error = host_interface_apply(model, run_dir, text, size);
    }
    if (!error) {
        controller->programmed_hash = object_set_hash(want);
        reserved_ports_apply(controller->store, model);
        outside_settled(controller->outside, model);
    }
    return error;
}

/* All objects of a configuration, those that follow the kernel and those of a benchmark under way included.
 */
static void compile_all(struct controller *controller, const struct model *model, uint64_t generation,
                        struct object_set *want)
{
    compile_model(model, generation, controller->socket_group, want);
    outside_compile(controller->outside, model, want);
    bench_compile(controller->bench, model, controller->socket_group, want);
}

void apply_follow(struct controller *controller)
{
    struct object_set want = {0};
    if (!supervisor_client(controller->supervisor))
        return; /* it is reconciled when it is there */
    compile_all(controller, controller->model, controller->generation, &want);
    bool same = object_set_hash(&want) == controller->programmed_hash;
    object_set_clear(&want);
    if (!same)
        apply_reconcile(controller);
}

int apply_reconcile(struct controller *controller)
{
    struct object_set want = {0};
    uplinks_look(controller->model, controller->events);
    compile_all(controller, controller->model, controller->generation, &want);
    int error = program_objects(controller, controller->model, &want, controller->trouble,
                                sizeof(controller->trouble));
    object_set_clear(&want);
    controller->converged = error == 0;
    if (error)
        log_error("%s", controller->trouble);
    else
        controller->trouble[0] = '\0';
    return error;
}

static json_t *record_of(uint64_t generation, const struct change *change, const char *summary, json_t *ids,
                         json_t *config)
{
    char time[EVENTS_TIME_SIZE];
    events_time(events_now(), time);
    return json_pack("{s:s, s:I, s:s, s:I, s:s, s:O, s:O}", "schema", "weft.generation.v1", "generation",
                     (json_int_t)generation, "time", time, "by", (json_int_t)change->by, "summary", summary,
                     "ids", ids, "config", config);
}

static int confirm_write(struct controller *controller, uint64_t generation, const struct change *change)
{
    if (change->confirm_within <= 0)
        return 0;
    uint64_t deadline = events_now() + (uint64_t)change->confirm_within * 1000000000u;
    json_t *value = json_pack("{s:I, s:I, s:I}", "generation", (json_int_t)generation, "previous",
                              (json_int_t)controller->generation, "deadline", (json_int_t)deadline);
    char name[48];
    confirm_name(name, generation);
    int error = store_write(controller->store, name, value);
    json_decref(value);
    if (!error)
        controller->confirm_deadline_ns = deadline;
    return error;
}

static void confirm_forget(struct controller *controller, uint64_t generation)
{
    char name[48];
    confirm_name(name, generation);
    if (store_remove(controller->store, name) < 0)
        log_error("%s", store_error(controller->store));
}

static void confirm_arm(struct controller *controller, uint64_t generation, uint64_t previous)
{
    uint64_t now = events_now(), deadline = controller->confirm_deadline_ns;
    uint64_t left = deadline > now ? deadline - now : 0;
    struct timeval delay = {(time_t)(left / 1000000000u), (suseconds_t)(left % 1000000000u / 1000u)};
    controller->confirm_generation = generation;
    controller->confirm_previous = previous;
    evtimer_add(controller->confirm_timer, &delay);
}

/* Generation `generation` comes into force after the controller's. */
static void confirm_follow(struct controller *controller, uint64_t generation, const struct change *change)
{
    if (controller->confirm_generation) {
        evtimer_del(controller->confirm_timer);
        confirm_forget(controller, controller->confirm_generation);
        controller->confirm_generation = 0;
    }
    if (change->confirm_within > 0)
        confirm_arm(controller, generation, controller->generation);
}

void apply_confirm_expired(struct controller *controller)
{
    static const struct timeval again = {0, 500000};
    struct outcome outcome = {0};
    struct change change = {.expected = -1};
    if (!supervisor_client(controller->supervisor)) { /* being started: there is nothing to program yet */
        evtimer_add(controller->confirm_timer, &again);
        return;
    }
    log_notice("generation %" PRIu64 " was not confirmed in time", controller->confirm_generation);
    if (apply_rollback(controller, controller->confirm_previous, &change, &outcome) != WEFT_OK) {
        log_error("cannot go back: %s", outcome.message);
        evtimer_add(controller->confirm_timer, &again);
    }
    outcome_clear(&outcome);
}

void apply_confirm_load(struct controller *controller)
{
    char name[48];
    confirm_forget(controller, controller->generation + 1); /* written for a commit that never was */
    confirm_name(name, controller->generation);
    json_t *value = store_read(controller->store, name);
    json_int_t previous = json_integer_value(json_object_get(value, "previous"));
    json_int_t deadline = json_integer_value(json_object_get(value, "deadline"));
    json_decref(value);
    if (previous <= 0 || deadline <= 0)
        return;
    controller->confirm_deadline_ns = (uint64_t)deadline;
    confirm_arm(controller, controller->generation, (uint64_t)previous);
}

struct application {
    struct model *candidate;
    const struct change *change;
    struct object_set objects;
    json_t *ids;
    uint64_t generation;
    bool restarts;
    char text[CONTROLLER_TEXT_SIZE];
};

/* Steps 3 and 4. */
static int application_program(struct controller *controller, struct application *application)
{
    int error = 0;
    if (controller->guests)
        guests_withdraw(controller->guests, application->candidate);
    if (application->restarts) {
        supervisor_configure(controller->supervisor, application->candidate->config);
        error = supervisor_replace(controller->supervisor);
        if (error)
            snprintf(application->text, sizeof(application->text),
                     "the dataplane does not start with these settings: %s",
                     supervisor_reason(controller->supervisor));
    }
    return error ? error
                 : program_objects(controller, application->candidate, &application->objects,
                                   application->text, sizeof(application->text));
}

/* Puts the dataplane back to what is in force. */
static void application_undo(struct controller *controller, const struct application *application)
{
    if (application->restarts) {
        supervisor_configure(controller->supervisor, controller->model->config);
        if (supervisor_replace(controller->supervisor) < 0)
            log_error("the dataplane does not start again: %s", supervisor_reason(controller->supervisor));
    }
    apply_reconcile(controller);
    if (controller->guests)
        guests_configure(controller->guests); /* what was taken back is so again */
}

static void application_adopt(struct controller *controller, struct application *application)
{
    confirm_follow(controller, application->generation, application->change);
    model_free(controller->model);
    json_decref(controller->ids);
    controller->model = application->candidate;
    if (controller->guests)
        guests_configure(controller->guests);
    controller->ids = json_incref(application->ids);
    controller->generation = application->generation;
    controller->converged = true;
    controller->trouble[0] = '\0';
    application->candidate = NULL;
}

/* What somebody else holds (a socket, an interface) is a conflict, not a failure. */
static enum weft_code refusal_code(int error)
{
    return error == -EADDRINUSE || error == -EEXIST || error == -EBUSY ? WEFT_CONFLICT : WEFT_FAILED;
}

/* Steps 2 to 5. */
static enum weft_code application_run(struct controller *controller, struct application *application,
                                      struct outcome *outcome)
{
    char *made = plan_summary(outcome->changes);
    const char *summary = application->change->summary ? application->change->summary : made;
    json_t *record = record_of(application->generation, application->change, summary, application->ids,
                               application->candidate->config);
    int error = store_prepare(controller->store, application->generation, record);
    json_decref(record);
    free(made);
    if (error)
        return outcome_fail(outcome, WEFT_FAILED, "%s; nothing was changed", store_error(controller->store));
    error = application_program(controller, application);
    if (error) {
        store_discard(controller->store, application->generation);
        application_undo(controller, application);
        return outcome_fail(outcome, refusal_code(error), "%s; the old generation stays in force",
                            application->text);
    }
    error = confirm_write(controller, application->generation, application->change);
    if (!error)
        error = store_commit(controller->store, application->generation);
    if (error) {
        outcome_fail(outcome, WEFT_FAILED, "%s; the old generation stays in force",
                     store_error(controller->store));
        store_discard(controller->store, application->generation);
        confirm_forget(controller, application->generation);
        application_undo(controller, application);
        return outcome->code;
    }
    application_adopt(controller, application);
    return WEFT_OK;
}

static enum weft_code application_prepare(struct controller *controller, struct application *application,
                                          struct outcome *outcome)
{
    const struct change *change = application->change;
    if (change->expected >= 0 && (uint64_t)change->expected != controller->generation)
        return outcome_fail(outcome, WEFT_CONFLICT,
                            "generation %" PRIu64 " is in force, not %" PRId64
                            ": somebody else changed it; look and try again",
                            controller->generation, change->expected);
    if (controller->confirm_generation && !change->ends_confirmation && !change->dry_run)
        return outcome_fail(
            outcome, WEFT_CONFLICT,
            "generation %" PRIu64
            " waits to be confirmed; \"weft config confirm\" or \"weft config rollback\" first",
            controller->confirm_generation);
    outcome->changes = plan_changes(controller->model->config, application->candidate->config);
    outcome->changed = json_array_size(outcome->changes) > 0;
    outcome->notes = vms_notes(controller->vms, application->candidate);
    application->restarts = supervisor_differs(controller->supervisor, application->candidate->config);
    application->generation = controller->generation + 1;
    application->ids = ids_assign(controller->ids, application->candidate);
    if (!application->ids)
        return outcome_fail(outcome, WEFT_LIMIT, "no number is left for another object");
    uplinks_look(application->candidate, NULL);
    uplinks_inherit(application->candidate, controller->model);
    if (uplinks_check(application->candidate, controller->model, application->text,
                      sizeof(application->text)) < 0 ||
        host_interface_allowed(application->candidate, controller->model, application->text,
                               sizeof(application->text)) < 0)
        return outcome_fail(outcome, WEFT_INVALID, "%s", application->text);
    compile_all(controller, application->candidate, application->generation, &application->objects);
    return WEFT_OK;
}

enum weft_code apply(struct controller *controller, struct model *candidate, const struct change *change,
                     struct outcome *outcome)
{
    struct application application = {.candidate = candidate, .change = change};
    enum weft_code code = application_prepare(controller, &application, outcome);
    bool needed = outcome->changed || controller->generation == 0 ||
                  (change->ends_confirmation && controller->confirm_generation);
    if (code == WEFT_OK && needed && !change->dry_run) {
        code = application_run(controller, &application, outcome);
        if (code == WEFT_OK)
            events_add(controller->events, "config-applied", NULL, controller->generation,
                       "generation %" PRIu64 " is in force (%zu changes)", controller->generation,
                       json_array_size(outcome->changes));
        else
            events_add(controller->events, "config-failed", NULL, 0, "%s", outcome->message);
        if (code == WEFT_OK)
            vms_sync(controller->vms);
    }
    model_free(application.candidate);
    json_decref(application.ids);
    object_set_clear(&application.objects);
    return code;
}

struct model *apply_candidate(struct controller *controller, const struct document *document,
                              struct diagnostics *diagnostics)
{
    size_t before = diagnostics->count;
    struct model *model = model_from_document(document, controller->options.run_dir, diagnostics);
    if (!model)
        return NULL;
    struct model_check check = {model, document_root(document), diagnostics, controller->options.run_dir};
    model_vm_files(&check, controller->model);
    if (diagnostics->count == before)
        return model;
    diagnostics_sort(diagnostics);
    model_free(model);
    return NULL;
}

enum weft_code apply_text(struct controller *controller, const char *text, size_t size, const char *filename,
                          const struct change *change, struct outcome *outcome)
{
    struct diagnostics diagnostics = {0};
    struct document *document = config_yaml_parse(text, size, &diagnostics);
    struct model *model = document ? apply_candidate(controller, document, &diagnostics) : NULL;
    document_free(document);
    if (!model)
        return outcome_invalid(outcome, &diagnostics, filename);
    return apply(controller, model, change, outcome);
}

enum weft_code apply_tree(struct controller *controller, json_t *tree, const struct change *change,
                          struct outcome *outcome)
{
    struct diagnostics diagnostics = {0};
    struct document *document = document_from_json(tree);
    if (!document)
        return outcome_fail(outcome, WEFT_USAGE, "values are nested too deeply or too many");
    struct model *model = apply_candidate(controller, document, &diagnostics);
    document_free(document);
    if (!model)
        return outcome_invalid(outcome, &diagnostics, NULL);
    return apply(controller, model, change, outcome);
}

static uint64_t generation_before(struct controller *controller)
{
    uint64_t generations[2 * WEFT_HISTORY_MAX];
    size_t count = store_list(controller->store, generations, 2 * WEFT_HISTORY_MAX);
    for (size_t i = 0; i < count; i++) {
        if (generations[i] < controller->generation)
            return generations[i];
    }
    return 0;
}

enum weft_code apply_rollback(struct controller *controller, uint64_t generation, const struct change *change,
                              struct outcome *outcome)
{
    char summary[64];
    struct diagnostics diagnostics = {0};
    if (generation == 0)
        generation =
            controller->confirm_generation ? controller->confirm_previous : generation_before(controller);
    if (generation == 0)
        return outcome_fail(outcome, WEFT_NOT_FOUND, "there is no generation before %" PRIu64,
                            controller->generation);
    json_t *record = store_load(controller->store, generation);
    if (!record)
        return outcome_fail(
            outcome, WEFT_NOT_FOUND,
            "generation %" PRIu64 " is not kept; \"weft config history\" lists those that are", generation);
    struct model *model =
        model_build(json_object_get(record, "config"), controller->options.run_dir, NULL, &diagnostics);
    json_decref(record);
    if (!model)
        return outcome_invalid(outcome, &diagnostics, NULL);
    struct change own = *change;
    snprintf(summary, sizeof(summary), "rollback to generation %" PRIu64, generation);
    own.summary = summary;
    own.ends_confirmation = true;
    enum weft_code code = apply(controller, model, &own, outcome);
    if (code == WEFT_OK && outcome->changed && !change->dry_run)
        events_add(controller->events, "config-rolled-back", NULL, controller->generation,
                   "generation %" PRIu64 " is generation %" PRIu64 " again", controller->generation,
                   generation);
    return code;
}

enum weft_code apply_confirm(struct controller *controller, struct outcome *outcome)
{
    if (!controller->confirm_generation)
        return outcome_fail(outcome, WEFT_CONFLICT, "nothing waits to be confirmed");
    evtimer_del(controller->confirm_timer);
    confirm_forget(controller, controller->confirm_generation);
    controller->confirm_generation = 0;
    events_add(controller->events, "config-confirmed", NULL, controller->generation,
               "generation %" PRIu64 " was confirmed", controller->generation);
    return WEFT_OK;
}
