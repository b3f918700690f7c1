/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages and their descriptors over a socket pair. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "proto.h"

struct pair {
    int ends[2];
    struct vhost_receiver receiver;
    const char *violation;
    int lowest; /* free descriptor before the test: what is open afterwards leaked */
};

static int lowest_free(void)
{
    int fd = dup(STDERR_FILENO);
    close(fd);
    return fd;
}

static int setup(void **state)
{
    static struct pair pair;
    pair.lowest = lowest_free();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair.ends), 0);
    vhost_receiver_init(&pair.receiver);
    pair.violation = NULL;
    *state = &pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    vhost_receiver_reset(&pair->receiver);
    close(pair->ends[0]);
    close(pair->ends[1]);
    assert_int_equal(lowest_free(), pair->lowest);
    return 0;
}

static int receive(struct pair *pair)
{
    return vhost_receive(&pair->receiver, pair->ends[1], &pair->violation);
}

static struct vhost_message u64_message(uint32_t request, uint64_t value)
{
    struct vhost_message message = {
        .request = request, .flags = VHOST_FLAG_VERSION, .size = sizeof(value), .payload.u64 = value};
    return message;
}

static void test_round_trip(void **state)
{
    struct pair *pair = *state;
    struct vhost_message message = u64_message(VHOST_SET_FEATURES, 0x123456789abcdef0);
    assert_int_equal(receive(pair), 0);
    assert_int_equal(vhost_send(pair->ends[0], &message, NULL, 0), 0);
    assert_int_equal(receive(pair), 1);
    assert_int_equal(pair->receiver.message.request, VHOST_SET_FEATURES);
    assert_int_equal(pair->receiver.message.payload.u64, 0x123456789abcdef0);
    assert_int_equal(pair->receiver.fd_count, 0);
}

static void test_descriptors_stay_with_their_message(void **state)
{
    struct pair *pair = *state;
    struct vhost_message message = u64_message(VHOST_SET_VRING_CALL, 1);
    int fds[8];
    for (unsigned i = 0; i < 8; i++)
        fds[i] = STDERR_FILENO;
    assert_int_equal(vhost_send(pair->ends[0], &message, fds, 3), 0);
    assert_int_equal(vhost_send(pair->ends[0], &message, NULL, 0), 0);
    assert_int_equal(vhost_send(pair->ends[0], &message, fds, 8), 0);
    static const unsigned counts[] = {3, 0, 8};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(receive(pair), 1);
        assert_int_equal(pair->receiver.fd_count, counts[i]);
        for (unsigned j = 0; j < counts[i]; j++)
            assert_int_equal(fcntl(pair->receiver.fds[j], F_GETFD), FD_CLOEXEC);
        vhost_receiver_reset(&pair->receiver);
    }
    assert_int_equal(receive(pair), 0);
}

static void test_taken_descriptor_survives_reset(void **state)
{
    struct pair *pair = *state;
    struct vhost_message message = u64_message(VHOST_SET_VRING_CALL, 1);
    int fd = STDERR_FILENO;
    assert_int_equal(vhost_send(pair->ends[0], &message, &fd, 1), 0);
    assert_int_equal(receive(pair), 1);
    fd = vhost_receiver_take_fd(&pair->receiver, 0);
    vhost_receiver_reset(&pair->receiver);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    close(fd);
}

static void test_byte_by_byte(void **state)
{
    struct pair *pair = *state;
    struct vhost_message message = u64_message(VHOST_GET_QUEUE_NUM, 7);
    for (unsigned i = 0; i < VHOST_HEADER_SIZE + 8; i++) {
        assert_int_equal(receive(pair), 0);
        assert_int_equal(write(pair->ends[0], (uint8_t *)&message + i, 1), 1);
    }
    assert_int_equal(receive(pair), 1);
    assert_int_equal(pair->receiver.message.payload.u64, 7);
}

