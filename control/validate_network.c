/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can be wrong with subnets, the host's interfaces and address translation.
 */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "model.h"
#include "values.h"

#define PATH_SIZE 200u

/* Who writes is where: a mistake at tenants.TENANT.GROUP.NAME.KEY. */
struct place {
    const struct model_check *check;
    char path[PATH_SIZE];
};

static struct place place_of(const struct model_check *check, const char *tenant, const char *group,
                             const char *name, const char *key)
{
    struct place place = {.check = check};
    snprintf(place.path, sizeof(place.path), "tenants.%s.%s.%s%s%s", tenant, group, name, key ? "." : "",
             key ? key : "");
    return place;
}

static struct place segment_place(const struct model_check *check, const struct model_segment *segment,
                                  const char *key)
{
    return place_of(check, segment->tenant->name, "segments", segment->name, key);
}

static json_t *segment_table(const struct model_check *check, const struct model_segment *segment)
{
    json_t *tenants = json_object_get(check->model->config, "tenants");
    json_t *segments = json_object_get(json_object_get(tenants, segment->tenant->name), "segments");
    return json_object_get(segments, segment->name);
}

static const char *address_text(uint8_t family, const uint8_t address[16], char text[VALUE_IP_SIZE])
{
    return inet_ntop(family == 4 ? AF_INET : AF_INET6, address, text, VALUE_IP_SIZE);
}

static bool prefixes_overlap(const struct model_prefix *a, const struct model_prefix *b)
{
    return (a->family && b->family) &&
           (model_prefix_has(a, b->family, b->network) || model_prefix_has(b, a->family, a->network));
}

/* Keys that only some modes have. */
static void validate_keys(const struct model_check *check, const struct model_segment *segment)
{
    static const struct {
        const char *key;
        bool host_only, nat;
    } keys[] = {{"subnet", true, true}, {"gateway", true, true}, {"mtu", true, true},
                {"dhcp", true, true},   {"ipv6", false, true},   {"host-interface", true, false}};
    json_t *table = segment_table(check, segment);
    for (unsigned i = 0; segment->mode && i < sizeof(keys) / sizeof(keys[0]); i++) {
        bool fits = (segment->is_host_only && keys[i].host_only) || (segment->is_nat && keys[i].nat);
        struct place place = segment_place(check, segment, keys[i].key);
        if (!fits && json_object_get(table, keys[i].key))
            model_mistake(check, WEFT_INVALID, place.path, "mode %s has no %s", segment->mode, keys[i].key);
    }
}

static void validate_subnet(const struct model_check *check, const struct model_segment *segment)
{
    json_t *list = json_object_get(segment_table(check, segment), "subnet"), *text;
    struct place place = segment_place(check, segment, "subnet");
    unsigned families[2] = {0, 0};
    size_t index;
    bool written = check->root && document_find(check->root, place.path, NULL);
    if (!segment->subnets[0].family && (list || !written))
        model_mistake(check, WEFT_INVALID, list ? place.path : segment_place(check, segment, NULL).path,
                      "mode %s needs %s subnet, like 10.0.1.0/24", segment->mode, list ? "an IPv4" : "a");
    json_array_foreach (list, index, text) {
        unsigned *count = &families[strchr(json_string_value(text), ':') != NULL];
        if (++*count == 2)
            model_mistake(check, WEFT_INVALID, place.path, "%s: one subnet of IPv4 and one of IPv6 at most",
                          json_string_value(text));
    }
    if (segment->dhcp.enabled && segment->is_nat && segment->subnets[1].family &&
        segment->subnets[1].length != 64)
        model_mistake(check, WEFT_INVALID, place.path,
                      "guests make their IPv6 addresses in prefixes of length 64, not %u",
                      segment->subnets[1].length);
    if (segment->is_nat && segment->ipv6_nat && segment->subnets[0].family && families[1] == 0)
        model_mistake(check, WEFT_INVALID, segment_place(check, segment, "ipv6").path,
                      "needs an IPv6 prefix in subnet, like fd00:1::/64");
}

static void validate_gateway(const struct model_check *check, const struct model_segment *segment)
{
    json_t *list = json_object_get(segment_table(check, segment), "gateway"), *text;
    struct place place = segment_place(check, segment, "gateway");
    size_t index;
    json_array_foreach (list, index, text) {
        uint8_t address[16];
        int family = value_ip(json_string_value(text), address);
        const struct model_prefix *subnet = &segment->subnets[family == 6];
        if (!subnet->family)
            continue;
        if (!model_prefix_has(subnet, (uint8_t)family, address))
            model_mistake(check, WEFT_INVALID, place.path, "%s is not in the segment's subnet",
                          json_string_value(text));
        else if (!model_prefix_host(subnet, address))
            model_mistake(check, WEFT_INVALID, place.path, "%s is the subnet's %s, no host's address",
                          json_string_value(text),
                          memcmp(address, subnet->network, family == 4 ? 4 : 16) == 0 ? "own address"
                                                                                      : "broadcast address");
    }
}

