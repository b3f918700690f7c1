/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The truth is a dump, an event is only a hint that there is a new one. A socket hears
 * the kernel's groups for links, addresses, routes and neighbours; what does not concern a watched interface
 * is thrown away (a route may, whatever interface it names: it can replace another). The first event that
 * does starts a timer; when it fires, everything that is watched is read (netlink_read.c), compared with what
 * was known, and the callback is called if it differs. So however fast the kernel changes, it is read at most
 * once every WAIT_MS, or, if reading takes long, such that nine tenths of the time are left for other work.
 *
 * Lost events (the kernel says ENOBUFS when the socket's buffer is full) are a hint like any other: something
 * changed, read it. The same goes for a read that the kernel interrupted because of a change, which is
 * repeated. Events are taken before the read that they cause, so a change after it causes another one: when
 * the kernel comes to rest, what is known is what a dump shows.
 *
 * Who follows other interfaces than those watched (what an uplink is stacked on, or has stacked on it) is
 * told LINKS_WAIT_MS after the first message about any link, and reads for itself: a link that flaps ten
 * thousand times costs some tens of looks.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "clock.h"
#include "log.h"
#include "netlink.h"

#define WAIT_MS        50
#define WAIT_FAILED_MS 1000
#define LINKS_WAIT_MS  30
#define BUSY_SHARE     10 /* reading takes at most one part of so many */
#define RECEIVE_SIZE   65536u
#define RECEIVE_MAX    64 /* datagrams a callback */
#define RECEIVE_BUFFER (1 << 20)
#define PROBE_ROOM     256

struct netlink {
    struct netlink_callbacks callbacks;
    int fd; /* events */
    struct event *event, *timer, *links_timer;
    bool armed; /* timer */
    int wait_ms;
    struct netlink_link *links;
    size_t link_count;
    struct netlink_tables tables;
    struct netlink_counts counts;
    bool failing;
};

static void read_in(struct netlink *netlink, int ms)
{
    struct timeval delay = {ms / 1000, (ms % 1000) * 1000};
    if (netlink->armed)
        return;
    netlink->armed = true;
    evtimer_add(netlink->timer, &delay);
}

static void tell_links(struct netlink *netlink)
{
    static const struct timeval delay = {0, LINKS_WAIT_MS * 1000};
    if (!evtimer_pending(netlink->links_timer, NULL))
        evtimer_add(netlink->links_timer, &delay);
}

static struct netlink_link *links_copy(const struct netlink *netlink)
{
    struct netlink_link *copy = calloc(netlink->link_count + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < netlink->link_count; i++)
        memcpy(copy[i].name, netlink->links[i].name, sizeof(copy[i].name));
    return copy;
}

/* Reads everything. 1: it is not what it was; 0: it is; or -errno. */
static int refresh(struct netlink *netlink)
{
    struct netlink_tables tables = {0};
    struct netlink_link *links = links_copy(netlink);
    int64_t before = clock_ms();
    int error = links ? netlink_read(links, netlink->link_count, &tables, &netlink->counts.again) : -ENOMEM;
    int64_t busy = (clock_ms() - before) * BUSY_SHARE;
    netlink->wait_ms = busy > WAIT_MS ? (int)busy : WAIT_MS;
    netlink->counts.reads++;
    if (error) {
        free(links);
        return error;
    }
    bool same = memcmp(links, netlink->links, netlink->link_count * sizeof(*links)) == 0 &&
                netlink_tables_equal(&tables, &netlink->tables);
    free(netlink->links);
    netlink_tables_clear(&netlink->tables);
    netlink->links = links;
    netlink->tables = tables;
    return same ? 0 : 1;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct netlink *netlink = context;
    (void)fd, (void)what;
    netlink->armed = false;
    int status = refresh(netlink);
    if (status < 0) {
        if (!netlink->failing && status != -EAGAIN)
            log_warning("netlink: cannot read interfaces and routes: %s", strerror(-status));
        netlink->failing = status != -EAGAIN;
        read_in(netlink, status == -EAGAIN ? netlink->wait_ms : WAIT_FAILED_MS);
        return;
    }
    netlink->failing = false;
    if (status)
        netlink->callbacks.changed(netlink->callbacks.context);
}

static void on_links_timer(evutil_socket_t fd, short what, void *context)
{
    struct netlink *netlink = context;
    (void)fd, (void)what;
    netlink->callbacks.links(netlink->callbacks.context);
}

static bool watched(const struct netlink *netlink, uint32_t index)
{
    for (size_t i = 0; i < netlink->link_count; i++) {
        if (netlink->links[i].index == index)
            return true;
    }
    return false;
}

/* A new or renamed interface is known by its name only. */
static bool watched_name(const struct netlink *netlink, struct nlmsghdr *header)
{
    const struct nlattr *name = nlmsg_find_attr(header, sizeof(struct ifinfomsg), IFLA_IFNAME);
    if (!name || nla_len(name) < 1 || nla_len(name) > IFNAMSIZ)
        return false;
    for (size_t i = 0; i < netlink->link_count; i++) {
        if (strncmp(netlink->links[i].name, nla_data(name), (size_t)nla_len(name)) == 0)
            return true;
    }
    return false;
}

static bool concerns(const struct netlink *netlink, struct nlmsghdr *header)
{
    switch (header->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        if (!nlmsg_valid_hdr(header, sizeof(struct ifinfomsg)))
            return false;
        return watched(netlink, (uint32_t)((const struct ifinfomsg *)nlmsg_data(header))->ifi_index) ||
               watched_name(netlink, header);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return nlmsg_valid_hdr(header, sizeof(struct ifaddrmsg)) &&
               watched(netlink, ((const struct ifaddrmsg *)nlmsg_data(header))->ifa_index);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        return nlmsg_valid_hdr(header, sizeof(struct ndmsg)) &&
               watched(netlink, (uint32_t)((const struct ndmsg *)nlmsg_data(header))->ndm_ifindex);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        return nlmsg_valid_hdr(header, sizeof(struct rtmsg)) && netlink->link_count > 0;
    default:
        return false;
    }
}

static void take_messages(struct netlink *netlink, void *buffer, int size)
{
    for (struct nlmsghdr *header = buffer; nlmsg_ok(header, size); header = nlmsg_next(header, &size)) {
        if (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK)
            tell_links(netlink);
        if (!concerns(netlink, header))
            continue;
        netlink->counts.events++;
        read_in(netlink, netlink->wait_ms);
    }
}

static void on_event(evutil_socket_t fd, short what, void *context)
{
    static uint8_t buffer[RECEIVE_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct netlink *netlink = context;
    (void)what;
    for (int i = 0; i < RECEIVE_MAX; i++) {
        struct sockaddr_nl from = {0};
        socklen_t from_size = sizeof(from);
        ssize_t size = recvfrom(fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_TRUNC,
                                (struct sockaddr *)&from, &from_size);
        if (size < 0 && errno == ENOBUFS) {
            netlink->counts.overruns++;
            tell_links(netlink);
            read_in(netlink, netlink->wait_ms);
        } else if (size <= 0) {
            return;
        } else if (from.nl_pid == 0) { /* the kernel */
            take_messages(netlink, buffer, size < (ssize_t)sizeof(buffer) ? (int)size : (int)sizeof(buffer));
        }
    }
}

static int events_open(void)
{
    static const int groups[] = {RTNLGRP_LINK,        RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR,
                                 RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    int size = RECEIVE_BUFFER;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    int error = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]) && !error; i++) {
        if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
            error = -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

struct netlink *netlink_new(struct event_base *base, const struct netlink_callbacks *callbacks)
{
    struct netlink *netlink = calloc(1, sizeof(*netlink));
    if (!netlink)
        return NULL;
    netlink->callbacks = *callbacks;
    netlink->wait_ms = WAIT_MS;
    netlink->fd = events_open();
    if (netlink->fd < 0) {
        errno = -netlink->fd;
        free(netlink);
        return NULL;
    }
    netlink->timer = evtimer_new(base, on_timer, netlink);
    netlink->links_timer = evtimer_new(base, on_links_timer, netlink);
    netlink->event = event_new(base, netlink->fd, EV_READ | EV_PERSIST, on_event, netlink);
    event_add(netlink->event, NULL);
    return netlink;
}

void netlink_free(struct netlink *netlink)
{
    if (!netlink)
        return;
    event_free(netlink->event);
    event_free(netlink->timer);
    event_free(netlink->links_timer);
    close(netlink->fd);
    netlink_tables_clear(&netlink->tables);
    free(netlink->links);
    free(netlink);
}

static bool same_names(const struct netlink *netlink, const char *const names[], size_t count)
{
    if (netlink->link_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(netlink->links[i].name, names[i]) != 0)
            return false;
    }
    return true;
}

int netlink_watch(struct netlink *netlink, const char *const names[], size_t count)
{
    if (same_names(netlink, names, count))
        return 0;
    struct netlink_link *links = calloc(count + 1, sizeof(*links));
    if (!links)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        memcpy(links[i].name, names[i], strnlen(names[i], IFNAMSIZ - 1));
    free(netlink->links);
    netlink_tables_clear(&netlink->tables);
    netlink->links = links;
    netlink->link_count = count;
    int status = refresh(netlink);
    if (status < 0)
        read_in(netlink, netlink->wait_ms);
    return status < 0 ? status : 0;
}

const struct netlink_link *netlink_link(const struct netlink *netlink, const char *name)
{
    for (size_t i = 0; i < netlink->link_count; i++) {
        if (strcmp(netlink->links[i].name, name) == 0)
            return &netlink->links[i];
    }
    return NULL;
}

const struct netlink_tables *netlink_tables(const struct netlink *netlink)
{
    return &netlink->tables;
}

static bool is_unique_local(const struct netlink_address *address)
{
    return (address->bytes[0] & 0xfe) == 0xfc; /* RFC 4193 */
}

const struct netlink_address *netlink_host_address(const struct netlink *netlink, uint32_t index,
                                                   uint8_t family)
{
    const struct netlink_address *found = NULL;
    for (size_t i = 0; i < netlink->tables.address_count; i++) {
        const struct netlink_address *address = &netlink->tables.addresses[i];
        if (!index || address->index != index || address->family != family ||
            address->scope != RT_SCOPE_UNIVERSE || address->secondary)
            continue;
        if (family == 4)
            return address;
        /* The kernel names the newest first. */
        if (!found || is_unique_local(found) || !is_unique_local(address))
            found = address;
    }
    return found;
}

int netlink_probe(struct netlink *netlink, uint32_t index, uint8_t family, const uint8_t address[16])
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct ndmsg info = {
        .ndm_family = family == 4 ? AF_INET : AF_INET6, .ndm_ifindex = (int)index, .ndm_flags = NTF_USE};
    struct nl_msg *request = nlmsg_alloc_size(PROBE_ROOM);
    if (!request)
        return -ENOMEM;
    struct nlmsghdr *header =
        nlmsg_put(request, NL_AUTO_PORT, NL_AUTO_SEQ, RTM_NEWNEIGH, 0, NLM_F_REQUEST | NLM_F_CREATE);
    int error = header ? 0 : -ENOMEM;
    if (!error && (nlmsg_append(request, &info, sizeof(info), NLMSG_ALIGNTO) < 0 ||
                   nla_put(request, NDA_DST, family == 4 ? 4 : 16, address) < 0))
        error = -ENOMEM;
    if (!error && sendto(netlink->fd, header, header->nlmsg_len, MSG_DONTWAIT, (struct sockaddr *)&kernel,
                         sizeof(kernel)) < 0)
        error = -errno;
    nlmsg_free(request);
    return error;
}

struct netlink_counts netlink_counts(const struct netlink *netlink)
{
    return netlink->counts;
}

int netlink_receive_buffer(struct netlink *netlink, int size)
{
    return setsockopt(netlink->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0 ? -errno : 0;
}
