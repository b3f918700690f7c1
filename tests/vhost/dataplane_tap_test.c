/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's TCP through a weft-dataplane process with its sandbox on, tap to tap of one segment. A third
 * tap in another segment hears nothing of it.
 *
 *   namespace 0                                      namespace 1
 *   client -- weft0 == port 1 == segment 1 == port 2 == weft1 -- server
 *                                segment 2 == port 3 == weft2
 *
 * The program's path is the first argument.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "kernel_tap.h"
#include "switch_process.h"

#define STREAM_SIZE (32u << 20) /* bytes */
#define PING_ROUNDS 1000u

static const char *program;
static struct switch_process sw;
static int namespaces[2];

static int open_up(const char *name, int namespace)
{
    assert_int_equal(setns(namespace, CLONE_NEWNET), 0);
    int fd = kernel_open_tap(name, KERNEL_TAP_FLAGS);
    kernel_set_up(name, true);
    return fd;
}

static void put_tap(uint32_t id, const char *device, uint32_t segment, int fd)
{
    struct dp_port port = {.id = id, .tenant = 1, .type = DP_PORT_TAP, .queues = 1, .mtu = 1500};
    struct dp_member member = {.port = id, .segment = segment};
    port.socket_group = UINT32_MAX;
    snprintf(port.name, sizeof(port.name), "t1/p%u", id);
    snprintf(port.device, sizeof(port.device), "%s", device);
    assert_int_equal(dp_client_put(sw.client, DP_KIND_PORT, &port, &fd, 1), 0);
    assert_int_equal(dp_client_put(sw.client, DP_KIND_MEMBER, &member, NULL, 0), 0);
    close(fd);
}

static void connect_taps(void)
{
    for (int i = 0; i < 2; i++)
        namespaces[i] = kernel_namespace();
    int fds[3] = {open_up("weft0", namespaces[0]), open_up("weft1", namespaces[1]),
                  open_up("weft2", namespaces[1])};
    kernel_set_addresses("weft1", 1);
    assert_int_equal(setns(namespaces[0], CLONE_NEWNET), 0);
    kernel_set_addresses("weft0", 0);

    switch_start(&sw, program, false);
    assert_int_equal(dp_client_begin(sw.client), 0);
    switch_put_segment(&sw, 1, 1);
    switch_put_segment(&sw, 2, 1);
    put_tap(1, "weft0", 1, fds[0]);
    put_tap(2, "weft1", 1, fds[1]);
    put_tap(3, "weft2", 2, fds[2]);
    if (dp_client_commit(sw.client) != 0)
        fail_msg("%s", dp_client_error(sw.client));
    for (uint32_t id = 1; id <= 3; id++)
        wait_until(switch_port_state(&sw, id).link == 1);
}

static void transfer(int family, uint32_t size, uint32_t chunk, bool ping)
{
    struct kernel_tcp tcp;
    kernel_tcp_start(&tcp, namespaces, family, size, chunk, ping);
    kernel_tcp_finish(&tcp);
}

static void check_counters(void)
{
    struct dp_port_counters ports[4];
    for (uint32_t id = 1; id <= 3; id++) {
        wait_until(switch_balanced(&sw, id));
        ports[id] = switch_counters(&sw, id);
        assert_int_equal(ports[id].tx_segments, 0);
    }
    print_message("port 2 was sent %llu frames of %llu bytes each\n", (unsigned long long)ports[2].tx_packets,
                  (unsigned long long)(ports[2].tx_bytes / ports[2].tx_packets));
    assert_true(ports[2].tx_bytes >= 2 * STREAM_SIZE);
    assert_int_equal(ports[3].tx_offered, 0); /* the other segment */
    assert_int_equal(kernel_tcp_checksum_errors(namespaces[0]), 0);
    assert_int_equal(kernel_tcp_checksum_errors(namespaces[1]), 0);
}

static void test_tcp(void **state)
{
    connect_taps();
    transfer(AF_INET, STREAM_SIZE, 1 << 18, false);
    transfer(AF_INET6, STREAM_SIZE, 1 << 18, false);
    check_counters();
    struct dp_port_counters before = switch_counters(&sw, 2);
    transfer(AF_INET, PING_ROUNDS * 64, 64, true); /* sleeping and woken each time */
    wait_until(switch_counters(&sw, 2).tx_packets >= before.tx_packets + PING_ROUNDS);
    switch_end(&sw, 0);
    switch_remove(&sw, NULL);
    close(namespaces[0]);
    close(namespaces[1]);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s WEFT-DATAPLANE\n", argv[0]);
        return 2;
    }
    if (access("/dev/net/tun", R_OK | W_OK) != 0 || unshare(CLONE_NEWNET) != 0) {
        fprintf(stderr, "needs /dev/net/tun and the right to make network namespaces: %s\n", strerror(errno));
        return 77;
    }
    program = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tcp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
