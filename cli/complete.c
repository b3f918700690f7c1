/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "commands.h"
#include "complete.h"
#include "output.h"

#define ASK_TIMEOUT_S 1u /* a shell that waits longer than that is worse than one that offers nothing */
#define WORDS_MAX     64

struct completion {
    FILE *out;
    const char *prefix; /* what every candidate begins with */
    const char *ahead;  /* put in front of candidates: "--mode=", "web," */
    const char *run_dir, *tenant;
    const struct cli_command *command; /* NULL: not known yet */
    const char *noun;                  /* NULL: not known yet */
    const char *words[WORDS_MAX];      /* without options */
    size_t word_count;
    char *const *given; /* all words, to see which options were given */
    int given_count;
};

static void offer(const struct completion *completion, const char *word)
{
    if (strncmp(word, completion->prefix, strlen(completion->prefix)) == 0)
        fprintf(completion->out, "%s%s\n", completion->ahead, word);
}

static void offer_choices(const struct completion *completion, const char *choices)
{
    char word[64];
    for (const char *at = choices; *at; at += strcspn(at, "|"), at += *at == '|') {
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, "|"), at);
        offer(completion, word);
    }
}

static json_t *ask_names(const struct completion *completion, const char *noun, const char *tenant)
{
    struct client_failure failure;
    struct client *client = client_open(completion->run_dir, ASK_TIMEOUT_S, &failure);
    json_t *params = json_pack("{ss}", "noun", noun);
    if (!client) {
        json_decref(params);
        return NULL;
    }
    if (tenant)
        json_object_set_new(params, "tenant", output_json_string(tenant));
    json_t *result = client_ask(client, "list", params);
    client_close(client);
    return result;
}

/* Names of weftd's objects. `short_names`: without the tenant in front. */
static void offer_names(const struct completion *completion, const char *noun, const char *tenant,
                        bool short_names)
{
    json_t *result = ask_names(completion, noun, tenant);
    size_t i;
    json_t *item;
    json_array_foreach (json_object_get(result, "items"), i, item) {
        char name[OUTPUT_CELL_SIZE];
        const struct column column = {"", "name", NULL, COLUMN_TEXT, false};
        output_cell(name, item, &column, true);
        const char *slash = strchr(name, '/');
        offer(completion, short_names && slash ? slash + 1 : name);
    }
    json_decref(result);
}

/* The tenant that the command's first argument is in, as far as it is written. */
static const char *own_tenant(const struct completion *completion, char tenant[64])
{
    size_t skipped = completion->command && completion->command->verb ? 2 : 1;
    const char *name = completion->word_count > skipped ? completion->words[skipped] : "";
    const char *slash = strchr(name, '/');
    if (!slash)
        return completion->tenant;
    snprintf(tenant, 64, "%.*s", (int)(slash - name), name);
    return tenant;
}

static void offer_paths(const struct completion *completion, const char *noun)
{
    bool short_names = completion->tenant && !strchr(completion->prefix, '/');
    offer_names(completion, noun, short_names ? completion->tenant : NULL, short_names);
}

/* After a comma the list goes on: complete the last member. */
static void offer_members(const struct completion *completion, const char *noun, const char *tenant)
{
    struct completion member = *completion;
    char ahead[512];
    const char *comma = strrchr(completion->prefix, ',');
    if (comma) {
        snprintf(ahead, sizeof(ahead), "%s%.*s", completion->ahead, (int)(comma + 1 - completion->prefix),
                 completion->prefix);
        member.ahead = ahead;
        member.prefix = comma + 1;
    }
    offer_names(&member, noun, tenant, true);
}

static void offer_value(const struct completion *completion, enum cli_type type, const char *choices)
{
    char tenant[64];
    switch (type) {
    case CLI_CHOICE:
        offer_choices(completion, choices);
        break;
    case CLI_BOOLEAN:
        offer_choices(completion, "true|false");
        break;
    case CLI_FILE:
    case CLI_FILES:
        fprintf(completion->out, "%s\n", COMPLETE_FILES);
        break;
    case CLI_TENANT:
        offer_names(completion, "tenant", NULL, false);
        break;
    case CLI_SEGMENT:
        offer_paths(completion, "segment");
        break;
    case CLI_PORT:
        offer_paths(completion, "port");
        break;
    case CLI_UPLINK:
        offer_names(completion, "uplink", NULL, false);
        break;
    case CLI_OWN_SEGMENT:
        offer_names(completion, "segment", own_tenant(completion, tenant), true);
        break;
    case CLI_OWN_SEGMENTS:
        offer_members(completion, "segment", own_tenant(completion, tenant));
        break;
    default: /* nothing is known about the rest */
        break;
    }
}

static bool was_given(const struct completion *completion, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i + 1 < completion->given_count; i++) {
        const char *word = completion->given[i];
        if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, length) == 0 &&
            (word[2 + length] == '\0' || word[2 + length] == '='))
            return true;
    }
    return false;
}

