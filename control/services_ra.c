/* SPDX-License-Identifier: BSD-3-Clause */
/* Router advertisements into segments of mode nat with an IPv6 prefix. */
#include <string.h>
#include "compile_network.h"
#include "ra.h"
#include "services_private.h"

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
