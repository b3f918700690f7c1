/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where segments of mode nat leave, as the kernel's tables have it at the moment; subnets of segments against
 * the host's routes; guests that are kept from IPv6; the resolvers that guests' questions go to. Those are
 * asked, all at once, for RESOLVER_MS at most, in which weftd does nothing else; so they are asked again
 * after RESOLVER_AGAIN_S only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netdb.h>
#include <netlink/netlink.h>
#include <netlink/route/route.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "clock.h"
#include "dns.h"
#include "doctor_private.h"
#include "values.h"

#define RESOLVER_MS      300
#define RESOLVER_AGAIN_S 2

/* ---- Ways out ---- */

static const struct netlink_route *default_route(const struct netlink_tables *tables, uint32_t index,
                                                 uint8_t family)
{
    for (size_t i = 0; i < tables->route_count; i++) {
        const struct netlink_route *route = &tables->routes[i];
        if (route->index == index && route->family == family && route->prefix_length == 0)
            return route;
    }
    return NULL;
}

static bool is_known(const struct netlink_tables *tables, const struct netlink_route *route)
{
    for (size_t i = 0; i < tables->neighbour_count; i++) {
        const struct netlink_neighbour *neighbour = &tables->neighbours[i];
        if (neighbour->index == route->index && neighbour->family == route->next_hop_family &&
            memcmp(neighbour->address, route->next_hop, sizeof(neighbour->address)) == 0)
            return true;
    }
    return false;
}

/* By the host's own address, routes and neighbours. */
static void check_shared(struct doctor *doctor, const struct model_uplink *uplink, uint8_t family)
{
    const struct netlink *netlink = doctor->controller->netlink;
    const struct netlink_link *link = netlink ? netlink_link(netlink, uplink->netdev) : NULL;
    char way_out[120], hop[VALUE_IP_SIZE];
    if (!link || !link->index)
        return; /* "uplink" says so */
    const struct netlink_route *route = default_route(netlink_tables(netlink), link->index, family);
    if (route)
        inet_ntop(route->next_hop_family == 6 ? AF_INET6 : AF_INET, route->next_hop, hop, sizeof(hop));
    if (!netlink_host_address(netlink, link->index, family)) {
        snprintf(way_out, sizeof(way_out), "ip addr add ADDRESS/LENGTH dev %s", uplink->netdev);
        doctor_report(doctor, "way-out", WARNING, way_out,
                      "%s: %s has no IPv%u address that guests could be translated to", uplink->name,
                      uplink->netdev, family);
    } else if (!route) {
        snprintf(way_out, sizeof(way_out), "ip route add default via NEXT-HOP dev %s", uplink->netdev);
        doctor_report(
            doctor, "way-out", WARNING, way_out,
            "%s: the host has no IPv%u default route by %s: guests reach networks with a route by it "
            "only",
            uplink->name, family, uplink->netdev);
    } else if (route->next_hop_family && !is_known(netlink_tables(netlink), route)) {
        doctor_report(doctor, "way-out", WARNING, "check the cable, the VLAN and the next hop's address",
                      "%s: next hop %s does not answer on %s", uplink->name, hop, uplink->netdev);
    } else {
        doctor_report(doctor, "way-out", OK, NULL, "%s: IPv%u by %s%s%s", uplink->name, family,
                      uplink->netdev, route->next_hop_family ? " and next hop " : "",
                      route->next_hop_family ? hop : "");
    }
}

/* By the uplink's keys. */
static void check_keys(struct doctor *doctor, const struct model_uplink *uplink, uint8_t family)
{
    if (!uplink->own[family == 6].family)
        doctor_report(doctor, "way-out", WARNING, "add one to the uplink's address",
                      "%s: the uplink has no IPv%u address that guests could be translated to", uplink->name,
                      family);
    else if (!uplink->gateways[family == 6].family)
        doctor_report(doctor, "way-out", WARNING, "add one to the uplink's gateway",
                      "%s: the uplink has no IPv%u gateway: guests reach its own network only", uplink->name,
                      family);
    else
        doctor_report(doctor, "way-out", OK, NULL, "%s: IPv%u by %s", uplink->name, family, uplink->device);
}

static void check_way_out(struct doctor *doctor, const struct model_uplink *uplink)
{
    const struct model *model = doctor->controller->model;
    bool ipv6 = false;
    for (unsigned i = 0; i < model->segment_count; i++)
        ipv6 |= model->segments[i].uplink == uplink && model->segments[i].ipv6_nat;
    for (unsigned k = 0; k < (ipv6 ? 2u : 1u); k++) {
        uint8_t family = k ? 6 : 4;
        if (uplink->netdev[0])
            check_shared(doctor, uplink, family);
        else
            check_keys(doctor, uplink, family);
    }
}

