/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A request line from anybody, to a controller with a small configuration, a state directory and no
 * dataplane.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "api_server.h"
#include "controller.h"
#include "ids.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct controller controller;
static char directory[] = "/tmp/weft-api-fuzz.XXXXXX";

static void clean_up(void)
{
    char command[64];
    store_close(controller.store);
    supervisor_free(controller.supervisor, false);
    events_free(controller.events);
    taps_free(controller.taps);
    event_free(controller.confirm_timer);
    model_free(controller.model);
    json_decref(controller.ids);
    event_base_free(controller.base);
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    if (system(command) != 0)
        perror(directory);
}

static void on_nothing(void *context)
{
    (void)context;
}

static void on_reason(void *context, const char *reason)
{
    (void)context, (void)reason;
}

static void on_event(void *context, json_t *event)
{
    (void)context, (void)event;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what, (void)context;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct supervisor_callbacks callbacks = {on_nothing, on_reason, on_reason, NULL};
    char text[256];
    struct diagnostics diagnostics = {0};
    (void)argc, (void)argv;
    if (!mkdtemp(directory) || !freopen("/dev/null", "w", stderr)) /* each refused change is logged */
        abort();
    controller.options.config = "/etc/weft/weft.yaml";
    snprintf(controller.options.run_dir, sizeof(controller.options.run_dir), "%s", directory);
    controller.store = store_open(directory, text, sizeof(text));
    controller.base = event_base_new();
    controller.events = events_new(on_event, NULL);
    controller.taps = taps_new();
    controller.supervisor = supervisor_new(controller.base, directory, &callbacks);
    controller.confirm_timer = evtimer_new(controller.base, on_timer, NULL);
    json_t *config =
        json_pack("{s:i, s:{s:{s:{s:{s:s}}, s:{s:{s:s, s:s}}}}}", "version", 1, "tenants", "acme", "segments",
                  "web", "mode", "isolated", "ports", "vm1", "segment", "web", "mac", "52:54:00:00:00:01");
    controller.model = model_build(config, directory, NULL, &diagnostics);
    json_decref(config);
    if (!controller.store || !controller.model)
        abort();
    controller.ids = ids_assign(NULL, controller.model);
    atexit(clean_up);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* doctor asks the host, and would set it right. */
    if (memmem(data, size, "doctor", 6))
        return 0;
    free(api_server_answer(&controller, (const char *)data, size));
    return 0;
}
