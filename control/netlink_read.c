/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads links, addresses, routes and neighbours of some interfaces: a request for each link by its name, then
 * one dump a table and interface, which the kernel filters (NETLINK_GET_STRICT_CHK) and which is filtered
 * here once more. A dump that the kernel marks as interrupted is read again. Every attribute is checked for
 * its size before it is used.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "netlink.h"

#define TRIES           8 /* of a dump that is interrupted */
#define TIMEOUT_SECONDS 2

/* One dump on its way. */
struct reading {
    struct nl_sock *socket;
    struct netlink_link *link; /* the interface wanted */
    struct netlink_tables *tables;
    int error;
};

/* Copies an item of `size` bytes behind the others. Returns where they are now. */
static void *append(struct reading *reading, void *items, size_t *count, const void *item, size_t size)
{
    if ((*count & (*count - 1)) == 0 &&
        (*count == 0 || *count >= 16)) { /* room: a power of two, 16 at least */
        void *more = reallocarray(items, *count ? 2 * *count : 16, size);
        if (!more) {
            reading->error = -ENOMEM;
            return items;
        }
        items = more;
    }
    memcpy((uint8_t *)items + (*count)++ * size, item, size);
    return items;
}

static uint8_t family_number(unsigned family)
{
    return family == AF_INET ? 4 : family == AF_INET6 ? 6 : 0;
}

/* Copies an address of the family; false: the attribute is of another size. */
static bool attribute_address(const struct nlattr *attribute, uint8_t family, uint8_t bytes[16])
{
    int size = family == 4 ? 4 : 16;
    if (!attribute || nla_len(attribute) != size)
        return false;
    memcpy(bytes, nla_data(attribute), (size_t)size);
    return true;
}

static uint32_t attribute_u32(const struct nlattr *attribute)
{
    return attribute && nla_len(attribute) >= (int)sizeof(uint32_t) ? nla_get_u32(attribute) : 0;
}

static int on_link(struct nl_msg *message, void *context)
{
    struct reading *reading = context;
    struct nlmsghdr *header = nlmsg_hdr(message);
    struct nlattr *attributes[IFLA_MAX + 1];
    if (header->nlmsg_type != RTM_NEWLINK ||
        nlmsg_parse(header, sizeof(struct ifinfomsg), attributes, IFLA_MAX, NULL) < 0)
        return NL_OK;
    const struct ifinfomsg *info = nlmsg_data(header);
    struct netlink_link *link = reading->link;
    link->index = (uint32_t)info->ifi_index;
    link->mtu = attribute_u32(attributes[IFLA_MTU]);
    link->up = info->ifi_flags & IFF_UP;
    link->running = link->up && (info->ifi_flags & IFF_RUNNING);
    if (attributes[IFLA_ADDRESS] && nla_len(attributes[IFLA_ADDRESS]) == sizeof(link->mac))
        memcpy(link->mac, nla_data(attributes[IFLA_ADDRESS]), sizeof(link->mac));
    return NL_OK;
}

