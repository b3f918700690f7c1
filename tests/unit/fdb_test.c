/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "fdb.h"

static unsigned quiesces;

static void quiesce(void)
{
    quiesces++;
}

static uint64_t key_of(uint32_t segment, uint32_t number)
{
    return fdb_key(segment, UINT64_C(0x020000000002) + ((uint64_t)number << 16));
}

static enum fdb_learned learn(struct fdb *fdb, uint64_t key, uint32_t port, uint32_t vid, uint32_t now_s)
{
    const struct fdb_table *table = __atomic_load_n(&fdb->table, __ATOMIC_ACQUIRE);
    uint32_t to = port | vid << 12;
    struct fdb_source source = {
        .to = to, .now_s = now_s, .value = fdb_source_value(fdb, (uint32_t)(key >> 48), to, now_s)};
    return fdb_learn(fdb, table, key, fdb_hash(table, key), &source);
}

static uint64_t lookup(struct fdb *fdb, uint64_t key)
{
    const struct fdb_table *table = __atomic_load_n(&fdb->table, __ATOMIC_ACQUIRE);
    return fdb_lookup(fdb, table, key, fdb_hash(table, key), 0);
}

/* fdb_maintain until the whole table was swept. */
static void sweep_all(struct fdb *fdb, uint32_t now_s)
{
    for (unsigned i = 0; i < 64; i++)
        fdb_maintain(fdb, now_s);
}

static void million_addresses(void **state)
{
    const uint32_t count = 1000000;
    struct fdb *fdb = fdb_new(count, quiesce);
    uint32_t missing = 0;
    assert_non_null(fdb);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(learn(fdb, key_of(i % 8000 + 1, i), i % 4000 + 1, i % 4095, 5), FDB_LEARNED);
        if (i % 1024 == 0)
            fdb_maintain(fdb, 5);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = lookup(fdb, key_of(i % 8000 + 1, i));
        missing += value == 0;
        if (value)
            assert_int_equal(FDB_VALUE_TO(value), (i % 4000 + 1) | (i % 4095) << 12);
    }
    assert_int_equal(missing, 0);
    assert_int_equal(fdb->used, count);
    assert_true(quiesces > 0);
    /* The table is full: unknown addresses are refused, known ones go on. */
    assert_int_equal(learn(fdb, key_of(1, count), 1, 0, 5), FDB_LIMIT);
    assert_int_equal(learn(fdb, key_of(1, 0), 2, 0, 6), FDB_LEARNED);
    fdb_free(fdb);
}

static void ages_are_written_once_a_second(void **state)
{
    struct fdb *fdb = fdb_new(100, quiesce);
    uint64_t key = key_of(1, 1);
    learn(fdb, key, 1, 0, 100);
    uint64_t before = lookup(fdb, key);
    learn(fdb, key, 1, 0, 100);
    assert_int_equal(lookup(fdb, key), before);
    learn(fdb, key, 1, 0, 101);
    assert_int_equal(FDB_VALUE_SEEN(lookup(fdb, key)), 101);
    learn(fdb, key, 1, 0, 100); /* another worker, its clock a tick behind */
    assert_int_equal(FDB_VALUE_SEEN(lookup(fdb, key)), 101);
    fdb_free(fdb);
}

static void old_addresses_go(void **state)
{
    struct fdb *fdb = fdb_new(100, quiesce);
    fdb_set_ageing(fdb, 1, 300);
    fdb_set_ageing(fdb, 3, 10);
    learn(fdb, key_of(1, 1), 1, 0, 1000);
    learn(fdb, key_of(2, 1), 1, 0, 1000); /* never ages */
    learn(fdb, key_of(3, 1), 2, 0, 1000);
    sweep_all(fdb, 1010);
    assert_int_not_equal(lookup(fdb, key_of(3, 1)), 0);
    sweep_all(fdb, 1011);
    assert_int_equal(lookup(fdb, key_of(3, 1)), 0);
    assert_int_equal(fdb_segment_count(fdb, 3), 0);
    assert_int_equal(fdb_port_count(fdb, 2), 0);
    learn(fdb, key_of(1, 1), 1, 0, 1200);
    sweep_all(fdb, 1500);
    assert_int_not_equal(lookup(fdb, key_of(1, 1)), 0);
    sweep_all(fdb, 1501);
    assert_int_equal(lookup(fdb, key_of(1, 1)), 0);
    sweep_all(fdb, 999); /* a clock behind removes nothing */
    assert_int_not_equal(lookup(fdb, key_of(2, 1)), 0);
    for (uint32_t days = 1; days < 200; days++)
        sweep_all(fdb, 1000 + days * 86400);
    struct dp_fdb_entry entry;
    uint64_t cursor = 0;
    assert_int_equal(fdb_walk(fdb, &cursor, 1000 + 199 * 86400, &entry, 1), 1);
    assert_in_range(entry.age_s, 24 * 86400, 26 * 86400);
    fdb_free(fdb);
}

