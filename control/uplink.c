/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. An uplink's port in the dataplane works on sockets that are made here, because making
 * them needs rights that the dataplane does not have: AF_PACKET sockets with the steering filter, AF_XDP
 * sockets, and the link that attaches the XDP program. They are handed over with the put of the port and
 * closed here, so the interface is shared as long as the dataplane has the port, whatever becomes of weftd.
 *
 * Which interface the descriptors belong to is part of the port (its ifindex): an interface that was deleted
 * and made again, or another number of receive queues, is another port to the reconciliation. An interface
 * that is not there is a port without descriptors and without link.
 *
 * Order. The AF_XDP sockets enter the XDP program's map only when the dataplane has committed: until then
 * the program lets everything pass to the host and the packet socket. Promiscuous mode belongs to the packet
 * socket and goes with it.
 */
#include "uplink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "log.h"
#include "uplink_pci.h"
#include "uplink_ranges.h"

#define BUFFER_SIZE (8 << 20) /* bytes of a packet socket each way: some hundred 64 KiB frames */
#define MTU_DEFAULT 1500u
#define MTU_MIN     68u
#define MTU_MAX     9216u
#define FNV_OFFSET  0xcbf29ce484222325u
#define FNV_PRIME   0x100000001b3u

struct uplink {
    struct uplink *next;
    uint32_t ifindex;
    struct steer *steer;
    bool warned;
    unsigned pending_count; /* AF_XDP sockets that wait for the dataplane's commit */
    int pending[DP_QUEUES_MAX];
};

struct uplinks {
    struct uplink *first;
    uint64_t instance;
};

static const struct {
    const char *name;
    enum uplink_kind kind;
} kinds[] = {{"af_packet", UPLINK_PACKET},
             {"af_xdp", UPLINK_XDP},
             {"pci", UPLINK_PCI},
             {"vdev", UPLINK_VDEV},
             {"vlan", UPLINK_VLAN}};

enum uplink_kind uplink_kind(const char *device)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t length = strlen(kinds[i].name);
        if (strncmp(device, kinds[i].name, length) == 0 && device[length] == ':')
            return kinds[i].kind;
    }
    return UPLINK_VDEV;
}

bool uplink_is_shared(const char *device)
{
    enum uplink_kind kind = uplink_kind(device);
    return kind == UPLINK_PACKET || kind == UPLINK_XDP;
}

const char *uplink_argument(const char *device)
{
    const char *colon = strchr(device, ':');
    return colon ? colon + 1 : device;
}

uint32_t uplink_mtu(const struct model_uplink *uplink)
{
    if (uplink->parent) {
        uint32_t carried = uplink_mtu(uplink->parent);
        return uplink->mtu && uplink->mtu < carried ? uplink->mtu : carried;
    }
    uint32_t limit = uplink_kind(uplink->device) == UPLINK_XDP ? UPLINK_XDP_MTU_MAX : MTU_MAX;
    uint32_t most = uplink->link.mtu < limit ? uplink->link.mtu : limit;
    if (!uplink->link.ifindex)
        return uplink->mtu ? uplink->mtu : MTU_DEFAULT;
    if (most < MTU_MIN)
        return MTU_MIN;
    return uplink->mtu && uplink->mtu < most ? uplink->mtu : most;
}

struct uplinks *uplinks_new(const char *run_dir)
{
    struct uplinks *uplinks = calloc(1, sizeof(*uplinks));
    if (!uplinks)
        return NULL;
    uplinks->instance = FNV_OFFSET;
    for (const char *c = run_dir; *c; c++)
        uplinks->instance = (uplinks->instance ^ (unsigned char)*c) * FNV_PRIME;
    return uplinks;
}

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

static void uplink_free(struct uplink *uplink)
{
    close_all(uplink->pending, uplink->pending_count);
    steer_close(uplink->steer);
    free(uplink);
}

void uplinks_free(struct uplinks *uplinks)
{
    if (!uplinks)
        return;
    while (uplinks->first) {
        struct uplink *uplink = uplinks->first;
        uplinks->first = uplink->next;
        uplink_free(uplink);
    }
    free(uplinks);
}

