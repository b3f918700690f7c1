/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subnets of segments, the uplinks' side of address translation, and what `nat` of a tenant names. What does
 * not resolve is reported and left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "model.h"
#include "uplink.h"
#include "values.h"

#define HOST_INTERFACE_PREFIX "weft-"
#define MTU                   1500
#define LEASE_SECONDS         3600
#define PORT_FIRST            32768
#define PORT_LAST             49151

static int64_t number_of(json_t *table, const char *key, int64_t fallback)
{
    json_t *value = json_object_get(table, key);
    return value ? json_integer_value(value) : fallback;
}

static bool word_is(json_t *table, const char *key, const char *word)
{
    const char *text = json_string_value(json_object_get(table, key));
    return text && strcmp(text, word) == 0;
}

static struct model_address address_of(const char *text)
{
    struct model_address address = {0};
    int family = text ? value_ip(text, address.bytes) : -1;
    address.family = family > 0 ? (uint8_t)family : 0;
    return address;
}

bool model_has_routers(const struct model *model)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        if (model->segments[i].router_port)
            return true;
    }
    return false;
}

bool model_prefix_has(const struct model_prefix *prefix, uint8_t family, const uint8_t address[16])
{
    uint8_t network[16];
    if (!prefix->family || prefix->family != family)
        return false;
    memcpy(network, address, sizeof(network));
    value_network(network, family, prefix->length);
    return memcmp(network, prefix->network, family == 4 ? 4 : 16) == 0;
}

