/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "client.h"
#include "commands.h"
#include "output.h"
#include "show.h"

static const struct column drops_columns[] = {
    {"TENANT", "tenant", NULL, COLUMN_TEXT, false},
    {"PORT", "port", NULL, COLUMN_TEXT, false},
    {"DIRECTION", "direction", NULL, COLUMN_TEXT, false},
    {"REASON", "reason", NULL, COLUMN_TEXT, false},
    {"PACKETS", "packets", NULL, COLUMN_COUNT, false},
    {"MEANING", "text", NULL, COLUMN_TEXT, false},
    {NULL},
};

static const struct column watch_columns[] = {
    {"TENANT", "tenant", NULL, COLUMN_TEXT, false},       {"PORT", "port", NULL, COLUMN_TEXT, false},
    {"DIRECTION", "direction", NULL, COLUMN_TEXT, false}, {"REASON", "reason", NULL, COLUMN_TEXT, false},
    {"PACKETS", "packets", NULL, COLUMN_COUNT, false},    {"NEW", "new", NULL, COLUMN_COUNT, false},
    {"MEANING", "text", NULL, COLUMN_TEXT, false},        {NULL},
};

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
    const json_t *left = json_object_get(a, key), *right = json_object_get(b, key);
    return left == right || json_equal(left, right);
}

static json_int_t packets_before(const json_t *items, const json_t *item)
{
    size_t i;
    json_t *other;
    json_array_foreach (items, i, other) {
        if (same_text(other, item, "port") && same_text(other, item, "tenant") &&
            same_text(other, item, "direction") && same_text(other, item, "reason"))
            return json_integer_value(json_object_get(other, "packets"));
    }
    return 0;
}

/* The items with what came since the screen before; a counter that went back began again at 0. */
static json_t *with_news(const json_t *items, const json_t *before)
{
    json_t *copy = json_deep_copy(items);
    size_t i;
    json_t *item;
    json_array_foreach (copy, i, item) {
        json_int_t packets = json_integer_value(json_object_get(item, "packets"));
        json_int_t old = packets_before(before, item);
        json_object_set_new(item, "new", json_integer(packets >= old ? packets - old : packets));
    }
    return copy;
}

int cmd_drops(struct cli_context *context)
{
    json_t *result, *params = json_pack("{ss}", "noun", "drops");
    const char *port = cli_given_value(context, "port");
    if (context->format == CLI_FORMAT_NAME) {
        json_decref(params);
        output_error("drops: drops have no names; -o json prints them for a script");
        return WEFT_USAGE;
    }
    if (port)
        json_object_set_new(params, "port", output_json_string(port));
    else if (context->tenant)
        json_object_set_new(params, "tenant", output_json_string(context->tenant));
    int code = client_call(context, "list", params, false, &result);
    if (code)
        return code;
    json_t *items = json_object_get(result, "items");
    if (context->before && context->format != CLI_FORMAT_JSON) {
        json_t *copy = with_news(items, json_object_get(context->before, "items"));
        output_table(context->out, copy, watch_columns, context->format == CLI_FORMAT_WIDE, context->colour);
        json_decref(copy);
        show_nothing(context, items);
    } else {
        show_result(context, result, drops_columns);
    }
    json_decref(context->before);
    context->before = result;
    return WEFT_OK;
}
