/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What weftd says of machines: items of the API, notes beside a change, warnings. Of what weft-vmm answered
 * only numbers and truth values are passed on: its guest may have taken it over.
 */
#include <stdio.h>
#include <string.h>
#include "controller.h"
#include "values.h"
#include "vm.h"
#include "vm_machine.h"

static const struct vm *find(const struct vms *vms, const char *name)
{
    const struct vm *vm = vms ? vms->first : NULL;
    while (vm && strcmp(vm->name, name) != 0)
        vm = vm->next;
    return vm;
}

static void note(json_t *notes, const char *format, const char *name)
{
    json_array_append_new(notes, json_sprintf(format, name, name));
}

json_t *vms_notes(const struct vms *vms, const struct model *candidate)
{
    json_t *notes = json_array();
    for (const struct vm *vm = vms ? vms->first : NULL; vm; vm = vm->next) {
        const struct model_port *port = NULL;
        for (unsigned i = 0; i < candidate->port_count && !port; i++) {
            if (candidate->ports[i].vm && strcmp(candidate->ports[i].full_name, vm->name) == 0)
                port = &candidate->ports[i];
        }
        if (!vm_alive(vm) || !vm->declared)
            continue;
        if (!port) {
            note(notes, "machine %s is powered off", vm->name);
            continue;
        }
        json_t *arguments = vm_arguments(port);
        if (vm->have && !json_equal(arguments, vm->have))
            note(notes, "machine %s runs on as it was started; \"weft vm restart %s\" applies the change",
                 vm->name);
        json_decref(arguments);
    }
    return notes;
}

void vms_warn(const struct vms *vms, json_t *warnings)
{
    for (const struct vm *vm = vms ? vms->first : NULL; vm; vm = vm->next) {
        if (vm_pending(vm))
            note(warnings,
                 "machine %s runs with an older configuration; \"weft vm restart %s\" applies the new one",
                 vm->name);
        if (strcmp(vm_state(vm), "unresponsive") == 0)
            note(warnings, "weft-vmm of machine %s does not answer; \"weft vm stop %s --force\" ends it",
                 vm->name);
        if (strcmp(vm_state(vm), "failed") == 0)
            json_array_append_new(warnings,
                                  json_sprintf("machine %s does not run: %s", vm->name, vm->reason));
    }
}

/* A number of weft-vmm's status, at "key" or "key.below". 0: none. */
static json_int_t number(const json_t *table, const char *key, const char *below)
{
    json_t *value = json_object_get(table, key);
    if (below)
        value = json_object_get(value, below);
    json_int_t result = json_is_integer(value) ? json_integer_value(value) : 0;
    return result > 0 ? result : 0;
}

static json_int_t disk_sum(const json_t *status, const char *key)
{
    size_t index;
    json_t *disk;
    json_int_t sum = 0;
    json_array_foreach (json_object_get(status, "disks"), index, disk)
        sum += number(disk, key, NULL);
    return sum;
}

static void set_number(json_t *item, const char *key, json_int_t value)
{
    json_object_set_new(item, key, json_integer(value));
}

static void set_text(json_t *item, const char *key, const char *text)
{
    if (text && *text)
        json_object_set_new(item, key, json_string(text));
}

static void set_running(json_t *item, const struct vm *vm)
{
    const json_t *status = vm ? vm->status : NULL, *memory = json_object_get(status, "memory");
    const json_t *net = json_array_get(json_object_get(status, "nets"), 0);
    set_text(item, "state", vm ? vm_state(vm) : "starting");
    if (vm) {
        set_text(item, "reason", vm->reason);
        if (vm_alive(vm))
            set_number(item, "pid", vm->process.pid);
    }
    json_object_set_new(item, "restart_pending", json_boolean(vm && vm_pending(vm)));
    set_number(item, "restarts", vm ? vm->restarts : 0);
    set_number(item, "uptime", number(status, "uptime-us", NULL) / 1000000);
    set_number(item, "resets", number(status, "resets", NULL));
    json_object_set_new(item, "link", json_boolean(json_is_true(json_object_get(net, "link"))));
    json_object_set_new(item, "hugepages", json_boolean(json_is_true(json_object_get(memory, "hugepages"))));
    set_number(item, "read_bytes", disk_sum(status, "read-bytes"));
    set_number(item, "written_bytes", disk_sum(status, "written-bytes"));
    set_number(item, "console_bytes", number(status, "console", "bytes"));
}

static void add_disks(json_t *list, json_t *disks, const char *suffix)
{
    size_t index;
    json_t *disk;
    json_array_foreach (disks, index, disk)
        json_array_append_new(list, json_sprintf("%s%s", json_string_value(disk), suffix));
}

static void set_configured(json_t *item, const struct model_vm *vm)
{
    json_t *disks = json_array();
    set_number(item, "cpus", vm->cpus);
    set_number(item, "memory", (json_int_t)vm->memory << 20);
    set_text(item, "kernel", vm->kernel);
    set_text(item, "initrd", vm->initrd);
    set_text(item, "cmdline", vm->cmdline);
    set_text(item, "cloud_init", vm->cloud_init);
    add_disks(disks, vm->disks, "");
    add_disks(disks, vm->readonly_disks, " (read-only)");
    add_disks(disks, vm->vhost_disks, " (vhost)");
    json_object_set_new(item, "disks", disks);
    set_number(item, "stop_timeout", vm->stop_timeout);
}

/* "52:54:00:00:00:01" in "socket=...,mac=52:54:00:00:00:01,queues=1" */
static void set_mac(json_t *item, json_t *arguments)
{
    size_t index;
    json_t *argument;
    json_array_foreach (arguments, index, argument) {
        const char *text = json_string_value(argument), *mac = strstr(text, ",mac=");
        if (strncmp(text, "socket=", 7) == 0 && mac)
            json_object_set_new(item, "mac", json_stringn(mac + 5, VALUE_MAC_SIZE - 1));
    }
}

json_t *vms_item(const struct vms *vms, const struct model_port *port)
{
    const struct vm *vm = find(vms, port->full_name);
    json_t *item = json_pack("{s:s, s:s}", "name", port->full_name, "tenant", port->tenant->name);
    json_t *arguments = vm_arguments(port);
    char path[MODEL_SOCKET_SIZE];
    set_running(item, vm);
    set_configured(item, port->vm);
    set_mac(item, arguments);
    json_decref(arguments);
    if (vms && model_vm_path(path, sizeof(path), vms->controller->options.run_dir, port, WEFT_VM_CONSOLE))
        set_text(item, "console", path);
    if (vms && model_vm_path(path, sizeof(path), vms->controller->options.run_dir, port, WEFT_VM_CONSOLE_LOG))
        set_text(item, "console_log", path);
    return item;
}

void vms_leaving(const struct vms *vms, json_t *items)
{
    for (const struct vm *vm = vms ? vms->first : NULL; vm; vm = vm->next) {
        if (vm->declared || !vm_alive(vm))
            continue;
        json_t *item = json_pack("{s:s, s:o}", "name", vm->name, "tenant",
                                 json_stringn(vm->name, strcspn(vm->name, "/")));
        set_running(item, vm);
        json_array_append_new(items, item);
    }
}
