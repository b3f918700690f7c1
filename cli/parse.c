/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: the words are split from the options first, which needs to know of each option whether
 * it takes a value but not yet the command (`weft -o json port list` and `weft port list -o json` are the
 * same). That works because an option's name means the same kind of thing in all commands (a unit test holds
 * the table to it). Then the words name the command, the rest of the words are its arguments, and each option
 * is checked against the command.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

#define WORDS_MAX 32
#define YEAR_S    (366u * 24 * 3600)

struct words {
    const char *list[WORDS_MAX];
    size_t count;
};

static int complain(char message[CLI_MESSAGE_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int complain(char message[CLI_MESSAGE_SIZE], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, CLI_MESSAGE_SIZE, format, arguments);
    va_end(arguments);
    return WEFT_USAGE;
}

const char *cli_given_value(const struct cli_context *context, const char *name)
{
    for (size_t i = 0; i < context->given_count; i++)
        if (strcmp(context->given[i].option->name, name) == 0)
            return context->given[i].value ? context->given[i].value : "";
    return NULL;
}

int cli_parse_number(const char *text, unsigned long long *number)
{
    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    if (errno)
        return -ERANGE;
    return *end ? -EINVAL : 0;
}

int cli_parse_duration(const char *text, unsigned *seconds)
{
    static const struct {
        const char *unit;
        unsigned seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 24 * 3600}};
    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || number > YEAR_S)
        return -ERANGE;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) != 0)
            continue;
        if (number > YEAR_S / units[i].seconds)
            return -ERANGE;
        *seconds = (unsigned)number * units[i].seconds;
        return 0;
    }
    return -EINVAL;
}

bool cli_is_choice(const char *word, const char *choices)
{
    size_t length = strlen(word);
    for (const char *at = choices; length && *at; at += strcspn(at, "|"), at += *at == '|')
        if (strcspn(at, "|") == length && strncmp(at, word, length) == 0)
            return true;
    return false;
}

struct names {
    const char *list[CLI_OPTIONS_MAX];
    size_t count;
};

static void collect_name(const struct cli_option *option, void *argument)
{
    struct names *names = argument;
    if (names->count < CLI_OPTIONS_MAX)
        names->list[names->count++] = option->name;
}

static const char *nearest_option(const struct cli_command *command, const char *name)
{
    struct names names = {.count = 0};
    cli_options_visit(command, collect_name, &names);
    return cli_nearest(name, names.list, names.count);
}

static int give(struct cli_context *context, const struct cli_option *option, const char *value,
                char *message)
{
    if (cli_is_given(context, option->name))
        return complain(message, "--%s is given twice", option->name);
    if (context->given_count == CLI_OPTIONS_MAX)
        return complain(message, "too many options");
    context->given[context->given_count++] = (struct cli_given){option, value};
    return WEFT_OK;
}

static int take_long(int argc, char **argv, int *at, struct cli_context *context, const char **unknown,
                     char *message)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    const struct cli_option *option =
        cli_option_find_anywhere(name, equals ? (size_t)(equals - name) : strlen(name), 0);
    if (!option) {
        if (!*unknown)
            *unknown = argv[*at];
        return WEFT_OK;
    }
    const char *value = equals ? equals + 1 : NULL;
    if (option->type == CLI_FLAG && value)
        return complain(message, "--%s takes no value", option->name);
    if (option->type != CLI_FLAG && !value && !option->value_optional) {
        if (*at + 1 >= argc)
            return complain(message, "--%s needs a value: %s", option->name, option->value);
        value = argv[++*at];
    }
    return give(context, option, value, message);
}

static int take_short(int argc, char **argv, int *at, struct cli_context *context, const char **unknown,
                      char *message)
{
    for (const char *letter = argv[*at] + 1; *letter; letter++) {
        const struct cli_option *option = cli_option_find_anywhere(NULL, 0, *letter);
        if (!option) {
            if (!*unknown)
                *unknown = argv[*at];
            return WEFT_OK;
        }
        const char *value = NULL;
        if (option->type != CLI_FLAG) {
            if (letter[1])
                value = letter + 1;
            else if (*at + 1 < argc)
                value = argv[++*at];
            else
                return complain(message, "-%c needs a value: %s", *letter, option->value);
        }
        int code = give(context, option, value, message);
        if (code || value)
            return code;
    }
    return WEFT_OK;
}