bool model_prefix_host(const struct model_prefix *prefix, const uint8_t address[16])
{
    unsigned size = prefix->family == 4 ? 4 : 16;
    uint8_t broadcast[16];
    if (memcmp(address, prefix->network, size) == 0)
        return false;
    memcpy(broadcast, prefix->network, sizeof(broadcast));
    for (unsigned bit = prefix->length; bit < 8 * size; bit++)
        broadcast[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
    return prefix->family == 6 || memcmp(address, broadcast, size) != 0;
}

/* Puts the prefixes of a list in their places, by family; the first of each counts. */
static void prefixes_of(json_t *list, struct model_prefix prefixes[2])
{
    size_t index;
    json_t *text;
    json_array_foreach (list, index, text) {
        struct model_prefix prefix = {0};
        unsigned length;
        int family = value_prefix(json_string_value(text), prefix.address, &length);
        if (family < 0 || prefixes[family == 6].family)
            continue;
        prefix.family = (uint8_t)family;
        prefix.length = (uint8_t)length;
        memcpy(prefix.network, prefix.address, sizeof(prefix.network));
        value_network(prefix.network, family, length);
        prefixes[family == 6] = prefix;
    }
}

/* The kernel's interface in the device's name: KIND:IF, or iface=IF of a DPDK device that shares it. */
static void uplink_netdev(struct model_uplink *uplink)
{
    static const char *const kinds[] = {"af_xdp:", "af_packet:"};
    static const char *const drivers[] = {"vdev:net_af_packet", "vdev:eth_af_packet", "vdev:net_af_xdp"};
    const char *device = uplink->device ? uplink->device : "", *name = NULL;
    for (unsigned i = 0; i < 2; i++) {
        if (strncmp(device, kinds[i], strlen(kinds[i])) == 0)
            name = device + strlen(kinds[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        const char *iface = strstr(device, ",iface=");
        if (iface && strncmp(device, drivers[i], strlen(drivers[i])) == 0)
            name = iface + strlen(",iface=");
    }
    size_t length = name ? strcspn(name, ",") : 0;
    if (length < sizeof(uplink->netdev))
        snprintf(uplink->netdev, sizeof(uplink->netdev), "%.*s", (int)length, name ? name : "");
}

void model_uplink_build(struct model_uplink *uplink, json_t *table)
{
    const char *ports = json_string_value(json_object_get(table, "ports"));
    size_t index;
    json_t *text;
    uplink_netdev(uplink);
    prefixes_of(json_object_get(table, "address"), uplink->own);
    json_array_foreach (json_object_get(table, "gateway"), index, text) {
        struct model_address address = address_of(json_string_value(text));
        if (address.family)
            uplink->gateways[address.family == 6] = address;
    }
    if (!ports || value_ports(ports, &uplink->port_first, &uplink->port_last) < 0) {
        uplink->port_first = PORT_FIRST;
        uplink->port_last = PORT_LAST;
    }
}

/* A VLAN's uplink. */
void model_uplink_join(const struct model_check *check, struct model_uplink *uplink)
{
    char path[80], name[WEFT_NAME_LENGTH + 1];
    uint32_t vlan;
    if (!uplink->device || uplink_kind(uplink->device) != UPLINK_VLAN ||
        value_vlan(uplink_argument(uplink->device), name, &vlan) < 0)
        return;
    const struct model_uplink *parent = model_uplink(check->model, name);
    json_t *uplinks = json_object_get(check->model->config, "uplinks");
    const char *nearest = diagnostics_nearest_key(name, uplinks);
    snprintf(path, sizeof(path), "uplinks.%s.device", uplink->name);
    if (!parent)
        model_mistake(check, WEFT_INVALID, path,
                      nearest ? "there is no uplink \"%s\"; did you mean \"%s\"?"
                              : "there is no uplink \"%s\"",
                      name, nearest);
    else if (parent->device && uplink_kind(parent->device) == UPLINK_VLAN)
        model_mistake(check, WEFT_INVALID, path, "uplink %s is a VLAN itself", name);
    uplink->parent = parent;
    uplink->vlan = vlan;
}

const struct model_uplink *model_uplink_carrier(const struct model_uplink *uplink)
{
    return uplink->parent ? uplink->parent : uplink;
}

const struct model_segment *model_uplink_bridged(const struct model *model, const struct model_uplink *uplink)
{
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if (segment->uplink == model_uplink_carrier(uplink) && !segment->is_nat &&
            segment->vlan == uplink->vlan)
            return segment;
    }
    return NULL;
}

static void dhcp_build(struct model_segment *segment, json_t *table)
{
    struct model_dhcp *dhcp = &segment->dhcp;
    const struct model_prefix *subnet = &segment->subnets[0];
    json_t *enabled = json_object_get(table, "enabled"), *dns = json_object_get(table, "dns"), *text;
    const char *range = json_string_value(json_object_get(table, "range"));
    const char *domain = json_string_value(json_object_get(table, "domain"));
    size_t index;
    dhcp->enabled = subnet->family && (!enabled || json_is_true(enabled));
    dhcp->lease = (uint32_t)number_of(table, "lease-time", LEASE_SECONDS);
    dhcp->dns_set = dns != NULL;
    if (!range || value_range(range, dhcp->first, dhcp->last) < 0) {
        memcpy(dhcp->first, subnet->network, 4);
        memcpy(dhcp->last, subnet->network, 4);
        dhcp->first[3] |= 1;
        for (unsigned bit = subnet->length; bit < 31; bit++)
            dhcp->last[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
    }
    json_array_foreach (dns, index, text) {
        struct model_address address = address_of(json_string_value(text));
        if (address.family == 4 && dhcp->dns_count < 3)
            memcpy(dhcp->dns[dhcp->dns_count++], address.bytes, 4);
    }
    if (domain)
        snprintf(dhcp->domain, sizeof(dhcp->domain), "%s", domain);
    else
        snprintf(dhcp->domain, sizeof(dhcp->domain), "%s.internal", segment->tenant->name);
}

void model_network_build(struct model_segment *segment, json_t *table)
{
    const char *interface = json_string_value(json_object_get(table, "host-interface"));
    size_t index;
    json_t *text;
    segment->is_host_only = word_is(table, "mode", "host-only");
    segment->is_nat = word_is(table, "mode", "nat");
    segment->mtu = (uint32_t)number_of(table, "mtu", MTU);
    segment->ipv6_nat = word_is(table, "ipv6", "nat");
    if (interface)
        snprintf(segment->host_interface, sizeof(segment->host_interface), "%s", interface);
    else
        snprintf(segment->host_interface, sizeof(segment->host_interface), HOST_INTERFACE_PREFIX "%.10s",
                 segment->name);
    prefixes_of(json_object_get(table, "subnet"), segment->subnets);
    for (unsigned i = 0; i < 2; i++) { /* the first address */
        segment->subnets[i].address[i ? 15 : 3] |= segment->subnets[i].family ? 1 : 0;
    }
    json_array_foreach (json_object_get(table, "gateway"), index, text) {
        struct model_address address = address_of(json_string_value(text));
        struct model_prefix *subnet = &segment->subnets[address.family == 6];
        if (subnet->family && subnet->family == address.family)
            memcpy(subnet->address, address.bytes, sizeof(subnet->address));
    }
    dhcp_build(segment, json_object_get(table, "dhcp"));
}

const struct model_address *model_port_address(const struct model_port *port,
                                               const struct model_segment *segment, uint8_t family)
{
    for (unsigned i = 0; i < port->address_count; i++) {
        const struct model_address *address = &port->addresses[i];
        if (address->family == family &&
            model_prefix_has(&segment->subnets[family == 6], family, address->bytes))
            return address;
    }
    return NULL;
}

/* The port that `nat` names at `path`, with an address that can be reached. */
static struct model_port *guest_named(const struct model_check *check, const struct model_segment *segment,
                                      const char *path, const char *name)
{
    struct model_port *port = model_port(segment->tenant, name);
    if (!port) {
        json_t *tenants = json_object_get(check->model->config, "tenants");
        json_t *tenant = json_object_get(tenants, segment->tenant->name);
        const char *nearest = diagnostics_nearest_key(name, json_object_get(tenant, "ports"));
        model_mistake(check, WEFT_INVALID, path,
                      nearest ? "tenant %s has no port \"%s\"; did you mean \"%s\"?"
                              : "tenant %s has no port \"%s\"",
                      segment->tenant->name, name, nearest);
        return NULL;
    }
    if (!model_port_in(port, segment)) {
        model_mistake(check, WEFT_INVALID, path, "port %s is not in segment %s", port->full_name,
                      segment->full_name);
        return NULL;
    }
    return port;
}

static void guest_has_address(const struct model_check *check, const struct model_segment *segment,
                              const struct model_port *port, uint8_t family, const char *path)
{
    bool known = family ? model_port_address(port, segment, family) != NULL
                        : model_port_address(port, segment, 4) || model_port_address(port, segment, 6);
    if (!known)
        model_mistake(check, WEFT_INVALID, path,
                      "port %s needs an ip%s in the subnet of segment %s; \"weft port set %s --ip ADDRESS\" "
                      "gives it one",
                      port->full_name,
                      family == 6   ? " (IPv6)"
                      : family == 4 ? " (IPv4)"
                                    : "",
                      segment->full_name, port->full_name);
}

static void forward_build(const struct model_check *check, struct model_segment *segment, unsigned index,
                          json_t *table)
{
    char path[200], target_path[220], name[WEFT_NAME_LENGTH + 1];
    static const char *const needed[] = {"proto", "port", "to"};
    struct model_forward forward = {.protocol = word_is(table, "proto", "udp") ? 17 : 6};
    bool complete = true;
    snprintf(path, sizeof(path), "tenants.%s.nat.%s.forwards.%u", segment->tenant->name, segment->name,
             index);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(target_path, sizeof(target_path), "%s.%s", path, needed[i]);
        bool there = json_object_get(table, needed[i]) != NULL;
        if (!there && !(check->root && document_find(check->root, target_path, NULL)))
            model_mistake(check, WEFT_INVALID, path,
                          "needs a %s, like { proto: tcp, port: 8443, to: \"vm2:443\" }", needed[i]);
        complete &= there;
    }
    if (!complete)
        return;
    value_ports(json_string_value(json_object_get(table, "port")), &forward.first, &forward.last);
    value_target(json_string_value(json_object_get(table, "to")), name, &forward.to_first);
    forward.address = address_of(json_string_value(json_object_get(table, "address")));
    if (!forward.address.family && segment->nat.address_count)
        forward.address = segment->nat.addresses[0];
    snprintf(target_path, sizeof(target_path), "%s.to", path);
    forward.to = guest_named(check, segment, target_path, name);
    if (!forward.to)
        return;
    guest_has_address(check, segment, forward.to, forward.address.family, target_path);
    segment->nat.forwards[segment->nat.forward_count++] = forward;
}

static void pins_build(const struct model_check *check, struct model_segment *segment, json_t *pins)
{
    const char *name;
    json_t *text;
    char path[200];
    segment->nat.pins = model_zeroed(json_object_size(pins), sizeof(*segment->nat.pins));
    json_object_foreach (pins, name, text) {
        snprintf(path, sizeof(path), "tenants.%s.nat.%s.one-to-one.%s", segment->tenant->name, segment->name,
                 name);
        struct model_pin pin = {.port = guest_named(check, segment, path, name),
                                .address = address_of(json_string_value(text))};
        if (!pin.port || !pin.address.family)
            continue;
        guest_has_address(check, segment, pin.port, pin.address.family, path);
        segment->nat.pins[segment->nat.pin_count++] = pin;
    }
}

void model_nat_build(const struct model_check *check, struct model_segment *segment, json_t *table)
{
    struct model_nat *nat = &segment->nat;
    json_t *list = json_object_get(table, "address"), *element;
    size_t index;
    nat->endpoint_independent_filter = word_is(table, "filtering", "endpoint-independent");
    nat->addresses = model_zeroed(json_array_size(list), sizeof(*nat->addresses));
    json_array_foreach (list, index, element) {
        struct model_address address = address_of(json_string_value(element));
        if (address.family)
            nat->addresses[nat->address_count++] = address;
    }
    list = json_object_get(table, "forwards");
    nat->forwards = model_zeroed(json_array_size(list), sizeof(*nat->forwards));
    json_array_foreach (list, index, element)
        forward_build(check, segment, (unsigned)index, element);
    pins_build(check, segment, json_object_get(table, "one-to-one"));
    if (segment->is_nat && segment->uplink)
        segment->uplink->is_outside = true;
}

void model_nat_free(struct model_segment *segment)
{
    free(segment->nat.addresses);
    free(segment->nat.forwards);
    free(segment->nat.pins);
}
