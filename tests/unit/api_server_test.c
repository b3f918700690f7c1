/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The programming socket over a real socket: the server runs in a thread on fake state, the clients are the
 * client library and raw sockets that do not keep to the rules.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "api_server.h"
#include "client.h"
#include "dp_objects.h"

#define TIMEOUT_MS 60000

static struct {
    pthread_t thread;
    struct event_base *base;
    struct api_server *server;
    struct event *stop;
    int stop_fd;
    struct objects *objects;
    char directory[64], path[96];
    unsigned commits, flushes, stops; /* server thread: w; tests: r after a reply */
    unsigned fds_taken;
    bool commit_fails;
} fixture;

static const struct objects *fake_objects(void *context)
{
    return fixture.objects;
}

static int fake_commit(void *context, struct transaction *transaction, char *text)
{
    int fds[DP_PORT_FDS_MAX + 1];
    if (fixture.commit_fails) {
        snprintf(text, OBJECT_TEXT_SIZE, "port t1/port1: no");
        return -EADDRINUSE;
    }
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++) {
        unsigned count = transaction_take_fds(transaction, id, fds);
        fixture.fds_taken += count;
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
    }
    objects_free(fixture.objects);
    fixture.objects = transaction_take_objects(transaction);
    fixture.commits++;
    return 0;
}

#define FAKE_ADDRESSES 20000u

static size_t fake_read(void *context, enum dp_kind kind, uint64_t *cursor, void *objects, size_t capacity)
{
    struct dp_fdb_entry *entries = objects;
    size_t count = 0;
    if (kind != DP_KIND_FDB_ENTRY) {
        *cursor = API_CURSOR_END;
        return 0;
    }
    while (count < capacity && *cursor < FAKE_ADDRESSES)
        entries[count++] = (struct dp_fdb_entry){.segment = 1, .port = (uint32_t)(*cursor)++};
    if (*cursor == FAKE_ADDRESSES)
        *cursor = API_CURSOR_END;
    return count;
}

static int fake_flush(void *context, const struct dp_flush *flush, char *text)
{
    fixture.flushes++;
    return 0;
}

static void fake_stop(void *context)
{
    fixture.stops++;
}

static const struct api_ops fake_ops = {.objects = fake_objects,
                                        .commit = fake_commit,
                                        .read = fake_read,
                                        .flush = fake_flush,
                                        .stop = fake_stop};

static void on_stop(evutil_socket_t fd, short what, void *context)
{
    event_base_loopbreak(fixture.base);
}

static void *serve(void *context)
{
    event_base_dispatch(fixture.base);
    return NULL;
}

static int setup(void **state)
{
    memset(&fixture, 0, sizeof(fixture));
    snprintf(fixture.directory, sizeof(fixture.directory), "/tmp/weft-api-test.XXXXXX");
    if (!mkdtemp(fixture.directory))
        return -1;
    snprintf(fixture.path, sizeof(fixture.path), "%s/dataplane.sock", fixture.directory);
    fixture.objects = objects_new();
    fixture.base = event_base_new();
    fixture.stop_fd = eventfd(0, EFD_CLOEXEC);
    fixture.server = api_server_new(fixture.base, fixture.path, &fake_ops, NULL);
    fixture.stop = event_new(fixture.base, fixture.stop_fd, EV_READ, on_stop, NULL);
    if (!fixture.server || event_add(fixture.stop, NULL) < 0)
        return -1;
    return pthread_create(&fixture.thread, NULL, serve, NULL);
}

static int teardown(void **state)
{
    eventfd_write(fixture.stop_fd, 1);
    pthread_join(fixture.thread, NULL);
    api_server_free(fixture.server);
    event_free(fixture.stop);
    event_base_free(fixture.base);
    objects_free(fixture.objects);
    close(fixture.stop_fd);
    bool removed = access(fixture.path, F_OK) < 0;
    return rmdir(fixture.directory) == 0 && removed ? 0 : -1;
}

