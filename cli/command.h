/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The table of commands: one place says which commands exist, what they take and what they do. The parser,
 * `--help`, completion, the man page weft(1) and the test that runs every example are all made from it, so
 * that none of them can list what another does not know. command_table.c has the nouns, command_table_*.c
 * their commands.
 *
 * Everything here is constant; the program has one thread.
 */
#include <stdbool.h>
#include <stddef.h>

/* What a value is: decides its check, its completion and how it is sent to weftd. */
enum cli_type {
    CLI_FLAG,         /* option without a value */
    CLI_TEXT,         /* checked by weftd */
    CLI_LIST,         /* comma separated; sent as a list */
    CLI_CHOICE,       /* one of cli_option.choices */
    CLI_NUMBER,       /* unsigned decimal integer */
    CLI_DURATION,     /* 30, 30s, 5m, 2h; whole seconds */
    CLI_BOOLEAN,      /* true or false; sent as such */
    CLI_FILE,         /* path of a file, or - for standard input */
    CLI_FILES,        /* paths, comma separated */
    CLI_MAP,          /* KEY=VALUE, comma separated; sent as an object */
    CLI_ENTRIES,      /* the same; sent entry by entry, one without a value is taken away */
    CLI_TENANT,       /* name of a tenant */
    CLI_SEGMENT,      /* tenant/segment */
    CLI_PORT,         /* tenant/port */
    CLI_UPLINK,       /* name of an uplink */
    CLI_OWN_SEGMENT,  /* segment of the tenant that the command's first argument is in: no tenant in front */
    CLI_OWN_SEGMENTS, /* the same, comma separated */
};

/* Options that many commands share (cli_command.common). */
#define CLI_OUTPUT    1u /* -o, --watch: a reading command */
#define CLI_FORMAT    2u /* -o alone: reads, and watching it would say the same */
#define CLI_CHANGE    4u /* --dry-run, -o: a changing command */
#define CLI_IN_TENANT 8u /* -T: names may be shortened, lists narrowed */

struct cli_option {
    const char *name;    /* long name without dashes; NULL ends a list */
    char letter;         /* short form, 0: none */
    bool value_optional; /* --name and --name=VALUE, but never --name VALUE */
    enum cli_type type;
    const char *value;    /* what help calls the value; NULL for CLI_FLAG */
    const char *help;     /* one line, no full stop */
    const char *choices;  /* CLI_CHOICE: "a|b|c" */
    const char *key;      /* sent to weftd in `values` under this key of weft.yaml; NULL: not a value */
    const char *fallback; /* default of a value, NULL: none */
};

struct cli_argument {
    const char *name; /* what help calls it; NULL ends the list */
    enum cli_type type;
    bool optional;
    const char *choices; /* CLI_CHOICE */
    const char *way_out; /* said when it is none of them; NULL: nothing */
};

#define CLI_ARGUMENTS_MAX 4
#define CLI_EXAMPLES_MAX  4

struct cli_context;

struct cli_command {
    const char *noun;
    const char *verb; /* NULL: a doing-command that is one word */
    bool is_default;  /* what a bare noun does */
    unsigned common;  /* CLI_OUTPUT | ... */
    struct cli_argument arguments[CLI_ARGUMENTS_MAX + 1];
    const struct cli_option *options; /* NULL: none */
    const char *keys;    /* add, set: each scalar below this path of weft_keys.h is an option; NULL: none */
    const char *summary; /* one line, no full stop */
    const char *description;                    /* paragraphs for the man page, may be NULL */
    const char *examples[CLI_EXAMPLES_MAX + 1]; /* complete command lines; each is run by a test */
    int (*run)(struct cli_context *context);    /* returns the exit code; NULL: help */
};

/* Options of every command, and those that come with the bits of cli_command.common. */
extern const struct cli_option cli_global_options[];
extern const struct cli_option cli_output_options[];
extern const struct cli_option cli_watch_options[];
extern const struct cli_option cli_change_options[];
extern const struct cli_option cli_tenant_options[];

/* The first words of commands, in the order and the groups in which help shows them. */
struct cli_noun {
    const char *name; /* NULL ends the list */
    const char *group;
    const char *summary;                /* NULL: the summary of its only command */
    const struct cli_command *commands; /* ends with one without a noun */
};
extern const struct cli_noun cli_nouns[];

const struct cli_noun *cli_noun_find(const char *name);

/* The options that a path of weft_keys.h stands for ("tenants.*.ports.*."). */
const struct cli_option *cli_keys_options(const char *path);

/* What an option belongs to that would be a key there but is not built; NULL: there is no such key. */
const char *cli_keys_refused(const char *path, const char *option);

/* Whether the word belongs to the documented language but has no command in this version. */
bool cli_word_is_reserved(const char *word);

const struct cli_command *cli_command_find(const char *noun, const char *verb);
/* Walks through all commands: the first one after NULL, NULL after the last. */
const struct cli_command *cli_command_next(const struct cli_command *command);

/* Finds an option of the command, shared ones included; NULL when it has none of that name. */
const struct cli_option *cli_option_find(const struct cli_command *command, const char *name);

/*
 * Any option of that name (of `length` characters) or, where name is NULL, letter, in any command. Enough to
 * know whether it takes a value before the command is known.
 */
const struct cli_option *cli_option_find_anywhere(const char *name, size_t length, char letter);

/* Calls visit for each option of the command, its own first, then the shared ones, then the global ones. */
void cli_options_visit(const struct cli_command *command,
                       void (*visit)(const struct cli_option *option, void *argument), void *argument);

/* The nearest of `count` words for "did you mean", or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *words, size_t count);
