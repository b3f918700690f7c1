/* SPDX-License-Identifier: BSD-3-Clause */
/* The NIC (virtio 5.1), and as much of Ethernet, ARP, IPv4, ICMP and UDP as the modes need. */
#include "net.h"

#define TYPE_NET       1
#define BUFFER_SMALL   2048u
#define BUFFER_BIG     65664u /* a 64 KiB frame with its headers */
#define FEATURE_MTU    (1ull << 3)
#define FEATURE_MAC    (1ull << 5)
#define FEATURE_STATUS (1ull << 16)
#define FEATURE_CTRL   (1ull << 17)
#define FEATURE_MQ     (1ull << 22)

struct net net = {.buffer_size = BUFFER_SMALL, .pairs = 1, .pairs_used = 1};
static uint16_t next_tx;
static uint8_t *rx_buffers[PAIRS_MAX][BUFFERS], *tx_buffers[PAIRS_MAX][BUFFERS];
static uint16_t rx_buffer_of[PAIRS_MAX][BUFFERS]; /* by descriptor */
static uint16_t tx_free[PAIRS_MAX][BUFFERS], tx_free_count[PAIRS_MAX], tx_buffer_of[PAIRS_MAX][BUFFERS];

uint8_t net_mac[6];
uint32_t net_ip, net_peer;
static uint8_t peer_mac[6];
static uint32_t resolved_ip;

static void give_rx(uint16_t pair, uint16_t buffer)
{
    struct piece piece = {rx_buffers[pair][buffer], net.buffer_size};
    int head = queue_put(&net.rx[pair], &piece, 0, 1);
    if (head >= 0)
        rx_buffer_of[pair][head] = buffer;
}

bool net_open(uint16_t wanted)
{
    uint64_t features =
        FEATURE_MAC | FEATURE_STATUS | FEATURE_MTU | (wanted > 1 ? FEATURE_CTRL | FEATURE_MQ : 0);
    if (argument_number("big", 0)) {
        features |= FEATURES_BIG;
        net.buffer_size = BUFFER_BIG;
    }
    if (!virtio_open(&net.device, TYPE_NET, 0, features))
        return false;
    for (unsigned i = 0; i < 6; i++)
        net_mac[i] = net.device.config[i];
    net.pairs = net.device.features & FEATURE_MQ ? *(volatile uint16_t *)(net.device.config + 8) : 1;
    uint16_t control_index = (uint16_t)(2 * net.pairs);
    if (net.pairs > PAIRS_MAX)
        net.pairs = PAIRS_MAX;
    if (net.pairs > wanted)
        net.pairs = wanted;
    for (uint16_t p = 0; p < net.pairs; p++) {
        virtio_queue(&net.device, &net.rx[p], (uint16_t)(2 * p), BUFFERS, VECTOR_DEVICES + p);
        virtio_queue(&net.device, &net.tx[p], (uint16_t)(2 * p + 1), BUFFERS, VECTOR_DEVICES + PAIRS_MAX + 1);
        net.rx[p].driver[0] = argument_number("poll", 0) != 0;
        net.tx[p].driver[0] = 1; /* no interrupts: completions are collected when buffers are needed */
        for (uint16_t i = 0; i < BUFFERS; i++) {
            rx_buffers[p][i] = allocate(net.buffer_size, 64);
            tx_buffers[p][i] = allocate(net.buffer_size, 64);
            tx_free[p][tx_free_count[p]++] = i;
        }
    }
    if (net.device.features & FEATURE_CTRL)
        virtio_queue(&net.device, &net.control, control_index, 64, VECTOR_DEVICES + PAIRS_MAX);
    virtio_ready(&net.device);
    for (uint16_t p = 0; p < net.pairs; p++) {
        for (uint16_t i = 0; i < net.rx[p].size; i++)
            give_rx(p, i);
        queue_kick(&net.rx[p]);
    }
    net_ip = argument_ip("ip");
    net_peer = argument_ip("peer");
    print("net mac=%02x:%02x:%02x:%02x:%02x:%02x pairs=%u features=%lx mtu=%u\n", net_mac[0], net_mac[1],
          net_mac[2], net_mac[3], net_mac[4], net_mac[5], net.pairs, net.device.features,
          net.device.features & FEATURE_MTU ? *(volatile uint16_t *)(net.device.config + 10) : 1500);
    return true;
}

bool net_link_up(void)
{
    return !(net.device.features & FEATURE_STATUS) || *(volatile uint16_t *)(net.device.config + 6) & 1;
}

void net_set_pairs(uint16_t count)
{
    static uint8_t header[2] = {4, 0}; /* MQ, VQ_PAIRS_SET */
    static uint16_t value;
    static uint8_t ack;
    value = count;
    ack = 0xff;
    struct piece pieces[3] = {{header, 2}, {&value, 2}, {&ack, 1}};
    int64_t size = queue_call(&net.control, pieces, 2, 1);
    print("pairs set=%u ack=%u size=%ld\n", count, ack, (long)size);
    if (ack == 0)
        net.pairs_used = count;
}

