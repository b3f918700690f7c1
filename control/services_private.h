/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The state of services.c, for its protocols: services_dhcp.c, services_dns.c, services_ra.c.
 *
 * Threads: weftd has one.
 */
#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "dhcp.h"
#include "dns.h"
#include "dns_tcp.h"
#include "model.h"
#include "services.h"

struct service {
    struct service *next;
    char name[MODEL_FULL_NAME_SIZE]; /* the segment's */
    const struct model_segment *segment;
    struct dhcp *dhcp;
    struct dhcp_scope scope;
    struct dhcp_reservation *reservations;
};

struct services_bucket {
    uint64_t filled_ms;
    uint32_t tokens;
};

struct services {
    struct controller *controller;
    services_send send;
    void *context;
    struct service *first;
    struct service *by_port[DP_PORTS_MAX];        /* by the number of the interface */
    struct services_bucket buckets[DP_PORTS_MAX]; /* by the guest's port; 0: not known */
    struct dns_forwarder *forwarder;
    struct dns_tcp *dns_tcp;
    json_t *saved; /* leases of segments that are not there (yet), by name */
    bool changed;  /* leases, since they were written */
    struct event *save_timer, *advertise_timer;
};

int64_t services_now_s(void); /* CLOCK_REALTIME, as leases count */

/* services_dhcp.c. What the segment hands out, made of the model; leases that it does not allow end. 0 or
 * -ENOMEM */
int services_dhcp_configure(struct service *service);
void services_dhcp_handle(struct services *services, struct service *service, const struct dp_punt *punt,
                          const uint8_t *frame);

/* services_dns.c. The forwarder of guests' queries; NULL and ENOMEM */
struct dns_forwarder *services_dns_new(struct services *services);
struct dns_tcp *services_dns_tcp_new(struct services *services); /* the same, once there is a forwarder */
void services_dns_handle(struct services *services, const struct dp_punt *punt, const uint8_t *frame);

/* services_ra.c. A solicitation is answered. */
void services_ra_handle(struct services *services, const struct service *service, const struct dp_punt *punt,
                        const uint8_t *frame);
/* To all guests, again after RA_INTERVAL_S. */
void services_ra_advertise_all(struct services *services);
struct event *services_ra_timer(struct services *services); /* NULL and ENOMEM */
