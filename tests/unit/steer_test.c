/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steering programs, run by the kernel on frames of ours (BPF_PROG_TEST_RUN): who gets what, before and
 * after the ports of translated addresses change. weft_tc says whether a frame is the switch's alone,
 * weft_filter whether it is the switch's at all.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "steer.h"

enum verdict { HOST, SWITCH, BOTH };

static const struct steer_about about = {.instance = 0x7e57, .netns = 1, .ifindex = 1};
static struct steer *steer;
static int tc;
static int filtered[2]; /* a socket pair: a filter sees what is sent there like a frame on a packet socket */
static uint8_t frame[200];

static uint8_t host_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t guest_mac[6] = {2, 0, 0, 0, 0, 2}, broadcast[6] = {255, 255, 255, 255, 255, 255},
                     lldp[6] = {1, 0x80, 0xc2, 0, 0, 0x0e}, multicast[6] = {1, 0, 0x5e, 0, 0, 1};

/* The newest program of that name; steer.c gives its own to nobody. */
static int find_program(const char *name)
{
    int newest = -1;
    for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
        struct bpf_prog_info info = {0};
        uint32_t size = sizeof(info);
        int fd = bpf_prog_get_fd_by_id(id);
        if (fd < 0)
            continue;
        bool found = bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && strcmp(info.name, name) == 0;
        if (found && newest >= 0)
            close(newest);
        if (found)
            newest = fd;
        else
            close(fd);
    }
    return newest;
}

static int group_setup(void **state)
{
    char text[400] = "";
    steer = steer_open(&about, text, sizeof(text));
    if (!steer) {
        printf("SKIP: %s\n", text);
        exit(77);
    }
    tc = find_program("weft_tc");
    assert_true(tc >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, filtered), 0);
    assert_int_equal(steer_filter(steer, filtered[1]), 0);
    assert_int_equal(steer_set_hosts(steer, &host_mac, 1), 0);
    return 0;
}

static int group_teardown(void **state)
{
    close(filtered[0]);
    close(filtered[1]);
    close(tc);
    steer_close(steer);
    return 0;
}

static bool passes_filter(void)
{
    uint8_t received[sizeof(frame)];
    assert_int_equal(send(filtered[0], frame, sizeof(frame), 0), sizeof(frame));
    return recv(filtered[1], received, sizeof(received), 0) == (ssize_t)sizeof(frame);
}

static bool kept_from_host(void)
{
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame));
    assert_int_equal(bpf_prog_test_run_opts(tc, &options), 0);
    return options.retval == TC_ACT_SHOT;
}

static enum verdict verdict(void)
{
    bool switches = passes_filter(), alone = kept_from_host();
    assert_true(switches || !alone);
    return alone ? SWITCH : switches ? BOTH : HOST;
}

static uint8_t *put_ethernet(const uint8_t destination[6], uint16_t type, bool tagged)
{
    static const uint8_t tag[4] = {0x81, 0, 0, 120};
    memset(frame, 0, sizeof(frame));
    memcpy(frame, destination, 6);
    frame[6] = 2;
    uint8_t *at = frame + 12;
    if (tagged) {
        memcpy(at, tag, sizeof(tag));
        at += sizeof(tag);
    }
    at[0] = (uint8_t)(type >> 8);
    at[1] = (uint8_t)type;
    return at + 2;
}

static uint8_t *put_ipv4(uint8_t *at, const char *source, const char *destination, uint8_t protocol,
                         uint16_t fragment, unsigned words)
{
    memset(at, 0, words * 4);
    at[0] = (uint8_t)(0x40 | words);
    at[3] = 60;
    at[6] = (uint8_t)(fragment >> 8);
    at[7] = (uint8_t)fragment;
    at[8] = 64;
    at[9] = protocol;
    inet_pton(AF_INET, source, at + 12);
    inet_pton(AF_INET, destination, at + 16);
    return at + words * 4;
}

