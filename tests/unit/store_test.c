/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "store.h"
#include "weft_api.h"

static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/weft-store.XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    return system(command);
}

static struct store *open_store(void)
{
    char text[512];
    struct store *store = store_open(directory, text, sizeof(text));
    assert_non_null(store);
    return store;
}

static json_t *record(uint64_t generation)
{
    return json_pack("{s:I, s:{}, s:{s:i}}", "generation", (json_int_t)generation, "ids", "config", "version",
                     1);
}

static void commit(struct store *store, uint64_t generation)
{
    json_t *value = record(generation);
    assert_int_equal(store_prepare(store, generation, value), 0);
    assert_int_equal(store_commit(store, generation), 0);
    json_decref(value);
}

static void path_of(char path[160], const char *name)
{
    snprintf(path, 160, "%s/%s", directory, name);
}

static void write_file(const char *name, const char *text)
{
    char path[160];
    path_of(path, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool exists(const char *name)
{
    char path[160];
    path_of(path, name);
    return access(path, F_OK) == 0;
}

static void test_commit(void **state)
{
    (void)state;
    struct store *store = open_store();
    assert_int_equal(store_current(store), 0);
    commit(store, 1);
    commit(store, 2);
    store_close(store);
    store = open_store();
    assert_int_equal(store_current(store), 2);
    json_t *value = store_load(store, 1);
    assert_non_null(value);
    json_decref(value);
    assert_null(store_load(store, 3));
    store_close(store);
}

/* What a kill leaves at each step before the rename of `current` is swept away. */
static void test_interrupted(void **state)
{
    (void)state;
    struct store *store = open_store();
    commit(store, 1);
    json_t *value = record(2);
    assert_int_equal(store_prepare(store, 2, value), 0);
    json_decref(value);
    store_close(store);
    assert_true(exists("generations/2.json.tmp"));
    store = open_store();
    assert_int_equal(store_current(store), 1);
    assert_false(exists("generations/2.json.tmp"));
    assert_false(exists("current.tmp"));
    write_file("generations/2.json",
               "{\"generation\":2,\"ids\":{},\"config\":{}}"); /* renamed, `current` was not */
    store_close(store);
    store = open_store();
    assert_int_equal(store_current(store), 1);
    assert_false(exists("generations/2.json"));
    store_close(store);
}

static void test_discard(void **state)
{
    (void)state;
    struct store *store = open_store();
    commit(store, 1);
    json_t *value = record(2);
    assert_int_equal(store_prepare(store, 2, value), 0);
    store_discard(store, 2);
    json_decref(value);
    assert_false(exists("generations/2.json.tmp"));
    assert_int_equal(store_current(store), 1);
    store_close(store);
}

static void test_history_is_bounded(void **state)
{
    (void)state;
    struct store *store = open_store();
    uint64_t generations[2 * WEFT_HISTORY_MAX];
    for (uint64_t generation = 1; generation <= WEFT_HISTORY_MAX + 10; generation++)
        commit(store, generation);
    size_t count = store_list(store, generations, 2 * WEFT_HISTORY_MAX);
    assert_int_equal(count, WEFT_HISTORY_MAX);
    assert_int_equal(generations[0], WEFT_HISTORY_MAX + 10);
    store_close(store);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    char text[512];
    struct store *store = open_store();
    assert_null(store_open(directory, text, sizeof(text)));
    assert_int_equal(errno, EBUSY);
    assert_non_null(strstr(text, directory));
    store_close(store);
}

static void test_damaged(void **state)
{
    (void)state;
    struct store *store = open_store();
    commit(store, 1);
    write_file("generations/1.json", "{\"generation\":1,\"ids\":{},\"conf");
    assert_null(store_load(store, 1));
    write_file("generations/1.json", "{\"generation\":7,\"ids\":{},\"config\":{}}");
    assert_null(store_load(store, 1));
    write_file("x.json", "[]");
    json_t *value = store_read(store, "x.json");
    assert_non_null(value);
    json_decref(value);
    assert_int_equal(store_remove(store, "x.json"), 0);
    assert_int_equal(store_remove(store, "x.json"), 0);
    store_close(store);
    write_file("current", "garbage");
    store = open_store();
    assert_int_equal(store_current(store), 0);
    store_close(store);
}

static void test_modes(void **state)
{
    (void)state;
    struct stat status;
    char path[160];
    struct store *store = open_store();
    commit(store, 1);
    path_of(path, "generations/1.json");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    store_close(store);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        TEST(test_commit),        TEST(test_interrupted), TEST(test_discard), TEST(test_history_is_bounded),
        TEST(test_one_at_a_time), TEST(test_damaged),     TEST(test_modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
