/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation of one machine (of all: vms.c). vm_step() does what is next for it:
 *
 *   process alive, machine wanted      nothing
 *   process alive, not wanted          power button (SIGTERM); weft-vmm ends a guest that does not power off
 *                                      within its stop-timeout, and weftd (SIGKILL) a weft-vmm that does not
 *   no process, wanted                 start it as soon as the dataplane holds what is in force
 *   no process, not declared           forget it, with its directory
 *
 * Wanted is what is declared, unless it is off: the guest powered off, or somebody stopped it. Off is written
 * down and lasts until somebody starts it, or the host is started again (the run dir is gone then). A
 * weft-vmm that ends in any other way is started again, at once if it had run for YOUNG_MS, else later and
 * later.
 *
 * A weft-vmm that runs but does not answer (vm_link.c) is unresponsive: that is said, and nothing is done.
 * Its guest may well go on (a thread each runs its CPUs), what hangs may come back (a disk on a network, a
 * debugger), and a guest that is ended loses what it has not written. To stop, restart or kill it works as
 * ever, since a weft-vmm that does not end in time is ended.
 *
 * A change of the configuration is for the next start: no guest is powered off without being asked to be.
 * What runs is compared with what is declared by weft-vmm's arguments.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "controller.h"
#include "log.h"
#include "vm.h"
#include "vm_machine.h"

#define YOUNG_MS         10000
#define BACKOFF_FIRST_MS 250
#define BACKOFF_LAST_MS  30000
#define GRACE_MS         5000 /* beyond the stop-timeout, for weft-vmm itself */

bool vm_wanted(const struct vm *vm)
{
    return vm->declared && !vm->off && !vm->again && !vm->vms->ending;
}

bool vm_pending(const struct vm *vm)
{
    return vm_alive(vm) && vm->want && vm->have && !json_equal(vm->want, vm->have);
}

static bool status_is(const struct vm *vm, const char *state)
{
    const char *text = json_string_value(json_object_get(vm->status, "state"));
    return text && strcmp(text, state) == 0;
}

const char *vm_state(const struct vm *vm)
{
    if (!vm_alive(vm))
        return vm->off || !vm->declared ? "off" : vm->reason[0] ? "failed" : "starting";
    if (!vm_wanted(vm) || status_is(vm, "stopping"))
        return "stopping";
    if (vm->silent)
        return "unresponsive";
    if (!vm->status)
        return "starting";
    return status_is(vm, "paused") ? "paused" : "running";
}

void vm_timer(struct vm *vm, int64_t ms)
{
    struct timeval delay = {ms / 1000, (ms % 1000) * 1000};
    evtimer_add(vm->timer, &delay);
}

bool vm_save(void *context)
{
    struct vm *vm = context;
    struct vm_record record = {vm->process.pid, vm->process.start, vm->off, vm->have, vm->restarts};
    int error = vm_store_make(vm->directory);
    if (!error)
        error = vm_store_save(vm->directory, &record);
    if (error)
        log_error("%s: cannot write down machine %s: %s", vm->directory, vm->name, strerror(-error));
    return error == 0;
}

void vm_event(const struct vm *vm, const char *type, const char *text)
{
    events_add(vm->vms->controller->events, type, vm->name, 0, "%s", text);
}

void vm_free(struct vm *vm)
{
    struct vm **link = &vm->vms->first;
    while (*link && *link != vm)
        link = &(*link)->next;
    if (*link)
        *link = vm->next;
    if (vm->process_event)
        event_free(vm->process_event);
    event_free(vm->timer);
    vm_link_free(vm->link);
    vm_process_forget(&vm->process);
    json_decref(vm->status);
    json_decref(vm->want);
    json_decref(vm->have);
    free(vm);
}

