/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports on AF_PACKET and AF_XDP sockets against the kernel: a veth in a namespace of the test's own, the port
 * on one end, a raw socket on the other. Descriptors come from where they come in life (control/uplink.c).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "counters.h"
#include "frame.h"
#include "port.h"
#include "uplink.h"

#define LONGEST 1514u /* bytes of a frame */
#define WAIT_MS 60000

static struct uplinks *uplinks;
static struct port *port;
static struct packet_vector *vector;
static struct worker_io io;
static int far; /* raw socket on the other end */

static const uint8_t guest[6] = {0x52, 0x54, 0, 0, 0, 1}, group[6] = {1, 0, 0x5e, 0, 0, 9};

static void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

static int listen_at(const char *interface, uint16_t protocol)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(protocol),
                                  .sll_ifindex = (int)if_nametoindex(interface)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(protocol));
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static struct dp_port config_of(enum dp_port_type type)
{
    struct dp_port config = {.id = 1, .type = type, .queues = type == DP_PORT_XDP ? 2 : 1, .mtu = 1500};
    snprintf(config.name, sizeof(config.name), "lan");
    snprintf(config.device, sizeof(config.device), "near");
    config.ifindex = if_nametoindex("near");
    return config;
}

/* Until the kernel's link watch has seen the carrier, what is sent is said to be sent and goes nowhere. */
static void wait_for_carrier(void)
{
    run("timeout 60 sh -c 'until ip link show dev near | grep -q \"state UP\"; do sleep 0.01; done'");
    run("timeout 60 sh -c 'until ip link show dev far | grep -q \"state UP\"; do sleep 0.01; done'");
}

static void set_up(enum dp_port_type type)
{
    char text[600] = "";
    int fds[DP_PORT_FDS_MAX];
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    run("ip link add near type veth peer name far && ip link set near up && ip link set far up");
    run("for i in all default near far; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done");
    wait_for_carrier();
    struct dp_port config = config_of(type);
    uplinks = uplinks_new("/port_uplink_test");
    int count = uplinks_open(uplinks, &config, fds, text, sizeof(text));
    assert_string_equal(text, "");
    assert_true(count >= (int)config.queues);
    port = port_new(&config, type == DP_PORT_XDP ? &port_xdp_ops : &port_packet_ops, 1);
    int error = port->ops->open(port, fds, (unsigned)count, text);
    assert_string_equal(text, "");
    assert_int_equal(error, 0);
    struct object_set objects = {0};
    object_set_add(&objects, DP_KIND_PORT, &config);
    uplinks_settle(uplinks, &objects);
    object_set_clear(&objects);
    vector = aligned_alloc(64, sizeof(*vector));
    packet_vector_init(vector);
    far = listen_at("far", 0x88b5);
}

static int set_up_packet(void **state)
{
    set_up(DP_PORT_PACKET);
    return 0;
}

static int set_up_xdp(void **state)
{
    set_up(DP_PORT_XDP);
    return 0;
}

static int tear_down(void **state)
{
    struct dp_port_counters sum;
    counters_port(port, &sum);
    port->ops->close(port);
    port_free(port);
    uplinks_free(uplinks);
    close(far);
    free(vector);
    return 0;
}

static void fill(uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((i + seed) * 2654435761u >> 13);
}

static size_t gather(const struct packet *packet, uint8_t *bytes)
{
    size_t size = packet->header_size;
    memcpy(bytes, packet->data, size);
    for (unsigned i = 0; i < packet->span_count; i++) {
        memcpy(bytes + size, packet->spans[i].base, packet->spans[i].size);
        size += packet->spans[i].size;
    }
    assert_int_equal(size, packet->size);
    return size;
}

/* The next frame at the port; sleeps as a worker does until there is one. Its size. */
static size_t receive(uint8_t *bytes)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET}, got;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned queue = 0; queue < port->queues; queue++)
        assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, port->wake_fds[queue], &event), 0);
    for (;;) {
        bool work = false;
        for (unsigned queue = 0; queue < port->queues; queue++) {
            unsigned count = port->ops->rx(port, queue, vector, &io);
            size_t size = count ? gather(&vector->packets[0], bytes) : 0;
            assert_true(count <= 1); /* one at a time in these tests */
            port->ops->rx_done(port, queue, &io);
            if (count) {
                close(epoll_fd);
                return size;
            }
        }
        for (unsigned queue = 0; queue < port->queues; queue++)
            work |= port->ops->arm(port, queue);
        if (!work)
            assert_int_equal(epoll_wait(epoll_fd, &got, 1, WAIT_MS) > 0, 1);
        for (unsigned queue = 0; queue < port->queues; queue++)
            port->ops->disarm(port, queue);
    }
}

