/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The dataplane hands up what a guest asks of its gateway; the interface's number says
 * which segment, so which tenant. A segment's service is its lease table with a scope made of the model; it
 * lives as long as a segment of that name has the mode, and is filled again from the state directory after a
 * restart. Changed leases are written at most every SAVE_S seconds: a lease that a crash loses is given to
 * the same guest again, since it asks for the address that it has.
 *
 * A guest's port may ask RATE times a second; what is beyond is dropped, so that one guest's flood costs
 * weftd a comparison a frame. DNS queries go to the forwarder unless the name is a port of the asking guest's
 * tenant: PORT.DOMAIN, PORT.TENANT or PORT alone, with the port's configured addresses or its lease.
 */
#include "services.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "compile_network.h"
#include "datagram.h"
#include "dhcp.h"
#include "dns.h"
#include "log.h"
#include "ra.h"

#define LEASES_FILE "leases.json"
#define RESOLV_CONF "/etc/resolv.conf"
#define SAVE_S      2
#define RATE        50u  /* frames a second of a guest's port */
#define BURST       100u /* and at once */
#define DNS_PORT    53u

struct service {
    struct service *next;
    char name[MODEL_FULL_NAME_SIZE]; /* the segment's */
    const struct model_segment *segment;
    struct dhcp *dhcp;
    struct dhcp_scope scope;
    struct dhcp_reservation *reservations;
};

struct bucket {
    uint64_t filled_ms;
    uint32_t tokens;
};

struct services {
    struct controller *controller;
    services_send send;
    void *context;
    struct service *first;
    struct service *by_port[DP_PORTS_MAX]; /* by the number of the interface */
    struct bucket buckets[DP_PORTS_MAX];   /* by the guest's port; 0: not known */
    struct dns_forwarder *forwarder;
    json_t *saved; /* leases of segments that are not there (yet), by name */
    bool changed;
    struct event *save_timer, *advertise_timer;
};

static int64_t now_s(void)
{
    return (int64_t)time(NULL);
}

/* ---- Addresses ---- */

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

static void handle_dhcp(struct services *services, struct service *service, const struct dp_punt *punt,
                        const uint8_t *frame)
{
    uint8_t reply[DATAGRAM_FRAME_MAX];
    bool changed;
    if (!service->segment->dhcp.enabled || !service->segment->subnets[0].family)
        return;
    size_t size =
        dhcp_handle(service->dhcp, &service->scope, punt->from, frame, punt->size, now_s(), reply, &changed);
    services->changed |= changed;
    if (size)
        services->send(services->context, punt->port, reply, size);
}

/* ---- Names ---- */

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
            !dhcp_address_of_port(service->dhcp, port->id, now_s(), leased))
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

