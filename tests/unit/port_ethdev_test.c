/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ethdev ports on DPDK's own virtual devices: net_ring sends to itself, net_null receives without end,
 * net_pcap plays and records. No hugepages, no root.
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
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include "counters.h"
#include "frame.h"
#include "port.h"

static struct worker_io io;
static struct packet_vector *vector;

/* what main.c provides */
unsigned control_worker_count(void)
{
    return 2;
}

void control_log(int level, const char *format, ...)
{
}

static struct port *new_port(const char *device, uint32_t mtu, uint32_t queues)
{
    struct dp_port config = {.id = 1, .type = DP_PORT_ETHDEV, .queues = queues, .mtu = mtu};
    snprintf(config.device, sizeof(config.device), "%.200s", device);
    snprintf(config.name, sizeof(config.name), "lan/%.40s", device);
    struct port *port = port_new(&config, &port_ethdev_ops, 2);
    assert_non_null(port);
    assert_int_equal(port->max_frame, mtu + 22);
    return port;
}

static struct port *open_port(const char *device, uint32_t mtu, uint32_t queues)
{
    char text[112] = "";
    struct port *port = new_port(device, mtu, queues);
    if (port->ops->open(port, NULL, 0, text) != 0)
        fail_msg("%s", text);
    return port;
}

static void close_port(struct port *port)
{
    port->ops->close(port);
    port_free(port);
}

static struct cut *make(uint32_t size, uint32_t span, uint32_t seed)
{
    static struct flat flat;
    put_ethernet(&flat, "\x02\0\0\0\0\x01", "\x02\0\0\0\0\x02", 0x88b5);
    for (uint32_t i = 14; i < size; i++)
        put8(&flat, seed + i * 7);
    return cut_frame(flat.bytes, size, PACKET_HEADER_MAX, span);
}

/* Through a net_ring device back to itself: every frame comes as it went, whatever its size and cut. */
static void round_trip(struct port *port, uint32_t size_first, uint32_t size_last, uint32_t step)
{
    static struct flat sent, got;
    struct cut *cuts[PACKET_VECTOR_MAX];
    struct packet *packets[PACKET_VECTOR_MAX];
    struct vring_tx_result result;
    uint32_t size = size_first;
    while (size <= size_last) {
        unsigned count = 0;
        uint64_t bytes = 0;
        for (; count < PACKET_VECTOR_MAX && size <= size_last; count++, size += step) {
            cuts[count] = make(size, 1 + size % 700, count);
            packets[count] = &cuts[count]->packet;
            bytes += size;
        }
        port->ops->tx(port, 0, packets, count, &io, &result);
        assert_int_equal(result.sent, count);
        assert_int_equal(result.sent_bytes, bytes);
        for (unsigned i = 0; i < count;) {
            unsigned batch = port->ops->rx(port, 0, vector, &io);
            assert_true(batch > 0);
            for (unsigned j = 0; j < batch; j++, i++) {
                flatten(packets[i], &sent);
                flatten(&vector->packets[j], &got);
                assert_int_equal(got.size, sent.size);
                assert_memory_equal(got.bytes, sent.bytes, sent.size);
                assert_true(vector->packets[j].header_size >= (sent.size < 128 ? sent.size : 128));
                assert_int_equal(vector->packets[j].flags | vector->packets[j].gso_type, 0);
            }
            port->ops->rx_done(port, 0, &io);
        }
        for (unsigned i = 0; i < count; i++)
            cut_free(cuts[i]);
    }
    assert_int_equal(port->ops->rx(port, 0, vector, &io), 0);
    port->ops->rx_done(port, 0, &io);
}

static void test_round_trip(void **state)
{
    struct port *port = open_port("net_ring0", 1500, 1);
    assert_true(port->link);
    round_trip(port, 14, 1522, 1);
    close_port(port);
    port = open_port("net_ring0", 9216, 1); /* the same name again; frames over several mbufs */
    round_trip(port, 14, 9238, 37);
    round_trip(port, 2040, 2060, 1);
    close_port(port);
}

