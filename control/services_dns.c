/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names for guests. A query goes to the forwarder unless the name is a port of the asking guest's tenant:
 * PORT.DOMAIN, PORT.TENANT or PORT alone, with the port's configured addresses or its lease.
 */
#include <stdio.h>
#include <string.h>
#include "datagram.h"
#include "services_private.h"

#define DNS_PORT 53u

/* The addresses of a port, of one family. */
static unsigned port_addresses(const struct services *services, const struct model_port *port, bool ipv6,
                               uint8_t found[][16], unsigned max)
{
    unsigned count = 0;
    for (unsigned i = 0; i < port->address_count && count < max; i++) {
        const struct model_address *address = &port->addresses[i];
        if (ipv6 && address->family == 6)
            memcpy(found[count++], address->bytes, 16);
        else if (!ipv6 && address->family == 4)
            address_map(found[count++], address->bytes);
    }
    for (const struct service *service = services->first; service && !ipv6; service = service->next) {
        uint8_t leased[4], wide[16];
        if (count == max || !model_port_in(port, service->segment) ||
            !dhcp_address_of_port(service->dhcp, port->id, services_now_s(), leased))
            continue;
        address_map(wide, leased);
        bool known = false;
        for (unsigned i = 0; i < count; i++)
            known |= memcmp(found[i], wide, sizeof(wide)) == 0;
        if (!known)
            memcpy(found[count++], wide, sizeof(wide));
    }
    return count;
}

/* The part of `name` in front of .DOMAIN or .TENANT; *ours: a name that does not exist is ours all the same.
 * False: not a name of ours. */
static bool own_label(const struct model_segment *segment, const char *name, char label[64], bool *ours)
{
    size_t length = strcspn(name, ".");
    const char *rest = name[length] ? name + length + 1 : "";
    *ours = *rest && (strcmp(rest, segment->dhcp.domain) == 0 || strcmp(rest, segment->tenant->name) == 0);
    if (length == 0 || length > 63 || (*rest && !*ours))
        return false;
    memcpy(label, name, length);
    label[length] = '\0';
    return true;
}

static int find_addresses(void *context, uint32_t interface, const char *name, bool ipv6, uint8_t found[][16],
                          unsigned max)
{
    const struct services *services = context;
    const struct service *service = services->by_port[interface];
    char label[64];
    bool ours;
    if (!own_label(service->segment, name, label, &ours))
        return -1;
    const struct model_port *port = model_port(service->segment->tenant, label);
    if (!port)
        return ours ? -2 : -1;
    return (int)port_addresses(services, port, ipv6, found, max);
}

static bool find_name(void *context, uint32_t interface, const uint8_t address[16], char *name, size_t size)
{
    const struct services *services = context;
    const struct model_segment *segment = services->by_port[interface]->segment;
    bool ipv6 = !address_is_mapped(address);
    for (unsigned i = 0; i < segment->tenant->port_count; i++) {
        const struct model_port *port = &segment->tenant->ports[i];
        uint8_t found[DNS_ADDRESSES_MAX][16];
        unsigned count = port_addresses(services, port, ipv6, found, DNS_ADDRESSES_MAX);
        for (unsigned k = 0; k < count; k++) {
            if (memcmp(found[k], address, 16) != 0)
                continue;
            snprintf(name, size, "%s.%s", port->name, segment->dhcp.domain);
            return true;
        }
    }
    return false;
}

static void send_dns(void *context, const struct dns_client *client, const uint8_t *message, size_t size)
{
    struct services *services = context;
    uint8_t frame[DATAGRAM_FRAME_MAX];
    struct datagram datagram = {
        .source_port = DNS_PORT, .destination_port = client->udp_port, .payload = message, .size = size};
    memcpy(datagram.source_mac, client->own_mac, 6);
    memcpy(datagram.destination_mac, client->mac, 6);
    memcpy(datagram.source, client->own_address, 16);
    memcpy(datagram.destination, client->address, 16);
    size = datagram_build(&datagram, frame, sizeof(frame));
    if (size && services->by_port[client->port]) /* the segment may be gone */
        services->send(services->context, client->port, frame, size);
}

void services_dns_handle(struct services *services, const struct dp_punt *punt, const uint8_t *frame)
{
    const struct dns_names names = {services, find_addresses, find_name};
    struct datagram datagram;
    uint8_t answer[DNS_MESSAGE_MAX];
    size_t size;
    if (dns_tcp_take(services->dns_tcp, punt->port, punt->from, frame, punt->size) ||
        !datagram_parse(frame, punt->size, &datagram) || datagram.destination_port != DNS_PORT)
        return;
    struct dns_client client = {.tenant = services->by_port[punt->port]->segment->tenant->id,
                                .port = punt->port,
                                .from = punt->from,
                                .udp_port = datagram.source_port};
    memcpy(client.mac, datagram.source_mac, 6);
    memcpy(client.own_mac, datagram.destination_mac, 6);
    memcpy(client.address, datagram.source, 16);
    memcpy(client.own_address, datagram.destination, 16);
    switch (dns_query(&names, punt->port, datagram.payload, datagram.size, answer, &size)) {
    case DNS_ANSWER:
        send_dns(services, &client, answer, size);
        break;
    case DNS_FORWARD:
        dns_forward(services->forwarder, &client, datagram.payload, datagram.size);
        break;
    case DNS_IGNORE:
        break;
    }
}

struct dns_forwarder *services_dns_new(struct services *services)
{
    return dns_forwarder_new(services->controller->base, DNS_RESOLV_CONF, send_dns, services);
}

static bool has_service(void *context, uint32_t port)
{
    const struct services *services = context;
    return port < DP_PORTS_MAX && services->by_port[port];
}

static void send_frame(void *context, uint32_t port, const uint8_t *frame, size_t size)
{
    struct services *services = context;
    services->send(services->context, port, frame, size);
}

struct dns_tcp *services_dns_tcp_new(struct services *services)
{
    const struct dns_tcp_callbacks callbacks = {
        {services, find_addresses, find_name}, services, send_frame, has_service};
    return dns_tcp_new(services->controller->base, services->forwarder, &callbacks);
}