static void validate_dhcp(const struct model_check *check, const struct model_segment *segment)
{
    json_t *table = json_object_get(segment_table(check, segment), "dhcp"), *text;
    struct place range = segment_place(check, segment, "dhcp.range");
    struct place dns = segment_place(check, segment, "dhcp.dns");
    size_t index;
    uint8_t first[16] = {0}, last[16] = {0};
    memcpy(first, segment->dhcp.first, 4);
    memcpy(last, segment->dhcp.last, 4);
    if (json_object_get(table, "range") && segment->subnets[0].family &&
        (!model_prefix_has(&segment->subnets[0], 4, first) ||
         !model_prefix_has(&segment->subnets[0], 4, last)))
        model_mistake(check, WEFT_INVALID, range.path, "is not in the segment's subnet");
    json_array_foreach (json_object_get(table, "dns"), index, text) {
        if (strchr(json_string_value(text), ':'))
            model_mistake(check, WEFT_INVALID, dns.path, "DHCP tells IPv4 guests of IPv4 servers, not %s",
                          json_string_value(text));
    }
}

/* Subnets that meet in one routing table: those of a tenant's router, those of the host. */
static void validate_overlap(const struct model_check *check, const struct model_segment *segment)
{
    const struct model *model = check->model;
    struct place place = segment_place(check, segment, "subnet");
    for (const struct model_segment *other = model->segments; other < segment; other++) {
        bool meet = (segment->is_nat && other->is_nat && segment->tenant == other->tenant) ||
                    (segment->is_host_only && other->is_host_only);
        for (unsigned i = 0; i < 2 && meet; i++) {
            if (prefixes_overlap(&segment->subnets[i], &other->subnets[i]))
                model_mistake(check, WEFT_INVALID, place.path, "overlaps the subnet of segment %s, %s",
                              other->full_name,
                              segment->is_nat ? "which the tenant's router joins it to"
                                              : "which is on the host as well");
        }
    }
}

static void validate_host_interface(const struct model_check *check, const struct model_segment *segment,
                                    json_t *claims)
{
    char what[64];
    struct place place = segment_place(check, segment, "host-interface");
    snprintf(what, sizeof(what), "tap %s", segment->host_interface);
    const char *other = model_claim(claims, what, segment->full_name);
    if (other)
        model_mistake(check, WEFT_INVALID, place.path,
                      "interface %s is that of %s; name another one with host-interface",
                      segment->host_interface, other);
    for (unsigned i = 0; i < check->model->uplink_count; i++) {
        if (strcmp(check->model->uplinks[i].netdev, segment->host_interface) == 0)
            model_mistake(check, WEFT_INVALID, place.path, "interface %s is uplink %s's",
                          segment->host_interface, check->model->uplinks[i].name);
    }
}

