/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The router of a live weft-dataplane, and the punt channel as weftd has it:
 *
 *     guest 1 ── segment 1 ── port 11 [router 1] port 12 ── segment 2 ── guest 2
 *     10.0.1.10              10.0.1.1        10.0.2.1                   10.0.2.20
 *                             │ translated to 192.0.2.1
 *                            [port 13: outside] ── segment 3, tenant 2 ── peer 3: 192.0.2.99
 *
 * The program's path is the first argument.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "../unit/frame.h"
#include "switch_process.h"

#define GUESTS    3u
#define BROADCAST "\xff\xff\xff\xff\xff\xff"
#define MAC_1     "\x02\0\0\0\0\x01"
#define MAC_2     "\x02\0\0\0\0\x02"
#define MAC_3     "\x02\0\0\0\0\x03"
#define ROUTER_1  "\x02\0\0\0\0\xf1"
#define ROUTER_2  "\x02\0\0\0\0\xf2"
#define OUTSIDE   "\x02\0\0\0\0\xf3"
#define IP_1      0x0a00010au
#define IP_2      0x0a000214u
#define GATEWAY_1 0x0a000101u
#define PEER      0xc0000263u

static const char *program;
static struct switch_process sw;
static struct driver_device *guests[GUESTS + 1];
static int channel; /* our end */
static struct flat flat;

static void map(uint8_t address[16], uint32_t ipv4)
{
    memset(address, 0, 16);
    address[10] = address[11] = 0xff;
    for (unsigned i = 0; i < 4; i++)
        address[12 + i] = (uint8_t)(ipv4 >> (24 - 8 * i));
}

static void put_object(enum dp_kind kind, const void *object)
{
    if (dp_client_put(sw.client, kind, object, NULL, 0) != 0)
        fail_msg("%s", dp_client_error(sw.client));
}

static void put_router_port(uint32_t id, uint32_t tenant, uint32_t segment, const char *mac, uint32_t router,
                            uint32_t flags, uint32_t address)
{
    struct dp_port port = {
        .id = id, .tenant = tenant, .type = DP_PORT_ROUTER, .queues = 1, .mtu = 1500, .device = "router"};
    struct dp_member member = {.port = id, .segment = segment};
    struct dp_static entry = {.segment = segment, .port = id};
    struct dp_interface interface = {.port = id, .router = router, .flags = flags, .ipv4_prefix_length = 120};
    snprintf(port.name, sizeof(port.name), "t%u/router%u", tenant, id);
    memcpy(port.mac, mac, 6);
    memcpy(entry.mac, mac, 6);
    map(interface.ipv4, address);
    put_object(DP_KIND_PORT, &port);
    put_object(DP_KIND_MEMBER, &member);
    put_object(DP_KIND_STATIC, &entry);
    put_object(DP_KIND_INTERFACE, &interface);
}

static void program_switch(void)
{
    struct dp_router router = {.id = 1, .name = "t1"};
    struct dp_nat_address address = {
        .port = 13, .port_first = 1024, .port_last = 65535, .flags = DP_NAT_F_ANSWER};
    struct dp_nat_source source = {.port = 11, .outside = 13};
    map(address.address, 0xc0000201);
    map(source.address, 0xc0000201);
    assert_int_equal(dp_client_begin(sw.client), 0);
    for (uint32_t id = 1; id <= 3; id++) {
        switch_put_segment(&sw, id, id == 3 ? 2 : 1);
        switch_put_port(&sw, id, id == 3 ? 2 : 1, id, 1500);
    }
    put_object(DP_KIND_ROUTER, &router);
    put_router_port(11, 1, 1, ROUTER_1, 1, DP_INTERFACE_F_PUNT_DHCP | DP_INTERFACE_F_PUNT_DNS, GATEWAY_1);
    put_router_port(12, 1, 2, ROUTER_2, 1, 0, 0x0a000201);
    put_router_port(13, 2, 3, OUTSIDE, 0, 0, 0xc0000201);
    put_object(DP_KIND_NAT_ADDRESS, &address);
    put_object(DP_KIND_NAT_SOURCE, &source);
    if (dp_client_commit(sw.client) != 0)
        fail_msg("%s", dp_client_error(sw.client));
}

static int setup(void **state)
{
    int ends[2];
    memset(&sw, 0, sizeof(sw));
    switch_start(&sw, program, false);
    program_switch();
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(dp_client_punt(sw.client, ends[1]), 0);
    close(ends[1]);
    channel = ends[0];
    for (unsigned i = 1; i <= GUESTS; i++)
        guests[i] = switch_guest(&sw, i);
    for (unsigned i = 1; i <= GUESTS; i++)
        wait_until(switch_port_state(&sw, i).link == 1);
    return 0;
}

