/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: the data queues belong to the backend. The control queue, offered with more than one
 * queue pair, is served here: its one command sets how many pairs carry traffic (5.1.6.5.5). The
 * configuration space shows the MAC, the MTU, the number of pairs, and the link, which is up while the
 * backend is there and says so.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>
#include "log.h"
#include "net.h"
#include "virtqueue.h"

#define QUEUE_SIZE        256
#define PAIRS_MAX         ((VIRTIO_QUEUES_MAX - 1) / 2)
#define CONTROL_PER_ROUND 16u
#define FEATURES_PASSED                                                                                      \
    (1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 |         \
     1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN | 1ull << VIRTIO_NET_F_HOST_TSO4 |     \
     1ull << VIRTIO_NET_F_HOST_TSO6 | 1ull << VIRTIO_NET_F_HOST_ECN | 1ull << VIRTIO_NET_F_MRG_RXBUF |       \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_F_VERSION_1 |    \
     1ull << VIRTIO_NET_F_MQ)
#define FEATURES_OURS (1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_STATUS)

struct net {
    struct virtio virtio;
    struct vhost *vhost;
    struct virtqueue control;
    unsigned pairs;      /* data queue pairs */
    unsigned pairs_used; /* carry traffic */
    struct virtio_net_config config;
};

static void show_config(struct net *net)
{
    memcpy(net->virtio.config, &net->config, net->virtio.config_size);
}

/* The backend came, went, or changed its configuration. */
static void changed(struct virtio *virtio)
{
    struct net *net = (struct net *)virtio;
    struct vhost_info info;
    vhost_info(net->vhost, &info);
    struct virtio_net_config theirs;
    memcpy(&theirs, info.config, sizeof(theirs));
    bool up = info.connected && (!info.has_config || theirs.status & VIRTIO_NET_S_LINK_UP);
    uint16_t status = up ? VIRTIO_NET_S_LINK_UP : 0;
    if (status == net->config.status)
        return;
    net->config.status = status;
    show_config(net);
    virtio_config_changed(virtio);
}

static uint8_t control_command(struct net *net, const struct virtqueue_chain *chain)
{
    struct {
        struct virtio_net_ctrl_hdr header;
        uint16_t pairs;
    } __attribute__((packed)) command = {0};
    if (iov_copy_out(chain->iov, chain->read_count, 0, &command, sizeof(command)) != sizeof(command) ||
        command.header.class != VIRTIO_NET_CTRL_MQ || command.header.cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
        command.pairs == 0 || command.pairs > net->pairs)
        return VIRTIO_NET_ERR;
    net->pairs_used = command.pairs;
    vhost_enable(net->vhost, 2 * net->pairs_used);
    return VIRTIO_NET_OK;
}

static void control_kicked(void *context, uint32_t events)
{
    (void)events;
    struct net *net = context;
    struct virtqueue_chain chain;
    uint64_t count;
    int found = 0;
    int kick_fd = net->virtio.queues[2 * net->pairs].kick_fd;
    if (read(kick_fd, &count, sizeof(count)) < 0)
        return;
    for (unsigned i = 0; i < CONTROL_PER_ROUND && (found = virtqueue_pop(&net->control, &chain)) > 0; i++) {
        uint8_t ack = control_command(net, &chain);
        uint64_t size = iov_copy_in(chain.iov + chain.read_count, chain.write_count, 0, &ack, 1);
        virtqueue_push(&net->control, chain.head, (uint32_t)size);
    }
    count = 1;
    if (found > 0 && write(kick_fd, &count, sizeof(count)) < 0)
        return; /* counter full: it is readable anyway */
    if (found < 0) {
        net->control.size = 0;
        virtio_needs_reset(&net->virtio, "malformed control request");
    }
}

static void start(struct virtio *virtio)
{
    struct net *net = (struct net *)virtio;
    net->pairs_used = 1;
    unsigned queues = virtio_has(virtio, VIRTIO_NET_F_MQ) ? 2 * net->pairs : 2;
    vhost_start(net->vhost, queues, 2);
    if (virtio_has(virtio, VIRTIO_NET_F_CTRL_VQ) && virtqueue_init(&net->control, virtio, 2 * net->pairs))
        loop_add(virtio->loop, virtio->queues[2 * net->pairs].kick_fd, EPOLLIN, control_kicked, net);
}

