/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A segment with DHCP, or of mode nat, has a service, found by the number of its
 * router's port, which it keeps for as long as it exists. What the service hands out follows from the model
 * and is made anew when another generation comes into force; leases stay and are written to leases.json a
 * moment after they changed, so they outlive weftd. The servers are functions of frames; here they get their
 * frames, and their answers go back into the segment.
 *
 * Names of a tenant for DNS: PORT and PORT.DOMAIN, where DOMAIN is the segment's dhcp.domain; addresses are
 * the port's `ip`s in the tenant's segments of mode nat, or what its guest was leased there. What is below
 * DOMAIN and is no port's name does not exist; what is elsewhere is the resolvers'.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "compile_network.h"
#include "controller.h"
#include "datagram.h"
#include "dhcp.h"
#include "dns.h"
#include "guest_services.h"
#include "log.h"
#include "outside.h"
#include "punt.h"
#include "ra.h"
#include "values.h"

#define LEASES_FILE  "leases.json"
#define SAVE_SECONDS 1
#define RESOLV_CONF  "/etc/resolv.conf"

struct service {
    uint32_t port; /* the router's, in the segment */
    char name[MODEL_FULL_NAME_SIZE];
    struct dhcp *dhcp; /* NULL: the segment has none */
    struct dhcp_scope scope;
    struct dhcp_reservation *reservations;
    bool has_dns, has_ra;
    struct ra_scope ra;
};

struct guest_services {
    struct controller *controller;
    struct punt *punt;
    struct dns_forwarder *forwarder;
    struct dns_names names;
    struct service *services;
    size_t count;
    json_t *saved; /* leases of segments that have no service yet */
    struct event *save_timer, *ra_timer;
    bool save_pending;
};

static int64_t now_s(void)
{
    return (int64_t)time(NULL);
}

static struct service *service_of(const struct guest_services *services, uint32_t port)
{
    for (size_t i = 0; i < services->count; i++) {
        if (services->services[i].port == port)
            return &services->services[i];
    }
    return NULL;
}

static const struct model_segment *segment_of(const struct guest_services *services, uint32_t port)
{
    const struct model *model = services->controller->model;
    for (unsigned i = 0; model && i < model->segment_count; i++) {
        if (model->segments[i].router_port == port)
            return &model->segments[i];
    }
    return NULL;
}

static void on_save(evutil_socket_t fd, short what, void *context)
{
    struct guest_services *services = context;
    (void)fd, (void)what;
    services->save_pending = false;
    json_t *leases = json_object();
    for (size_t i = 0; i < services->count; i++) {
        if (services->services[i].dhcp)
            json_object_set_new(leases, services->services[i].name,
                                dhcp_save(services->services[i].dhcp, now_s()));
    }
    if (store_write(services->controller->store, LEASES_FILE, leases) < 0)
        log_error("%s", store_error(services->controller->store));
    json_decref(leases);
}

static void save_soon(struct guest_services *services)
{
    static const struct timeval delay = {SAVE_SECONDS, 0};
    if (services->save_pending)
        return;
    services->save_pending = true;
    evtimer_add(services->save_timer, &delay);
}

static void take_dhcp(struct guest_services *services, struct service *service, const struct dp_punt *header,
                      const uint8_t *frame)
{
    uint8_t reply[DATAGRAM_FRAME_MAX];
    bool changed = false;
    if (!service->dhcp)
        return;
    size_t size = dhcp_handle(service->dhcp, &service->scope, header->from, frame, header->size, now_s(),
                              reply, &changed);
    if (size)
        punt_send(services->punt, service->port, reply, size);
    if (changed)
        save_soon(services);
}

/* The guest that asked is told. */
static void on_dns_answer(void *context, const struct dns_client *client, const uint8_t *message, size_t size)
{
    struct guest_services *services = context;
    struct datagram datagram = {
        .source_port = 53, .destination_port = client->udp_port, .payload = message, .size = size};
    uint8_t frame[DATAGRAM_FRAME_MAX];
    memcpy(datagram.source_mac, client->own_mac, 6);
    memcpy(datagram.destination_mac, client->mac, 6);
    memcpy(datagram.source, client->own_address, 16);
    memcpy(datagram.destination, client->address, 16);
    size_t frame_size = datagram_build(&datagram, frame, sizeof(frame));
    if (frame_size)
        punt_send(services->punt, client->port, frame, frame_size);
}

