/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What changes between two configurations, in words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "plan.h"

/* Expected lines, NULL at the end. */
static void expect(const char *before, const char *after, const char *const *lines)
{
    json_t *old = json_loads(before, 0, NULL), *new = json_loads(after, 0, NULL);
    assert_non_null(old);
    assert_non_null(new);
    json_t *changes = plan_changes(old, new);
    for (size_t i = 0; i < json_array_size(changes); i++)
        print_message("%s\n", json_string_value(json_array_get(changes, i)));
    size_t count = 0;
    for (; lines[count]; count++)
        assert_string_equal(json_string_value(json_array_get(changes, count)), lines[count]);
    assert_int_equal(json_array_size(changes), count);
    json_decref(changes);
    json_decref(old);
    json_decref(new);
}
#define EXPECT(before, after, ...) expect(before, after, (const char *const[]){__VA_ARGS__, NULL})

static const char EMPTY[] = "{\"version\":1}";
static const char FULL[] =
    "{\"version\":1,\"uplinks\":{\"l\":{\"device\":\"vdev:x\"}},\"tenants\":{\"a\":{\"limits\":{\"ports\":5},"
    "\"segments\":{\"w\":{\"mode\":\"isolated\"}},\"ports\":{\"p\":{\"segment\":\"w\",\"ip\":[\"10.0.0.1\","
    "\"10.0.0.2\"],"
    "\"client\":true}}}}}";

static void nothing_changes(void **state)
{
    expect(EMPTY, EMPTY, (const char *const[]){NULL});
    expect(FULL, FULL, (const char *const[]){NULL});
    expect(EMPTY, "{\"version\":1,\"tenants\":{},\"uplinks\":{}}", (const char *const[]){NULL});
    expect("{\"tenants\":{\"a\":{}}}", "{\"tenants\":{\"a\":{\"limits\":{},\"ports\":{}}}}",
           (const char *const[]){NULL});
}

static void everything_comes_and_goes(void **state)
{
    EXPECT(EMPTY, FULL, "+ uplink l device vdev:x", "+ tenant a limits.ports 5",
           "+ segment a/w mode isolated", "+ port a/p segment w ip 10.0.0.1,10.0.0.2 client true");
    EXPECT(FULL, EMPTY, "- uplink l", "- segment a/w", "- port a/p", "- tenant a");
}

static void values_change(void **state)
{
    EXPECT("{\"tenants\":{\"a\":{\"ports\":{\"p\":{\"queues\":1,\"mac\":\"x\"}}}}}",
           "{\"tenants\":{\"a\":{\"ports\":{\"p\":{\"queues\":2,\"mtu\":9000}}}}}",
           "~ port a/p queues 1 -> 2, mtu none -> 9000, mac x -> none");
    EXPECT("{\"uplinks\":{\"l\":{\"ports\":\"1-2\"}}}", "{\"uplinks\":{\"l\":{\"ports\":\"1-3\"}}}",
           "~ uplink l ports 1-2 -> 1-3");
    EXPECT("{\"tenants\":{\"a\":{\"limits\":{\"ports\":1}}}}",
           "{\"tenants\":{\"a\":{\"limits\":{\"macs\":2}}}}",
           "~ tenant a limits.macs none -> 2, limits.ports 1 -> none");
    EXPECT("{\"tenants\":{\"a\":{\"segments\":{\"w\":{\"static\":{\"m\":\"p\"}}}}}}",
           "{\"tenants\":{\"a\":{\"segments\":{\"w\":{\"static\":{\"m\":\"q\",\"n\":\"p\"}}}}}}",
           "~ segment a/w static m=p -> m=q,n=p");
    EXPECT(EMPTY, "{\"version\":1,\"dataplane\":{\"cores\":[0,1]}}",
           "~ dataplane (restarts) cores none -> 0,1");
}

static void summaries(void **state)
{
    json_t *changes = json_pack("[s,s,s]", "+ tenant a", "+ tenant b", "+ tenant c");
    char *summary = plan_summary(changes);
    assert_string_equal(summary, "+ tenant a (and 2 more)");
    free(summary);
    json_array_clear(changes);
    summary = plan_summary(changes);
    assert_string_equal(summary, "no change");
    free(summary);
    json_decref(changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changes),
        cmocka_unit_test(everything_comes_and_goes),
        cmocka_unit_test(values_change),
        cmocka_unit_test(summaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
