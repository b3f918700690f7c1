/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A configuration file, from its text to objects of the dataplane. Besides crashes: what is accepted must
 * export to a text that is read as the same tree, compile to objects that the dataplane can hold, and be no
 * change against itself; what is refused must say why.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "compile.h"
#include "config_yaml.h"
#include "export.h"
#include "ids.h"
#include "plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct model *read_model(const char *text, size_t size)
{
    struct diagnostics diagnostics = {0};
    struct document *document = config_yaml_parse(text, size, &diagnostics);
    struct model *model = document ? model_from_document(document, "/run/weft", &diagnostics) : NULL;
    document_free(document);
    if ((model == NULL) != (diagnostics.count > 0))
        abort();
    if (!model) {
        char *summary = diagnostics_summary(&diagnostics, "file");
        for (const char *at = summary; *at; at++) {
            if (*at < ' ' || *at > '~')
                abort();
        }
        json_decref(diagnostics_json(&diagnostics, "file"));
        free(summary);
    }
    diagnostics_clear(&diagnostics);
    return model;
}

static void check_objects(struct model *model)
{
    struct object_set set = {0};
    json_t *ids = ids_assign(NULL, model);
    if (!ids)
        abort();
    compile_model(model, 1, UINT32_MAX, &set);
    const struct dp_port *ports = set.lists[DP_KIND_PORT].items;
    for (size_t i = 0; i < set.lists[DP_KIND_PORT].count; i++) {
        if (ports[i].id == 0 || ports[i].id >= DP_PORTS_MAX || ports[i].queues == 0 ||
            ports[i].queues > DP_QUEUES_MAX || !ports[i].name[0] || !ports[i].device[0])
            abort();
    }
    object_set_clear(&set);
    json_decref(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model *model = read_model((const char *)data, size);
    if (!model)
        return 0;
    check_objects(model);
    json_t *changes = plan_changes(model->config, model->config);
    char *text = export_yaml(model->config);
    struct model *again = read_model(text, strlen(text));
    json_t *differences = again ? plan_changes(model->config, again->config) : NULL;
    if (json_array_size(changes) || !again || json_array_size(differences))
        abort();
    free(text);
    json_decref(changes);
    json_decref(differences);
    model_free(again);
    model_free(model);
    return 0;
}
