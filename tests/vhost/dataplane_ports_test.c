/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kinds and settings of ports on a weft-dataplane process with its sandbox on: a tap in a network namespace
 * of the test's own, DPDK devices, sockets for a group, dialling, several queues on several workers, guests
 * that come and go.
 *
 * The program's path is the first argument. What needs root is skipped without.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "switch_process.h"

#define FRAME_SIZE   64u
#define SOCKET_GROUP 54321u
#define ETHERTYPE    0x88b5u /* IEEE 802 local experimental */

static const char *program;
static struct switch_process sw;
static char all_cores[64];

static void make_frame(uint8_t frame[FRAME_SIZE], uint8_t from)
{
    const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,           2,
                            0,    0,    0,    0,    from, ETHERTYPE >> 8, ETHERTYPE & 0xff};
    memset(frame, from, FRAME_SIZE);
    memcpy(frame, head, sizeof(head));
}

static void send_frame(struct driver_device *guest, unsigned pair, uint8_t from)
{
    uint8_t frame[FRAME_SIZE];
    const struct virtio_net_header header = {0};
    struct driver_queue *queue = driver_tx_queue(guest, pair);
    make_frame(frame, from);
    assert_int_equal(driver_transmit(queue, &header, frame, sizeof(frame)), 0);
    driver_kick(queue);
}

/* Waits for a frame from `from` on one of the guest's queues. */
static void expect(struct driver_device *guest, unsigned pairs, uint8_t from)
{
    uint8_t frame[2048], expected[FRAME_SIZE];
    struct virtio_net_header header;
    time_t end = time(NULL) + SWITCH_TIMEOUT_MS / 1000;
    make_frame(expected, from);
    for (unsigned pair = 0;; pair = (pair + 1) % pairs) {
        int size = driver_receive(driver_rx_queue(guest, pair), &header, frame, sizeof(frame));
        if (size == FRAME_SIZE && memcmp(frame, expected, FRAME_SIZE) == 0)
            return; /* a tap's kernel says other things too */
        assert_true(time(NULL) < end);
    }
}

static void begin(const char *const *arguments)
{
    memset(&sw, 0, sizeof(sw));
    sw.arguments = arguments;
    switch_start(&sw, program, false);
    assert_int_equal(dp_client_begin(sw.client), 0);
    switch_put_segment(&sw, 1, 1);
}

static void commit(void)
{
    if (dp_client_commit(sw.client) != 0)
        fail_msg("%s", dp_client_error(sw.client));
}

static void finish(const char *expected)
{
    assert_int_equal(switch_end(&sw, 0), 0);
    switch_remove(&sw, expected);
}

/* Port `id` of another kind than switch_put_port's, in segment 1. */
static int put_port(uint32_t id, enum dp_port_type type, const char *device, uint32_t queues, uint32_t flags,
                    const int *fds, unsigned fd_count)
{
    struct dp_port port = {
        .id = id, .tenant = 1, .type = type, .flags = flags, .queues = queues, .mtu = 1500};
    struct dp_member member = {.port = id, .segment = 1};
    port.socket_group = UINT32_MAX;
    snprintf(port.name, sizeof(port.name), "t1/p%u", id);
    snprintf(port.device, sizeof(port.device), "%s", device);
    int error = dp_client_put(sw.client, DP_KIND_PORT, &port, fds, fd_count);
    return error ? error : dp_client_put(sw.client, DP_KIND_MEMBER, &member, NULL, 0);
}

static int open_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (fd >= 0 && ioctl(fd, TUNSETIFF, &request) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Interface up, and a packet socket on it. */
static int packet_socket(const char *name)
{
    struct ifreq request = {0};
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETHERTYPE));
    assert_return_code(fd, errno);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    assert_return_code(ioctl(fd, SIOCGIFFLAGS, &request), errno);
    request.ifr_flags |= IFF_UP;
    assert_return_code(ioctl(fd, SIOCSIFFLAGS, &request), errno);
    assert_return_code(ioctl(fd, SIOCGIFINDEX, &request), errno);
    address.sll_ifindex = request.ifr_ifindex;
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}

