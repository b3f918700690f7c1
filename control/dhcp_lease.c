/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who gets which address.
 *
 * Theory of operation. A segment's leases are found by host number. An address is reserved (it belongs to a
 * port, whatever client identifier and MAC the guest there uses), of the pool, or nobody's. A client is a
 * (port, identifier) pair: a guest that takes over another one's identifier gets no hold of its lease. An
 * expired lease remembers its client, who gets the address back unless it was given away meanwhile. A new
 * client's search begins at a place that its identifier decides, so that guests tend to get the same address
 * even if all leases were lost.
 *
 * Limits: the first 65,536 host numbers of a subnet are handed out; one port holds DHCP_LEASES_PER_PORT at
 * most, offers and declined addresses included, so that one guest cannot take the pool.
 */
#include "dhcp_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t dhcp_ipv4(const uint8_t bytes[4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void store_ipv4(uint8_t bytes[4], uint32_t address)
{
    bytes[0] = (uint8_t)(address >> 24);
    bytes[1] = (uint8_t)(address >> 16);
    bytes[2] = (uint8_t)(address >> 8);
    bytes[3] = (uint8_t)address;
}

struct dhcp *dhcp_new(void)
{
    return calloc(1, sizeof(struct dhcp));
}

static void forget_all(struct dhcp *dhcp)
{
    for (uint32_t i = 0; dhcp->hosts && i < dhcp->host_count; i++)
        free(dhcp->hosts[i]);
    free(dhcp->hosts);
    dhcp->hosts = NULL;
    dhcp->host_count = 0;
}

void dhcp_free(struct dhcp *dhcp)
{
    if (!dhcp)
        return;
    forget_all(dhcp);
    free(dhcp);
}

static int set_subnet(struct dhcp *dhcp, uint32_t network, uint32_t hosts)
{
    if (dhcp->hosts && dhcp->network == network && dhcp->host_count == hosts)
        return 0;
    forget_all(dhcp);
    dhcp->hosts = calloc(hosts, sizeof(struct lease *));
    if (!dhcp->hosts)
        return -ENOMEM;
    dhcp->network = network;
    dhcp->host_count = hosts;
    return 0;
}

int dhcp_fit(struct dhcp *dhcp, const struct dhcp_scope *scope)
{
    uint64_t hosts = UINT64_C(1) << (32 - scope->prefix_length);
    return set_subnet(dhcp, dhcp_ipv4(scope->network),
                      hosts < DHCP_HOSTS_MAX ? (uint32_t)hosts : DHCP_HOSTS_MAX);
}