static void flush_by_segment_port_and_both(void **state)
{
    struct fdb *fdb = fdb_new(10000, quiesce);
    for (uint32_t segment = 1; segment <= 4; segment++)
        for (uint32_t i = 0; i < 40; i++)
            learn(fdb, key_of(segment, i), i % 4 + 1, 0, 5);
    assert_int_equal(fdb_flush(fdb, 1, 1), 10);
    assert_int_equal(fdb_segment_count(fdb, 1), 30);
    assert_int_equal(fdb_port_count(fdb, 1), 30);
    assert_int_equal(fdb_flush(fdb, 2, 0), 40);
    assert_int_equal(fdb_port_count(fdb, 1), 20);
    assert_int_equal(fdb_flush(fdb, 0, 3), 30);
    assert_int_equal(fdb_flush(fdb, 0, 0), 80);
    for (uint32_t i = 1; i <= 4; i++) {
        assert_int_equal(fdb_segment_count(fdb, i), 0);
        assert_int_equal(fdb_port_count(fdb, i), 0);
    }
    assert_int_equal(fdb->used, 0);
    fdb_free(fdb);
}

/* In force before the sweep: a generation is enough. */
static void stale_entries_are_not_there(void **state)
{
    struct fdb *fdb = fdb_new(100, quiesce);
    learn(fdb, key_of(1, 1), 7, 9, 5);
    fdb->ports[7].generation++;
    assert_int_equal(lookup(fdb, key_of(1, 1)), 0);
    learn(fdb, key_of(1, 1), 7, 9, 5);
    assert_int_equal(FDB_VALUE_TO(lookup(fdb, key_of(1, 1))), 7 | 9 << 12);
    assert_int_equal(fdb_port_count(fdb, 7), 1);
    fdb->segments[1].generation += 0xffff;
    assert_int_equal(lookup(fdb, key_of(1, 1)), 0);
    fdb_free(fdb);
}

static void statics_do_not_count_and_stay(void **state)
{
    struct fdb *fdb = fdb_new(100, quiesce);
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};
    uint64_t key = 0;
    memcpy(&key, mac, 6);
    key = fdb_key(1, key);
    fdb_set_ageing(fdb, 1, 1);
    assert_int_equal(fdb_static_set(fdb, 1, mac, 5, 77), 0);
    assert_int_equal(fdb_segment_count(fdb, 1), 0);
    sweep_all(fdb, 100000);
    fdb_flush(fdb, 1, 0);
    assert_int_equal(FDB_VALUE_TO(lookup(fdb, key)), 5 | 77 << 12);
    assert_int_equal(learn(fdb, key, 5, 77, 9), FDB_LEARNED);
    assert_int_equal(learn(fdb, key, 6, 77, 9), FDB_PROTECTED);
    assert_int_equal(fdb_static_set(fdb, 1, mac, 6, 0), 0);
    assert_int_equal(FDB_VALUE_TO(lookup(fdb, key)), 6);
    assert_int_equal(fdb_static_del(fdb, 1, mac), 0);
    assert_int_equal(fdb_static_del(fdb, 1, mac), -2 /* -ENOENT */);
    assert_int_equal(fdb->used, 0);
    for (uint8_t i = 0; i < 100; i++)
        assert_int_equal(fdb_static_set(fdb, 1, (const uint8_t[6]){2, 0, 0, 0, 1, i}, 5, 0), 0);
    assert_int_equal(fdb_static_set(fdb, 1, mac, 5, 0), -28 /* -ENOSPC */);
    fdb_free(fdb);
}

