/* SPDX-License-Identifier: BSD-3-Clause */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "output.h"

static const struct column columns[] = {
    {"NAME", "name", NULL, COLUMN_TEXT, false},
    {"PACKETS", "packets", NULL, COLUMN_COUNT, false},
    {"BYTES", "bytes", NULL, COLUMN_BYTES, false},
    {"AGE", "age", NULL, COLUMN_SECONDS, true},
    {NULL},
};

static void test_clean(void **state)
{
    static const struct {
        const char *text, *clean;
    } cases[] = {
        {"plain", "plain"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"a\nb\tc", "a\\x0ab\\x09c"},
        {"\x7f\xc2\x9b", "\\x7f\\x9b"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xe2\x80\xaetxt", "\\u202etxt"},
        {"\xff\xc3", "\\xff\\xc3"},
        {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
    };
    char clean[64];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        output_clean(clean, sizeof(clean), cases[i].text, strlen(cases[i].text), false);
        assert_string_equal(clean, cases[i].clean);
    }
    /* a locale that cannot print it gets it escaped */
    setlocale(LC_CTYPE, "C");
    output_clean(clean, sizeof(clean), "gr\xc3\xbc\xd0\x9b", 6, false);
    assert_string_equal(clean, "gr\\xfc\\u041b");
    setlocale(LC_CTYPE, "C.UTF-8");
    assert_int_equal(output_clean(clean, sizeof(clean), "a\0b", 3, false), 6);
    assert_string_equal(clean, "a\\x00b");
    output_clean(clean, sizeof(clean), "a\nb", 3, true);
    assert_string_equal(clean, "a\nb");
    assert_int_equal(output_clean(clean, 6, "ab\x1b", 3, false), 2); /* an escape is never cut in two */
    assert_string_equal(clean, "ab");
}

static void test_numbers(void **state)
{
    static const struct {
        uint64_t number;
        const char *count, *bytes, *seconds;
    } cases[] = {
        {0, "0", "0 B", "0s"},
        {999, "999", "999 B", "16m39s"},
        {1024, "1024", "1.00 KiB", "17m4s"},
        {9999, "9999", "9.76 KiB", "2h46m"},
        {12345, "12.3k", "12.1 KiB", "3h25m"},
        {999499, "999k", "976 KiB", "11d13h"},
        {999999, "1.00M", "977 KiB", "11d13h"},
        {UINT64_MAX, "18.4E", "16.0 EiB", "213503982334601d7h"},
    };
    char text[64];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        output_count(text, sizeof(text), cases[i].number);
        assert_string_equal(text, cases[i].count);
        output_bytes(text, sizeof(text), cases[i].number);
        assert_string_equal(text, cases[i].bytes);
        output_seconds(text, sizeof(text), cases[i].number);
        assert_string_equal(text, cases[i].seconds);
    }
}

static void check_cell(const char *json, enum column_kind kind, bool wide, const char *expected)
{
    char cell[OUTPUT_CELL_SIZE];
    const struct column column = {"X", "x", "y", kind, false};
    json_t *item = json_loads(json, 0, NULL);
    assert_non_null(item);
    output_cell(cell, item, &column, wide);
    assert_string_equal(cell, expected);
    json_decref(item);
}

static void test_cells(void **state)
{
    setenv("TZ", "UTC", 1);
    tzset();
    check_cell("{}", COLUMN_TEXT, false, "-");
    check_cell("{\"y\":\"other\"}", COLUMN_TEXT, false, "other");
    check_cell("{\"x\":null}", COLUMN_TEXT, false, "-");
    check_cell("{\"x\":\"\"}", COLUMN_TEXT, false, "-");
    check_cell("{\"x\":1234567}", COLUMN_COUNT, false, "1.23M");
    check_cell("{\"x\":1234567}", COLUMN_COUNT, true, "1234567");
    check_cell("{\"x\":-5}", COLUMN_COUNT, false, "-5");
    check_cell("{\"x\":0.125}", COLUMN_PERCENT, false, "12.5%");
    check_cell("{\"x\":true}", COLUMN_YES, false, "yes");
    check_cell("{\"x\":false}", COLUMN_YES, false, "-");
    check_cell("{\"x\":false}", COLUMN_TEXT, false, "no");
    check_cell("{\"x\":[\"a\",\"b\"]}", COLUMN_TEXT, false, "a,b");
    check_cell("{\"x\":[]}", COLUMN_TEXT, false, "-");
    check_cell("{\"x\":{\"k\":1,\"l\":\"\\u001b\"}}", COLUMN_TEXT, false, "k=1,l=\\x1b");
    check_cell("{\"x\":[[1],{}]}", COLUMN_TEXT, false, "...,...");
    check_cell("{\"x\":\"2026-01-02T03:04:05.678Z\"}", COLUMN_TIME, false, "2026-01-02 03:04:05");
    check_cell("{\"x\":\"2026-01-02T03:04:05.678Z\"}", COLUMN_TIME, true, "2026-01-02T03:04:05.678Z");
    check_cell("{\"x\":\"yesterday\\u0007\"}", COLUMN_TIME, false, "yesterday\\x07");
    check_cell("{\"x\":0}", COLUMN_USER, false, "root");
    check_cell("{\"x\":99999999999}", COLUMN_USER, false, "99999999999");
}

static char *print(const char *json, enum cli_format format)
{
    struct cli_context context = {.format = format};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    json_t *result = json_loads(json, 0, NULL);
    output_items(out, &context, result, columns);
    json_decref(result);
    fclose(out);
    return text;
}

static void test_formats(void **state)
{
    static const char json[] = "{\"schema\":\"weft.x.v1\",\"items\":["
                               "{\"name\":\"acme/a\",\"packets\":12345,\"bytes\":1024,\"age\":61},"
                               "{\"name\":\"acme/longer\\u001b\",\"packets\":1}]}";
    static const struct {
        enum cli_format format;
        const char *text;
    } cases[] = {
        {CLI_FORMAT_TEXT, "NAME            PACKETS    BYTES\n"
                          "acme/a            12.3k 1.00 KiB\n"
                          "acme/longer\\x1b       1        -\n"},
        {CLI_FORMAT_WIDE, "NAME            PACKETS BYTES AGE\n"
                          "acme/a            12345  1024  61\n"
                          "acme/longer\\x1b       1     -   -\n"},
        {CLI_FORMAT_NAME, "acme/a\nacme/longer\\x1b\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = print(json, cases[i].format);
        assert_string_equal(text, cases[i].text);
        free(text);
    }
    char *text = print(json, CLI_FORMAT_JSON);
    json_t *before = json_loads(json, 0, NULL), *after = json_loads(text, 0, NULL);
    assert_true(json_equal(before, after));
    assert_true(strstr(text, "schema") < strstr(text, "items"));
    json_decref(before);
    json_decref(after);
    free(text);
    text = print("{\"items\":[]}", CLI_FORMAT_TEXT);
    assert_string_equal(text, "");
    free(text);
}

static void test_json_string(void **state)
{
    json_t *string = output_json_string("a\xff");
    assert_string_equal(json_string_value(string), "a\\xff");
    json_decref(string);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),   cmocka_unit_test(test_numbers),     cmocka_unit_test(test_cells),
        cmocka_unit_test(test_formats), cmocka_unit_test(test_json_string),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