/* A full ring, then an empty pool, give back what is not sent; afterwards everything can be sent again. */
static void test_full(void **state)
{
    struct port *port = open_port("net_ring1", 1500, 1);
    struct cut *cut = make(100, 100, 1);
    struct packet *packets[PACKET_VECTOR_MAX];
    struct vring_tx_result result;
    for (unsigned round = 0; round < 3; round++) {
        uint64_t sent = 0, got = 0;
        unsigned count;
        for (unsigned i = 0; i < PACKET_VECTOR_MAX; i++)
            packets[i] = &cut->packet;
        do {
            port->ops->tx(port, 0, packets, PACKET_VECTOR_MAX, &io, &result);
            assert_int_equal(result.sent + result.no_room, PACKET_VECTOR_MAX);
            assert_int_equal(result.sent_bytes, result.sent * 100);
            sent += result.sent;
        } while (result.no_room == 0);
        assert_true(sent >= 500);
        do {
            count = port->ops->rx(port, 0, vector, &io);
            port->ops->rx_done(port, 0, &io);
            got += count;
        } while (count);
        assert_int_equal(got, sent);
    }
    cut_free(cut);
    close_port(port);
}

/* Closed with frames still in the ring: their memory stays until nobody has them. */
static void test_close_full(void **state)
{
    struct cut *cut = make(100, 100, 1);
    struct packet *packet = &cut->packet;
    struct vring_tx_result result;
    for (unsigned round = 0; round < 5; round++) {
        struct port *port = open_port("net_ring2", 1500, 1);
        port->ops->tx(port, 0, &packet, 1, &io, &result);
        assert_int_equal(result.sent, 1);
        close_port(port);
    }
    cut_free(cut);
}

static void test_null(void **state)
{
    struct port *port = open_port("net_null0,size=64", 1500, 4);
    struct dp_queue_state queue = {0};
    struct vring_tx_result result;
    struct cut *cut = make(64, 100, 1);
    struct packet *packet = &cut->packet;
    assert_true(port->queues >= 1);
    for (unsigned i = 0; i < port->queues; i++) {
        assert_int_equal(port->ops->rx(port, i, vector, &io), PACKET_VECTOR_MAX);
        for (unsigned j = 0; j < PACKET_VECTOR_MAX; j++)
            assert_int_equal(vector->packets[j].size, 64);
        port->ops->rx_done(port, i, &io);
        port->ops->queue_state(port, i, &queue);
        assert_int_equal(queue.ring_size, 512);
        assert_true(port->ops->arm(port, i)); /* polled */
        port->ops->disarm(port, i);
        assert_int_equal(port->wake_fds[i], -1);
    }
    for (unsigned i = 0; i < PORT_TX_MAP; i++) {
        port->ops->tx(port, port->tx_map[i], &packet, 1, &io, &result);
        assert_int_equal(result.sent, 1);
    }
    cut_free(cut);
    close_port(port);
    port = open_port("net_null1,size=13", 1500, 1); /* runts are dropped and counted */
    assert_int_equal(port->ops->rx(port, 0, vector, &io), 0);
    port->ops->rx_done(port, 0, &io);
    struct dp_port_counters counters;
    counters_port(port, &counters);
    assert_int_equal(counters.rx_packets, PACKET_VECTOR_MAX);
    assert_int_equal(counters.rx_bytes, PACKET_VECTOR_MAX * 13);
    assert_int_equal(counters.rx_drops[DP_DROP_RX_RUNT], PACKET_VECTOR_MAX);
    assert_true(counters_consistent(&counters));
    close_port(port);
}

/* What is sent to net_pcap is in the file; played back it is the same. */
static void test_pcap(void **state)
{
    static struct flat sent, got;
    char path[64], device[128];
    snprintf(path, sizeof(path), "/tmp/weft-ethdev-%d.pcap", (int)getpid());
    snprintf(device, sizeof(device), "net_pcap0,tx_pcap=%s", path);
    struct port *port = open_port(device, 9216, 1);
    struct vring_tx_result result;
    static const uint32_t sizes[] = {14, 60, 128, 1514, 9000, 9238};
    for (unsigned i = 0; i < 6; i++) {
        struct cut *cut = make(sizes[i], 333, i);
        struct packet *packet = &cut->packet;
        port->ops->tx(port, 0, &packet, 1, &io, &result);
        assert_int_equal(result.sent, 1);
        cut_free(cut);
    }
    close_port(port);
    snprintf(device, sizeof(device), "net_pcap1,rx_pcap=%s", path);
    port = open_port(device, 9216, 1);
    assert_int_equal(port->ops->rx(port, 0, vector, &io), 6);
    for (unsigned i = 0; i < 6; i++) {
        struct cut *cut = make(sizes[i], 333, i);
        flatten(&cut->packet, &sent);
        flatten(&vector->packets[i], &got);
        assert_int_equal(got.size, sent.size);
        assert_memory_equal(got.bytes, sent.bytes, sent.size);
        cut_free(cut);
    }
    port->ops->rx_done(port, 0, &io);
    close_port(port);
    unlink(path);
}