static bool is_link_local(const struct model_address *address)
{
    return address->family == 6 && address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

/* One address of a port against one subnet that the port is in. */
static void validate_guest_address(const struct model_check *check, const struct model_port *port,
                                   const struct model_segment *segment, const struct model_address *address)
{
    const struct model_prefix *subnet = &segment->subnets[address->family == 6];
    struct place place = place_of(check, port->tenant->name, "ports", port->name, "ip");
    char text[VALUE_IP_SIZE];
    unsigned size = address->family == 4 ? 4 : 16;
    address_text(address->family, address->bytes, text);
    if (!subnet->family || is_link_local(address))
        return;
    if (!model_prefix_has(subnet, address->family, address->bytes)) {
        if (port->segment)
            model_mistake(check, WEFT_INVALID, place.path, "%s is not in the subnet of segment %s", text,
                          segment->full_name);
    } else if (memcmp(address->bytes, subnet->address, size) == 0) {
        model_mistake(check, WEFT_INVALID, place.path, "%s is the %s address in segment %s", text,
                      segment->is_nat ? "gateway's" : "host's", segment->full_name);
    } else if (!model_prefix_host(subnet, address->bytes)) {
        model_mistake(check, WEFT_INVALID, place.path, "%s is no host's address in the subnet of segment %s",
                      text, segment->full_name);
    }
}

static void validate_guests(const struct model_check *check, const struct model_segment *segment)
{
    const struct model_tenant *tenant = segment->tenant;
    for (unsigned i = 0; i < tenant->port_count; i++) {
        const struct model_port *port = &tenant->ports[i];
        for (unsigned k = 0; model_port_in(port, segment) && k < port->address_count; k++)
            validate_guest_address(check, port, segment, &port->addresses[k]);
    }
}

/* The tenant's table `nat` names segments. */
static void validate_nat_names(const struct model_check *check, const struct model_tenant *tenant)
{
    json_t *tenants = json_object_get(check->model->config, "tenants");
    json_t *table = json_object_get(tenants, tenant->name), *nat;
    const char *name;
    json_object_foreach (json_object_get(table, "nat"), name, nat) {
        const struct model_segment *segment = model_segment(tenant, name);
        struct place place = place_of(check, tenant->name, "nat", name, NULL);
        const char *nearest = diagnostics_nearest_key(name, json_object_get(table, "segments"));
        if (!segment)
            model_mistake(check, WEFT_INVALID, place.path,
                          nearest ? "tenant %s has no segment \"%s\"; did you mean \"%s\"?"
                                  : "tenant %s has no segment \"%s\"",
                          tenant->name, name, nearest);
        else if (segment->mode && !segment->is_nat)
            model_mistake(check, WEFT_INVALID, place.path, "segment %s is of mode %s, not nat",
                          segment->full_name, segment->mode);
        json_t *list = json_object_get(nat, "address");
        if (segment && json_array_size(list) > 1 && segment->nat.address_count != json_array_size(list))
            model_mistake(check, WEFT_INVALID, place_of(check, tenant->name, "nat", name, "address").path,
                          "is the word uplink or addresses, not both");
    }
}

static bool pool_has(const struct model_nat *nat, const struct model_address *address)
{
    for (unsigned i = 0; i < nat->address_count; i++) {
        if (memcmp(&nat->addresses[i], address, sizeof(*address)) == 0)
            return true;
    }
    return false;
}

/* A guest's own outside address is nobody else's. */
static void validate_pins(const struct model_check *check, const struct model_segment *segment,
                          json_t *claims)
{
    for (unsigned i = 0; i < segment->nat.pin_count; i++) {
        const struct model_pin *pin = &segment->nat.pins[i];
        char key[96], what[128], text[VALUE_IP_SIZE];
        snprintf(key, sizeof(key), "%s.one-to-one.%s", segment->name, pin->port->name);
        struct place place = place_of(check, segment->tenant->name, "nat", key, NULL);
        address_text(pin->address.family, pin->address.bytes, text);
        snprintf(what, sizeof(what), "outside %s %s", segment->uplink ? segment->uplink->name : "", text);
        const char *other = model_claim(claims, what, pin->port->full_name);
        if (other)
            model_mistake(check, WEFT_INVALID, place.path, "%s is that of %s", text, other);
        if (pin->address.family == 6 && !segment->ipv6_nat)
            model_mistake(check, WEFT_INVALID, place.path, "%s: segment %s needs ipv6: nat for that", text,
                          segment->full_name);
    }
}

/* After all pins are known: nobody is translated to what is a guest's own. */
static void validate_pool(const struct model_check *check, const struct model_segment *segment,
                          json_t *claims)
{
    struct place place = place_of(check, segment->tenant->name, "nat", segment->name, "address");
    for (unsigned i = 0; i < segment->nat.address_count; i++) {
        const struct model_address *address = &segment->nat.addresses[i];
        char what[128], text[VALUE_IP_SIZE];
        address_text(address->family, address->bytes, text);
        snprintf(what, sizeof(what), "outside %s %s", segment->uplink ? segment->uplink->name : "", text);
        json_t *other = json_object_get(claims, what);
        if (other)
            model_mistake(check, WEFT_INVALID, place.path, "%s is the one-to-one address of %s", text,
                          json_string_value(other));
        if (address->family == 6 && !segment->ipv6_nat)
            model_mistake(check, WEFT_INVALID, place.path, "%s: segment %s needs ipv6: nat for that", text,
                          segment->full_name);
    }
}

static void forward_outside(const struct model_segment *segment, const struct model_forward *forward,
                            char text[VALUE_IP_SIZE])
{
    if (forward->address.family)
        address_text(forward->address.family, forward->address.bytes, text);
    else
        snprintf(text, VALUE_IP_SIZE, "%s", segment->uplink->name);
}

static bool forwards_collide(const struct model_segment *a, const struct model_forward *one,
                             const struct model_segment *b, const struct model_forward *other)
{
    return a->uplink == b->uplink && one->protocol == other->protocol && one->first <= other->last &&
           other->first <= one->last && memcmp(&one->address, &other->address, sizeof(one->address)) == 0;
}

/* Somebody before it with the same outside ports; NULL: nobody. */
static const struct model_segment *forward_before(const struct model *model,
                                                  const struct model_segment *segment, unsigned index)
{
    for (const struct model_segment *other = model->segments; other <= segment; other++) {
        unsigned count = other == segment                 ? index
                         : other->is_nat && other->uplink ? other->nat.forward_count
                                                          : 0;
        for (unsigned i = 0; i < count; i++) {
            if (forwards_collide(segment, &segment->nat.forwards[index], other, &other->nat.forwards[i]))
                return other;
        }
    }
    return NULL;
}

static void validate_forwards(const struct model_check *check, const struct model_segment *segment)
{
    struct place place = place_of(check, segment->tenant->name, "nat", segment->name, "forwards");
    for (unsigned i = 0; i < segment->nat.forward_count; i++) {
        const struct model_forward *forward = &segment->nat.forwards[i];
        const char *protocol = forward->protocol == 6 ? "tcp" : "udp";
        const struct model_segment *other = forward_before(check->model, segment, i);
        char text[VALUE_IP_SIZE];
        forward_outside(segment, forward, text);
        if (other)
            model_mistake(check, WEFT_INVALID, place.path, "%s port %u of %s leads to a guest of %s already",
                          protocol, forward->first, text, other->full_name);
        if (forward->to_first + (forward->last - forward->first) > UINT16_MAX)
            model_mistake(check, WEFT_INVALID, place.path, "%s ports %u-%u reach beyond 65535 at %s",
                          protocol, forward->first, forward->last, forward->to->full_name);
        if (forward->address.family && !pool_has(&segment->nat, &forward->address))
            model_mistake(check, WEFT_INVALID, place.path, "%s is not in the segment's list of addresses",
                          text);
    }
}

static void validate_uplink(const struct model_check *check, const struct model_uplink *uplink)
{
    char path[PATH_SIZE];
    json_t *table = json_object_get(json_object_get(check->model->config, "uplinks"), uplink->name);
    bool own = json_object_get(table, "address") != NULL;
    snprintf(path, sizeof(path), "uplinks.%s.address", uplink->name);
    if (own && uplink->netdev[0])
        model_mistake(check, WEFT_INVALID, path, "the addresses of %s are the host's: set them there",
                      uplink->netdev);
    for (unsigned i = 0; i < 2; i++) {
        const struct model_address *gateway = &uplink->gateways[i];
        char text[VALUE_IP_SIZE];
        if (uplink->own[i].family && !model_prefix_host(&uplink->own[i], uplink->own[i].address) &&
            uplink->own[i].length < (i ? 127 : 31))
            model_mistake(check, WEFT_INVALID, path, "is no host's address");
        snprintf(path, sizeof(path), "uplinks.%s.gateway", uplink->name);
        if (gateway->family && uplink->netdev[0])
            model_mistake(check, WEFT_INVALID, path, "the routes of %s are the host's: set them there",
                          uplink->netdev);
        else if (gateway->family && !(uplink->own[i].family && is_link_local(gateway)) &&
                 !model_prefix_has(&uplink->own[i], gateway->family, gateway->bytes))
            model_mistake(check, WEFT_INVALID, path, "%s is in no network of the uplink's address",
                          address_text(gateway->family, gateway->bytes, text));
        snprintf(path, sizeof(path), "uplinks.%s.address", uplink->name);
    }
    snprintf(path, sizeof(path), "uplinks.%s", uplink->name);
    if (uplink->is_outside && uplink->device && !uplink->netdev[0] && !uplink->own[0].family &&
        !uplink->own[1].family && !own)
        model_mistake(check, WEFT_INVALID, path,
                      "segments of mode nat leave by it, so it needs an address, like 203.0.113.2/24");
}

void model_validate_network(const struct model_check *check, json_t *claims)
{
    const struct model *model = check->model;
    for (unsigned i = 0; i < model->uplink_count; i++)
        validate_uplink(check, &model->uplinks[i]);
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        validate_keys(check, segment);
        if (!segment->is_host_only && !segment->is_nat)
            continue;
        validate_subnet(check, segment);
        validate_gateway(check, segment);
        validate_dhcp(check, segment);
        validate_overlap(check, segment);
        validate_guests(check, segment);
        if (segment->is_host_only)
            validate_host_interface(check, segment, claims);
        if (segment->is_nat && segment->uplink) {
            validate_pins(check, segment, claims);
            validate_forwards(check, segment);
        }
    }
    for (unsigned i = 0; i < model->segment_count; i++) {
        if (model->segments[i].is_nat && model->segments[i].uplink)
            validate_pool(check, &model->segments[i], claims);
    }
    for (unsigned i = 0; i < model->tenant_count; i++)
        validate_nat_names(check, &model->tenants[i]);
}
