/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the dataplane hands up of guests, and who takes it: services (DHCP, DNS, router advertisements) and
 * the follower of the kernel's neighbours.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include "client.h"

struct controller;
struct guests;
struct model;

struct guests *guests_new(struct controller *controller); /* NULL and errno */
void guests_free(struct guests *guests);
/* services_withdraw(). */
void guests_withdraw(struct guests *guests, const struct model *next);
/* The controller's model is another one, or still the same. */
void guests_configure(struct guests *guests);
/* The dataplane is there: it gets the punt channel. 0 or -errno (dp_client_error). */
int guests_connect(struct guests *guests, struct dp_client *client);
/* services_leases(). */
void guests_leases(const struct guests *guests, const char *segment, json_t *items);