/* ---- Subnets ---- */

struct host_route {
    struct model_prefix prefix;
    uint32_t index;
};

/* A network of the host's main table; false: the default route, or no network. */
static bool network_of(struct rtnl_route *route, struct host_route *found)
{
    struct nl_addr *destination = rtnl_route_get_dst(route);
    struct rtnl_nexthop *hop = rtnl_route_get_nnexthops(route) ? rtnl_route_nexthop_n(route, 0) : NULL;
    unsigned size = destination ? nl_addr_get_len(destination) : 0;
    if (!hop || rtnl_route_get_table(route) != RT_TABLE_MAIN || !size || size > 16 ||
        !nl_addr_get_prefixlen(destination))
        return false;
    *found = (struct host_route){.index = (uint32_t)rtnl_route_nh_get_ifindex(hop)};
    found->prefix.family = rtnl_route_get_family(route) == AF_INET ? 4 : 6;
    found->prefix.length = (uint8_t)nl_addr_get_prefixlen(destination);
    memcpy(found->prefix.network, nl_addr_get_binary_addr(destination), size);
    return true;
}

static bool overlap(const struct model_prefix *a, const struct model_prefix *b)
{
    return a->family && b->family &&
           (model_prefix_has(a, b->family, b->network) || model_prefix_has(b, a->family, a->network));
}

static const char *prefix_text(const struct model_prefix *prefix, char text[VALUE_IP_SIZE + 4])
{
    char network[VALUE_IP_SIZE];
    inet_ntop(prefix->family == 4 ? AF_INET : AF_INET6, prefix->network, network, sizeof(network));
    snprintf(text, VALUE_IP_SIZE + 4, "%s/%u", network, prefix->length);
    return text;
}

/* The segment's subnet is somewhere else as well. */
static void report_overlap(struct doctor *doctor, const struct model_segment *segment,
                           const struct model_prefix *subnet, const struct model_prefix *other,
                           const char *where)
{
    char own[VALUE_IP_SIZE + 4], network[VALUE_IP_SIZE + 4];
    doctor_report(doctor, "subnet", WARNING, "another subnet for the segment",
                  segment->is_nat
                      ? "%s of %s overlaps %s behind %s, which its guests cannot reach"
                      : "%s of %s overlaps %s, which the host reaches by %s: one of them it does not",
                  prefix_text(subnet, own), segment->full_name, prefix_text(other, network), where);
}

/* A guest leaves by its uplink's routes only; the host by all of them. */
static bool route_matters(const struct model_segment *segment, const struct host_route *route,
                          const char *interface)
{
    if (segment->is_nat)
        return segment->uplink && strcmp(segment->uplink->netdev, interface) == 0;
    return segment->is_host_only && strcmp(segment->host_interface, interface) != 0 && route->index;
}

/* Those that meet the route; how many. */
static unsigned check_route(struct doctor *doctor, const struct host_route *route)
{
    const struct model *model = doctor->controller->model;
    char interface[IFNAMSIZ] = "";
    unsigned count = 0;
    if_indextoname(route->index, interface);
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        for (unsigned k = 0; k < 2 && route_matters(segment, route, interface); k++) {
            if (!overlap(&segment->subnets[k], &route->prefix))
                continue;
            report_overlap(doctor, segment, &segment->subnets[k], &route->prefix, interface);
            count++;
        }
    }
    return count;
}

static unsigned check_own_networks(struct doctor *doctor)
{
    const struct model *model = doctor->controller->model;
    unsigned count = 0;
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        for (unsigned k = 0; k < 2 && segment->is_nat && segment->uplink; k++) {
            if (!overlap(&segment->subnets[k], &segment->uplink->own[k]))
                continue;
            report_overlap(doctor, segment, &segment->subnets[k], &segment->uplink->own[k],
                           segment->uplink->name);
            count++;
        }
    }
    return count;
}

static void check_subnets(struct doctor *doctor)
{
    struct nl_sock *socket = nl_socket_alloc();
    struct nl_cache *cache = NULL;
    unsigned count = check_own_networks(doctor);
    if (socket && nl_connect(socket, NETLINK_ROUTE) == 0 &&
        rtnl_route_alloc_cache(socket, AF_UNSPEC, 0, &cache) == 0) {
        for (struct nl_object *object = nl_cache_get_first(cache); object;
             object = nl_cache_get_next(object)) {
            struct host_route route;
            if (network_of((struct rtnl_route *)object, &route))
                count += check_route(doctor, &route);
        }
        nl_cache_free(cache);
    }
    nl_socket_free(socket);
    if (count == 0)
        doctor_report(doctor, "subnet", OK, NULL, "no segment's subnet is on the host or outside as well");
}

