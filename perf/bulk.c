/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft-bulk: a guest that moves bulk by TCP, to and from a kernel's socket, in frames of up to 64 KiB. See
 * usage().
 *
 * The TCP is as much as that takes (RFC 9293; window scale, RFC 7323): it opens one connection, keeps to the
 * receiver's window, and goes back to what was last acknowledged after three duplicates or 200 ms of silence.
 * There is no congestion window: the other end is on the same link. It neither writes nor reads the payload,
 * so that what it costs is the switch's and the host's. With --blast it is no TCP at all: frames go out as
 * fast as the port takes them, for whoever counts them at the far end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bulk_port.h"
#include "host.h"
#include "wire.h"

#define IP           14u /* offsets in a frame, bytes */
#define TCP          34u
#define PAYLOAD      54u
#define MSS          1448u
#define BULK         (44u * MSS) /* bytes of payload of a frame */
#define WINDOW_SHIFT 7u
#define WINDOW       (4u << 20) /* bytes that we let the other side send */
#define FIN          1u
#define SYN          2u
#define RST          4u
#define ACK          16u
#define SILENCE_NS   200000000u
#define CONNECT_NS   60000000000u
#define OUR_PORT     5001u

struct bulk {
    struct bulk_port *port;
    uint8_t mac[6], peer_mac[6];
    uint32_t ip, peer_ip; /* network order */
    uint16_t peer_port;
    double seconds;
    uint32_t payload; /* bytes of a frame of --blast */
    bool blast, receive;
    uint32_t next, acknowledged, expected; /* sequence numbers: to send, theirs of ours, to receive */
    uint32_t highest;                      /* end of what was ever sent */
    uint32_t window;                       /* bytes from `acknowledged` on */
    unsigned window_shift, duplicates;
    uint64_t sent, again, received; /* bytes of payload */
    bool open, closed;
};

/* A frame with `size` bytes of payload behind `options` bytes of options, the checksum left to the device.
 * Returns its size. */
static uint32_t build(const struct bulk *bulk, uint8_t *frame, uint8_t flags, unsigned options, uint32_t size,
                      struct virtio_net_header *header)
{
    uint8_t *ip = frame + IP, *tcp = frame + TCP;
    uint32_t l4_size = 20 + options + size;
    memset(frame, 0, PAYLOAD);
    memcpy(frame, bulk->peer_mac, 6);
    memcpy(frame + 6, bulk->mac, 6);
    put16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, 20 + l4_size);
    ip[6] = 0x40; /* DF */
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, &bulk->ip, 4);
    memcpy(ip + 16, &bulk->peer_ip, 4);
    put16(ip + 10, (uint16_t)~sum_fold(sum16(ip, 20)));
    put16(tcp, OUR_PORT);
    put16(tcp + 2, bulk->peer_port);
    put32(tcp + 4, bulk->next);
    put32(tcp + 8, flags & ACK ? bulk->expected : 0);
    tcp[12] = (uint8_t)((20 + options) / 4 << 4);
    tcp[13] = flags;
    put16(tcp + 14, flags & SYN ? 65535 : WINDOW >> WINDOW_SHIFT);
    put16(tcp + 16, sum_fold(sum16(ip + 12, 8) + 6 + l4_size));
    *header = (struct virtio_net_header){.flags = VNET_F_NEEDS_CSUM, .csum_start = TCP, .csum_offset = 16};
    if (size > MSS) {
        header->gso_type = VNET_GSO_TCPV4;
        header->hdr_len = PAYLOAD;
        header->gso_size = MSS;
    }
    return PAYLOAD + options + size;
}

static void send_control(struct bulk *bulk, uint8_t flags)
{
    static const uint8_t options[8] = {2, 4, 1460 >> 8, 1460 & 0xff, 1, 3, 3, WINDOW_SHIFT};
    uint8_t frame[PAYLOAD + sizeof(options)];
    struct virtio_net_header header;
    unsigned count = flags & SYN ? sizeof(options) : 0;
    memcpy(frame + PAYLOAD, options, sizeof(options));
    uint32_t size = build(bulk, frame, flags, count, 0, &header);
    bulk_port_send(bulk->port, &header, frame, size);
}

static void read_window_shift(struct bulk *bulk, const uint8_t *options, const uint8_t *end)
{
    bulk->window_shift = 0;
    while (options < end && *options) {
        if (*options == 1) {
            options++;
            continue;
        }
        if (end - options < 2 || options[1] < 2)
            return;
        if (options[0] == 3 && options[1] == 3 && end - options >= 3)
            bulk->window_shift = options[2] & 15;
        options += options[1];
    }
}

