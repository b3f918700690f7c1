/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking things up in the table of commands (command_table.c).
 */
#include <string.h>

#include "command.h"

#define NEAREST_LENGTH_MAX 40

const struct cli_noun *cli_noun_find(const char *name)
{
    for (const struct cli_noun *noun = cli_nouns; noun->name; noun++)
        if (strcmp(noun->name, name) == 0)
            return noun;
    return NULL;
}

const struct cli_command *cli_command_find(const char *noun, const char *verb)
{
    const struct cli_noun *found = cli_noun_find(noun);
    for (const struct cli_command *command = found ? found->commands : NULL; command && command->noun;
         command++)
        if (verb ? command->verb && strcmp(command->verb, verb) == 0 : !command->verb || command->is_default)
            return command;
    return NULL;
}

const struct cli_command *cli_command_next(const struct cli_command *command)
{
    if (command && command[1].noun)
        return command + 1;
    const struct cli_noun *noun = command ? cli_noun_find(command->noun) + 1 : cli_nouns;
    return noun->name ? noun->commands : NULL;
}

/* The lists of options that a command takes, in the order in which they are shown. */
static size_t option_lists(const struct cli_command *command, const struct cli_option *lists[7])
{
    size_t count = 0;
    if (command && command->keys)
        lists[count++] = cli_keys_options(command->keys);
    if (command && command->options)
        lists[count++] = command->options;
    if (command && (command->common & CLI_IN_TENANT))
        lists[count++] = cli_tenant_options;
    if (command && (command->common & CLI_CHANGE))
        lists[count++] = cli_change_options;
    if (command && (command->common & (CLI_OUTPUT | CLI_FORMAT | CLI_CHANGE)))
        lists[count++] = cli_output_options;
    if (command && (command->common & CLI_OUTPUT))
        lists[count++] = cli_watch_options;
    lists[count++] = cli_global_options;
    return count;
}

void cli_options_visit(const struct cli_command *command,
                       void (*visit)(const struct cli_option *option, void *argument), void *argument)
{
    const struct cli_option *lists[7];
    size_t count = option_lists(command, lists);
    for (size_t i = 0; i < count; i++)
        for (const struct cli_option *option = lists[i]; option->name; option++)
            visit(option, argument);
}

const struct cli_option *cli_option_find(const struct cli_command *command, const char *name)
{
    const struct cli_option *lists[7];
    size_t count = option_lists(command, lists);
    for (size_t i = 0; i < count; i++)
        for (const struct cli_option *option = lists[i]; option->name; option++)
            if (strcmp(option->name, name) == 0)
                return option;
    return NULL;
}

static const struct cli_option *find_in(const struct cli_option *option, const char *name, size_t length,
                                        char letter)
{
    for (; option && option->name; option++)
        if (name ? strlen(option->name) == length && strncmp(option->name, name, length) == 0
                 : letter && option->letter == letter)
            return option;
    return NULL;
}

const struct cli_option *cli_option_find_anywhere(const char *name, size_t length, char letter)
{
    static const struct cli_option *const shared[] = {
        cli_global_options, cli_output_options, cli_watch_options, cli_change_options, cli_tenant_options};
    const struct cli_option *found = NULL;
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]) && !found; i++)
        found = find_in(shared[i], name, length, letter);
    for (const struct cli_command *command = cli_command_next(NULL); command && !found;
         command = cli_command_next(command)) {
        found = find_in(command->options, name, length, letter);
        if (!found && command->keys)
            found = find_in(cli_keys_options(command->keys), name, length, letter);
    }
    return found;
}

static unsigned minimum(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap of neighbours) that make `b` of `a`. */
static unsigned edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    unsigned rows[3][NEAREST_LENGTH_MAX + 1];
    for (unsigned j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a_length; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *before_that = rows[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= b_length; j++) {
            unsigned cost = a[i - 1] != b[j - 1];
            now[j] = minimum(minimum(before[j] + 1, now[j - 1] + 1), before[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = minimum(now[j], before_that[j - 2] + 1);
        }
    }
    return rows[a_length % 3][b_length];
}

const char *cli_nearest(const char *word, const char *const *words, size_t count)
{
    size_t length = strlen(word);
    if (length == 0 || length > NEAREST_LENGTH_MAX)
        return NULL;
    unsigned best = length <= 3 ? 2 : 3; /* one edit for a short word, two for a longer one */
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t other = strlen(words[i]);
        if (other > NEAREST_LENGTH_MAX)
            continue;
        unsigned distance = edit_distance(word, length, words[i], other);
        if (distance < best && distance < other) {
            best = distance;
            nearest = words[i];
        }
    }
    return nearest;
}
