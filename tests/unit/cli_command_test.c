/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What everything that is made from the table of commands relies on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "help.h"
#include "parse.h"

static const struct cli_command *now; /* named when a check fails */

#define check(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fail_msg("%s %s: %s", now->noun, now->verb ? now->verb : "", #condition);                        \
    } while (0)

static void test_commands_are_complete(void **state)
{
    for (now = cli_command_next(NULL); now; now = cli_command_next(now)) {
        check(cli_noun_find(now->noun));
        check(now->run || strcmp(now->noun, "help") == 0);
        check(now->summary && now->summary[0] && now->summary[strlen(now->summary) - 1] != '.');
        check(now->examples[0]);
        check(cli_command_find(now->noun, now->verb) == now);
        check(!cli_word_is_reserved(now->noun));
        check(now->verb || !now->is_default);
    }
}

static void test_nouns_have_commands(void **state)
{
    for (const struct cli_noun *noun = cli_nouns; noun->name; noun++) {
        unsigned defaults = 0, single = 0;
        for (const struct cli_command *command = noun->commands; command->noun; command++) {
            assert_string_equal(command->noun, noun->name);
            defaults += command->is_default;
            single += !command->verb;
        }
        if (defaults + single != 1)
            fail_msg("%s: a bare noun does one thing: %u", noun->name, defaults + single);
        assert_true((noun->summary != NULL) == (single == 0));
        assert_non_null(cli_command_find(noun->name, NULL));
    }
}

/* Splits an example as a shell would (examples hold no quotes) and parses it. */
static void test_examples_parse(void **state)
{
    for (now = cli_command_next(NULL); now; now = cli_command_next(now)) {
        for (size_t j = 0; now->examples[j]; j++) {
            char text[256], message[CLI_MESSAGE_SIZE] = "", *argv[32];
            struct cli_context context;
            int argc = 0;
            snprintf(text, sizeof(text), "%s", now->examples[j]);
            for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
                argv[argc++] = word;
            if (cli_parse(argc, argv, &context, message))
                fail_msg("%s: %s", now->examples[j], message);
            check(context.command == now || strcmp(now->noun, "help") == 0);
        }
    }
}

struct seen {
    const struct cli_option *options[64];
    size_t count;
};

static void see(const struct cli_option *option, void *argument)
{
    struct seen *seen = argument;
    for (size_t i = 0; i < seen->count; i++) {
        check(strcmp(seen->options[i]->name, option->name) != 0);
        check(!option->letter || seen->options[i]->letter != option->letter);
    }
    check(seen->count < 64);
    seen->options[seen->count++] = option;
    check(option->help && option->help[0]);
    check((option->type == CLI_FLAG) == (option->value == NULL));
    check((option->type == CLI_CHOICE) == (option->choices != NULL));
    /* the words are split before the command is known, so a name means the same kind of thing everywhere */
    const struct cli_option *any = cli_option_find_anywhere(option->name, strlen(option->name), 0);
    check((any->type == CLI_FLAG) == (option->type == CLI_FLAG));
    check(any->value_optional == option->value_optional);
    check(!option->letter || cli_option_find_anywhere(NULL, 0, option->letter)->letter == option->letter);
}

static void test_options_are_consistent(void **state)
{
    for (now = cli_command_next(NULL); now; now = cli_command_next(now)) {
        struct seen seen = {.count = 0};
        cli_options_visit(now, see, &seen);
    }
}

static void test_keys_become_options(void **state)
{
    const struct cli_command *port_add = cli_command_find("port", "add");
    const struct cli_option *spoof = cli_option_find(port_add, "spoof");
    assert_non_null(cli_option_find(port_add, "segment"));
    assert_string_equal(cli_option_find(port_add, "queues")->fallback, "1");
    assert_string_equal(spoof->choices, "deny|allow");
    assert_null(cli_option_find(port_add, "rate-out")); /* not built */
    assert_string_equal(cli_option_find(cli_command_find("tenant", "set"), "ports")->key, "limits.ports");
    assert_null(strchr(cli_option_find(cli_command_find("segment", "add"), "mode")->choices, '!'));
    assert_int_equal(cli_option_find(port_add, "trunk")->type, CLI_OWN_SEGMENTS);
}

static void test_snippet_programs(void **state)
{
    static const char *const programs[] = {
#define X(name) name,
        WEFT_SNIPPETS(X)
#undef X
    };
    const struct cli_option *option = cli_option_find(cli_command_find("port", "snippet"), "for");
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
        assert_true(cli_is_choice(programs[i], option->choices));
}

static void test_nearest(void **state)
{
    static const char *const words[] = {"list", "show", "add", "set", "del", "snippet"};
    assert_string_equal(cli_nearest("lst", words, 6), "list");
    assert_string_equal(cli_nearest("hsow", words, 6), "show");
    assert_string_equal(cli_nearest("sniped", words, 6), "snippet");
    assert_null(cli_nearest("remove", words, 6));
    assert_null(cli_nearest("", words, 6));
    char endless[200];
    memset(endless, 'a', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    assert_null(cli_nearest(endless, words, 6));
}

static void test_help_says_everything(void **state)
{
    for (now = cli_command_next(NULL); now; now = cli_command_next(now)) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        help_print(out, now->noun, now->verb);
        fclose(out);
        check(strncmp(text, "usage: weft ", 12) == 0);
        for (size_t j = 0; now->examples[j]; j++)
            check(strstr(text, now->examples[j]));
        for (const struct cli_option *option = now->options; option && option->name; option++)
            check(strstr(text, option->help));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_are_complete),
        cmocka_unit_test(test_nouns_have_commands),
        cmocka_unit_test(test_examples_parse),
        cmocka_unit_test(test_options_are_consistent),
        cmocka_unit_test(test_keys_become_options),
        cmocka_unit_test(test_snippet_programs),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_help_says_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
