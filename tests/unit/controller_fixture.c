/* SPDX-License-Identifier: BSD-3-Clause */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config_yaml.h"
#include "controller_fixture.h"
#include "ids.h"

static void nothing(void *context)
{
}

static void nothing_said(void *context, const char *reason)
{
}

static void nobody_listens(void *context, json_t *event)
{
}

struct controller *controller_fixture_new(const char *text)
{
    static const struct supervisor_callbacks callbacks = {nothing, nothing_said, nothing_said, NULL};
    struct diagnostics diagnostics = {0};
    struct controller *controller = calloc(1, sizeof(*controller));
    struct document *document = config_yaml_parse(text, strlen(text), &diagnostics);
    char directory[] = "/tmp/weft-controller-XXXXXX", why[256];
    if (!controller || !document || !mkdtemp(directory))
        abort();
    snprintf(controller->options.run_dir, sizeof(controller->options.run_dir), "/run/weft");
    snprintf(controller->options.state_dir, sizeof(controller->options.state_dir), "%s", directory);
    controller->options.config = "/dev/null";
    controller->base = event_base_new();
    controller->events = events_new(nobody_listens, NULL);
    controller->taps = taps_new();
    controller->store = store_open(directory, why, sizeof(why));
    controller->supervisor = supervisor_new(controller->base, controller->options.run_dir, &callbacks);
    controller->model = model_from_document(document, controller->options.run_dir, &diagnostics);
    document_free(document);
    if (!controller->model || !controller->store)
        abort();
    supervisor_configure(controller->supervisor, controller->model->config);
    controller->generation = 5;
    controller->ids = ids_assign(NULL, controller->model);
    controller->socket_group = UINT32_MAX;
    return controller;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

void controller_fixture_free(struct controller *controller)
{
    supervisor_free(controller->supervisor, false);
    store_close(controller->store);
    taps_free(controller->taps);
    events_free(controller->events);
    event_base_free(controller->base);
    model_free(controller->model);
    json_decref(controller->ids);
    nftw(controller->options.state_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(controller);
}
