/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Enough TCP to be a peer in a test: segments in order, one in flight at a time, retransmission by time. The
 * server (port 7) keeps no data: what it receives goes back in its acknowledgement. The client sends a
 * pattern and compares.
 */
#include "guest.h"

#define PROTOCOL_TCP 6
#define TCP_SIZE     20u
#define PORT_ECHO    7
#define PORT_CLIENT  40001
#define SEGMENT      1200u
#define CONNECTIONS  8u
#define WINDOW       4096u
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static struct connection {
    bool used;
    uint32_t ip;
    uint16_t port;
    uint32_t send_next, receive_next;
} server[CONNECTIONS];

static struct {
    uint32_t send_next, receive_next;
    bool connected, closed, answered;
    uint32_t acknowledged;
    uint32_t echo_size;
    uint8_t echo[FRAME_MAX];
} client;

static void send_segment(uint32_t to, uint16_t from_port, uint16_t to_port, uint32_t seq, uint32_t ack,
                         uint8_t flags, const void *data, uint32_t size)
{
    uint8_t *frame = net_frame();
    if (!frame)
        return;
    uint8_t *tcp = frame + ETHERNET_SIZE + IP_SIZE;
    memset(tcp, 0, TCP_SIZE);
    put16(tcp, from_port);
    put16(tcp + 2, to_port);
    put32(tcp + 4, seq);
    put32(tcp + 8, ack);
    tcp[12] = 0x50;
    tcp[13] = flags;
    put16(tcp + 14, WINDOW);
    memcpy(tcp + TCP_SIZE, data, size);
    put16(tcp + 16,
          net_checksum(tcp, TCP_SIZE + size, net_pseudo_sum(net_ip, to, PROTOCOL_TCP, TCP_SIZE + size)));
    net_send_ip(to, PROTOCOL_TCP, frame, TCP_SIZE + size);
}

static struct connection *find(uint32_t ip, uint16_t port, bool make)
{
    struct connection *free = NULL;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (server[i].used && server[i].ip == ip && server[i].port == port)
            return &server[i];
        if (!server[i].used)
            free = &server[i];
    }
    if (!make)
        return NULL;
    if (!free)
        free = &server[port % CONNECTIONS];
    *free = (struct connection){.used = true, .ip = ip, .port = port};
    return free;
}

static void serve(uint32_t ip, uint16_t port, uint32_t seq, uint8_t flags, const uint8_t *data, uint32_t size)
{
    struct connection *connection = find(ip, port, flags & SYN);
    if (!connection) {
        if (!(flags & RST))
            send_segment(ip, PORT_ECHO, port, 0, seq + size, RST | ACK, NULL, 0);
        return;
    }
    if (flags & RST) {
        connection->used = false;
        return;
    }
    if (flags & SYN) {
        connection->send_next = (uint32_t)random_number();
        connection->receive_next = seq + 1;
        send_segment(ip, PORT_ECHO, port, connection->send_next++, seq + 1, SYN | ACK, NULL, 0);
        return;
    }
    if (seq + size == connection->receive_next && size) { /* our answer was lost: again */
        send_segment(ip, PORT_ECHO, port, connection->send_next - size, connection->receive_next, PSH | ACK,
                     data, size);
        return;
    }
    if (seq != connection->receive_next)
        return;
    connection->receive_next += size;
    if (size) {
        send_segment(ip, PORT_ECHO, port, connection->send_next, connection->receive_next, PSH | ACK, data,
                     size);
        connection->send_next += size;
    }
    if (flags & FIN) {
        send_segment(ip, PORT_ECHO, port, connection->send_next, connection->receive_next + 1, FIN | ACK,
                     NULL, 0);
        connection->used = false;
    }
}

static void answer_client(uint32_t seq, uint32_t ack, uint8_t flags, const uint8_t *data, uint32_t size)
{
    if (flags & RST) {
        client.closed = true;
        return;
    }
    if ((flags & (SYN | ACK)) == (SYN | ACK) && !client.connected) {
        client.connected = true;
        client.receive_next = seq + 1;
    } else if (seq != client.receive_next)
        return;
    client.acknowledged = ack;
    if (size && client.echo_size + size <= FRAME_MAX) {
        memcpy(client.echo + client.echo_size, data, size);
        client.echo_size += size;
        client.receive_next += size;
    }
    if (flags & FIN)
        client.closed = true;
}

void tcp_input(const uint8_t *ip, uint32_t size)
{
    const uint8_t *tcp = ip + IP_SIZE;
    uint32_t from = get32(ip + 12);
    if (size < TCP_SIZE)
        return;
    uint32_t header = (uint32_t)(tcp[12] >> 4) * 4;
    if (header < TCP_SIZE || header > size ||
        net_checksum(tcp, size, net_pseudo_sum(from, net_ip, PROTOCOL_TCP, size)) != 0)
        return;
    if (get16(tcp + 2) == PORT_ECHO)
        serve(from, get16(tcp), get32(tcp + 4), tcp[13], tcp + header, size - header);
    else if (get16(tcp + 2) == PORT_CLIENT)
        answer_client(get32(tcp + 4), get32(tcp + 8), tcp[13], tcp + header, size - header);
}

static uint32_t wanted_echo;

static bool echoed(void)
{
    return client.closed || client.echo_size >= wanted_echo;
}

static bool connected(void)
{
    return client.connected || client.closed;
}

static bool closed(void)
{
    return client.closed;
}

bool mode_tcp(void)
{
    uint64_t total = argument_number("bytes", 100000), done = 0, wrong = 0, again = 0;
    static uint8_t data[SEGMENT];
    if (!net_resolve(net_peer))
        return false;
    memset(&client, 0, sizeof(client));
    client.send_next = (uint32_t)random_number();
    for (unsigned try = 0; try < 10 && !client.connected && !client.closed; try++) {
        send_segment(net_peer, PORT_CLIENT, PORT_ECHO, client.send_next, 0, SYN, NULL, 0);
        net_wait(500000, connected);
    }
    uint64_t start = now_us();
    client.send_next++;
    while (client.connected && !client.closed && done < total) {
        uint32_t size = total - done < SEGMENT ? (uint32_t)(total - done) : SEGMENT;
        for (uint32_t i = 0; i < size; i++)
            data[i] = (uint8_t)random_number();
        client.echo_size = 0;
        wanted_echo = size;
        for (unsigned try = 0; try < 50 && !echoed(); try++) {
            again += try > 0;
            send_segment(net_peer, PORT_CLIENT, PORT_ECHO, client.send_next, client.receive_next, PSH | ACK,
                         data, size);
            net_wait(200000, echoed);
        }
        if (client.echo_size != size || memcmp(client.echo, data, size) != 0)
            wrong++;
        client.send_next += size;
        done += size;
        if (wrong)
            break;
    }
    uint64_t time = now_us() - start;
    send_segment(net_peer, PORT_CLIENT, PORT_ECHO, client.send_next, client.receive_next, FIN | ACK, NULL, 0);
    bool finished = net_wait(1000000, closed);
    print("tcp-result connected=%u bytes=%lu wrong=%lu retransmitted=%lu us=%lu closed=%u\n",
          client.connected, done, wrong, again, time, finished);
    return client.connected && done == total && !wrong && finished;
}
