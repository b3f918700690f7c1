/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The interface is a tap (tap.c) that lives as long as weftd or the dataplane holds a
 * descriptor of it. This file puts on it what makes it the host's: the addresses, an alias that says whose it
 * is ("weft RUN-DIR SEGMENT"), a few settings, and a routing rule. All of it is idempotent: it is done after
 * each programming of the dataplane, adds what is missing and takes away what is weft's and not wanted any
 * more, so an interface that survived a restart of weftd or of the dataplane is adopted without a flap.
 * Addresses of weft carry a protocol number of their own (IFA_PROTO), so what the administrator added stays.
 *
 * What keeps guests from the outside. net.ipv4.conf.IF.forwarding=0 stops forwarding of what comes in by the
 * interface, but is set again for all interfaces when somebody sets net.ipv4.ip_forward; for IPv6 there is no
 * such setting per interface at all. So there is also a rule in front of all tables but `local` in both
 * families: "from all iif IF prohibit": what guests send reaches addresses of the host and nothing else,
 * whatever forwards on this host. rp_filter drops sources that are not the subnet's, accept_ra=0 keeps guests
 * from configuring the host. What others send to the guests by way of a forwarding host arrives, but no
 * answer goes back.
 *
 * A rule outlives its interface. Rules carry weft's protocol number; those whose interface is gone, or is
 * this weftd's and not configured any more, are removed after each programming and at the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "compile_network.h"
#include "host_interface.h"
#include "log.h"
#include "netlink.h"

#define PROTOCOL      119u /* of weft's rules and addresses: 'w' */
#define RULE_PRIORITY 10u
#define ALIAS_SIZE    256u

static void alias_prefix(const char *run_dir, char alias[ALIAS_SIZE])
{
    snprintf(alias, ALIAS_SIZE, "weft %.150s ", run_dir);
}

/* Sends the request (which it frees) and waits for the answer. 0 or -NLE_*. */
static int change(struct nl_sock *socket, struct nl_msg *request)
{
    int error = nl_send_auto(socket, request);
    nlmsg_free(request);
    return error < 0 ? error : nl_wait_for_ack(socket);
}

/* Whether the interface is there and this weftd's: by its alias, or, if it was made by one that was killed
 * before it could say so, by its address. */
enum owner { OWNER_NONE, OWNER_WEFT, OWNER_OTHER };

static enum owner interface_owner(struct nl_sock *socket, const char *name, const char *run_dir,
                                  const uint8_t own_mac[6])
{
    struct rtnl_link *link = NULL;
    char wanted[ALIAS_SIZE];
    if (rtnl_link_get_kernel(socket, 0, name, &link) < 0)
        return OWNER_NONE;
    const char *alias = rtnl_link_get_ifalias(link);
    struct nl_addr *mac = rtnl_link_get_addr(link);
    alias_prefix(run_dir, wanted);
    bool own = alias ? strncmp(alias, wanted, strlen(wanted)) == 0
                     : own_mac && mac && nl_addr_get_len(mac) == 6 &&
                           memcmp(nl_addr_get_binary_addr(mac), own_mac, 6) == 0;
    rtnl_link_put(link);
    return own ? OWNER_WEFT : OWNER_OTHER;
}

int host_interface_check(const struct model *model, const char *run_dir, char *text, size_t size)
{
    struct nl_sock *socket = NULL;
    int error = 0;
    for (unsigned i = 0; i < model->segment_count && !error; i++) {
        const struct model_segment *segment = &model->segments[i];
        uint8_t mac[6];
        if (!segment->host_port || (!socket && !(socket = netlink_socket())))
            continue;
        compile_own_mac(segment->host_port, mac);
        if (interface_owner(socket, segment->host_interface, run_dir, mac) != OWNER_OTHER)
            continue;
        snprintf(
            text, size,
            "segment %s: the host has an interface %s that is not weft's; delete it or name another with "
            "host-interface",
            segment->full_name, segment->host_interface);
        error = -EEXIST;
    }
    nl_socket_free(socket);
    return error;
}