static int packet_socket(const char *name)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct timeval timeout = {.tv_sec = 60};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    address.sll_ifindex = (int)if_nametoindex(name);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    return fd;
}

/* The next frame that the device brought to the kernel; the kernel's own (IPv6 multicast) are stepped over.
 */
static void receive(int fd, struct flat *flat)
{
    do {
        ssize_t size = recv(fd, flat->bytes, sizeof(flat->bytes), 0);
        assert_true(size > 0);
        flat->size = (uint32_t)size;
    } while (memcmp(flat->bytes, "\x02\0\0\0\0\x01", 6) != 0);
}

static void send_request(struct port *port, const struct flat *flat, uint32_t l4, bool tcp, uint8_t gso_type)
{
    struct frame_info info;
    struct vring_tx_result result;
    struct cut *cut = cut_frame(flat->bytes, flat->size, PACKET_HEADER_MAX, 3000);
    struct packet *packet = &cut->packet;
    packet->flags = VNET_F_NEEDS_CSUM;
    packet->gso_type = gso_type;
    packet->gso_size = gso_type ? 1000 : 0;
    packet->csum_start = (uint16_t)l4;
    packet->csum_offset = tcp ? 16 : 6;
    assert_true(parse_l2(packet, &info) && offload_validate(packet, &info));
    assert_true(offload_fits(packet, port->offloads));
    port->ops->tx(port, 0, &packet, 1, &io, &result);
    assert_int_equal(result.sent, 1);
    cut_free(cut);
}

/* A device with checksum and segmentation offloads (net_tap does them in software): what arrives is whole and
 * right. */
static void test_offloads(void **state)
{
    static struct flat flat, got;
    static const uint8_t address6[16] = {0xfd, [15] = 1};
    if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) != 0)
        skip();
    struct port *port = open_port("net_tap0,iface=weftT0", 1500, 1);
    assert_int_equal(port->offloads, OFFLOAD_CSUM | OFFLOAD_TSO4);
    int fd = packet_socket("weftT0");
    for (unsigned i = 0; i < 8; i++) {
        bool tcp = i & 1, ipv6 = i & 2, tagged = i & 4;
        uint32_t payload = 501 + i, upper = (tcp ? 20 : 8) + payload, l3 = tagged ? 18 : 14;
        put_ethernet(&flat, "\x02\0\0\0\0\x01", "\x02\0\0\0\0\x02", tagged ? 0x8100 : ipv6 ? 0x86dd : 0x0800);
        if (tagged) {
            put16(&flat, 5);
            put16(&flat, ipv6 ? 0x86dd : 0x0800);
        }
        if (ipv6)
            put_ipv6(&flat, tcp ? 6 : 17, address6, address6, upper);
        else
            put_ipv4(&flat, tcp ? 6 : 17, 0x0a000001, 0x0a000002, upper, 0);
        uint32_t l4 = flat.size;
        if (tcp)
            put_tcp(&flat, 0x18, 0);
        else
            put_udp(&flat, 1, 2, payload);
        put_payload(&flat, payload);
        set16(flat.bytes + l4 + (tcp ? 16 : 6), slow_pseudo(flat.bytes + l3, tcp ? 6 : 17, upper));
        send_request(port, &flat, l4, tcp, VNET_GSO_NONE);
        receive(fd, &got);
        uint32_t at = got.size == flat.size ? l4 : l4 - 4; /* the kernel takes the tag off */
        assert_int_equal(slow_sum(got.bytes + at, upper, slow_pseudo(flat.bytes + l3, tcp ? 6 : 17, upper)),
                         0xffff);
        assert_memory_equal(got.bytes + got.size - payload, flat.bytes + flat.size - payload, payload);
    }
    put_ethernet(&flat, "\x02\0\0\0\0\x01", "\x02\0\0\0\0\x02", 0x0800);
    put_ipv4(&flat, 6, 0x0a000001, 0x0a000002, 20 + 60000, 0);
    put_tcp(&flat, 0x18, 0);
    put_payload(&flat, 60000);
    set16(flat.bytes + 34 + 16, slow_pseudo(flat.bytes + 14, 6, 60020));
    send_request(port, &flat, 34, true, VNET_GSO_TCPV4);
    for (uint32_t at = 54; at < flat.size; at += 1000) {
        receive(fd, &got);
        assert_int_equal(got.size, 1054);
        assert_int_equal(slow_sum(got.bytes + 34, 1020, slow_pseudo(got.bytes + 14, 6, 1020)), 0xffff);
        assert_int_equal(slow_sum(got.bytes + 14, 20, 0), 0xffff);
        assert_memory_equal(got.bytes + 54, flat.bytes + at, 1000);
    }
    close(fd);
    close_port(port);
}