static void report(struct events *events, const struct model_uplink *uplink, const struct link_facts *before)
{
    const struct link_facts *now = &uplink->link;
    const char *interface = uplink_argument(uplink->device);
    if (!now->ifindex && before->ifindex)
        events_add(events, "uplink-changed", uplink->name, 0, "interface %s is gone", interface);
    else if (now->ifindex && now->ifindex != before->ifindex)
        events_add(events, "uplink-changed", uplink->name, 0, "interface %s is there", interface);
    else if (now->mtu != before->mtu)
        events_add(events, "uplink-changed", uplink->name, 0, "MTU of interface %s is %u, was %u", interface,
                   now->mtu, before->mtu);
}

/* True: it is not as it was. */
static bool look_at_card(struct model_uplink *uplink, struct events *events)
{
    char reason[400] = "";
    bool before = uplink->nic_usable, known = uplink->looked;
    uplink->nic_usable = uplink_pci_check(uplink, reason, sizeof(reason)) == 0;
    uplink->looked = true;
    if (events && known && before != uplink->nic_usable)
        events_add(events, "uplink-changed", uplink->name, 0, "%s",
                   reason[0] ? reason : "the NIC can be used");
    else if (!known && !uplink->nic_usable && events)
        log_warning("uplink %s has no NIC: %s", uplink->name, reason);
    return before != uplink->nic_usable;
}

void uplinks_inherit(struct model *candidate, const struct model *current)
{
    for (unsigned i = 0; i < candidate->uplink_count; i++) {
        struct model_uplink *uplink = &candidate->uplinks[i];
        const struct model_uplink *old = current ? model_uplink(current, uplink->name) : NULL;
        if (old && strcmp(old->device, uplink->device) == 0)
            uplink->no_link = old->no_link;
    }
}

bool uplinks_look(struct model *model, struct events *events)
{
    bool changed = false;
    for (unsigned i = 0; i < model->uplink_count; i++) {
        struct model_uplink *uplink = &model->uplinks[i];
        struct link_facts before = uplink->link;
        if (uplink_kind(uplink->device) == UPLINK_PCI)
            changed |= look_at_card(uplink, events);
        if (!uplink_is_shared(uplink->device))
            continue;
        int error = link_read(uplink_argument(uplink->device), &uplink->link);
        if (error && error != -ENODEV)
            log_warning("uplink %s: the kernel does not say what interface it is: %s", uplink->name,
                        strerror(-error));
        changed |= !link_facts_equal(&before, &uplink->link);
        if (uplink->looked && events)
            report(events, uplink, &before);
        uplink->looked = true;
    }
    return changed;
}

static int refuse(const struct model_uplink *uplink, int error, const char *reason, const char *more,
                  char *text, size_t size)
{
    snprintf(text, size, "uplink %s: %s %s%s", uplink->name, uplink_argument(uplink->device), reason, more);
    return error;
}

static int check_card(const struct model_uplink *uplink, char *text, size_t size)
{
    int length = snprintf(text, size, "uplink %s: ", uplink->name);
    return uplink_pci_check(uplink, text + length, size - (size_t)length);
}

static int check_new(const struct model_uplink *uplink, char *text, size_t size)
{
    const struct link_facts *link = &uplink->link;
    bool xdp = uplink_kind(uplink->device) == UPLINK_XDP;
    if (!link->ifindex)
        return refuse(uplink, -ENODEV, "is no interface of this host", "; ip link lists those that are there",
                      text, size);
    if (!link->ethernet)
        return refuse(uplink, -EINVAL, "is not Ethernet", "", text, size);
    if (xdp && link->master[0])
        return refuse(uplink, -EBUSY, "belongs to bridge or bond ", link->master, text, size);
    if (xdp && uplink->mtu > UPLINK_XDP_MTU_MAX)
        return refuse(uplink, -EINVAL, "takes an MTU of 3498 at most with af_xdp", "; af_packet takes more",
                      text, size);
    return 0;
}

int uplinks_check(const struct model *candidate, const struct model *current, char *text, size_t size)
{
    int error = 0;
    for (unsigned i = 0; i < candidate->uplink_count && !error; i++) {
        const struct model_uplink *uplink = &candidate->uplinks[i];
        const struct model_uplink *old = current ? model_uplink(current, uplink->name) : NULL;
        bool known = old && strcmp(old->device, uplink->device) == 0 && old->mtu == uplink->mtu;
        if (!known && uplink_is_shared(uplink->device))
            error = check_new(uplink, text, size);
        else if (!known && uplink_kind(uplink->device) == UPLINK_PCI)
            error = check_card(uplink, text, size);
    }
    return error;
}

