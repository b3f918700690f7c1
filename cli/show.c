/* SPDX-License-Identifier: BSD-3-Clause */
#include "show.h"

#include <string.h>

#include "client.h"

/* What a list without items says, by the command's noun. */
static const struct {
    const char *noun, *text, *way_out;
} nothing[] = {
    {"tenant", "no tenants", "\"weft tenant add NAME\" makes one"},
    {"segment", "no segments", "\"weft segment add TENANT/NAME --mode isolated\" makes one"},
    {"port", "no ports", "\"weft port add TENANT/NAME --segment SEGMENT\" makes one"},
    {"uplink", "no uplinks", "\"weft uplink add NAME --device af_packet:INTERFACE\" makes one"},
    {"vm", "no machines", "\"weft vm run TENANT/PORT --kernel FILE\" starts one"},
    {"nat", "no segments of mode nat", "\"weft segment add --help\" says how to make one"},
    {"forward", "no port forwards", "\"weft forward add --help\" says how to make one"},
    {"sessions", "no sessions", NULL},
    {"lease", "no leases", NULL},
    {"route", "no routes", NULL},
    {"neighbour", "no neighbours", NULL},
    {"fdb", "no addresses", NULL},
    {"drops", "no drops", NULL},
};

void show_nothing(const struct cli_context *context, const json_t *items)
{
    if (json_array_size(items) || (context->format != CLI_FORMAT_TEXT && context->format != CLI_FORMAT_WIDE))
        return;
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        if (strcmp(nothing[i].noun, context->command->noun) != 0)
            continue;
        bool is_narrowed = context->argument_count || cli_is_given(context, "segment") ||
                           cli_is_given(context, "port") || context->tenant;
        char text[200];
        snprintf(text, sizeof(text), "%s%s%s%s%s", nothing[i].text, context->tenant ? " of tenant " : "",
                 context->tenant ? context->tenant : "", !is_narrowed && nothing[i].way_out ? "; " : "",
                 !is_narrowed && nothing[i].way_out ? nothing[i].way_out : "");
        if (context->out == stdout)
            output_note("%s", text);
        else
            output_text(context->out, text); /* a screen of --watch would hide a note */
    }
}

/* What the table cannot say of its items. */
static void show_notes(const json_t *result)
{
    size_t i;
    json_t *item;
    json_int_t left_out = json_integer_value(json_object_get(result, "left_out"));
    if (left_out)
        output_note("%" JSON_INTEGER_FORMAT " more; --limit NUMBER shows more", left_out);
    json_array_foreach (json_object_get(result, "items"), i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *counted_at = json_string_value(json_object_get(item, "counted_at"));
        if (name && counted_at)
            output_note("%s is a VLAN of %s: its frames are counted there", name, counted_at);
    }
}

void show_result(const struct cli_context *context, const json_t *result, const struct column *columns)
{
    output_items(context->out, context, result, columns);
    show_nothing(context, json_object_get(result, "items"));
    if (context->format == CLI_FORMAT_TEXT || context->format == CLI_FORMAT_WIDE)
        show_notes(result);
}

int show_items(struct cli_context *context, const char *method, json_t *params, const struct column *columns)
{
    json_t *result;
    int code = client_call(context, method, params, false, &result);
    if (code)
        return code;
    show_result(context, result, columns);
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
