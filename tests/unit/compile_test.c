/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects to snapshots, and commits on fake ports: what is opened, closed, published, undone. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>
#include "configuration.h"
#include "dp_objects.h"
#include "fdb.h"
#include "state.h"
#include "worker.h"

/* The services that control_thread.c has in the process. */
struct event_base *control_event_base(void)
{
    return NULL;
}

void control_quiesce(void)
{
}

void control_wake_fd(struct port *port, unsigned queue, int fd)
{
}

unsigned control_worker_count(void)
{
    return 2;
}

void control_announce(struct port *port, const uint8_t mac[6])
{
}

/* Fake ports: a log of opens and closes; the device "/nowhere/portN" of one port fails to open on demand. Two
 * ports must not have one device open at a time. */
static char journal[4096];
static uint32_t failing; /* port id whose next open fails; 0: none */
static bool fail_always;
static struct port *open_ports[DP_PORTS_MAX];

static void note(const char *what, const struct port *port)
{
    size_t length = strlen(journal);
    snprintf(journal + length, sizeof(journal) - length, "%s%u ", what, port->config.id);
}

static int fake_open(struct port *port, const int *fds, unsigned fd_count, char *text)
{
    if (port->config.id == failing) {
        failing = fail_always ? failing : 0;
        snprintf(text, OBJECT_TEXT_SIZE, "out of order");
        return -EADDRINUSE;
    }
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++)
        if (open_ports[id] && port->config.type == DP_PORT_VHOST_USER)
            assert_string_not_equal(open_ports[id]->config.device, port->config.device);
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    note("open", port);
    if (!open_ports[port->config.id])
        open_ports[port->config.id] = port;
    return 0;
}

static void fake_close(struct port *port)
{
    note("close", port);
    if (open_ports[port->config.id] == port)
        open_ports[port->config.id] = NULL;
}

static void fake_state(struct port *port, struct dp_port_state *state)
{
    state->link = 1;
}

static void fake_queue_state(struct port *port, unsigned queue, struct dp_queue_state *state)
{
    state->ring_size = 256;
}

static void fake_check(struct port *port)
{
    note("check", port);
}

static const struct port_ops fake_ops = {.open = fake_open,
                                         .close = fake_close,
                                         .state = fake_state,
                                         .queue_state = fake_queue_state,
                                         .check = fake_check};

static struct configuration configuration;
static struct fdb *fdb;
static char text[OBJECT_TEXT_SIZE];

static int setup(void **state)
{
    const struct ports_config config = {.ops = {[DP_PORT_VHOST_USER] = &fake_ops, [DP_PORT_TAP] = &fake_ops},
                                        .workers = 2,
                                        .socket_group = 7};
    failing = 0;
    fail_always = false;
    memset(open_ports, 0, sizeof(open_ports));
    fdb = fdb_new(1024, workers_quiesce);
    return fdb ? configuration_init(&configuration, &config, fdb, NULL) : -1;
}

static int teardown(void **state)
{
    configuration_fini(&configuration);
    fdb_free(fdb);
    return 0;
}

static struct transaction *begin(void)
{
    struct transaction *transaction = transaction_new(configuration.objects);
    assert_non_null(transaction);
    journal[0] = 0;
    return transaction;
}

static int commit(struct transaction *transaction)
{
    int error = objects_check(transaction_objects(transaction), text);
    assert_int_equal(error, 0);
    error = configuration_commit(&configuration, transaction, text);
    transaction_free(transaction);
    return error;
}