static unsigned descriptor_count(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static struct dp_client *connect_client(void)
{
    struct dp_client *client = dp_client_connect(fixture.path, TIMEOUT_MS);
    assert_non_null(client);
    return client;
}

static void put_base(struct dp_client *client)
{
    struct dp_segment segment = make_segment(1, 1);
    struct dp_port port = make_port(1, 1);
    struct dp_member member = make_member(1, 1, 0);
    assert_int_equal(dp_client_begin(client), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_SEGMENT, &segment, NULL, 0), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &port, NULL, 0), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_MEMBER, &member, NULL, 0), 0);
}

static void test_commit_and_dump(void **state)
{
    struct dp_client *client = connect_client();
    struct dp_port *ports, expected = make_port(1, 1);
    size_t count;
    assert_int_equal(dp_client_hello(client)->version, DP_API_VERSION);
    assert_int_equal(dp_client_hello(client)->pid, getpid());
    assert_int_not_equal(dp_client_hello(client)->start_time_ns, 0);
    put_base(client);
    assert_int_equal(dp_client_dump_all(client, DP_KIND_PORT, (void **)&ports, &count), 0);
    assert_int_equal(count, 0); /* not before the commit */
    assert_int_equal(dp_client_commit(client), 0);
    assert_int_equal(dp_client_dump_all(client, DP_KIND_PORT, (void **)&ports, &count), 0);
    assert_int_equal(count, 1);
    assert_memory_equal(ports, &expected, sizeof(expected));
    free(ports);
    assert_int_equal(dp_client_flush(client, 0, 0), 0);
    assert_int_equal(fixture.flushes, 1);
    assert_int_equal(dp_client_stop(client), 0);
    assert_int_equal(fixture.stops, 1);
    dp_client_close(client);
}

static void test_refused_commit(void **state)
{
    struct dp_client *client = connect_client();
    struct dp_member orphan = make_member(9, 1, 0);
    struct dp_port bad = make_port(2, 1);
    struct dp_segment segment = make_segment(2, 1);
    bad.mtu = 1;
    put_base(client);
    assert_int_equal(dp_client_put(client, DP_KIND_MEMBER, &orphan, NULL, 0), 0);
    assert_int_equal(dp_client_commit(client), -ENOENT);
    assert_string_equal(dp_client_error(client), "member of segment t1/seg1: port 9 does not exist");
    /* an object that is refused: the error comes with a later call, at the latest with the commit */
    put_base(client);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &bad, NULL, 0), 0);
    int error = dp_client_commit(client);
    assert_int_equal(error, -ERANGE);
    assert_string_equal(dp_client_error(client), "port t1/port2: MTU 1, not 68..9216");
    assert_int_equal(dp_client_begin(client), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &bad, NULL, 0), 0);
    while ((error = dp_client_put(client, DP_KIND_SEGMENT, &segment, NULL, 0)) == 0)
        continue;
    assert_int_equal(error, -ERANGE);
    fixture.commit_fails = true;
    put_base(client);
    assert_int_equal(dp_client_commit(client), -EADDRINUSE);
    assert_string_equal(dp_client_error(client), "port t1/port1: no");
    assert_int_equal(dp_client_commit(client), -EINVAL); /* the transaction is over */
    assert_int_equal(dp_client_abort(client), -EINVAL);
    assert_int_equal(fixture.commits, 0);
    dp_client_close(client);
}

static void test_one_transaction(void **state)
{
    struct dp_client *first = connect_client(), *second = connect_client();
    put_base(first);
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
    assert_int_equal(objects_count(fixture.objects, DP_KIND_PORT), 0);
    dp_client_close(second);
}

static void test_ten_thousand_objects(void **state)
{
    struct dp_client *client = connect_client();
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
    assert_int_equal(count, FAKE_ADDRESSES);
    dp_client_close(client);
}

/* Raw connections */

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = TIMEOUT_MS / 1000};
    memcpy(address.sun_path, fixture.path, strlen(fixture.path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_return_code(fd, errno);
    assert_return_code(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), errno);
    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}