void vm_stop(struct vm *vm)
{
    if (vm->stop_sent)
        return;
    if (!vm->process.child && !vm->status) { /* adopted: it may have been told, and a second time ends it */
        if (!evtimer_pending(vm->timer, NULL))
            vm_timer(vm, VM_KILL_MS);
        return;
    }
    if (!status_is(vm, "stopping"))
        vm_process_signal(&vm->process, SIGTERM);
    vm->stop_sent = true;
    vm_timer(vm, (int64_t)vm->stop_timeout * 1000 + GRACE_MS);
}

static void on_status(void *context, json_t *status)
{
    struct vm *vm = context;
    json_decref(vm->status);
    vm->status = json_incref(status);
    if (vm->silent)
        vm_event(vm, "vm-responsive", "weft-vmm answers again");
    vm->silent = false;
    if (!vm->announced && vm->process.child) {
        vm->reason[0] = '\0';
        vm_event(vm, "vm-started", "the machine runs");
    }
    vm->announced = true;
    vm_step(vm);
}

static void on_silent(void *context)
{
    struct vm *vm = context;
    char text[120];
    if (!vm_wanted(vm))
        return; /* it is overdue soon */
    vm->silent = true;
    snprintf(text, sizeof(text), "weft-vmm (pid %d) has not answered for %d s", (int)vm->process.pid,
             VM_SILENT_MS / 1000);
    vm_event(vm, "vm-unresponsive", text);
}

static void on_process(evutil_socket_t fd, short what, void *context);

void vm_watch(struct vm *vm)
{
    struct event_base *base = vm->vms->controller->base;
    vm->started_ms = clock_ms();
    vm->stop_sent = vm->announced = vm->silent = false;
    vm->process_event = event_new(base, vm->process.pidfd, EV_READ, on_process, vm);
    event_add(vm->process_event, NULL);
    vm->link = vm_link_new(base, vm->directory, on_status, on_silent, vm);
}

/* The next attempt: at once after a machine that ran well, else later and later. */
static int64_t vm_delay(struct vm *vm)
{
    vm->young = clock_ms() - vm->started_ms < YOUNG_MS ? vm->young + 1 : 0;
    unsigned shift = vm->young < 8 ? vm->young : 8;
    int64_t delay = vm->young ? (int64_t)BACKOFF_FIRST_MS << (shift - 1) : 0;
    return delay < BACKOFF_LAST_MS ? delay : BACKOFF_LAST_MS;
}

static void vm_failed(struct vm *vm, const char *why)
{
    int64_t delay = vm_delay(vm);
    if (strcmp(vm->reason, why) != 0) { /* said once, not at each attempt */
        snprintf(vm->reason, sizeof(vm->reason), "%s", why);
        events_add(vm->vms->controller->events, "vm-failed", vm->name, 0, "%s; next attempt in %.2f s", why,
                   (double)delay / 1000);
    }
    vm_timer(vm, delay);
}

static const struct model_port *vm_port(const struct vm *vm)
{
    const struct model *model = vm->vms->controller->model;
    for (unsigned i = 0; i < model->port_count; i++) {
        if (model->ports[i].vm && strcmp(model->ports[i].full_name, vm->name) == 0)
            return &model->ports[i];
    }
    return NULL;
}

static void vm_spawn(struct vm *vm)
{
    char log[MODEL_SOCKET_SIZE + 8], text[100];
    const struct model_port *port = vm_port(vm);
    snprintf(log, sizeof(log), "%s/" VM_LOG, vm->directory);
    int error = port ? vm_store_make(vm->directory) : -ENOENT;
    if (!error) {
        json_t *command = vm_command(vm->want, port->vm, vm->directory);
        vm_store_prepare(vm->directory);
        json_decref(vm->have);
        vm->have = json_incref(vm->want);
        error = vm_process_spawn(&vm->process, command, log, vm_save, vm);
        json_decref(command);
    }
    if (!error) {
        vm_watch(vm);
        return;
    }
    vm->started_ms = clock_ms();
    snprintf(text, sizeof(text), "it cannot be started: %s", strerror(-error));
    vm_failed(vm, text);
}

