/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "parse.h"

static struct cli_context context;
static char message[CLI_MESSAGE_SIZE];

/* Parses words separated by single blanks; "" stands for an empty one. */
static int parse(const char *line)
{
    static char text[1024];
    static char *argv[64];
    int argc = 1;
    char program[] = "weft";
    argv[0] = program;
    memset(message, 0, sizeof(message));
    strncpy(text, line, sizeof(text) - 1);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = strcmp(word, "\"\"") == 0 ? word + 2 : word;
    return cli_parse(argc, argv, &context, message);
}

static int reset(void **state)
{
    unsetenv("WEFT_TENANT");
    unsetenv("WEFT_RUN_DIR");
    return 0;
}

static void test_words(void **state)
{
    assert_int_equal(parse("port show acme/vm1"), WEFT_OK);
    assert_string_equal(context.command->verb, "show");
    assert_string_equal(context.arguments[0], "acme/vm1");
    assert_string_equal(context.run_dir, "/run/weft");
    assert_int_equal(context.timeout_s, CLI_TIMEOUT_DEFAULT_S);
    assert_int_equal(parse("port"), WEFT_OK);
    assert_string_equal(context.command->verb, "list");
    assert_int_equal(parse("config"), WEFT_OK);
    assert_string_equal(context.command->verb, "history");
    assert_int_equal(parse("status"), WEFT_OK);
    assert_null(context.command->verb);
}

static void test_options_stand_anywhere(void **state)
{
    static const char *const lines[] = {
        "-o json --run-dir /tmp/x port show acme/vm1",
        "port -o json show --run-dir=/tmp/x acme/vm1",
        "port show acme/vm1 -ojson --run-dir /tmp/x",
        "--run-dir /tmp/x port show --output=json acme/vm1",
        "port show --output json --run-dir /tmp/x -- acme/vm1",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (parse(lines[i]))
            fail_msg("%s: %s", lines[i], message);
        assert_int_equal(context.format, CLI_FORMAT_JSON);
        assert_string_equal(context.run_dir, "/tmp/x");
        assert_string_equal(context.arguments[0], "acme/vm1");
    }
}

static void test_watch(void **state)
{
    assert_int_equal(parse("drops --watch"), WEFT_OK);
    assert_int_equal(context.watch_s, 1);
    assert_int_equal(parse("drops --watch=2m"), WEFT_OK);
    assert_int_equal(context.watch_s, 120);
    assert_int_equal(parse("drops --watch=0"), WEFT_OK);
    assert_int_equal(context.watch_s, 1);
    assert_int_equal(parse("drops --watch 5"), WEFT_USAGE); /* the value of --watch follows a "=" only */
}

static void test_names_and_tenants(void **state)
{
    assert_int_equal(parse("port show vm1"), WEFT_USAGE);
    assert_non_null(strstr(message, "tenant/vm1"));
    assert_int_equal(parse("port show vm1 -T acme"), WEFT_OK);
    assert_string_equal(context.arguments[0], "acme/vm1");
    assert_int_equal(parse("port show beta/vm1 -T acme"), WEFT_OK);
    assert_string_equal(context.arguments[0], "beta/vm1");
    assert_int_equal(parse("port list --segment web -T acme"), WEFT_OK);
    assert_string_equal(cli_given_value(&context, "segment"), "acme/web");
    assert_int_equal(parse("port add acme/vm1 --segment web"), WEFT_OK);
    assert_string_equal(cli_given_value(&context, "segment"), "web"); /* a key of the document: as it is */
    setenv("WEFT_TENANT", "gamma", 1);
    setenv("WEFT_RUN_DIR", "/tmp/y", 1);
    assert_int_equal(parse("segment show web"), WEFT_OK);
    assert_string_equal(context.arguments[0], "gamma/web");
    assert_string_equal(context.run_dir, "/tmp/y");
    assert_int_equal(parse("segment show web -T acme"), WEFT_OK);
    assert_string_equal(context.arguments[0], "acme/web");
    reset(NULL);
}

static void test_help_and_version(void **state)
{
    assert_int_equal(parse("--help"), WEFT_OK);
    assert_true(context.help && !context.help_noun);
    assert_int_equal(parse("help"), WEFT_OK);
    assert_true(context.help && !context.help_noun);
    assert_int_equal(parse("port add -h"), WEFT_OK);
    assert_string_equal(context.help_verb, "add");
    assert_int_equal(parse("help port"), WEFT_OK);
    assert_string_equal(context.help_noun, "port");
    assert_null(context.help_verb);
    assert_int_equal(parse("--version"), WEFT_OK);
    assert_true(context.version);
    assert_int_equal(parse("help prot"), WEFT_USAGE);
}

