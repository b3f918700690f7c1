/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Router advertisements go into segments with an IPv6 prefix. Host-only, they tell of
 * the prefix alone: nothing is beyond it.
 *
 * Guests keep what they were told for hours, so what a new configuration does not have any more is taken back
 * before it is in force, while the way to the guests is still there: a last advertisement has lifetimes of
 * zero for the router, prefix or name server that goes. Guests drop the routes at once and use addresses of
 * the prefix no more for what is new (they keep them for two hours, RFC 4862 5.5.3 e). The dataplane sends
 * what it was given before it changes anything. If the configuration does not come into force after all,
 * everything is advertised again.
 */
#include <string.h>
#include "compile_network.h"
#include "ra.h"
#include "services_private.h"

/* What is advertised into the segment. False: nothing. */
static bool scope_of(const struct model_segment *segment, struct ra_scope *scope)
{
    const struct model_prefix *subnet = &segment->subnets[1];
    *scope = (struct ra_scope){.prefix_length = subnet->length,
                               .mtu = (uint16_t)segment->mtu,
                               .default_router = segment->is_nat,
                               .dns = segment->is_nat && !segment->dhcp.dns_set};
    if (!subnet->family || !segment->router_port)
        return false;
    compile_own_mac(segment->router_port, scope->mac);
    memcpy(scope->address, subnet->address, sizeof(scope->address));
    return true;
}

static void send_scope(struct services *services, const struct model_segment *segment,
                       const struct ra_scope *scope, const uint8_t *mac, const uint8_t *address)
{
    uint8_t frame[RA_FRAME_MAX];
    size_t size = ra_advertise(scope, mac, address, frame);
    services->send(services->context, segment->router_port, frame, size);
}

static void advertise(struct services *services, const struct service *service, const uint8_t *mac,
                      const uint8_t *address)
{
    struct ra_scope scope;
    if (scope_of(service->segment, &scope))
        send_scope(services, service->segment, &scope, mac, address);
}

/* The segment of that name and number. */
static const struct model_segment *segment_in(const struct model *model, const struct model_segment *segment)
{
    for (unsigned i = 0; i < model->segment_count; i++)
        if (model->segments[i].id == segment->id &&
            strcmp(model->segments[i].full_name, segment->full_name) == 0)
            return &model->segments[i];
    return NULL;
}

static bool same_prefix(const struct ra_scope *a, const struct model_segment *segment)
{
    const struct model_prefix *subnet = &segment->subnets[1];
    return a->prefix_length == subnet->length &&
           model_prefix_has(subnet, 6, a->address); /* the gateway's: an address of the network */
}

/* What of the segment's advertisement is not so in the next model. False: nothing. */
static bool scope_ends(const struct model_segment *segment, const struct model *next, struct ra_scope *scope)
{
    const struct model_segment *then = segment_in(next, segment);
    struct ra_scope after;
    if (!scope_of(segment, scope))
        return false;
    bool router = scope->default_router;
    bool stays = then && scope_of(then, &after) && memcmp(scope->mac, after.mac, sizeof(after.mac)) == 0;
    scope->default_router = router && stays && after.default_router;
    scope->prefix_ends = !stays || !same_prefix(scope, then);
    scope->dns_ends = scope->dns && (!stays || !after.dns ||
                                     memcmp(scope->address, after.address, sizeof(after.address)) != 0);
    return router != scope->default_router || scope->prefix_ends || scope->dns_ends;
}

void services_withdraw(struct services *services, const struct model *next)
{
    struct ra_scope scope;
    for (const struct service *service = services->first; service; service = service->next)
        if (scope_ends(service->segment, next, &scope))
            send_scope(services, service->segment, &scope, NULL, NULL);
}

void services_ra_advertise_all(struct services *services)
{
    const struct timeval interval = {RA_INTERVAL_S, 0};
    for (const struct service *service = services->first; service; service = service->next)
        advertise(services, service, NULL, NULL);
    evtimer_add(services->advertise_timer, &interval);
}

static void on_advertise(evutil_socket_t fd, short what, void *context)
{
    services_ra_advertise_all(context);
}

void services_ra_handle(struct services *services, const struct service *service, const struct dp_punt *punt,
                        const uint8_t *frame)
{
    uint8_t mac[6], address[16];
    if (ra_solicitation(frame, punt->size, mac, address))
        advertise(services, service, mac, address);
}

struct event *services_ra_timer(struct services *services)
{
    return evtimer_new(services->controller->base, on_advertise, services);
}