/* The uplink on that interface, with its programs. NULL and errno. */
static struct uplink *uplink_get(struct uplinks *uplinks, uint32_t ifindex, char *text, size_t size)
{
    struct steer_about about = {.instance = uplinks->instance, .ifindex = ifindex};
    struct stat namespace;
    struct uplink *uplink = uplinks->first;
    while (uplink && uplink->ifindex != ifindex)
        uplink = uplink->next;
    if (uplink)
        return uplink;
    if (stat("/proc/self/ns/net", &namespace) == 0)
        about.netns = namespace.st_ino;
    uplink = calloc(1, sizeof(*uplink));
    if (!uplink)
        return NULL;
    uplink->ifindex = ifindex;
    uplink->steer = steer_open(&about, text, size);
    if (!uplink->steer) {
        free(uplink);
        return NULL;
    }
    uplink->next = uplinks->first;
    uplinks->first = uplink;
    return uplink;
}

static int set_option(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Filtered before it is bound: it never receives what it should not. */
static int socket_set_up(const struct steer *steer, int fd, uint32_t ifindex)
{
    const struct packet_mreq promiscuous = {.mr_ifindex = (int)ifindex, .mr_type = PACKET_MR_PROMISC};
    const struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)ifindex};
    const int buffer = BUFFER_SIZE;
    int error = steer_filter(steer, fd);
    if (!error)
        error = set_option(fd, PACKET_VNET_HDR, 1);
    if (!error)
        error = set_option(fd, PACKET_AUXDATA, 1);
    if (!error)
        error = set_option(fd, PACKET_IGNORE_OUTGOING, 1);
    if (!error && setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) < 0)
        error = -errno;
    if (!error && bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        error = -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) < 0)
        log_warning("interface %u: packet sockets keep small buffers: %s", ifindex, strerror(errno));
    return error;
}

static int packet_socket_new(const struct uplink *uplink, const char *interface, char *text, size_t size)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 ? -errno : socket_set_up(uplink->steer, fd, uplink->ifindex);
    if (!error)
        return fd;
    snprintf(text, size, "no packet socket on %s: %s", interface, strerror(-error));
    if (fd >= 0)
        close(fd);
    return error;
}

/* Flows are spread over the sockets of one group. */
static int join_group(int fd, int *group)
{
    int type = *group >= 0 ? PACKET_FANOUT_HASH : PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_UNIQUEID;
    int value = (*group >= 0 ? *group : 0) | type << 16;
    socklen_t size = sizeof(value);
    int error = set_option(fd, PACKET_FANOUT, value);
    if (!error && *group < 0) {
        error = getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &value, &size) < 0 ? -errno : 0;
        *group = value & 0xffff;
    }
    return error;
}

static int open_packet(struct uplink *uplink, const struct dp_port *port, int *fds, char *text, size_t size)
{
    unsigned count = 0;
    int error = 0, group = -1;
    while (count < port->queues && !error) {
        int fd = packet_socket_new(uplink, port->device, text, size);
        if (fd < 0) {
            error = fd;
            break;
        }
        fds[count++] = fd;
        if (port->queues > 1 && (error = join_group(fd, &group)) < 0)
            snprintf(text, size, "packet sockets on %s do not share: %s", port->device, strerror(-error));
    }
    if (error) {
        close_all(fds, count);
        return error;
    }
    int link = steer_attach_tc(uplink->steer);
    if (link >= 0)
        fds[count++] = link;
    return (int)count;
}

/* One AF_XDP socket a receive queue, the packet socket, the link: the order of enum dp_port_type. */
static int open_xdp(struct uplink *uplink, const struct dp_port *port, int *fds, char *text, size_t size)
{
    const int buffer = BUFFER_SIZE;
    unsigned count = 0;
    int fd = 0;
    close_all(uplink->pending, uplink->pending_count);
    uplink->pending_count = 0;
    while (count < port->queues - 1 && fd >= 0) {
        fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            fd = -errno;
            snprintf(text, size, "no AF_XDP socket: %s", strerror(-fd));
        } else {
            setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)); /* less: smaller batches */
            fds[count++] = fd;
        }
    }
    if (fd >= 0)
        fd = packet_socket_new(uplink, port->device, text, size);
    if (fd >= 0) {
        fds[count++] = fd;
        fd = steer_attach_xdp(uplink->steer, text, size);
    }
    if (fd < 0) {
        close_all(fds, count);
        return fd;
    }
    fds[count++] = fd;
    for (unsigned i = 0; i < port->queues - 1; i++) {
        uplink->pending[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        uplink->pending_count += uplink->pending[i] >= 0;
    }
    return (int)count;
}

