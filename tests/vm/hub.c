/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest switch: every frame that comes from one port goes out of all others. usage: vm-hub [-q PAIRS]
 * SOCKET... (=SOCKET: dials it). For tests of the VMM that need two guests and a backend that can be killed,
 * and nothing of the dataplane.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "backend.h"

#define PORTS_MAX 8u
#define KICK      0x1000u /* epoll data: a kick, not a port's own descriptor */

struct port {
    struct vhost_backend *backend;
    int kick[VHOST_RINGS_MAX];
};

static struct port ports[PORTS_MAX];
static unsigned port_count;
static int epoll_fd;
static struct packet_vector *vector;
static struct notifier *notifier;

static void quiesce(void *context)
{
    (void)context; /* one thread: nothing is held between rounds */
}

static void changed(void *context)
{
    (void)context;
}

static void kick_fd(void *context, unsigned ring, int fd)
{
    struct port *port = context;
    if (port->kick[ring] >= 0)
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, port->kick[ring], NULL);
    port->kick[ring] = fd;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = KICK};
    if (fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event))
        perror("epoll_ctl");
}

static void announce(void *context, const uint8_t mac[6])
{
    printf("port %u announces %02x:%02x:%02x:%02x:%02x:%02x\n", (unsigned)((struct port *)context - ports),
           mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void say(void *context, int level, const char *text)
{
    printf("port %u log %d: %s\n", (unsigned)((struct port *)context - ports), level, text);
}

static const struct vhost_backend_events events = {
    .quiesce = quiesce, .changed = changed, .kick_fd = kick_fd, .announce = announce, .log = say};

static unsigned forward(struct port *from, unsigned pair)
{
    struct vring *ring = vhost_backend_ring(from->backend, 2 * pair + 1);
    if (!vring_usable(ring))
        return 0;
    unsigned count = vring_rx(ring, vector);
    struct packet *packets[PACKET_VECTOR_MAX];
    for (unsigned i = 0; i < count; i++)
        packets[i] = &vector->packets[i];
    for (unsigned i = 0; i < port_count && count; i++) {
        if (&ports[i] == from)
            continue;
        struct vring *to = vhost_backend_ring(ports[i].backend, 2 * pair);
        if (!vring_usable(to))
            to = vhost_backend_ring(ports[i].backend, 0);
        struct vring_tx_result result;
        vring_tx(to, packets, count, notifier, &result);
    }
    vring_rx_done(ring, notifier);
    return count;
}

static unsigned round_of_all(unsigned pairs)
{
    unsigned count = 0;
    for (unsigned i = 0; i < port_count; i++)
        for (unsigned pair = 0; pair < pairs; pair++)
            count += forward(&ports[i], pair);
    notifier_flush(notifier);
    return count;
}

static unsigned arm_all(unsigned pairs)
{
    unsigned work = 0;
    for (unsigned i = 0; i < port_count; i++)
        for (unsigned pair = 0; pair < pairs; pair++) {
            struct vring *ring = vhost_backend_ring(ports[i].backend, 2 * pair + 1);
            work += vring_usable(ring) && vring_arm(ring);
        }
    return work;
}

static void disarm_all(unsigned pairs)
{
    for (unsigned i = 0; i < port_count; i++)
        for (unsigned pair = 0; pair < pairs; pair++) {
            struct vring *ring = vhost_backend_ring(ports[i].backend, 2 * pair + 1);
            if (vring_usable(ring))
                vring_disarm(ring);
        }
}

static void wait_for_work(unsigned pairs)
{
    struct epoll_event ready[16];
    unsigned work = arm_all(pairs);
    int count = epoll_wait(epoll_fd, ready, 16, work ? 0 : 100);
    disarm_all(pairs);
    for (int i = 0; i < count; i++)
        if (ready[i].data.u32 != KICK)
            vhost_backend_run(ports[ready[i].data.u32].backend);
    for (unsigned i = 0; i < port_count; i++)
        vhost_backend_check(ports[i].backend);
}

static int add_port(const char *path, unsigned pairs)
{
    struct port *port = &ports[port_count];
    bool dial = path[0] == '=';
    struct vhost_backend_config config = {.path = path + dial,
                                          .client = dial,
                                          .queue_pairs = pairs,
                                          .mtu = 1500,
                                          .socket_mode = 0666,
                                          .socket_group = (gid_t)-1};
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
        port->kick[i] = -1;
    port->backend = vhost_backend_new(&config, &events, port);
    if (!port->backend)
        return -errno;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = port_count++};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, vhost_backend_fd(port->backend), &event) ? -errno : 0;
}

int main(int argc, char **argv)
{
    unsigned pairs = 1;
    while (getopt(argc, argv, "q:") == 'q')
        pairs = (unsigned)strtoul(optarg, NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    notifier = notifier_new();
    vector = aligned_alloc(64, (sizeof(*vector) + 63) & ~63ul);
    if (epoll_fd < 0 || !notifier || !vector || pairs < 1 || pairs > VHOST_QUEUE_PAIRS_MAX ||
        argc - optind > (int)PORTS_MAX || vhost_backend_process_init()) {
        perror("vm-hub");
        return 1;
    }
    packet_vector_init(vector);
    for (int i = optind; i < argc; i++) {
        int error = add_port(argv[i], pairs);
        if (error) {
            fprintf(stderr, "vm-hub: %s: %s\n", argv[i], strerror(-error));
            return 1;
        }
    }
    printf("ready\n");
    for (;;)
        if (round_of_all(pairs) == 0)
            wait_for_work(pairs);
}
