/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ways out: sessions, port forwards, leases, neighbours.
 */
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "client.h"
#include "commands.h"
#include "output.h"
#include "show.h"

static const struct column sessions_columns[] = {
    {"SEGMENT", "segment", NULL, COLUMN_TEXT, false},
    {"PORT", "port", NULL, COLUMN_TEXT, false},
    {"PROTO", "protocol", NULL, COLUMN_TEXT, false},
    {"STATE", "state", NULL, COLUMN_TEXT, false},
    {"DIRECTION", "direction", NULL, COLUMN_TEXT, true},
    {"INSIDE", "inside", NULL, COLUMN_TEXT, false},
    {"OUTSIDE", "translated", NULL, COLUMN_TEXT, false},
    {"REMOTE", "remote", NULL, COLUMN_TEXT, false},
    {"UPLINK", "uplink", NULL, COLUMN_TEXT, true},
    {"PKTS-OUT", "packets_out", NULL, COLUMN_COUNT, false},
    {"PKTS-IN", "packets_in", NULL, COLUMN_COUNT, false},
    {"AGE", "age", NULL, COLUMN_SECONDS, false},
    {"EXPIRES", "expires_s", NULL, COLUMN_SECONDS, true},
    {NULL},
};

static const struct column forward_columns[] = {
    {"SEGMENT", "segment", NULL, COLUMN_TEXT, false},
    {"PROTO", "protocol", NULL, COLUMN_TEXT, false},
    {"PORT", "port", NULL, COLUMN_TEXT, false},
    {"TO", "to", NULL, COLUMN_TEXT, false},
    {"ADDRESS", "address", NULL, COLUMN_TEXT, false},
    {"UPLINK", "uplink", NULL, COLUMN_TEXT, false},
    {NULL},
};

static const struct column lease_columns[] = {
    {"SEGMENT", "segment", NULL, COLUMN_TEXT, false},
    {"ADDRESS", "address", NULL, COLUMN_TEXT, false},
    {"PORT", "port", NULL, COLUMN_TEXT, false},
    {"MAC", "mac", NULL, COLUMN_TEXT, false},
    {"HOSTNAME", "hostname", NULL, COLUMN_TEXT, false},
    {"EXPIRES", "expires_s", NULL, COLUMN_SECONDS, false},
    {NULL},
};

static const struct column neighbour_columns[] = {
    {"INTERFACE", "interface", NULL, COLUMN_TEXT, false},
    {"ADDRESS", "address", NULL, COLUMN_TEXT, false},
    {"MAC", "mac", NULL, COLUMN_TEXT, false},
    {"STATE", "state", NULL, COLUMN_TEXT, false},
    {"AGE", "age", NULL, COLUMN_SECONDS, false},
    {NULL},
};

static const struct column route_columns[] = {
    {"INTERFACE", "interface", NULL, COLUMN_TEXT, false},
    {"PREFIX", "prefix", NULL, COLUMN_TEXT, false},
    {"NEXT-HOP", "next_hop", NULL, COLUMN_TEXT, false},
    {"LEAVES-BY", "uplink", NULL, COLUMN_TEXT, false},
    {NULL},
};

static int list(struct cli_context *context, const char *noun, const struct column *columns)
{
    json_t *params = json_pack("{ss}", "noun", noun);
    const char *segment =
        context->argument_count ? context->arguments[0] : cli_given_value(context, "segment");
    const char *port = cli_given_value(context, "port"), *limit = cli_given_value(context, "limit");
    if (segment)
        json_object_set_new(params, "segment", output_json_string(segment));
    else if (context->tenant)
        json_object_set_new(params, "tenant", output_json_string(context->tenant));
    if (port)
        json_object_set_new(params, "port", output_json_string(port));
    if (limit)
        json_object_set_new(params, "limit", json_integer(strtoll(limit, NULL, 10)));
    return show_items(context, "list", params, columns);
}

int cmd_sessions_list(struct cli_context *context)
{
    if (context->format == CLI_FORMAT_NAME) {
        output_error("sessions list: sessions have no names; -o json prints them for a script");
        return WEFT_USAGE;
    }
    return list(context, "sessions", sessions_columns);
}

int cmd_lease_list(struct cli_context *context)
{
    return list(context, "lease", lease_columns);
}

int cmd_neighbour_list(struct cli_context *context)
{
    return list(context, "neighbour", neighbour_columns);
}

int cmd_route_list(struct cli_context *context)
{
    return list(context, "route", route_columns);
}

int cmd_forward_list(struct cli_context *context)
{
    return list(context, "forward", forward_columns);
}

static json_t *forward_params(const struct cli_context *context)
{
    static const char *const keys[] = {"segment", "proto", "port", "to"};
    const char *address = cli_given_value(context, "address");
    json_t *params = json_object();
    for (size_t i = 0; i < context->argument_count; i++)
        json_object_set_new(params, keys[i], output_json_string(context->arguments[i]));
    if (address)
        json_object_set_new(params, "address", output_json_string(address));
    return params;
}

int cmd_forward_add(struct cli_context *context)
{
    return change_run(context, "forward.add", forward_params(context));
}

int cmd_forward_del(struct cli_context *context)
{
    return change_run(context, "forward.del", forward_params(context));
}
