/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>
#include <cmocka.h>
#include "log.h"
#include "port.h"

static char output[65536];
static int saved, file;

/* What is written to stderr from now on is kept. */
static void capture(void)
{
    file = memfd_create("log", 0);
    saved = dup(STDERR_FILENO);
    assert_return_code(dup2(file, STDERR_FILENO), errno);
}

static void captured(void)
{
    assert_return_code(dup2(saved, STDERR_FILENO), errno);
    ssize_t size = pread(file, output, sizeof(output) - 1, 0);
    assert_return_code(size, errno);
    output[size] = 0;
    close(saved);
    close(file);
}

static unsigned count_lines(const char *with)
{
    unsigned count = 0;
    for (const char *line = output; (line = strstr(line, with)); line++)
        count++;
    return count;
}

/* Each site has its own budget, and the noise of one does not silence another. */
static void test_rate(void **state)
{
    capture();
    for (unsigned i = 0; i < 1000; i++)
        control_log(LOG_WARNING, "port %u makes noise", i);
    for (unsigned i = 0; i < 3; i++)
        control_log(LOG_ERR, "port %u is broken", i);
    captured();
    assert_int_equal(count_lines("makes noise\n"), LOG_BURST);
    assert_int_equal(count_lines("is broken\n"), 3);
    assert_int_equal(strncmp(output, "<4>port 0 makes noise\n", 22), 0);
    assert_non_null(strstr(output, "\n<3>port 2 is broken\n"));
}

static void test_long_line(void **state)
{
    char text[5000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    capture();
    control_log(LOG_INFO, "long: %s", text);
    captured();
    assert_int_equal(strncmp(output, "<6>long: xxx", 12), 0);
    assert_in_range(strlen(output), 400, 600);
    assert_int_equal(output[strlen(output) - 1], '\n');
    assert_int_equal(count_lines("\n"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rate), cmocka_unit_test(test_long_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