static void test_refused(void **state)
{
    static const struct {
        const char *device;
        uint32_t mtu;
        int error;
    } cases[] = {
        {"net_nothing0", 1500, 0}, {"nonsense", 1500, 0},         {"", 1500, 0},
        {"0000:ff:1f.7", 1500, 0}, {"net_null2,size=x", 1500, 0}, {",", 1500, 0},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[112] = "";
        struct port *port = new_port(cases[i].device, cases[i].mtu, 1);
        assert_true(port->ops->open(port, NULL, 0, text) < 0);
        if (!strstr(text, cases[i].device) || !*text)
            fail_msg("case %u: %s", i, text);
        port_free(port);
    }
}

static void test_twice(void **state)
{
    char text[112] = "";
    struct port *first = open_port("net_ring3", 1500, 1), *second = new_port("net_ring3", 1500, 1);
    assert_int_equal(second->ops->open(second, NULL, 0, text), -EBUSY);
    assert_string_equal(text, "device \"net_ring3\" belongs to port lan/net_ring3 already");
    round_trip(first, 14, 100, 1); /* unharmed */
    close_port(first);
    assert_int_equal(second->ops->open(second, NULL, 0, text), 0);
    round_trip(second, 14, 100, 1);
    close_port(second);
}

/* Opened and closed many times, nothing is left. */
static void test_leak(void **state)
{
    for (unsigned i = 0; i < 100; i++)
        close_port(open_port("net_null3", 9216, 2));
    assert_int_equal(rte_eth_dev_count_avail(), 0);
}

static int group_setup(void **state)
{
    vector = aligned_alloc(64, sizeof(*vector));
    packet_vector_init(vector);
    return 0;
}

static int group_teardown(void **state)
{
    free(vector);
    rmdir(rte_eal_get_runtime_dir()); /* EAL leaves it behind, empty */
    rte_eal_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_full),
        cmocka_unit_test(test_null),    cmocka_unit_test(test_pcap),       cmocka_unit_test(test_twice),
        cmocka_unit_test(test_leak),    cmocka_unit_test(test_close_full), cmocka_unit_test(test_offloads),
    };
    static char prefix[64], name[] = "port_ethdev_test", no_huge[] = "--no-huge", memory[] = "-m",
                            size[] = "128", no_pci[] = "--no-pci", no_telemetry[] = "--no-telemetry",
                            no_shconf[] = "--no-shconf", log_level[] = "--log-level=3", cores[] = "-l",
                            core[] = "0";
    char *arguments[] = {name,      no_huge, memory,    size,  no_pci, no_telemetry,
                         no_shconf, prefix,  log_level, cores, core,   NULL};
    if (geteuid() == 0 && unshare(CLONE_NEWNET) != 0) {
        fprintf(stderr, "no network namespace of its own: %s\n", strerror(errno));
        return 77;
    }
    snprintf(prefix, sizeof(prefix), "--file-prefix=weft-ethdev-test-%d", (int)getpid());
    if (rte_eal_init(11, arguments) < 0) {
        fprintf(stderr, "EAL does not start: %s\n", strerror(errno));
        return 1;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
