/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the configuration's words become:
 *   - a port with `mac` gets anti-spoofing of MAC and a static entry, so that nobody else can attract its
 *     frames; with `ip`, of IP as well; with either, in a segment that is served already, it may not send
 *     what routers and DHCP servers send. `spoof: allow` leaves all of that out.
 *   - a guest with an IPv6 address needs its link-local one for neighbour discovery: the EUI-64 one of its
 *     MAC is allowed along with it. One that is given none makes one of the segment's prefix (SLAAC): that of
 *     its MAC is allowed.
 *   - a bridged segment makes its uplink a member under its VLAN; isolation never keeps a guest from an
 *     uplink.
 *   - a tenant's limit of addresses is handed out to its segments, so that their sum never exceeds it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "compile.h"
#include "compile_network.h"
#include "uplink.h"
#include "values.h"

#define FNV_OFFSET 0xcbf29ce484222325u
#define FNV_PRIME  0x100000001b3u

void object_set_add(struct object_set *set, enum dp_kind kind, const void *object)
{
    struct object_list *list = &set->lists[kind];
    size_t size = dp_object_size(kind);
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 16;
        list->items = realloc(list->items, list->room * size);
        if (!list->items)
            abort();
    }
    memcpy((char *)list->items + list->count++ * size, object, size);
}

int object_compare(enum dp_kind kind, const void *a, const void *b)
{
    return memcmp(a, b, dp_key_size(kind));
}

static int compare_with_kind(const void *a, const void *b, void *kind)
{
    return object_compare(*(enum dp_kind *)kind, a, b);
}

/* An object that was added twice (an outside address of two segments) is one. */
static void drop_doubles(struct object_list *list, enum dp_kind kind)
{
    size_t size = dp_object_size(kind), kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        char *item = (char *)list->items + i * size, *last = (char *)list->items + kept * size;
        if (kept && object_compare(kind, item, last - size) == 0)
            continue;
        if (item != last)
            memcpy(last, item, size);
        kept++;
    }
    list->count = kept;
}

void object_set_sort(struct object_set *set)
{
    for (enum dp_kind kind = 1; kind < OBJECT_KINDS; kind++) {
        struct object_list *list = &set->lists[kind];
        if (list->count > 1)
            qsort_r(list->items, list->count, dp_object_size(kind), compare_with_kind, &kind);
        drop_doubles(list, kind);
    }
}

void object_set_clear(struct object_set *set)
{
    for (unsigned kind = 0; kind < OBJECT_KINDS; kind++)
        free(set->lists[kind].items);
    memset(set, 0, sizeof(*set));
}

/* Addresses that a segment may learn: its own limit, or its share of what the others leave of the tenant's.
 */
static uint32_t segment_mac_limit(const struct model_segment *segment)
{
    const struct model_tenant *tenant = segment->tenant;
    if (segment->macs || !tenant->limit_macs)
        return segment->macs;
    int64_t left = tenant->limit_macs, sharing = 1;
    for (unsigned i = 0; i < tenant->segment_count; i++) {
        left -= tenant->segments[i].macs;
        sharing += tenant->segments[i].macs == 0 && &tenant->segments[i] != segment;
    }
    return sharing ? (uint32_t)(left / sharing) : 0;
}

/* The segment's flag makes the ports' flags count. */
static bool segment_isolates(const struct model *model, const struct model_segment *segment)
{
    if (segment->isolate_ports)
        return true;
    for (unsigned i = 0; i < segment->tenant->port_count; i++) {
        const struct model_port *port = &segment->tenant->ports[i];
        if (port->isolated && model_port_in(port, segment))
            return true;
    }
    return false;
}

