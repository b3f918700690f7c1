/* SPDX-License-Identifier: BSD-3-Clause */
#include "bare_nat.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "nat_flows.h"

#define INSIDE_PORT  11u
#define OUTSIDE_PORT 12u
#define GATEWAY      0x0a000001u
#define OUTSIDE      0xc0000201u
#define NEXT_HOP     0xc00002feu
#define POOL_FIRST   0xc0000210u
#define POOL_COUNT   32u
#define MAPPED       96u /* bits of the prefix of IPv4-mapped addresses */

static void map(uint8_t address[16], uint32_t ipv4)
{
    uint32_t order = htonl(ipv4);
    memset(address, 0, 16);
    address[10] = address[11] = 0xff;
    memcpy(address + 12, &order, 4);
}

static void put_router_port(struct dp_client *client, uint32_t id, uint32_t tenant, const char *mac)
{
    struct dp_port port = {.id = id,
                           .tenant = tenant,
                           .type = DP_PORT_ROUTER,
                           .queues = 1,
                           .mtu = 1500,
                           .socket_group = UINT32_MAX};
    struct dp_member member = {.port = id, .segment = tenant};
    struct dp_static entry = {.segment = tenant, .port = id};
    snprintf(port.name, sizeof(port.name), "t%u/router", tenant);
    memcpy(port.device, "router", sizeof("router"));
    memcpy(port.mac, mac, 6);
    memcpy(entry.mac, mac, 6);
    dp_client_put(client, DP_KIND_PORT, &port, NULL, 0);
    dp_client_put(client, DP_KIND_MEMBER, &member, NULL, 0);
    dp_client_put(client, DP_KIND_STATIC, &entry, NULL, 0);
}

static void put_interface(struct dp_client *client, uint32_t port, uint32_t router, uint32_t address,
                          uint8_t length)
{
    struct dp_interface interface = {
        .port = port, .router = router, .ipv4_prefix_length = (uint8_t)(MAPPED + length)};
    map(interface.ipv4, address);
    dp_client_put(client, DP_KIND_INTERFACE, &interface, NULL, 0);
}

static void put_neighbour(struct dp_client *client, uint32_t port, uint32_t address, const char *mac)
{
    struct dp_neighbour neighbour = {.port = port};
    map(neighbour.address, address);
    memcpy(neighbour.mac, mac, 6);
    dp_client_put(client, DP_KIND_NEIGHBOUR, &neighbour, NULL, 0);
}

void bare_nat_put(struct dp_client *client)
{
    struct dp_router router = {.id = BARE_NAT_INSIDE_ID, .name = "t1/router"};
    struct dp_route route = {.prefix_length = MAPPED, .port = OUTSIDE_PORT};
    put_router_port(client, INSIDE_PORT, BARE_NAT_INSIDE_ID, NAT_INSIDE_MAC);
    put_router_port(client, OUTSIDE_PORT, BARE_NAT_OUTSIDE_ID, NAT_OUTSIDE_MAC);
    dp_client_put(client, DP_KIND_ROUTER, &router, NULL, 0);
    put_interface(client, INSIDE_PORT, router.id, GATEWAY, 16);
    put_interface(client, OUTSIDE_PORT, 0, OUTSIDE, 24);
    map(route.prefix, 0);
    map(route.next_hop, NEXT_HOP);
    dp_client_put(client, DP_KIND_ROUTE, &route, NULL, 0);
    put_neighbour(client, OUTSIDE_PORT, NEXT_HOP, NAT_FAR_MAC);
    for (uint32_t i = 0; i < NAT_GUESTS; i++)
        put_neighbour(client, INSIDE_PORT, NAT_GUEST_FIRST + i, NAT_GUEST_MAC);
    for (uint32_t i = 0; i < POOL_COUNT; i++) {
        struct dp_nat_address address = {
            .port = OUTSIDE_PORT, .port_first = 1024, .port_last = 65535, .flags = DP_NAT_F_ANSWER};
        struct dp_nat_source source = {.port = INSIDE_PORT, .outside = OUTSIDE_PORT};
        map(address.address, POOL_FIRST + i);
        memcpy(source.address, address.address, 16);
        dp_client_put(client, DP_KIND_NAT_ADDRESS, &address, NULL, 0);
        dp_client_put(client, DP_KIND_NAT_SOURCE, &source, NULL, 0);
    }
}
