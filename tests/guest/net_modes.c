/* SPDX-License-Identifier: BSD-3-Clause */
/* What the guest does with its NIC: the modes of README.md. */
#include "net.h"

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
    return net.waiting.ping_seen;
}

bool mode_ping(void)
{
    uint64_t count = argument_number("count", 5), interval = argument_number("interval", 0);
    uint32_t size = (uint32_t)argument_number("size", 56);
    uint64_t received = 0, sum = 0, least = UINT64_MAX, most = 0;
    if (!net_resolve(net_peer))
        return false;
    net.waiting.ping_id = (uint16_t)random_number();
    for (uint64_t i = 1; i <= count; i++) {
        uint8_t *frame = net_frame();
        if (!frame)
            fail("no transmit buffer");
        uint8_t *icmp = frame + ETHERNET_SIZE + IP_SIZE;
        memset(icmp, 0, 8);
        icmp[0] = 8;
        put16(icmp + 4, net.waiting.ping_id);
        put16(icmp + 6, (uint32_t)i & 0xffff);
        for (uint32_t at = 0; at < size; at++)
            icmp[8 + at] = (uint8_t)at;
        put16(icmp + 2, net_checksum(icmp, 8 + size, 0));
        net.waiting.ping_seq = (uint16_t)i;
        net.waiting.ping_seen = false;
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
    return net.waiting.udp_seen;
}

bool mode_udp(void)
{
    uint64_t count = argument_number("count", 100), received = 0;
    static uint8_t data[FRAME_MAX];
    if (!net_resolve(net_peer))
        return false;
    net.waiting.udp_port = 40000;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t size = (uint32_t)(1 + random_number() % 1400);
        for (uint32_t at = 0; at < size; at++)
            data[at] = (uint8_t)random_number();
        net.waiting.udp_seen = false;
        net_send_udp(net_peer, 40000, PORT_ECHO, data, size);
        if (net_wait(10000000, udp_seen) && net.waiting.udp_size == size &&
            memcmp(net.waiting.udp_data, data, size) == 0)
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
    print("echo-result frames=%lu arp=%lu icmp=%lu udp=%lu tcp=%lu\n", net.counters.rx_frames,
          net.counters.arp, net.counters.icmp, net.counters.udp, net.counters.tcp);
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
    if (size > net.buffer_size - NET_HEADER || (gso && (size < 54 || !(net.device.features & FEATURES_BIG))))
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
    struct queue *queue = &net.tx[0];
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
        if (!start && net.counters.discard) {
            start = now;
            end = now + seconds * 1000000;
            net.counters.discard = net.counters.discard_bytes = 0;
        }
        if (start && now >= end) {
            last = now;
            break;
        }
    }
    print("sink-result frames=%lu us=%lu pps=%lu mbps=%lu\n", net.counters.discard, last - start,
          net.counters.discard * 1000000 / (last - start), net.counters.discard_bytes * 8 / (last - start));
    return true;
}

/* All queue pairs carry traffic: pings leave through each in turn. */
bool mode_queues(void)
{
    if (net.pairs < 2) {
        print("error the device has one queue pair\n");
        return false;
    }
    net_set_pairs(net.pairs);
    bool right = mode_ping() && net.pairs_used == net.pairs;
    for (uint16_t p = 0; p < net.pairs; p++)
        print("queue pair=%u received=%lu\n", p, net.counters.by_queue[p]);
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