static void compile_segment(const struct model *model, const struct model_segment *segment,
                            struct object_set *set)
{
    struct dp_segment object = {
        .id = segment->id,
        .tenant = segment->tenant->id,
        .ageing_s = segment->ageing,
        .mac_limit = segment_mac_limit(segment),
        .flags = segment_isolates(model, segment) ? DP_SEGMENT_F_ISOLATE_PORTS : 0,
    };
    snprintf(object.name, sizeof(object.name), "%s", segment->full_name);
    object_set_add(set, DP_KIND_SEGMENT, &object);
    if (segment->uplink && !segment->is_nat) {
        struct dp_member member = {
            .port = segment->uplink->id,
            .vid = segment->vlan ? segment->vlan : DP_MEMBER_UNTAGGED,
            .segment = segment->id,
        };
        object_set_add(set, DP_KIND_MEMBER, &member);
    }
}

static void compile_static(uint32_t segment, const uint8_t mac[6], uint32_t port, struct object_set *set)
{
    struct dp_static object = {.segment = segment, .port = port};
    memcpy(object.mac, mac, sizeof(object.mac));
    object_set_add(set, DP_KIND_STATIC, &object);
}

static void compile_statics(const struct model_segment *segment, struct object_set *set)
{
    const char *text;
    json_t *name;
    json_object_foreach (segment->statics, text, name) {
        uint8_t mac[6];
        const struct model_port *port = model_port(segment->tenant, json_string_value(name));
        bool own = port && port->has_mac && !port->spoof_allowed && value_mac(text, mac) == 0 &&
                   memcmp(mac, port->mac, sizeof(mac)) == 0;
        if (port && !own && value_mac(text, mac) == 0)
            compile_static(segment->id, mac, port->id, set);
    }
}

static void compile_allowed(uint32_t port, uint32_t type, const uint8_t *address, size_t size,
                            struct object_set *set)
{
    struct dp_allowed object = {.port = port, .type = type};
    memcpy(object.address, address, size);
    object_set_add(set, DP_KIND_ALLOWED, &object);
}

