/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation of all machines (of one: vm.c). A port's `vm` declares a machine; there is one struct
 * vm for each, and for each machine that still runs though nothing declares it any more.
 *
 * Machines do not depend on weftd. A weftd that was killed, or stopped with --keep-dataplane, leaves them;
 * the next one finds them by their directories (vm_store.c), even those that have ended meanwhile, and learns
 * how they ended from a file. An orderly stop of weftd powers all off, without that making them off.
 *
 * What the configuration means is known only once the dataplane holds it: until then what was adopted runs on
 * and nothing is started.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "controller.h"
#include "values.h"
#include "vm.h"
#include "vm_machine.h"

static struct vm *vms_find(const struct vms *vms, const char *name)
{
    struct vm *vm = vms->first;
    while (vm && strcmp(vm->name, name) != 0)
        vm = vm->next;
    return vm;
}

bool vms_any_alive(const struct vms *vms)
{
    const struct vm *vm = vms->first;
    while (vm && !vm_alive(vm))
        vm = vm->next;
    return vm != NULL;
}

/* A directory that an earlier weftd left: TENANT.PORT. */
static void adopt(struct vms *vms, const char *tenant, const char *port)
{
    struct vm_record record;
    struct vm *vm = vm_new(vms, tenant, port);
    if (!vm_store_load(vm->directory, &record)) {
        vm_store_remove(vm->directory); /* made for a start that never was */
        vm_free(vm);
        return;
    }
    vm->off = record.off;
    vm->restarts = record.restarts;
    vm->have = record.arguments;
    if (!record.pid)
        return;
    if (vm_process_adopt(&vm->process, record.pid, record.start)) {
        vm_watch(vm);
        vm_event(vm, "vm-adopted", "the machine runs, and went on without weftd");
        return;
    }
    struct vm_end end;
    vm->process.pid = 0;
    vm_learn_end(vm, &end);
    if (end.orderly)
        vm->off = true;
    vm_event(vm, vm->off ? "vm-off" : "vm-failed", end.text);
    vm_store_sockets(vm->directory);
    vm_save(vm);
}

static void adopt_all(struct vms *vms)
{
    DIR *directory = opendir(vms->directory);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char name[sizeof(entry->d_name)];
        snprintf(name, sizeof(name), "%s", entry->d_name);
        char *dot = strchr(name, '.');
        if (!dot)
            continue;
        *dot = '\0';
        if (value_name(name) && value_name(dot + 1))
            adopt(vms, name, dot + 1);
    }
    if (directory)
        closedir(directory);
}

struct vms *vms_new(struct controller *controller)
{
    struct vms *vms = calloc(1, sizeof(*vms));
    if (!vms)
        abort();
    vms->controller = controller;
    snprintf(vms->directory, sizeof(vms->directory), "%s/" WEFT_VM_DIR, controller->options.run_dir);
    adopt_all(vms);
    return vms;
}

void vms_free(struct vms *vms, bool kill)
{
    if (!vms)
        return;
    for (struct vm *vm = vms->first; vm && kill; vm = vm->next)
        vm_process_signal(&vm->process, SIGKILL);
    while (vms->first) {
        struct vm *vm = vms->first;
        struct pollfd poll_fd = {.fd = vm->process.pidfd, .events = POLLIN};
        if (kill && vm_alive(vm)) {
            poll(&poll_fd, 1, VM_KILL_MS);
            vm_store_sockets(vm->directory);
        }
        vm_free(vm);
    }
    rmdir(vms->directory); /* if there are none */
    free(vms);
}

bool vms_end(struct vms *vms)
{
    if (!vms)
        return false;
    vms->ending = true;
    for (struct vm *vm = vms->first; vm; vm = vm->next) {
        if (vm_alive(vm))
            vm_stop(vm);
        else
            evtimer_del(vm->timer);
    }
    return vms_any_alive(vms);
}