static void make_frame(uint8_t *frame, size_t size, const uint8_t destination[6], bool tagged)
{
    static const uint8_t tag[4] = {0x81, 0, 0, 120}, type[2] = {0x88, 0xb5};
    fill(frame, size, (unsigned)size);
    memcpy(frame, destination, 6);
    frame[6] = 2;
    memcpy(frame + 12, tagged ? tag : type, 2);
    if (tagged && size >= 18) {
        memcpy(frame + 12, tag, 4);
        memcpy(frame + 16, type, 2);
    }
}

/* Every size around the ends of what is private, to a guest and to a group, tagged and not. */
static void test_receive(void **state)
{
    static const size_t sizes[] = {14, 15, 60, 124, 127, 128, 129, 132, 133, 1000, 1513, LONGEST};
    uint8_t frame[2000], received[2000];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (unsigned way = 0; way < 4; way++) {
            size_t size = sizes[i] < 20 && way & 1 ? 20 : sizes[i]; /* less is no tag to the kernel */
            make_frame(frame, size, way & 2 ? group : guest, way & 1);
            assert_int_equal(send(far, frame, size, 0), (ssize_t)size);
            assert_int_equal(receive(received), size);
            assert_memory_equal(received, frame, size);
        }
}

static size_t receive_far(uint8_t *bytes, size_t room)
{
    struct pollfd poll_fd = {.fd = far, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, WAIT_MS), 1);
    ssize_t size = recv(far, bytes, room, 0);
    assert_true(size > 0);
    return (size_t)size;
}

static struct vring_tx_result transmit(const uint8_t *frame, size_t size, unsigned pieces)
{
    struct vring_tx_result result;
    struct packet *packet = &vector->packets[0];
    size_t private = size < PACKET_HEADER_MAX ? size : PACKET_HEADER_MAX, at = private;
    *packet = (struct packet){.buffer = packet->buffer,
                              .data = packet->buffer + PACKET_HEADROOM,
                              .spans = vector->spans,
                              .size = (uint32_t)size,
                              .header_size = (uint16_t) private};
    memcpy(packet->data, frame, private);
    for (unsigned i = 0; i < pieces && at < size; i++) {
        size_t part = i + 1 == pieces ? size - at : (size - private) / pieces;
        vector->spans[packet->span_count++] = (struct packet_span){frame + at, part};
        at += part;
    }
    port->ops->tx(port, 0, &packet, 1, &io, &result);
    assert_int_equal(result.sent + result.no_room + result.too_big, 1);
    assert_int_equal(result.sent_bytes, result.sent ? size : 0);
    return result;
}

static void test_transmit(void **state)
{
    static const size_t sizes[] = {60, 128, 129, 500, LONGEST};
    uint8_t frame[70000], received[2000];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (unsigned pieces = 1; pieces <= 7; pieces += 3) {
            make_frame(frame, sizes[i], guest, false);
            assert_int_equal(transmit(frame, sizes[i], pieces).sent, 1);
            assert_int_equal(receive_far(received, sizeof(received)), sizes[i]);
            assert_memory_equal(received, frame, sizes[i]);
        }
    make_frame(frame, 65000, guest, false);
    assert_int_equal(transmit(frame, 65000, 200).too_big, 1);
}

static struct cut *tcp_frame(const char *to, uint32_t payload, bool tso)
{
    static struct flat flat;
    struct frame_info info;
    put_ethernet(&flat, to, "\2\0\0\0\0\1", 0x0800);
    put_ipv4(&flat, 6, 0x0a000001, 0x0a000002, 20 + payload, 0);
    put_tcp(&flat, 0x10, 0);
    put_payload(&flat, payload);
    struct cut *cut = cut_frame(flat.bytes, flat.size, PACKET_HEADER_MAX, 3000);
    if (tso) {
        cut->packet.flags = VNET_F_NEEDS_CSUM;
        cut->packet.gso_type = VNET_GSO_TCPV4;
        cut->packet.gso_size = 1000;
        cut->packet.csum_start = 34;
        cut->packet.csum_offset = 16;
        assert_true(parse_l2(&cut->packet, &info) && offload_validate(&cut->packet, &info));
        assert_true(offload_fits(&cut->packet, port->offloads));
    }
    return cut;
}

static size_t next_size(int fd)
{
    static uint8_t received[70000];
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, WAIT_MS), 1);
    ssize_t size = recv(fd, received, sizeof(received), 0);
    assert_true(size > 0);
    return (size_t)size;
}