static int teardown(void **state)
{
    static const uint32_t ports[] = {1, 2, 3, 11, 12, 13};
    for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
        wait_until(switch_balanced(&sw, ports[i]));
    for (unsigned i = 1; i <= GUESTS; i++)
        driver_close(guests[i]);
    close(channel);
    assert_int_equal(switch_end(&sw, 0), 0);
    switch_remove(&sw, NULL);
    return 0;
}

/* 0, or -EAGAIN: the ring is full. */
static int try_send(unsigned from)
{
    const struct virtio_net_header header = {0};
    struct driver_queue *queue = driver_tx_queue(guests[from], 0);
    int error = driver_transmit(queue, &header, flat.bytes, flat.size);
    driver_kick(queue);
    return error;
}

static void send_flat(unsigned from)
{
    assert_int_equal(try_send(from), 0);
}

/* The next frame into flat. */
static void receive(unsigned at)
{
    struct virtio_net_header header;
    struct driver_queue *queue = driver_rx_queue(guests[at], 0);
    int size;
    while ((size = driver_receive(queue, &header, flat.bytes, FRAME_MAX)) == 0)
        assert_int_equal(driver_wait(queue, SWITCH_TIMEOUT_MS), 0);
    flat.size = (uint32_t)size;
}

static void put_datagram(const char *to, const char *from, uint32_t source, uint32_t destination,
                         unsigned source_port, unsigned port)
{
    put_ethernet(&flat, to, from, 0x0800);
    put_ipv4(&flat, 17, source, destination, 8 + 32, 0);
    put_udp(&flat, source_port, port, 32);
    put_payload(&flat, 32);
    set16(flat.bytes + 24, 0xffff - slow_sum(flat.bytes + 14, 20, 0));
    set16(flat.bytes + 40, 0xffff - slow_sum(flat.bytes + 34, 40, slow_pseudo(flat.bytes + 14, 17, 40)));
}

static void put_arp(const char *to, const char *from, unsigned operation, uint32_t sender,
                    const char *target_mac, uint32_t target)
{
    put_ethernet(&flat, to, from, 0x0806);
    put(&flat, "\0\1\x08\0\x06\x04", 6);
    put16(&flat, operation);
    put(&flat, from, 6);
    put32(&flat, sender);
    put(&flat, target_mac, 6);
    put32(&flat, target);
    put_payload(&flat, 18);
}

/* A question for `address` arrives at the guest, which answers it. */
static void answer_arp(unsigned at, const char *mac, const char *router, uint32_t address)
{
    receive(at);
    assert_int_equal(get16(flat.bytes + 12), 0x0806);
    assert_int_equal(get16(flat.bytes + 38) << 16 | get16(flat.bytes + 40), address);
    uint32_t asker = (uint32_t)get16(flat.bytes + 28) << 16 | get16(flat.bytes + 30);
    put_arp(router, mac, 2, address, router, asker);
    send_flat(at);
}

static void guests_ask_and_reach_each_other(void **state)
{
    put_arp(BROADCAST, MAC_1, 1, IP_1, "\0\0\0\0\0\0", GATEWAY_1);
    send_flat(1);
    receive(1);
    assert_memory_equal(flat.bytes, MAC_1 ROUTER_1, 12);
    assert_memory_equal(flat.bytes + 22, ROUTER_1, 6);
    put_datagram(ROUTER_1, MAC_1, IP_1, IP_2, 1000, 2000);
    send_flat(1);
    answer_arp(2, MAC_2, ROUTER_2, IP_2);
    receive(2);
    assert_memory_equal(flat.bytes, MAC_2 ROUTER_2, 12);
    assert_int_equal(flat.bytes[22], 63);
    assert_int_equal(slow_sum(flat.bytes + 14, 20, 0), 0xffff);
    put_datagram(ROUTER_1, MAC_1, IP_1, IP_2, 1000, 2001);
    send_flat(1);
    receive(2);
    assert_int_equal(get16(flat.bytes + 36), 2001);
    struct dp_neighbour_state *neighbours;
    size_t count;
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_NEIGHBOUR_STATE, (void **)&neighbours, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(neighbours[0].port, 12);
    assert_int_equal(neighbours[0].reachable, 1);
    assert_memory_equal(neighbours[0].mac, MAC_2, 6);
    free(neighbours);
}

static void nobody_there(void **state)
{
    put_datagram(ROUTER_1, MAC_1, IP_1, IP_2 + 1, 1000, 2000);
    send_flat(1);
    receive(1); /* after three questions */
    assert_memory_equal(flat.bytes + 34, "\3\1", 2);
    wait_until(switch_counters(&sw, 11).tx_drops[DP_DROP_L3_NEIGHBOUR] == 1);
}