static void take_dns(struct guest_services *services, const struct dp_punt *header, const uint8_t *frame)
{
    struct datagram datagram;
    uint8_t answer[DNS_MESSAGE_MAX];
    size_t size = 0;
    if (!datagram_parse(frame, header->size, &datagram) || datagram.destination_port != 53)
        return;
    struct dns_client client = {.port = header->port, .from = header->from, .udp_port = datagram.source_port};
    memcpy(client.mac, datagram.source_mac, 6);
    memcpy(client.own_mac, datagram.destination_mac, 6);
    memcpy(client.address, datagram.source, 16);
    memcpy(client.own_address, datagram.destination, 16);
    switch (dns_query(&services->names, header->port, datagram.payload, datagram.size, answer, &size)) {
    case DNS_ANSWER:
        on_dns_answer(services, &client, answer, size);
        break;
    case DNS_FORWARD:
        dns_forward(services->forwarder, &client, datagram.payload, datagram.size);
        break;
    case DNS_IGNORE:
        break;
    }
}

static void take_rs(struct guest_services *services, const struct service *service,
                    const struct dp_punt *header, const uint8_t *frame)
{
    uint8_t mac[6], address[16], advertisement[RA_FRAME_MAX];
    if (!service->has_ra || !ra_solicitation(frame, header->size, mac, address))
        return;
    punt_send(services->punt, service->port, advertisement,
              ra_advertise(&service->ra, mac, address, advertisement));
}

static void on_frame(void *context, const struct dp_punt *header, const uint8_t *frame)
{
    struct guest_services *services = context;
    struct service *service = service_of(services, header->port);
    if (!service)
        return;
    if (header->reason == DP_PUNT_DHCP)
        take_dhcp(services, service, header, frame);
    else if (header->reason == DP_PUNT_DNS && service->has_dns)
        take_dns(services, header, frame);
    else if (header->reason == DP_PUNT_RS)
        take_rs(services, service, header, frame);
}

static void on_resolve(void *context, uint32_t port, const uint8_t address[16])
{
    struct guest_services *services = context;
    outside_resolve(services->controller->outside, services->controller->model, port, address);
}

/* To all nodes, so that guests notice a changed prefix before theirs expires. */
static void on_ra_timer(evutil_socket_t fd, short what, void *context)
{
    static const struct timeval interval = {RA_INTERVAL_S, 0};
    struct guest_services *services = context;
    uint8_t frame[RA_FRAME_MAX];
    (void)fd, (void)what;
    for (size_t i = 0; i < services->count; i++) {
        if (services->services[i].has_ra)
            punt_send(services->punt, services->services[i].port, frame,
                      ra_advertise(&services->services[i].ra, NULL, NULL, frame));
    }
    evtimer_add(services->ra_timer, &interval);
}

/* Addresses of the port's guest in one segment. */
static unsigned guest_addresses(const struct guest_services *services, const struct model_segment *segment,
                                const struct model_port *port, bool ipv6, uint8_t addresses[][16],
                                unsigned max)
{
    unsigned count = 0;
    const struct service *service = service_of(services, segment->router_port);
    uint8_t leased[4];
    for (unsigned i = 0; i < port->address_count && count < max; i++) {
        const struct model_address *address = &port->addresses[i];
        if (address->family != (ipv6 ? 6 : 4) ||
            !model_prefix_has(&segment->subnets[ipv6], address->family, address->bytes))
            continue;
        if (ipv6)
            memcpy(addresses[count++], address->bytes, 16);
        else
            address_map(addresses[count++], address->bytes);
    }
    if (!count && !ipv6 && max && service && service->dhcp &&
        dhcp_address_of_port(service->dhcp, port->id, now_s(), leased))
        address_map(addresses[count++], leased);
    return count;
}

/* The port that "vm2" or "vm2.acme.internal" is; *below: it is in the segment's domain. */
static const struct model_port *port_named(const struct model_segment *segment, const char *name, bool *below)
{
    char label[WEFT_NAME_LENGTH + 1];
    const char *dot = strchr(name, '.');
    size_t length = dot ? (size_t)(dot - name) : strlen(name);
    size_t total = strlen(name), domain = strlen(segment->dhcp.domain);
    *below = total > domain && name[total - domain - 1] == '.' &&
             strcmp(name + total - domain, segment->dhcp.domain) == 0;
    if (length > WEFT_NAME_LENGTH || (dot && strcmp(dot + 1, segment->dhcp.domain) != 0))
        return NULL;
    snprintf(label, sizeof(label), "%.*s", (int)length, name);
    return model_port(segment->tenant, label);
}

