/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* The programming socket's server in a thread, on fake state. */
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "api_server.h"
#include "client.h"
#include "dp_objects.h"

#define API_FIXTURE_TIMEOUT_MS 60000
#define API_FIXTURE_ADDRESSES  20000u /* that it says it has learned */

struct api_fixture {
    pthread_t thread;
    struct event_base *base;
    struct api_server *server;
    struct event *stop;
    int stop_fd;
    struct objects *objects;
    char directory[64], path[96];
    unsigned commits, flushes, stops; /* server thread: w; tests: r after a reply */
    unsigned fds_taken;
    bool commit_fails;
};
extern struct api_fixture api_fixture;
extern const struct api_ops api_fixture_ops;

int api_fixture_setup(void **state);
int api_fixture_teardown(void **state); /* -1: something is left behind */
struct dp_client *api_fixture_connect(void);
/* Begins a transaction: a segment, a port, its membership. */
void api_fixture_put_base(struct dp_client *client);
