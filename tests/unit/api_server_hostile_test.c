/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients of the programming socket that do not keep to the rules, and more of them than there is room for.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "api_server_fixture.h"

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

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = API_FIXTURE_TIMEOUT_MS / 1000};
    memcpy(address.sun_path, api_fixture.path, strlen(api_fixture.path));
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
    assert_int_equal(api_fixture.stops, 0);
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
    struct dp_client *client = api_fixture_connect();
    assert_int_equal(dp_client_begin(client), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &tap, fds, 2), 0);
    assert_int_equal(dp_client_commit(client), 0);
    assert_int_equal(api_fixture.fds_taken, 2);
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
        clients[i] = api_fixture_connect();
    assert_null(dp_client_connect(api_fixture.path, API_FIXTURE_TIMEOUT_MS));
    assert_int_equal(errno, EUSERS);
    dp_client_close(clients[0]);
    do { /* until the server has noticed */
        clients[0] = dp_client_connect(api_fixture.path, API_FIXTURE_TIMEOUT_MS);
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
    dp_client_close(api_fixture_connect());
}

/* A client that asks for dumps and never reads holds one reply, delays nobody, and is thrown out after a
 * while. */
static void test_client_that_does_not_read(void **state)
{
    int fd = greeted();
    for (unsigned i = 0; i < 20; i++)
        send_raw(fd, DP_OP_DUMP, DP_KIND_FDB_ENTRY, NULL, 0, 0, NULL, 0);
    struct dp_client *client = api_fixture_connect();
    void *entries;
    size_t count;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(dp_client_dump_all(client, DP_KIND_FDB_ENTRY, &entries, &count), 0);
        assert_int_equal(count, API_FIXTURE_ADDRESSES);
        free(entries);
    }
    dp_client_close(client);
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};
    assert_int_equal(poll(&poll_fd, 1, API_FIXTURE_TIMEOUT_MS), 1);
    assert_true(poll_fd.revents & (POLLRDHUP | POLLHUP));
    close(fd);
}

static void test_descriptors_at_baseline(void **state)
{
    unsigned before = descriptor_count();
    for (unsigned i = 0; i < 300; i++) {
        struct dp_client *client = dp_client_connect(api_fixture.path, API_FIXTURE_TIMEOUT_MS);
        if (client && i % 3 == 0)
            api_fixture_put_base(client);
        if (client && i % 3 == 1)
            assert_int_equal(dp_client_dump(client, DP_KIND_FDB_ENTRY), 0);
        dp_client_close(client);
    }
    struct dp_client *client;
    while (!(client = dp_client_connect(api_fixture.path, API_FIXTURE_TIMEOUT_MS)))
        assert_int_equal(errno, EUSERS);
    for (unsigned i = 0; descriptor_count() != before + 2 && i < 100000; i++)
        sched_yield(); /* the server's ends of the others */
    assert_int_equal(descriptor_count(), before + 2);
    dp_client_close(client);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, api_fixture_setup, api_fixture_teardown)
    const struct CMUnitTest tests[] = {
        test(test_hello_first),
        test(test_wrong_sizes),
        test(test_descriptors),
        test(test_clients_bounded),
        test(test_no_descriptor_left),
        test(test_client_that_does_not_read),
        test(test_descriptors_at_baseline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