/* ---- IPv6 of guests that are held to addresses ---- */

static bool has_prefix(const struct model *model, const struct model_port *port)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        if (model->segments[i].subnets[1].family && model_port_in(port, &model->segments[i]))
            return true;
    }
    return false;
}

/* Such a guest takes an address of the segment's prefix, and is not let speak with it: without mac nobody
 * knows which one it makes. */
static void check_guests(struct doctor *doctor)
{
    const struct model *model = doctor->controller->model;
    for (unsigned i = 0; i < model->port_count; i++) {
        const struct model_port *port = &model->ports[i];
        bool ipv6 = false;
        for (unsigned k = 0; k < port->address_count; k++)
            ipv6 |= port->addresses[k].family == 6;
        if (port->address_count && !ipv6 && !port->has_mac && !port->spoof_allowed && has_prefix(model, port))
            doctor_report(doctor, "ipv6", WARNING, "mac for the port, or an IPv6 address in its ip",
                          "%s has an ip of IPv4 only and no mac: its guest cannot use IPv6", port->full_name);
    }
}

/* ---- Resolvers ---- */

/* Asked for the root's name servers, which every resolver knows. */
static int ask(const struct sockaddr_storage *resolver)
{
    static const uint8_t query[] = {0x77, 0x65, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1};
    socklen_t size =
        resolver->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(resolver->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (connect(fd, (const struct sockaddr *)resolver, size) < 0 ||
                    send(fd, query, sizeof(query), 0) != (ssize_t)sizeof(query))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Waits for one that answers, whatever it says. */
static bool answered(struct pollfd *polls, unsigned count)
{
    uint8_t answer[512];
    int64_t deadline = clock_ms() + RESOLVER_MS, left;
    while ((left = deadline - clock_ms()) > 0 && poll(polls, count, (int)left) > 0) {
        for (unsigned i = 0; i < count; i++) {
            if (polls[i].revents && recv(polls[i].fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
                return true;
            if (polls[i].revents)
                polls[i].fd = -1; /* refused */
        }
    }
    return false;
}

static bool one_answers(const struct sockaddr_storage *resolvers, unsigned count)
{
    struct pollfd polls[DNS_RESOLVERS_MAX];
    int fds[DNS_RESOLVERS_MAX];
    for (unsigned i = 0; i < count; i++) {
        fds[i] = ask(&resolvers[i]);
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    bool good = answered(polls, count);
    for (unsigned i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    return good;
}

static void check_resolvers(struct doctor *doctor)
{
    static int64_t asked_ms;
    static bool good;
    struct sockaddr_storage resolvers[DNS_RESOLVERS_MAX];
    unsigned count = dns_resolvers(DNS_RESOLV_CONF, resolvers, DNS_RESOLVERS_MAX);
    if (count == 0) {
        doctor_report(doctor, "resolver", WARNING, "nameserver lines in " DNS_RESOLV_CONF,
                      DNS_RESOLV_CONF " names no resolver: guests find only each other's names");
        return;
    }
    if (!asked_ms || clock_ms() - asked_ms > RESOLVER_AGAIN_S * 1000) {
        good = one_answers(resolvers, count);
        asked_ms = clock_ms();
    }
    if (good)
        doctor_report(doctor, "resolver", OK, NULL, "a resolver of " DNS_RESOLV_CONF " answers");
    else
        doctor_report(doctor, "resolver", WARNING, "check " DNS_RESOLV_CONF ", or name servers by dhcp.dns",
                      "no resolver of " DNS_RESOLV_CONF " answers: guests find only each other's names");
}

void doctor_network(struct doctor *doctor)
{
    const struct model *model = doctor->controller ? doctor->controller->model : NULL;
    bool has_subnets = false, translates = false;
    for (unsigned i = 0; model && i < model->uplink_count; i++) {
        if (model->uplinks[i].is_outside)
            check_way_out(doctor, &model->uplinks[i]);
    }
    for (unsigned i = 0; model && i < model->segment_count; i++) {
        translates |= model->segments[i].is_nat;
        has_subnets |= model->segments[i].is_nat || model->segments[i].is_host_only;
    }
    if (has_subnets) {
        check_subnets(doctor);
        check_guests(doctor);
    }
    if (!translates)
        return;
    check_resolvers(doctor);
    doctor_report(doctor, "forwarding", OK, NULL,
                  "guests are routed by weft: net.ipv4.ip_forward and the host's firewall do not matter");
}