static void on_ack(struct bulk *bulk, const uint8_t *tcp, uint32_t size)
{
    uint32_t ack = get32(tcp + 8);
    if ((int32_t)(ack - bulk->acknowledged) > 0 && (int32_t)(ack - bulk->highest) <= 0) {
        bulk->acknowledged = ack;
        bulk->duplicates = 0;
        if ((int32_t)(bulk->next - ack) < 0)
            bulk->next = ack;
    } else if (ack == bulk->acknowledged && size == 0 && ack != bulk->highest &&
               bulk->window == (uint32_t)get16(tcp + 14) << bulk->window_shift) {
        bulk->duplicates++;
    }
    bulk->window = (uint32_t)get16(tcp + 14) << bulk->window_shift;
}

/* A frame that arrived; its first bytes. True: it had payload. */
static bool take(struct bulk *bulk, const uint8_t *frame)
{
    const uint8_t *ip = frame + IP, *tcp = frame + TCP;
    uint32_t header = (uint32_t)(tcp[12] >> 4) * 4, total = get16(ip + 2);
    if (get16(frame + 12) != 0x0800 || ip[0] != 0x45 || ip[9] != 6 || memcmp(ip + 16, &bulk->ip, 4) != 0 ||
        get16(tcp + 2) != OUR_PORT || header < 20 || total < 20 + header)
        return false;
    uint32_t size = total - 20 - header, sequence = get32(tcp + 4);
    bulk->closed |= tcp[13] & RST;
    if (tcp[13] & SYN) {
        if (!bulk->open && tcp[13] & ACK && get32(tcp + 8) == bulk->next + 1) {
            read_window_shift(bulk, tcp + 20, frame + TCP + header);
            bulk->open = true;
            bulk->expected = sequence + 1;
            bulk->acknowledged = bulk->highest = ++bulk->next;
            bulk->window = get16(tcp + 14);
        }
        return false;
    }
    if (tcp[13] & ACK)
        on_ack(bulk, tcp, size);
    bulk->closed |= tcp[13] & FIN;
    if (sequence == bulk->expected) {
        bulk->expected += size;
        bulk->received += size;
    }
    return size > 0;
}

/* Everything that has arrived. True: some of it was payload, which wants an answer. */
static bool take_all(struct bulk *bulk, bool *any)
{
    uint8_t frame[128];
    bool data = false;
    for (unsigned i = 0; i < 64 && bulk_port_receive(bulk->port, frame, sizeof(frame)) > 0; i++) {
        data |= take(bulk, frame);
        *any = true;
    }
    return data;
}

static int connect_tcp(struct bulk *bulk)
{
    uint64_t start = now_ns();
    bool any;
    while (!bulk->open && !bulk->closed && now_ns() - start < CONNECT_NS) {
        send_control(bulk, SYN);
        for (uint64_t asked = now_ns(); !bulk->open && now_ns() - asked < SILENCE_NS;) {
            bulk_port_wait(bulk->port, 20);
            take_all(bulk, &any);
        }
    }
    if (bulk->open)
        send_control(bulk, ACK);
    return bulk->open ? 0 : -ETIMEDOUT;
}

static int prepare(struct bulk *bulk)
{
    static uint8_t frame[BULK_FRAME_MAX];
    struct virtio_net_header header;
    uint32_t size = build(bulk, frame, ACK, 0, bulk->blast ? bulk->payload : BULK, &header);
    return bulk_port_prepare(bulk->port, &header, frame, size);
}

/* As many frames as the window and the ring have room for. False: none. */
static bool send_some(struct bulk *bulk)
{
    unsigned count = 0;
    for (; count < 32; count++) {
        bool room = bulk->blast || bulk->next - bulk->acknowledged + BULK <= bulk->window;
        uint8_t *frame = room ? bulk_port_next(bulk->port) : NULL;
        if (!frame)
            break;
        put32(frame + TCP + 4, bulk->next);
        put32(frame + TCP + 8, bulk->expected);
        bulk_port_publish(bulk->port);
        bulk->next += bulk->payload;
        bulk->sent += bulk->payload;
        if ((int32_t)(bulk->next - bulk->highest) > 0)
            bulk->highest = bulk->next;
    }
    bulk_port_kick(bulk->port);
    return count > 0;
}

static double run_sender(struct bulk *bulk)
{
    uint64_t start = now_ns(), now = start, moved = start;
    uint32_t before = bulk->acknowledged;
    while (now - start < (uint64_t)(bulk->seconds * 1e9) && !bulk->closed) {
        bool any = send_some(bulk);
        take_all(bulk, &any);
        now = now_ns();
        if (bulk->acknowledged != before || bulk->next == bulk->acknowledged) {
            before = bulk->acknowledged;
            moved = now;
        }
        if (!bulk->blast && (bulk->duplicates == 3 || now - moved > SILENCE_NS)) {
            bulk->again += bulk->next - bulk->acknowledged;
            bulk->next = bulk->acknowledged;
            if (bulk->window < BULK) /* perhaps it has opened, and that was lost: a probe */
                bulk->window = BULK; /* RFC 9293, 3.8.6.1 */
            bulk->duplicates = 4;    /* once, until something is acknowledged */
            moved = now;
        }
        if (!any && !bulk->blast)
            bulk_port_wait(bulk->port, 10);
    }
    return (double)(now - start) / 1e9;
}

