/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft-guest: a guest without a machine. Attaches to a vhost-user port as a virtual machine's NIC
 * would, answers ARP and ping for its address, and with --ping asks another guest. For demonstrations and
 * tests where no virtual machine can run; it says on standard output, one JSON object at its end, what it
 * heard.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "driver.h"
#include "host.h"
#include "wire.h"

#define FRAME_MAX        65600u
#define ETHERTYPE_IPV4   0x0800u
#define ETHERTYPE_ARP    0x0806u
#define PING_SIZE        98u /* bytes: Ethernet, IPv4, ICMP and 56 bytes of data, as ping(8) sends */
#define PING_INTERVAL_NS 100000000u
#define PING_TIMEOUT_NS  3000000000u

struct guest {
    struct driver_device *device;
    struct driver_queue *rx, *tx;
    uint8_t mac[6];
    uint32_t ip, ping; /* network order; ping 0: none */
    unsigned count;
    unsigned sent, answered;
    uint64_t heard, asked, echoed;      /* frames; ARP requests and echo requests answered */
    uint64_t rtt_sum, rtt_min, rtt_max; /* ns */
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void send_frame(struct guest *guest, const uint8_t *frame, uint32_t size)
{
    struct virtio_net_header header = {0};
    if (driver_transmit(guest->tx, &header, frame, size) == 0)
        driver_kick(guest->tx);
}

static void send_arp(struct guest *guest, uint16_t operation, const uint8_t *to, uint32_t to_ip)
{
    uint8_t frame[60] = {0};
    uint8_t *arp = frame + 14;
    if (to)
        memcpy(frame, to, 6);
    else
        memset(frame, 0xff, 6);
    memcpy(frame + 6, guest->mac, 6);
    put16(frame + 12, ETHERTYPE_ARP);
    put16(arp, 1);
    put16(arp + 2, ETHERTYPE_IPV4);
    arp[4] = 6;
    arp[5] = 4;
    put16(arp + 6, operation);
    memcpy(arp + 8, guest->mac, 6);
    memcpy(arp + 14, &guest->ip, 4);
    if (to)
        memcpy(arp + 18, to, 6);
    memcpy(arp + 24, &to_ip, 4);
    send_frame(guest, frame, sizeof(frame));
}

static void send_echo(struct guest *guest, const uint8_t *to)
{
    uint8_t frame[PING_SIZE] = {0};
    uint8_t *ip = frame + 14, *icmp = ip + 20;
    uint64_t now = now_ns();
    memcpy(frame, to, 6);
    memcpy(frame + 6, guest->mac, 6);
    put16(frame + 12, ETHERTYPE_IPV4);
    ip[0] = 0x45;
    put16(ip + 2, PING_SIZE - 14);
    ip[8] = 64;
    ip[9] = 1;
    memcpy(ip + 12, &guest->ip, 4);
    memcpy(ip + 16, &guest->ping, 4);
    put16(ip + 10, ~sum_fold(sum16(ip, 20)));
    icmp[0] = 8;
    put16(icmp + 6, (uint16_t)guest->sent);
    memcpy(icmp + 8, &now, sizeof(now));
    put16(icmp + 2, ~sum_fold(sum16(icmp, PING_SIZE - 34)));
    guest->sent++;
    send_frame(guest, frame, sizeof(frame));
}

static void on_reply(struct guest *guest, const uint8_t *icmp)
{
    uint64_t sent;
    memcpy(&sent, icmp + 8, sizeof(sent));
    uint64_t rtt = now_ns() - sent;
    guest->answered++;
    guest->rtt_sum += rtt;
    guest->rtt_min = guest->rtt_min == 0 || rtt < guest->rtt_min ? rtt : guest->rtt_min;
    guest->rtt_max = rtt > guest->rtt_max ? rtt : guest->rtt_max;
}

static void on_ipv4(struct guest *guest, uint8_t *frame, uint32_t size)
{
    uint8_t *ip = frame + 14, *icmp = ip + 20;
    uint32_t length = get16(ip + 2);
    if (size < 42 || ip[0] != 0x45 || ip[9] != 1 || length < 28 || length > size - 14 ||
        memcmp(ip + 16, &guest->ip, 4) != 0)
        return;
    if (icmp[0] == 0 && length >= 36 && memcmp(ip + 12, &guest->ping, 4) == 0) {
        on_reply(guest, icmp);
    } else if (icmp[0] == 8) {
        memcpy(frame, frame + 6, 6);
        memcpy(frame + 6, guest->mac, 6);
        memcpy(ip + 16, ip + 12, 4);
        memcpy(ip + 12, &guest->ip, 4);
        icmp[0] = 0;
        put16(icmp + 2, 0);
        put16(icmp + 2, ~sum_fold(sum16(icmp, length - 20)));
        guest->echoed++;
        send_frame(guest, frame, size);
    }
}

/* True once the peer's address is known (written to peer). */
static bool on_arp(struct guest *guest, const uint8_t *frame, uint32_t size, uint8_t peer[6])
{
    const uint8_t *arp = frame + 14;
    if (size < 42 || get16(arp) != 1 || get16(arp + 2) != ETHERTYPE_IPV4 || arp[4] != 6 || arp[5] != 4)
        return false;
    uint32_t from;
    memcpy(&from, arp + 14, 4);
    if (get16(arp + 6) == 1 && memcmp(arp + 24, &guest->ip, 4) == 0) {
        guest->asked++;
        send_arp(guest, 2, arp + 8, from);
    }
    if (!guest->ping || from != guest->ping)
        return false;
    memcpy(peer, arp + 8, 6);
    return true;
}

static void run(struct guest *guest, uint64_t end)
{
    static uint8_t frame[FRAME_MAX];
    struct virtio_net_header header;
    uint8_t peer[6];
    bool known = false;
    uint64_t next = 0, first = now_ns();
    while (!stopping && now_ns() < end) {
        uint64_t now = now_ns();
        if (guest->ping && now >= next) {
            if (guest->sent == guest->count || (!known && now - first > PING_TIMEOUT_NS))
                break; /* all sent and a last interval waited for, or nobody answers ARP */
            if (known)
                send_echo(guest, peer);
            else
                send_arp(guest, 1, NULL, guest->ping);
            next = now + (guest->sent == guest->count ? PING_TIMEOUT_NS : PING_INTERVAL_NS);
        }
        int size = driver_receive(guest->rx, &header, frame, sizeof(frame));
        if (size <= 0) {
            if (guest->ping && guest->answered == guest->count)
                break;
            driver_wait(guest->rx, 20);
            continue;
        }
        driver_kick(guest->rx);
        guest->heard++;
        if (size >= 14 && get16(frame + 12) == ETHERTYPE_ARP) {
            if (on_arp(guest, frame, (uint32_t)size, peer) && !known) {
                known = true;
                next = 0;
            }
        } else if (size >= 14 && get16(frame + 12) == ETHERTYPE_IPV4) {
            on_ipv4(guest, frame, (uint32_t)size);
        }
    }
}

static void usage(FILE *out)
{
    fputs("usage: weft-guest --mac MAC --ip ADDRESS [--ping ADDRESS [--count N]] [--seconds S] SOCKET\n"
          "A guest on a vhost-user port: answers ARP and ping until a signal or for S seconds; with --ping "
          "asks\n"
          "another one N times (3), exit 0 if it answered each time, 1 if not.\n",
          out);
}

static const struct option options[] = {
    {"mac", required_argument, NULL, 'm'},
    {"ip", required_argument, NULL, 'i'},
    {"ping", required_argument, NULL, 'p'},
    {"count", required_argument, NULL, 'c'},
    {"seconds", required_argument, NULL, 's'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool parse_option(struct guest *guest, int option, const char *value, uint64_t *length)
{
    char *end = NULL;
    unsigned byte[6];
    switch (option) {
    case 'm':
        /* NOLINTNEXTLINE(cert-err34-c): two hexadecimal digits cannot overflow */
        if (sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4],
                   &byte[5]) != 6)
            return false;
        for (unsigned i = 0; i < 6; i++)
            guest->mac[i] = (uint8_t)byte[i];
        return true;
    case 'i':
        return inet_pton(AF_INET, value, &guest->ip) == 1;
    case 'p':
        return inet_pton(AF_INET, value, &guest->ping) == 1;
    case 'c':
        guest->count = (unsigned)strtoul(value, &end, 10);
        return *end == '\0' && guest->count > 0;
    case 's':
        *length = (uint64_t)(strtod(value, &end) * 1e9);
        return *end == '\0';
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    struct guest guest = {.count = 3};
    uint64_t length = 0;
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (!parse_option(&guest, option, optarg, &length)) {
            usage(stderr);
            return 2;
        }
    }
    if (argc - optind != 1 || guest.ip == 0) {
        usage(stderr);
        return 2;
    }
    struct driver_config config = {
        .path = argv[optind],
        .queue_pairs = 1,
        .ring_size = 256,
        .buffer_size = 2048,
        .features = FEATURES_PLAIN,
        .timeout_ms = 60000,
    };
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    guest.device = driver_open(&config);
    if (!guest.device) {
        fprintf(stderr, "weft-guest: %s: %s\n", config.path, strerror(errno));
        return 1;
    }
    guest.rx = driver_rx_queue(guest.device, 0);
    guest.tx = driver_tx_queue(guest.device, 0);
    run(&guest, length ? now_ns() + length : UINT64_MAX);
    driver_close(guest.device);
    printf("{\"heard\":%llu,\"arp_answered\":%llu,\"echo_answered\":%llu,\"sent\":%u,\"answered\":%u,"
           "\"rtt_us\":{\"min\":%.1f,\"mean\":%.1f,\"max\":%.1f}}\n",
           (unsigned long long)guest.heard, (unsigned long long)guest.asked, (unsigned long long)guest.echoed,
           guest.sent, guest.answered, (double)guest.rtt_min / 1e3,
           guest.answered ? (double)guest.rtt_sum / guest.answered / 1e3 : 0.0, (double)guest.rtt_max / 1e3);
    return guest.ping && (guest.sent == 0 || guest.answered < guest.sent);
}