static void collect_tx(uint16_t pair)
{
    uint32_t size;
    int head;
    while ((head = queue_take(&net.tx[pair], &size)) >= 0)
        tx_free[pair][tx_free_count[pair]++] = tx_buffer_of[pair][head];
}

/* The frame's queue pair is found again from its address. */
static uint16_t pair_of(const uint8_t *frame, uint16_t *buffer)
{
    for (uint16_t p = 0; p < net.pairs; p++)
        for (uint16_t i = 0; i < BUFFERS; i++)
            if (tx_buffers[p][i] + NET_HEADER == frame) {
                *buffer = i;
                return p;
            }
    fail("frame from nowhere");
}

uint8_t *net_frame(void)
{
    uint16_t pair = (uint16_t)(next_tx++ % net.pairs_used);
    if (!tx_free_count[pair])
        collect_tx(pair);
    if (!tx_free_count[pair])
        return NULL;
    uint8_t *buffer = tx_buffers[pair][tx_free[pair][--tx_free_count[pair]]];
    memset(buffer, 0, NET_HEADER);
    return buffer + NET_HEADER;
}

void net_send(uint8_t *frame, uint32_t size)
{
    uint16_t buffer, pair = pair_of(frame, &buffer);
    struct piece piece = {frame - NET_HEADER, NET_HEADER + (size < 60 ? 60 : size)};
    int head = queue_put(&net.tx[pair], &piece, 1, 0);
    if (head < 0) {
        tx_free[pair][tx_free_count[pair]++] = buffer;
        return;
    }
    tx_buffer_of[pair][head] = buffer;
    net.counters.tx_frames++;
    queue_kick(&net.tx[pair]);
}

