/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine's directory, RUN-DIR/vm/TENANT.PORT. It belongs to root and group weft and hands the group on
 * (set-group-ID), so that who may use `weft vm console` may open the socket there. It outlives the process,
 * for what the guest said last, and weftd, for the next one to know what runs; not the declaration.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vm_machine.h"
#include "weft_api.h"

#define PATH_SIZE 200u
#define NEW       ".new"
#define BEFORE    ".1"

int vm_store_make(const char *directory)
{
    const struct group *group = geteuid() == 0 ? getgrnam(WEFT_GROUP_ADMIN) : NULL;
    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (group && chown(directory, (uid_t)-1, group->gr_gid) < 0)
        return -errno;
    return chmod(directory, 02710) < 0 ? -errno : 0;
}

static void path_in(char path[PATH_SIZE], const char *directory, const char *name, const char *suffix)
{
    snprintf(path, PATH_SIZE, "%s/%s%s", directory, name, suffix);
}

static void remove_in(const char *directory, const char *name, const char *suffix)
{
    char path[PATH_SIZE];
    path_in(path, directory, name, suffix);
    unlink(path);
}

int vm_store_save(const char *directory, const struct vm_record *record)
{
    char path[PATH_SIZE], aside[PATH_SIZE];
    json_t *value =
        json_pack("{s:i, s:I, s:b, s:i, s:O*}", "pid", (int)record->pid, "start", (json_int_t)record->start,
                  "off", (int)record->off, "restarts", (int)record->restarts, "arguments", record->arguments);
    path_in(path, directory, VM_STATE, "");
    path_in(aside, directory, VM_STATE, NEW);
    int error = value && json_dump_file(value, aside, JSON_INDENT(1)) == 0 ? 0 : -EIO;
    json_decref(value);
    if (!error && rename(aside, path) < 0)
        error = -errno;
    if (error)
        unlink(aside);
    return error;
}

bool vm_store_load(const char *directory, struct vm_record *record)
{
    char path[PATH_SIZE];
    int pid, off, restarts;
    json_int_t start;
    json_t *arguments = NULL;
    path_in(path, directory, VM_STATE, "");
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    bool good = json_unpack(value, "{s:i, s:I, s:b, s:i, s?o}", "pid", &pid, "start", &start, "off", &off,
                            "restarts", &restarts, "arguments", &arguments) == 0;
    if (good)
        *record =
            (struct vm_record){pid, (uint64_t)start, off != 0, json_incref(arguments), (unsigned)restarts};
    json_decref(value);
    return good;
}

void vm_store_sockets(const char *directory)
{
    remove_in(directory, VM_CONTROL, "");
    remove_in(directory, WEFT_VM_CONSOLE, "");
}

void vm_store_prepare(const char *directory)
{
    char path[PATH_SIZE], before[PATH_SIZE];
    vm_store_sockets(directory);
    remove_in(directory, VM_EXIT, "");
    path_in(path, directory, WEFT_VM_CONSOLE_LOG, "");
    path_in(before, directory, WEFT_VM_CONSOLE_LOG, BEFORE);
    rename(path, before);
}

void vm_store_remove(const char *directory)
{
    vm_store_sockets(directory);
    remove_in(directory, VM_EXIT, "");
    remove_in(directory, VM_LOG, "");
    remove_in(directory, VM_STATE, "");
    remove_in(directory, VM_STATE, NEW);
    remove_in(directory, WEFT_VM_CONSOLE_LOG, "");
    remove_in(directory, WEFT_VM_CONSOLE_LOG, BEFORE);
    rmdir(directory);
}
