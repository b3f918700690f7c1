/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A configuration from anybody: parsed, checked, and, if it is valid, compiled and exported; the export must
 * read back as the same configuration.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "compile.h"
#include "config_yaml.h"
#include "export.h"
#include "ids.h"
#include "model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct model *read_model(const char *text, size_t size)
{
    struct diagnostics diagnostics = {0};
    struct document *document = config_yaml_parse(text, size, &diagnostics);
    struct model *model = document ? model_from_document(document, "/run/weft", &diagnostics) : NULL;
    if (!model && diagnostics.count == 0)
        abort(); /* refused without a reason */
    if (diagnostics.count) {
        char *summary = diagnostics_summary(&diagnostics, "f");
        json_t *list = diagnostics_json(&diagnostics, "f");
        char *json = json_dumps(list, 0);
        if (!json)
            abort();
        free(json);
        json_decref(list);
        free(summary);
    }
    document_free(document);
    diagnostics_clear(&diagnostics);
    return model;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct model *model = read_model((const char *)data, size);
    if (!model)
        return 0;
    struct object_set set = {0};
    json_t *ids = ids_assign(NULL, model);
    compile_model(model, 1, UINT32_MAX, &set);
    char *text = export_yaml(model->config);
    struct model *again = read_model(text, strlen(text));
    if (!ids || !again || !json_equal(model->config, again->config))
        abort();
    free(text);
    object_set_clear(&set);
    json_decref(ids);
    model_free(model);
    model_free(again);
    return 0;
}
