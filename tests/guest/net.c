/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#define TYPE_NET     1
#define NET_HEADER   12u /* virtio_net_hdr with num_buffers */
#define BUFFER_SMALL 2048u
#define BUFFER_BIG   65664u /* a 64 KiB frame with its headers */
#define BUFFERS      256u
#define PAIRS_MAX    4u
#define FEATURES_BIG                                                                                         \
    (1ull << 0 | 1ull << 1 | 1ull << 7 | 1ull << 11) /* CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4 */
#define FEATURE_MTU    (1ull << 3)
#define FEATURE_MAC    (1ull << 5)
#define FEATURE_STATUS (1ull << 16)
#define FEATURE_CTRL   (1ull << 17)
#define FEATURE_MQ     (1ull << 22)
#define PROTOCOL_ICMP  1
#define PROTOCOL_TCP   6
#define PROTOCOL_UDP   17
#define PORT_ECHO      7
#define PORT_DISCARD   9

static struct device device;
static struct queue rx[PAIRS_MAX], tx[PAIRS_MAX], control;
static uint32_t buffer_size = BUFFER_SMALL;
static uint16_t pairs = 1, pairs_used = 1, next_tx;
static uint8_t *rx_buffers[PAIRS_MAX][BUFFERS], *tx_buffers[PAIRS_MAX][BUFFERS];
static uint16_t rx_buffer_of[PAIRS_MAX][BUFFERS]; /* by descriptor */
static uint16_t tx_free[PAIRS_MAX][BUFFERS], tx_free_count[PAIRS_MAX], tx_buffer_of[PAIRS_MAX][BUFFERS];

uint8_t net_mac[6];
uint32_t net_ip, net_peer;
static uint8_t peer_mac[6];
static uint32_t resolved_ip;

static struct {
    uint64_t rx_frames, rx_bytes, tx_frames, arp, icmp, udp, tcp, discard, discard_bytes;
    uint64_t by_queue[PAIRS_MAX];
} counters;

/* What the modes wait for. */
static struct {
    uint16_t ping_id, ping_seq;
    bool ping_seen;
    uint16_t udp_port;
    uint32_t udp_size;
    uint8_t udp_data[FRAME_MAX];
    bool udp_seen;
} waiting;

static void give_rx(uint16_t pair, uint16_t buffer)
{
    struct piece piece = {rx_buffers[pair][buffer], buffer_size};
    int head = queue_put(&rx[pair], &piece, 0, 1);
    if (head >= 0)
        rx_buffer_of[pair][head] = buffer;
}

bool net_open(uint16_t wanted)
{
    uint64_t features =
        FEATURE_MAC | FEATURE_STATUS | FEATURE_MTU | (wanted > 1 ? FEATURE_CTRL | FEATURE_MQ : 0);
    if (argument_number("big", 0)) {
        features |= FEATURES_BIG;
        buffer_size = BUFFER_BIG;
    }
    if (!virtio_open(&device, TYPE_NET, 0, features))
        return false;
    for (unsigned i = 0; i < 6; i++)
        net_mac[i] = device.config[i];
    pairs = device.features & FEATURE_MQ ? *(volatile uint16_t *)(device.config + 8) : 1;
    uint16_t control_index = (uint16_t)(2 * pairs);
    if (pairs > PAIRS_MAX)
        pairs = PAIRS_MAX;
    if (pairs > wanted)
        pairs = wanted;
    for (uint16_t p = 0; p < pairs; p++) {
        virtio_queue(&device, &rx[p], (uint16_t)(2 * p), BUFFERS, VECTOR_DEVICES + p);
        virtio_queue(&device, &tx[p], (uint16_t)(2 * p + 1), BUFFERS, VECTOR_DEVICES + PAIRS_MAX + 1);
        rx[p].driver[0] = argument_number("poll", 0) != 0;
        tx[p].driver[0] = 1; /* no interrupts: completions are collected when buffers are needed */
        for (uint16_t i = 0; i < BUFFERS; i++) {
            rx_buffers[p][i] = allocate(buffer_size, 64);
            tx_buffers[p][i] = allocate(buffer_size, 64);
            tx_free[p][tx_free_count[p]++] = i;
        }
    }
    if (device.features & FEATURE_CTRL)
        virtio_queue(&device, &control, control_index, 64, VECTOR_DEVICES + PAIRS_MAX);
    virtio_ready(&device);
    for (uint16_t p = 0; p < pairs; p++) {
        for (uint16_t i = 0; i < rx[p].size; i++)
            give_rx(p, i);
        queue_kick(&rx[p]);
    }
    net_ip = argument_ip("ip");
    net_peer = argument_ip("peer");
    print("net mac=%02x:%02x:%02x:%02x:%02x:%02x pairs=%u features=%lx mtu=%u\n", net_mac[0], net_mac[1],
          net_mac[2], net_mac[3], net_mac[4], net_mac[5], pairs, device.features,
          device.features & FEATURE_MTU ? *(volatile uint16_t *)(device.config + 10) : 1500);
    return true;
}