static void send_raw(int fd, enum dp_op op, enum dp_kind kind, const void *body, uint32_t declared,
                     uint32_t size, const int *fds, unsigned fd_count)
{
    struct dp_request request = {.op = (uint16_t)op, .kind = (uint16_t)kind, .sequence = 7, .size = declared};
    struct iovec iov[2] = {{&request, sizeof(request)}, {(void *)(uintptr_t)body, size}};
    char control[CMSG_SPACE(sizeof(int) * 64)] = {0};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    if (fd_count) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    assert_return_code(sendmsg(fd, &message, MSG_NOSIGNAL), errno);
}

/* The status of the next reply; 1: the server hung up. */
static int reply_status(int fd)
{
    struct dp_reply reply = {0};
    ssize_t size = recv(fd, &reply, sizeof(reply), 0);
    if (size == 0 || (size < 0 && errno == ECONNRESET))
        return 1;
    assert_int_equal(size, sizeof(reply));
    assert_int_equal(reply.text[0] != 0, reply.status != 0);
    return reply.status;
}

static int raw(int fd, enum dp_op op, enum dp_kind kind, const void *body, uint32_t size)
{
    send_raw(fd, op, kind, body, size, size, NULL, 0);
    return reply_status(fd);
}

static int greeted(void)
{
    struct dp_hello hello = {.version = DP_API_VERSION};
    int fd = connect_raw();
    assert_int_equal(raw(fd, DP_OP_HELLO, DP_KIND_NONE, &hello, sizeof(hello)), 0);
    return fd;
}

static void test_hello_first(void **state)
{
    struct dp_hello hello = {.version = DP_API_VERSION + 1};
    int fd = connect_raw();
    assert_int_equal(raw(fd, DP_OP_BEGIN, DP_KIND_NONE, NULL, 0), -EPROTO);
    assert_int_equal(raw(fd, DP_OP_HELLO, DP_KIND_NONE, &hello, sizeof(hello)), -EPROTO);
    assert_int_equal(raw(fd, DP_OP_STOP, DP_KIND_NONE, NULL, 0), -EPROTO);
    assert_int_equal(fixture.stops, 0);
    close(fd);
}

static void test_wrong_sizes(void **state)
{
    static uint8_t body[4096];
    int fd = greeted();
    struct dp_port port = make_port(1, 1);
    assert_int_equal(raw(fd, DP_OP_BEGIN, DP_KIND_NONE, NULL, 0), 0);
    memcpy(body, &port, sizeof(port));
    for (unsigned kind = 0; kind <= DP_KIND_COUNT; kind++) {
        uint32_t size = (uint32_t)dp_object_size((enum dp_kind)kind);
        int wrong = kind == 0 || kind > DP_KIND_LAST_CONFIGURED ? -EINVAL : -EMSGSIZE;
        assert_int_equal(raw(fd, DP_OP_PUT, (enum dp_kind)kind, body, size + 1), wrong);
        assert_int_equal(raw(fd, DP_OP_PUT, (enum dp_kind)kind, body, size ? size - 1 : 0), wrong);
        assert_int_equal(raw(fd, DP_OP_DEL, (enum dp_kind)kind, body, 4096), wrong);
        send_raw(fd, DP_OP_PUT, (enum dp_kind)kind, body, size, size + 4, NULL,
                 0); /* says one size, has another */
        assert_int_equal(reply_status(fd), wrong);
        send_raw(fd, DP_OP_PUT, (enum dp_kind)kind, body, UINT32_MAX, size, NULL, 0);
        assert_int_equal(reply_status(fd), wrong);
    }
    assert_int_equal(raw(fd, DP_OP_NONE, DP_KIND_NONE, NULL, 0), -EOPNOTSUPP);
    assert_int_equal(raw(fd, DP_OP_COUNT, DP_KIND_NONE, NULL, 0), -EOPNOTSUPP);
    assert_int_equal(raw(fd, DP_OP_BEGIN, DP_KIND_PORT, NULL, 0), -EINVAL);
    assert_int_equal(raw(fd, DP_OP_DUMP, DP_KIND_NONE, NULL, 0), -EINVAL);
    assert_int_equal(raw(fd, DP_OP_DUMP, DP_KIND_COUNT, NULL, 0), -EINVAL);
    assert_int_equal(raw(fd, DP_OP_DUMP, DP_KIND_PORT, body, 4), -EMSGSIZE);
    assert_int_equal(raw(fd, DP_OP_FLUSH, DP_KIND_NONE, body, 4), -EMSGSIZE);
    assert_int_equal(raw(fd, DP_OP_PUT, DP_KIND_PORT, &port, sizeof(port)), 0); /* it is still served */
    /* not even a request */
    assert_int_equal(send(fd, body, 3, 0), 3);
    assert_int_equal(reply_status(fd), 1);
    close(fd);
}

