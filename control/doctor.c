/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each check appends one item. "failed" is what weft cannot work without, "warning" what costs performance or
 * safety, "note" what would make it faster still. With fix, only what a reboot would undo is changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "api_call.h"
#include "doctor.h"
#include "supervisor.h"

#define HUGEPAGE_COUNT   "/proc/sys/vm/nr_hugepages"
#define HUGEPAGES_WANTED 128 /* 256 MiB of 2 MiB pages: what DPDK's pools take */
#define AIO_MAX          "/proc/sys/fs/aio-max-nr"
#define AIO_WANTED       1048576
#define FILES_WANTED     8192

struct doctor {
    json_t *items;
    bool fix;
};

__attribute__((format(printf, 5, 6))) static void say(struct doctor *doctor, const char *check,
                                                      const char *state, const char *fix, const char *format,
                                                      ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++) {
        if (*at < ' ' || *at > '~')
            *at = '?';
    }
    json_t *item = json_pack("{s:s, s:s, s:s}", "check", check, "state", state, "text", text);
    if (fix)
        json_object_set_new(item, "fix", json_string(fix));
    json_array_append_new(doctor->items, item);
}

static bool read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    bool read = file && fgets(line, (int)size, file);
    if (file)
        fclose(file);
    if (read)
        line[strcspn(line, "\n")] = '\0';
    return read;
}

static long read_number(const char *path)
{
    char line[64];
    return read_line(path, line, sizeof(line)) ? strtol(line, NULL, 10) : -1;
}

static bool write_number(const char *path, long number)
{
    char text[32];
    int fd = open(path, O_WRONLY | O_CLOEXEC), length = snprintf(text, sizeof(text), "%ld\n", number);
    bool written = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0)
        close(fd);
    return written;
}

static void check_hugepages(struct doctor *doctor)
{
    long count = read_number(HUGEPAGE_COUNT);
    const char *fix = "sysctl vm.nr_hugepages=128";
    if (count < 0) {
        say(doctor, "hugepages", "note", NULL, "this kernel has none; weft runs without");
        return;
    }
    if (count < HUGEPAGES_WANTED && doctor->fix && write_number(HUGEPAGE_COUNT, HUGEPAGES_WANTED)) {
        long now = read_number(HUGEPAGE_COUNT);
        if (now > count) {
            say(doctor, "hugepages", "fixed", NULL,
                "%ld reserved, %ld before; restart the dataplane to use them", now, count);
            return;
        }
    }
    if (count == 0)
        say(doctor, "hugepages", "note", fix, "none reserved: address translation costs some throughput");
    else
        say(doctor, "hugepages", "ok", NULL, "%ld reserved", count);
}

static void check_isolated_cores(struct doctor *doctor)
{
    char line[256] = "";
    read_line("/sys/devices/system/cpu/isolated", line, sizeof(line));
    if (line[0])
        say(doctor, "isolated cores", "ok", NULL, "%s", line);
    else
        say(doctor, "isolated cores", "note", "kernel option isolcpus=LIST for the cores of dataplane.cores",
            "none: other programs share the workers' cores");
}

static void check_governor(struct doctor *doctor)
{
    char line[64];
    if (!read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof(line)))
        say(doctor, "frequency governor", "ok", NULL, "not under the control of this system");
    else if (strcmp(line, "performance") == 0)
        say(doctor, "frequency governor", "ok", NULL, "performance");
    else
        say(doctor, "frequency governor", "note", "cpupower frequency-set -g performance",
            "%s: cores are slow for a moment after idling", line);
}

static void check_aio(struct doctor *doctor)
{
    long limit = read_number(AIO_MAX);
    const char *fix = "sysctl fs.aio-max-nr=1048576";
    if (limit < 0 || limit >= AIO_WANTED)
        say(doctor, "aio limit", "ok", NULL, limit < 0 ? "no limit" : "fs.aio-max-nr is large enough");
    else if (doctor->fix && write_number(AIO_MAX, AIO_WANTED))
        say(doctor, "aio limit", "fixed", NULL, "fs.aio-max-nr is %d, %ld before", AIO_WANTED, limit);
    else
        say(doctor, "aio limit", "note", fix, "fs.aio-max-nr is %ld: few guests' disks can use native AIO",
            limit);
}