static bool stop(struct virtio *virtio)
{
    struct net *net = (struct net *)virtio;
    if (net->control.size)
        loop_remove(virtio->loop, virtio->queues[2 * net->pairs].kick_fd);
    net->control.size = 0;
    vhost_stop(net->vhost);
    return false;
}

static const struct virtio_ops ops = {
    .name = "net", .type = VIRTIO_ID_NET, .pci_class = 0x020000, .start = start, .stop = stop};

/* MAC and MTU: what the user said, else what the backend says. */
static void fill_config(struct net *net, const struct net_config *config)
{
    struct vhost_info info;
    vhost_info(net->vhost, &info);
    static const uint8_t no_mac[6];
    if (info.has_config)
        memcpy(&net->config, info.config, sizeof(net->config));
    else
        net->config.status = VIRTIO_NET_S_LINK_UP;
    if (memcmp(config->mac, no_mac, 6) != 0)
        memcpy(net->config.mac, config->mac, 6);
    if (memcmp(net->config.mac, no_mac, 6) == 0 && getrandom(net->config.mac, 6, 0) == 6)
        net->config.mac[0] = (uint8_t)((net->config.mac[0] & 0xfc) | 2); /* unicast, locally administered */
    if (config->mtu)
        net->config.mtu = config->mtu;
    net->pairs = config->queue_pairs < info.queue_pairs ? config->queue_pairs : info.queue_pairs;
    if (!(info.features >> VIRTIO_NET_F_MQ & 1))
        net->pairs = 1;
    if (net->pairs > PAIRS_MAX)
        net->pairs = PAIRS_MAX;
    net->config.max_virtqueue_pairs = (uint16_t)net->pairs;
    net->config.status &= VIRTIO_NET_S_LINK_UP;
    net->virtio.config_size = offsetof(struct virtio_net_config, mtu) + sizeof(net->config.mtu);
    net->virtio.features_offered = (info.features & ~(1ull << VIRTIO_NET_F_MQ)) | FEATURES_OURS;
    if (net->config.mtu)
        net->virtio.features_offered |= 1ull << VIRTIO_NET_F_MTU;
    if (net->pairs > 1)
        net->virtio.features_offered |= 1ull << VIRTIO_NET_F_MQ | 1ull << VIRTIO_NET_F_CTRL_VQ;
    show_config(net);
}

struct net *net_new(const struct virtio_host *host, unsigned index, const struct net_config *config,
                    const char **what)
{
    struct net *net = calloc(1, sizeof(*net));
    if (!net)
        return NULL;
    struct vhost_config vhost_config = {.virtio = &net->virtio,
                                        .path = config->path,
                                        .listen = config->listen,
                                        .wait_ms = config->wait_ms,
                                        .features_wanted = FEATURES_PASSED,
                                        .config_size = sizeof(struct virtio_net_config),
                                        .mtu = config->mtu};
    memcpy(vhost_config.mac, config->mac, sizeof(vhost_config.mac));
    _Static_assert(sizeof(struct virtio_net_config) <= VIRTIO_CONFIG_MAX, "config fits");
    net->vhost = vhost_open(&vhost_config, what);
    if (!net->vhost) {
        free(net);
        return NULL;
    }
    fill_config(net, config);
    *what = "put it on the PCI bus";
    int error = virtio_init(&net->virtio, host, &ops, index, 2 * net->pairs + (net->pairs > 1), QUEUE_SIZE);
    if (error) {
        vhost_free(net->vhost);
        free(net);
        errno = -error;
        return NULL;
    }
    return net;
}

int net_run(struct net *net, void (*enter)(void))
{
    return vhost_run(net->vhost, net->virtio.loop, enter, changed);
}

void net_free(struct net *net)
{
    if (!net)
        return;
    vhost_free(net->vhost);
    virtio_free(&net->virtio);
    free(net);
}

struct virtio *net_virtio(struct net *net)
{
    return &net->virtio;
}

struct vhost *net_vhost(struct net *net)
{
    return net->vhost;
}

const uint8_t *net_mac(const struct net *net)
{
    return net->config.mac;
}

bool net_link(const struct net *net)
{
    return net->config.status & VIRTIO_NET_S_LINK_UP;
}
