/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft-bare: runs weft-dataplane without a controller, for benchmarks: pairs of vhost-user ports, each pair a
 * segment of a tenant of its own; with --nat two ports between which addresses are translated (bare_nat.h).
 * Prints {"ports":[PATH,...]} when they are there, then answers lines on standard input:
 *   state         {"workers":[...],"drops":{...},"flooded":N}
 *   add N         N more ports in a segment of their own, and
 *   del           away with them again: changes of configuration under load. {"ms":TIME}
 * At the end of its input it stops the dataplane and ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bare_nat.h"

#define TIMEOUT_MS   60000
#define EXTRA_FIRST  1000u /* ids of the ports of `add` */
#define EXTRA_MAX    1000u
#define EXTRA_TENANT 4000u

struct bare {
    const char *dataplane, *run_dir, *core;
    unsigned pairs;
    bool nat;
    unsigned extra;
    pid_t pid;
    struct dp_client *client;
};

static const char *const drop_names[] = {
#define X(symbol, name, text) name,
    DP_DROPS(X)
#undef X
};

static int fail(const char *what, int status)
{
    fprintf(stderr, "weft-bare: %s: %s\n", what, strerror(-status));
    return status;
}

static void exec_dataplane(const struct bare *bare, int ready_fd)
{
    char number[16], *arguments[] = {(char *)(uintptr_t)bare->dataplane,
                                     (char *)(uintptr_t) "--run-dir",
                                     (char *)(uintptr_t)bare->run_dir,
                                     (char *)(uintptr_t) "--cores",
                                     (char *)(uintptr_t)bare->core,
                                     (char *)(uintptr_t) "--ready-fd",
                                     number,
                                     NULL};
    snprintf(number, sizeof(number), "%d", ready_fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null_fd, STDIN_FILENO);
    execv(bare->dataplane, arguments);
    _exit(127);
}

static int start(struct bare *bare)
{
    int ready[2];
    char byte, path[256];
    if (pipe(ready) < 0 || fcntl(ready[0], F_SETFD, FD_CLOEXEC) < 0)
        return fail("pipe", -errno);
    bare->pid = fork();
    if (bare->pid < 0)
        return fail("fork", -errno);
    if (bare->pid == 0)
        exec_dataplane(bare, ready[1]);
    close(ready[1]);
    bool is_ready = read(ready[0], &byte, 1) == 1; /* 0: it ended */
    close(ready[0]);
    if (!is_ready)
        return fail("weft-dataplane did not start", -ECHILD);
    snprintf(path, sizeof(path), "%s/dataplane.sock", bare->run_dir);
    bare->client = dp_client_connect(path, TIMEOUT_MS);
    return bare->client ? 0 : fail(path, -errno);
}

static void put_segment(struct bare *bare, uint32_t id, uint32_t tenant)
{
    struct dp_segment segment = {.id = id, .tenant = tenant, .ageing_s = 300};
    snprintf(segment.name, sizeof(segment.name), "t%u/net", tenant);
    dp_client_put(bare->client, DP_KIND_SEGMENT, &segment, NULL, 0);
}

static void port_path(const struct bare *bare, uint32_t id, char path[DP_DEVICE_SIZE])
{
    memset(path, 0, DP_DEVICE_SIZE);
    snprintf(path, DP_DEVICE_SIZE, "%s/p%u", bare->run_dir, id);
}

static void put_port(struct bare *bare, uint32_t id, uint32_t tenant, uint32_t segment)
{
    struct dp_port port = {.id = id,
                           .tenant = tenant,
                           .type = DP_PORT_VHOST_USER,
                           .queues = 1,
                           .mtu = 9216,
                           .socket_group = UINT32_MAX};
    struct dp_member member = {.port = id, .segment = segment};
    snprintf(port.name, sizeof(port.name), "t%u/p%u", tenant, id);
    port_path(bare, id, port.device);
    dp_client_put(bare->client, DP_KIND_PORT, &port, NULL, 0);
    dp_client_put(bare->client, DP_KIND_MEMBER, &member, NULL, 0);
}

static void del_port(struct bare *bare, uint32_t id)
{
    struct dp_port port = {.id = id};
    struct dp_member member = {.port = id};
    dp_client_del(bare->client, DP_KIND_MEMBER, &member);
    dp_client_del(bare->client, DP_KIND_PORT, &port);
}

static int commit(struct bare *bare)
{
    int status = dp_client_commit(bare->client);
    if (status)
        fprintf(stderr, "weft-bare: %s\n", dp_client_error(bare->client));
    return status;
}

static int put_pairs(struct bare *bare)
{
    int status = dp_client_begin(bare->client);
    for (unsigned pair = 0; pair < bare->pairs && status == 0; pair++) {
        put_segment(bare, pair + 1, pair + 1);
        put_port(bare, 2 * pair + 1, pair + 1, pair + 1);
        put_port(bare, 2 * pair + 2, pair + 1, pair + 1);
    }
    return status ? fail("begin", status) : commit(bare);
}

static int put_nat(struct bare *bare)
{
    int status = dp_client_begin(bare->client);
    for (uint32_t id = BARE_NAT_INSIDE_ID; id <= BARE_NAT_OUTSIDE_ID && status == 0; id++) {
        put_segment(bare, id, id);
        put_port(bare, id, id, id);
    }
    if (status)
        return fail("begin", status);
    bare_nat_put(bare->client);
    return commit(bare);
}

