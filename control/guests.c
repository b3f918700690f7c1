/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include "controller.h"
#include "guests.h"
#include "punt.h"
#include "services.h"

struct guests {
    struct controller *controller;
    struct punt *punt;
    struct services *services;
};

static void on_send(void *context, uint32_t port, const uint8_t *frame, size_t size)
{
    struct guests *guests = context;
    punt_send(guests->punt, port, frame, size); /* a guest asks again if it was lost */
}

static void on_frame(void *context, const struct dp_punt *header, const uint8_t *frame)
{
    struct guests *guests = context;
    services_punt(guests->services, header, frame);
}

static void on_resolve(void *context, uint32_t port, const uint8_t address[16])
{
    struct guests *guests = context;
    outside_resolve(guests->controller->outside, guests->controller->model, port, address);
}

struct guests *guests_new(struct controller *controller)
{
    struct guests *guests = calloc(1, sizeof(*guests));
    if (!guests)
        return NULL;
    struct punt_callbacks callbacks = {on_frame, on_resolve, guests};
    guests->controller = controller;
    guests->punt = punt_new(controller->base, &callbacks);
    guests->services = guests->punt ? services_new(controller, on_send, guests) : NULL;
    if (!guests->services) {
        guests_free(guests);
        errno = ENOMEM;
        return NULL;
    }
    return guests;
}

void guests_free(struct guests *guests)
{
    if (!guests)
        return;
    services_free(guests->services);
    punt_free(guests->punt);
    free(guests);
}

void guests_withdraw(struct guests *guests, const struct model *next)
{
    services_withdraw(guests->services, next);
}

void guests_configure(struct guests *guests)
{
    services_configure(guests->services);
}

int guests_connect(struct guests *guests, struct dp_client *client)
{
    return punt_connect(guests->punt, client);
}

void guests_leases(const struct guests *guests, const char *segment, json_t *items)
{
    services_leases(guests->services, segment, items);
}