static void receive_punt(struct dp_punt *header, uint8_t *frame)
{
    uint8_t message[sizeof(*header) + DP_PUNT_FRAME_MAX];
    struct pollfd waiting = {.fd = channel, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, SWITCH_TIMEOUT_MS), 1);
    ssize_t size = recv(channel, message, sizeof(message), 0);
    assert_true(size >= (ssize_t)sizeof(*header));
    memcpy(header, message, sizeof(*header));
    assert_int_equal(size, sizeof(*header) + header->size);
    memcpy(frame, message + sizeof(*header), header->size);
}

static void the_controller_answers(void **state)
{
    struct dp_punt header;
    uint8_t frame[DP_PUNT_FRAME_MAX], message[sizeof(header) + 60] = {0};
    put_datagram(BROADCAST, MAC_1, 0, 0xffffffff, 68, 67);
    send_flat(1);
    receive_punt(&header, frame);
    assert_int_equal(header.port, 11);
    assert_int_equal(header.reason, DP_PUNT_DHCP);
    assert_int_equal(header.from, 1);
    assert_int_equal(header.size, flat.size);
    assert_memory_equal(frame, flat.bytes, flat.size);
    put_datagram(ROUTER_1, MAC_1, IP_1, GATEWAY_1, 5353, 53);
    send_flat(1);
    receive_punt(&header, frame);
    assert_int_equal(header.reason, DP_PUNT_DNS);
    header = (struct dp_punt){.port = 11, .reason = DP_PUNT_SEND, .size = 60};
    memcpy(message, &header, sizeof(header));
    put_ethernet(&flat, MAC_1, ROUTER_1, 0x88b5);
    memcpy(message + sizeof(header), flat.bytes, flat.size);
    assert_int_equal(send(channel, message, sizeof(message), 0), sizeof(message));
    receive(1);
    assert_int_equal(flat.size, 60);
    assert_memory_equal(flat.bytes, MAC_1 ROUTER_1 "\x88\xb5", 14);
}

/* Without a controller its packets are dropped, and everything else goes on. */
static void the_controller_is_gone(void **state)
{
    close(channel);
    channel = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    put_datagram(ROUTER_1, MAC_1, IP_1, GATEWAY_1, 5353, 53);
    wait_until((try_send(1), switch_counters(&sw, 11).tx_drops[DP_DROP_L3_PUNT] > 0));
    put_arp(BROADCAST, MAC_1, 1, IP_1, "\0\0\0\0\0\0", GATEWAY_1);
    wait_until(try_send(1) == 0);
    receive(1);
    assert_int_equal(get16(flat.bytes + 12), 0x0806);
}

static void a_channel_is_a_seqpacket_socket(void **state)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(dp_client_punt(sw.client, ends[0]), -EINVAL);
    close(ends[0]);
    close(ends[1]);
    put_datagram(ROUTER_1, MAC_1, IP_1, GATEWAY_1, 5353, 53);
    send_flat(1);
    struct dp_punt header;
    uint8_t frame[DP_PUNT_FRAME_MAX];
    receive_punt(&header, frame); /* the one that was open still is */
    assert_int_equal(header.reason, DP_PUNT_DNS);
}

static void outside_and_back(void **state)
{
    put_datagram(ROUTER_1, MAC_1, IP_1, PEER, 1000, 7);
    send_flat(1);
    answer_arp(3, MAC_3, OUTSIDE, PEER);
    receive(3);
    assert_int_equal(get16(flat.bytes + 26) << 16 | get16(flat.bytes + 28), 0xc0000201);
    unsigned port = get16(flat.bytes + 34);
    put_datagram(OUTSIDE, MAC_3, PEER, 0xc0000201, 7, port);
    send_flat(3);
    answer_arp(1, MAC_1, ROUTER_1, IP_1);
    receive(1);
    assert_int_equal(get16(flat.bytes + 36), 1000);
    assert_int_equal(get16(flat.bytes + 30) << 16 | get16(flat.bytes + 32), IP_1);
    struct dp_session *sessions;
    struct dp_router_state *routers;
    size_t count;
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_SESSION, (void **)&sessions, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(sessions[0].translated_port, port);
    assert_int_equal(sessions[0].packets_in, 1);
    free(sessions);
    assert_int_equal(dp_client_dump_all(sw.client, DP_KIND_ROUTER_STATE, (void **)&routers, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(routers[0].sessions, 1);
    free(routers);
}

int main(int argc, char **argv)
{
    program = argc > 1 ? argv[1] : "";
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(guests_ask_and_reach_each_other), T(nobody_there),
        T(the_controller_answers),          T(the_controller_is_gone),
        T(a_channel_is_a_seqpacket_socket), T(outside_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