static void print(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

static int change(struct bare *bare, unsigned count)
{
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    int status = dp_client_begin(bare->client);
    if (status)
        return fail("begin", status);
    if (count) {
        put_segment(bare, EXTRA_TENANT, EXTRA_TENANT);
        for (unsigned i = 0; i < count; i++)
            put_port(bare, EXTRA_FIRST + i, EXTRA_TENANT, EXTRA_TENANT);
    } else {
        struct dp_segment segment = {.id = EXTRA_TENANT};
        for (unsigned i = 0; i < bare->extra; i++)
            del_port(bare, EXTRA_FIRST + i);
        dp_client_del(bare->client, DP_KIND_SEGMENT, &segment);
    }
    status = commit(bare);
    if (status)
        return status;
    bare->extra = count;
    clock_gettime(CLOCK_MONOTONIC, &after);
    double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
    print(json_pack("{s:f}", "ms", ms));
    return 0;
}

static void add_drops(json_t *drops, const uint64_t *counts)
{
    for (unsigned i = 0; i < DP_DROP_COUNT; i++) {
        if (counts[i] == 0)
            continue;
        json_int_t before = json_integer_value(json_object_get(drops, drop_names[i]));
        json_object_set_new(drops, drop_names[i], json_integer(before + (json_int_t)counts[i]));
    }
}

static int print_state(struct bare *bare)
{
    json_t *workers = json_array(), *drops = json_object();
    json_int_t flooded = 0;
    const void *object;
    int status = dp_client_dump(bare->client, DP_KIND_WORKER_STATE);
    while (status >= 0 && (status = dp_client_next(bare->client, &object)) == 1) {
        const struct dp_worker_state *state = object;
        json_array_append_new(
            workers,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "busy_cycles", (json_int_t)state->busy_cycles,
                      "total_cycles", (json_int_t)state->total_cycles, "packets", (json_int_t)state->packets,
                      "rounds", (json_int_t)state->rounds, "sleeps", (json_int_t)state->sleeps, "tsc_hz",
                      (json_int_t)state->tsc_hz));
    }
    if (status == 0)
        status = dp_client_dump(bare->client, DP_KIND_PORT_COUNTERS);
    while (status >= 0 && (status = dp_client_next(bare->client, &object)) == 1) {
        const struct dp_port_counters *counters = object;
        flooded += (json_int_t)counters->rx_flooded;
        add_drops(drops, counters->rx_drops);
        add_drops(drops, counters->tx_drops);
    }
    print(json_pack("{s:o, s:o, s:I, s:i}", "workers", workers, "drops", drops, "flooded", flooded, "pid",
                    (int)bare->pid));
    return status < 0 ? fail("dump", status) : 0;
}

static int serve(struct bare *bare)
{
    char line[64];
    int status = 0;
    while (status == 0 && fgets(line, sizeof(line), stdin)) {
        unsigned long count = strncmp(line, "add ", 4) == 0 ? strtoul(line + 4, NULL, 10) : 0;
        if (strcmp(line, "state\n") == 0)
            status = print_state(bare);
        else if (count > 0 && count <= EXTRA_MAX && bare->extra == 0)
            status = change(bare, (unsigned)count);
        else if (strcmp(line, "del\n") == 0 && bare->extra > 0)
            status = change(bare, 0);
        else
            status = fail(line, -EINVAL);
    }
    return status;
}

static void stop(struct bare *bare)
{
    if (bare->client) {
        dp_client_stop(bare->client);
        dp_client_close(bare->client);
    } else if (bare->pid > 0) {
        kill(bare->pid, SIGTERM);
    }
    if (bare->pid > 0)
        waitpid(bare->pid, NULL, 0);
}

static void print_ports(const struct bare *bare)
{
    json_t *ports = json_array();
    for (unsigned id = 1; id <= 2 * bare->pairs; id++) {
        char path[DP_DEVICE_SIZE];
        port_path(bare, id, path);
        json_array_append_new(ports, json_string(path));
    }
    print(json_pack("{s:o}", "ports", ports));
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"pairs", required_argument, NULL, 'p'},
                                            {"core", required_argument, NULL, 'c'},
                                            {"nat", no_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    struct bare bare = {.pairs = 1, .core = "1"};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p')
            bare.pairs = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 'c')
            bare.core = optarg;
        else if (option == 'n')
            bare.nat = true;
        else
            return 2;
    }
    if (argc - optind != 2 || bare.pairs == 0 || bare.pairs >= EXTRA_FIRST / 2) {
        fputs("usage: weft-bare [--pairs N | --nat] [--core LIST] WEFT-DATAPLANE RUN-DIR\n", stderr);
        return 2;
    }
    bare.dataplane = argv[optind];
    bare.run_dir = argv[optind + 1];
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int status = start(&bare);
    if (status == 0)
        status = bare.nat ? put_nat(&bare) : put_pairs(&bare);
    if (status == 0) {
        print_ports(&bare);
        status = serve(&bare);
    }
    stop(&bare);
    return status ? 1 : 0;
}