static double run_receiver(struct bulk *bulk)
{
    uint64_t start = now_ns(), now = start;
    while (now - start < (uint64_t)(bulk->seconds * 1e9) && !bulk->closed) {
        bool any = false;
        if (take_all(bulk, &any))
            send_control(bulk, ACK);
        if (!any)
            bulk_port_wait(bulk->port, 10);
        now = now_ns();
    }
    return (double)(now - start) / 1e9;
}

static void usage(FILE *out)
{
    fputs("usage: weft-bulk --mac MAC --ip ADDRESS --peer-mac MAC --peer ADDRESS [options] PORT\n"
          "A guest at PORT, a vhost-user socket or a tap interface, that sends bulk by TCP. JSON on standard "
          "output.\n"
          "  --port N      of the peer's socket (5001)\n"
          "  --receive     the peer sends\n"
          "  --blast       no TCP: 64 KiB frames to be segmented, as fast as the port takes them\n"
          "  --payload N   bytes of payload of a frame of --blast; up to 1448: not to be segmented\n"
          "  --seconds S   (1)\n"
          "  --core N      run on this CPU\n",
          out);
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
    for (unsigned i = 0; i < 6; i++) {
        char *end;
        mac[i] = (uint8_t)strtoul(text, &end, 16);
        if (end - text != 2 || *end != (i < 5 ? ':' : '\0'))
            return false;
        text = end + 1;
    }
    return true;
}

static bool parse_option(struct bulk *bulk, int option, const char *value)
{
    switch (option) {
    case 'm':
        return parse_mac(value, bulk->mac);
    case 'M':
        return parse_mac(value, bulk->peer_mac);
    case 'i':
        return inet_pton(AF_INET, value, &bulk->ip) == 1;
    case 'I':
        return inet_pton(AF_INET, value, &bulk->peer_ip) == 1;
    case 'p':
        bulk->peer_port = (uint16_t)strtoul(value, NULL, 10);
        return true;
    case 's':
        bulk->seconds = strtod(value, NULL);
        return true;
    case 'c':
        return pin((unsigned)strtoul(value, NULL, 10)) == 0;
    case 'r':
        return bulk->receive = true;
    case 'b':
        return bulk->blast = true;
    case 'z':
        bulk->payload = (uint32_t)strtoul(value, NULL, 10);
        return bulk->payload <= BULK;
    default:
        return false;
    }
}

static int run(struct bulk *bulk)
{
    int status = bulk->blast ? 0 : connect_tcp(bulk);
    if (status == 0 && !bulk->receive)
        status = prepare(bulk);
    if (status) {
        fprintf(stderr, "weft-bulk: %s\n", status == -ETIMEDOUT ? "nobody answers" : strerror(-status));
        return 1;
    }
    double seconds = bulk->receive ? run_receiver(bulk) : run_sender(bulk);
    uint64_t bytes = bulk->receive ? bulk->received : bulk->sent - bulk->again;
    printf("{\"seconds\":%.6f,\"bytes\":%llu,\"again\":%llu,\"gbps\":%.4f}\n", seconds,
           (unsigned long long)bytes, (unsigned long long)bulk->again, (double)bytes * 8 / seconds / 1e9);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"mac", required_argument, NULL, 'm'},  {"peer-mac", required_argument, NULL, 'M'},
        {"ip", required_argument, NULL, 'i'},   {"peer", required_argument, NULL, 'I'},
        {"port", required_argument, NULL, 'p'}, {"seconds", required_argument, NULL, 's'},
        {"core", required_argument, NULL, 'c'}, {"receive", no_argument, NULL, 'r'},
        {"blast", no_argument, NULL, 'b'},      {"payload", required_argument, NULL, 'z'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
    static struct bulk bulk = {.seconds = 1, .peer_port = 5001, .next = 1000, .payload = BULK};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (!parse_option(&bulk, option, optarg)) {
            usage(stderr);
            return 2;
        }
    }
    if (argc - optind != 1 || bulk.ip == 0 || bulk.peer_ip == 0) {
        usage(stderr);
        return 2;
    }
    bulk.port = bulk_port_open(argv[optind]);
    if (!bulk.port) {
        fprintf(stderr, "weft-bulk: %s: %s\n", argv[optind], strerror(errno));
        return 1;
    }
    int status = run(&bulk);
    bulk_port_close(bulk.port);
    return status;
}
