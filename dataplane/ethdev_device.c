/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plugging DPDK devices in and out. All of it runs on the control thread, as does the table of owners: a
 * device belongs to one port.
 *
 * A PCI device is reached through VFIO, which weftd has bound it to: an IOMMU lets it see the dataplane's
 * memory and nothing else. That memory is hugepages, because an IOMMU container takes 65535 mappings and
 * 4 KiB pages would be more. VFIO is looked for again when a device is plugged in, as its module may have
 * been loaded after EAL started.
 *
 * mbufs have 2 KiB of room if the device chains them in both directions, else as much as the largest frame
 * needs. A pool whose mbufs are still elsewhere when the port closes (in a ring of net_ring) is kept until
 * they are back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>
#include <rte_pci.h>
#include <rte_vfio.h>
#include "ethdev_device.h"

#define ETHDEV_DESCRIPTORS 512u /* a queue; bounded by what the device takes */
#define ETHDEV_CACHE       64u  /* mbufs a worker keeps */
#define ETHDEV_TEXT_SIZE   112u
#define ETHDEV_PARKED_MAX  RTE_MAX_ETHPORTS

static const struct port *owners[RTE_MAX_ETHPORTS];
static struct rte_mempool *parked[ETHDEV_PARKED_MAX];

void ethdev_device_check(struct port *port)
{
    const struct ethdev *ethdev = port->private;
    struct rte_eth_link link = {0};
    bool up = rte_eth_link_get_nowait(ethdev->id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
    __atomic_store_n(&port->link, up, __ATOMIC_RELAXED);
}

static void free_parked(void)
{
    for (unsigned i = 0; i < ETHDEV_PARKED_MAX; i++) {
        if (parked[i] && rte_mempool_full(parked[i])) {
            rte_mempool_free(parked[i]);
            parked[i] = NULL;
        }
    }
}

static void release_pool(struct rte_mempool *pool)
{
    unsigned i = 0;
    if (!pool || rte_mempool_full(pool)) {
        rte_mempool_free(pool);
        return;
    }
    while (i < ETHDEV_PARKED_MAX && parked[i])
        i++;
    if (i < ETHDEV_PARKED_MAX)
        parked[i] = pool;
}

static uint16_t find_device(const char *arguments)
{
    struct rte_dev_iterator iterator;
    uint16_t id, found = RTE_MAX_ETHPORTS;
    RTE_ETH_FOREACH_MATCHING_DEV(id, arguments, &iterator)
    {
        found = id;
        rte_eth_iterator_cleanup(&iterator);
        break;
    }
    return found;
}

/* What a PCI device needs of this process. 0 or -errno. */
static int prepare_pci(const char *device, char *text)
{
    struct rte_pci_addr address;
    if (rte_pci_addr_parse(device, &address) < 0)
        return 0;
    if (!rte_eal_has_hugepages()) {
        snprintf(text, ETHDEV_TEXT_SIZE,
                 "device \"%.12s\" needs hugepages: sysctl -w vm.nr_hugepages=512, restart weft-dataplane",
                 device);
        return -ENOMEM;
    }
    if (!rte_vfio_is_enabled("vfio_pci"))
        rte_vfio_enable("vfio");
    if (rte_vfio_is_enabled("vfio_pci"))
        return 0;
    snprintf(text, ETHDEV_TEXT_SIZE, "device \"%.40s\" needs VFIO: modprobe vfio-pci", device);
    return -ENODEV;
}

/* Plugs the device in and makes it the port's. */
static int claim_device(const struct port *port, uint16_t *id, char *text)
{
    const char *device = port->config.device;
    *id = find_device(device);
    if (*id < RTE_MAX_ETHPORTS && owners[*id]) {
        snprintf(text, ETHDEV_TEXT_SIZE, "device \"%.40s\" belongs to port %.30s already", device,
                 owners[*id]->config.name);
        return -EBUSY;
    }
    if (*id == RTE_MAX_ETHPORTS) {
        int error = prepare_pci(device, text);
        if (error)
            return error;
        error = rte_dev_probe(device);
        *id = error ? RTE_MAX_ETHPORTS : find_device(device);
        if (*id == RTE_MAX_ETHPORTS) {
            snprintf(text, ETHDEV_TEXT_SIZE, "no DPDK device \"%.60s\": %s", device,
                     rte_strerror(error ? -error : ENODEV));
            return error ? error : -ENODEV;
        }
    }
    owners[*id] = port;
    return 0;
}

static void unplug_device(uint16_t id)
{
    struct rte_eth_dev_info info;
    int known = rte_eth_dev_info_get(id, &info);
    rte_eth_dev_close(id);
    if (known == 0 && info.device)
        rte_dev_remove(info.device);
    owners[id] = NULL;
}

static uint64_t choose_offloads(struct port *port, const struct ethdev *ethdev,
                                const struct rte_eth_dev_info *info)
{
    const uint64_t csum = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
    const uint64_t tso = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
    uint64_t chosen = ethdev->chains ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0;
    port->offloads = 0;
    if ((info->tx_offload_capa & csum) != csum)
        return chosen;
    port->offloads |= OFFLOAD_CSUM;
    chosen |= csum;
    if (ethdev->chains && (info->tx_offload_capa & tso) == tso &&
        ethdev->segments_max > PACKET_SIZE_MAX >> ETHDEV_ROOM_SHIFT) {
        port->offloads |= OFFLOAD_TSO4;
        if (strcmp(info->driver_name, "net_tap") != 0) /* librte_gso, which it uses, is IPv4 only */
            port->offloads |= OFFLOAD_TSO6;
        chosen |= tso;
    }
    return chosen;
}

static int configure_device(struct port *port, struct ethdev *ethdev, const struct rte_eth_dev_info *info,
                            char *text)
{
    const char *device = port->config.device;
    uint64_t rss = info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
    struct rte_eth_conf config = {0};
    if (port->config.mtu > info->max_mtu) {
        snprintf(text, ETHDEV_TEXT_SIZE, "device \"%.40s\": MTU %u is more than its %u", device,
                 port->config.mtu, info->max_mtu);
        return -EINVAL;
    }
    ethdev->rx_queues = (uint16_t)RTE_MIN(port->config.queues, info->max_rx_queues);
    ethdev->tx_queues = (uint16_t)RTE_MIN(
        RTE_MIN(RTE_MAX(port->config.queues, control_worker_count()), DP_QUEUES_MAX), info->max_tx_queues);
    ethdev->chains = (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) &&
                     (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
    ethdev->segments_max = info->tx_desc_lim.nb_seg_max ? info->tx_desc_lim.nb_seg_max : UINT16_MAX;
    ethdev->room = 1u << ETHDEV_ROOM_SHIFT;
    if (!ethdev->chains && port->max_frame > ethdev->room)
        ethdev->room = RTE_ALIGN_CEIL(port->max_frame, 64u);
    config.rxmode.mtu = RTE_MAX(port->config.mtu, info->min_mtu);
    if (ethdev->chains)
        config.rxmode.offloads = RTE_ETH_RX_OFFLOAD_SCATTER;
    config.txmode.offloads = choose_offloads(port, ethdev, info);
    ethdev->prepare = port->offloads != 0;
    if (ethdev->rx_queues > 1 && rss) {
        config.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        config.rx_adv_conf.rss_conf.rss_hf = rss;
    }
    int error = rte_eth_dev_configure(ethdev->id, ethdev->rx_queues, ethdev->tx_queues, &config);
    if (error && ethdev->tx_queues != ethdev->rx_queues) { /* some drivers have pairs only */
        ethdev->tx_queues = ethdev->rx_queues;
        error = rte_eth_dev_configure(ethdev->id, ethdev->rx_queues, ethdev->tx_queues, &config);
    }
    if (error)
        snprintf(text, ETHDEV_TEXT_SIZE, "device \"%.40s\" cannot be configured: %s", device,
                 rte_strerror(-error));
    return error;
}

static int start_queues(struct port *port, struct ethdev *ethdev, const struct rte_eth_dev_info *info,
                        char *text)
{
    static unsigned serial;
    char name[RTE_MEMPOOL_NAMESIZE];
    uint16_t rx_size = ETHDEV_DESCRIPTORS, tx_size = ETHDEV_DESCRIPTORS;
    int error = rte_eth_dev_adjust_nb_rx_tx_desc(ethdev->id, &rx_size, &tx_size);
    unsigned count = ethdev->rx_queues * (rx_size + ETHDEV_BURST) + ethdev->tx_queues * tx_size +
                     (control_worker_count() + 1) * 2 * ETHDEV_CACHE;
    int socket = rte_eth_dev_socket_id(ethdev->id);

    snprintf(name, sizeof(name), "weft-ethdev-%u", serial++);
    ethdev->pool = rte_pktmbuf_pool_create(name, count, ETHDEV_CACHE, 0,
                                           (uint16_t)(ethdev->room + RTE_PKTMBUF_HEADROOM), socket);
    if (!ethdev->pool) {
        snprintf(text, ETHDEV_TEXT_SIZE, "device \"%.40s\": no memory for %u buffers of %u bytes",
                 port->config.device, count, ethdev->room);
        return -ENOMEM;
    }
    for (uint16_t i = 0; error == 0 && i < ethdev->rx_queues; i++)
        error = rte_eth_rx_queue_setup(ethdev->id, i, rx_size, (unsigned)socket, NULL, ethdev->pool);
    for (uint16_t i = 0; error == 0 && i < ethdev->tx_queues; i++)
        error = rte_eth_tx_queue_setup(ethdev->id, i, tx_size, (unsigned)socket, NULL);
    if (error == 0)
        error = rte_eth_dev_start(ethdev->id);
    if (error)
        snprintf(text, ETHDEV_TEXT_SIZE, "device \"%.40s\" does not start: %s", port->config.device,
                 rte_strerror(-error));
    ethdev->rx_descriptors = rx_size;
    return error;
}

int ethdev_device_open(struct port *port, const int *fds, unsigned fd_count, char *text)
{
    struct rte_eth_dev_info info;
    free_parked();
    struct ethdev *ethdev = aligned_alloc(64, sizeof(*ethdev));
    if (!ethdev) {
        snprintf(text, ETHDEV_TEXT_SIZE, "device \"%.40s\": out of memory", port->config.device);
        return -ENOMEM;
    }
    memset(ethdev, 0, sizeof(*ethdev));
    int error = claim_device(port, &ethdev->id, text);
    if (error)
        goto free_ethdev;
    error = rte_eth_dev_info_get(ethdev->id, &info);
    if (error) {
        snprintf(text, ETHDEV_TEXT_SIZE, "device \"%.40s\": %s", port->config.device, rte_strerror(-error));
        goto unplug;
    }
    error = configure_device(port, ethdev, &info, text);
    if (error == 0)
        error = start_queues(port, ethdev, &info, text);
    if (error)
        goto unplug;
    if (rte_eth_promiscuous_enable(ethdev->id) != 0) {
        rte_eth_allmulticast_enable(ethdev->id); /* a virtual function may have the one without the other */
        control_log(LOG_WARNING,
                    "port %s: device %s has no promiscuous mode: it may not hear frames for guests",
                    port->config.name, port->config.device);
    }
    port->private = ethdev;
    port->queues = ethdev->rx_queues;
    port_set_tx_queues(port, (1u << ethdev->tx_queues) - 1);
    ethdev_device_check(port);
    return 0;

unplug:
    unplug_device(ethdev->id);
    release_pool(ethdev->pool);
free_ethdev:
    free(ethdev);
    return error;
}

void ethdev_device_close(struct port *port)
{
    struct ethdev *ethdev = port->private;
    rte_eth_dev_stop(ethdev->id);
    unplug_device(ethdev->id);
    release_pool(ethdev->pool);
    free_parked();
    free(ethdev);
    port->private = NULL;
}
