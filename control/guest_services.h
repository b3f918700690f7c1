/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What weftd answers to guests itself, through the punt channel: DHCP (dhcp.h), DNS (dns.h), router
 * advertisements (ra.h), for the segments of the configuration in force. Theory of operation in
 * guest_services.c.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include "client.h"
#include "model.h"

struct controller;
struct guest_services;

struct guest_services *guest_services_new(struct controller *controller);
void guest_services_free(struct guest_services *services);
/* The configuration in force is another one: leases of segments that are still there stay. */
void guest_services_update(struct guest_services *services, const struct model *model);
/* The dataplane is there: it gets the punt channel. 0 or -errno (dp_client_error). */
int guest_services_connect(struct guest_services *services, struct dp_client *client);
/* Leases in force: [{segment, port, address, mac, expires, hostname}]. */
json_t *guest_services_leases(const struct guest_services *services, const struct model_segment *segment);