/* NULL: nobody's. */
static const struct dhcp_reservation *reservation_of(const struct dhcp_scope *scope, uint32_t address)
{
    unsigned low = 0, high = scope->reservation_count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        uint32_t here = dhcp_ipv4(scope->reservations[middle].address);
        if (here == address)
            return &scope->reservations[middle];
        if (here < address)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* A host number that a guest may have at all: not the network's, the broadcast, the server's or router's. */
static bool address_usable(const struct dhcp *dhcp, const struct dhcp_scope *scope, uint32_t address)
{
    uint32_t last = (uint32_t)((UINT64_C(1) << (32 - scope->prefix_length)) - 1);
    uint32_t host = address - dhcp->network;
    return host > 0 && host < dhcp->host_count && host != last && address != dhcp_ipv4(scope->server) &&
           address != dhcp_ipv4(scope->router);
}

static bool in_pool(const struct dhcp_scope *scope, uint32_t address)
{
    return address >= dhcp_ipv4(scope->first) && address <= dhcp_ipv4(scope->last);
}

static bool lease_in_force(const struct lease *lease, int64_t now_s)
{
    return lease && lease->state != LEASE_NONE && lease->expires_s > now_s;
}

struct lease *dhcp_lease_of(struct dhcp *dhcp, const struct dhcp_scope *scope, uint32_t address)
{
    if (!address_usable(dhcp, scope, address))
        return NULL;
    struct lease **place = &dhcp->hosts[address - dhcp->network];
    if (!*place)
        *place = calloc(1, sizeof(struct lease));
    return *place;
}

bool dhcp_lease_is_of(const struct lease *lease, const struct dhcp_client *client)
{
    return lease->port == client->port && lease->client_size == client->size &&
           memcmp(lease->client, client->identifier, client->size) == 0;
}

void dhcp_lease_take(struct lease *lease, const struct dhcp_client *client, enum lease_state state,
                     int64_t expires_s)
{
    if (!dhcp_lease_is_of(lease, client))
        lease->hostname[0] = '\0';
    lease->state = state;
    lease->port = client->port;
    memcpy(lease->mac, client->mac, sizeof(lease->mac));
    lease->client_size = client->size;
    memcpy(lease->client, client->identifier, client->size);
    lease->expires_s = expires_s;
}

bool dhcp_may_have(const struct dhcp *dhcp, const struct dhcp_scope *scope, const struct dhcp_client *client,
                   uint32_t address, int64_t now_s)
{
    if (!address_usable(dhcp, scope, address))
        return false;
    const struct dhcp_reservation *reservation = reservation_of(scope, address);
    if (reservation)
        return reservation->port == client->port;
    if (!in_pool(scope, address))
        return false;
    const struct lease *lease = dhcp->hosts[address - dhcp->network];
    return !lease_in_force(lease, now_s) ||
           (lease->state != LEASE_DECLINED && dhcp_lease_is_of(lease, client));
}

/* The port's reserved address: the one this client has already, or else one that nobody uses, or else any. */
static uint32_t choose_reserved(const struct dhcp *dhcp, const struct dhcp_scope *scope,
                                const struct dhcp_client *client, uint32_t wanted, int64_t now_s)
{
    uint32_t own = 0, unused = 0, any = 0;
    for (unsigned i = 0; i < scope->reservation_count; i++) {
        uint32_t address = dhcp_ipv4(scope->reservations[i].address);
        if (scope->reservations[i].port != client->port || !address_usable(dhcp, scope, address))
            continue;
        const struct lease *lease = dhcp->hosts[address - dhcp->network];
        if (address == wanted || (lease_in_force(lease, now_s) && dhcp_lease_is_of(lease, client)))
            own = address;
        else if (!lease_in_force(lease, now_s) && !unused)
            unused = address;
        else if (!any)
            any = address;
    }
    return own ? own : unused ? unused : any;
}

/* What the client has or had; *held: addresses that its port holds by other identifiers. */
static uint32_t find_own(const struct dhcp *dhcp, const struct dhcp_client *client, int64_t now_s,
                         unsigned *held)
{
    uint32_t own = 0;
    *held = 0;
    for (uint32_t i = 0; i < dhcp->host_count; i++) {
        const struct lease *lease = dhcp->hosts[i];
        if (!lease || lease->state == LEASE_NONE || lease->port != client->port)
            continue;
        if (lease->state != LEASE_DECLINED && dhcp_lease_is_of(lease, client))
            own = dhcp->network + i;
        else if (lease_in_force(lease, now_s))
            ++*held;
    }
    return own;
}

static uint32_t client_hash(const struct dhcp_client *client)
{
    uint32_t hash = 0x811c9dc5u;
    for (unsigned i = 0; i < client->size; i++)
        hash = (hash ^ client->identifier[i]) * 0x01000193u;
    return hash ^ client->port;
}

static uint32_t choose_free(const struct dhcp *dhcp, const struct dhcp_scope *scope,
                            const struct dhcp_client *client, int64_t now_s)
{
    uint32_t first = dhcp_ipv4(scope->first), last = dhcp_ipv4(scope->last), fallback = 0;
    if (first > last || first < dhcp->network)
        return 0;
    if (last - dhcp->network >= dhcp->host_count)
        last = dhcp->network + dhcp->host_count - 1;
    uint32_t count = last - first + 1, start = client_hash(client) % count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t address = first + (start + i) % count;
        const struct lease *lease = dhcp->hosts[address - dhcp->network];
        if (!dhcp_may_have(dhcp, scope, client, address, now_s) || reservation_of(scope, address))
            continue;
        if (!lease || lease->state == LEASE_NONE)
            return address;
        if (!fallback)
            fallback = address; /* somebody had it */
    }
    return fallback;
}

uint32_t dhcp_choose(const struct dhcp *dhcp, const struct dhcp_scope *scope,
                     const struct dhcp_client *client, uint32_t wanted, int64_t now_s)
{
    uint32_t reserved = choose_reserved(dhcp, scope, client, wanted, now_s);
    if (reserved)
        return reserved;
    unsigned held;
    uint32_t own = find_own(dhcp, client, now_s, &held);
    if (own && dhcp_may_have(dhcp, scope, client, own, now_s))
        return own;
    if (held >= DHCP_LEASES_PER_PORT)
        return 0;
    if (wanted && dhcp_may_have(dhcp, scope, client, wanted, now_s))
        return wanted;
    return choose_free(dhcp, scope, client, now_s);
}

bool dhcp_lease_next(const struct dhcp *dhcp, uint32_t *cursor, int64_t now_s, struct dhcp_lease *lease)
{
    while (*cursor < dhcp->host_count) {
        uint32_t host = (*cursor)++;
        const struct lease *here = dhcp->hosts[host];
        if (!lease_in_force(here, now_s) || here->state != LEASE_BOUND)
            continue;
        store_ipv4(lease->address, dhcp->network + host);
        memcpy(lease->mac, here->mac, sizeof(lease->mac));
        lease->port = here->port;
        lease->expires_s = here->expires_s;
        lease->hostname = here->hostname;
        return true;
    }
    return false;
}

