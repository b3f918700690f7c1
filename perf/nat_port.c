/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two kinds of ports. A packet socket sends with sendmmsg past the queueing discipline: a socket buffer
 * is allocated, written and handed to the interface for each frame, which is what any sender in the kernel
 * would do. What arrives there is counted by the interface; the socket reads a sample, chosen at random by
 * a filter in the kernel.
 */
#include "nat_port.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "driver.h"
#include "host.h"

#define SAMPLE_EVERY   1024u /* frames */
#define RECEIVE_SIZE   2048u /* bytes */
#define TIMEOUT_MS     20000
#define RECEIVE_BUFFER (4 << 20)

struct nat_port {
    struct driver_device *device; /* NULL: a packet socket */
    struct driver_queue *tx, *rx;
    unsigned collected;
    unsigned room;
    uint64_t received;
    char name[IFNAMSIZ];
    int fd;
    unsigned next;
    uint32_t before; /* the interface's count when it was opened */
    struct mmsghdr messages[NAT_PORT_BUFFERS], arrived[NAT_PORT_BATCH];
    struct iovec parts[NAT_PORT_BUFFERS], rooms[NAT_PORT_BATCH];
    uint8_t frames[NAT_PORT_BUFFERS][64], seen[NAT_PORT_BATCH][RECEIVE_SIZE];
};

/* Frames that the interface received, modulo 2^32. */
static uint32_t interface_count(const char *name)
{
    struct ifaddrs *list, *entry;
    uint32_t count = 0;
    if (getifaddrs(&list) < 0)
        return 0;
    for (entry = list; entry; entry = entry->ifa_next)
        if (entry->ifa_addr && entry->ifa_addr->sa_family == AF_PACKET && entry->ifa_data &&
            strcmp(entry->ifa_name, name) == 0)
            count = ((const struct rtnl_link_stats *)entry->ifa_data)->rx_packets;
    freeifaddrs(list);
    return count;
}