static void put_ports(uint8_t *at, uint16_t source, uint16_t destination)
{
    at[0] = (uint8_t)(source >> 8);
    at[1] = (uint8_t)source;
    at[2] = (uint8_t)(destination >> 8);
    at[3] = (uint8_t)destination;
}

static enum verdict tcp(const char *to, uint16_t port, bool tagged, unsigned words)
{
    put_ports(put_ipv4(put_ethernet(host_mac, 0x0800, tagged), "198.51.100.1", to, 6, 0, words), 80, port);
    return verdict();
}

static enum verdict udp_fragment(const char *to, uint16_t fragment)
{
    put_ports(put_ipv4(put_ethernet(host_mac, 0x0800, false), "198.51.100.1", to, 17, fragment, 5), 53,
              30001);
    return verdict();
}

/* An error about a packet from the switch's port. */
static enum verdict icmp_error(uint8_t type, uint16_t port)
{
    uint8_t *icmp = put_ipv4(put_ethernet(host_mac, 0x0800, false), "198.51.100.1", "192.0.2.9", 1, 0, 5);
    icmp[0] = type;
    put_ports(put_ipv4(icmp + 8, "192.0.2.9", "198.51.100.1", 17, 0, 5), port, 53);
    return verdict();
}

static enum verdict echo(uint8_t type, uint16_t id)
{
    uint8_t *icmp = put_ipv4(put_ethernet(host_mac, 0x0800, false), "198.51.100.1", "192.0.2.9", 1, 0, 5);
    icmp[0] = type;
    put_ports(icmp + 4, id, 1);
    return verdict();
}

static struct steer_range range(const char *address, bool whole, enum steer_kind kind, uint16_t first,
                                uint16_t last)
{
    struct steer_range made = {.whole = whole, .kind = kind, .first = first, .last = last};
    made.address[10] = made.address[11] = 255;
    assert_int_equal(inet_pton(AF_INET, address, made.address + 12), 1);
    return made;
}

static void test_addresses(void **state)
{
    assert_int_equal(steer_set_ranges(steer, NULL, 0), 0);
    put_ethernet(guest_mac, 0x0800, false);
    assert_int_equal(verdict(), SWITCH);
    put_ethernet(host_mac, 0x0806, false);
    assert_int_equal(verdict(), HOST);
    put_ethernet(broadcast, 0x0806, false);
    assert_int_equal(verdict(), BOTH);
    put_ethernet(multicast, 0x0800, true);
    assert_int_equal(verdict(), BOTH);
    put_ethernet(lldp, 0x88cc, false);
    assert_int_equal(verdict(), HOST);
    assert_int_equal(tcp("192.0.2.9", 30000, false, 5), HOST);
}

static void test_translated(void **state)
{
    const struct steer_range ranges[] = {range("192.0.2.9", false, STEER_TCP, 30000, 30999),
                                         range("192.0.2.9", false, STEER_UDP, 30000, 30999),
                                         range("192.0.2.9", false, STEER_ICMP, 30000, 30999),
                                         range("192.0.2.9", false, STEER_TCP, 443, 443),
                                         range("192.0.2.77", true, STEER_TCP, 0, 0)};
    assert_int_equal(steer_set_ranges(steer, ranges, 5), 0);
    const struct {
        uint16_t port;
        enum verdict verdict;
    } tries[] = {{22, HOST},      {442, HOST},     {443, SWITCH}, {29999, HOST},
                 {30000, SWITCH}, {30999, SWITCH}, {31000, HOST}};
    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        assert_int_equal(tcp("192.0.2.9", tries[i].port, false, 5), tries[i].verdict);
        assert_int_equal(tcp("192.0.2.9", tries[i].port, true, 15), tries[i].verdict);
        assert_int_equal(tcp("192.0.2.10", tries[i].port, false, 5), HOST);
        assert_int_equal(tcp("192.0.2.77", tries[i].port, false, 5), SWITCH);
    }
    assert_int_equal(udp_fragment("192.0.2.9", 0x2000), SWITCH);
    assert_int_equal(udp_fragment("192.0.2.9", 100), BOTH);
    assert_int_equal(udp_fragment("192.0.2.77", 100), SWITCH);
    assert_int_equal(echo(0, 30500), SWITCH);
    assert_int_equal(echo(0, 5), HOST);
    assert_int_equal(echo(8, 30500), HOST); /* somebody pings the host */
    assert_int_equal(icmp_error(3, 30001), SWITCH);
    assert_int_equal(icmp_error(11, 30001), SWITCH);
    assert_int_equal(icmp_error(3, 40000), HOST);
    uint8_t *arp = put_ethernet(host_mac, 0x0806, false);
    inet_pton(AF_INET, "192.0.2.77", arp + 24);
    assert_int_equal(verdict(), SWITCH);
    inet_pton(AF_INET, "192.0.2.9", arp + 24);
    assert_int_equal(verdict(), HOST);
}

