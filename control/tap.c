/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "log.h"
#include "tap.h"

#define TUN_DEVICE "/dev/net/tun"

struct tap {
    struct tap *next;
    char name[IFNAMSIZ];
    unsigned count; /* 0: adopted */
    int fds[DP_QUEUES_MAX];
    int hold; /* of an adopted one: a queue without traffic; else -1 */
};

struct taps {
    struct tap *first;
};

struct taps *taps_new(void)
{
    return calloc(1, sizeof(struct taps));
}

static void tap_free(struct tap *tap)
{
    for (unsigned i = 0; i < tap->count; i++)
        close(tap->fds[i]);
    if (tap->hold >= 0)
        close(tap->hold);
    free(tap);
}

void taps_free(struct taps *taps)
{
    if (!taps)
        return;
    taps_keep(taps, NULL, 0);
    free(taps);
}

static bool tap_wanted(const struct tap *tap, const struct dp_port *ports, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ports[i].type == DP_PORT_TAP && (ports[i].queues == tap->count || tap->hold >= 0) &&
            strcmp(ports[i].device, tap->name) == 0)
            return true;
    }
    return false;
}

void taps_keep(struct taps *taps, const struct dp_port *ports, size_t count)
{
    for (struct tap **link = &taps->first; *link;) {
        struct tap *tap = *link;
        if (tap_wanted(tap, ports, count)) {
            link = &tap->next;
            continue;
        }
        *link = tap->next;
        tap_free(tap);
    }
}

static int queue_open(const char *name)
{
    int fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static struct tap *tap_new(const struct dp_port *port, char *text, size_t size)
{
    struct tap *tap = calloc(1, sizeof(*tap));
    if (!tap)
        return NULL;
    tap->hold = -1;
    snprintf(tap->name, sizeof(tap->name), "%.15s", port->device);
    while (tap->count < port->queues) {
        int fd = queue_open(tap->name);
        if (fd < 0) {
            bool taken = fd == -EINVAL && tap->count == 0 && if_nametoindex(tap->name) != 0;
            if (taken)
                fd = -EBUSY; /* the kernel says EINVAL for a device of another kind or with other flags */
            snprintf(text, size, "port %s: cannot make the interface %s (%s): %s%s", port->name, tap->name,
                     TUN_DEVICE, strerror(-fd),
                     fd == -EBUSY ? "; an interface of this name exists already: delete it or name another"
                                  : "");
            tap_free(tap);
            errno = -fd;
            return NULL;
        }
        tap->fds[tap->count++] = fd;
    }
    return tap;
}

static int link_change(struct nl_sock *socket, const struct dp_port *port)
{
    static const uint8_t none[6];
    struct rtnl_link *link = NULL, *change = rtnl_link_alloc();
    int error = change ? rtnl_link_get_kernel(socket, 0, port->device, &link) : -NLE_NOMEM;
    if (!error) {
        rtnl_link_set_mtu(change, port->mtu);
        if (memcmp(port->mac, none, sizeof(none)) != 0) {
            struct nl_addr *address = nl_addr_build(AF_LLC, port->mac, sizeof(port->mac));
            rtnl_link_set_addr(change, address);
            nl_addr_put(address);
        }
        rtnl_link_set_flags(change, IFF_UP);
        error = rtnl_link_change(socket, link, change, 0);
    }
    rtnl_link_put(link);
    rtnl_link_put(change);
    return error;
}

static int tap_set_up(const struct dp_port *port, char *text, size_t size)
{
    struct nl_sock *socket = nl_socket_alloc();
    int error = socket ? nl_connect(socket, NETLINK_ROUTE) : -NLE_NOMEM;
    if (!error)
        error = link_change(socket, port);
    nl_socket_free(socket);
    if (error)
        snprintf(text, size, "port %s: cannot set up the interface %s: %s", port->name, port->device,
                 nl_geterror(error));
    return error ? -EIO : 0;
}

/* What held the interface until it was opened here is of no more use. */
static void taps_release(struct taps *taps, const char *name)
{
    for (struct tap **link = &taps->first; *link;) {
        struct tap *tap = *link;
        if (tap->hold < 0 || strcmp(tap->name, name) != 0) {
            link = &tap->next;
            continue;
        }
        *link = tap->next;
        tap_free(tap);
    }
}

int taps_open(struct taps *taps, const struct dp_port *port, int fds[DP_QUEUES_MAX], char *text, size_t size)
{
    struct tap *tap = taps->first;
    while (tap && (strcmp(tap->name, port->device) != 0 || tap->count != port->queues))
        tap = tap->next;
    bool own = tap != NULL;
    if (!tap)
        tap = tap_new(port, text, size);
    if (!tap)
        return errno ? -errno : -ENOMEM;
    /* One that its owner has moved to another network namespace is set up there, by its owner. */
    bool moved = own && if_nametoindex(port->device) == 0;
    int error = moved ? 0 : tap_set_up(port, text, size);
    for (unsigned i = 0; i < tap->count && !error; i++) {
        fds[i] = fcntl(tap->fds[i], F_DUPFD_CLOEXEC, 0);
        if (fds[i] < 0) {
            error = -errno;
            snprintf(text, size, "port %s: %s", port->name, strerror(errno));
            while (i-- > 0)
                close(fds[i]);
        }
    }
    if (error && !own) {
        tap_free(tap);
    } else if (!own) {
        taps_release(taps, tap->name);
        tap->next = taps->first;
        taps->first = tap;
    }
    return error;
}

/* A queue of the interface that another process holds, detached at once: the kernel gives it no frames, but
 * the interface stays for as long as it is open. */
static struct tap *tap_hold(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_DETACH_QUEUE};
    struct tap *tap = calloc(1, sizeof(*tap));
    if (!tap)
        return NULL;
    snprintf(tap->name, sizeof(tap->name), "%s", name);
    tap->hold = if_nametoindex(name) ? queue_open(name) : -1;
    if (tap->hold < 0 || ioctl(tap->hold, TUNSETQUEUE, &request) < 0) {
        tap_free(tap);
        return NULL;
    }
    return tap;
}

void taps_adopt(struct taps *taps, const struct dp_port *ports, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct tap *known = taps->first;
        char name[IFNAMSIZ];
        if (ports[i].type != DP_PORT_TAP)
            continue;
        snprintf(name, sizeof(name), "%.15s", ports[i].device);
        while (known && strcmp(known->name, name) != 0)
            known = known->next;
        struct tap *tap = known ? NULL : tap_hold(name);
        if (!tap)
            continue;
        tap->next = taps->first;
        taps->first = tap;
    }
}