static int open_socket(struct nat_port *port, const char *name)
{
    int one = 1, size = RECEIVE_BUFFER;
    /* ETH_P_ALL sees frames before the ingress filter. */
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
    if (address.sll_ifindex == 0)
        return -errno;
    strncpy(port->name, name, sizeof(port->name) - 1);
    port->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (port->fd < 0)
        return -errno;
    if (setsockopt(port->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) < 0 ||
        setsockopt(port->fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0 ||
        setsockopt(port->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
        bind(port->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    for (unsigned i = 0; i < NAT_PORT_BUFFERS; i++) {
        port->parts[i] = (struct iovec){port->frames[i], NAT_PORT_FRAME};
        port->messages[i].msg_hdr = (struct msghdr){.msg_iov = &port->parts[i], .msg_iovlen = 1};
    }
    for (unsigned i = 0; i < NAT_PORT_BATCH; i++) {
        port->rooms[i] = (struct iovec){port->seen[i], RECEIVE_SIZE};
        port->arrived[i].msg_hdr = (struct msghdr){.msg_iov = &port->rooms[i], .msg_iovlen = 1};
    }
    port->before = interface_count(name);
    return 0;
}

static int open_device(struct nat_port *port, const char *path)
{
    struct driver_config config = {.path = path,
                                   .queue_pairs = 1,
                                   .ring_size = NAT_PORT_BUFFERS,
                                   .buffer_size = RECEIVE_SIZE,
                                   .features = FEATURES_PLAIN,
                                   .timeout_ms = TIMEOUT_MS,
                                   .hugepages = true};
    port->device = driver_open(&config);
    if (!port->device)
        return -errno;
    port->tx = driver_tx_queue(port->device, 0);
    port->rx = driver_rx_queue(port->device, 0);
    return driver_buffer_count(port->tx) == NAT_PORT_BUFFERS ? 0 : -EPROTO;
}

struct nat_port *nat_port_open(const char *name)
{
    struct nat_port *port = calloc(1, sizeof(*port));
    if (!port)
        return NULL;
    port->fd = -1;
    int status = strchr(name, '/') ? open_device(port, name) : open_socket(port, name);
    if (status == 0)
        return port;
    nat_port_close(port);
    errno = -status;
    return NULL;
}

void nat_port_close(struct nat_port *port)
{
    if (!port)
        return;
    if (port->device)
        driver_close(port->device);
    if (port->fd >= 0)
        close(port->fd);
    free(port);
}

uint8_t *nat_port_buffer(struct nat_port *port, unsigned i)
{
    return port->device ? driver_buffer(port->tx, i) + VIRTIO_NET_HEADER_SIZE : port->frames[i];
}

int nat_port_prepare(struct nat_port *port)
{
    uint32_t sizes[NAT_PORT_BUFFERS];
    if (!port->device)
        return 0;
    for (unsigned i = 0; i < NAT_PORT_BUFFERS; i++) {
        memset(driver_buffer(port->tx, i), 0, VIRTIO_NET_HEADER_SIZE);
        sizes[i] = VIRTIO_NET_HEADER_SIZE + NAT_PORT_FRAME;
    }
    return driver_prepare(port->tx, sizes);
}

unsigned nat_port_next(const struct nat_port *port)
{
    return port->device ? driver_next_buffer(port->tx) : port->next;
}

unsigned nat_port_room(struct nat_port *port)
{
    if (!port->device)
        return NAT_PORT_BATCH;
    if (port->room < NAT_PORT_BATCH)
        port->room = NAT_PORT_BUFFERS - driver_in_flight(port->tx);
    return port->room;
}

static unsigned send_frames(struct nat_port *port, unsigned count)
{
    unsigned done = 0;
    while (done < count) {
        unsigned to_end = NAT_PORT_BUFFERS - port->next, some = count - done;
        int sent = sendmmsg(port->fd, &port->messages[port->next], some < to_end ? some : to_end, 0);
        unsigned left = sent > 0 ? (unsigned)sent : 1; /* an error is the first frame's, which is lost */
        done += left;
        port->next = (port->next + left) % NAT_PORT_BUFFERS;
    }
    return done;
}

unsigned nat_port_publish(struct nat_port *port, unsigned count)
{
    if (!port->device)
        return send_frames(port, count);
    count = driver_publish(port->tx, count < port->room ? count : port->room);
    port->room -= count;
    driver_kick(port->tx);
    return count;
}

unsigned nat_port_collect(struct nat_port *port, const uint8_t *frames[NAT_PORT_BATCH],
                          uint32_t sizes[NAT_PORT_BATCH])
{
    uint16_t buffers[NAT_PORT_BATCH];
    if (!port->device) {
        int count = recvmmsg(port->fd, port->arrived, NAT_PORT_BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < count; i++) {
            frames[i] = port->seen[i];
            sizes[i] = port->arrived[i].msg_len;
        }
        return count > 0 ? (unsigned)count : 0;
    }
    port->collected = driver_collect(port->rx, buffers, sizes, NAT_PORT_BATCH);
    for (unsigned i = 0; i < port->collected; i++) {
        frames[i] = driver_buffer(port->rx, buffers[i]) + VIRTIO_NET_HEADER_SIZE;
        sizes[i] = sizes[i] > VIRTIO_NET_HEADER_SIZE ? sizes[i] - VIRTIO_NET_HEADER_SIZE : 0;
    }
    port->received += port->collected;
    return port->collected;
}

void nat_port_recycle(struct nat_port *port)
{
    if (!port->device || port->collected == 0)
        return;
    driver_recycle(port->rx, port->collected);
    driver_kick(port->rx);
    port->collected = 0;
}

int nat_port_sample(struct nat_port *port)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SAMPLE_EVERY - 1),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, RECEIVE_SIZE),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    if (port->device)
        return 0;
    return setsockopt(port->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno : 0;
}

unsigned nat_port_skip(struct nat_port *port)
{
    if (!port->device)
        return 0;
    unsigned count = driver_skip(port->rx, 4 * NAT_PORT_BATCH);
    if (count)
        driver_kick(port->rx);
    port->received += count;
    return count;
}

uint64_t nat_port_received(struct nat_port *port)
{
    return port->device ? port->received : interface_count(port->name) - port->before;
}

unsigned nat_port_in_flight(struct nat_port *port)
{
    return port->device ? driver_in_flight(port->tx) : 0;
}

bool nat_port_drops(const struct nat_port *port)
{
    return !port->device;
}