static void check_files(struct doctor *doctor)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < FILES_WANTED)
        say(doctor, "open files", "warning", "LimitNOFILE=65536 in the unit, or ulimit -n",
            "at most %llu: about %llu guest ports", (unsigned long long)limit.rlim_max,
            (unsigned long long)limit.rlim_max / 8);
    else
        say(doctor, "open files", "ok", NULL, "at most %llu", (unsigned long long)limit.rlim_max);
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_max != RLIM_INFINITY && geteuid() != 0)
        say(doctor, "locked memory", "note", "LimitMEMLOCK=infinity in the unit", "at most %llu bytes",
            (unsigned long long)limit.rlim_max);
}

static void check_tun(struct doctor *doctor)
{
    if (access("/dev/net/tun", R_OK | W_OK) == 0)
        say(doctor, "tap devices", "ok", NULL, "/dev/net/tun can be opened");
    else
        say(doctor, "tap devices", "note", "modprobe tun", "/dev/net/tun: %s: ports with tap cannot be made",
            strerror(errno));
}

static void check_groups(struct doctor *doctor)
{
    static const char *const names[] = {WEFT_GROUP_ADMIN, WEFT_GROUP_READ};
    for (unsigned i = 0; i < 2; i++) {
        char fix[64], check[32];
        snprintf(check, sizeof(check), "group %s", names[i]);
        snprintf(fix, sizeof(fix), "addgroup --system %s", names[i]);
        if (getgrnam(names[i]))
            say(doctor, check, "ok", NULL, "exists");
        else
            say(doctor, check, "note", fix, "does not exist: only root %s",
                i ? "and group weft may look" : "may change things");
    }
}

static void check_run_dir(struct doctor *doctor, const char *run_dir)
{
    struct stat status;
    if (stat(run_dir, &status) < 0)
        say(doctor, "run dir", errno == ENOENT ? "note" : "failed", NULL, "%s: %s", run_dir, strerror(errno));
    else if (!S_ISDIR(status.st_mode))
        say(doctor, "run dir", "failed", NULL, "%s is not a directory", run_dir);
    else if (status.st_mode & 0022)
        say(doctor, "run dir", "warning", "chmod 0710 on it", "others may write to %s", run_dir);
    else
        say(doctor, "run dir", "ok", NULL, "%s", run_dir);
}

static bool in_path(const char *name)
{
    char path[8400];
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t length = strcspn(at, ":");
        snprintf(path, sizeof(path), "%.*s/%s", (int)length, at, name);
        if (access(path, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

static void check_program(struct doctor *doctor)
{
    char path[4200];
    supervisor_program(path, sizeof(path));
    if (strchr(path, '/') || in_path(path))
        say(doctor, "weft-dataplane", "ok", NULL, "%s", path);
    else
        say(doctor, "weft-dataplane", "failed", "install it beside weftd",
            "not beside weftd and not in PATH");
}

static void check_dataplane(struct doctor *doctor, const char *run_dir)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/" WEFT_DATAPLANE_SOCKET, run_dir);
    struct dp_client *client = dp_client_connect(path, 2000);
    if (client)
        say(doctor, "dataplane", "ok", NULL, "process %u answers", dp_client_hello(client)->pid);
    else if (errno == ENOENT || errno == ECONNREFUSED)
        say(doctor, "dataplane", "warning", "start weftd", "nobody answers at %s", path);
    else
        say(doctor, "dataplane", "failed", "end the process that has it, and start weftd", "%s: %s", path,
            strerror(errno));
    dp_client_close(client);
}

json_t *doctor_run(const char *run_dir, bool fix)
{
    struct doctor doctor = {json_array(), fix};
    check_program(&doctor);
    check_dataplane(&doctor, run_dir);
    check_run_dir(&doctor, run_dir);
    check_groups(&doctor);
    check_hugepages(&doctor);
    check_isolated_cores(&doctor);
    check_governor(&doctor);
    check_aio(&doctor);
    check_files(&doctor);
    check_tun(&doctor);
    return doctor.items;
}

void api_doctor(struct api_call *call)
{
    bool fix = api_bool(call, "fix");
    if (fix && !call->admin) {
        outcome_fail(&call->outcome, WEFT_NOT_PERMITTED,
                     "doctor with fix needs root or membership in group " WEFT_GROUP_ADMIN);
        return;
    }
    call->result = json_pack("{s:s, s:o}", "schema", WEFT_SCHEMA_DOCTOR, "items",
                             doctor_run(call->controller->options.run_dir, fix));
}
