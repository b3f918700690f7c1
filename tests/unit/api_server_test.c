/* SPDX-License-Identifier: BSD-3-Clause */
/* The programming socket over a real socket, by way of the client library. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "api_server_fixture.h"

static void test_commit_and_dump(void **state)
{
    struct dp_client *client = api_fixture_connect();
    struct dp_port *ports, expected = make_port(1, 1);
    size_t count;
    assert_int_equal(dp_client_hello(client)->version, DP_API_VERSION);
    assert_int_equal(dp_client_hello(client)->pid, getpid());
    assert_int_not_equal(dp_client_hello(client)->start_time_ns, 0);
    api_fixture_put_base(client);
    assert_int_equal(dp_client_dump_all(client, DP_KIND_PORT, (void **)&ports, &count), 0);
    assert_int_equal(count, 0); /* not before the commit */
    assert_int_equal(dp_client_commit(client), 0);
    assert_int_equal(dp_client_dump_all(client, DP_KIND_PORT, (void **)&ports, &count), 0);
    assert_int_equal(count, 1);
    assert_memory_equal(ports, &expected, sizeof(expected));
    free(ports);
    assert_int_equal(dp_client_flush(client, 0, 0), 0);
    assert_int_equal(api_fixture.flushes, 1);
    assert_int_equal(dp_client_stop(client), 0);
    assert_int_equal(api_fixture.stops, 1);
    dp_client_close(client);
}

static void test_refused_commit(void **state)
{
    struct dp_client *client = api_fixture_connect();
    struct dp_member orphan = make_member(9, 1, 0);
    struct dp_port bad = make_port(2, 1);
    struct dp_segment segment = make_segment(2, 1);
    bad.mtu = 1;
    api_fixture_put_base(client);
    assert_int_equal(dp_client_put(client, DP_KIND_MEMBER, &orphan, NULL, 0), 0);
    assert_int_equal(dp_client_commit(client), -ENOENT);
    assert_string_equal(dp_client_error(client), "member of segment t1/seg1: port 9 does not exist");
    /* an object that is refused: the error comes with a later call, at the latest with the commit */
    api_fixture_put_base(client);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &bad, NULL, 0), 0);
    int error = dp_client_commit(client);
    assert_int_equal(error, -ERANGE);
    assert_string_equal(dp_client_error(client), "port t1/port2: MTU 1, not 68..9216");
    assert_int_equal(dp_client_begin(client), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &bad, NULL, 0), 0);
    while ((error = dp_client_put(client, DP_KIND_SEGMENT, &segment, NULL, 0)) == 0)
        continue;
    assert_int_equal(error, -ERANGE);
    api_fixture.commit_fails = true;
    api_fixture_put_base(client);
    assert_int_equal(dp_client_commit(client), -EADDRINUSE);
    assert_string_equal(dp_client_error(client), "port t1/port1: no");
    assert_int_equal(dp_client_commit(client), -EINVAL); /* the transaction is over */
    assert_int_equal(dp_client_abort(client), -EINVAL);
    assert_int_equal(api_fixture.commits, 0);
    dp_client_close(client);
}

static void test_one_transaction(void **state)
{
    struct dp_client *first = api_fixture_connect(), *second = api_fixture_connect();
    api_fixture_put_base(first);
    assert_int_equal(dp_client_begin(second), -EBUSY);
    assert_non_null(strstr(dp_client_error(second), "has a transaction open"));
    assert_int_equal(dp_client_begin(first), -EALREADY);
    assert_int_equal(dp_client_commit(second), -EINVAL);
    dp_client_close(first); /* aborts */
    int error;
    for (unsigned i = 0; (error = dp_client_begin(second)) == -EBUSY && i < 1000000; i++)
        sched_yield();
    assert_int_equal(error, 0);
    assert_int_equal(dp_client_commit(second), 0);
    assert_int_equal(objects_count(api_fixture.objects, DP_KIND_PORT), 0);
    dp_client_close(second);
}

static void test_ten_thousand_objects(void **state)
{
    struct dp_client *client = api_fixture_connect();
    const void *object;
    size_t count = 0;
    int status;
    assert_int_equal(dp_client_begin(client), 0);
    for (uint32_t id = 1; id <= 2000; id++) {
        struct dp_segment segment = make_segment(id, 1);
        struct dp_port port = make_port(id, 1);
        assert_int_equal(dp_client_put(client, DP_KIND_SEGMENT, &segment, NULL, 0), 0);
        assert_int_equal(dp_client_put(client, DP_KIND_PORT, &port, NULL, 0), 0);
        for (uint32_t vid = 1; vid <= 3; vid++) {
            struct dp_member member = make_member(id, vid, vid);
            assert_int_equal(dp_client_put(client, DP_KIND_MEMBER, &member, NULL, 0), 0);
        }
    }
    assert_int_equal(dp_client_commit(client), 0);
    assert_int_equal(dp_client_dump(client, DP_KIND_MEMBER), 0);
    assert_int_equal(dp_client_begin(client), -EINVAL); /* not in the middle of a dump */
    while ((status = dp_client_next(client, &object)) == 1)
        count += ((const struct dp_member *)object)->port != 0;
    assert_int_equal(status, 0);
    assert_int_equal(count, 6000);
    assert_int_equal(dp_client_dump(client, DP_KIND_FDB_ENTRY), 0);
    for (count = 0; (status = dp_client_next(client, &object)) == 1; count++)
        assert_int_equal(((const struct dp_fdb_entry *)object)->port, count);
    assert_int_equal(status, 0);
    assert_int_equal(count, API_FIXTURE_ADDRESSES);
    dp_client_close(client);
}

static void test_path(void **state)
{
    struct stat status;
    assert_return_code(stat(api_fixture.path, &status), errno);
    assert_int_equal(status.st_mode & 0777, 0660);
    /* somebody listens: refused. A socket that a dead process left: replaced. */
    assert_null(api_server_new(api_fixture.base, api_fixture.path, &api_fixture_ops, NULL));
    assert_int_equal(errno, EADDRINUSE);
    char path[128];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, sizeof(path), "%s/stale.sock", api_fixture.directory);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    close(fd);
    struct event_base *base = event_base_new();
    struct api_server *server = api_server_new(base, path, &api_fixture_ops, NULL);
    assert_non_null(server);
    api_server_free(server);
    event_base_free(base);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, api_fixture_setup, api_fixture_teardown)
    const struct CMUnitTest tests[] = {
        test(test_commit_and_dump),      test(test_refused_commit), test(test_one_transaction),
        test(test_ten_thousand_objects), test(test_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