static int on_address(struct nl_msg *message, void *context)
{
    struct reading *reading = context;
    struct netlink_tables *tables = reading->tables;
    struct nlmsghdr *header = nlmsg_hdr(message);
    struct nlattr *attributes[IFA_MAX + 1];
    if (header->nlmsg_type != RTM_NEWADDR ||
        nlmsg_parse(header, sizeof(struct ifaddrmsg), attributes, IFA_MAX, NULL) < 0)
        return NL_OK;
    const struct ifaddrmsg *info = nlmsg_data(header);
    uint32_t flags = attributes[IFA_FLAGS] ? attribute_u32(attributes[IFA_FLAGS]) : info->ifa_flags;
    struct netlink_address address = {
        .index = info->ifa_index,
        .family = family_number(info->ifa_family),
        .prefix_length = info->ifa_prefixlen,
        .scope = info->ifa_scope,
        .protocol = attributes[IFA_PROTO] && nla_len(attributes[IFA_PROTO]) >= 1
                        ? nla_get_u8(attributes[IFA_PROTO])
                        : 0,
        .secondary = (flags & (IFA_F_SECONDARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0,
    };
    const struct nlattr *own =
        attributes[IFA_LOCAL] ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS]; /* peer: not ours */
    if (address.index == reading->link->index && address.family &&
        attribute_address(own, address.family, address.bytes))
        tables->addresses =
            append(reading, tables->addresses, &tables->address_count, &address, sizeof(address));
    return NL_OK;
}

/* The gateway, which may be of another family than the route (RFC 8950). */
static bool route_next_hop(struct netlink_route *route, const struct nlattr *gateway,
                           const struct nlattr *via)
{
    if (gateway) {
        route->next_hop_family = route->family;
        return attribute_address(gateway, route->family, route->next_hop);
    }
    if (via) {
        struct rtvia head;
        if (nla_len(via) != (int)sizeof(head) + 16)
            return false;
        memcpy(&head, nla_data(via), sizeof(head));
        route->next_hop_family = family_number(head.rtvia_family);
        memcpy(route->next_hop, (const uint8_t *)nla_data(via) + sizeof(head), 16);
        return route->next_hop_family == 6;
    }
    return true;
}

/* Of several next hops, the first by the interface. */
static bool route_multipath(const struct reading *reading, struct netlink_route *route,
                            const struct nlattr *multipath)
{
    const uint8_t *at = nla_data(multipath);
    size_t left = (size_t)nla_len(multipath);
    struct rtnexthop hop;
    while (left >= sizeof(hop)) {
        memcpy(&hop, at, sizeof(hop));
        if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > left)
            return false;
        struct nlattr *attributes[RTA_MAX + 1];
        bool usable = !(hop.rtnh_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN));
        if ((uint32_t)hop.rtnh_ifindex == reading->link->index && usable &&
            nla_parse(attributes, RTA_MAX, (struct nlattr *)(uintptr_t)(at + RTNH_ALIGN(sizeof(hop))),
                      (int)(hop.rtnh_len - sizeof(hop)), NULL) == 0)
            return route_next_hop(route, attributes[RTA_GATEWAY], attributes[RTA_VIA]);
        size_t step = RTNH_ALIGN(hop.rtnh_len);
        if (step >= left)
            return false;
        at += step;
        left -= step;
    }
    return false;
}

static int on_route(struct nl_msg *message, void *context)
{
    struct reading *reading = context;
    struct netlink_tables *tables = reading->tables;
    struct nlmsghdr *header = nlmsg_hdr(message);
    struct nlattr *attributes[RTA_MAX + 1];
    if (header->nlmsg_type != RTM_NEWROUTE ||
        nlmsg_parse(header, sizeof(struct rtmsg), attributes, RTA_MAX, NULL) < 0)
        return NL_OK;
    const struct rtmsg *info = nlmsg_data(header);
    struct netlink_route route = {
        .index = reading->link->index,
        .family = family_number(info->rtm_family),
        .prefix_length = info->rtm_dst_len,
        .metric = attribute_u32(attributes[RTA_PRIORITY]),
    };
    uint32_t table = attributes[RTA_TABLE] ? attribute_u32(attributes[RTA_TABLE]) : info->rtm_table;
    bool usable = !(info->rtm_flags & (RTM_F_CLONED | RTNH_F_DEAD | RTNH_F_LINKDOWN));
    if (table != RT_TABLE_MAIN || info->rtm_type != RTN_UNICAST || !usable || !route.family)
        return NL_OK;
    if (attributes[RTA_DST] ? !attribute_address(attributes[RTA_DST], route.family, route.prefix)
                            : info->rtm_dst_len != 0)
        return NL_OK;
    bool good = false;
    if (attributes[RTA_MULTIPATH])
        good = route_multipath(reading, &route, attributes[RTA_MULTIPATH]);
    else if (attribute_u32(attributes[RTA_OIF]) == route.index)
        good = route_next_hop(&route, attributes[RTA_GATEWAY], attributes[RTA_VIA]);
    if (good)
        tables->routes = append(reading, tables->routes, &tables->route_count, &route, sizeof(route));
    return NL_OK;
}

