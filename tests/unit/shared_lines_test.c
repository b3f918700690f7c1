/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Workers share no cache line that any of them writes while known addresses exchange frames:
 *
 *     worker 0: port 1 <-> port 2      worker 1: port 3 <-> port 4      one segment, one address table
 *
 * Counted: everything that both workers can reach (ports with their counters, the snapshot, the address table
 * and its owners' counts) is filed by cache line and compared before and after each worker's turn. A worker
 * of its own memory (struct worker with program, vector, output stage) is not part of it. Rings are not
 * either: two workers meet in a guest's ring only if both send to that guest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "counters.h"
#include "switch_fixture.h"

#define LINE    64u
#define REGIONS 32u
#define PORTS   4u

struct region {
    const char *name;
    const uint8_t *base;
    size_t size;
    uint8_t *copy;
    bool *written[2]; /* by worker and line */
};

static struct region regions[REGIONS];
static unsigned region_count;

/* Whole lines around an object: what else is in them counts too. */
static void add_region(const char *name, const void *base, size_t size)
{
    uintptr_t first = (uintptr_t)base & ~(uintptr_t)(LINE - 1);
    uintptr_t end = ((uintptr_t)base + size + LINE - 1) & ~(uintptr_t)(LINE - 1);
    /* Of its edges only the object's own bytes may be read. */
    assert_true(region_count < REGIONS);
    struct region *region = &regions[region_count++];
    *region = (struct region){.name = name, .base = base, .size = size, .copy = test_malloc(size)};
    for (unsigned i = 0; i < 2; i++)
        region->written[i] = test_calloc((end - first) / LINE, sizeof(bool));
}

static size_t line_of(const struct region *region, size_t offset)
{
    return ((uintptr_t)region->base % LINE + offset) / LINE;
}

static void remember(void)
{
    for (unsigned i = 0; i < region_count; i++)
        memcpy(regions[i].copy, regions[i].base, regions[i].size);
}

static void compare(unsigned worker)
{
    for (unsigned i = 0; i < region_count; i++)
        for (size_t offset = 0; offset < regions[i].size; offset++)
            if (regions[i].base[offset] != regions[i].copy[offset])
                regions[i].written[worker][line_of(&regions[i], offset)] = true;
}

static unsigned written(unsigned worker)
{
    unsigned count = 0;
    for (unsigned i = 0; i < region_count; i++)
        for (size_t line = 0; line <= line_of(&regions[i], regions[i].size - 1); line++)
            count += regions[i].written[worker][line];
    return count;
}

static unsigned written_by_both(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < region_count; i++)
        for (size_t line = 0; line <= line_of(&regions[i], regions[i].size - 1); line++)
            if (regions[i].written[0][line] && regions[i].written[1][line]) {
                print_message("line %zu of %s is written by both\n", line, regions[i].name);
                count++;
            }
    return count;
}

static void forget_regions(void)
{
    for (unsigned i = 0; i < region_count; i++) {
        test_free(regions[i].copy);
        test_free(regions[i].written[0]);
        test_free(regions[i].written[1]);
    }
    region_count = 0;
}

/* A worker's turn: both directions between two ports, rows and single frames, a later second's ages. */
static void turn(struct fixture *fixture, struct program *program, struct ingress *const *ports)
{
    struct program *other = fixture->program;
    uint8_t bytes[2][64];
    fixture->program = program;
    program->now_s = other->now_s;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t size = fixture_frame(bytes[i], (uint8_t)ports[1 - i]->id, (uint8_t)ports[i]->id, NULL, 0);
        for (unsigned j = 0; j < 8; j++)
            fixture_receive(fixture, bytes[i], size);
        fixture_run(fixture, ports[i]);
    }
    fixture->program = other;
}

static void no_line_of_two_workers(void **state)
{
    struct fixture *fixture = fixture_new(1000);
    struct bridge *bridge = fixture_bridge(fixture, 1, 1);
    struct ingress *ports[PORTS];
    for (uint32_t i = 0; i < PORTS; i++) {
        ports[i] = fixture_port(fixture, i + 1, 1, 0);
        fixture_member(bridge, ports[i], 0);
        fake_of(ports[i])->keeps = false;
    }
    struct program *second = test_malloc(sizeof(*second) + 64);
    struct program *program = (void *)(((uintptr_t)second + 63) & ~(uintptr_t)63);
    memset(program, 0, sizeof(*program));
    assert_int_equal(program_init(program, NULL, 1, -1), 0);

    for (uint32_t i = 0; i < PORTS; i++)
        fixture_unicast(fixture, ports[i], 0xff, (uint8_t)(i + 1)); /* known from here on */
    for (uint32_t i = 0; i < PORTS; i++) {
        add_region("struct port", ports[i]->port, sizeof(struct port));
        add_region("struct ingress", ports[i], sizeof(struct ingress));
        for (unsigned worker = 0; worker < 2; worker++)
            add_region("counters", ports[i]->port->counters[worker], sizeof(struct port_counters));
    }
    const struct fdb *fdb = fixture->fdb;
    add_region("snapshot", fixture->snapshot, sizeof(*fixture->snapshot));
    add_region("bridge", bridge, sizeof(*bridge));
    add_region("fdb", fdb, sizeof(*fdb));
    add_region("segments of the table", fdb->segments, DP_SEGMENTS_MAX * sizeof(*fdb->segments));
    add_region("ports of the table", fdb->ports, DP_PORTS_MAX * sizeof(*fdb->ports));
    add_region("buckets", fdb->table->buckets, (fdb->table->mask + 1) * sizeof(struct fdb_bucket));

    for (unsigned round = 0; round < 10; round++) {
        remember();
        turn(fixture, fixture->program, ports);
        compare(0);
        remember();
        turn(fixture, program, ports + 2);
        compare(1);
    }
    assert_int_equal(rx_forwarded(ports[0]), 80);
    assert_int_equal(rx_forwarded(ports[3]), 80);
    print_message("lines written: %u by worker 0, %u by worker 1\n", written(0), written(1));
    assert_true(written(0) > 0 && written(1) > 0); /* their counters at least */
    assert_int_equal(written_by_both(), 0);

    /* The method sees a shared line: both workers learn, which takes the table's lock and counts. */
    fixture_unicast(fixture, ports[0], 0xff, 0x21);
    compare(0);
    struct program *first = fixture->program;
    remember();
    fixture->program = program;
    program->now_s = first->now_s;
    fixture_unicast(fixture, ports[2], 0xff, 0x22);
    fixture->program = first;
    compare(1);
    assert_true(written_by_both() > 0);

    forget_regions();
    program_fini(program);
    test_free(second);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_line_of_two_workers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