static const uint8_t *address_bytes(const struct sockaddr *address)
{
    return address->sa_family == AF_INET
               ? (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr
               : (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
}

/* The address of another interface is in the subnet, or the subnet in its network. */
static bool is_the_hosts(const struct model_segment *segment, const struct model_prefix *subnet,
                         const struct ifaddrs *own)
{
    if (!own->ifa_addr || !own->ifa_netmask || strcmp(own->ifa_name, segment->host_interface) == 0 ||
        own->ifa_addr->sa_family != (subnet->family == 4 ? AF_INET : AF_INET6))
        return false;
    const uint8_t *address = address_bytes(own->ifa_addr), *mask = address_bytes(own->ifa_netmask);
    bool covers = true;
    for (unsigned i = 0; i < (subnet->family == 4 ? 4 : 16); i++)
        covers &= ((subnet->network[i] ^ address[i]) & mask[i]) == 0;
    return covers || model_prefix_has(subnet, subnet->family, address);
}

static int subnet_allowed(const struct model_segment *segment, const struct model_prefix *subnet, char *text,
                          size_t size)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) < 0)
        return 0; /* doctor looks again */
    const struct ifaddrs *own = all;
    while (own && !is_the_hosts(segment, subnet, own))
        own = own->ifa_next;
    if (own) {
        char network[INET6_ADDRSTRLEN], address[INET6_ADDRSTRLEN];
        inet_ntop(own->ifa_addr->sa_family, subnet->network, network, sizeof(network));
        inet_ntop(own->ifa_addr->sa_family, address_bytes(own->ifa_addr), address, sizeof(address));
        snprintf(text, size,
                 "segment %s: %s/%u is a network of the host already (%s on %s); give it another subnet",
                 segment->full_name, network, subnet->length, address, own->ifa_name);
    }
    freeifaddrs(all);
    return own ? -EEXIST : 0;
}

int host_interface_allowed(const struct model *candidate, const struct model *current, char *text,
                           size_t size)
{
    int error = 0;
    for (unsigned i = 0; i < candidate->segment_count && !error; i++) {
        const struct model_segment *segment = &candidate->segments[i];
        const struct model_tenant *tenant = current ? model_tenant(current, segment->tenant->name) : NULL;
        const struct model_segment *old = tenant ? model_segment(tenant, segment->name) : NULL;
        for (unsigned k = 0; k < 2 && segment->is_host_only && !error; k++) {
            const struct model_prefix *subnet = &segment->subnets[k];
            bool known = old && old->is_host_only && memcmp(&old->subnets[k], subnet, sizeof(*subnet)) == 0;
            if (subnet->family && !known)
                error = subnet_allowed(segment, subnet, text, size);
        }
    }
    return error;
}

static struct nl_msg *address_message(int type, int flags, uint32_t index, uint8_t family, uint8_t length,
                                      const uint8_t *address)
{
    struct ifaddrmsg info = {.ifa_family = family == 4 ? AF_INET : AF_INET6,
                             .ifa_prefixlen = length,
                             .ifa_index = index,
                             .ifa_flags = family == 6 ? IFA_F_NODAD : 0};
    struct nl_msg *request = nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | flags);
    int bytes = family == 4 ? 4 : 16;
    if (!request)
        return NULL;
    nlmsg_append(request, &info, sizeof(info), NLMSG_ALIGNTO);
    nla_put(request, IFA_LOCAL, bytes, address);
    nla_put(request, IFA_ADDRESS, bytes, address);
    nla_put_u8(request, IFA_PROTO, PROTOCOL);
    if (family == 4 && length < 31) {
        uint32_t broadcast;
        memcpy(&broadcast, address, 4);
        broadcast |= htobe32(0xffffffffu >> length);
        nla_put(request, IFA_BROADCAST, 4, &broadcast);
    }
    return request;
}

static bool address_wanted(const struct model_segment *segment, const struct netlink_address *address)
{
    const struct model_prefix *subnet = &segment->subnets[address->family == 6];
    return subnet->family && subnet->length == address->prefix_length &&
           memcmp(subnet->address, address->bytes, address->family == 4 ? 4 : 16) == 0;
}

