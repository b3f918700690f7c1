/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>
#include "dp_objects.h"
#include "objects.h"

static char text[OBJECT_TEXT_SIZE];

#define put(objects, kind, object) objects_put(objects, DP_KIND_##kind, &(object), text)
#define del(objects, kind, object) objects_del(objects, DP_KIND_##kind, &(object), text)

static void test_put_find_del(void **state)
{
    struct objects *objects = objects_new();
    assert_non_null(objects);
    for (uint32_t i = 1; i < DP_PORTS_MAX; i++) {
        struct dp_port port = make_port(i, 1 + i % 7);
        assert_int_equal(put(objects, PORT, port), 0);
    }
    assert_int_equal(objects_count(objects, DP_KIND_PORT), DP_PORTS_MAX - 1);
    for (uint32_t i = 1; i < DP_PORTS_MAX; i += 2) {
        struct dp_port port = {.id = i};
        assert_int_equal(del(objects, PORT, port), 0);
        assert_int_equal(del(objects, PORT, port), -ENOENT);
        assert_non_null(strstr(text, "does not exist"));
    }
    for (uint32_t i = 1; i < DP_PORTS_MAX; i++) {
        const struct dp_port *found = objects_port(objects, i);
        assert_int_equal(found != NULL, i % 2 == 0);
        struct dp_port expected = make_port(i, 1 + i % 7);
        if (found)
            assert_memory_equal(found, &expected, sizeof(expected));
    }
    objects_free(objects);
}

/* Puts and deletes at random, against an array that is searched from end to end. */
static void test_against_model(void **state)
{
    enum { KEYS = 300 };
    struct objects *objects = objects_new();
    uint32_t model[KEYS] = {0}; /* segment of the member with vid i; 0: none */
    unsigned seed = 1;
    for (unsigned step = 0; step < 20000; step++) {
        uint32_t vid = (uint32_t)rand_r(&seed) % KEYS, segment = 1 + (uint32_t)rand_r(&seed) % 1000;
        struct dp_member member = make_member(7, segment, vid);
        if (rand_r(&seed) % 2) {
            assert_int_equal(put(objects, MEMBER, member), 0);
            model[vid] = segment;
        } else {
            assert_int_equal(del(objects, MEMBER, member), model[vid] ? 0 : -ENOENT);
            model[vid] = 0;
        }
    }
    size_t count = 0;
    for (uint32_t vid = 0; vid < KEYS; vid++) {
        struct dp_member key = make_member(7, 1, vid);
        const struct dp_member *found = objects_find(objects, DP_KIND_MEMBER, &key);
        assert_int_equal(found ? found->segment : 0, model[vid]);
        count += model[vid] != 0;
    }
    assert_int_equal(objects_count(objects, DP_KIND_MEMBER), count);
    objects_free(objects);
}

static void test_versions(void **state)
{
    struct objects *old = objects_new();
    struct dp_segment segment = make_segment(1, 1), other = make_segment(2, 1);
    assert_int_equal(put(old, SEGMENT, segment), 0);
    struct objects *new = objects_clone(old);
    struct table *table = objects_table(old, DP_KIND_SEGMENT);
    assert_int_equal(put(new, SEGMENT, other), 0);
    assert_int_equal(del(new, SEGMENT, segment), 0);
    assert_int_equal(objects_count(old, DP_KIND_SEGMENT), 1);
    assert_non_null(objects_segment(old, 1));
    assert_null(objects_segment(new, 1));
    assert_non_null(objects_segment(new, 2));
    objects_free(old);
    objects_free(new);
    assert_int_equal(table_count(table), 1);
    assert_memory_equal(table_at(table, 0), &segment, sizeof(segment));
    table_release(table);
}

