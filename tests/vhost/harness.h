/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A switch of one port for tests: a backend with the control thread that runs it and one worker that sends
 * every frame of a pair's transmit ring back into the same pair's receive ring.
 *
 * Threads: the functions may be called from the test's thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include "backend.h"

struct harness;

/* Aborts the test if the backend cannot be made. */
struct harness *harness_start(const struct vhost_backend_config *config);
void harness_stop(struct harness *harness);

/* The backend's state after its last run. */
struct vhost_backend_state harness_state(struct harness *harness);
/* Waits until `condition` holds for the state; false after timeout_ms. */
bool harness_wait(struct harness *harness, bool (*condition)(const struct vhost_backend_state *state),
                  int timeout_ms);
bool harness_connected(const struct vhost_backend_state *state);
bool harness_disconnected(const struct vhost_backend_state *state);

void harness_set_link(struct harness *harness, bool up);
/* Log lines of this level or a more urgent one so far. */
unsigned harness_log_count(struct harness *harness, int level);
/* MAC of the last announcement; false: none. */
bool harness_announced(struct harness *harness, uint8_t mac[6]);

/* Open descriptors and memory mappings of memory files in this process. */
unsigned harness_fd_count(void);
unsigned harness_map_count(void);

/* A socket path that no other test has. */
void harness_path(char *path, size_t size);