static void test_tap(void **state)
{
    uint8_t frame[2048], expected[FRAME_SIZE];
    if (unshare(CLONE_NEWNET) < 0)
        skip(); /* needs root */
    int tap = open_tap("weft0");
    if (tap < 0)
        skip(); /* no /dev/net/tun */
    int packets = packet_socket("weft0");
    begin(NULL);
    unsigned descriptors = switch_descriptors(&sw);
    switch_put_port(&sw, 1, 1, 1, 1500);
    assert_int_equal(put_port(2, DP_PORT_TAP, "weft0", 1, 0, &packets, 1), 0); /* no tap's descriptor */
    assert_int_equal(dp_client_commit(sw.client), -EINVAL);
    assert_non_null(strstr(dp_client_error(sw.client), "weft0"));
    assert_int_equal(switch_descriptors(&sw), descriptors);
    assert_int_equal(dp_client_begin(sw.client), 0);
    switch_put_segment(&sw, 1, 1);
    switch_put_port(&sw, 1, 1, 1, 1500);
    assert_int_equal(put_port(2, DP_PORT_TAP, "weft0", 1, 0, &tap, 1), 0);
    commit();
    close(tap);
    struct driver_device *guest = switch_guest(&sw, 1);
    wait_until(switch_port_state(&sw, 1).link == 1 && switch_port_state(&sw, 2).link == 1);
    send_frame(guest, 0, 1);
    struct pollfd poll_fd = {.fd = packets, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, SWITCH_TIMEOUT_MS), 1);
    make_frame(expected, 1);
    assert_int_equal(recv(packets, frame, sizeof(frame), 0), FRAME_SIZE);
    assert_memory_equal(frame, expected, FRAME_SIZE);
    make_frame(frame, 2);
    assert_int_equal(send(packets, frame, FRAME_SIZE, 0), FRAME_SIZE);
    expect(guest, 1, 2);
    driver_close(guest);
    close(packets);
    finish(NULL);
}

static void test_ethdev(void **state)
{
    static const char *const arguments[] = {"--allow-ethdev", NULL};
    begin(arguments);
    switch_put_port(&sw, 1, 1, 1, 1500);
    assert_int_equal(put_port(2, DP_PORT_ETHDEV, "net_null0", 1, 0, NULL, 0), 0);
    commit();
    struct driver_device *guest = switch_guest(&sw, 1);
    wait_until(switch_port_state(&sw, 1).link == 1);
    send_frame(guest, 0, 1);
    wait_until(switch_counters(&sw, 2).tx_packets >= 1);
    driver_close(guest);
    /* no such NIC: no hugepages, no VFIO or no device, whichever is missing first; the rest stays */
    assert_int_equal(dp_client_begin(sw.client), 0);
    assert_int_equal(put_port(3, DP_PORT_ETHDEV, "0000:ff:1f.7", 1, 0, NULL, 0), 0);
    assert_true(dp_client_commit(sw.client) < 0);
    assert_non_null(strstr(dp_client_error(sw.client), "0000:ff:1f.7"));
    assert_int_equal(switch_port_state(&sw, 2).link, 1);
    finish("dpdk: EAL");
    /* not without the option */
    begin(NULL);
    assert_int_equal(put_port(2, DP_PORT_ETHDEV, "net_null0", 1, 0, NULL, 0), 0);
    assert_int_equal(dp_client_commit(sw.client), -EOPNOTSUPP);
    assert_non_null(strstr(dp_client_error(sw.client), "--allow-ethdev"));
    finish(NULL);
}