static void test_bad_headers(void **state)
{
    struct pair *pair = *state;
    static const uint32_t headers[][3] = {
        {1, 0, 0}, {1, 2, 0}, {1, 1, VHOST_PAYLOAD_SIZE_MAX + 1}, {1, 1, UINT32_MAX}};
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(write(pair->ends[0], headers[i], sizeof(headers[i])), sizeof(headers[i]));
        assert_int_equal(receive(pair), -EPROTO);
        assert_non_null(pair->violation);
        vhost_receiver_reset(&pair->receiver);
    }
}

static void test_too_many_descriptors(void **state)
{
    struct pair *pair = *state;
    struct vhost_message message = u64_message(VHOST_SET_MEM_TABLE, 0);
    union {
        char bytes[CMSG_SPACE(20 * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = &message, .iov_len = VHOST_HEADER_SIZE + 8};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    *rights = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(20 * sizeof(int))};
    int fd = STDERR_FILENO;
    for (unsigned i = 0; i < 20; i++)
        memcpy(CMSG_DATA(rights) + i * sizeof(fd), &fd, sizeof(fd));
    assert_int_equal(sendmsg(pair->ends[0], &header, 0), VHOST_HEADER_SIZE + 8);
    assert_int_equal(receive(pair), -EPROTO);
}

static void test_end(void **state)
{
    struct pair *pair = *state;
    struct vhost_message message = u64_message(VHOST_SET_FEATURES, 1);
    int fd = STDERR_FILENO;
    assert_int_equal(vhost_send(pair->ends[0], &message, &fd, 1), 0);
    shutdown(pair->ends[0], SHUT_WR);
    assert_int_equal(receive(pair), 1);
    vhost_receiver_reset(&pair->receiver);
    assert_int_equal(receive(pair), -ECONNRESET);
}

static void test_send_limits(void **state)
{
    struct pair *pair = *state;
    struct vhost_message message = u64_message(VHOST_SET_FEATURES, 1);
    int fds[9] = {2, 2, 2, 2, 2, 2, 2, 2, 2};
    assert_int_equal(vhost_send(pair->ends[0], &message, fds, 9), -EINVAL);
    int result = 0;
    for (unsigned i = 0; i < 1000000 && result == 0; i++)
        result = vhost_send(pair->ends[0], &message, NULL, 0);
    assert_true(result == -EAGAIN || result == -EPIPE);
    close(pair->ends[1]);
    assert_int_equal(vhost_send(pair->ends[0], &message, NULL, 0), -EPIPE);
    pair->ends[1] = dup(STDERR_FILENO);
}

static void test_names(void **state)
{
    struct sockaddr_un address;
    char path[200];
    assert_string_equal(vhost_request_name(VHOST_SET_VRING_NUM), "SET_VRING_NUM");
    assert_string_equal(vhost_request_name(0), "request");
    assert_string_equal(vhost_request_name(26), "request");
    assert_string_equal(vhost_request_name(UINT32_MAX), "request");
    memset(path, 'a', sizeof(path));
    path[sizeof(address.sun_path)] = 0;
    assert_int_equal(vhost_socket_address(&address, path), -ENAMETOOLONG);
    path[sizeof(address.sun_path) - 1] = 0;
    assert_int_equal(vhost_socket_address(&address, path), 0);
    assert_string_equal(address.sun_path, path);
    assert_int_equal(vhost_socket_address(&address, ""), -EINVAL);
}

static void test_eventfd(void **state)
{
    struct pair *pair = *state;
    int event = eventfd(0, 0), null = open("/dev/null", O_RDWR);
    assert_true(vhost_is_eventfd(event));
    assert_false(vhost_is_eventfd(null));
    assert_false(vhost_is_eventfd(pair->ends[0]));
    assert_false(vhost_is_eventfd(-1));
    close(event);
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors_stay_with_their_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken_descriptor_survives_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_send_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eventfd, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
