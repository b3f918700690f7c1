/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses of guests: what a segment hands out is made of the model, its ports' configured addresses are
 * reservations.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "compile_network.h"
#include "datagram.h"
#include "services_private.h"

static void set_addresses(struct service *service)
{
    const struct model_segment *segment = service->segment;
    struct dhcp_scope *scope = &service->scope;
    const struct model_prefix *subnet = &segment->subnets[0];
    memset(scope, 0, sizeof(*scope));
    memcpy(scope->server, subnet->address, 4);
    memcpy(scope->network, subnet->network, 4);
    scope->prefix_length = subnet->length;
    memcpy(scope->first, segment->dhcp.first, 4);
    memcpy(scope->last, segment->dhcp.last, 4);
    compile_own_mac(segment->router_port, scope->server_mac);
    if (segment->is_nat)
        memcpy(scope->router, subnet->address, 4);
    if (segment->dhcp.dns_set) {
        scope->dns_count = segment->dhcp.dns_count;
        memcpy(scope->dns, segment->dhcp.dns, sizeof(scope->dns));
    } else if (segment->is_nat) {
        scope->dns_count = 1;
        memcpy(scope->dns[0], subnet->address, 4);
    }
    scope->mtu = (uint16_t)segment->mtu;
    scope->lease_s = segment->dhcp.lease;
    snprintf(scope->domain, sizeof(scope->domain), "%s", segment->dhcp.domain);
}

static int compare_reservations(const void *a, const void *b)
{
    const struct dhcp_reservation *x = a, *y = b;
    return memcmp(x->address, y->address, sizeof(x->address));
}

/* Configured addresses of the segment's ports. */
static int set_reservations(struct service *service)
{
    const struct model_segment *segment = service->segment;
    const struct model_tenant *tenant = segment->tenant;
    struct dhcp_scope *scope = &service->scope;
    unsigned count = 0, room = 0;
    for (unsigned i = 0; i < tenant->port_count; i++)
        room += tenant->ports[i].address_count;
    free(service->reservations);
    service->reservations = calloc(room ? room : 1, sizeof(*service->reservations));
    if (!service->reservations)
        return -ENOMEM;
    for (unsigned i = 0; i < tenant->port_count; i++) {
        const struct model_port *port = &tenant->ports[i];
        for (unsigned k = 0; k < port->address_count && model_port_in(port, segment); k++) {
            const struct model_address *address = &port->addresses[k];
            if (!model_prefix_has(&segment->subnets[0], address->family, address->bytes))
                continue;
            struct dhcp_reservation *reservation = &service->reservations[count++];
            reservation->port = port->id;
            memcpy(reservation->address, address->bytes, 4);
        }
    }
    qsort(service->reservations, count, sizeof(*service->reservations), compare_reservations);
    scope->reservations = service->reservations;
    scope->reservation_count = count;
    return 0;
}

static bool port_exists(void *context, uint32_t id)
{
    const struct service *service = context;
    const struct model_tenant *tenant = service->segment->tenant;
    for (unsigned i = 0; i < tenant->port_count; i++)
        if (tenant->ports[i].id == id && model_port_in(&tenant->ports[i], service->segment))
            return true;
    return false;
}

int services_dhcp_configure(struct service *service)
{
    set_addresses(service);
    int error = set_reservations(service);
    if (!error)
        dhcp_prune(service->dhcp, &service->scope, port_exists, service);
    return error;
}

void services_dhcp_handle(struct services *services, struct service *service, const struct dp_punt *punt,
                          const uint8_t *frame)
{
    uint8_t reply[DATAGRAM_FRAME_MAX];
    bool changed;
    if (!service->segment->dhcp.enabled || !service->segment->subnets[0].family)
        return;
    size_t size = dhcp_handle(service->dhcp, &service->scope, punt->from, frame, punt->size, services_now_s(),
                              reply, &changed);
    services->changed |= changed;
    if (size)
        services->send(services->context, punt->port, reply, size);
}

static const char *port_name(const struct model_tenant *tenant, uint32_t id)
{
    for (unsigned i = 0; i < tenant->port_count; i++)
        if (tenant->ports[i].id == id)
            return tenant->ports[i].full_name;
    return "";
}

static void show_lease(const struct service *service, const struct dhcp_lease *lease, json_t *items)
{
    char address[INET_ADDRSTRLEN], mac[18];
    int64_t left = lease->expires_s - services_now_s();
    snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", lease->mac[0], lease->mac[1], lease->mac[2],
             lease->mac[3], lease->mac[4], lease->mac[5]);
    json_array_append_new(
        items, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "address",
                         inet_ntop(AF_INET, lease->address, address, sizeof(address)), "segment",
                         service->name, "port", port_name(service->segment->tenant, lease->port), "mac", mac,
                         "hostname", lease->hostname, "expires_s", (json_int_t)(left > 0 ? left : 0)));
}

void services_leases(const struct services *services, const char *segment, json_t *items)
{
    for (const struct service *service = services->first; service; service = service->next) {
        struct dhcp_lease lease;
        uint32_t cursor = 0;
        if (segment && strcmp(segment, service->name) != 0)
            continue;
        while (dhcp_lease_next(service->dhcp, &cursor, services_now_s(), &lease))
            show_lease(service, &lease, items);
    }
}
