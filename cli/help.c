/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "command.h"
#include "help.h"

#define TEXT_WIDTH 78

/* Wraps text into lines of TEXT_WIDTH. */
static void print_wrapped(FILE *out, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column && column + 1 + length > TEXT_WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%s%.*s", column ? " " : "", (int)length, text);
        column += length + (column != 0);
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

void help_synopsis(FILE *out, const struct cli_command *command)
{
    fprintf(out, "%s%s%s", command->noun, command->verb ? " " : "", command->verb ? command->verb : "");
    for (const struct cli_argument *argument = command->arguments; argument->name; argument++)
        fprintf(out, argument->optional ? " [%s]" : " %s", argument->name);
}

static const char *summary_of(const struct cli_noun *noun)
{
    return noun->summary ? noun->summary : cli_command_find(noun->name, NULL)->summary;
}

static void print_option(const struct cli_option *option, void *argument)
{
    FILE *out = argument;
    char left[80], letter[8] = "    ";
    if (option->letter)
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    const char *before = option->type == CLI_FLAG ? "" : option->value_optional ? "[=" : " ";
    snprintf(left, sizeof(left), "%s--%s%s%s%s", letter, option->name, before,
             option->value ? option->value : "", option->value_optional ? "]" : "");
    const char *fallback = option->fallback;
    fprintf(out, "  %-31s %s%s%s%s\n", left, option->help, fallback ? " (default " : "",
            fallback ? fallback : "", fallback ? ")" : "");
}

static void print_command(FILE *out, const struct cli_command *command)
{
    fputs("usage: weft ", out);
    help_synopsis(out, command);
    fputs(" [OPTIONS]\n\n", out);
    print_wrapped(out, command->summary);
    if (command->description) {
        fputc('\n', out);
        print_wrapped(out, command->description);
    }
    fputs("\nOptions:\n", out);
    cli_options_visit(command, print_option, out);
    fputs("\nExamples:\n", out);
    for (size_t i = 0; command->examples[i]; i++)
        fprintf(out, "  %s\n", command->examples[i]);
}

static void print_noun(FILE *out, const struct cli_noun *noun)
{
    fprintf(out, "usage: weft %s VERB [NAME] [OPTIONS]\n\n", noun->name);
    print_wrapped(out, summary_of(noun));
    fputs("\nVerbs:\n", out);
    for (const struct cli_command *command = noun->commands; command->noun; command++)
        fprintf(out, "  %-10s %s%s\n", command->verb, command->summary,
                command->is_default ? " (when no verb is given)" : "");
    fprintf(out, "\n\"weft %s VERB --help\" shows the options of a verb.\n", noun->name);
}

static void print_all(FILE *out)
{
    const char *group = "";
    fputs("usage: weft COMMAND [VERB] [NAME] [OPTIONS]\n\n"
          "Wires virtual machines into isolated tenant networks: the command line of weftd.\n",
          out);
    for (const struct cli_noun *noun = cli_nouns; noun->name; noun++) {
        if (strcmp(group, noun->group) != 0)
            fprintf(out, "\n%s:\n", noun->group);
        group = noun->group;
        fprintf(out, "  %-10s %s\n", noun->name, summary_of(noun));
    }
    fputs("\nOptions of every command:\n", out);
    cli_options_visit(NULL, print_option, out);
    fputs("\n\"weft COMMAND --help\" says more. The manual: weft(1), weft.yaml(5), weft-tutorial(7).\n", out);
}

void help_print(FILE *out, const char *noun_name, const char *verb)
{
    const struct cli_noun *noun = noun_name ? cli_noun_find(noun_name) : NULL;
    const struct cli_command *command = noun ? cli_command_find(noun_name, verb) : NULL;
    if (!noun)
        print_all(out);
    else if (command && (verb || !command->verb))
        print_command(out, command);
    else
        print_noun(out, noun);
}