/* RFC 4291 appendix A: the address in a prefix of length 64 that is made of a MAC address. */
static void eui64_of(const uint8_t prefix[8], const uint8_t mac[6], uint8_t address[16])
{
    const uint8_t identifier[8] = {(uint8_t)(mac[0] ^ 2), mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    memcpy(address, prefix, 8);
    memcpy(address + 8, identifier, sizeof(identifier));
}

/* A guest that hears of the segment's prefix makes an address of it (SLAAC), and may speak from it although
 * it was given others: RFC 6724 leaves the choice to it. */
static void compile_own_addresses(const struct model_port *port, struct object_set *set)
{
    const struct model_tenant *tenant = port->tenant;
    for (unsigned i = 0; i < tenant->segment_count; i++) {
        const struct model_prefix *prefix = &tenant->segments[i].subnets[1];
        uint8_t address[16];
        if (!prefix->family || prefix->length != 64 || !model_port_in(port, &tenant->segments[i]))
            continue;
        eui64_of(prefix->network, port->mac, address);
        compile_allowed(port->id, DP_ALLOWED_IPV6, address, 16, set);
    }
}

static void compile_spoof(const struct model_port *port, struct object_set *set)
{
    static const uint8_t link_local_prefix[8] = {0xfe, 0x80};
    bool has_ipv6 = false, has_link_local = false;
    uint8_t link_local[16];
    if (port->spoof_allowed)
        return;
    eui64_of(link_local_prefix, port->mac, link_local);
    if (port->has_mac)
        compile_allowed(port->id, DP_ALLOWED_MAC, port->mac, 6, set);
    for (unsigned i = 0; i < port->address_count; i++) {
        const struct model_address *address = &port->addresses[i];
        bool ipv6 = address->family == 6;
        has_ipv6 |= ipv6;
        has_link_local |= ipv6 && memcmp(address->bytes, link_local, sizeof(link_local)) == 0;
        compile_allowed(port->id, ipv6 ? DP_ALLOWED_IPV6 : DP_ALLOWED_IPV4, address->bytes, ipv6 ? 16 : 4,
                        set);
    }
    if (has_ipv6 && port->has_mac && !has_link_local)
        compile_allowed(port->id, DP_ALLOWED_IPV6, link_local, 16, set);
    if (port->address_count && port->has_mac)
        compile_own_addresses(port, set);
}

static void compile_member(const struct model_port *port, const struct model_segment *segment, uint32_t vid,
                           struct object_set *set)
{
    struct dp_member member = {.port = port->id, .vid = vid, .segment = segment->id};
    if (port->trunk_count && vid == DP_MEMBER_UNTAGGED)
        member.tagged_vid = segment->vlan;
    object_set_add(set, DP_KIND_MEMBER, &member);
    if (port->has_mac && !port->spoof_allowed)
        compile_static(segment->id, port->mac, port->id, set);
}

static bool port_is_isolated(const struct model_port *port)
{
    if (port->isolated_set)
        return port->isolated;
    bool isolated = port->segment && port->segment->isolate_ports;
    for (unsigned i = 0; i < port->trunk_count; i++)
        isolated |= port->trunk[i]->isolate_ports;
    return isolated && !port->tap;
}

static bool segment_is_cut_off(const struct model_segment *segment)
{
    const struct model_uplink *uplink = segment->is_nat ? NULL : segment->uplink;
    if (!uplink || !segment->follow_uplink)
        return false;
    return uplink_is_shared(uplink->device) ? !uplink->link.running : uplink->no_link;
}

/* All that the guest's cable leads to is behind uplinks without link. */
static bool port_is_cut_off(const struct model_port *port)
{
    bool cut_off = port->segment ? segment_is_cut_off(port->segment) : port->trunk_count > 0;
    for (unsigned i = 0; i < port->trunk_count; i++)
        cut_off &= segment_is_cut_off(port->trunk[i]);
    return cut_off && !port->tap;
}

/* Guests of an isolated segment may serve each other; elsewhere somebody does already. */
static bool port_is_guarded(const struct model_port *port)
{
    const struct model_tenant *tenant = port->tenant;
    bool guarded = false;
    for (unsigned i = 0; i < tenant->segment_count; i++) {
        const struct model_segment *segment = &tenant->segments[i];
        bool served = segment->is_nat || segment->is_host_only || segment->uplink;
        guarded |= served && model_port_in(port, segment);
    }
    return guarded && (port->has_mac || port->address_count) && !port->spoof_allowed;
}

static uint32_t port_flags(const struct model_port *port)
{
    uint32_t flags = 0;
    if (port->client)
        flags |= DP_PORT_F_CLIENT;
    if (port->has_mac && !port->spoof_allowed)
        flags |= DP_PORT_F_SPOOF_MAC;
    if (port->address_count && !port->spoof_allowed)
        flags |= DP_PORT_F_SPOOF_IP;
    if (port_is_guarded(port))
        flags |= DP_PORT_F_GUARD;
    if (port_is_isolated(port))
        flags |= DP_PORT_F_ISOLATED;
    if (!port->enabled)
        flags |= DP_PORT_F_DOWN;
    if (port_is_cut_off(port))
        flags |= DP_PORT_F_NO_LINK;
    return flags;
}

static void compile_port(const struct model_port *port, uint32_t socket_group, struct object_set *set)
{
    struct dp_port object = {
        .id = port->id,
        .tenant = port->tenant->id,
        .type = port->tap ? DP_PORT_TAP : DP_PORT_VHOST_USER,
        .flags = port_flags(port),
        .queues = port->queues,
        .mtu = port->mtu,
        .mac_limit = port->macs,
        .storm_pps = port->storm_limit,
        .socket_group = port->tap ? 0 : socket_group,
    };
    snprintf(object.name, sizeof(object.name), "%s", port->full_name);
    snprintf(object.device, sizeof(object.device), "%s", port->tap ? port->tap : port->socket);
    memcpy(object.mac, port->mac, sizeof(object.mac));
    object_set_add(set, DP_KIND_PORT, &object);
    compile_spoof(port, set);
    if (port->segment)
        compile_member(port, port->segment, DP_MEMBER_UNTAGGED, set);
    for (unsigned i = 0; i < port->trunk_count; i++)
        compile_member(port, port->trunk[i],
                       port->trunk[i] == port->native ? DP_MEMBER_UNTAGGED : port->trunk[i]->vlan, set);
}

static uint32_t at_least(uint32_t number, uint32_t least)
{
    return number > least ? number : least;
}

/* One a worker that could use one. */
static uint32_t worker_queues(const struct model *model)
{
    json_t *cores = json_object_get(json_object_get(model->config, "dataplane"), "cores");
    uint32_t workers = at_least((uint32_t)json_array_size(cores), 1);
    return workers < DP_QUEUES_MAX ? workers : DP_QUEUES_MAX;
}

/* A socket a worker, and not more than the interface has queues. */
static uint32_t packet_queues(const struct model *model, const struct link_facts *link)
{
    uint32_t most = worker_queues(model), queues = at_least(link->queues, 1);
    return queues < most ? queues : most;
}

static void compile_uplink(const struct model *model, const struct model_uplink *uplink,
                           struct object_set *set)
{
    const struct link_facts *link = &uplink->link;
    if (uplink->parent)
        return; /* frames of a VLAN are its carrier's */
    struct dp_port object = {
        .id = uplink->id, .type = DP_PORT_ETHDEV, .queues = 1, .mtu = uplink_mtu(uplink)};
    snprintf(object.name, sizeof(object.name), "%s", uplink->name);
    snprintf(object.device, sizeof(object.device), "%s", uplink_argument(uplink->device));
    if (uplink_is_shared(uplink->device)) {
        object.ifindex = link->ifindex;
        object.flags = link->running ? 0 : DP_PORT_F_NO_LINK;
    }
    if (uplink_kind(uplink->device) == UPLINK_PCI) {
        object.queues = worker_queues(model); /* the dataplane takes as many as the NIC has */
        if (!uplink->nic_usable) {            /* a port of the kind that lives without its interface */
            object.type = DP_PORT_PACKET;
            object.flags = DP_PORT_F_NO_LINK;
        }
    } else if (uplink_kind(uplink->device) == UPLINK_PACKET) {
        object.type = DP_PORT_PACKET;
        object.queues = packet_queues(model, link);
    } else if (uplink_kind(uplink->device) == UPLINK_XDP) {
        object.type = DP_PORT_XDP;
        object.queues = at_least(link->queues < DP_QUEUES_MAX ? link->queues : DP_QUEUES_MAX - 1, 1) + 1;
    }
    object_set_add(set, DP_KIND_PORT, &object);
}

uint64_t object_set_hash(const struct object_set *set)
{
    uint64_t hash = FNV_OFFSET;
    for (enum dp_kind kind = DP_KIND_SEGMENT; kind < OBJECT_KINDS; kind++) {
        const uint8_t *bytes = set->lists[kind].items;
        size_t size = set->lists[kind].count * dp_object_size(kind);
        for (size_t i = 0; i < size; i++)
            hash = (hash ^ bytes[i]) * FNV_PRIME;
    }
    return hash;
}

void compile_model(const struct model *model, uint64_t generation, uint32_t socket_group,
                   struct object_set *set)
{
    for (unsigned i = 0; i < model->uplink_count; i++)
        compile_uplink(model, &model->uplinks[i], set);
    for (unsigned i = 0; i < model->port_count; i++)
        compile_port(&model->ports[i], socket_group, set);
    for (unsigned i = 0; i < model->segment_count; i++) {
        compile_segment(model, &model->segments[i], set);
        compile_statics(&model->segments[i], set);
    }
    compile_network(model, set);
    object_set_sort(set);
    struct dp_global global = {.generation = generation, .config_hash = object_set_hash(set)};
    object_set_add(set, DP_KIND_GLOBAL, &global);
}