static int dns_addresses(void *context, uint32_t interface, const char *name, bool ipv6,
                         uint8_t addresses[][16], unsigned max)
{
    const struct guest_services *services = context;
    const struct model_segment *own = segment_of(services, interface);
    bool below = false;
    if (!own)
        return -1;
    const struct model_port *port = port_named(own, name, &below);
    if (!port)
        return below ? -2 : -1;
    unsigned count = 0;
    for (unsigned i = 0; i < own->tenant->segment_count; i++) {
        const struct model_segment *segment = &own->tenant->segments[i];
        if (segment->is_nat && model_port_in(port, segment))
            count += guest_addresses(services, segment, port, ipv6, addresses + count, max - count);
    }
    return (int)count;
}

static bool dns_name(void *context, uint32_t interface, const uint8_t address[16], char *name, size_t size)
{
    const struct guest_services *services = context;
    const struct model_segment *own = segment_of(services, interface);
    for (unsigned i = 0; own && i < own->tenant->port_count; i++) {
        const struct model_port *port = &own->tenant->ports[i];
        for (unsigned k = 0; k < own->tenant->segment_count; k++) {
            const struct model_segment *segment = &own->tenant->segments[k];
            uint8_t addresses[DNS_ADDRESSES_MAX][16];
            if (!segment->is_nat || !model_port_in(port, segment))
                continue;
            unsigned count = guest_addresses(services, segment, port, !address_is_mapped(address), addresses,
                                             DNS_ADDRESSES_MAX);
            for (unsigned at = 0; at < count; at++) {
                if (memcmp(addresses[at], address, 16) != 0)
                    continue;
                int length = snprintf(name, size, "%s.%s", port->name, own->dhcp.domain);
                return length > 0 && (size_t)length < size;
            }
        }
    }
    return false;
}

static int by_address(const void *a, const void *b)
{
    return memcmp(((const struct dhcp_reservation *)a)->address,
                  ((const struct dhcp_reservation *)b)->address, 4);
}

static void reservations_build(struct service *service, const struct model_segment *segment)
{
    unsigned room = 0, count = 0;
    for (unsigned i = 0; i < segment->tenant->port_count; i++)
        room += segment->tenant->ports[i].address_count;
    service->reservations = calloc(room + 1, sizeof(*service->reservations));
    if (!service->reservations)
        abort();
    for (unsigned i = 0; i < segment->tenant->port_count; i++) {
        const struct model_port *port = &segment->tenant->ports[i];
        for (unsigned k = 0; model_port_in(port, segment) && k < port->address_count; k++) {
            if (!model_prefix_has(&segment->subnets[0], port->addresses[k].family, port->addresses[k].bytes))
                continue;
            service->reservations[count].port = port->id;
            memcpy(service->reservations[count++].address, port->addresses[k].bytes, 4);
        }
    }
    qsort(service->reservations, count, sizeof(*service->reservations), by_address);
    service->scope.reservations = service->reservations;
    service->scope.reservation_count = count;
}

static void scope_build(struct service *service, const struct model_segment *segment)
{
    const struct model_prefix *subnet = &segment->subnets[0];
    const struct model_dhcp *dhcp = &segment->dhcp;
    struct dhcp_scope *scope = &service->scope;
    *scope = (struct dhcp_scope){
        .prefix_length = subnet->length, .mtu = (uint16_t)segment->mtu, .lease_s = dhcp->lease};
    compile_own_mac(segment->router_port, scope->server_mac);
    memcpy(scope->server, subnet->address, 4);
    memcpy(scope->network, subnet->network, 4);
    memcpy(scope->first, dhcp->first, 4);
    memcpy(scope->last, dhcp->last, 4);
    if (segment->is_nat)
        memcpy(scope->router, subnet->address, 4);
    scope->dns_count = dhcp->dns_count;
    memcpy(scope->dns, dhcp->dns, sizeof(dhcp->dns));
    if (segment->is_nat && !dhcp->dns_set) {
        scope->dns_count = 1;
        memcpy(scope->dns[0], subnet->address, 4);
    }
    snprintf(scope->domain, sizeof(scope->domain), "%s", dhcp->domain);
    reservations_build(service, segment);
}

/* There is somewhere to go: the outside, or another segment. */
static bool has_ipv6_way(const struct model_segment *segment)
{
    bool way = segment->ipv6_nat;
    for (unsigned i = 0; i < segment->tenant->segment_count; i++) {
        const struct model_segment *other = &segment->tenant->segments[i];
        way |= other != segment && other->is_nat && other->subnets[1].family;
    }
    return way;
}