static void vm_declare(struct vms *vms, const struct model_port *port)
{
    struct vm *vm = vms_find(vms, port->full_name);
    if (!vm)
        vm = vm_new(vms, port->tenant->name, port->name);
    bool was_pending = vm_pending(vm);
    json_t *want = vm_arguments(port);
    if (!vm_alive(vm) && !json_equal(want, vm->want)) { /* why it failed may be gone: try at once */
        evtimer_del(vm->timer);
        vm->young = 0;
    }
    json_decref(vm->want);
    vm->want = want;
    vm->declared = true;
    if (vm_alive(vm) && vm->stop_sent && !vm->off) /* it had been taken away: after its end, then */
        vm->again = true;
    vm->stop_timeout = port->vm->stop_timeout;
    if (vm_pending(vm) && !was_pending)
        vm_event(vm, "vm-pending", "it runs as it was started; a restart applies the change");
}

void vms_sync(struct vms *vms)
{
    if (!vms || vms->ending)
        return;
    const struct model *model = vms->controller->model;
    for (struct vm *vm = vms->first; vm; vm = vm->next)
        vm->declared = false;
    for (unsigned i = 0; i < model->port_count; i++) {
        if (model->ports[i].vm)
            vm_declare(vms, &model->ports[i]);
    }
    for (struct vm *vm = vms->first, *next; vm; vm = next) {
        next = vm->next;
        vm_step(vm);
    }
}

static bool vm_start(struct vm *vm)
{
    if (vm_alive(vm) && vm_wanted(vm))
        return false;
    vm->off = false;
    vm->again = vm_alive(vm); /* being stopped: after that */
    vm->young = 0;
    vm->reason[0] = '\0';
    vm_save(vm);
    if (!vm_alive(vm))
        evtimer_del(vm->timer);
    vm_step(vm);
    return true;
}

static bool vm_switch_off(struct vm *vm, bool kill)
{
    if (vm->off && !vm_alive(vm))
        return false;
    vm->off = true;
    vm->again = false;
    vm_save(vm);
    if (!vm_alive(vm)) {
        evtimer_del(vm->timer);
        vm->reason[0] = '\0';
        vm_event(vm, "vm-off", "it is not to be started again");
    } else if (kill) {
        if (!vm_link_send(vm->link, "quit"))
            vm_process_signal(&vm->process, SIGKILL);
        vm->stop_sent = true;
        vm_timer(vm, VM_KILL_MS);
    } else {
        vm_stop(vm);
    }
    return true;
}

static bool vm_restart(struct vm *vm)
{
    if (!vm_alive(vm))
        return vm_start(vm);
    vm->off = false;
    vm->again = true;
    vm_save(vm);
    vm_stop(vm);
    return true;
}

bool vms_act(struct vms *vms, const struct model_port *port, enum vm_action action, bool *changed,
             struct outcome *outcome)
{
    static const char *const methods[] = {[VM_RESET] = "reset", [VM_PAUSE] = "pause", [VM_RESUME] = "resume"};
    struct vm *vm = vms ? vms_find(vms, port->full_name) : NULL;
    *changed = false;
    if (!vm || !vm->declared) {
        outcome_fail(outcome, WEFT_FAILED, "the dataplane is not running: machine %s is not started yet",
                     port->full_name);
        return false;
    }
    if (action == VM_START || action == VM_RESTART) {
        *changed = action == VM_START ? vm_start(vm) : vm_restart(vm);
        return true;
    }
    if (action == VM_STOP || action == VM_KILL) {
        *changed = vm_switch_off(vm, action == VM_KILL);
        return true;
    }
    const char *state = vm_state(vm);
    bool paused = strcmp(state, "paused") == 0;
    if ((action == VM_PAUSE && paused) || (action == VM_RESUME && strcmp(state, "running") == 0))
        return true;
    if ((!paused && strcmp(state, "running") != 0) || !vm_link_send(vm->link, methods[action])) {
        outcome_fail(outcome, WEFT_CONFLICT, "machine %s is %s%s", vm->name, state,
                     strcmp(state, "off") == 0 ? "; \"weft vm start\" starts it" : "");
        return false;
    }
    *changed = true;
    return true;
}