static int split(int argc, char **argv, struct cli_context *context, struct words *words,
                 const char **unknown, char *message)
{
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        int code = WEFT_OK;
        if (only_words || argv[i][0] != '-' || !argv[i][1]) {
            if (words->count == WORDS_MAX)
                return complain(message, "too many arguments");
            words->list[words->count++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (argv[i][1] == '-') {
            code = take_long(argc, argv, &i, context, unknown, message);
        } else {
            code = take_short(argc, argv, &i, context, unknown, message);
        }
        if (code)
            return code;
    }
    return WEFT_OK;
}

static int unknown_noun(const char *noun, char *message)
{
    if (cli_word_is_reserved(noun))
        return complain(message, "\"%s\" is not built yet in this version; \"weft --help\" lists what is",
                        noun);
    const char *words[32];
    size_t count = 0;
    for (const struct cli_noun *known = cli_nouns; known->name && count < 32; known++)
        words[count++] = known->name;
    const char *nearest = cli_nearest(noun, words, count);
    if (nearest)
        return complain(message, "unknown command \"%s\"; did you mean \"%s\"?", noun, nearest);
    return complain(message, "unknown command \"%s\"; \"weft --help\" lists the commands", noun);
}

static int unknown_verb(const char *noun, const char *verb, char *message)
{
    const char *words[16];
    size_t count = 0;
    for (const struct cli_command *command = cli_noun_find(noun)->commands; command->noun && count < 16;
         command++)
        if (command->verb)
            words[count++] = command->verb;
    const char *nearest = cli_nearest(verb, words, count);
    if (nearest)
        return complain(message, "%s: unknown verb \"%s\"; did you mean \"weft %s %s\"?", noun, verb, noun,
                        nearest);
    if (strchr(verb, '/')) {
        const char *meant = cli_command_find(noun, "show") ? "show" : "list";
        return complain(message, "%s: a verb comes before the name; did you mean \"weft %s %s %s\"?", noun,
                        noun, meant, verb);
    }
    char list[CLI_MESSAGE_SIZE / 2] = "";
    for (size_t i = 0; i < count; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "", words[i]);
    return complain(message, "%s: unknown verb \"%s\"; it has: %s", noun, verb, list);
}

/* Finds the command that the words name and takes those words off. */
static int find_command(struct words *words, struct cli_context *context, char *message)
{
    const char *noun = words->list[0];
    size_t used = 1;
    if (!cli_noun_find(noun))
        return unknown_noun(noun, message);
    context->help_noun = noun;
    const struct cli_command *command = cli_command_find(noun, NULL); /* a bare noun lists */
    if (command->verb && words->count > 1) {
        command = cli_command_find(noun, words->list[1]);
        if (!command)
            return unknown_verb(noun, words->list[1], message);
        context->help_verb = command->verb;
        used = 2;
    }
    context->command = command;
    words->count -= used;
    memmove(words->list, words->list + used, words->count * sizeof(words->list[0]));
    return WEFT_OK;
}

static const char *command_title(const struct cli_command *command)
{
    static char title[64];
    snprintf(title, sizeof(title), "%s%s%s", command->noun, command->verb ? " " : "",
             command->verb ? command->verb : "");
    return title;
}

static int check_value(const struct cli_given *given, char *message)
{
    const struct cli_option *option = given->option;
    unsigned seconds;
    unsigned long long number;
    if (!given->value || option->key) /* weftd checks values, with better words */
        return WEFT_OK;
    int error = 0;
    const char *wanted = "";
    if (option->type == CLI_CHOICE && !cli_is_choice(given->value, option->choices))
        return complain(message, "--%s: \"%s\" is not one of %s", option->name, given->value,
                        option->choices);
    if (option->type == CLI_DURATION) {
        error = cli_parse_duration(given->value, &seconds);
        wanted = "a time like 30s, 5m or 1h";
    } else if (option->type == CLI_NUMBER) {
        error = cli_parse_number(given->value, &number);
        wanted = "a whole number";
    }
    if (!error)
        return WEFT_OK;
    return complain(message, "--%s: \"%s\" is %s; it takes %s", option->name, given->value,
                    error == -ERANGE ? "out of range" : "not understood", wanted);
}

static int check_options(struct cli_context *context, const char *unknown, char *message)
{
    const char *title = command_title(context->command);
    if (unknown) {
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(unknown, "="), unknown);
        const char *refused = cli_keys_refused(context->command->keys, name + strspn(name, "-"));
        if (refused)
            return complain(message, "%s: %s: %s: not built in this version", title, name, refused);
        const char *nearest = nearest_option(context->command, name + strspn(name, "-"));
        if (nearest)
            return complain(message, "%s: unknown option \"%s\"; did you mean \"--%s\"?", title, name,
                            nearest);
        return complain(message, "%s: unknown option \"%s\"; \"weft %s --help\" lists its options", title,
                        name, title);
    }
    for (size_t i = 0; i < context->given_count; i++) {
        struct cli_given *given = &context->given[i];
        const struct cli_option *own = cli_option_find(context->command, given->option->name);
        const char *refused = own ? NULL : cli_keys_refused(context->command->keys, given->option->name);
        if (refused)
            return complain(message, "%s: --%s: %s: not built in this version", title, given->option->name,
                            refused);
        if (!own)
            return complain(message, "%s has no option \"--%s\"; \"weft %s --help\" lists its options", title,
                            given->option->name, title);
        given->option = own;
        int code = check_value(given, message);
        if (code)
            return code;
    }
    return WEFT_OK;
}

