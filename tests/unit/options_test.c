/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "options.h"

static char text[512];
static int cores[DP_WORKERS_MAX];
static unsigned count;

static int parse(const char *list, int last_cpu)
{
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    for (int cpu = 0; cpu <= last_cpu; cpu++)
        if (cpu != 3)
            CPU_SET(cpu, &allowed);
    text[0] = 0;
    return options_cores(list, &allowed, cores, &count, text, sizeof(text));
}

static void test_lists(void **state)
{
    const int expected[] = {4, 0, 1, 2};
    assert_int_equal(parse("1", 7), 0);
    assert_int_equal(count, 1);
    assert_int_equal(cores[0], 1);
    assert_int_equal(parse("4,0-2", 7), 0);
    assert_int_equal(count, 4);
    assert_memory_equal(cores, expected, sizeof(expected));
    assert_int_equal(parse("4-19", 30), 0);
    assert_int_equal(count, DP_WORKERS_MAX);
}

static void test_refused(void **state)
{
    const char *const malformed[] = {"", ",", "1,", ",1", "x", "1x", "-1", "1-", "2-1", "1,,2", "1 2", "0x1"};
    for (unsigned i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        assert_int_equal(parse(malformed[i], 7), -EINVAL);
        assert_non_null(strstr(text, "is not a list of cores"));
    }
    assert_int_equal(parse("8", 7), -EINVAL);
    assert_string_equal(text, "core 8 is not there or not allowed; this process may use the cores 0-2,4-7");
    assert_int_equal(parse("2-4", 7), -EINVAL);
    assert_non_null(strstr(text, "core 3 is not there"));
    assert_int_equal(parse("99999", 7), -EINVAL);
    assert_non_null(strstr(text, "core 99999 is not there"));
    assert_int_equal(parse("4294967297", 7), -EINVAL);
    assert_int_equal(parse("0-1,1", 7), -EINVAL);
    assert_non_null(strstr(text, "core 1 is listed twice"));
    assert_int_equal(parse("4-20", 30), -EINVAL);
    assert_non_null(strstr(text, "more than 16 cores"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lists), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