static void walk_shows_every_entry_once(void **state)
{
    struct fdb *fdb = fdb_new(10000, quiesce);
    struct dp_fdb_entry entries[7];
    uint8_t seen[1000] = {0};
    uint64_t cursor = 0;
    unsigned count, total = 0;
    for (uint32_t i = 0; i < 1000; i++)
        learn(fdb, key_of(3, i), 4, 0, 50);
    while ((count = fdb_walk(fdb, &cursor, 60, entries, 7)) > 0)
        for (unsigned i = 0; i < count; i++, total++) {
            uint64_t address = 0;
            memcpy(&address, entries[i].mac, 6);
            uint32_t number = (uint32_t)((address - UINT64_C(0x020000000002)) >> 16);
            assert_in_range(number, 0, 999);
            assert_int_equal(seen[number]++, 0);
            assert_int_equal(entries[i].segment, 3);
            assert_int_equal(entries[i].port, 4);
            assert_int_equal(entries[i].age_s, 10);
            assert_int_equal(entries[i].is_static, 0);
        }
    assert_int_equal(total, 1000);
    fdb_free(fdb);
}

/* Workers learn, move and look up the same addresses while the control thread sweeps, flushes, grows and sets
 * static ones. */
#define RACE_ADDRESSES 3000u
#define RACE_ROUNDS    40u

struct racer {
    struct fdb *fdb;
    uint32_t port;
    uint32_t wrong;
    uint32_t *done;
};

static uint32_t racers_online[2];

/* A grace period made of what the racers publish: even is off-line, each round changes it. */
static void quiesce_racers(void)
{
    for (unsigned i = 0; i < 2; i++) {
        uint32_t seen = __atomic_load_n(&racers_online[i], __ATOMIC_ACQUIRE);
        while (seen & 1 && __atomic_load_n(&racers_online[i], __ATOMIC_ACQUIRE) == seen)
            sched_yield();
    }
}

static void *race(void *argument)
{
    struct racer *racer = argument;
    for (uint32_t round = 0; round < RACE_ROUNDS; round++)
        for (uint32_t i = 0; i < RACE_ADDRESSES; i++) {
            uint64_t key = key_of(1 + i % 3, i), value;
            __atomic_fetch_add(&racers_online[racer->port - 1], 1, __ATOMIC_ACQ_REL);
            learn(racer->fdb, key, racer->port, i % 3, 100 + round / 8);
            value = lookup(racer->fdb, key);
            /* an entry is of this address or not there: the vid is made of its number */
            if (value && (FDB_VALUE_VID(value) != i % 3 || FDB_VALUE_PORT(value) > 3))
                racer->wrong++;
            __atomic_fetch_add(&racers_online[racer->port - 1], 1, __ATOMIC_ACQ_REL);
        }
    __atomic_fetch_add(racer->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void workers_race_with_control(void **state)
{
    struct fdb *fdb = fdb_new(100000, quiesce_racers);
    uint32_t done = 0, turn = 0;
    struct racer racers[2] = {{.fdb = fdb, .port = 1, .done = &done}, {.fdb = fdb, .port = 2, .done = &done}};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) < 2) {
        const uint8_t mac[6] = {2, 0, (uint8_t)(turn % 50), 0, 0, 2};
        fdb_maintain(fdb, 100);
        if (turn % 16 == 0)
            fdb_flush(fdb, turn % 3 + 1, 0);
        if (turn % 32 == 0)
            __atomic_store_n(&fdb->grow_wanted, fdb->table->mask < 1u << 15, __ATOMIC_RELAXED);
        fdb_static_set(fdb, 1 + turn % 3, mac, 3, turn % 3);
        fdb_static_del(fdb, 1 + turn % 3, mac);
        turn++;
    }
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].wrong, 0);
    }

    /* What is counted is what is there. */
    uint32_t per_segment[4] = {0}, per_port[4] = {0}, count;
    struct dp_fdb_entry entries[64];
    uint64_t cursor = 0;
    sweep_all(fdb, 105);
    while ((count = fdb_walk(fdb, &cursor, 105, entries, 64)) > 0)
        for (unsigned i = 0; i < count; i++) {
            per_segment[entries[i].segment]++;
            per_port[entries[i].port]++;
        }
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(fdb_segment_count(fdb, i), per_segment[i]);
    for (unsigned i = 1; i <= 2; i++)
        assert_int_equal(fdb_port_count(fdb, i), per_port[i]);
    fdb_free(fdb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(million_addresses),
        cmocka_unit_test(ages_are_written_once_a_second),
        cmocka_unit_test(old_addresses_go),
        cmocka_unit_test(flush_by_segment_port_and_both),
        cmocka_unit_test(stale_entries_are_not_there),
        cmocka_unit_test(statics_do_not_count_and_stay),
        cmocka_unit_test(walk_shows_every_entry_once),
        cmocka_unit_test(workers_race_with_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