bool dhcp_address_of_port(const struct dhcp *dhcp, uint32_t port, int64_t now_s, uint8_t address[4])
{
    for (uint32_t i = 0; i < dhcp->host_count; i++) {
        const struct lease *lease = dhcp->hosts[i];
        if (lease_in_force(lease, now_s) && lease->state == LEASE_BOUND && lease->port == port) {
            store_ipv4(address, dhcp->network + i);
            return true;
        }
    }
    return false;
}

void dhcp_prune(struct dhcp *dhcp, const struct dhcp_scope *scope, bool (*port_exists)(void *, uint32_t),
                void *context)
{
    if (dhcp_fit(dhcp, scope))
        return;
    for (uint32_t i = 0; i < dhcp->host_count; i++) {
        struct lease *lease = dhcp->hosts[i];
        uint32_t address = dhcp->network + i;
        if (!lease)
            continue;
        const struct dhcp_reservation *reservation = reservation_of(scope, address);
        bool allowed = address_usable(dhcp, scope, address) &&
                       (reservation ? reservation->port == lease->port : in_pool(scope, address));
        if (allowed && port_exists(context, lease->port))
            continue;
        free(lease);
        dhcp->hosts[i] = NULL;
    }
}

static void hex(const uint8_t *bytes, size_t size, char *text)
{
    text[0] = '\0';
    for (size_t i = 0; i < size; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
}

json_t *dhcp_save(const struct dhcp *dhcp, int64_t now_s)
{
    json_t *leases = json_array(), *saved = json_object();
    for (uint32_t i = 0; i < dhcp->host_count; i++) {
        const struct lease *lease = dhcp->hosts[i];
        char address[INET_ADDRSTRLEN], client[2 * DHCP_CLIENT_MAX + 1], mac[13];
        struct in_addr ipv4 = {htonl(dhcp->network + i)};
        if (!lease_in_force(lease, now_s) || lease->state != LEASE_BOUND)
            continue;
        hex(lease->client, lease->client_size, client);
        hex(lease->mac, sizeof(lease->mac), mac);
        json_array_append_new(leases,
                              json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "address",
                                        inet_ntop(AF_INET, &ipv4, address, sizeof(address)), "mac", mac,
                                        "client", client, "port", (json_int_t)lease->port, "expires",
                                        (json_int_t)lease->expires_s, "hostname", lease->hostname));
    }
    json_object_set_new(saved, "network", json_integer(dhcp->network));
    json_object_set_new(saved, "hosts", json_integer(dhcp->host_count));
    json_object_set_new(saved, "leases", leases);
    return saved;
}

/* Bytes of an even number of hex digits; -1: it is none, or more than `room`. */
static int unhex(const char *text, uint8_t *bytes, size_t room)
{
    size_t length = strlen(text);
    if (length % 2 || length / 2 > room || strspn(text, "0123456789abcdef") != length)
        return -1;
    for (size_t i = 0; i < length / 2; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return (int)(length / 2);
}

static void load_one(struct dhcp *dhcp, json_t *saved)
{
    const char *address, *mac, *client, *hostname;
    json_int_t port, expires;
    struct in_addr ipv4;
    struct lease lease = {.state = LEASE_BOUND};
    if (json_unpack(saved, "{s:s, s:s, s:s, s:I, s:I, s:s}", "address", &address, "mac", &mac, "client",
                    &client, "port", &port, "expires", &expires, "hostname", &hostname) ||
        inet_pton(AF_INET, address, &ipv4) != 1 || port < 0 || port > UINT32_MAX)
        return;
    uint32_t host = ntohl(ipv4.s_addr) - dhcp->network;
    int client_size = unhex(client, lease.client, sizeof(lease.client));
    bool hostname_fits = strlen(hostname) < sizeof(lease.hostname) &&
                         strspn(hostname, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(hostname);
    if (host >= dhcp->host_count || dhcp->hosts[host] || client_size <= 0 ||
        unhex(mac, lease.mac, sizeof(lease.mac)) != (int)sizeof(lease.mac) || !hostname_fits)
        return;
    lease.client_size = (uint8_t)client_size;
    lease.port = (uint32_t)port;
    lease.expires_s = expires;
    memcpy(lease.hostname, hostname, strlen(hostname) + 1);
    dhcp->hosts[host] = malloc(sizeof(lease));
    if (dhcp->hosts[host])
        *dhcp->hosts[host] = lease;
}

void dhcp_load(struct dhcp *dhcp, const json_t *saved)
{
    json_int_t network = json_integer_value(json_object_get(saved, "network"));
    json_int_t hosts = json_integer_value(json_object_get(saved, "hosts"));
    const json_t *leases = json_object_get(saved, "leases");
    if (network <= 0 || network > UINT32_MAX || hosts < 1 || hosts > DHCP_HOSTS_MAX ||
        set_subnet(dhcp, (uint32_t)network, (uint32_t)hosts))
        return;
    for (size_t i = 0; i < json_array_size(leases); i++)
        load_one(dhcp, json_array_get(leases, i));
}
