/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hostile_frontend SOCKET [PATTERN ...] [--peer SOCKET]   runs the named patterns (none named: all) against a
 * live switch hostile_frontend --list                                 names them, with the row of the
 * security page each belongs to
 *
 * --peer: another port of the same segment, from which frames are sent to the port under attack. One line a
 * pattern; the exit code is 0 if all of them ended as they must, 1 if one did not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "hostile.h"

static void list(void)
{
    static const char *const outcomes[] = {"closed", "broken", "alive", "answered", "left", "survived"};
    const struct pattern *pattern;
    for (unsigned i = 0; (pattern = hostile_pattern(i)); i++)
        printf("%-40s %-9s %s\n", pattern->name, outcomes[pattern->expected], pattern->row);
}

static bool wanted(const struct pattern *pattern, int count, char **names)
{
    bool named = false;
    for (int i = 0; i < count; i++) {
        if (!names[i] || strcmp(names[i], "all") == 0)
            continue;
        named = true;
        if (strcmp(names[i], pattern->name) == 0)
            return true;
    }
    return !named;
}

int main(int argc, char **argv)
{
    static const char *const results[] = {"ok", "FAILED", "skipped"};
    struct hostile h;
    const struct pattern *pattern;
    unsigned counts[3] = {0};
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list();
        return 0;
    }
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: %s SOCKET [PATTERN ...] [--peer SOCKET] | --list\n", argv[0]);
        return 2;
    }
    if (!hostile_open(&h, argv[1])) {
        fprintf(stderr, "%s\n", h.reason);
        return 1;
    }
    for (int i = 2; i + 1 < argc; i++) {
        if (!argv[i] || strcmp(argv[i], "--peer") != 0)
            continue;
        struct driver_config config = {.path = argv[i + 1],
                                       .queue_pairs = 1,
                                       .ring_size = 256,
                                       .buffer_size = 2048,
                                       .features = 1ull << VIRTIO_F_VERSION_1,
                                       .timeout_ms = 60000};
        h.peer = driver_open(&config);
        if (!h.peer) {
            fprintf(stderr, "%s: %s\n", argv[i + 1], strerror(errno));
            return 1;
        }
        argv[i] = argv[i + 1] = NULL;
    }
    for (unsigned i = 0; (pattern = hostile_pattern(i)); i++) {
        if (!wanted(pattern, argc - 2, argv + 2))
            continue;
        int result = hostile_run(&h, pattern);
        counts[result]++;
        printf("%-8s %s%s%s\n", results[result], pattern->name, result ? ": " : "", result ? h.reason : "");
        fflush(stdout);
    }
    driver_close(h.peer);
    hostile_close(&h);
    printf("%u ok, %u failed, %u skipped\n", counts[0], counts[1], counts[2]);
    return counts[1] || counts[0] + counts[2] == 0 ? 1 : 0;
}
