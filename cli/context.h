/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One invocation of weft: what was asked for, after parsing, and what the commands need to answer it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

#include "command.h"
#include "weft_api.h"

enum cli_format { CLI_FORMAT_TEXT, CLI_FORMAT_WIDE, CLI_FORMAT_JSON, CLI_FORMAT_NAME };

#define CLI_OPTIONS_MAX       64 /* options given in one invocation */
#define CLI_NAMES_MAX         4  /* names in one invocation */
#define CLI_NAME_SIZE         160
#define CLI_TIMEOUT_DEFAULT_S 30u

struct cli_given {
    const struct cli_option *option;
    const char *value; /* NULL: none */
};

struct cli_context {
    const struct cli_command *command; /* NULL: help or version was asked for */
    const char *arguments[CLI_ARGUMENTS_MAX];
    size_t argument_count;
    struct cli_given given[CLI_OPTIONS_MAX];
    size_t given_count;

    /* from the shared options */
    const char *run_dir;
    const char *tenant; /* NULL: none */
    bool tenant_from_environment;
    enum cli_format format;
    unsigned timeout_s;
    unsigned watch_s; /* 0: once */
    bool dry_run;
    bool help, version;
    bool colour;                              /* states may be coloured */
    FILE *out;                                /* where data goes */
    struct client *client;                    /* NULL until a command needs weftd */
    json_t *before;                           /* answer that the round before of --watch showed, NULL: none */
    const char *help_noun, *help_verb;        /* whose help; NULL: the whole */
    char names[CLI_NAMES_MAX][CLI_NAME_SIZE]; /* storage for names made complete with the tenant */
    size_t name_count;
};

/* The value given for an option, NULL when it was not given. A flag that was given has the value "". */
const char *cli_given_value(const struct cli_context *context, const char *name);

static inline bool cli_is_given(const struct cli_context *context, const char *name)
{
    return cli_given_value(context, name) != NULL;
}