static void test_descriptors(void **state)
{
    struct dp_port tap = make_tap(1, 1, 2);
    int fds[64], fd = greeted();
    for (unsigned i = 0; i < 64; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    unsigned before = descriptor_count();
    /* before BEGIN, with the wrong operation, the wrong count: refused and closed */
    send_raw(fd, DP_OP_PUT, DP_KIND_PORT, &tap, sizeof(tap), sizeof(tap), fds, 2);
    assert_int_equal(reply_status(fd), -EINVAL);
    send_raw(fd, DP_OP_BEGIN, DP_KIND_NONE, NULL, 0, 0, fds, 2);
    assert_int_equal(reply_status(fd), -EINVAL);
    assert_int_equal(raw(fd, DP_OP_BEGIN, DP_KIND_NONE, NULL, 0), 0);
    for (unsigned count = 1; count <= DP_QUEUES_MAX; count++) {
        send_raw(fd, DP_OP_PUT, DP_KIND_PORT, &tap, sizeof(tap), sizeof(tap), fds, count);
        assert_int_equal(reply_status(fd), count == 2 ? 0 : -EINVAL);
        assert_int_equal(descriptor_count(), before + (count >= 2 ? 2 : 0));
    }
    assert_int_equal(raw(fd, DP_OP_ABORT, DP_KIND_NONE, NULL, 0), 0);
    assert_int_equal(descriptor_count(), before);
    /* more than any request takes: disconnected */
    send_raw(fd, DP_OP_PUT, DP_KIND_PORT, &tap, sizeof(tap), sizeof(tap), fds, DP_PORT_FDS_MAX + 1);
    assert_int_equal(reply_status(fd), 1);
    close(fd);
    fd = greeted();
    send_raw(fd, DP_OP_PUT, DP_KIND_PORT, &tap, sizeof(tap), sizeof(tap), fds, 64);
    assert_int_equal(reply_status(fd), 1);
    close(fd);
    /* taken by the commit */
    struct dp_client *client = connect_client();
    assert_int_equal(dp_client_begin(client), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &tap, fds, 2), 0);
    assert_int_equal(dp_client_commit(client), 0);
    assert_int_equal(fixture.fds_taken, 2);
    /* staged, and the connection goes away */
    assert_int_equal(dp_client_begin(client), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &tap, fds, 2), 0);
    dp_client_close(client);
    fd = greeted();
    while (raw(fd, DP_OP_BEGIN, DP_KIND_NONE, NULL, 0) == -EBUSY)
        sched_yield();
    assert_int_equal(descriptor_count(), before); /* one raw connection, as then */
    close(fd);
    for (unsigned i = 0; i < 64; i++)
        close(fds[i]);
}