/* acme/web as it is; web with the tenant in front. */
static int complete_name(struct cli_context *context, enum cli_type type, const char **name, char *message)
{
    const char *given = *name, *slash = strchr(given, '/');
    const char *what = type == CLI_PORT ? "port" : "segment";
    if (!given[0])
        return complain(message, "%s: the %s's name is empty", command_title(context->command), what);
    if (slash == given || (slash && (!slash[1] || strchr(slash + 1, '/'))))
        return complain(message, "\"%s\" is not a %s's name: it is written tenant/%s", given, what, what);
    if (slash)
        return WEFT_OK;
    if (!context->tenant)
        return complain(message, "\"%s\" names no tenant: write tenant/%s, or give --tenant or $WEFT_TENANT",
                        given, given);
    if (context->name_count == CLI_NAMES_MAX)
        return complain(message, "too many names");
    char *complete = context->names[context->name_count];
    int length = snprintf(complete, CLI_NAME_SIZE, "%s/%s", context->tenant, given);
    if (length < 0 || length >= CLI_NAME_SIZE)
        return complain(message, "\"%.60s...\" is too long for a name", given);
    context->name_count++;
    *name = complete;
    return WEFT_OK;
}

static int complete_options(struct cli_context *context, char *message)
{
    for (size_t i = 0; i < context->given_count; i++) {
        const struct cli_option *option = context->given[i].option;
        if (option->key || (option->type != CLI_PORT && option->type != CLI_SEGMENT))
            continue;
        int code = complete_name(context, option->type, &context->given[i].value, message);
        if (code)
            return code;
    }
    return WEFT_OK;
}

static int check_argument(struct cli_context *context, size_t i, char *message)
{
    const struct cli_argument *argument = &context->command->arguments[i];
    const char *given = context->arguments[i];
    if (argument->type == CLI_SEGMENT || argument->type == CLI_PORT)
        return complete_name(context, argument->type, &context->arguments[i], message);
    if (argument->type == CLI_TENANT && strchr(given, '/'))
        return complain(message, "\"%s\" is not a tenant's name: it has no slash; did you mean \"%.*s\"?",
                        given, (int)strcspn(given, "/"), given);
    if (argument->type == CLI_TENANT && !given[0])
        return complain(message, "%s: the name is empty", command_title(context->command));
    if (argument->type == CLI_CHOICE && !cli_is_choice(given, argument->choices))
        return complain(message, "%s: \"%s\" is not one of %s%s%s", command_title(context->command), given,
                        argument->choices, argument->way_out ? "; " : "",
                        argument->way_out ? argument->way_out : "");
    unsigned long long number;
    if (argument->type == CLI_NUMBER && cli_parse_number(given, &number))
        return complain(message, "%s: \"%s\" is not a whole number", command_title(context->command), given);
    return WEFT_OK;
}