/* Without zero-copy a TSO frame leaves whole by the packet socket, and so does what follows between the same
 * addresses; nothing else does. The near end hears, at once, what leaves that way and not what takes the
 * ring. */
static void test_ways_out(void **state)
{
    struct cut *cuts[] = {tcp_frame("\2\0\0\0\0\2", 100, false), tcp_frame("\2\0\0\0\0\2", 20000, true),
                          tcp_frame("\2\0\0\0\0\2", 200, false), tcp_frame("\2\0\0\0\0\3", 300, false)};
    struct packet *packets[] = {&cuts[0]->packet, &cuts[1]->packet, &cuts[2]->packet, &cuts[3]->packet};
    int near_ear = listen_at("near", ETH_P_ALL), far_ear = listen_at("far", ETH_P_IP);
    struct vring_tx_result result;
    size_t heard = 0;
    port->ops->tx(port, 0, packets, 4, &io, &result);
    assert_int_equal(result.sent, 4);
    assert_int_equal(result.sent_bytes, 100 + 20000 + 200 + 300 + 4 * 54);
    assert_int_equal(next_size(near_ear), 20054);
    assert_int_equal(next_size(near_ear), 254);
    assert_int_equal(recv(near_ear, NULL, 0, 0), -1);
    for (unsigned i = 0; i < 4; i++)
        heard += next_size(far_ear);
    assert_int_equal(heard, result.sent_bytes);
    for (unsigned i = 0; i < 4; i++)
        cut_free(cuts[i]);
    close(near_ear);
    close(far_ear);
}

/* Empties the other end; true: a frame of that size was there. */
static bool far_hears(ssize_t size)
{
    uint8_t received[2000];
    struct pollfd poll_fd = {.fd = far, .events = POLLIN};
    bool heard = false;
    if (poll(&poll_fd, 1, 20) < 0)
        return false;
    for (ssize_t got; (got = recv(far, received, sizeof(received), 0)) > 0;)
        heard |= got == size;
    return heard;
}

/* More frames than there are chunks or buffers, then the interface down, then gone: nothing hangs or spins.
 */
static void test_trouble(void **state)
{
    uint8_t frame[LONGEST];
    make_frame(frame, 60, guest, false);
    for (unsigned i = 0; i < 5000; i++)
        transmit(frame, 60, 1);
    run("ip link set near down");
    for (unsigned i = 0; i < 3000; i++)
        transmit(frame, 60, 1);
    for (unsigned queue = 0; queue < port->queues; queue++) {
        port->ops->rx(port, queue, vector, &io);
        port->ops->rx_done(port, queue, &io);
    }
    run("ip link set near up");
    make_frame(frame, 61, guest, false);
    do /* what was left in the ring leaves first, and may fill the other end's buffer */
        transmit(frame, 61, 1);
    while (!far_hears(61));
    run("ip link del near");
    transmit(frame, 60, 1);
    for (unsigned look = 0; look < 4; look++)
        for (unsigned queue = 0; queue < port->queues; queue++)
            port->ops->rx(port, queue, vector, &io);
    for (unsigned queue = 0; queue < port->queues; queue++)
        assert_false(port->ops->arm(port, queue));
}

static void test_wrong_descriptors(void **state)
{
    char text[112];
    struct dp_port config = config_of(port->config.type);
    struct port *other = port_new(&config, port->ops, 1);
    int plain = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), null = dup(STDIN_FILENO);
    const int tries[][3] = {{null, null, null}, {plain, plain, plain}, {far, far, far}};
    for (size_t i = 0; i < 3; i++) {
        text[0] = 0;
        assert_int_equal(other->ops->open(other, tries[i], config.queues + 1, text), -EINVAL);
        assert_string_not_equal(text, "");
    }
    assert_int_equal(other->ops->open(other, NULL, 0, text), 0); /* an interface that is not there */
    assert_int_equal(other->ops->rx(other, 0, vector, &io), 0);
    assert_false(other->ops->arm(other, 0));
    other->ops->close(other);
    port_free(other);
    close(plain);
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define BOTH(test)                                                                                           \
    {#test "_packet", test, set_up_packet, tear_down, NULL}, {#test "_xdp", test, set_up_xdp, tear_down, NULL}
        BOTH(test_receive),
        BOTH(test_transmit),
        {"test_ways_out_xdp", test_ways_out, set_up_xdp, tear_down, NULL},
        BOTH(test_trouble),
        BOTH(test_wrong_descriptors),
    };
    if (geteuid() != 0) {
        printf("SKIP: only root makes namespaces\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