/* Addresses of weft that the segment does not want. 0 or -NLE_*. */
static int remove_addresses(struct nl_sock *socket, const struct model_segment *segment)
{
    struct netlink_tables tables = {0};
    struct netlink_link link = {0};
    uint64_t again = 0;
    snprintf(link.name, sizeof(link.name), "%s", segment->host_interface);
    int error = netlink_read(&link, 1, &tables, &again);
    if (error)
        return -nl_syserr2nlerr(error);
    for (size_t i = 0; i < tables.address_count; i++) {
        const struct netlink_address *address = &tables.addresses[i];
        if (address->protocol != PROTOCOL || address_wanted(segment, address))
            continue;
        struct nl_msg *request = address_message(RTM_DELADDR, 0, address->index, address->family,
                                                 address->prefix_length, address->bytes);
        int status = request ? change(socket, request) : -NLE_NOMEM;
        if (status != -NLE_NOADDR) /* that went with the one before (a secondary) */
            error = error ? error : status;
    }
    netlink_tables_clear(&tables);
    return error;
}

static int apply_addresses(struct nl_sock *socket, const struct model_segment *segment, uint32_t index)
{
    int error = remove_addresses(socket, segment);
    for (unsigned i = 0; i < 2 && !error; i++) {
        const struct model_prefix *subnet = &segment->subnets[i];
        struct nl_msg *request = subnet->family
                                     ? address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index,
                                                       subnet->family, subnet->length, subnet->address)
                                     : NULL;
        if (request)
            error = change(socket, request);
    }
    return error;
}

static int apply_alias(struct nl_sock *socket, const struct model_segment *segment, const char *run_dir,
                       uint32_t index)
{
    char alias[ALIAS_SIZE];
    struct ifinfomsg info = {.ifi_index = (int)index};
    alias_prefix(run_dir, alias);
    size_t length = strlen(alias);
    snprintf(alias + length, sizeof(alias) - length, "%s", segment->full_name);
    struct nl_msg *request = nlmsg_alloc_simple(RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK);
    if (!request)
        return -NLE_NOMEM;
    nlmsg_append(request, &info, sizeof(info), NLMSG_ALIGNTO);
    nla_put_string(request, IFLA_IFALIAS, alias);
    return change(socket, request);
}

/* What the rule does not already do is only reported. */
static void apply_setting(const char *family, const char *interface, const char *name, const char *value)
{
    char path[128];
    snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, interface, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, value, strlen(value)) > 0;
    if (!good && (strcmp(family, "ipv4") == 0 || errno != ENOENT)) /* a host without IPv6 */
        log_warning("%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void apply_settings(const struct model_segment *segment)
{
    const char *name = segment->host_interface;
    apply_setting("ipv4", name, "forwarding", "0");
    apply_setting("ipv4", name, "rp_filter", "1");
    apply_setting("ipv4", name, "accept_redirects", "0");
    apply_setting("ipv6", name, "accept_ra", "0");
    apply_setting("ipv6", name, "accept_redirects", "0");
    apply_setting("ipv6", name, "disable_ipv6", segment->subnets[1].family ? "0" : "1");
}

static int rule_change(struct nl_sock *socket, int type, unsigned char family, const char *interface)
{
    struct fib_rule_hdr header = {.family = family, .action = FR_ACT_PROHIBIT};
    int flags = type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0;
    struct nl_msg *request = nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | flags);
    if (!request)
        return -NLE_NOMEM;
    nlmsg_append(request, &header, sizeof(header), NLMSG_ALIGNTO);
    nla_put_u32(request, FRA_PRIORITY, RULE_PRIORITY);
    nla_put_string(request, FRA_IIFNAME, interface);
    nla_put_u8(request, FRA_PROTOCOL, PROTOCOL);
    return change(socket, request);
}

static int apply_rules(struct nl_sock *socket, const char *interface)
{
    int error = rule_change(socket, RTM_NEWRULE, AF_INET, interface);
    if (error && error != -NLE_EXIST)
        return error;
    error = rule_change(socket, RTM_NEWRULE, AF_INET6, interface);
    return error == -NLE_EXIST || error == -NLE_AF_NOSUPPORT ? 0 : error; /* no IPv6: nothing to stop */
}

