/* SPDX-License-Identifier: BSD-3-Clause */
/* The flow cache's table: what is found, what is not any more, who gets a place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "flow_cache.h"

#define ENTRIES 64u
#define FLOWS   1000u

static struct flow_cache *cache;

static int setup(void **state)
{
    cache = flow_cache_new(ENTRIES);
    for (unsigned i = 0; cache && i < 6; i++)
        cache->seed[i] = (i + 1) * UINT64_C(0xd1342543de82ef95);
    flow_cache_renew(cache, 1, 100, false);
    return cache ? 0 : -1;
}

static int teardown(void **state)
{
    flow_cache_free(cache);
    return 0;
}

static struct flow_key key_ipv4(uint32_t number)
{
    return (struct flow_key){.addresses = number, .meta = flow_meta(FLOW_IPV4, 7, 17, ~number)};
}

static struct flow_entry *find(const struct flow_key *key, const uint64_t addresses[4])
{
    return flow_find(cache, key, flow_hash(cache, key), addresses);
}

static struct flow_entry *put(const struct flow_key *key, const uint64_t addresses[4], uint32_t owner)
{
    struct flow_action action = {.session = (uint32_t)key->addresses};
    return flow_cache_put(cache, key, flow_hash(cache, key), addresses, &action, owner);
}

static struct flow_entry *take(uint32_t number, uint32_t owner)
{
    struct flow_key key = key_ipv4(number);
    return put(&key, NULL, owner);
}

static bool known(uint32_t number)
{
    struct flow_key key = key_ipv4(number);
    const struct flow_entry *entry = find(&key, NULL);
    if (entry)
        assert_int_equal(entry->action.session, number);
    return entry != NULL;
}

/* Who has a place keeps it, however many come. */
static void nobody_is_pushed_out(void **state)
{
    bool has[FLOWS + 1] = {false};
    unsigned taken = 0;
    for (uint32_t i = 1; i <= FLOWS; i++) {
        assert_false(known(i));
        has[i] = take(i, 1) != NULL;
        taken += has[i];
    }
    for (uint32_t i = 1; i <= FLOWS; i++)
        assert_int_equal(known(i), has[i]);
    assert_int_equal(taken, ENTRIES); /* a thousand come by every set */
}

static void a_flow_has_one_entry(void **state)
{
    struct flow_entry *entry = take(5, 1);
    assert_non_null(entry);
    assert_ptr_equal(take(5, 1), entry);
    assert_true(known(5));
    struct flow_key key = key_ipv4(5);
    assert_int_equal(__builtin_popcount(flow_live(cache, flow_set(cache, flow_hash(cache, &key)))), 1);
}

static void snapshot_and_second_end_entries(void **state)
{
    take(5, 1);
    assert_true(flow_cache_is_of(cache, 1, 100));
    assert_false(flow_cache_is_of(cache, 2, 100));
    assert_false(flow_cache_is_of(cache, 1, 101));
    flow_cache_renew(cache, 1, 101, false);
    assert_false(known(5));
    take(5, 1);
    flow_cache_renew(cache, 2, 101, false);
    assert_false(known(5));
    take(5, 1);
    assert_true(known(5));
}

/* An entry of the first epoch is none when epochs begin anew. */
static void epochs_wrap(void **state)
{
    take(5, 1);
    assert_int_equal(cache->epoch, 2);
    cache->epoch = UINT16_MAX;
    take(6, 1);
    flow_cache_renew(cache, 1, 101, false);
    assert_int_equal(cache->epoch, 1);
    flow_cache_renew(cache, 1, 102, false);
    assert_int_equal(cache->epoch, 2);
    assert_false(known(5));
    assert_false(known(6));
}

/* Six of every set for one, whatever it does; the rest is there for others, and the next second is a new one.
 */
static void an_owner_has_its_part(void **state)
{
    for (unsigned second = 0; second < 2; second++) {
        unsigned taken = 0, others = 0;
        flow_cache_renew(cache, 1, 200 + second, true);
        for (uint32_t i = 1; i <= FLOWS; i++)
            taken += take(i, 3) != NULL;
        assert_int_equal(taken, ENTRIES / FLOW_WAYS * FLOW_OWNER_WAYS);
        for (uint32_t i = 1; i <= FLOWS; i++)
            others += take(FLOWS + i, 4) != NULL;
        assert_int_equal(others, ENTRIES - taken);
    }
}

static void interface_protocol_and_kind_tell_flows_apart(void **state)
{
    struct flow_key keys[] = {
        {.addresses = 1, .meta = flow_meta(FLOW_IPV4, 7, 17, 1)},
        {.addresses = 1, .meta = flow_meta(FLOW_IPV4, 8, 17, 1)},
        {.addresses = 1, .meta = flow_meta(FLOW_IPV4, 7, 6, 1)},
        {.addresses = 1, .meta = flow_meta(FLOW_IPV4, 7, 17, 2)},
        {.addresses = 2, .meta = flow_meta(FLOW_IPV4, 7, 17, 1)},
        {.addresses = 1, .meta = flow_meta(FLOW_IPV6, 7, 17, 1)},
    };
    const uint64_t none[4] = {0};
    for (unsigned i = 0; i < 6; i++) {
        assert_null(find(&keys[i], none));
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(&keys[i], &keys[j], sizeof(keys[i]));
        assert_non_null(put(&keys[i], none, 1));
    }
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(find(&keys[i], none)->key.meta, keys[i].meta);
}

/* Of IPv6 the key has only a hash: the addresses themselves decide. */
static void ipv6_addresses_decide(void **state)
{
    uint64_t addresses[4] = {1, 2, 3, 4};
    struct flow_key key = {flow_hash_ipv6(cache, addresses), flow_meta(FLOW_IPV6, 7, 17, 1)};
    struct flow_entry *entry = put(&key, addresses, 1);
    assert_ptr_equal(find(&key, addresses), entry);
    for (unsigned i = 0; i < 4; i++) {
        addresses[i]++;
        assert_null(find(&key, addresses));
        struct flow_entry *other = put(&key, addresses, 1);
        if (other) /* four of a set */
            assert_ptr_not_equal(other, entry);
        addresses[i]--;
    }
    assert_ptr_equal(find(&key, addresses), entry);
}

/* Passes that look, of 64, when none of their packets is known. */
static void strangers_are_looked_for_seldom(void **state)
{
    unsigned looks = 0;
    for (unsigned pass = 0; pass < 64; pass++)
        if (flow_cache_look(cache)) {
            looks++;
            flow_cache_looked(cache, 64, 0);
        }
    assert_in_range(looks, 8, 12);
    while (!flow_cache_look(cache))
        continue;
    flow_cache_looked(cache, 64, 1);
    for (unsigned pass = 0; pass < 64; pass++) {
        assert_true(flow_cache_look(cache));
        flow_cache_looked(cache, 64, pass & 1);
        if (!(pass & 1))
            assert_false(flow_cache_look(cache));
        assert_true(flow_cache_look(cache));
        flow_cache_looked(cache, FLOW_PAUSE_FROM - 1, 0); /* a few packets say nothing */
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nobody_is_pushed_out),
        TEST(a_flow_has_one_entry),
        TEST(snapshot_and_second_end_entries),
        TEST(epochs_wrap),
        TEST(an_owner_has_its_part),
        TEST(interface_protocol_and_kind_tell_flows_apart),
        TEST(ipv6_addresses_decide),
        TEST(strangers_are_looked_for_seldom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