static int check_arguments(const struct words *words, struct cli_context *context, char *message)
{
    const struct cli_command *command = context->command;
    size_t most = 0, least = 0;
    while (command->arguments[most].name)
        least += !command->arguments[most++].optional;
    if (words->count < least)
        return complain(message, "%s: %s is missing; \"weft %s --help\" shows how it is written",
                        command_title(command), command->arguments[words->count].name,
                        command_title(command));
    if (words->count > most)
        return complain(message, "%s: \"%s\" is one argument too many", command_title(command),
                        words->list[most]);
    context->argument_count = words->count;
    for (size_t i = 0; i < words->count; i++) {
        context->arguments[i] = words->list[i];
        int code = check_argument(context, i, message);
        if (code)
            return code;
    }
    return WEFT_OK;
}

static void take_shared(struct cli_context *context)
{
    static const char *const formats[] = {"text", "wide", "json", "name"};
    const char *value = cli_given_value(context, "run-dir");
    if (!value)
        value = getenv("WEFT_RUN_DIR");
    context->run_dir = value && value[0] ? value : WEFT_RUN_DIR_DEFAULT;
    context->tenant = cli_given_value(context, "tenant");
    if (!context->tenant && context->command && (context->command->common & CLI_IN_TENANT)) {
        context->tenant = getenv("WEFT_TENANT");
        context->tenant_from_environment = true;
    }
    if (context->tenant && !context->tenant[0])
        context->tenant = NULL;
    value = cli_given_value(context, "output");
    for (unsigned i = 0; value && i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(value, formats[i]) == 0)
            context->format = (enum cli_format)i;
    context->timeout_s = CLI_TIMEOUT_DEFAULT_S;
    value = cli_given_value(context, "timeout");
    if (value)
        cli_parse_duration(value, &context->timeout_s);
    context->dry_run = cli_is_given(context, "dry-run");
    value = cli_given_value(context, "watch");
    if (value) {
        context->watch_s = 1;
        if (value[0])
            cli_parse_duration(value, &context->watch_s);
        if (context->watch_s == 0)
            context->watch_s = 1;
    }
}

int cli_parse(int argc, char **argv, struct cli_context *context, char message[CLI_MESSAGE_SIZE])
{
    struct words words = {.count = 0};
    const char *unknown = NULL;
    memset(context, 0, sizeof(*context));
    int code = split(argc, argv, context, &words, &unknown, message);
    if (code)
        return code;
    context->help = cli_is_given(context, "help");
    context->version = cli_is_given(context, "version");
    if (words.count && strcmp(words.list[0], "help") == 0) {
        context->help = true;
        words.count--;
        memmove(words.list, words.list + 1, words.count * sizeof(words.list[0]));
    }
    if (words.count == 0) {
        if (unknown)
            return complain(message, "unknown option \"%s\"; \"weft --help\" lists the options", unknown);
        if (context->version || context->help)
            return WEFT_OK;
        return complain(message,
                        "what to do? \"weft --help\" lists the commands; \"weft status\" is a good start");
    }
    code = find_command(&words, context, message);
    if (code && unknown && context->help_noun) /* what follows a misspelt option is often taken for a verb */
        return complain(message, "%s: unknown option \"%s\"; \"weft %s --help\" says more",
                        context->help_noun, unknown, context->help_noun);
    if (code || context->help)
        return code;
    code = check_options(context, unknown, message);
    if (code)
        return code;
    take_shared(context);
    if (context->timeout_s == 0)
        return complain(message, "--timeout: it takes a time of at least 1s");
    code = complete_options(context, message);
    if (code)
        return code;
    return check_arguments(&words, context, message);
}