/* What must be refused, and a word that the message must hold. */
static void test_refused(void **state)
{
    static const struct {
        const char *line, *text;
    } cases[] = {
        {"", "weft status"},
        {"prot", "\"port\""},
        {"flow list", "not built"},
        {"port lst", "\"weft port list\""},
        {"port frobnicate", "list, show, add"},
        {"port acme/vm1", "weft port show acme/vm1"},
        {"port show", "TENANT/PORT is missing"},
        {"port show a/b c/d", "one argument too many"},
        {"port show \"\"", "empty"},
        {"tenant show \"\"", "empty"},
        {"tenant show a/b", "no slash"},
        {"port show /vm1", "tenant/port"},
        {"port show acme/", "tenant/port"},
        {"port show a/b/c", "tenant/port"},
        {"segment show -T acme \"\"", "empty"},
        {"port add acme/vm1 --segmnt web", "--segment"},
        {"port add acme/vm1 --seg web", "unknown option"}, /* never abbreviated */
        {"port add acme/vm1 -x", "unknown option \"-x\""},
        {"port list --cascade", "has no option"},
        {"port del acme/vm1 --cascade", "has no option"},
        {"port add acme/vm1 --mac", "needs a value"},
        {"port list -o", "needs a value"},
        {"port list -o yaml", "text|wide|json|name"},
        {"port list -o \"\"", "text|wide|json|name"},
        {"port add acme/vm1 --dry-run=1", "takes no value"},
        {"port list -o json --output text", "twice"},
        {"status --timeout 1x", "30s"},
        {"status --timeout 99999999999999999999", "out of range"},
        {"status --timeout 9999d", "out of range"},
        {"status --timeout -1", "30s"},
        {"status --timeout 0", "at least 1s"},
        {"tenant add acme --rate 5gbit", "rate limits: not built"},
        {"port set acme/vm1 --rate-in=5gbit", "rate limits: not built"},
        {"segment add acme/far --mode isolated --vni 7", "VXLAN"},
        {"fdb acme/web", "weft fdb list acme/web"},
        {"forward add acme/app icmp 8 vm5:8", "--one-to-one PORT=ADDRESS"},
        {"config rollback six", "whole number"},
        {"config rollback -- -1", "whole number"},
        {"events --since 1.5", "whole number"},
        {"completion zsh", "bash"},
        {"port snippet acme/vm1 --for xen", "qemu|"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int code = parse(cases[i].line);
        if (code != WEFT_USAGE || !strstr(message, cases[i].text))
            fail_msg("\"%s\": code %d, \"%s\" does not say \"%s\"", cases[i].line, code, message,
                     cases[i].text);
    }
}

static void test_too_much(void **state)
{
    char long_name[900] = "port show ";
    memset(long_name + 10, 'x', 300);
    memcpy(long_name + 310, " -T acme", sizeof(" -T acme"));
    assert_int_equal(parse(long_name), WEFT_USAGE);
    assert_non_null(strstr(message, "too long"));
    assert_int_equal(parse("a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a"),
                     WEFT_USAGE);
    memset(long_name, 'z', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_int_equal(parse(long_name), WEFT_USAGE);
}

static void test_numbers(void **state)
{
    unsigned seconds;
    unsigned long long number;
    assert_int_equal(cli_parse_duration("90", &seconds), 0);
    assert_int_equal(seconds, 90);
    assert_int_equal(cli_parse_duration("2h", &seconds), 0);
    assert_int_equal(seconds, 7200);
    assert_int_equal(cli_parse_duration("366d", &seconds), 0);
    assert_int_equal(cli_parse_duration("367d", &seconds), -ERANGE);
    assert_int_equal(cli_parse_duration("", &seconds), -EINVAL);
    assert_int_equal(cli_parse_duration("5 s", &seconds), -EINVAL);
    assert_int_equal(cli_parse_number("18446744073709551615", &number), 0);
    assert_int_equal(cli_parse_number("18446744073709551616", &number), -ERANGE);
    assert_int_equal(cli_parse_number("0x10", &number), -EINVAL);
    assert_true(cli_is_choice("wide", "text|wide"));
    assert_false(cli_is_choice("wid", "text|wide"));
    assert_false(cli_is_choice("text|wide", "text|wide"));
    assert_false(cli_is_choice("", "text|wide"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_words, reset),
        cmocka_unit_test_setup(test_watch, reset),
        cmocka_unit_test_setup(test_options_stand_anywhere, reset),
        cmocka_unit_test_setup(test_names_and_tenants, reset),
        cmocka_unit_test_setup(test_refused, reset),
        cmocka_unit_test_setup(test_help_and_version, reset),
        cmocka_unit_test_setup(test_too_much, reset),
        cmocka_unit_test_setup(test_numbers, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
