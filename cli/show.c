/* SPDX-License-Identifier: BSD-3-Clause */
#include "show.h"

#include "client.h"

int show_items(struct cli_context *context, const char *method, json_t *params, const struct column *columns)
{
    json_t *result;
    int code = client_call(context, method, params, false, &result);
    if (code)
        return code;
    output_items(context->out, context, result, columns);
    json_int_t left_out = json_integer_value(json_object_get(result, "left_out"));
    if (left_out)
        output_note("%" JSON_INTEGER_FORMAT " more; --limit NUMBER shows more", left_out);
    json_decref(result);
    return WEFT_OK;
}

int show_text(struct cli_context *context, const char *method, json_t *params)
{
    json_t *result;
    int code = client_call(context, method, params, false, &result);
    if (code)
        return code;
    const char *text = json_string_value(json_object_get(result, "text"));
    if (context->format == CLI_FORMAT_JSON)
        output_json(context->out, result, false);
    else
        output_text(context->out, text ? text : "");
    json_decref(result);
    return WEFT_OK;
}