static void handle_dns(struct services *services, const struct dp_punt *punt, const uint8_t *frame)
{
    const struct dns_names names = {services, find_addresses, find_name};
    struct datagram datagram;
    uint8_t answer[DNS_MESSAGE_MAX];
    size_t size;
    if (!datagram_parse(frame, punt->size, &datagram) || datagram.destination_port != DNS_PORT)
        return;
    struct dns_client client = {.port = punt->port, .from = punt->from, .udp_port = datagram.source_port};
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

/* ---- Router advertisements ---- */

/* In a host-only segment they tell of the prefix alone: nothing is beyond it. */
static void advertise(struct services *services, const struct service *service, const uint8_t *mac,
                      const uint8_t *address)
{
    const struct model_segment *segment = service->segment;
    const struct model_prefix *subnet = &segment->subnets[1];
    struct ra_scope scope = {.prefix_length = subnet->length,
                             .mtu = (uint16_t)segment->mtu,
                             .default_router = segment->is_nat,
                             .dns = segment->is_nat && !segment->dhcp.dns_set};
    uint8_t frame[RA_FRAME_MAX];
    if (!subnet->family)
        return;
    compile_own_mac(segment->router_port, scope.mac);
    memcpy(scope.address, subnet->address, sizeof(scope.address));
    size_t size = ra_advertise(&scope, mac, address, frame);
    services->send(services->context, segment->router_port, frame, size);
}

static void advertise_all(struct services *services)
{
    const struct timeval interval = {RA_INTERVAL_S, 0};
    for (const struct service *service = services->first; service; service = service->next)
        advertise(services, service, NULL, NULL);
    evtimer_add(services->advertise_timer, &interval);
}

static void on_advertise(evutil_socket_t fd, short what, void *context)
{
    advertise_all(context);
}

static void handle_rs(struct services *services, const struct service *service, const struct dp_punt *punt,
                      const uint8_t *frame)
{
    uint8_t mac[6], address[16];
    if (ra_solicitation(frame, punt->size, mac, address))
        advertise(services, service, mac, address);
}

/* ---- All of them ---- */

static bool within_rate(struct services *services, uint32_t port)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t now_ms = (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
    struct bucket *bucket = &services->buckets[port < DP_PORTS_MAX ? port : 0];
    uint64_t added = (now_ms - bucket->filled_ms) * RATE / 1000;
    if (bucket->filled_ms == 0 || added > BURST - bucket->tokens) {
        bucket->tokens = BURST;
        bucket->filled_ms = now_ms;
    } else if (added > 0) {
        bucket->tokens += (uint32_t)added;
        bucket->filled_ms = now_ms;
    }
    if (bucket->tokens == 0)
        return false;
    bucket->tokens--;
    return true;
}

void services_punt(struct services *services, const struct dp_punt *punt, const uint8_t *frame)
{
    struct service *service = punt->port < DP_PORTS_MAX ? services->by_port[punt->port] : NULL;
    if (!service || !within_rate(services, punt->from))
        return;
    switch (punt->reason) {
    case DP_PUNT_DHCP:
        handle_dhcp(services, service, punt, frame);
        break;
    case DP_PUNT_DNS:
        handle_dns(services, punt, frame);
        break;
    case DP_PUNT_RS:
        handle_rs(services, service, punt, frame);
        break;
    default:
        break;
    }
}

/* ---- Leases on disk ---- */

static void save(struct services *services)
{
    for (const struct service *service = services->first; service; service = service->next)
        json_object_set_new(services->saved, service->name, dhcp_save(service->dhcp, now_s()));
    int error = store_write(services->controller->store, LEASES_FILE, services->saved);
    if (error)
        log_warning("cannot write the leases: %s: %s", store_error(services->controller->store),
                    strerror(-error));
    else
        services->changed = false;
}

static void on_save(evutil_socket_t fd, short what, void *context)
{
    struct services *services = context;
    const struct timeval interval = {SAVE_S, 0};
    if (services->changed)
        save(services);
    evtimer_add(services->save_timer, &interval);
}

/* ---- Configuration ---- */

static struct service *service_new(struct services *services, const char *name)
{
    struct service *service = calloc(1, sizeof(*service));
    struct dhcp *dhcp = service ? dhcp_new() : NULL;
    if (!dhcp) {
        free(service);
        return NULL;
    }
    service->dhcp = dhcp;
    snprintf(service->name, sizeof(service->name), "%s", name);
    const json_t *leases = json_object_get(services->saved, name);
    if (leases)
        dhcp_load(dhcp, leases);
    return service;
}

static void service_free(struct service *service)
{
    dhcp_free(service->dhcp);
    free(service->reservations);
    free(service);
}

/* The segment's service, taken off the list of those before or made. */
static struct service *take_service(struct services *services, struct service **before, const char *name)
{
    for (struct service **link = before; *link; link = &(*link)->next) {
        struct service *service = *link;
        if (strcmp(service->name, name) != 0)
            continue;
        *link = service->next;
        return service;
    }
    return service_new(services, name);
}

static void add_service(struct services *services, struct service **before,
                        const struct model_segment *segment)
{
    struct service *service = take_service(services, before, segment->full_name);
    if (service)
        service->segment = segment;
    if (service && segment->subnets[0].family) {
        set_addresses(service);
        if (set_reservations(service)) {
            service_free(service);
            service = NULL;
        } else {
            dhcp_prune(service->dhcp, &service->scope, port_exists, service);
        }
    }
    if (!service) {
        log_error("segment %s: no memory for its leases", segment->full_name);
        return;
    }
    service->next = services->first;
    services->first = service;
    services->by_port[segment->router_port] = service;
}

void services_configure(struct services *services)
{
    const struct model *model = services->controller->model;
    struct service *before = services->first;
    services->first = NULL;
    memset(services->by_port, 0, sizeof(services->by_port));
    for (unsigned i = 0; model && i < model->segment_count; i++)
        if (model->segments[i].router_port && model->segments[i].router_port < DP_PORTS_MAX)
            add_service(services, &before, &model->segments[i]);
    while (before) {
        struct service *next = before->next;
        json_object_del(services->saved, before->name);
        services->changed = true;
        service_free(before);
        before = next;
    }
    advertise_all(services);
}

struct services *services_new(struct controller *controller, services_send send, void *context)
{
    struct services *services = calloc(1, sizeof(*services));
    const struct timeval interval = {SAVE_S, 0};
    if (!services)
        return NULL;
    services->controller = controller;
    services->send = send;
    services->context = context;
    services->saved = store_read(controller->store, LEASES_FILE);
    if (!json_is_object(services->saved)) {
        json_decref(services->saved);
        services->saved = json_object();
    }
    services->forwarder = dns_forwarder_new(controller->base, RESOLV_CONF, send_dns, services);
    services->save_timer = evtimer_new(controller->base, on_save, services);
    services->advertise_timer = evtimer_new(controller->base, on_advertise, services);
    if (!services->saved || !services->forwarder || !services->save_timer || !services->advertise_timer) {
        services_free(services);
        errno = ENOMEM;
        return NULL;
    }
    evtimer_add(services->save_timer, &interval);
    return services;
}

void services_free(struct services *services)
{
    if (!services)
        return;
    if (services->changed)
        save(services);
    for (struct service *service = services->first, *next; service; service = next) {
        next = service->next;
        service_free(service);
    }
    dns_forwarder_free(services->forwarder);
    if (services->save_timer)
        event_free(services->save_timer);
    if (services->advertise_timer)
        event_free(services->advertise_timer);
    json_decref(services->saved);
    free(services);
}

/* ---- What is shown ---- */

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
    int64_t left = lease->expires_s - now_s();
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
        while (dhcp_lease_next(service->dhcp, &cursor, now_s(), &lease))
            show_lease(service, &lease, items);
    }
}