static void offer_option(const struct cli_option *option, void *argument)
{
    const struct completion *completion = argument;
    char word[80];
    snprintf(word, sizeof(word), "--%s", option->name);
    if (!was_given(completion, option->name))
        offer(completion, word);
}

static void offer_verbs(const struct completion *completion)
{
    const struct cli_noun *noun = cli_noun_find(completion->noun);
    for (const struct cli_command *command = noun ? noun->commands : NULL; command && command->noun;
         command++)
        if (command->verb)
            offer(completion, command->verb);
}

/* The option that a word spells, NULL: none. */
static const struct cli_option *option_of(const char *word)
{
    if (strncmp(word, "--", 2) == 0)
        return cli_option_find_anywhere(word + 2, strcspn(word + 2, "="), 0);
    return word[0] == '-' && word[1] && !word[2] ? cli_option_find_anywhere(NULL, 0, word[1]) : NULL;
}

/* The command's words, with the values of options left out, and what -T and --run-dir say. */
static void read_words(struct completion *completion)
{
    for (int i = 0; i + 1 < completion->given_count; i++) {
        const char *word = completion->given[i];
        const char *next = i + 2 < completion->given_count ? completion->given[i + 1] : NULL;
        if (word[0] != '-') {
            if (completion->word_count < WORDS_MAX)
                completion->words[completion->word_count++] = word;
            continue;
        }
        const struct cli_option *option = option_of(word);
        const char *value = strncmp(word, "--", 2) == 0 && strchr(word, '=') ? strchr(word, '=') + 1 : NULL;
        if (option && option->type != CLI_FLAG && !option->value_optional && !value) {
            value = next;
            i++;
        }
        if (option && value && strcmp(option->name, "tenant") == 0)
            completion->tenant = value;
        if (option && value && strcmp(option->name, "run-dir") == 0)
            completion->run_dir = value;
    }
    if (completion->word_count && cli_noun_find(completion->words[0]))
        completion->noun = completion->words[0];
    if (completion->noun)
        completion->command = cli_command_find(completion->noun, NULL);
    if (completion->command && !completion->command->verb)
        return;
    completion->command = completion->noun && completion->word_count > 1
                              ? cli_command_find(completion->noun, completion->words[1])
                              : NULL;
}

static const struct cli_option *own_option(const struct completion *completion,
                                           const struct cli_option *option)
{
    const struct cli_option *own = cli_option_find(completion->command, option->name);
    return own ? own : option;
}

/* The value of an option, as the word after it or behind its "=". False: it is no value's turn. */
static bool complete_option_value(const struct completion *completion, const char *word, const char *before)
{
    struct completion value = *completion;
    const char *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    const struct cli_option *option = equals ? option_of(word) : before ? option_of(before) : NULL;
    char ahead[128];
    if (!option || option->type == CLI_FLAG)
        return equals != NULL;
    if (!equals && (strchr(before, '=') || option->value_optional))
        return false;
    if (equals) {
        snprintf(ahead, sizeof(ahead), "%.*s", (int)(equals + 1 - word), word);
        value.ahead = ahead;
        value.prefix = equals + 1;
    }
    option = own_option(completion, option);
    offer_value(&value, option->type, option->choices);
    return true;
}

static void complete_argument(const struct completion *completion)
{
    const struct cli_command *command = completion->command;
    size_t index = completion->word_count - (command->verb ? 2 : 1), count = 0;
    while (command->arguments[count].name)
        count++;
    if (index < count)
        offer_value(completion, command->arguments[index].type, command->arguments[index].choices);
}

void complete_print(FILE *out, int count, char **words)
{
    const char *run_dir = getenv("WEFT_RUN_DIR");
    const char *word = count > 0 ? words[count - 1] : "";
    struct completion completion = {.out = out,
                                    .prefix = word,
                                    .ahead = "",
                                    .run_dir = run_dir && run_dir[0] ? run_dir : WEFT_RUN_DIR_DEFAULT,
                                    .tenant = getenv("WEFT_TENANT"),
                                    .given = words,
                                    .given_count = count};
    read_words(&completion);
    if (completion.tenant && !completion.tenant[0])
        completion.tenant = NULL;
    if (complete_option_value(&completion, word, count > 1 ? words[count - 2] : NULL))
        return;
    if (word[0] == '-') {
        cli_options_visit(completion.command, offer_option, &completion);
    } else if (!completion.noun && completion.word_count == 0) {
        for (const struct cli_noun *noun = cli_nouns; noun->name; noun++)
            offer(&completion, noun->name);
    } else if (completion.command) {
        complete_argument(&completion);
    } else if (completion.noun && completion.word_count == 1) {
        offer_verbs(&completion);
    }
}
