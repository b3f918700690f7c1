/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a port of the configuration to the command line of weft-vmm(1). Every value is an argument of its own
 * or behind a comma that the value cannot hold (model_vm.c); no shell sees any of it.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "values.h"
#include "vm_machine.h"
#include "weft_api.h"

#define FNV_OFFSET 0xcbf29ce484222325u
#define FNV_PRIME  0x100000001b3u
#define POOL       "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static void add(json_t *list, const char *option, json_t *value)
{
    json_array_append_new(list, json_sprintf("--%s", option));
    json_array_append_new(list, value);
}

static void add_text(json_t *list, const char *option, const char *value)
{
    if (value)
        add(list, option, json_string(value));
}

static void add_disks(json_t *list, json_t *disks, const char *format)
{
    size_t index;
    json_t *disk;
    json_array_foreach (disks, index, disk)
        add(list, "disk", json_sprintf(format, json_string_value(disk)));
}

static void mix(uint64_t *hash, const char *text)
{
    for (; *text; text++)
        *hash = (*hash ^ (unsigned char)*text) * FNV_PRIME;
}

/* The port's address; for a port without one, always the same on this host: systems inside know their NIC by
 * it. */
static void mac_of(const struct model_port *port, uint8_t mac[6])
{
    char machine[64] = "";
    uint64_t hash = FNV_OFFSET;
    if (port->has_mac) {
        memcpy(mac, port->mac, 6);
        return;
    }
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, machine, sizeof(machine) - 1);
    if (fd >= 0)
        close(fd);
    machine[length > 0 ? length : 0] = '\0';
    mix(&hash, machine);
    mix(&hash, port->full_name);
    for (unsigned i = 0; i < 6; i++)
        mac[i] = (uint8_t)(hash >> 8 * i);
    mac[0] = (uint8_t)((mac[0] & 0xfc) | 2); /* unicast, locally administered */
}

static json_t *net_of(const struct model_port *port)
{
    uint8_t bytes[6];
    char mac[VALUE_MAC_SIZE], mtu[24] = "";
    mac_of(port, bytes);
    value_mac_text(bytes, mac);
    if (port->mtu != 1500)
        snprintf(mtu, sizeof(mtu), ",mtu=%u", port->mtu);
    return json_sprintf("socket=%s,mac=%s,queues=%u%s", port->socket, mac, port->queues, mtu);
}

json_t *vm_arguments(const struct model_port *port)
{
    const struct model_vm *vm = port->vm;
    json_t *list = json_array();
    add_text(list, "name", port->full_name);
    add_text(list, "kernel", vm->kernel);
    add_text(list, "initrd", vm->initrd);
    add_text(list, "cmdline", vm->cmdline);
    add(list, "memory", json_sprintf("%uM", vm->memory));
    add(list, "cpus", json_sprintf("%u", vm->cpus));
    add(list, "net", net_of(port));
    add_disks(list, vm->disks, "path=%s");
    add_disks(list, vm->readonly_disks, "path=%s,readonly");
    add_disks(list, vm->vhost_disks, "vhost=%s");
    add_text(list, "cloud-init", vm->cloud_init);
    add_text(list, "hugepages", vm->hugepages);
    add(list, "stop-timeout", json_sprintf("%u", vm->stop_timeout));
    return list;
}

static long pool_number(const char *path)
{
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
    return strtol(text, NULL, 10);
}

/* Free pages that nobody has reserved. */
static bool pool_has(uint32_t mebibytes)
{
    return pool_number(POOL "free_hugepages") - pool_number(POOL "resv_hugepages") >=
           (long)((mebibytes + 1) / 2);
}

static void add_path(json_t *list, const char *option, const char *prefix, const char *directory,
                     const char *name)
{
    add(list, option, json_sprintf("%s%s/%s", prefix, directory, name));
}

json_t *vm_command(json_t *arguments, const struct model_vm *vm, const char *directory)
{
    json_t *list = json_copy(arguments);
    if (strcmp(vm->hugepages, "auto") == 0 && !pool_has(vm->memory))
        add_text(list, "hugepages", "off");
    add_path(list, "console", "socket:", directory, WEFT_VM_CONSOLE);
    add_path(list, "console-log", "", directory, WEFT_VM_CONSOLE_LOG);
    add_path(list, "control", "", directory, VM_CONTROL);
    add_path(list, "exit-file", "", directory, VM_EXIT);
    add_text(list, "wait", "10");
    return list;
}
