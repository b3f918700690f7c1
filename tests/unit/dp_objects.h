/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* Objects of the programming socket as the tests want them: valid until one field is changed. */
#include <stdio.h>
#include <string.h>
#include "dataplane_api.h"

static inline struct dp_segment make_segment(uint32_t id, uint32_t tenant)
{
    struct dp_segment segment = {.id = id, .tenant = tenant, .ageing_s = 300};
    snprintf(segment.name, sizeof(segment.name), "t%u/seg%u", tenant, id);
    return segment;
}

static inline struct dp_port make_port(uint32_t id, uint32_t tenant)
{
    struct dp_port port = {.id = id,
                           .tenant = tenant,
                           .type = DP_PORT_VHOST_USER,
                           .queues = 1,
                           .mtu = 1500,
                           .socket_group = UINT32_MAX};
    snprintf(port.name, sizeof(port.name), "t%u/port%u", tenant, id);
    snprintf(port.device, sizeof(port.device), "/nowhere/port%u", id);
    return port;
}

static inline struct dp_port make_tap(uint32_t id, uint32_t tenant, uint32_t queues)
{
    struct dp_port port = make_port(id, tenant);
    port.type = DP_PORT_TAP;
    port.queues = queues;
    memset(port.device, 0, sizeof(port.device));
    snprintf(port.device, sizeof(port.device), "tap%u", id);
    return port;
}

static inline struct dp_member make_member(uint32_t port, uint32_t segment, uint32_t vid)
{
    return (struct dp_member){.port = port, .vid = vid, .segment = segment};
}

static inline struct dp_static make_static(uint32_t segment, uint8_t last_byte, uint32_t port)
{
    return (struct dp_static){.segment = segment, .mac = {2, 0, 0, 0, 0, last_byte}, .port = port};
}

static inline struct dp_allowed make_allowed(uint32_t port, uint8_t last_byte)
{
    return (struct dp_allowed){.port = port, .type = DP_ALLOWED_MAC, .address = {2, 0, 0, 0, 0, last_byte}};
}
