/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A weft-dataplane of a test's own: a process in a run directory under /tmp, and the client that programs it.
 * Functions fail the test (cmocka) when they cannot do what they say.
 *
 * Threads: the test's.
 */
#include <stdbool.h>
#include <sys/types.h>
#include "client.h"
#include "driver.h"

#define SWITCH_TIMEOUT_MS 120000

struct switch_process {
    pid_t pid;                    /* 0: not running */
    const char *const *arguments; /* more of the program's, NULL at the end; NULL: none */
    struct dp_client *client;
    char run_dir[64];
    char log_path[96];
};

/* `program`: path of weft-dataplane. `again`: in the run directory that it had before. */
void switch_start(struct switch_process *sw, const char *program, bool again);
/* Ends it with `signal` (0: STOP over the socket), returns its wait status. */
int switch_end(struct switch_process *sw, int signal);
/* Removes the run directory. The log must have no warning or error but those that contain `expected` (NULL:
 * none). */
void switch_remove(struct switch_process *sw, const char *expected);

/* In an open transaction. */
void switch_put_segment(struct switch_process *sw, uint32_t id, uint32_t tenant);
/* vhost-user port at RUN-DIR/portID.sock, in `segment` untagged (0: in none). */
void switch_put_port(struct switch_process *sw, uint32_t id, uint32_t tenant, uint32_t segment, uint32_t mtu);
void switch_port_path(const struct switch_process *sw, uint32_t id, char path[108]);

/* Open descriptors, memory mappings of the process. */
unsigned switch_descriptors(const struct switch_process *sw);
unsigned switch_mappings(const struct switch_process *sw);

struct dp_port_counters switch_counters(struct switch_process *sw, uint32_t port);
/* What the port received and what it was offered is all accounted for; not so while a batch is half counted.
 */
bool switch_balanced(struct switch_process *sw, uint32_t port);
struct dp_port_state switch_port_state(struct switch_process *sw, uint32_t port);

/* A guest on the port. */
struct driver_device *switch_guest(const struct switch_process *sw, uint32_t port);

/* Waits until a condition that another process brings about holds. */
#define wait_until(condition)                                                                                \
    do {                                                                                                     \
        time_t end = time(NULL) + SWITCH_TIMEOUT_MS / 1000;                                                  \
        while (!(condition)) {                                                                               \
            if (time(NULL) > end)                                                                            \
                fail_msg("waited in vain for %s", #condition);                                               \
            sched_yield();                                                                                   \
        }                                                                                                    \
    } while (0)
