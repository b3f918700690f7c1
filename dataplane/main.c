/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft-dataplane: start-up and end of the process. The main thread becomes the control thread.
 *
 *   options, run directory, lock      errors here are usage or environment: told on stderr, exit 1 or 2
 *   sandbox_privileges                capabilities given up, before there are threads
 *   EAL                               one lcore, the control thread's; nothing scanned, no files, no
 * telemetry control_start                     event loop, workers, programming socket sandbox_enter
 * capabilities and system calls given up, on all threads READY, control_run                until a signal or
 * STOP
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include "control_thread.h"
#include "log.h"
#include "options.h"
#include "port.h"
#include "sandbox.h"

#define EAL_ARGUMENTS_MAX 20

/* The lock's file says who holds it. Returns the descriptor, which stays open, or -errno. */
static int lock_run_dir(const char *run_dir)
{
    char path[4096], holder[32] = "";
    if (mkdir(run_dir, 0710) < 0 && errno != EEXIST) {
        int error = errno;
        fprintf(stderr, "weft-dataplane: %s: %s\n", run_dir, strerror(error));
        return -error;
    }
    snprintf(path, sizeof(path), "%s/dataplane.lock", run_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        int error = errno;
        fprintf(stderr, "weft-dataplane: %s: %s\n", path, strerror(error));
        return -error;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t size = read(fd, holder, sizeof(holder) - 1);
        holder[size > 0 ? strcspn(holder, "\n") : 0] = 0;
        fprintf(stderr,
                "weft-dataplane: %s is in use by process %s: stop that one, or take another --run-dir\n",
                run_dir, holder[0] ? holder : "(unknown)");
        close(fd);
        return -EBUSY;
    }
    int length = snprintf(holder, sizeof(holder), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, holder, (size_t)length, 0) != length) {
        fprintf(stderr, "weft-dataplane: %s: %s\n", path, strerror(errno));
        close(fd);
        return -EIO;
    }
    return fd;
}

static bool hugepages_free(void)
{
    glob_t found;
    bool some = false;
    if (glob("/sys/kernel/mm/hugepages/hugepages-*/free_hugepages", 0, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "re");
        char count[32];
        if (file && fgets(count, sizeof(count), file) && strtoul(count, NULL, 10) > 0)
            some = true;
        if (file)
            fclose(file);
    }
    globfree(&found);
    return some;
}