static int refresh(const struct uplink *uplink)
{
    uint8_t macs[STEER_HOSTS_MAX][6];
    unsigned count = link_addresses(uplink->ifindex, macs, STEER_HOSTS_MAX);
    return count ? steer_set_hosts(uplink->steer, macs, count) : 0;
}

int uplinks_open(struct uplinks *uplinks, const struct dp_port *port, int fds[DP_PORT_FDS_MAX], char *text,
                 size_t size)
{
    char reason[400] = "";
    struct uplink *uplink = uplink_get(uplinks, port->ifindex, reason, sizeof(reason));
    int count = uplink ? refresh(uplink) : errno ? -errno : -ENOMEM;
    if (uplink && count == 0)
        count = port->type == DP_PORT_XDP ? open_xdp(uplink, port, fds, reason, sizeof(reason))
                                          : open_packet(uplink, port, fds, reason, sizeof(reason));
    if (count < 0)
        snprintf(text, size, "uplink %s: %s", port->name, reason[0] ? reason : strerror(-count));
    return count;
}

void uplinks_refresh(const struct uplinks *uplinks)
{
    for (const struct uplink *uplink = uplinks->first; uplink; uplink = uplink->next)
        if (refresh(uplink) < 0)
            log_error("interface %u: the steering programs do not take the host's addresses",
                      uplink->ifindex);
}

/* The port that the uplink's descriptors were handed to; 0: none. */
static uint32_t port_of(const struct uplink *uplink, const struct object_set *objects)
{
    const struct object_list *list = &objects->lists[DP_KIND_PORT];
    const struct dp_port *ports = list->items;
    for (size_t i = 0; i < list->count; i++)
        if (ports[i].ifindex == uplink->ifindex)
            return ports[i].id;
    return 0;
}

static int steer_translated(struct uplink *uplink, uint32_t port, const struct object_set *objects)
{
    struct steer_range *ranges;
    unsigned count;
    int error = uplink_ranges(objects, port, &ranges, &count);
    if (!error)
        error = steer_set_ranges(uplink->steer, ranges, count);
    bool answers =
        count > 0 && steer_mode(uplink->ifindex) == STEER_NONE && !steer_tc_attached(uplink->steer);
    if (answers && !uplink->warned)
        log_warning("interface %u: the host answers packets of translated connections too (af_packet before "
                    "Linux 6.6): use af_xdp, or translate to an address that is not the host's",
                    uplink->ifindex);
    uplink->warned = answers;
    free(ranges);
    return error;
}

static void settle(struct uplink *uplink, uint32_t port, const struct object_set *objects)
{
    int error = refresh(uplink);
    if (!error)
        error = steer_translated(uplink, port, objects);
    for (unsigned i = 0; i < uplink->pending_count && !error; i++)
        error = steer_set_socket(uplink->steer, i, uplink->pending[i]);
    if (error)
        log_error("interface %u: the steering programs do not take what they should know: %s",
                  uplink->ifindex, strerror(-error));
    close_all(uplink->pending, uplink->pending_count);
    uplink->pending_count = 0;
}

/* After a start: the uplinks whose descriptors an earlier weftd handed over. */
static void find_known(struct uplinks *uplinks, const struct object_set *objects)
{
    const struct object_list *list = &objects->lists[DP_KIND_PORT];
    const struct dp_port *ports = list->items;
    char text[400] = "";
    for (size_t i = 0; i < list->count; i++)
        if (ports[i].ifindex && !uplink_get(uplinks, ports[i].ifindex, text, sizeof(text)))
            log_error("uplink %s: %s", ports[i].name, text);
}

void uplinks_settle(struct uplinks *uplinks, const struct object_set *objects)
{
    find_known(uplinks, objects);
    for (struct uplink **link = &uplinks->first; *link;) {
        struct uplink *uplink = *link;
        uint32_t port = port_of(uplink, objects);
        if (port) {
            settle(uplink, port, objects);
            link = &uplink->next;
        } else {
            *link = uplink->next;
            uplink_free(uplink);
        }
    }
}