/* An interface of the host as an uplink: the test holds the other end, a tap. */
static void test_af_packet(void **state)
{
    static const char *const arguments[] = {"--allow-ethdev", NULL};
    uint8_t frame[2048], expected[FRAME_SIZE], out[VIRTIO_NET_HEADER_SIZE + FRAME_SIZE] = {0};
    if (unshare(CLONE_NEWNET) < 0)
        skip(); /* needs root */
    int tap = open_tap("weft2");
    if (tap < 0)
        skip(); /* no /dev/net/tun */
    int header_size = VIRTIO_NET_HEADER_SIZE;
    assert_return_code(ioctl(tap, TUNSETVNETHDRSZ, &header_size), errno);
    int packets = packet_socket("weft2");
    begin(arguments);
    switch_put_port(&sw, 1, 1, 1, 1500);
    assert_int_equal(put_port(2, DP_PORT_ETHDEV, "net_af_packet0,iface=weft2", 1, 0, NULL, 0), 0);
    commit();
    struct driver_device *guest = switch_guest(&sw, 1);
    wait_until(switch_port_state(&sw, 1).link == 1 && switch_port_state(&sw, 2).link == 1);
    send_frame(guest, 0, 1);
    make_frame(expected, 1);
    do { /* the kernel says other things too */
        struct pollfd poll_fd = {.fd = tap, .events = POLLIN};
        assert_int_equal(poll(&poll_fd, 1, SWITCH_TIMEOUT_MS), 1);
        assert_return_code(read(tap, frame, sizeof(frame)), errno);
    } while (memcmp(frame + VIRTIO_NET_HEADER_SIZE, expected, FRAME_SIZE) != 0);
    make_frame(out + VIRTIO_NET_HEADER_SIZE, 2);
    assert_int_equal(write(tap, out, sizeof(out)), sizeof(out));
    expect(guest, 1, 2);
    driver_close(guest);
    finish(NULL);
    close(packets);
    close(tap);
}

static void test_socket_group(void **state)
{
    static const char *const arguments[] = {"--socket-group", "54321", NULL};
    struct stat status;
    char path[108];
    if (geteuid() != 0)
        skip();
    begin(arguments);
    switch_put_port(&sw, 1, 1, 1, 1500);
    commit();
    switch_port_path(&sw, 1, path);
    assert_return_code(stat(path, &status), errno);
    assert_int_equal(status.st_gid, SOCKET_GROUP);
    assert_int_equal(status.st_mode & 0777, 0660);
    finish(NULL);
}

/* The guest's VMM listens, the switch dials. */
static void test_client_mode(void **state)
{
    char path[108];
    begin(NULL);
    switch_port_path(&sw, 1, path);
    assert_int_equal(put_port(1, DP_PORT_VHOST_USER, path, 1, DP_PORT_F_CLIENT, NULL, 0), 0);
    switch_put_port(&sw, 2, 1, 1, 1500);
    commit();
    const struct driver_config config = {.path = path,
                                         .listen = true,
                                         .queue_pairs = 1,
                                         .ring_size = 256,
                                         .buffer_size = 2048,
                                         .features = UINT64_C(1) << 32,
                                         .timeout_ms = SWITCH_TIMEOUT_MS};
    struct driver_device *first = driver_open(&config), *second = switch_guest(&sw, 2);
    assert_non_null(first);
    wait_until(switch_port_state(&sw, 1).link == 1 && switch_port_state(&sw, 2).link == 1);
    send_frame(first, 0, 1);
    expect(second, 1, 1);
    send_frame(second, 0, 2);
    expect(first, 1, 2);
    driver_close(first);
    driver_close(second);
    finish(NULL);
}

static struct driver_device *wide_guest(uint32_t port)
{
    char path[108];
    switch_port_path(&sw, port, path);
    const struct driver_config config = {.path = path,
                                         .queue_pairs = 4,
                                         .ring_size = 256,
                                         .buffer_size = 2048,
                                         .features = UINT64_C(1) << 32 | UINT64_C(1) << VIRTIO_NET_F_MQ,
                                         .timeout_ms = SWITCH_TIMEOUT_MS};
    struct driver_device *device = driver_open(&config);
    assert_non_null(device);
    return device;
}