static int apply_one(struct nl_sock *socket, const struct model_segment *segment, const char *run_dir,
                     char *text, size_t size)
{
    uint32_t index = if_nametoindex(segment->host_interface);
    const char *what = "is not there";
    int error = index ? 0 : -NLE_OBJ_NOTFOUND;
    if (!error) {
        what = "cannot be kept from the outside";
        apply_settings(segment);
        error = apply_rules(socket, segment->host_interface);
    }
    if (!error) {
        what = "cannot be named";
        error = apply_alias(socket, segment, run_dir, index);
    }
    if (!error) {
        what = "cannot be given its address";
        error = apply_addresses(socket, segment, index);
    }
    if (error)
        snprintf(text, size, "segment %s: the host's interface %s %s: %s", segment->full_name,
                 segment->host_interface, what, nl_geterror(error));
    return error ? -EIO : 0;
}

/* Rules of weft whose interface is not wanted. */
struct rules {
    struct nl_sock *socket; /* another one than the dump's */
    const struct model *model;
    const char *run_dir;
};

static bool interface_wanted(const struct model *model, const char *name)
{
    for (unsigned i = 0; model && i < model->segment_count; i++) {
        if (model->segments[i].host_port && strcmp(model->segments[i].host_interface, name) == 0)
            return true;
    }
    return false;
}

static int on_rule(struct nl_msg *message, void *context)
{
    struct rules *rules = context;
    struct nlmsghdr *header = nlmsg_hdr(message);
    struct nlattr *attributes[FRA_MAX + 1];
    char name[IFNAMSIZ];
    if (header->nlmsg_type != RTM_NEWRULE ||
        nlmsg_parse(header, sizeof(struct fib_rule_hdr), attributes, FRA_MAX, NULL) < 0)
        return NL_OK;
    const struct fib_rule_hdr *info = nlmsg_data(header);
    if (!attributes[FRA_PROTOCOL] || nla_len(attributes[FRA_PROTOCOL]) < 1 ||
        nla_get_u8(attributes[FRA_PROTOCOL]) != PROTOCOL || !attributes[FRA_IIFNAME])
        return NL_OK;
    nla_strlcpy(name, attributes[FRA_IIFNAME], sizeof(name));
    enum owner owner = interface_owner(rules->socket, name, rules->run_dir, NULL);
    if (owner == OWNER_OTHER || (owner == OWNER_WEFT && interface_wanted(rules->model, name)))
        return NL_OK;
    int error = rule_change(rules->socket, RTM_DELRULE, info->family, name);
    if (error && error != -NLE_OBJ_NOTFOUND)
        log_warning("rule of interface %s: %s", name, nl_geterror(error));
    return NL_OK;
}

static int read_rules(struct nl_sock *socket, struct rules *rules)
{
    struct fib_rule_hdr info = {0};
    struct nl_msg *request = nlmsg_alloc_simple(RTM_GETRULE, NLM_F_REQUEST | NLM_F_DUMP);
    if (request)
        nlmsg_append(request, &info, sizeof(info), NLMSG_ALIGNTO);
    return netlink_exchange(socket, request, on_rule, rules);
}

void host_interface_tidy(const struct model *model, const char *run_dir)
{
    struct nl_sock *socket = netlink_socket();
    struct rules rules = {netlink_socket(), model, run_dir};
    int error = socket && rules.socket ? read_rules(socket, &rules) : 0;
    if (error)
        log_warning("routing rules cannot be read: %s", nl_geterror(error));
    nl_socket_free(rules.socket);
    nl_socket_free(socket);
}

int host_interface_apply(const struct model *model, const char *run_dir, char *text, size_t size)
{
    struct nl_sock *socket = netlink_socket();
    int error = 0;
    if (!socket) {
        snprintf(text, size, "no netlink socket for the host's interfaces");
        return -EIO;
    }
    for (unsigned i = 0; i < model->segment_count && !error; i++) {
        if (model->segments[i].host_port)
            error = apply_one(socket, &model->segments[i], run_dir, text, size);
    }
    nl_socket_free(socket);
    host_interface_tidy(model, run_dir);
    return error;
}
