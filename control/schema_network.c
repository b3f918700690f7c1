/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses, prefixes, ranges and ports of the configuration: each takes its one spelling.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "schema_scalar.h"
#include "values.h"

#define DOMAIN_LENGTH 63u

static const char *address_text(int family, const uint8_t address[16], char text[VALUE_IP_SIZE])
{
    return inet_ntop(family == 4 ? AF_INET : AF_INET6, address, text, VALUE_IP_SIZE);
}

/* What a host can have, and be spoken to by. */
static bool check_host(struct schema_place *place, const struct document_node *node, int family,
                       const uint8_t address[16])
{
    static const uint8_t loopback[16] = {[15] = 1}, none[16];
    char text[VALUE_IP_SIZE];
    bool host = family == 4 ? address[0] != 0 && address[0] != 127 && address[0] < 224
                            : address[0] != 0xff && memcmp(address, none, 16) != 0 &&
                                  memcmp(address, loopback, 16) != 0;
    if (!host)
        schema_mistake(place, node->position, "%s cannot be a host's address",
                       address_text(family, address, text));
    return host;
}

static json_t *scalar_address(struct schema_place *place, const struct document_node *node)
{
    uint8_t address[16];
    char text[VALUE_IP_SIZE];
    int family = value_ip(node->text, address);
    if (family < 0) {
        schema_mistake(place, node->position,
                       "\"%.60s\" is not an address, like 10.0.0.1 or fd00::1 (without prefix length)",
                       node->text);
        return NULL;
    }
    return check_host(place, node, family, address) ? json_string(address_text(family, address, text)) : NULL;
}

static json_t *scalar_pool(struct schema_place *place, const struct document_node *node)
{
    return strcmp(node->text, "uplink") == 0 ? json_string("uplink") : scalar_address(place, node);
}

/* An address and the length of its prefix; 4, 6 or -EINVAL with the mistake reported. */
static int check_prefix(struct schema_place *place, const struct document_node *node, const char *example,
                        uint8_t address[16], unsigned *length)
{
    int family = value_prefix(node->text, address, length);
    if (family < 0) {
        schema_mistake(place, node->position, "\"%.60s\" is not an address with a prefix length, like %s",
                       node->text, example);
        return -EINVAL;
    }
    return check_host(place, node, family, address) ? family : -EINVAL;
}

static json_t *scalar_subnet(struct schema_place *place, const struct document_node *node)
{
    uint8_t address[16], network[16];
    char text[VALUE_IP_SIZE];
    unsigned length;
    int family = check_prefix(place, node, "10.0.1.0/24", address, &length);
    if (family < 0)
        return NULL;
    memcpy(network, address, sizeof(network));
    value_network(network, family, length);
    address_text(family, network, text);
    if (memcmp(network, address, sizeof(network)) != 0) {
        schema_mistake(place, node->position, "%s has bits behind its prefix; did you mean \"%s/%u\"?",
                       node->text, text, length);
        return NULL;
    }
    if (family == 4 ? length < 8 || length > 30 : length < 8 || length > 126) {
        schema_mistake(place, node->position, "a subnet has a prefix length of 8 to %u, not %u",
                       family == 4 ? 30 : 126, length);
        return NULL;
    }
    return json_sprintf("%s/%u", text, length);
}

static json_t *scalar_prefix(struct schema_place *place, const struct document_node *node)
{
    uint8_t address[16];
    char text[VALUE_IP_SIZE];
    unsigned length;
    int family = check_prefix(place, node, "203.0.113.2/24", address, &length);
    return family < 0 ? NULL : json_sprintf("%s/%u", address_text(family, address, text), length);
}

static json_t *scalar_range(struct schema_place *place, const struct document_node *node)
{
    uint8_t first[4], last[4];
    char from[VALUE_IP_SIZE], to[VALUE_IP_SIZE];
    if (value_range(node->text, first, last) < 0) {
        schema_mistake(place, node->position,
                       "\"%.60s\" is not a range of addresses, like 10.0.1.100-10.0.1.200", node->text);
        return NULL;
    }
    inet_ntop(AF_INET, first, from, sizeof(from));
    inet_ntop(AF_INET, last, to, sizeof(to));
    return json_sprintf("%s-%s", from, to);
}

static json_t *scalar_ports(struct schema_place *place, const struct schema_key *row,
                            const struct document_node *node)
{
    uint16_t first, last;
    if (value_ports(node->text, &first, &last) < 0) {
        schema_mistake(
            place, node->position,
            "\"%.40s\" is not a port or a range FIRST-LAST of ports from %lld to %lld, like 8000-8010",
            node->text, (long long)row->minimum, (long long)row->maximum);
        return NULL;
    }
    if (first < row->minimum || last > row->maximum) {
        schema_mistake(place, node->position, "\"%.40s\" is out of range %lld to %lld", node->text,
                       (long long)row->minimum, (long long)row->maximum);
        return NULL;
    }
    return first == last ? json_sprintf("%u", first) : json_sprintf("%u-%u", first, last);
}

static json_t *scalar_target(struct schema_place *place, const struct document_node *node)
{
    char name[WEFT_NAME_LENGTH + 1];
    uint16_t port;
    if (value_target(node->text, name, &port) < 0) {
        schema_mistake(place, node->position,
                       "\"%.60s\" is not PORT:NUMBER, like vm2:443: a port of the same tenant, without the "
                       "tenant's name, and a number from 1 to 65535",
                       node->text);
        return NULL;
    }
    return json_sprintf("%s:%u", name, port);
}

static json_t *scalar_domain(struct schema_place *place, const struct document_node *node)
{
    size_t length = strlen(node->text);
    bool good = length > 0 && length <= DOMAIN_LENGTH &&
                strspn(node->text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == length &&
                !strstr(node->text, "..") && node->text[0] != '.' && node->text[length - 1] != '.';
    if (good)
        return json_string(node->text);
    schema_mistake(place, node->position, "\"%.60s\" is not a domain (a-z, 0-9, - and dots, %u at most)",
                   node->text, DOMAIN_LENGTH);
    return NULL;
}

json_t *schema_network_scalar(struct schema_place *place, const struct schema_key *row,
                              const struct document_node *node)
{
    switch (row->type) {
    case SCHEMA_ADDRESS:
    case SCHEMA_ADDRESSES:
        return scalar_address(place, node);
    case SCHEMA_POOL:
        return scalar_pool(place, node);
    case SCHEMA_SUBNETS:
        return scalar_subnet(place, node);
    case SCHEMA_PREFIXES:
        return scalar_prefix(place, node);
    case SCHEMA_RANGE:
        return scalar_range(place, node);
    case SCHEMA_PORTS:
        return scalar_ports(place, row, node);
    case SCHEMA_TARGET:
        return scalar_target(place, node);
    case SCHEMA_DOMAIN:
        return scalar_domain(place, node);
    default:
        return NULL;
    }
}