void vm_step(struct vm *vm)
{
    if (vm_alive(vm)) {
        if (!vm_wanted(vm))
            vm_stop(vm);
    } else if (vm->vms->ending) {
        return;
    } else if (!vm->declared) {
        vm_store_remove(vm->directory);
        vm_free(vm);
    } else if (vm_wanted(vm) && !evtimer_pending(vm->timer, NULL) && vm->vms->controller->converged) {
        vm_spawn(vm);
    }
}

/* What an end means, unless weftd itself ends. */
static void vm_ended(struct vm *vm, const struct vm_end *end)
{
    if (vm->again || vm->off || end->orderly || !vm->declared) {
        vm_event(vm, "vm-off", end->text);
        vm->off = !vm->again;
        vm->again = false;
        vm->young = 0;
        vm->reason[0] = '\0';
    } else {
        vm->restarts++;
        vm_failed(vm, end->text);
    }
    vm_save(vm);
}

void vm_learn_end(struct vm *vm, struct vm_end *end)
{
    char exit_file[MODEL_SOCKET_SIZE + 8], log[MODEL_SOCKET_SIZE + 8];
    snprintf(exit_file, sizeof(exit_file), "%s/" VM_EXIT, vm->directory);
    snprintf(log, sizeof(log), "%s/" VM_LOG, vm->directory);
    vm_process_end(&vm->process, exit_file, log, end);
    size_t length = strlen(vm->name);
    if (strncmp(end->text, vm->name, length) == 0 && strncmp(end->text + length, ": ", 2) == 0)
        memmove(end->text, end->text + length + 2, strlen(end->text + length + 2) + 1); /* it says its name */
}

static void on_process(evutil_socket_t fd, short what, void *context)
{
    struct vm *vm = context;
    struct vms *vms = vm->vms;
    struct vm_end end;
    (void)fd, (void)what;
    vm_learn_end(vm, &end);
    event_free(vm->process_event);
    vm->process_event = NULL;
    vm_process_forget(&vm->process);
    vm_link_free(vm->link);
    vm->link = NULL;
    json_decref(vm->status);
    vm->status = NULL;
    evtimer_del(vm->timer);
    vm_store_sockets(vm->directory);
    if (!vms->ending) {
        vm_ended(vm, &end);
        vm_step(vm); /* may free it */
        return;
    }
    vm_save(vm);
    if (!vms_any_alive(vms))
        event_base_loopexit(vms->controller->base, NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct vm *vm = context;
    (void)fd, (void)what;
    if (!vm_alive(vm)) {
        vm_step(vm);
        return;
    }
    if (vm_wanted(vm))
        return;
    if (!vm->stop_sent) { /* adopted, and silent: it cannot be asked what it was told */
        vm->stop_sent = true;
        vm_process_signal(&vm->process, SIGTERM);
        vm_timer(vm, (int64_t)vm->stop_timeout * 1000 + GRACE_MS);
        return;
    }
    log_notice("machine %s: weft-vmm (pid %d) does not end, ending it", vm->name, (int)vm->process.pid);
    vm_process_signal(&vm->process, SIGKILL);
}

struct vm *vm_new(struct vms *vms, const char *tenant, const char *port)
{
    struct vm *vm = calloc(1, sizeof(*vm)), **link = &vms->first;
    if (!vm)
        abort();
    vm->vms = vms;
    vm->process.pidfd = -1;
    vm->stop_timeout = 30;
    snprintf(vm->name, sizeof(vm->name), "%s/%s", tenant, port);
    snprintf(vm->directory, sizeof(vm->directory), "%.*s/%s.%s", 100, vms->directory, tenant, port);
    vm->timer = evtimer_new(vms->controller->base, on_timer, vm);
    while (*link)
        link = &(*link)->next;
    *link = vm;
    return vm;
}