static void ra_build(struct service *service, const struct model_segment *segment)
{
    const struct model_prefix *subnet = &segment->subnets[1];
    service->has_ra = segment->is_nat && subnet->family;
    service->ra = (struct ra_scope){.prefix_length = subnet->length,
                                    .mtu = (uint16_t)segment->mtu,
                                    .default_router = has_ipv6_way(segment),
                                    .dns = segment->is_nat && !segment->dhcp.dns_set};
    compile_own_mac(segment->router_port, service->ra.mac);
    memcpy(service->ra.address, subnet->address, 16);
}

static bool port_exists(void *context, uint32_t port)
{
    const struct model *model = context;
    for (unsigned i = 0; i < model->port_count; i++) {
        if (model->ports[i].id == port)
            return true;
    }
    return false;
}

/* The leases that the segment had, wherever they are. */
static struct dhcp *leases_take(struct guest_services *services, const struct model_segment *segment)
{
    struct service *before = service_of(services, segment->router_port);
    struct dhcp *dhcp = before && strcmp(before->name, segment->full_name) == 0 ? before->dhcp : NULL;
    if (dhcp) {
        before->dhcp = NULL;
        return dhcp;
    }
    dhcp = dhcp_new();
    if (!dhcp)
        abort();
    json_t *saved = json_object_get(services->saved, segment->full_name);
    if (saved)
        dhcp_load(dhcp, saved);
    json_object_del(services->saved, segment->full_name);
    return dhcp;
}

static void services_clear(struct service *services, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dhcp_free(services[i].dhcp);
        free(services[i].reservations);
    }
    free(services);
}

void guest_services_update(struct guest_services *services, const struct model *model)
{
    struct service *made = calloc(model->segment_count + 1, sizeof(*made));
    size_t count = 0;
    if (!made)
        abort();
    for (unsigned i = 0; i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        if (!segment->router_port)
            continue;
        struct service *service = &made[count++];
        service->port = segment->router_port;
        snprintf(service->name, sizeof(service->name), "%s", segment->full_name);
        service->has_dns = segment->is_nat;
        ra_build(service, segment);
        scope_build(service, segment);
        if (!segment->dhcp.enabled)
            continue;
        service->dhcp = leases_take(services, segment);
        dhcp_prune(service->dhcp, &service->scope, port_exists, (void *)(uintptr_t)model);
    }
    services_clear(services->services, services->count);
    services->services = made;
    services->count = count;
}

struct guest_services *guest_services_new(struct controller *controller)
{
    struct guest_services *services = calloc(1, sizeof(*services));
    static const struct timeval interval = {RA_INTERVAL_S, 0};
    if (!services)
        abort();
    struct punt_callbacks callbacks = {on_frame, on_resolve, services};
    services->controller = controller;
    services->names = (struct dns_names){services, dns_addresses, dns_name};
    services->punt = punt_new(controller->base, &callbacks);
    services->forwarder = dns_forwarder_new(controller->base, RESOLV_CONF, on_dns_answer, services);
    services->saved = store_read(controller->store, LEASES_FILE);
    services->save_timer = evtimer_new(controller->base, on_save, services);
    services->ra_timer = evtimer_new(controller->base, on_ra_timer, services);
    if (!services->punt || !services->forwarder)
        abort();
    evtimer_add(services->ra_timer, &interval);
    return services;
}

void guest_services_free(struct guest_services *services)
{
    if (!services)
        return;
    if (services->save_pending)
        on_save(-1, 0, services);
    event_free(services->save_timer);
    event_free(services->ra_timer);
    dns_forwarder_free(services->forwarder);
    punt_free(services->punt);
    services_clear(services->services, services->count);
    json_decref(services->saved);
    free(services);
}

int guest_services_connect(struct guest_services *services, struct dp_client *client)
{
    return punt_connect(services->punt, client);
}

json_t *guest_services_leases(const struct guest_services *services, const struct model_segment *segment)
{
    json_t *list = json_array();
    const struct service *service = service_of(services, segment->router_port);
    struct dhcp_lease lease;
    for (size_t i = 0; service && service->dhcp && dhcp_lease_at(service->dhcp, i, now_s(), &lease); i++) {
        char address[VALUE_IP_SIZE], mac[VALUE_MAC_SIZE];
        const char *port = "";
        for (unsigned k = 0; k < segment->tenant->port_count; k++) {
            if (segment->tenant->ports[k].id == lease.port)
                port = segment->tenant->ports[k].full_name;
        }
        inet_ntop(AF_INET, lease.address, address, sizeof(address));
        value_mac_text(lease.mac, mac);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:I, s:s}", "address", address, "port", port, "mac",
                                        mac, "expires_in", (json_int_t)(lease.expires_s - now_s()),
                                        "hostname", lease.hostname));
    }
    return list;
}
