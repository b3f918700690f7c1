/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The controller's end of the punt channel (struct dp_punt): frames of guests that the dataplane hands up,
 * and answers to them.
 *
 * Threads: weftd has one; callbacks come from its event loop. Frames come from guests: nothing in them is
 * checked here but their size.
 */
#include <event2/event.h>
#include "client.h"

struct punt;

struct punt_callbacks {
    void (*frame)(void *context, const struct dp_punt *header, const uint8_t *frame);
    void (*resolve)(void *context, uint32_t port, const uint8_t address[16]);
    void *context;
};

struct punt *punt_new(struct event_base *base, const struct punt_callbacks *callbacks);
void punt_free(struct punt *punt);
/* Gives this dataplane a channel unless it has one of this weftd. 0 or -errno (dp_client_error). */
int punt_connect(struct punt *punt, struct dp_client *client);
/* A frame into the segment of the interface `port`. -EAGAIN: the channel is full; -ENOTCONN: there is none.
 */
int punt_send(struct punt *punt, uint32_t port, const void *frame, size_t size);
