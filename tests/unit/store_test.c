/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generations on disk: what a commit that was cut off at each step leaves, and numbers of objects that go
 * with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "store.h"
#include "weft_api.h"

struct fixture {
    char directory[64];
    char state[80];
    struct store *store;
};

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static struct store *reopen(struct fixture *fixture)
{
    char text[256] = "";
    store_close(fixture->store);
    fixture->store = store_open(fixture->state, text, sizeof(text));
    assert_string_equal(text, "");
    assert_non_null(fixture->store);
    return fixture->store;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    strcpy(fixture->directory, "/tmp/weft-store-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->state, sizeof(fixture->state), "%s/lib/state", fixture->directory);
    *state = fixture;
    reopen(fixture);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    nftw(fixture->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return 0;
}

static json_t *record(uint64_t generation)
{
    return json_pack("{s:I, s:{}, s:{s:i}}", "generation", (json_int_t)generation, "ids", "config", "version",
                     1);
}

static int prepare(struct store *store, uint64_t generation)
{
    json_t *value = record(generation);
    int error = store_prepare(store, generation, value);
    json_decref(value);
    return error;
}

static void commit(struct store *store, uint64_t generation)
{
    assert_int_equal(prepare(store, generation), 0);
    assert_int_equal(store_commit(store, generation), 0);
}

static bool exists(const struct fixture *fixture, const char *name)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", fixture->state, name);
    return access(path, F_OK) == 0;
}

static void a_commit_survives(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(store_current(fixture->store), 0);
    commit(fixture->store, 1);
    commit(fixture->store, 2);
    reopen(fixture);
    assert_int_equal(store_current(fixture->store), 2);
    json_t *value = store_load(fixture->store, 1), *wanted = record(1);
    assert_true(json_equal(value, wanted));
    json_decref(value);
    json_decref(wanted);
    assert_null(store_load(fixture->store, 3));
}

/* What is on disk after each system call of a commit that never ended. */
static void a_cut_off_commit_leaves_the_old_one(void **state)
{
    struct fixture *fixture = *state;
    char from[200], to[200];
    commit(fixture->store, 1);
    assert_int_equal(prepare(fixture->store, 2), 0);
    reopen(fixture); /* killed before the first rename */
    assert_int_equal(store_current(fixture->store), 1);
    assert_false(exists(fixture, "generations/2.json.tmp"));
    assert_false(exists(fixture, "current.tmp"));
    assert_int_equal(prepare(fixture->store, 2), 0);
    snprintf(from, sizeof(from), "%s/generations/2.json.tmp", fixture->state);
    snprintf(to, sizeof(to), "%s/generations/2.json", fixture->state);
    assert_int_equal(rename(from, to), 0);
    reopen(fixture); /* killed between the renames */
    assert_int_equal(store_current(fixture->store), 1);
    assert_null(store_load(fixture->store, 2));
    commit(fixture->store, 2);
    assert_int_equal(store_current(fixture->store), 2);
}

static void a_discarded_one_is_gone(void **state)
{
    struct fixture *fixture = *state;
    commit(fixture->store, 1);
    assert_int_equal(prepare(fixture->store, 2), 0);
    store_discard(fixture->store, 2);
    store_discard(fixture->store, 1); /* in force: stays */
    assert_false(exists(fixture, "generations/2.json.tmp"));
    assert_null(store_load(fixture->store, 2));
    json_t *value = store_load(fixture->store, 1);
    assert_non_null(value);
    json_decref(value);
}

static void history_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    uint64_t generations[2 * WEFT_HISTORY_MAX];
    for (uint64_t i = 1; i <= WEFT_HISTORY_MAX + 5; i++)
        commit(fixture->store, i);
    size_t count = store_list(fixture->store, generations, 2 * WEFT_HISTORY_MAX);
    assert_int_equal(count, WEFT_HISTORY_MAX);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(generations[i], WEFT_HISTORY_MAX + 5 - i);
}

static void small_files(void **state)
{
    struct fixture *fixture = *state;
    json_t *value = json_pack("{s:i}", "a", 1);
    assert_null(store_read(fixture->store, "x.json"));
    assert_int_equal(store_remove(fixture->store, "x.json"), 0);
    assert_int_equal(store_write(fixture->store, "x.json", value), 0);
    reopen(fixture);
    json_t *again = store_read(fixture->store, "x.json");
    assert_true(json_equal(value, again));
    json_decref(again);
    json_decref(value);
    assert_int_equal(store_remove(fixture->store, "x.json"), 0);
    assert_null(store_read(fixture->store, "x.json"));
}

static void damaged(struct fixture *fixture, const char *text)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/generations/1.json", fixture->state);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    assert_null(store_load(fixture->store, 1));
}

static void damage_is_seen(void **state)
{
    struct fixture *fixture = *state;
    char path[200];
    commit(fixture->store, 1);
    damaged(fixture, "");
    damaged(fixture, "{\"generation\":1,\"config\":{},\"ids\":");
    damaged(fixture, "{\"generation\":2,\"config\":{},\"ids\":{}}");
    damaged(fixture, "{\"generation\":1,\"config\":[],\"ids\":{}}");
    damaged(fixture, "[]");
    snprintf(path, sizeof(path), "%s/generations/1.json", fixture->state);
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_null(store_load(fixture->store, 1));
}

static void one_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    char text[256];
    assert_null(store_open(fixture->state, text, sizeof(text)));
    assert_int_equal(errno, EBUSY);
    assert_non_null(strstr(text, "in use by another weftd"));
}

static void errors_name_the_file(void **state)
{
    struct fixture *fixture = *state;
    char path[200], text[256];
    commit(fixture->store, 1);
    snprintf(path, sizeof(path), "%s/generations/2.json.tmp", fixture->state);
    assert_int_equal(mkdir(path, 0700), 0); /* where a file is to be written */
    assert_true(prepare(fixture->store, 2) < 0);
    assert_non_null(strstr(store_error(fixture->store), "generations/2.json.tmp"));
    assert_int_equal(store_current(fixture->store), 1);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/lib/state/current/x", fixture->directory);
    assert_null(store_open(path, text, sizeof(text)));
    assert_non_null(strstr(text, "Not a directory"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_commit_survives),
        TEST(a_cut_off_commit_leaves_the_old_one),
        TEST(a_discarded_one_is_gone),
        TEST(history_is_bounded),
        TEST(small_files),
        TEST(damage_is_seen),
        TEST(one_at_a_time),
        TEST(errors_name_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