bool net_link_up(void)
{
    return !(device.features & FEATURE_STATUS) || *(volatile uint16_t *)(device.config + 6) & 1;
}

void net_set_pairs(uint16_t count)
{
    static uint8_t header[2] = {4, 0}; /* MQ, VQ_PAIRS_SET */
    static uint16_t value;
    static uint8_t ack;
    value = count;
    ack = 0xff;
    struct piece pieces[3] = {{header, 2}, {&value, 2}, {&ack, 1}};
    int64_t size = queue_call(&control, pieces, 2, 1);
    print("pairs set=%u ack=%u size=%ld\n", count, ack, (long)size);
    if (ack == 0)
        pairs_used = count;
}

static void collect_tx(uint16_t pair)
{
    uint32_t size;
    int head;
    while ((head = queue_take(&tx[pair], &size)) >= 0)
        tx_free[pair][tx_free_count[pair]++] = tx_buffer_of[pair][head];
}

/* The frame's queue pair is found again from its address. */
static uint16_t pair_of(const uint8_t *frame, uint16_t *buffer)
{
    for (uint16_t p = 0; p < pairs; p++)
        for (uint16_t i = 0; i < BUFFERS; i++)
            if (tx_buffers[p][i] + NET_HEADER == frame) {
                *buffer = i;
                return p;
            }
    fail("frame from nowhere");
}

uint8_t *net_frame(void)
{
    uint16_t pair = (uint16_t)(next_tx++ % pairs_used);
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
    int head = queue_put(&tx[pair], &piece, 1, 0);
    if (head < 0) {
        tx_free[pair][tx_free_count[pair]++] = buffer;
        return;
    }
    tx_buffer_of[pair][head] = buffer;
    counters.tx_frames++;
    queue_kick(&tx[pair]);
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
    counters.arp++;
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
    counters.icmp++;
    if (size < 8 || net_checksum(icmp, size, 0) != 0)
        return;
    if (icmp[0] == 0 && get16(icmp + 4) == waiting.ping_id && get16(icmp + 6) == waiting.ping_seq)
        waiting.ping_seen = true;
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

static void send_udp(uint32_t to, uint16_t from_port, uint16_t to_port, const void *data, uint32_t size)
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
    counters.udp++;
    if (size < 8 || get16(udp + 4) < 8 || get16(udp + 4) > size)
        return;
    uint32_t data = get16(udp + 4) - 8u;
    if (get16(udp + 2) == PORT_DISCARD) {
        counters.discard++;
        counters.discard_bytes += ETHERNET_SIZE + IP_SIZE + size;
    } else if (get16(udp + 2) == PORT_ECHO)
        send_udp(get32(ip + 12), PORT_ECHO, get16(udp), udp + 8, data);
    else if (get16(udp + 2) == waiting.udp_port && data <= FRAME_MAX) {
        memcpy(waiting.udp_data, udp + 8, data);
        waiting.udp_size = data;
        waiting.udp_seen = true;
    }
}

static void input(const uint8_t *frame, uint32_t size)
{
    counters.rx_frames++;
    counters.rx_bytes += size;
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
        counters.tcp++;
        if (payload >= 20 && get16(ip + IP_SIZE + 2) == PORT_DISCARD) {
            counters.discard++;
            counters.discard_bytes += size;
            return;
        }
        tcp_input(ip, payload);
    }
}

