/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tap ports against the kernel: two namespaces, a tap in each, the kernel's TCP on both ends and this program
 * as the switch between them, which sleeps whenever both taps are empty (so a lost wake-up hangs the
 * transfer).
 *
 *   namespace 0                                                      namespace 1
 *   client -- tap "weft0" == port_tap_ops == [validate, segment] == port_tap_ops == tap "weft1" -- server
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "counters.h"
#include "frame.h"
#include "kernel_tap.h"
#include "port.h"

#define STREAM_SIZE (24u << 20) /* bytes */
#define PING_ROUNDS 2000u

static int namespaces[2];
static struct port *ports[2];
static struct worker_io io;
static struct packet_vector *vector;
static struct segmenter *segmenter;

/* what crossed */
static uint32_t largest_frame; /* bytes received from a tap */
static uint32_t largest_sent;  /* bytes written to a tap */
static uint64_t no_room;

static struct port *new_port(const char *device)
{
    struct dp_port config = {.id = 1, .type = DP_PORT_TAP, .queues = 1, .mtu = 1500};
    snprintf(config.device, sizeof(config.device), "%s", device);
    return port_new(&config, &port_tap_ops, 1);
}

static int group_setup(void **state)
{
    for (int i = 0; i < 2; i++) {
        char name[IFNAMSIZ], text[112] = "";
        namespaces[i] = kernel_namespace();
        snprintf(name, sizeof(name), "weft%d", i);
        int fd = kernel_open_tap(name, KERNEL_TAP_FLAGS);
        kernel_set_up(name, true);
        kernel_set_addresses(name, i);
        ports[i] = new_port(name);
        assert_int_equal(ports[i]->ops->open(ports[i], &fd, 1, text), 0);
        assert_string_equal(text, "");
        assert_true(ports[i]->link);
    }
    vector = aligned_alloc(64, sizeof(*vector));
    packet_vector_init(vector);
    segmenter = segmenter_new();
    return 0;
}

static int group_teardown(void **state)
{
    for (int i = 0; i < 2; i++) {
        ports[i]->ops->close(ports[i]);
        port_free(ports[i]);
        close(namespaces[i]);
    }
    free(vector);
    segmenter_free(segmenter);
    return 0;
}

static void transmit(struct port *port, struct packet *const *packets, unsigned count)
{
    struct vring_tx_result result;
    for (unsigned i = 0; i < count; i++)
        largest_sent = packets[i]->size > largest_sent ? packets[i]->size : largest_sent;
    port->ops->tx(port, 0, packets, count, &io, &result);
    assert_int_equal(result.sent + result.no_room + result.too_big, count);
    assert_int_equal(result.too_big, 0);
    no_room += result.no_room;
}

static void output(struct port *port, struct packet *packet, uint32_t offloads)
{
    struct packet *pieces[PACKET_VECTOR_MAX];
    unsigned count;
    if (offload_fits(packet, offloads)) {
        transmit(port, &packet, 1);
    } else if (packet->gso_type != VNET_GSO_NONE) {
        segmenter_start(segmenter, packet, offloads);
        while ((count = segmenter_next(segmenter, pieces, PACKET_VECTOR_MAX)) > 0)
            transmit(port, pieces, count);
    } else {
        assert_true(checksum_complete(packet));
        transmit(port, &packet, 1);
    }
}

static unsigned forward(struct port *from, struct port *to, uint32_t offloads)
{
    unsigned count = from->ops->rx(from, 0, vector, &io);
    for (unsigned i = 0; i < count; i++) {
        struct packet *packet = &vector->packets[i];
        struct frame_info info;
        largest_frame = packet->size > largest_frame ? packet->size : largest_frame;
        assert_true(parse_l2(packet, &info));
        if (packet->flags | packet->gso_type)
            assert_true(offload_validate(packet, &info));
        output(to, packet, offloads);
    }
    from->ops->rx_done(from, 0, &io);
    return count;
}