/* A DPDK file prefix of this run directory's own: letters and digits of its path, and a hash of it. */
static void make_prefix(const char *run_dir, char *prefix, size_t size)
{
    uint32_t hash = 2166136261u;
    char *path = realpath(run_dir, NULL);
    for (const char *c = path ? path : run_dir; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    free(path);
    snprintf(prefix, size, "weft-%08x", hash);
}

static int start_eal(const struct options *options)
{
    static char prefix[64], lcores[1024];
    char *arguments[EAL_ARGUMENTS_MAX];
    int count = 0;
    bool huge = options->hugepages != HUGEPAGES_NEVER && hugepages_free();
    if (options->hugepages == HUGEPAGES_REQUIRE && !huge) {
        fprintf(stderr,
                "weft-dataplane: --hugepages require: none is free (sysctl vm.nr_hugepages=128 reserves 256 "
                "MiB; --hugepages auto runs without)\n");
        return -ENOMEM;
    }
    if (options->prefix)
        snprintf(prefix, sizeof(prefix), "%s", options->prefix);
    else
        make_prefix(options->run_dir, prefix, sizeof(prefix));
    size_t length = (size_t)snprintf(lcores, sizeof(lcores), "--lcores=0@(");
    for (int cpu = 0; cpu < CPU_SETSIZE && length < sizeof(lcores) - 8; cpu++)
        if (CPU_ISSET(cpu, &options->control_cpus))
            length += (size_t)snprintf(lcores + length, sizeof(lcores) - length, "%d,", cpu);
    lcores[length - 1] = ')';
    /* EAL wants writable strings and keeps pointers to them. */
    static char name[] = "weft-dataplane", file_prefix[80], no_telemetry[] = "--no-telemetry",
                no_pci[] = "--no-pci", no_nic[] = "--allow=0000:00:00.0", iova_va[] = "--iova-mode=va",
                no_shconf[] = "--no-shconf", in_memory[] = "--in-memory", no_huge[] = "--no-huge",
                memory[] = "-m", small[] = "32", large[] = "256", log_level[] = "--log-level=*:warning",
                eal_log_level[] =
                    "--log-level=lib.eal:error"; /* it warns of every page size that is not there */
    snprintf(file_prefix, sizeof(file_prefix), "--file-prefix=%s", prefix);
    arguments[count++] = name;
    arguments[count++] = lcores;
    arguments[count++] = file_prefix;
    arguments[count++] = no_telemetry;
    arguments[count++] = log_level;
    arguments[count++] = eal_log_level;
    /* PCI devices are plugged in by ports, none is probed at the start: an allow-list of nothing but the host
     * bridge. Without hugepages they cannot be (ethdev_device.c). */
    arguments[count++] = huge && options->allow_ethdev ? no_nic : no_pci;
    if (huge) {
        arguments[count++] = iova_va; /* physical addresses are not this process's to know */
        arguments[count++] = in_memory;
    } else {
        arguments[count++] = no_huge;
        arguments[count++] = no_shconf;
        arguments[count++] = memory; /* MiB of address space; touched as it is used */
        arguments[count++] = options->allow_ethdev ? large : small;
    }
    arguments[count] = NULL;
    /* EAL's own thread goes where the control thread may run, not to a worker's core. */
    if (sched_setaffinity(0, sizeof(options->control_cpus), &options->control_cpus) < 0)
        control_log(LOG_WARNING, "the control thread runs on any core: %s", strerror(errno));
    if (rte_eal_init(count, arguments) < 0) {
        control_log(LOG_ERR, "DPDK's environment could not start: %s", rte_strerror(rte_errno));
        return -EIO;
    }
    rmdir(rte_eal_get_runtime_dir()); /* made for what is switched off above; nobody else would remove it */
    return 0;
}

/* Descriptors are what a port costs: several for its socket, two for each queue of its guest. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        control_log(LOG_WARNING, "the limit of open files stays: %s", strerror(errno));
}

/* As a member of the group, the process may give its sockets to it without CAP_CHOWN. */
static int join_group(gid_t group)
{
    gid_t groups[64];
    if (group == (gid_t)-1)
        return 0;
    int count = getgroups(63, groups);
    for (int i = 0; i < count; i++)
        if (groups[i] == group)
            return 0;
    groups[count < 0 ? 0 : count] = group;
    if (count < 0 || setgroups((size_t)count + 1, groups) < 0) {
        int error = -errno;
        fprintf(stderr, "weft-dataplane: --socket-group %u: %s\n", group, strerror(-error));
        return error;
    }
    return 0;
}

/* sd_notify(3): the service manager's socket, if there is one. */
static void notify_manager(void)
{
    static const char text[] = "READY=1";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if (length == 0 || length >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, length);
    if (address.sun_path[0] == '@')
        address.sun_path[0] = 0; /* abstract namespace */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (sendto(fd, text, sizeof(text) - 1, MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
        control_log(LOG_WARNING, "NOTIFY_SOCKET: %s", strerror(errno));
    close(fd);
}

static void announce_ready(int fd)
{
    static const char text[] = "READY\n";
    notify_manager();
    if (fd < 0)
        return;
    if (write(fd, text, sizeof(text) - 1) < 0)
        control_log(LOG_WARNING, "--ready-fd: %s", strerror(errno));
    close(fd);
}

int main(int argc, char **argv)
{
    struct options options;
    int parsed = options_parse(&options, argc, argv);
    if (parsed != 0)
        return parsed > 0 ? 0 : 2;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int lock = lock_run_dir(options.run_dir);
    if (lock < 0)
        return 1;
    raise_limits();
    if (join_group(options.socket_group) < 0 || sandbox_privileges(options.allow_ethdev) < 0 ||
        log_dpdk() < 0)
        return 1;
    if (start_eal(&options) < 0 || control_start(&options) < 0)
        return 1;
    int status = 0;
    if (sandbox_filter(options.allow_ethdev) < 0) {
        status = 1;
    } else {
        control_log(LOG_NOTICE, "weft-dataplane %s serves %s/dataplane.sock with %u workers", WEFT_VERSION,
                    options.run_dir, options.core_count);
        announce_ready(options.ready_fd);
        control_run();
    }
    control_stop();
    close(lock);
    return status;
}
