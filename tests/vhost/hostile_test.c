/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every hostile pattern against a backend in this process: it ends as it must, a good guest is served
 * afterwards, and the process has as many descriptors and memory files mapped as before. An argument names
 * one pattern.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "harness.h"
#include "hostile.h"

static bool baseline_holds(struct hostile *h, struct harness *harness, unsigned fds, unsigned maps)
{
    if (!harness_wait(harness, harness_disconnected, HOSTILE_TIMEOUT_MS))
        return hostile_fail(h, "the backend still has a connection");
    unsigned fds_now = harness_fd_count(), maps_now = harness_map_count();
    return (fds_now == fds && maps_now == maps) ||
           hostile_fail(h, "%u descriptors (%u before), %u mappings (%u before)", fds_now, fds, maps_now,
                        maps);
}

int main(int argc, char **argv)
{
    char path[108];
    struct hostile h;
    const struct pattern *pattern;
    unsigned failed = 0, done = 0;
    harness_path(path, sizeof(path));
    struct vhost_backend_config config = {
        .path = path, .queue_pairs = 8, .mtu = 1500, .socket_group = (gid_t)-1};
    struct harness *harness = harness_start(&config);
    if (!hostile_open(&h, path)) {
        printf("%s\n", h.reason);
        return 1;
    }
    h.echo = true;
    unsigned fds = harness_fd_count(), maps = harness_map_count();
    for (unsigned i = 0; (pattern = hostile_pattern(i)); i++) {
        if (argc > 1 && strcmp(argv[1], pattern->name) != 0)
            continue;
        bool right = hostile_run(&h, pattern) == 0 && baseline_holds(&h, harness, fds, maps);
        struct vhost_backend_state state = harness_state(harness);
        printf("%-6s %-40s %s\n", right ? "ok" : "FAILED", pattern->name,
               !right                        ? h.reason
               : pattern->expected == CLOSED ? state.last_error
                                             : "");
        fflush(stdout);
        failed += !right;
        done++;
    }
    hostile_close(&h);
    harness_stop(harness);
    printf("%u patterns, %u failed\n", done, failed);
    return failed || done == 0 ? 1 : 0;
}