uint16_t net_checksum(const uint8_t *data, uint32_t size, uint32_t sum)
{
    for (uint32_t i = 0; i + 1 < size; i += 2)
        sum += get16(data + i);
    if (size & 1)
        sum += (uint32_t)data[size - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

uint32_t net_pseudo_sum(uint32_t from, uint32_t to, uint8_t protocol, uint32_t size)
{
    return (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + protocol + size;
}

static void put_ethernet(uint8_t *frame, const uint8_t *to, uint16_t type)
{
    memcpy(frame, to, 6);
    memcpy(frame + 6, net_mac, 6);
    put16(frame + 12, type);
}

/* The payload stands behind the two headers already. */
void net_send_ip(uint32_t to, uint8_t protocol, uint8_t *frame, uint32_t payload_size)
{
    uint8_t *ip = frame + ETHERNET_SIZE;
    put_ethernet(frame, peer_mac, 0x0800);
    memset(ip, 0, IP_SIZE);
    ip[0] = 0x45;
    put16(ip + 2, IP_SIZE + payload_size);
    ip[8] = 64;
    ip[9] = protocol;
    put32(ip + 12, net_ip);
    put32(ip + 16, to);
    put16(ip + 10, net_checksum(ip, IP_SIZE, 0));
    net_send(frame, ETHERNET_SIZE + IP_SIZE + payload_size);
}

static void send_arp(uint16_t operation, const uint8_t *to_mac, uint32_t to_ip)
{
    static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255}, none[6];
    uint8_t *frame = net_frame();
    if (!frame)
        return;
    put_ethernet(frame, to_mac ? to_mac : broadcast, 0x0806);
    memcpy(frame + 14, "\0\1\10\0\6\4", 6);
    put16(frame + 20, operation);
    memcpy(frame + 22, net_mac, 6);
    put32(frame + 28, net_ip);
    memcpy(frame + 32, to_mac ? to_mac : none, 6);
    put32(frame + 38, to_ip);
    net_send(frame, 42);
}

static void input_arp(const uint8_t *frame, uint32_t size)
{
    if (size < 42)
        return;
    net.counters.arp++;
    uint32_t sender = get32(frame + 28);
    if (sender == net_peer || (!net_peer && get32(frame + 38) == net_ip)) {
        memcpy(peer_mac, frame + 22, 6);
        resolved_ip = sender;
    }
    if (get16(frame + 20) == 1 && get32(frame + 38) == net_ip && net_ip)
        send_arp(2, frame + 22, sender);
}

static void input_icmp(const uint8_t *ip, uint32_t size)
{
    const uint8_t *icmp = ip + IP_SIZE;
    net.counters.icmp++;
    if (size < 8 || net_checksum(icmp, size, 0) != 0)
        return;
    if (icmp[0] == 0 && get16(icmp + 4) == net.waiting.ping_id && get16(icmp + 6) == net.waiting.ping_seq)
        net.waiting.ping_seen = true;
    uint8_t *frame = icmp[0] == 8 ? net_frame() : NULL;
    if (!frame)
        return;
    uint8_t *reply = frame + ETHERNET_SIZE + IP_SIZE;
    memcpy(reply, icmp, size);
    reply[0] = 0;
    put16(reply + 2, 0);
    put16(reply + 2, net_checksum(reply, size, 0));
    net_send_ip(get32(ip + 12), PROTOCOL_ICMP, frame, size);
}

void net_send_udp(uint32_t to, uint16_t from_port, uint16_t to_port, const void *data, uint32_t size)
{
    uint8_t *frame = net_frame();
    if (!frame)
        return;
    uint8_t *udp = frame + ETHERNET_SIZE + IP_SIZE;
    put16(udp, from_port);
    put16(udp + 2, to_port);
    put16(udp + 4, 8 + size);
    put16(udp + 6, 0);
    memcpy(udp + 8, data, size);
    put16(udp + 6, net_checksum(udp, 8 + size, net_pseudo_sum(net_ip, to, PROTOCOL_UDP, 8 + size)));
    net_send_ip(to, PROTOCOL_UDP, frame, 8 + size);
}

static void input_udp(const uint8_t *ip, uint32_t size)
{
    const uint8_t *udp = ip + IP_SIZE;
    net.counters.udp++;
    if (size < 8 || get16(udp + 4) < 8 || get16(udp + 4) > size)
        return;
    uint32_t data = get16(udp + 4) - 8u;
    if (get16(udp + 2) == PORT_DISCARD) {
        net.counters.discard++;
        net.counters.discard_bytes += ETHERNET_SIZE + IP_SIZE + size;
    } else if (get16(udp + 2) == PORT_ECHO)
        net_send_udp(get32(ip + 12), PORT_ECHO, get16(udp), udp + 8, data);
    else if (get16(udp + 2) == net.waiting.udp_port && data <= FRAME_MAX) {
        memcpy(net.waiting.udp_data, udp + 8, data);
        net.waiting.udp_size = data;
        net.waiting.udp_seen = true;
    }
}

static void input(const uint8_t *frame, uint32_t size)
{
    net.counters.rx_frames++;
    net.counters.rx_bytes += size;
    if (size < ETHERNET_SIZE)
        return;
    if (get16(frame + 12) == 0x0806)
        input_arp(frame, size);
    const uint8_t *ip = frame + ETHERNET_SIZE;
    if (get16(frame + 12) != 0x0800 || size < ETHERNET_SIZE + IP_SIZE || ip[0] != 0x45 ||
        get32(ip + 16) != net_ip || get16(ip + 2) < IP_SIZE || get16(ip + 2) > size - ETHERNET_SIZE)
        return;
    uint32_t payload = get16(ip + 2) - IP_SIZE;
    if (ip[9] == PROTOCOL_ICMP)
        input_icmp(ip, payload);
    else if (ip[9] == PROTOCOL_UDP)
        input_udp(ip, payload);
    else if (ip[9] == PROTOCOL_TCP) {
        net.counters.tcp++;
        if (payload >= 20 && get16(ip + IP_SIZE + 2) == PORT_DISCARD) {
            net.counters.discard++;
            net.counters.discard_bytes += size;
            return;
        }
        tcp_input(ip, payload);
    }
}

void net_poll(void)
{
    for (uint16_t p = 0; p < net.pairs; p++) {
        uint32_t size;
        int head;
        bool any = false;
        while ((head = queue_take(&net.rx[p], &size)) >= 0) {
            uint16_t buffer = rx_buffer_of[p][head];
            net.counters.by_queue[p]++;
            if (size >= NET_HEADER && size <= net.buffer_size)
                input(rx_buffers[p][buffer] + NET_HEADER, size - NET_HEADER);
            give_rx(p, buffer);
            any = true;
        }
        if (any)
            queue_kick(&net.rx[p]);
    }
}

bool net_wait(uint64_t us, bool (*done)(void))
{
    uint64_t end = now_us() + us;
    bool poll = argument_number("poll", 0) != 0;
    for (;;) {
        uint32_t seen = interrupt_total;
        net_poll();
        if (done && done())
            return true;
        if (power_button_pressed()) {
            print("button\n");
            power_off();
        }
        uint64_t now = now_us();
        if (now >= end)
            return false;
        if (!poll)
            sleep_unless(seen, end - now);
    }
}

static bool resolved(void)
{
    return resolved_ip == net_peer;
}

bool net_resolve(uint32_t ip)
{
    for (unsigned try = 0; try < 50; try++) {
        send_arp(1, NULL, ip);
        if (net_wait(200000, resolved))
            return true;
    }
    print("error no answer to ARP\n");
    return false;
}
