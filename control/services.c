/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The dataplane hands up what a guest asks of its gateway; the interface's number says
 * which segment, so which tenant. A segment's service is its lease table with a scope made of the model; it
 * lives as long as a segment of that name has the mode, and is filled again from the state directory after a
 * restart. Changed leases are written at most every SAVE_S seconds: a lease that a crash loses is given to
 * the same guest again, since it asks for the address that it has.
 *
 * A guest's port may ask RATE times a second; what is beyond is dropped, so that one guest's flood costs
 * weftd a comparison a frame. The protocols are in services_dhcp.c, services_dns.c and services_ra.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "clock.h"
#include "log.h"
#include "services_private.h"

#define LEASES_FILE "leases.json"
#define SAVE_S      2
#define RATE        50u  /* frames a second of a guest's port */
#define BURST       100u /* and at once */

int64_t services_now_s(void)
{
    return (int64_t)time(NULL);
}

/* ---- What guests ask ---- */

static bool within_rate(struct services *services, uint32_t port)
{
    uint64_t now_ms = (uint64_t)clock_ms();
    struct services_bucket *bucket = &services->buckets[port < DP_PORTS_MAX ? port : 0];
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
        services_dhcp_handle(services, service, punt, frame);
        break;
    case DP_PUNT_DNS:
        services_dns_handle(services, punt, frame);
        break;
    case DP_PUNT_RS:
        services_ra_handle(services, service, punt, frame);
        break;
    default:
        break;
    }
}

/* ---- Leases on disk ---- */

static void save(struct services *services)
{
    for (const struct service *service = services->first; service; service = service->next)
        json_object_set_new(services->saved, service->name, dhcp_save(service->dhcp, services_now_s()));
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
    if (service && segment->subnets[0].family && services_dhcp_configure(service)) {
        service_free(service);
        service = NULL;
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
    dns_tcp_configured(services->dns_tcp);
    services_ra_advertise_all(services);
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
    services->forwarder = services_dns_new(services);
    services->dns_tcp = services->forwarder ? services_dns_tcp_new(services) : NULL;
    services->save_timer = evtimer_new(controller->base, on_save, services);
    services->advertise_timer = services_ra_timer(services);
    if (!services->saved || !services->dns_tcp || !services->save_timer || !services->advertise_timer) {
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
    dns_tcp_free(services->dns_tcp);
    dns_forwarder_free(services->forwarder);
    if (services->save_timer)
        event_free(services->save_timer);
    if (services->advertise_timer)
        event_free(services->advertise_timer);
    json_decref(services->saved);
    free(services);
}