static void test_clients_bounded(void **state)
{
    struct dp_client *clients[API_CLIENTS_MAX];
    for (unsigned i = 0; i < API_CLIENTS_MAX; i++)
        clients[i] = connect_client();
    assert_null(dp_client_connect(fixture.path, TIMEOUT_MS));
    assert_int_equal(errno, EUSERS);
    dp_client_close(clients[0]);
    do { /* until the server has noticed */
        clients[0] = dp_client_connect(fixture.path, TIMEOUT_MS);
    } while (!clients[0] && errno == EUSERS);
    assert_non_null(clients[0]);
    for (unsigned i = 0; i < API_CLIENTS_MAX; i++)
        dp_client_close(clients[i]);
}

/* The process has no descriptor left: the client is told so, and the server does not spin on it. */
static void test_no_descriptor_left(void **state)
{
    struct rlimit before, tight;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    int lowest = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_return_code(lowest, errno);
    close(lowest);
    tight = (struct rlimit){.rlim_cur = (rlim_t)lowest + 1,
                            .rlim_max = before.rlim_max}; /* our socket, no more */
    assert_return_code(setrlimit(RLIMIT_NOFILE, &tight), errno);
    for (unsigned i = 0; i < 3; i++) {
        int fd = connect_raw();
        assert_int_equal(reply_status(fd), -EMFILE);
        assert_int_equal(reply_status(fd), 1);
        close(fd);
    }
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    dp_client_close(connect_client());
}

/* A client that asks for dumps and never reads holds one reply, delays nobody, and is thrown out after a
 * while. */
static void test_client_that_does_not_read(void **state)
{
    int fd = greeted();
    for (unsigned i = 0; i < 20; i++)
        send_raw(fd, DP_OP_DUMP, DP_KIND_FDB_ENTRY, NULL, 0, 0, NULL, 0);
    struct dp_client *client = connect_client();
    void *entries;
    size_t count;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(dp_client_dump_all(client, DP_KIND_FDB_ENTRY, &entries, &count), 0);
        assert_int_equal(count, FAKE_ADDRESSES);
        free(entries);
    }
    dp_client_close(client);
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};
    assert_int_equal(poll(&poll_fd, 1, TIMEOUT_MS), 1);
    assert_true(poll_fd.revents & (POLLRDHUP | POLLHUP));
    close(fd);
}

static void test_path(void **state)
{
    struct stat status;
    assert_return_code(stat(fixture.path, &status), errno);
    assert_int_equal(status.st_mode & 0777, 0660);
    /* somebody listens: refused. A socket that a dead process left: replaced. */
    assert_null(api_server_new(fixture.base, fixture.path, &fake_ops, NULL));
    assert_int_equal(errno, EADDRINUSE);
    char path[128];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(path, sizeof(path), "%s/stale.sock", fixture.directory);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    close(fd);
    struct event_base *base = event_base_new();
    struct api_server *server = api_server_new(base, path, &fake_ops, NULL);
    assert_non_null(server);
    api_server_free(server);
    event_base_free(base);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_descriptors_at_baseline(void **state)
{
    unsigned before = descriptor_count();
    for (unsigned i = 0; i < 300; i++) {
        struct dp_client *client = dp_client_connect(fixture.path, TIMEOUT_MS);
        if (client && i % 3 == 0)
            put_base(client);
        if (client && i % 3 == 1)
            assert_int_equal(dp_client_dump(client, DP_KIND_FDB_ENTRY), 0);
        dp_client_close(client);
    }
    struct dp_client *client;
    while (!(client = dp_client_connect(fixture.path, TIMEOUT_MS)))
        assert_int_equal(errno, EUSERS);
    for (unsigned i = 0; descriptor_count() != before + 2 && i < 100000; i++)
        sched_yield(); /* the server's ends of the others */
    assert_int_equal(descriptor_count(), before + 2);
    dp_client_close(client);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(test_commit_and_dump),
        test(test_refused_commit),
        test(test_one_transaction),
        test(test_ten_thousand_objects),
        test(test_hello_first),
        test(test_wrong_sizes),
        test(test_descriptors),
        test(test_clients_bounded),
        test(test_no_descriptor_left),
        test(test_client_that_does_not_read),
        test(test_path),
        test(test_descriptors_at_baseline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
