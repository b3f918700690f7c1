/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port's machine in the configuration: defaults, and what can be wrong with it. Whether its files exist is
 * asked only when a change brings the machine or changes it: a kernel that is gone later must neither keep
 * weftd from starting nor anybody from changing something else.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "model.h"
#include "weft_api.h"

#define PATH_SIZE 200u
#define DISKS_MAX 8u /* weft-vmm's */

__attribute__((format(printf, 4, 5))) static void vm_mistake(const struct model_check *check,
                                                             const struct model_port *port, const char *key,
                                                             const char *format, ...);

static void vm_mistake(const struct model_check *check, const struct model_port *port, const char *key,
                       const char *format, ...)
{
    char path[PATH_SIZE], text[480];
    va_list arguments;
    snprintf(path, sizeof(path), "tenants.%s.ports.%s.vm%s%s", port->tenant->name, port->name, key ? "." : "",
             key ? key : "");
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    model_mistake(check, WEFT_INVALID, path, "%s", text);
}

static uint32_t number_of(json_t *table, const char *key, uint32_t fallback)
{
    json_t *value = json_object_get(table, key);
    return value ? (uint32_t)json_integer_value(value) : fallback;
}

static const char *text_of(json_t *table, const char *key)
{
    return json_string_value(json_object_get(table, key));
}

static bool was_written(const struct model_check *check, const struct model_port *port, const char *key)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "tenants.%s.ports.%s.%s", port->tenant->name, port->name, key);
    return check->root && document_find(check->root, path, NULL);
}

void model_vm_build(const struct model_check *check, struct model_port *port, json_t *table)
{
    json_t *vm = json_object_get(table, "vm");
    const char *hugepages = text_of(vm, "hugepages");
    if (!vm && !was_written(check, port, "vm")) /* an empty table is not in the tree */
        return;
    port->vm = calloc(1, sizeof(*port->vm));
    if (!port->vm)
        abort();
    *port->vm = (struct model_vm){
        .kernel = text_of(vm, "kernel"),
        .initrd = text_of(vm, "initrd"),
        .cmdline = text_of(vm, "cmdline"),
        .cloud_init = text_of(vm, "cloud-init"),
        .hugepages = hugepages ? hugepages : "auto",
        .disks = json_object_get(vm, "disk"),
        .readonly_disks = json_object_get(vm, "disk-readonly"),
        .vhost_disks = json_object_get(vm, "disk-vhost"),
        .memory = number_of(vm, "memory", 256),
        .cpus = number_of(vm, "cpus", 1),
        .stop_timeout = number_of(vm, "stop-timeout", 30),
    };
}

bool model_vm_path(char *path, size_t size, const char *run_dir, const struct model_port *port,
                   const char *name)
{
    int length = snprintf(path, size, "%s/" WEFT_VM_DIR "/%s.%s%s%s", run_dir, port->tenant->name, port->name,
                          *name ? "/" : "", name);
    return length >= 0 && (size_t)length < size;
}

/* The port must be one that weft-vmm can dial. */
static void validate_port(const struct model_check *check, const struct model_port *port)
{
    char path[MODEL_SOCKET_SIZE];
    if (port->tap)
        vm_mistake(check, port, NULL,
                   "the port is interface %s of the host; a machine needs a port without tap", port->tap);
    else if (port->client)
        vm_mistake(check, port, NULL,
                   "the port dials (client: true), but machines that weftd runs dial their port themselves; "
                   "client: false makes it listen");
    else if (strchr(port->socket, ','))
        vm_mistake(check, port, NULL, "weft-vmm takes no socket with a comma in its path: %.100s",
                   port->socket);
    if (!model_vm_path(path, sizeof(path), check->run_dir, port, WEFT_VM_CONSOLE))
        vm_mistake(check, port, NULL, "the path of its console is longer than %u characters: %.60s...",
                   MODEL_SOCKET_SIZE - 1, path);
}