/* A change takes back what is no longer there and keeps what stays. */
static void test_changes(void **state)
{
    const struct steer_range one = range("192.0.2.9", false, STEER_TCP, 443, 443);
    assert_int_equal(steer_set_ranges(steer, &one, 1), 0);
    assert_int_equal(tcp("192.0.2.9", 443, false, 5), SWITCH);
    assert_int_equal(tcp("192.0.2.9", 30000, false, 5), HOST);
    assert_int_equal(tcp("192.0.2.77", 443, false, 5), HOST);
    struct steer_range many[STEER_ADDRESSES_MAX + 1];
    for (unsigned i = 0; i <= STEER_ADDRESSES_MAX; i++) {
        many[i] = range("192.0.2.9", true, STEER_TCP, 0, 0);
        many[i].address[14] = (uint8_t)i;
    }
    assert_int_equal(steer_set_ranges(steer, many, STEER_ADDRESSES_MAX), 0);
    assert_int_equal(steer_set_ranges(steer, many, STEER_ADDRESSES_MAX + 1), -ENOSPC);
    assert_int_equal(steer_set_ranges(steer, NULL, 0), 0);
    assert_int_equal(tcp("192.0.2.9", 443, false, 5), HOST);
}

/* Another opening for the same interface finds the same maps. */
static void test_found_again(void **state)
{
    char text[400] = "";
    const struct steer_range one = range("192.0.2.9", false, STEER_TCP, 8443, 8443);
    struct steer *other = steer_open(&about, text, sizeof(text));
    assert_non_null(other);
    assert_int_equal(steer_set_ranges(other, &one, 1), 0);
    steer_close(other);
    assert_int_equal(tcp("192.0.2.9", 8443, false, 5), SWITCH);
}

/* Whatever a frame says, the kernel accepted the programs: they end with a verdict. */
static void test_random(void **state)
{
    const struct steer_range one = range("192.0.2.9", false, STEER_UDP, 0, 65535);
    assert_int_equal(steer_set_ranges(steer, &one, 1), 0);
    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        static const uint8_t protocols[] = {1, 6, 17, 44, 58};
        uint8_t *ip = put_ethernet(host_mac, 0x0800, i & 1);
        uint8_t *end = put_ipv4(ip, "192.0.2.9", "192.0.2.9", protocols[i % 5], (uint16_t)rand(), 5);
        for (uint8_t *byte = end; byte < frame + sizeof(frame); byte++)
            *byte = (uint8_t)rand();
        ip[0] = (uint8_t)(0x40 | (rand() & 15));
        verdict();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),   cmocka_unit_test(test_translated), cmocka_unit_test(test_changes),
        cmocka_unit_test(test_found_again), cmocka_unit_test(test_random),
    };
    if (geteuid() != 0) {
        printf("SKIP: only root loads BPF programs\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