/* Four queue pairs a guest, on every core that there is. */
static void test_queues_and_workers(void **state)
{
    const char *const arguments[] = {"--cores", all_cores, NULL};
    struct dp_queue_state *queues;
    struct dp_worker_state *workers;
    char path[108];
    size_t count, worker_count;
    begin(arguments);
    for (uint32_t id = 1; id <= 2; id++) {
        switch_port_path(&sw, id, path);
        assert_int_equal(put_port(id, DP_PORT_VHOST_USER, path, 4, 0, NULL, 0), 0);
    }
    commit();
    struct driver_device *first = wide_guest(1), *second = wide_guest(2);
    wait_until(switch_port_state(&sw, 1).queues_enabled == 4 &&
               switch_port_state(&sw, 2).queues_enabled == 4);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned pair = 0; pair < 4; pair++) {
            send_frame(first, pair, (uint8_t)(1 + pair));
            expect(second, 4, (uint8_t)(1 + pair));
            send_frame(second, pair, (uint8_t)(101 + pair));
            expect(first, 4, (uint8_t)(101 + pair));
        }
    }
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_WORKER_STATE, (void **)&workers, &worker_count),
                     0);
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_QUEUE_STATE, (void **)&queues, &count), 0);
    assert_int_equal(count, 8);
    for (size_t i = 0; i < count; i++) {
        assert_in_range(queues[i].worker, 0, worker_count - 1);
        wait_until(switch_counters(&sw, queues[i].port).rx_packets == 400);
        assert_int_equal(queues[i].rx_packets, 100);
    }
    for (size_t i = 0; i < worker_count; i++)
        assert_in_range(workers[i].queues, 8 / worker_count, 8 / worker_count + 1);
    free(queues);
    free(workers);
    driver_close(first);
    driver_close(second);
    finish(NULL);
}

/* Guests come and go: descriptors and mappings are those from before. */
static void test_guests_come_and_go(void **state)
{
    begin(NULL);
    switch_put_port(&sw, 1, 1, 1, 1500);
    switch_put_port(&sw, 2, 1, 1, 1500);
    commit();
    struct driver_device *witness = switch_guest(&sw, 2);
    wait_until(switch_port_state(&sw, 2).link == 1);
    unsigned descriptors = switch_descriptors(&sw), mappings = switch_mappings(&sw);
    for (unsigned i = 0; i < 300; i++) {
        struct driver_device *guest = switch_guest(&sw, 1);
        send_frame(guest, 0, 1);
        expect(witness, 1, 1);
        driver_close(guest);
    }
    wait_until(switch_port_state(&sw, 1).link == 0);
    assert_int_equal(switch_port_state(&sw, 1).connects, 300);
    assert_int_equal(switch_port_state(&sw, 1).mappings, 0);
    assert_int_equal(switch_descriptors(&sw), descriptors);
    assert_int_equal(switch_mappings(&sw), mappings);
    driver_close(witness);
    finish(NULL);
}

int main(int argc, char **argv)
{
    cpu_set_t allowed;
    if (argc != 2 || sched_getaffinity(0, sizeof(allowed), &allowed) < 0) {
        fprintf(stderr, "usage: %s WEFT-DATAPLANE\n", argv[0]);
        return 2;
    }
    program = argv[1];
    size_t length = 0;
    for (int cpu = 0, count = 0; cpu < CPU_SETSIZE && count < 4; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            length += (size_t)snprintf(all_cores + length, sizeof(all_cores) - length, "%s%d",
                                       count++ ? "," : "", cpu);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tap),
        cmocka_unit_test(test_ethdev),
        cmocka_unit_test(test_af_packet),
        cmocka_unit_test(test_socket_group),
        cmocka_unit_test(test_client_mode),
        cmocka_unit_test(test_queues_and_workers),
        cmocka_unit_test(test_guests_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