#define put(transaction, kind, object)                                                                       \
    assert_int_equal(transaction_put(transaction, DP_KIND_##kind, &(object), NULL, 0, text), 0)
#define del(transaction, kind, object)                                                                       \
    assert_int_equal(transaction_del(transaction, DP_KIND_##kind, &(object), text), 0)

/* Ports 1 and 2 of tenant 1 in segment 1, trunk port 3 in segments 1 (native) and 2 (vid 20). */
static void commit_base(void)
{
    struct transaction *transaction = begin();
    struct dp_segment segments[] = {make_segment(1, 1), make_segment(2, 1)};
    struct dp_port ports[] = {make_port(1, 1), make_port(2, 1), make_port(3, 1)};
    struct dp_member members[] = {make_member(1, 1, 0), make_member(2, 1, 0), make_member(3, 1, 0),
                                  make_member(3, 2, 20)};
    for (unsigned i = 0; i < 2; i++)
        put(transaction, SEGMENT, segments[i]);
    for (unsigned i = 0; i < 3; i++)
        put(transaction, PORT, ports[i]);
    for (unsigned i = 0; i < 4; i++)
        put(transaction, MEMBER, members[i]);
    assert_int_equal(commit(transaction), 0);
    assert_string_equal(journal, "open1 open2 open3 ");
}

static void test_snapshot(void **state)
{
    commit_base();
    const struct snapshot *snapshot = configuration.snapshot;
    assert_int_equal(snapshot->generation, 1);
    assert_int_equal(snapshot->bridges[1]->output_count, 3);
    assert_int_equal(snapshot->bridges[2]->output_count, 1);
    assert_ptr_equal(snapshot->ingress[1]->native, snapshot->bridges[1]);
    assert_null(snapshot->ingress[1]->by_vid);
    assert_ptr_equal(snapshot->ingress[3]->native, snapshot->bridges[1]);
    assert_ptr_equal(snapshot->ingress[3]->by_vid[20], snapshot->bridges[2]);
    assert_null(snapshot->ingress[3]->by_vid[21]);
    assert_null(snapshot->ingress[4]);
    assert_int_equal(snapshot_output(snapshot, 2, 3)->vid, 20);
    assert_int_equal(snapshot_output(snapshot, 1, 3)->vid, 0);
    assert_ptr_equal(snapshot_output(snapshot, 1, 2)->to, snapshot->ingress[2]);
    assert_null(snapshot_output(snapshot, 2, 1));
    assert_null(snapshot_output(snapshot, 5, 1));
    /* the queues are spread */
    assert_int_equal(snapshot->poll_count[0] + snapshot->poll_count[1], 3);
    assert_in_range(snapshot->poll_count[0], 1, 2);
    /* the default group of sockets */
    assert_int_equal(ports_get(configuration.ports, 1)->config.socket_group, 7);
}

static void test_spoof_tables(void **state)
{
    commit_base();
    struct transaction *transaction = begin();
    struct dp_port port = make_port(2, 1);
    struct dp_allowed allowed = make_allowed(2, 2), other = make_allowed(1, 1);
    port.flags = DP_PORT_F_SPOOF_MAC;
    put(transaction, PORT, port);
    put(transaction, ALLOWED, allowed);
    put(transaction, ALLOWED, other);
    assert_int_equal(commit(transaction), 0);
    assert_string_equal(journal, "check2 "); /* a flag: the port stays open */
    assert_null(configuration.snapshot->ingress[1]->spoof);
    assert_non_null(configuration.snapshot->ingress[2]->spoof);
    assert_int_equal(configuration.snapshot->ingress[2]->flags, DP_PORT_F_SPOOF_MAC);
}

static void learn(uint32_t segment, uint8_t last_byte, uint32_t port)
{
    struct fdb_source source = {.to = port};
    uint64_t key = fdb_key(segment, 2 | (uint64_t)last_byte << 40);
    assert_int_equal(fdb_learn(fdb, fdb->table, key, fdb_hash(fdb->table, key), &source), FDB_LEARNED);
}

static uint32_t known(uint32_t segment, uint8_t last_byte)
{
    uint64_t key = fdb_key(segment, 2 | (uint64_t)last_byte << 40);
    return FDB_VALUE_PORT(fdb_lookup(fdb, fdb->table, key, fdb_hash(fdb->table, key), 0));
}

static void test_learned_addresses(void **state)
{
    commit_base();
    learn(1, 1, 1);
    learn(1, 2, 2);
    learn(2, 3, 3);
    /* nothing that concerns them: all kept */
    struct transaction *transaction = begin();
    struct dp_segment segment = make_segment(2, 1);
    segment.mac_limit = 5;
    put(transaction, SEGMENT, segment);
    assert_int_equal(commit(transaction), 0);
    assert_int_equal(known(1, 1), 1);
    assert_int_equal(known(1, 2), 2);
    /* port 2 leaves its segment, port 3's stay */
    transaction = begin();
    struct dp_member member = make_member(2, 1, 0);
    del(transaction, MEMBER, member);
    assert_int_equal(commit(transaction), 0);
    assert_int_equal(known(1, 1), 1);
    assert_int_equal(known(1, 2), 0);
    assert_int_equal(known(2, 3), 3);
    /* port 1 is exchanged */
    transaction = begin();
    struct dp_port port = make_port(1, 1);
    port.mtu = 9000;
    put(transaction, PORT, port);
    assert_int_equal(commit(transaction), 0);
    assert_int_equal(known(1, 1), 0);
    assert_int_equal(known(2, 3), 3);
}

static void test_static_addresses(void **state)
{
    commit_base();
    struct transaction *transaction = begin();
    struct dp_static first = make_static(1, 1, 1), second = make_static(2, 2, 3);
    put(transaction, STATIC, first);
    put(transaction, STATIC, second);
    assert_int_equal(commit(transaction), 0);
    assert_int_equal(known(1, 1), 1);
    uint64_t key = fdb_key(2, 2 | UINT64_C(2) << 40);
    assert_int_equal(FDB_VALUE_VID(fdb_lookup(fdb, fdb->table, key, fdb_hash(fdb->table, key), 0)), 20);
    /* one moves, the other's tag changes */
    transaction = begin();
    struct dp_member old = make_member(3, 2, 20), new = make_member(3, 2, 30);
    first.port = 2;
    put(transaction, STATIC, first);
    del(transaction, MEMBER, old);
    put(transaction, MEMBER, new);
    assert_int_equal(commit(transaction), 0);
    assert_int_equal(known(1, 1), 2);
    assert_int_equal(FDB_VALUE_VID(fdb_lookup(fdb, fdb->table, key, fdb_hash(fdb->table, key), 0)), 30);
    transaction = begin();
    del(transaction, STATIC, first);
    del(transaction, STATIC, second);
    assert_int_equal(commit(transaction), 0);
    assert_int_equal(known(1, 1), 0);
    assert_int_equal(known(2, 2), 0);
}

static void test_open_fails(void **state)
{
    commit_base();
    struct transaction *transaction = begin();
    struct dp_port ports[] = {make_port(5, 1), make_port(6, 1)};
    struct dp_static entry = make_static(1, 9, 1);
    struct dp_port gone = make_port(2, 1);
    struct dp_member member = make_member(2, 1, 0);
    put(transaction, PORT, ports[0]);
    put(transaction, PORT, ports[1]);
    put(transaction, STATIC, entry);
    del(transaction, MEMBER, member);
    del(transaction, PORT, gone);
    const struct snapshot *before = configuration.snapshot;
    failing = 6;
    assert_int_equal(commit(transaction), -EADDRINUSE);
    assert_string_equal(text, "port t1/port6: out of order");
    assert_string_equal(journal, "open5 close5 ");
    assert_ptr_equal(configuration.snapshot, before);
    assert_non_null(ports_get(configuration.ports, 2));
    assert_null(ports_get(configuration.ports, 5));
    assert_null(objects_port(configuration.objects, 5));
    assert_int_equal(known(1, 9), 0);
    assert_int_equal(ports_count(configuration.ports), 3);
}

/* A new port with the socket of a port that goes: the old one is closed first. */
static void test_exchange(void **state)
{
    commit_base();
    struct transaction *transaction = begin();
    struct dp_port heir = make_port(8, 1), gone = make_port(1, 1), changed = make_port(2, 1);
    struct dp_member member = make_member(1, 1, 0), new_member = make_member(8, 1, 0);
    memcpy(heir.device, gone.device, sizeof(heir.device));
    changed.queues = 4;
    del(transaction, MEMBER, member);
    del(transaction, PORT, gone);
    put(transaction, PORT, heir);
    put(transaction, MEMBER, new_member);
    put(transaction, PORT, changed);
    assert_int_equal(commit(transaction), 0);
    assert_string_equal(journal, "close1 close2 open2 open8 ");
    assert_null(ports_get(configuration.ports, 1));
    assert_non_null(ports_get(configuration.ports, 8));
    assert_int_equal(configuration.snapshot->poll_count[0] + configuration.snapshot->poll_count[1], 6);
    assert_int_equal(configuration.snapshot->poll_count[0], 3);
}

static void test_exchange_fails(void **state)
{
    commit_base();
    struct port *before = ports_get(configuration.ports, 1);
    struct transaction *transaction = begin();
    struct dp_port one = make_port(1, 1), two = make_port(2, 1);
    one.mtu = two.mtu = 9000;
    put(transaction, PORT, one);
    put(transaction, PORT, two);
    failing = 2;
    assert_int_equal(commit(transaction), -EADDRINUSE);
    assert_string_equal(journal, "close1 close2 open1 close1 open1 open2 ");
    assert_ptr_equal(ports_get(configuration.ports, 1), before);
    assert_int_equal(before->config.mtu, 1500);
    assert_ptr_equal(configuration.snapshot->ingress[1]->port, before);
    assert_int_equal(objects_port(configuration.objects, 1)->mtu, 1500);
}

/* ... and the old port cannot be opened again either: it is out until the next commit. */
static void test_exchange_undo_fails(void **state)
{
    commit_base();
    struct transaction *transaction = begin();
    struct dp_port two = make_port(2, 1);
    struct dp_port_state states[4];
    uint64_t cursor = 0;
    two.mtu = 9000;
    put(transaction, PORT, two);
    failing = 2;
    fail_always = true;
    assert_int_equal(commit(transaction), -EADDRINUSE);
    assert_null(ports_get(configuration.ports, 2));
    assert_null(configuration.snapshot->ingress[2]);
    assert_non_null(configuration.snapshot->ingress[1]);
    assert_int_equal(configuration.snapshot->bridges[1]->output_count, 2);
    assert_int_equal(state_read(&configuration, DP_KIND_PORT_STATE, &cursor, states, 4), 3);
    assert_int_equal(states[1].id, 2);
    assert_int_equal(states[1].link, 0);
    assert_string_equal(states[1].last_error, "not open: out of order");
    failing = 0;
    assert_int_equal(commit(begin()), 0);
    assert_string_equal(journal, "open2 ");
    assert_non_null(configuration.snapshot->ingress[2]);
    assert_int_equal(ports_count(configuration.ports), 3);
}

static void test_taps(void **state)
{
    struct transaction *transaction = begin();
    struct dp_port tap = make_tap(4, 1, 2);
    put(transaction, PORT, tap);
    assert_int_equal(commit(transaction), -EBADF); /* no descriptors */
    int fds[2] = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
    transaction = begin();
    assert_int_equal(transaction_put(transaction, DP_KIND_PORT, &tap, fds, 2, text), 0);
    assert_int_equal(commit(transaction), 0);
    assert_string_equal(journal, "open4 ");
    /* put again without any: stays; with new ones: exchanged, the new one first */
    transaction = begin();
    put(transaction, PORT, tap);
    assert_int_equal(commit(transaction), 0);
    assert_string_equal(journal, "");
    fds[0] = eventfd(0, EFD_CLOEXEC);
    fds[1] = eventfd(0, EFD_CLOEXEC);
    transaction = begin();
    assert_int_equal(transaction_put(transaction, DP_KIND_PORT, &tap, fds, 2, text), 0);
    assert_int_equal(commit(transaction), 0);
    assert_string_equal(journal, "open4 close4 ");
    /* a type that is not served */
    transaction = begin();
    struct dp_port ethdev = make_tap(5, 0, 1);
    ethdev.type = DP_PORT_ETHDEV;
    put(transaction, PORT, ethdev);
    assert_int_equal(commit(transaction), -EOPNOTSUPP);
    /* a group that the process is not a member of */
    transaction = begin();
    struct dp_port vhost = make_port(6, 1);
    vhost.socket_group = 4711;
    put(transaction, PORT, vhost);
    assert_int_equal(commit(transaction), -EPERM);
    assert_non_null(strstr(text, "--socket-group 4711"));
}

/* Queues stay with their workers while other ports come and go. */
static void test_assignment_is_stable(void **state)
{
    commit_base();
    uint8_t before[4];
    for (uint32_t id = 1; id <= 3; id++)
        before[id] = ports_view(configuration.ports)[id].workers[0];
    for (unsigned round = 0; round < 6; round++) {
        struct transaction *transaction = begin();
        struct dp_port port = make_port(10, 1);
        port.queues = 3;
        if (round % 2)
            del(transaction, PORT, port);
        else
            put(transaction, PORT, port);
        assert_int_equal(commit(transaction), 0);
        for (uint32_t id = 1; id <= 3; id++)
            assert_int_equal(ports_view(configuration.ports)[id].workers[0], before[id]);
    }
}

/* 4,000 ports in 1,000 segments with 4,000 static addresses, in one commit. */
static void test_many(void **state)
{
    struct transaction *transaction = begin();
    fdb_free(fdb);
    fdb = configuration.fdb = configuration.snapshot->fdb = fdb_new(1 << 20, workers_quiesce);
    for (uint32_t id = 1; id <= 1000; id++) {
        struct dp_segment segment = make_segment(id, 1 + id % 100);
        put(transaction, SEGMENT, segment);
    }
    for (uint32_t id = 1; id <= 4000; id++) {
        uint32_t segment = 1 + id % 1000;
        struct dp_port port = make_port(id, 1 + segment % 100);
        struct dp_member member = make_member(id, segment, 0);
        struct dp_static entry = make_static(segment, (uint8_t)id, id);
        memcpy(&entry.mac[2], &id, 4);
        put(transaction, PORT, port);
        put(transaction, MEMBER, member);
        put(transaction, STATIC, entry);
    }
    assert_int_equal(commit(transaction), 0);
    assert_int_equal(ports_count(configuration.ports), 4000);
    assert_int_equal(configuration.snapshot->bridges[5]->output_count, 4);
    assert_int_equal(configuration.snapshot->poll_count[0], 2000);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(test_snapshot),
        test(test_spoof_tables),
        test(test_learned_addresses),
        test(test_static_addresses),
        test(test_open_fails),
        test(test_exchange),
        test(test_exchange_fails),
        test(test_exchange_undo_fails),
        test(test_taps),
        test(test_assignment_is_stable),
        test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