/* Forwards, sleeping as a worker does, until everyone has closed the other end of the pipe. */
static void forward_until_closed(int pipe_fd, uint32_t offloads)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bool closed = false;
    char byte;
    for (int i = 0; i < 2; i++)
        assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ports[i]->wake_fds[0], &event), 0);
    event.data.fd = pipe_fd;
    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_fd, &event), 0);
    while (!closed) {
        if (forward(ports[0], ports[1], offloads) + forward(ports[1], ports[0], offloads) > 0)
            continue;
        bool work = ports[0]->ops->arm(ports[0], 0) || ports[1]->ops->arm(ports[1], 0);
        if (!work) {
            struct epoll_event got[4];
            assert_true(epoll_wait(epoll_fd, got, 4, -1) > 0);
            closed = read(pipe_fd, &byte, 1) == 0;
        }
        ports[0]->ops->disarm(ports[0], 0);
        ports[1]->ops->disarm(ports[1], 0);
    }
    close(epoll_fd);
}

static void transfer(int family, uint32_t size, uint32_t chunk, bool ping, uint32_t offloads)
{
    struct kernel_tcp tcp;
    largest_frame = 0;
    largest_sent = 0;
    no_room = 0;
    kernel_tcp_start(&tcp, namespaces, family, size, chunk, ping);
    forward_until_closed(tcp.closed_fd, offloads);
    kernel_tcp_finish(&tcp);
    print_message("largest frame in %u bytes, out %u, no room %llu\n", largest_frame, largest_sent,
                  (unsigned long long)no_room);
    assert_int_equal(kernel_tcp_checksum_errors(namespaces[0]), 0);
    assert_int_equal(kernel_tcp_checksum_errors(namespaces[1]), 0);
}

/* TSO frames of nearly 64 KiB cross as they are. */
static void test_whole(void **state)
{
    uint32_t all = ports[0]->offloads;
    assert_int_equal(all, OFFLOAD_CSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_ECN);
    for (int i = 0; i < 2; i++) {
        transfer(i ? AF_INET6 : AF_INET, STREAM_SIZE, 1 << 18, false, all);
        assert_true(largest_frame > 60000);
        assert_int_equal(largest_sent, largest_frame);
    }
}

/* The kernel takes our segments, with checksums done and as requests; none is larger than the MTU allows. */
static void test_segmented(void **state)
{
    for (int i = 0; i < 4; i++) {
        transfer(i & 1 ? AF_INET6 : AF_INET, STREAM_SIZE / 2, 1 << 18, false, i & 2 ? OFFLOAD_CSUM : 0);
        assert_true(largest_frame > 60000);
        assert_true(largest_sent <= 1514);
    }
}

/* Both taps are asleep before each request and each answer. */
static void test_ping(void **state)
{
    transfer(AF_INET, PING_ROUNDS * 64, 64, true, ports[0]->offloads);
}

/* A frame of 256 pieces is one write; one more is refused. */
static void test_spans(void **state)
{
    static struct flat flat;
    put_ethernet(&flat, "\x33\x33\0\0\0\1", "\x02\0\0\0\0\x09", 0x88b5);
    put_payload(&flat, 1400);
    struct cut *cut = cut_frame(flat.bytes, flat.size, 14, 5);
    struct packet *packet = &cut->packet;
    struct vring_tx_result result;
    assert_int_equal(packet->span_count, PACKET_SPANS_MAX);
    memmove(cut->memory + PACKET_HEADROOM, packet->data, 14);
    packet->data = cut->memory + PACKET_HEADROOM;
    ports[1]->ops->tx(ports[1], 0, &packet, 1, &io, &result);
    assert_int_equal(result.sent, 1);
    assert_int_equal(result.sent_bytes, flat.size);
    packet->span_count++;
    ports[1]->ops->tx(ports[1], 0, &packet, 1, &io, &result);
    assert_int_equal(result.too_big, 1);
    cut_free(cut);
}