static int on_neighbour(struct nl_msg *message, void *context)
{
    struct reading *reading = context;
    struct netlink_tables *tables = reading->tables;
    struct nlmsghdr *header = nlmsg_hdr(message);
    struct nlattr *attributes[NDA_MAX + 1];
    if (header->nlmsg_type != RTM_NEWNEIGH ||
        nlmsg_parse(header, sizeof(struct ndmsg), attributes, NDA_MAX, NULL) < 0)
        return NL_OK;
    const struct ndmsg *info = nlmsg_data(header);
    const struct nlattr *mac = attributes[NDA_LLADDR];
    static const uint8_t none[6];
    const unsigned known = NUD_PERMANENT | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;
    struct netlink_neighbour neighbour = {
        .index = (uint32_t)info->ndm_ifindex,
        .family = family_number(info->ndm_family),
        .stale = (info->ndm_state & NUD_STALE) != 0,
    };
    if (neighbour.index != reading->link->index || !neighbour.family || !(info->ndm_state & known) || !mac ||
        nla_len(mac) != sizeof(neighbour.mac) ||
        !attribute_address(attributes[NDA_DST], neighbour.family, neighbour.address))
        return NL_OK;
    memcpy(neighbour.mac, nla_data(mac), sizeof(neighbour.mac));
    if (memcmp(neighbour.mac, none, sizeof(none)) != 0 && !(neighbour.mac[0] & 1))
        tables->neighbours =
            append(reading, tables->neighbours, &tables->neighbour_count, &neighbour, sizeof(neighbour));
    return NL_OK;
}

static int error_number(int error)
{
    switch (-error) {
    case NLE_DUMP_INTR:
        return -EINTR;
    case NLE_NODEV:
    case NLE_OBJ_NOTFOUND:
        return -ENODEV;
    case NLE_NOMEM:
        return -ENOBUFS;
    case NLE_AGAIN:
        return -ETIMEDOUT;
    case NLE_PERM:
        return -EPERM;
    default:
        return -EIO;
    }
}

int netlink_exchange(struct nl_sock *socket, struct nl_msg *request,
                     int (*valid)(struct nl_msg *message, void *context), void *context)
{
    struct nl_cb *callbacks = nl_cb_alloc(NL_CB_DEFAULT);
    int error = request && callbacks ? 0 : -NLE_NOMEM;
    if (!error) {
        nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, valid, context);
        error = nl_send_auto(socket, request);
    }
    if (error >= 0)
        error = nl_recvmsgs(socket, callbacks);
    if (callbacks)
        nl_cb_put(callbacks);
    nlmsg_free(request);
    return error < 0 ? error : 0;
}

static int exchange(struct reading *reading, struct nl_msg *request, nl_recvmsg_msg_cb_t valid)
{
    int error = netlink_exchange(reading->socket, request, valid, reading);
    return error ? error_number(error) : reading->error;
}

struct nl_sock *netlink_socket(void)
{
    struct nl_sock *socket = nl_socket_alloc();
    if (socket && nl_connect(socket, NETLINK_ROUTE) < 0) {
        nl_socket_free(socket);
        return NULL;
    }
    if (socket)
        nl_socket_set_msg_buf_size(socket, 1u << 16); /* the kernel fills no more with a part of a dump */
    return socket;
}

static int socket_open(struct nl_sock **socket)
{
    struct timeval timeout = {TIMEOUT_SECONDS, 0};
    int on = 1;
    *socket = netlink_socket();
    if (!*socket)
        return -EIO;
    int fd = nl_socket_get_fd(*socket);
    nl_socket_disable_auto_ack(*socket);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on)); /* else we alone filter */
    return 0;
}

static int read_link(struct reading *reading)
{
    struct netlink_link *link = reading->link, empty = {0};
    struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
    memcpy(empty.name, link->name, sizeof(empty.name));
    *link = empty;
    struct nl_msg *request = nlmsg_alloc_simple(RTM_GETLINK, NLM_F_REQUEST);
    if (!request)
        return -ENOMEM;
    nlmsg_append(request, &info, sizeof(info), NLMSG_ALIGNTO);
    nla_put_string(request, IFLA_IFNAME, link->name);
    int error = exchange(reading, request, on_link);
    return error == -ENODEV ? 0 : error;
}

