/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Made at build time only: says in other words what the tables say.
 *
 *   weft-describe TEMPLATE     a manual page (mdoc): the template with its lines @COMMANDS@, @OPTIONS@ and
 * @KEYS@ replaced weft-describe --examples   every example of the table of commands, one a line
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "help.h"
#include "weft_keys.h"

/* Text for mdoc: backslashes and what a line may not begin with are escaped. */
static void put_text(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++)
        fputs(*text == '\\' ? "\\e" : *text == '-' ? "\\-" : (char[]){*text, '\0'}, stdout);
}

/* One argument of a macro. */
static void put_quoted(const char *text)
{
    putchar('"');
    put_text(text);
    putchar('"');
}

/* Sentences begin on lines of their own: mdoc sets the space between them. */
static void put_sentences(const char *text)
{
    while (*text) {
        const char *end = strstr(text, ". ");
        size_t length = end ? (size_t)(end - text) + 1 : strlen(text);
        char sentence[1024];
        snprintf(sentence, sizeof(sentence), "%.*s", (int)length, text);
        put_text(sentence);
        putchar('\n');
        text += length + (end != NULL);
    }
}

static void put_option(const struct cli_option *option)
{
    fputs(".It ", stdout);
    if (option->letter)
        printf("Fl %c , ", option->letter);
    fputs("Fl ", stdout);
    char name[80];
    snprintf(name, sizeof(name), "-%s%s", option->name, option->value_optional ? "[=" : "");
    put_text(name);
    if (option->value_optional) {
        printf("%s]", option->value);
    } else if (option->value) {
        fputs(" Ar ", stdout);
        put_quoted(option->value);
    }
    putchar('\n');
    put_text(option->help);
    if (option->fallback) {
        fputs(" (default ", stdout);
        put_text(option->fallback);
        putchar(')');
    }
    putchar('\n');
}

static void put_list(const struct cli_option *options)
{
    puts(".Bl -tag -width Ds");
    for (const struct cli_option *option = options; option->name; option++)
        put_option(option);
    puts(".El");
}

/* The options that commands share. */
static void put_shared(void)
{
    static const struct {
        const char *whose;
        const struct cli_option *options;
    } lists[] = {{"Every command:", cli_global_options},
                 {"Commands that read or change something:", cli_output_options},
                 {"Commands that show a state:", cli_watch_options},
                 {"Commands that change something:", cli_change_options},
                 {"Commands about what is in a tenant:", cli_tenant_options}};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        printf("%s%s\n", i ? ".Pp\n" : "", lists[i].whose);
        put_list(lists[i].options);
    }
}

/* Which of the shared options the command takes. */
static void put_takes(const struct cli_command *command)
{
    static const struct {
        unsigned common;
        const char *option;
    } shared[] = {{CLI_IN_TENANT, "T"},
                  {CLI_CHANGE, "\\-dry\\-run"},
                  {CLI_OUTPUT | CLI_FORMAT | CLI_CHANGE, "o"},
                  {CLI_OUTPUT, "\\-watch"}};
    const char *between = "Shared options:";
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
        if (!(command->common & shared[i].common))
            continue;
        printf("%s\n.Fl %s", between, shared[i].option);
        between = " ,";
    }
    if (command->common)
        puts(" .");
}

static void put_command(const struct cli_command *command)
{
    fputs(".Ss weft ", stdout);
    help_synopsis(stdout, command);
    putchar('\n');
    if (command->is_default)
        printf("Also\n.Dq weft %s :\n", command->noun);
    put_text(command->summary);
    puts(".");
    if (command->description) {
        puts(".Pp");
        put_sentences(command->description);
    }
    if (command->keys)
        put_list(cli_keys_options(command->keys));
    if (command->options)
        put_list(command->options);
    if (command->common)
        puts(".Pp");
    put_takes(command);
    puts(".Bd -literal -offset indent");
    for (size_t i = 0; command->examples[i]; i++) {
        put_text(command->examples[i]);
        putchar('\n');
    }
    puts(".Ed");
}

static void put_commands(void)
{
    for (const struct cli_command *command = cli_command_next(NULL); command;
         command = cli_command_next(command))
        put_command(command);
}

static void put_key_value(const char *label, const char *text)
{
    if (!text)
        return;
    printf("%s ", label);
    put_text(text);
    puts(".");
}

/* A key that is not built has no entry; of the choices, neither have those. */
static void put_key(const char *path, const char *type, long long minimum, long long maximum,
                    const char *choices, const char *fallback, const char *refused, const char *help)
{
    if (refused)
        return;
    fputs(".It Ic ", stdout);
    put_quoted(path);
    if (strcmp(type, "TABLE") != 0 && strcmp(type, "NAMED") != 0) {
        char words[32] = "";
        for (size_t i = 0; type[i] && i + 1 < sizeof(words); i++)
            words[i] = (char)(type[i] | 0x20); /* ASCII capitals */
        printf(" Pq Em %s", words);
    }
    putchar('\n');
    put_text(help);
    puts(".");
    if (choices) {
        fputs("One of:", stdout);
        for (const char *at = choices; *at; at += strcspn(at, "|"), at += *at == '|')
            if (*at != '!')
                printf(" %.*s", (int)strcspn(at, "|"), at);
        puts(".");
    }
    static const char *const lists[] = {"INTEGERS", "NAMES", "ADDRESSES", "SUBNETS",
                                        "PREFIXES", "POOL",  "TABLES",    "PATHS"};
    bool is_list = false;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        is_list |= strcmp(type, lists[i]) == 0;
    if (maximum > minimum && is_list)
        printf("At most %lld.\n", maximum);
    else if (maximum > minimum && strcmp(type, "TEXT") == 0)
        printf("At most %lld characters.\n", maximum);
    else if (maximum > minimum)
        printf("From %lld to %lld.\n", minimum, maximum);
    put_key_value("Default:", fallback);
}

static void put_keys(void)
{
    puts(".Bl -tag -width Ds");
#define X(path, type, minimum, maximum, choices, fallback, refused, help)                                    \
    put_key(path, #type, minimum, maximum, choices, fallback, refused, help);
    WEFT_KEYS(X)
#undef X
    puts(".El");
}

static int fill_template(const char *path)
{
    char line[1024];
    FILE *template = fopen(path, "re");
    if (!template) {
        perror(path);
        return 1;
    }
    while (fgets(line, sizeof(line), template)) {
        if (strcmp(line, "@COMMANDS@\n") == 0)
            put_commands();
        else if (strcmp(line, "@OPTIONS@\n") == 0)
            put_shared();
        else if (strcmp(line, "@KEYS@\n") == 0)
            put_keys();
        else
            fputs(line, stdout);
    }
    fclose(template);
    return ferror(stdout) ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s TEMPLATE | --examples\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "--examples") != 0)
        return fill_template(argv[1]);
    for (const struct cli_command *command = cli_command_next(NULL); command;
         command = cli_command_next(command))
        for (size_t i = 0; command->examples[i]; i++)
            puts(command->examples[i]);
    return 0;
}