/* Each is a valid object but for one thing. */
static void test_port_refused(void **state)
{
    const struct dp_port good = make_port(1, 1), tap = make_tap(2, 1, 1);
    assert_int_equal(object_check(DP_KIND_PORT, &good, text), 0);
    assert_int_equal(object_check(DP_KIND_PORT, &tap, text), 0);
#define REFUSED(base, change)                                                                                \
    do {                                                                                                     \
        struct dp_port port = base;                                                                          \
        change;                                                                                              \
        text[0] = 0;                                                                                         \
        assert_int_not_equal(object_check(DP_KIND_PORT, &port, text), 0);                                    \
        assert_int_not_equal(text[0], 0);                                                                    \
    } while (0)
    REFUSED(good, port.id = 0);
    REFUSED(good, port.id = DP_PORTS_MAX);
    REFUSED(good, port.type = 0);
    REFUSED(good, port.type = DP_PORT_XDP + 1);
    REFUSED(good, port.flags = 128);
    REFUSED(good, port.name[0] = 0);
    REFUSED(good, port.name[63] = 'x');
    REFUSED(good, memset(port.name, 'x', sizeof(port.name)));
    REFUSED(good, port.name[2] = '\n');
    REFUSED(good, port.name[2] = '"');
    REFUSED(good, port.name[2] = ' ');
    REFUSED(good, port.device[0] = 'x');
    REFUSED(good, port.device[255] = 'x');
    REFUSED(good, memset(port.device, '/', 108));
    REFUSED(good, port.queues = 0);
    REFUSED(good, port.queues = DP_QUEUES_MAX + 1);
    REFUSED(good, port.mtu = 67);
    REFUSED(good, port.mtu = 9217);
    REFUSED(good, port.mac[0] = 1);
    REFUSED(good, port.pad[1] = 1);
    REFUSED(good, port.ifindex = 1);
    REFUSED(tap, port.features_off = 1);
    REFUSED(tap, port.flags = DP_PORT_F_CLIENT);
    REFUSED(tap, port.socket_group = 100);
#undef REFUSED
}

