/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What guests of host-only and nat segments are served by weftd itself: addresses (DHCP), names (DNS), router
 * advertisements. Theory of operation in services.c.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include "controller.h"
#include "dataplane_api.h"

struct services;

/* Sends a frame into the segment of the interface `port`. */
typedef void (*services_send)(void *context, uint32_t port, const uint8_t *frame, size_t size);

/* Reads the leases of the state directory. NULL and errno */
struct services *services_new(struct controller *controller, services_send send, void *context);
/* Writes the leases if they changed. */
void services_free(struct services *services);
/* The controller's model is another one: segments come and go, leases that it does not allow end. */
void services_configure(struct services *services);
/* The next model is about to come into force: what guests were told and is not so in it is taken back. */
void services_withdraw(struct services *services, const struct model *next);
/* A frame that the dataplane handed up: reasons DHCP, DNS and RS. */
void services_punt(struct services *services, const struct dp_punt *punt, const uint8_t *frame);

/* The leases of a segment ("acme/app") as the API shows them, appended to `items`; NULL: of all. */
void services_leases(const struct services *services, const char *segment, json_t *items);
