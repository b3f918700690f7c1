/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "options.h"

static const char usage[] =
    "usage: weft-dataplane --run-dir DIR [options]\n"
    "\n"
    "The packet process of weft: started and programmed by weftd through DIR/dataplane.sock.\n"
    "\n"
    "  --run-dir DIR          directory of the sockets and the lock; made if it is not there\n"
    "  --cores LIST           CPUs of the workers, one each: 1 or 1,3 or 2-5 (default: the last allowed "
    "one)\n"
    "  --hugepages MODE       auto: if some are free (default); require; never\n"
    "  --allow-ethdev         serve ports of DPDK devices; keeps CAP_NET_RAW and CAP_NET_ADMIN\n"
    "  --socket-group GROUP   group of vhost-user sockets whose port does not name one\n"
    "  --prefix PREFIX        DPDK file prefix (default: made from DIR)\n"
    "  --ready-fd FD          inherited descriptor: READY and a newline are written to it once the socket "
    "listens\n"
    "  --help, --version\n";

/* "0-1,4" */
static void list_cpus(const cpu_set_t *set, char *text, size_t size)
{
    size_t length = 0;
    text[0] = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE && length < size; cpu++) {
        if (!CPU_ISSET(cpu, set))
            continue;
        int last = cpu;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
            last++;
        int count = last == cpu
                        ? snprintf(text + length, size - length, "%s%d", length ? "," : "", cpu)
                        : snprintf(text + length, size - length, "%s%d-%d", length ? "," : "", cpu, last);
        length += (size_t)count;
        cpu = last;
    }
}

static int core_error(char *text, size_t size, const cpu_set_t *allowed, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int core_error(char *text, size_t size, const cpu_set_t *allowed, const char *format, ...)
{
    char reason[128], cpus[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    list_cpus(allowed, cpus, sizeof(cpus));
    snprintf(text, size, "%s; this process may use the cores %s", reason, cpus);
    return -EINVAL;
}

/* A decimal number below CPU_SETSIZE; -1: not one. */
static int parse_cpu(const char **text)
{
    if (**text < '0' || **text > '9')
        return -1;
    char *end;
    errno = 0;
    unsigned long value = strtoul(*text, &end, 10);
    *text = end;
    return errno == 0 && value < 1000000 ? (int)value : -1;
}

int options_cores(const char *list, const cpu_set_t *allowed, int cores[DP_WORKERS_MAX], unsigned *count,
                  char *text, size_t size)
{
    const char *at = list;
    *count = 0;
    for (;;) {
        int first = parse_cpu(&at), last = first;
        if (*at == '-') {
            at++;
            last = parse_cpu(&at);
        }
        if (first < 0 || last < first || (*at != ',' && *at != 0))
            return core_error(text, size, allowed, "\"%.64s\" is not a list of cores like 1 or 1,3 or 2-5",
                              list);
        for (int cpu = first; cpu <= last; cpu++) {
            if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, allowed))
                return core_error(text, size, allowed, "core %d is not there or not allowed", cpu);
            for (unsigned i = 0; i < *count; i++)
                if (cores[i] == cpu)
                    return core_error(text, size, allowed, "core %d is listed twice", cpu);
            if (*count == DP_WORKERS_MAX)
                return core_error(text, size, allowed, "more than %u cores", DP_WORKERS_MAX);
            cores[(*count)++] = cpu;
        }
        if (*at++ == 0)
            return 0;
    }
}

static int resolve_cores(struct options *options, const char *list)
{
    cpu_set_t allowed;
    char text[512];
    if (sched_getaffinity(0, sizeof(allowed), &allowed) <
        0) { /* the kernel leaves out CPUs that are off-line */
        fprintf(stderr, "weft-dataplane: sched_getaffinity: %s\n", strerror(errno));
        return -EINVAL;
    }
    if (list) {
        if (options_cores(list, &allowed, options->cores, &options->core_count, text, sizeof(text)) < 0) {
            fprintf(stderr, "weft-dataplane: --cores: %s\n", text);
            return -EINVAL;
        }
    } else {
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET(cpu, &allowed))
                options->cores[0] = cpu;
        options->core_count = 1;
    }
    options->control_cpus = allowed;
    for (unsigned i = 0; i < options->core_count; i++)
        CPU_CLR(options->cores[i], &options->control_cpus);
    if (CPU_COUNT(&options->control_cpus) == 0)
        options->control_cpus = allowed;
    return 0;
}