static void test_others_refused(void **state)
{
    struct objects *objects = objects_new();
    struct dp_segment segments[] = {make_segment(0, 1), make_segment(DP_SEGMENTS_MAX, 1),
                                    make_segment(1, 0), make_segment(1, 1),
                                    make_segment(1, 1), make_segment(1, 1)};
    segments[3].flags = 2;
    segments[4].pad = 1;
    segments[5].name[40] = 1;
    for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++)
        assert_int_not_equal(put(objects, SEGMENT, segments[i]), 0);
    struct dp_member members[] = {make_member(0, 1, 0),    make_member(DP_PORTS_MAX, 1, 0),
                                  make_member(1, 0, 0),    make_member(1, DP_SEGMENTS_MAX, 0),
                                  make_member(1, 1, 4095), make_member(1, 1, 0)};
    members[5].tagged_vid = 4095;
    for (unsigned i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        assert_int_not_equal(put(objects, MEMBER, members[i]), 0);
    struct dp_static statics[] = {make_static(0, 1, 1), make_static(1, 1, 0), make_static(1, 1, 1),
                                  make_static(1, 1, 1), make_static(1, 1, 1)};
    statics[2].mac[0] |= 1;
    memset(statics[3].mac, 0, 6);
    statics[4].pad[0] = 1;
    for (unsigned i = 0; i < sizeof(statics) / sizeof(statics[0]); i++)
        assert_int_not_equal(put(objects, STATIC, statics[i]), 0);
    struct dp_allowed allowed[] = {make_allowed(0, 1), make_allowed(1, 1), make_allowed(1, 1),
                                   make_allowed(1, 1), make_allowed(1, 1)};
    allowed[1].type = 0;
    allowed[2].type = 4;
    allowed[3].address[6] = 1;
    allowed[4].address[0] = 1;
    for (unsigned i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        assert_int_not_equal(put(objects, ALLOWED, allowed[i]), 0);
    struct dp_port_state state_object = {.id = 1};
    assert_int_equal(object_check(DP_KIND_PORT_STATE, &state_object, text), -EINVAL);
    objects_free(objects);
}

/* A configuration that passes: two tenants, a trunk, an uplink that both use. */
static struct objects *good_configuration(void)
{
    struct objects *objects = objects_new();
    for (uint32_t i = 1; i <= 4; i++) {
        struct dp_segment segment = make_segment(i, i <= 2 ? 1 : 2);
        assert_int_equal(put(objects, SEGMENT, segment), 0);
    }
    struct dp_port ports[] = {make_port(1, 1), make_port(2, 1), make_port(3, 2), make_port(9, 0)};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(put(objects, PORT, ports[i]), 0);
    struct dp_member members[] = {make_member(1, 1, 0), make_member(2, 1, 0), make_member(2, 2, 20),
                                  make_member(3, 3, 0), make_member(9, 1, 1), make_member(9, 3, 3)};
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(put(objects, MEMBER, members[i]), 0);
    struct dp_static entry = make_static(1, 1, 1);
    struct dp_allowed allowed = make_allowed(1, 1);
    assert_int_equal(put(objects, STATIC, entry), 0);
    assert_int_equal(put(objects, ALLOWED, allowed), 0);
    assert_int_equal(objects_check(objects, text), 0);
    return objects;
}

static void test_whole_refused(void **state)
{
#define REFUSED(error, part, change)                                                                         \
    do {                                                                                                     \
        struct objects *objects = good_configuration();                                                      \
        assert_int_equal(change, 0);                                                                         \
        assert_int_equal(objects_check(objects, text), error);                                               \
        assert_non_null(strstr(text, part));                                                                 \
        objects_free(objects);                                                                               \
    } while (0)
    struct dp_segment segment = make_segment(1, 1);
    struct dp_port port = make_port(3, 2), twin = make_port(5, 2);
    struct dp_member foreign = make_member(3, 1, 7), twice = make_member(1, 1, 5),
                     nowhere = make_member(1, 77, 5), nobody = make_member(77, 1, 5);
    struct dp_static elsewhere = make_static(2, 9, 1);
    struct dp_allowed orphan = make_allowed(77, 1);
    snprintf(twin.device, sizeof(twin.device), "/nowhere/port1");
    REFUSED(-ENOENT, "segment 1 does not exist", del(objects, SEGMENT, segment));
    REFUSED(-ENOENT, "port 3 does not exist", del(objects, PORT, port));
    REFUSED(-EEXIST, "same device", put(objects, PORT, twin));
    REFUSED(-EPERM, "not of one tenant", put(objects, MEMBER, foreign));
    REFUSED(-EEXIST, "twice", put(objects, MEMBER, twice));
    REFUSED(-ENOENT, "segment 77 does not exist", put(objects, MEMBER, nowhere));
    REFUSED(-ENOENT, "port 77 does not exist", put(objects, MEMBER, nobody));
    REFUSED(-ENOENT, "is not in it", put(objects, STATIC, elsewhere));
    REFUSED(-ENOENT, "port 77 does not exist", put(objects, ALLOWED, orphan));
#undef REFUSED
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_transaction_descriptors(void **state)
{
    struct objects *objects = objects_new();
    struct transaction *transaction = transaction_new(objects);
    struct dp_port tap = make_tap(1, 1, 2), vhost = make_port(2, 1);
    int fds[6], taken[DP_PORT_FDS_MAX];
    for (unsigned i = 0; i < 6; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    /* too few, and with a port that takes none: refused and closed */
    assert_int_equal(transaction_put(transaction, DP_KIND_PORT, &tap, fds, 1, text), -EINVAL);
    assert_false(is_open(fds[0]));
    assert_int_equal(transaction_put(transaction, DP_KIND_PORT, &vhost, fds + 1, 1, text), -EINVAL);
    assert_false(is_open(fds[1]));
    /* the second put replaces the first one's */
    assert_int_equal(transaction_put(transaction, DP_KIND_PORT, &tap, fds + 2, 2, text), 0);
    assert_int_equal(transaction_put(transaction, DP_KIND_PORT, &tap, fds + 4, 2, text), 0);
    assert_false(is_open(fds[2]) || is_open(fds[3]));
    assert_true(transaction_has_fds(transaction, 1));
    assert_int_equal(transaction_take_fds(transaction, 1, taken), 2);
    assert_memory_equal(taken, fds + 4, 2 * sizeof(int));
    assert_false(transaction_has_fds(transaction, 1));
    /* what is staged is closed with the port, and with the transaction */
    assert_int_equal(transaction_put(transaction, DP_KIND_PORT, &tap, taken, 2, text), 0);
    assert_int_equal(transaction_del(transaction, DP_KIND_PORT, &tap, text), 0);
    assert_false(is_open(taken[0]) || is_open(taken[1]));
    fds[0] = eventfd(0, EFD_CLOEXEC);
    fds[1] = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(transaction_put(transaction, DP_KIND_PORT, &tap, fds, 2, text), 0);
    transaction_free(transaction);
    assert_false(is_open(fds[0]) || is_open(fds[1]));
    assert_int_equal(objects_count(objects, DP_KIND_PORT), 0);
    objects_free(objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_find_del),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_port_refused),
        cmocka_unit_test(test_others_refused),
        cmocka_unit_test(test_whole_refused),
        cmocka_unit_test(test_transaction_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
