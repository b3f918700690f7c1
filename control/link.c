/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/wireless.h>
#include <linux/if.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "link.h"

static int ioctl_socket(void)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static bool mac_of(struct rtnl_link *link, uint8_t mac[6])
{
    struct nl_addr *address = rtnl_link_get_addr(link);
    if (!address || nl_addr_get_len(address) != ETH_ALEN)
        return false;
    memcpy(mac, nl_addr_get_binary_addr(address), ETH_ALEN);
    return true;
}

/* Receive queues that are in use; a driver that cannot say has those that it was made with. */
static uint32_t queues_of(int fd, const char *name, uint32_t made)
{
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    struct ifreq request = {.ifr_data = (char *)&channels};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, SIOCETHTOOL, &request) < 0)
        return made ? made : 1;
    uint32_t count = channels.combined_count + channels.rx_count;
    return count ? count : 1;
}

static bool is_wireless(int fd, const char *name)
{
    struct iwreq request = {0};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    return ioctl(fd, SIOCGIWNAME, &request) == 0;
}

static void facts_of(struct nl_sock *socket, struct rtnl_link *link, struct link_facts *facts)
{
    const char *name = rtnl_link_get_name(link), *kind = rtnl_link_get_type(link);
    unsigned flags = rtnl_link_get_flags(link);
    struct rtnl_link *master = NULL;
    facts->ifindex = (uint32_t)rtnl_link_get_ifindex(link);
    facts->mtu = rtnl_link_get_mtu(link);
    facts->ethernet = rtnl_link_get_arptype(link) == ARPHRD_ETHER && mac_of(link, facts->mac);
    facts->running = (flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
    snprintf(facts->kind, sizeof(facts->kind), "%s", kind ? kind : "");
    if (rtnl_link_get_master(link) &&
        rtnl_link_get_kernel(socket, rtnl_link_get_master(link), NULL, &master) == 0) {
        snprintf(facts->master, sizeof(facts->master), "%s", rtnl_link_get_name(master));
        rtnl_link_put(master);
    }
    int fd = ioctl_socket();
    if (fd < 0)
        return;
    facts->queues = queues_of(fd, name, rtnl_link_get_num_rx_queues(link));
    facts->wireless = is_wireless(fd, name);
    close(fd);
}

bool link_facts_equal(const struct link_facts *a, const struct link_facts *b)
{
    return a->ifindex == b->ifindex && a->mtu == b->mtu && a->queues == b->queues &&
           memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 && a->ethernet == b->ethernet &&
           a->running == b->running && a->wireless == b->wireless && strcmp(a->kind, b->kind) == 0 &&
           strcmp(a->master, b->master) == 0;
}

int link_read(const char *name, struct link_facts *facts)
{
    struct nl_sock *socket = nl_socket_alloc();
    struct rtnl_link *link = NULL;
    *facts = (struct link_facts){.queues = 1};
    int error = socket ? nl_connect(socket, NETLINK_ROUTE) : -NLE_NOMEM;
    if (!error)
        error = rtnl_link_get_kernel(socket, 0, name, &link);
    if (!error) {
        facts_of(socket, link, facts);
        rtnl_link_put(link);
    }
    nl_socket_free(socket);
    return !error ? 0 : error == -NLE_NODEV || error == -NLE_OBJ_NOTFOUND ? -ENODEV : -EIO;
}

unsigned link_addresses(uint32_t ifindex, uint8_t (*macs)[6], unsigned count)
{
    struct nl_sock *socket = nl_socket_alloc();
    struct nl_cache *cache = NULL;
    unsigned found = 0;
    if (socket && nl_connect(socket, NETLINK_ROUTE) == 0 &&
        rtnl_link_alloc_cache(socket, AF_UNSPEC, &cache) == 0) {
        for (struct nl_object *object = nl_cache_get_first(cache); object && found < count;
             object = nl_cache_get_next(object)) {
            struct rtnl_link *link = (struct rtnl_link *)object;
            bool own = (uint32_t)rtnl_link_get_ifindex(link) == ifindex;
            if ((own || (uint32_t)rtnl_link_get_link(link) == ifindex) && mac_of(link, macs[found]))
                found++;
        }
        nl_cache_free(cache);
    }
    nl_socket_free(socket);
    return found;
}