static void validate_disks(const struct model_check *check, const struct model_port *port, const char *key,
                           json_t *disks, json_t *claims)
{
    size_t index;
    json_t *disk;
    json_array_foreach (disks, index, disk) {
        const char *path = json_string_value(disk);
        char *what = NULL;
        if (strchr(path, ',')) {
            vm_mistake(check, port, key, "weft-vmm takes no disk with a comma in its path: %.100s", path);
            continue;
        }
        if (asprintf(&what, "disk %s", path) < 0)
            abort();
        json_t *other = json_object_get(claims, what);
        if (other)
            vm_mistake(check, port, key, "%.200s is a disk of machine %s already; two cannot write to it",
                       path, json_string_value(other));
        else
            json_object_set_new(claims, what, json_string(port->full_name));
        free(what);
    }
}

static void validate_vm(const struct model_check *check, const struct model_port *port, json_t *claims)
{
    const struct model_vm *vm = port->vm;
    if (!vm->kernel && !was_written(check, port, "vm.kernel"))
        vm_mistake(check, port, NULL, "needs a kernel, like \"kernel: /boot/vmlinuz\"");
    validate_port(check, port);
    validate_disks(check, port, "disk", vm->disks, claims);
    validate_disks(check, port, "disk-vhost", vm->vhost_disks, claims);
    validate_disks(check, port, "disk-readonly", vm->readonly_disks, NULL);
    size_t count =
        json_array_size(vm->disks) + json_array_size(vm->readonly_disks) + json_array_size(vm->vhost_disks);
    if (count > DISKS_MAX)
        vm_mistake(check, port, NULL, "has %zu disks, %u are possible", count, DISKS_MAX);
}

void model_vm_validate(const struct model_check *check, json_t *claims)
{
    for (unsigned i = 0; i < check->model->port_count; i++) {
        if (check->model->ports[i].vm)
            validate_vm(check, &check->model->ports[i], claims);
    }
}

enum file_kind { FILE_REGULAR, FILE_DISK, FILE_SEED };

static void check_file(const struct model_check *check, const struct model_port *port, const char *key,
                       const char *path, enum file_kind kind)
{
    struct stat status;
    if (!path)
        return;
    if (stat(path, &status) < 0)
        vm_mistake(check, port, key, "%.300s: %s", path, strerror(errno));
    else if (kind == FILE_REGULAR && !S_ISREG(status.st_mode))
        vm_mistake(check, port, key, "%.300s: not a regular file", path);
    else if (kind == FILE_DISK && !S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        vm_mistake(check, port, key, "%.300s: neither a regular file nor a block device", path);
    else if (kind == FILE_SEED && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        vm_mistake(check, port, key, "%.300s: neither a directory nor a regular file", path);
}

static void check_disks(const struct model_check *check, const struct model_port *port, const char *key,
                        json_t *disks)
{
    size_t index;
    json_t *disk;
    json_array_foreach (disks, index, disk)
        check_file(check, port, key, json_string_value(disk), FILE_DISK);
}

static json_t *vm_table(const struct model *model, const struct model_port *port)
{
    json_t *tenant = json_object_get(json_object_get(model->config, "tenants"), port->tenant->name);
    return json_object_get(json_object_get(json_object_get(tenant, "ports"), port->name), "vm");
}

void model_vm_files(const struct model_check *check, const struct model *before)
{
    const struct model *model = check->model;
    for (unsigned i = 0; i < model->port_count; i++) {
        const struct model_port *port = &model->ports[i];
        const struct model_vm *vm = port->vm;
        json_t *was = before ? vm_table(before, port) : NULL;
        if (!vm || (was && json_equal(was, vm_table(model, port))))
            continue;
        check_file(check, port, "kernel", vm->kernel, FILE_REGULAR);
        check_file(check, port, "initrd", vm->initrd, FILE_REGULAR);
        check_file(check, port, "cloud-init", vm->cloud_init, FILE_SEED);
        check_disks(check, port, "disk", vm->disks);
        check_disks(check, port, "disk-readonly", vm->readonly_disks);
    }
}
