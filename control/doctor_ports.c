/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports of the host's own addresses that address translation uses: packets to them are the dataplane's, so a
 * program of the host that has one hears nothing from outside, and a new one must not be given one. Of
 * forwards, which may be many, only those with trouble are told of.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "doctor_private.h"
#include "reserved_ports.h"

#define PROTO_TCP       6u
#define PROTO_UDP       17u
#define STATE_TIME_WAIT 6u /* include/net/tcp_states.h */

/* One socket of the host. */
struct host_socket {
    uint8_t protocol;
    uint8_t family; /* 4, 6 */
    uint8_t address[16];
    unsigned port, state;
};

/* What address translation has of an uplink's own address. */
struct used {
    const struct model_uplink *uplink;
    const struct model_segment *segment;
    uint8_t protocol; /* 0: both */
    uint16_t first, last;
};

/* /proc/net/tcp and its like: addresses are words in the machine's order. */
static bool parse_socket(const char *line, struct host_socket *found)
{
    char address[33];
    unsigned port, state, words[4] = {0};
    /* NOLINTNEXTLINE(cert-err34-c): hexadecimal fields of fixed width, written by the kernel */
    if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%4X %*32[0-9A-Fa-f]:%*4X %2X", address, &port, &state) != 3)
        return false;
    size_t length = strlen(address);
    found->family = length == 8 ? 4 : 6;
    /* NOLINTNEXTLINE(cert-err34-c): the same */
    int read = sscanf(address, "%8X%8X%8X%8X", &words[0], &words[1], &words[2], &words[3]);
    if ((length != 8 && length != 32) || read != (int)length / 8)
        return false;
    memcpy(found->address, words, sizeof(found->address));
    found->port = port;
    found->state = state;
    return true;
}

static bool is_own(const struct doctor *doctor, const struct model_uplink *uplink,
                   const struct host_socket *found)
{
    static const uint8_t any[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    const struct netlink *netlink = outside_netlink(doctor->controller->outside);
    const struct netlink_link *link = netlink ? netlink_link(netlink, uplink->netdev) : NULL;
    uint8_t family = found->family;
    const uint8_t *address = found->address;
    if (family == 6 && memcmp(address, mapped, sizeof(mapped)) == 0) {
        family = 4;
        address += 12;
    }
    size_t size = family == 4 ? 4 : 16;
    const struct netlink_address *own = link ? netlink_host_address(netlink, link->index, family) : NULL;
    return memcmp(address, any, size) == 0 || (own && memcmp(address, own->bytes, size) == 0);
}

/* The first of the host's sockets that has such a port; how many have. */
static unsigned count_in(const struct doctor *doctor, const struct used *used, const char *path,
                         uint8_t protocol, struct host_socket *first)
{
    FILE *file = fopen(path, "re");
    char line[512];
    unsigned count = 0;
    while (file && fgets(line, sizeof(line), file)) {
        struct host_socket found = {.protocol = protocol};
        if (!parse_socket(line, &found) || found.state == STATE_TIME_WAIT || found.port < used->first ||
            found.port > used->last || !is_own(doctor, used->uplink, &found))
            continue;
        if (count++ == 0)
            *first = found;
    }
    if (file)
        fclose(file);
    return count;
}

static unsigned count_sockets(const struct doctor *doctor, const struct used *used, struct host_socket *first)
{
    static const struct {
        const char *path;
        uint8_t protocol;
    } tables[] = {{"/proc/self/net/tcp", PROTO_TCP},
                  {"/proc/self/net/tcp6", PROTO_TCP},
                  {"/proc/self/net/udp", PROTO_UDP},
                  {"/proc/self/net/udp6", PROTO_UDP}};
    unsigned count = 0;
    for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        struct host_socket found = {0};
        if (used->protocol && used->protocol != tables[i].protocol)
            continue;
        unsigned more = count_in(doctor, used, tables[i].path, tables[i].protocol, &found);
        if (more && !count)
            *first = found;
        count += more;
    }
    return count;
}

static void range_text(const struct used *used, char text[16])
{
    snprintf(text, 16, used->first == used->last ? "%u" : "%u-%u", used->first, used->last);
}

static void check_sockets(struct doctor *doctor, const struct used *used)
{
    struct host_socket found = {0};
    char way_out[120], range[16];
    unsigned count = count_sockets(doctor, used, &found);
    const char *protocol = found.protocol == PROTO_TCP ? "tcp" : "udp";
    range_text(used, range);
    snprintf(way_out, sizeof(way_out), "ss -%canp 'sport = %u' shows the program; end it, or use other ports",
             found.protocol == PROTO_TCP ? 't' : 'u', found.port);
    if (count)
        doctor_report(
            doctor, "ports", WARNING, way_out,
            "%s %s uses ports %s of %s: a program of the host has %s port %u%s and hears nothing from "
            "outside by it",
            used->segment ? "a forward of segment" : "uplink",
            used->segment ? used->segment->full_name : used->uplink->name, range, used->uplink->netdev,
            protocol, found.port, count > 1 ? " (and others have more)" : "");
    else if (!used->segment)
        doctor_report(doctor, "ports", OK, NULL, "ports %s of %s are no program's", range,
                      used->uplink->netdev);
}

static void check_reserved(struct doctor *doctor, const struct used *used)
{
    char range[16];
    bool before = reserved_ports_has(used->first, used->last), now = before;
    range_text(used, range);
    if (!before && doctor->fix) {
        reserved_ports_apply(doctor->controller->store, doctor->controller->model);
        now = reserved_ports_has(used->first, used->last);
    }
    if (now && (!before || !used->segment))
        doctor_report(doctor, "reserved-ports", before ? OK : FIXED, NULL,
                      "ports %s of %s are kept from programs", range, used->uplink->netdev);
    else if (!now)
        doctor_report(
            doctor, "reserved-ports", WARNING, "weft doctor --fix",
            "ports %s of %s are not in net.ipv4.ip_local_reserved_ports: the kernel may give them to "
            "programs as well",
            range, used->uplink->netdev);
}

static void check_used(struct doctor *doctor, const struct used *used)
{
    check_sockets(doctor, used);
    check_reserved(doctor, used);
}

/* The range of an uplink counts if a segment is translated to the uplink's own address. */
static void check_uplink(struct doctor *doctor, const struct model_uplink *uplink)
{
    const struct model *model = doctor->controller->model;
    bool counts = false;
    for (unsigned i = 0; i < model->segment_count; i++)
        counts |= model->segments[i].is_nat && model->segments[i].uplink == uplink &&
                  !model->segments[i].nat.address_count;
    if (counts)
        check_used(doctor,
                   &(struct used){.uplink = uplink, .first = uplink->port_first, .last = uplink->port_last});
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        for (unsigned k = 0; segment->uplink == uplink && k < segment->nat.forward_count; k++) {
            const struct model_forward *forward = &segment->nat.forwards[k];
            if (segment->is_nat && !forward->address.family)
                check_used(doctor,
                           &(struct used){uplink, segment, forward->protocol, forward->first, forward->last});
        }
    }
}

void doctor_ports(struct doctor *doctor)
{
    const struct model *model = doctor->controller ? doctor->controller->model : NULL;
    for (unsigned i = 0; model && i < model->uplink_count; i++) {
        if (model->uplinks[i].is_outside && model->uplinks[i].netdev[0])
            check_uplink(doctor, &model->uplinks[i]);
    }
}