static int resolve_group(struct options *options, const char *name)
{
    char *end;
    unsigned long id = strtoul(name, &end, 10);
    const struct group *group = getgrnam(name);
    if (group)
        options->socket_group = group->gr_gid;
    else if (*name >= '0' && *name <= '9' && *end == 0 && id < UINT32_MAX)
        options->socket_group = (gid_t)id;
    else {
        fprintf(stderr,
                "weft-dataplane: --socket-group: there is no group \"%s\" (addgroup --system %s makes it)\n",
                name, name);
        return -EINVAL;
    }
    return 0;
}

static int parse_hugepages(struct options *options, const char *mode)
{
    static const char *const modes[] = {
        [HUGEPAGES_AUTO] = "auto", [HUGEPAGES_REQUIRE] = "require", [HUGEPAGES_NEVER] = "never"};
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(mode, modes[i]) == 0) {
            options->hugepages = (enum hugepages)i;
            return 0;
        }
    }
    fprintf(stderr, "weft-dataplane: --hugepages %s: it is auto, require or never\n", mode);
    return -EINVAL;
}

static int parse_ready_fd(struct options *options, const char *number)
{
    char *end;
    long fd = strtol(number, &end, 10);
    if (*number == 0 || *end != 0 || fd < 0 || fd > 1 << 20 || fcntl((int)fd, F_GETFD) < 0) {
        fprintf(stderr, "weft-dataplane: --ready-fd %s: not an open descriptor\n", number);
        return -EINVAL;
    }
    options->ready_fd = (int)fd;
    return fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0 ? -EINVAL : 0;
}

int options_parse(struct options *options, int argc, char **argv)
{
    enum { RUN_DIR = 1, CORES, HUGEPAGES, ALLOW_ETHDEV, SOCKET_GROUP, PREFIX, READY_FD, HELP, VERSION };
    static const struct option table[] = {{"run-dir", required_argument, NULL, RUN_DIR},
                                          {"cores", required_argument, NULL, CORES},
                                          {"hugepages", required_argument, NULL, HUGEPAGES},
                                          {"allow-ethdev", no_argument, NULL, ALLOW_ETHDEV},
                                          {"socket-group", required_argument, NULL, SOCKET_GROUP},
                                          {"prefix", required_argument, NULL, PREFIX},
                                          {"ready-fd", required_argument, NULL, READY_FD},
                                          {"help", no_argument, NULL, HELP},
                                          {"version", no_argument, NULL, VERSION},
                                          {0}};
    const char *cores = NULL;
    int option, error = 0;
    *options = (struct options){.socket_group = (gid_t)-1, .ready_fd = -1};
    while (!error && (option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (option) {
        case RUN_DIR:
            options->run_dir = optarg;
            break;
        case CORES:
            cores = optarg;
            break;
        case HUGEPAGES:
            error = parse_hugepages(options, optarg);
            break;
        case ALLOW_ETHDEV:
            options->allow_ethdev = true;
            break;
        case SOCKET_GROUP:
            error = resolve_group(options, optarg);
            break;
        case PREFIX:
            options->prefix = optarg;
            break;
        case READY_FD:
            error = parse_ready_fd(options, optarg);
            break;
        case HELP:
            fputs(usage, stdout);
            return 1;
        case VERSION:
            puts("weft-dataplane " WEFT_VERSION);
            return 1;
        default:
            error = -EINVAL;
        }
    }
    if (!error && (optind < argc || !options->run_dir || options->run_dir[0] == 0)) {
        fputs(usage, stderr);
        error = -EINVAL;
    }
    return error ? error : resolve_cores(options, cores);
}