static int read_addresses(struct reading *reading)
{
    struct ifaddrmsg info = {.ifa_index = reading->link->index};
    struct nl_msg *request = nlmsg_alloc_simple(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP);
    if (request)
        nlmsg_append(request, &info, sizeof(info), NLMSG_ALIGNTO);
    return exchange(reading, request, on_address);
}

static int read_routes(struct reading *reading, unsigned char family)
{
    struct rtmsg info = {.rtm_family = family, .rtm_table = RT_TABLE_MAIN};
    struct nl_msg *request = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP);
    if (request) {
        nlmsg_append(request, &info, sizeof(info), NLMSG_ALIGNTO);
        nla_put_u32(request, RTA_OIF, reading->link->index);
    }
    int error = exchange(reading, request, on_route);
    return error == -ENODEV ? 0 : error; /* a namespace without routes has no main table */
}

static int read_neighbours(struct reading *reading, unsigned char family)
{
    struct ndmsg info = {.ndm_family = family};
    struct nl_msg *request = nlmsg_alloc_simple(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP);
    if (request) {
        nlmsg_append(request, &info, sizeof(info), NLMSG_ALIGNTO);
        nla_put_u32(request, NDA_IFINDEX, reading->link->index);
    }
    return exchange(reading, request, on_neighbour);
}

static int read_interface(struct reading *reading)
{
    int error = read_link(reading);
    if (error || !reading->link->index)
        return error;
    error = read_addresses(reading);
    for (int i = 0; i < 2 && !error; i++) {
        error = read_routes(reading, i ? AF_INET6 : AF_INET);
        if (!error)
            error = read_neighbours(reading, i ? AF_INET6 : AF_INET);
    }
    return error == -ENODEV ? -EINTR : error; /* it went while it was read */
}

static int compare_routes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct netlink_route));
}

static int compare_neighbours(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct netlink_neighbour));
}

void netlink_tables_clear(struct netlink_tables *tables)
{
    free(tables->addresses);
    free(tables->routes);
    free(tables->neighbours);
    *tables = (struct netlink_tables){0};
}

static bool arrays_equal(const void *a, size_t count_a, const void *b, size_t count_b, size_t size)
{
    return count_a == count_b && (!count_a || memcmp(a, b, count_a * size) == 0);
}

bool netlink_tables_equal(const struct netlink_tables *a, const struct netlink_tables *b)
{
    return arrays_equal(a->addresses, a->address_count, b->addresses, b->address_count,
                        sizeof(*a->addresses)) &&
           arrays_equal(a->routes, a->route_count, b->routes, b->route_count, sizeof(*a->routes)) &&
           arrays_equal(a->neighbours, a->neighbour_count, b->neighbours, b->neighbour_count,
                        sizeof(*a->neighbours));
}

static int read_all(struct reading *reading, struct netlink_link *links, size_t link_count)
{
    int error = 0;
    for (size_t i = 0; i < link_count && !error; i++) {
        reading->link = &links[i];
        error = read_interface(reading);
    }
    return error;
}

static int read_once(struct netlink_link *links, size_t link_count, struct netlink_tables *tables)
{
    struct reading reading = {.tables = tables};
    int error = socket_open(&reading.socket); /* a fresh one has no rest of an interrupted dump in it */
    if (error)
        return error;
    error = read_all(&reading, links, link_count);
    nl_socket_free(reading.socket);
    return error;
}

int netlink_read(struct netlink_link *links, size_t link_count, struct netlink_tables *tables,
                 uint64_t *again)
{
    int error = -EINTR;
    for (int tries = 0; error == -EINTR && tries < TRIES; tries++) {
        struct netlink_tables read = {0};
        *again += tries > 0;
        error = read_once(links, link_count, &read);
        if (error)
            netlink_tables_clear(&read);
        else
            *tables = read;
    }
    if (error)
        return error == -EINTR ? -EAGAIN : error;
    /* addresses keep the kernel's order, in which the first is the one to speak from */
    if (tables->route_count)
        qsort(tables->routes, tables->route_count, sizeof(*tables->routes), compare_routes);
    if (tables->neighbour_count)
        qsort(tables->neighbours, tables->neighbour_count, sizeof(*tables->neighbours), compare_neighbours);
    return 0;
}