static void test_down(void **state)
{
    static struct flat flat;
    put_ethernet(&flat, "\xff\xff\xff\xff\xff\xff", "\x02\0\0\0\0\x09", 0x88b5);
    put_payload(&flat, 46);
    struct cut *cut = cut_frame(flat.bytes, flat.size, 60, 1);
    struct packet *packets[3] = {&cut->packet, &cut->packet, &cut->packet};
    struct vring_tx_result result;
    assert_int_equal(setns(namespaces[0], CLONE_NEWNET), 0);
    char text[112];
    int fd = kernel_open_tap("weft4", KERNEL_TAP_FLAGS);
    struct port *port = new_port("weft4");
    assert_int_equal(port->ops->open(port, &fd, 1, text), 0);
    for (unsigned round = 0; round < 3; round++) {
        assert_false(port->link);
        port->ops->tx(port, 0, packets, 3, &io, &result);
        assert_int_equal(result.no_room, 3);
        assert_int_equal(result.sent, 0);
        kernel_set_up("weft4", true);
        port->ops->check(port);
        assert_true(port->link);
        port->ops->tx(port, 0, packets, 3, &io, &result);
        assert_int_equal(result.sent, 3);
        kernel_set_up("weft4", false);
        port->ops->check(port);
    }
    port->ops->close(port);
    port_free(port);
    cut_free(cut);
}

static void test_refused(void **state)
{
    assert_int_equal(setns(namespaces[0], CLONE_NEWNET), 0);
    int fds[DP_QUEUES_MAX + 1];
    struct {
        const char *device;
        int fd;
        const char *text;
    } cases[] = {
        {"weft7", open("/dev/null", O_RDWR | O_CLOEXEC), "is not of /dev/net/tun"},
        {"weft7", open("/dev/net/tun", O_RDWR | O_CLOEXEC), "belongs to no interface"},
        {"weft9", kernel_open_tap("weft9", IFF_TAP | IFF_NO_PI), "IFF_VNET_HDR"},
        {"weft10", kernel_open_tap("weft10", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR), "IFF_TAP"},
        {"weft7", -1, "is not of /dev/net/tun"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[112] = "";
        struct port *port = new_port(cases[i].device);
        assert_true(port->ops->open(port, &cases[i].fd, 1, text) < 0);
        if (!strstr(text, cases[i].text) || !strstr(text, cases[i].device))
            fail_msg("case %u: %s", i, text);
        if (cases[i].fd >= 0)
            assert_int_equal(close(cases[i].fd), 0); /* still the caller's */
        port_free(port);
    }
    for (unsigned count = 0; count <= DP_QUEUES_MAX + 1; count += DP_QUEUES_MAX + 1) {
        char text[112] = "";
        struct port *port = new_port("weft7");
        assert_int_equal(port->ops->open(port, fds, count, text), -EINVAL);
        assert_non_null(strstr(text, "descriptors instead of"));
        port_free(port);
    }
}

static void test_queues(void **state)
{
    assert_int_equal(setns(namespaces[0], CLONE_NEWNET), 0);
    char text[112] = "";
    int fds[3];
    struct port *port = new_port("weft5");
    struct dp_port_state port_state = {0};
    for (unsigned i = 0; i < 3; i++)
        fds[i] = kernel_open_tap("weft5", KERNEL_TAP_FLAGS);
    assert_int_equal(port->ops->open(port, fds, 3, text), 0);
    assert_int_equal(port->queues, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(port->wake_fds[i], fds[i]);
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_int_equal(port->tx_map[i], i);
        assert_true(port->ops->arm(port, i)); /* not yet looked at */
        assert_int_equal(port->ops->rx(port, i, vector, &io), 0);
        assert_false(port->ops->arm(port, i));
    }
    port->ops->state(port, &port_state);
    assert_int_equal(port_state.link, 0); /* not up */
    assert_int_equal(port_state.queues_enabled, 3);
    port->ops->close(port);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fcntl(fds[i], F_GETFD), -1);
    port_free(port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_queues), cmocka_unit_test(test_down),
        cmocka_unit_test(test_spans),     cmocka_unit_test(test_ping),   cmocka_unit_test(test_whole),
        cmocka_unit_test(test_segmented),
    };
    if (access("/dev/net/tun", R_OK | W_OK) != 0 || unshare(CLONE_NEWNET) != 0) {
        fprintf(stderr, "needs /dev/net/tun and the right to make network namespaces: %s\n", strerror(errno));
        return 77;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