void net_poll(void)
{
    for (uint16_t p = 0; p < pairs; p++) {
        uint32_t size;
        int head;
        bool any = false;
        while ((head = queue_take(&rx[p], &size)) >= 0) {
            uint16_t buffer = rx_buffer_of[p][head];
            counters.by_queue[p]++;
            if (size >= NET_HEADER && size <= buffer_size)
                input(rx_buffers[p][buffer] + NET_HEADER, size - NET_HEADER);
            give_rx(p, buffer);
            any = true;
        }
        if (any)
            queue_kick(&rx[p]);
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

/* Modes */

/* Round trip times, nanoseconds: the newest of so many. */
#define TIMES 4096u
static uint32_t times[TIMES];

static uint32_t percentile(uint32_t count, uint32_t per_mille)
{
    for (uint32_t gap = count / 2; gap; gap /= 2) /* sorted by Shell's method; a second time it is */
        for (uint32_t i = gap; i < count; i++)
            for (uint32_t at = i; at >= gap && times[at - gap] > times[at]; at -= gap) {
                uint32_t time = times[at];
                times[at] = times[at - gap];
                times[at - gap] = time;
            }
    return count ? times[(uint64_t)(count - 1) * per_mille / 1000] : 0;
}

static bool ping_seen(void)
{
    return waiting.ping_seen;
}

bool mode_ping(void)
{
    uint64_t count = argument_number("count", 5), interval = argument_number("interval", 0);
    uint32_t size = (uint32_t)argument_number("size", 56);
    uint64_t received = 0, sum = 0, least = UINT64_MAX, most = 0;
    if (!net_resolve(net_peer))
        return false;
    waiting.ping_id = (uint16_t)random_number();
    for (uint64_t i = 1; i <= count; i++) {
        uint8_t *frame = net_frame();
        if (!frame)
            fail("no transmit buffer");
        uint8_t *icmp = frame + ETHERNET_SIZE + IP_SIZE;
        memset(icmp, 0, 8);
        icmp[0] = 8;
        put16(icmp + 4, waiting.ping_id);
        put16(icmp + 6, (uint32_t)i & 0xffff);
        for (uint32_t at = 0; at < size; at++)
            icmp[8 + at] = (uint8_t)at;
        put16(icmp + 2, net_checksum(icmp, 8 + size, 0));
        waiting.ping_seq = (uint16_t)i;
        waiting.ping_seen = false;
        uint64_t start = now_ns();
        net_send_ip(net_peer, PROTOCOL_ICMP, frame, 8 + size);
        if (!net_wait(argument_number("timeout", 10000000), ping_seen)) {
            print("ping seq=%lu lost\n", i);
            continue;
        }
        uint64_t nanoseconds = now_ns() - start, time = nanoseconds / 1000;
        times[received++ % TIMES] = nanoseconds < UINT32_MAX ? (uint32_t)nanoseconds : UINT32_MAX;
        sum += time;
        least = time < least ? time : least;
        most = time > most ? time : most;
        if (count <= 10 || interval)
            print("ping seq=%lu us=%lu\n", i, time);
        if (interval)
            net_wait(interval * 1000, NULL);
    }
    uint32_t kept = received < TIMES ? (uint32_t)received : TIMES;
    print("ping-result sent=%lu received=%lu min-us=%lu avg-us=%lu max-us=%lu p50-ns=%u p99-ns=%u\n", count,
          received, received ? least : 0, received ? sum / received : 0, most, percentile(kept, 500),
          percentile(kept, 990));
    return received == count || (argument("lossy") && received > 0);
}

static bool udp_seen(void)
{
    return waiting.udp_seen;
}

bool mode_udp(void)
{
    uint64_t count = argument_number("count", 100), received = 0;
    static uint8_t data[FRAME_MAX];
    if (!net_resolve(net_peer))
        return false;
    waiting.udp_port = 40000;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t size = (uint32_t)(1 + random_number() % 1400);
        for (uint32_t at = 0; at < size; at++)
            data[at] = (uint8_t)random_number();
        waiting.udp_seen = false;
        send_udp(net_peer, 40000, PORT_ECHO, data, size);
        if (net_wait(10000000, udp_seen) && waiting.udp_size == size &&
            memcmp(waiting.udp_data, data, size) == 0)
            received++;
    }
    print("udp-result sent=%lu received=%lu\n", count, received);
    return received == count;
}

bool mode_echo(void)
{
    uint64_t seconds = argument_number("seconds", 0), end = now_us() + seconds * 1000000;
    print("echo ready\n");
    while (!seconds || now_us() < end)
        net_wait(1000000, NULL);
    print("echo-result frames=%lu arp=%lu icmp=%lu udp=%lu tcp=%lu\n", counters.rx_frames, counters.arp,
          counters.icmp, counters.udp, counters.tcp);
    return true;
}

/* A TCP segment for the peer's discard port that the other side is to cut into pieces of `gso` bytes
 * (5.1.6.2). */
static void send_segment(uint8_t *frame, uint32_t size, uint32_t gso)
{
    uint8_t *header = frame - NET_HEADER, *tcp = frame + ETHERNET_SIZE + IP_SIZE;
    uint16_t fields[4] = {54, (uint16_t)gso, ETHERNET_SIZE + IP_SIZE,
                          16}; /* hdr_len, gso_size, csum_start, _offset */
    uint32_t payload = size - ETHERNET_SIZE - IP_SIZE;
    header[0] = 1; /* NEEDS_CSUM */
    header[1] = 1; /* GSO_TCPV4 */
    memcpy(header + 2, fields, sizeof(fields));
    memset(tcp, 0, 20);
    put16(tcp, 40000);
    put16(tcp + 2, PORT_DISCARD);
    put16(tcp + 12, 0x5010); /* ACK */
    put16(tcp + 14, 0xffff);
    put16(tcp + 16, (uint16_t)~net_checksum(tcp, 0, net_pseudo_sum(net_ip, net_peer, PROTOCOL_TCP, payload)));
    net_send_ip(net_peer, PROTOCOL_TCP, frame, payload);
}

static void send_discard(uint8_t *frame, uint16_t from_port, uint32_t payload)
{
    uint8_t *udp = frame + ETHERNET_SIZE + IP_SIZE;
    put16(udp, from_port);
    put16(udp + 2, PORT_DISCARD);
    put16(udp + 4, 8 + payload);
    put16(udp + 6, 0);
    net_send_ip(net_peer, PROTOCOL_UDP, frame, 8 + payload);
}

/* The ring is full: until the switch says that it is not. */
static void flood_sleep(struct queue *queue)
{
    uint32_t seen = interrupt_total;
    queue->driver[0] = 0;
    fence();
    if (queue->used_seen == queue->device[1])
        sleep_unless(seen, 1000);
    queue->driver[0] = 1;
}

/* Transmits frames to the peer's discard port as fast as the ring takes them: UDP, or with gso= TCP to be
 * segmented. */
bool mode_flood(void)
{
    uint32_t size = (uint32_t)argument_number("size", 64), gso = (uint32_t)argument_number("gso", 0);
    uint64_t seconds = argument_number("seconds", 2);
    bool sleep = argument_number("poll", 0) == 0;
    if (!net_resolve(net_peer))
        return false;
    if (size > buffer_size - NET_HEADER || (gso && (size < 54 || !(device.features & FEATURES_BIG))))
        fail("flood: such frames need big=1");
    uint32_t payload = size > 42 ? size - 42 : 18;
    uint8_t *first = net_frame();
    if (!first)
        fail("no transmit buffer");
    uint8_t *buffers[BUFFERS];
    uint16_t count = 0;
    for (uint8_t *frame = first; frame && count < BUFFERS; frame = net_frame())
        buffers[count++] = frame;
    /* Each buffer becomes a ready frame once, then only its descriptor is given again and again. */
    for (uint16_t i = 0; i < count; i++) {
        if (gso)
            send_segment(buffers[i], size, gso);
        else
            send_discard(buffers[i], (uint16_t)(40000 + i % 16), payload);
    }
    uint64_t start = now_us(), end = start + seconds * 1000000, sent = 0;
    struct queue *queue = &tx[0];
    while (now_us() < end) {
        unsigned batch = 0;
        while (queue->used_seen != queue->device[1] && batch < 32) {
            barrier();
            uint16_t head = (uint16_t)((volatile uint32_t *)(queue->device +
                                                             2))[2 * (queue->used_seen & (queue->size - 1))];
            queue->driver[2 + (uint16_t)((uint16_t)(queue->driver[1] + batch) & (queue->size - 1))] = head;
            queue->used_seen++;
            batch++;
        }
        if (!batch && sleep)
            flood_sleep(queue);
        if (!batch)
            continue;
        barrier();
        queue->driver[1] = (uint16_t)(queue->driver[1] + batch);
        sent += batch;
        queue_kick(queue);
    }
    uint64_t time = now_us() - start;
    print("flood-result frames=%lu size=%u us=%lu pps=%lu\n", sent, 42 + payload, time,
          sent * 1000000 / time);
    return sent > 0;
}

/* Counts what arrives. */
bool mode_sink(void)
{
    uint64_t seconds = argument_number("seconds", 3), start = 0, end = 0, last = 0;
    print("sink ready\n");
    for (;;) {
        net_wait(argument_number("poll", 0) ? 1000 : 100000, NULL);
        uint64_t now = now_us();
        if (!start && counters.discard) {
            start = now;
            end = now + seconds * 1000000;
            counters.discard = counters.discard_bytes = 0;
        }
        if (start && now >= end) {
            last = now;
            break;
        }
    }
    print("sink-result frames=%lu us=%lu pps=%lu mbps=%lu\n", counters.discard, last - start,
          counters.discard * 1000000 / (last - start), counters.discard_bytes * 8 / (last - start));
    return true;
}

/* All queue pairs carry traffic: pings leave through each in turn. */
bool mode_queues(void)
{
    if (pairs < 2) {
        print("error the device has one queue pair\n");
        return false;
    }
    net_set_pairs(pairs);
    bool right = mode_ping() && pairs_used == pairs;
    for (uint16_t p = 0; p < pairs; p++)
        print("queue pair=%u received=%lu\n", p, counters.by_queue[p]);
    net_set_pairs(1);
    return mode_ping() && right;
}

/* Tells the link's changes until the time is over. */
bool mode_link(void)
{
    uint64_t end = now_us() + argument_number("seconds", 5) * 1000000;
    bool up = net_link_up();
    print("link up=%u\n", up);
    while (now_us() < end) {
        net_wait(20000, NULL);
        if (net_link_up() != up) {
            up = !up;
            print("link up=%u\n", up);
        }
    }
    return true;
}
