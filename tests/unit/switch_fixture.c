/* SPDX-License-Identifier: BSD-3-Clause */
#include "switch_fixture.h"

#include <stdarg.h>
#include <stdlib.h>
#include "router.h"
#include "storm.h"
#include "tsc.h"

/* What main.c implements in the dataplane. */
void control_quiesce(void)
{
}

struct event_base *control_event_base(void)
{
    return NULL;
}

void control_wake_fd(struct port *port, unsigned queue, int fd)
{
}

unsigned control_worker_count(void)
{
    return 1;
}

void control_log(int level, const char *format, ...)
{
}

void control_announce(struct port *port, const uint8_t mac[6])
{
}

static void *zeroed(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory)
        abort();
    return memset(memory, 0, size);
}

static void keep(struct fake_frame *frame, const struct packet *packet)
{
    uint32_t at = packet->header_size;
    *frame = (struct fake_frame){.size = packet->size,
                                 .flags = packet->flags,
                                 .gso_type = packet->gso_type,
                                 .hdr_len = packet->hdr_len,
                                 .gso_size = packet->gso_size,
                                 .csum_start = packet->csum_start,
                                 .csum_offset = packet->csum_offset};
    memcpy(frame->bytes, packet->data, packet->header_size);
    for (unsigned i = 0; i < packet->span_count; i++) {
        uint64_t size = packet->spans[i].size;
        if (at + size <= FAKE_BYTES)
            memcpy(frame->bytes + at, packet->spans[i].base, size);
        at += (uint32_t)size;
    }
    if (at != packet->size)
        abort();
}

static void fake_tx(struct port *port, unsigned queue, struct packet *const *packets, unsigned count,
                    struct worker_io *io, struct vring_tx_result *result)
{
    struct fake_port *fake = port->private;
    *result = (struct vring_tx_result){0};
    fake->last_queue = queue;
    fake->calls++;
    for (unsigned i = 0; i < count; i++) {
        if (!fake->room) {
            result->no_room += count - i;
            return;
        }
        fake->room--;
        if (fake->keeps && fake->sent < FAKE_FRAMES)
            keep(&fake->frames[fake->sent], packets[i]);
        fake->sent++;
        result->sent++;
        result->sent_bytes += packets[i]->size;
    }
}

static unsigned fake_rx(struct port *port, unsigned queue, struct packet_vector *vector, struct worker_io *io)
{
    packet_vector_reset(vector);
    return 0;
}

static void fake_rx_done(struct port *port, unsigned queue, struct worker_io *io)
{
}

static bool fake_arm(struct port *port, unsigned queue)
{
    return false;
}

static void fake_disarm(struct port *port, unsigned queue)
{
}

static const struct port_ops fake_ops = {
    .rx = fake_rx, .rx_done = fake_rx_done, .tx = fake_tx, .arm = fake_arm, .disarm = fake_disarm};

struct fixture *fixture_new(uint32_t addresses_max)
{
    struct fixture *fixture = zeroed(sizeof(*fixture));
    fixture->snapshot = zeroed(sizeof(*fixture->snapshot));
    fixture->program = zeroed(sizeof(*fixture->program));
    fixture->vector = zeroed(sizeof(*fixture->vector));
    fixture->fdb = fdb_new(addresses_max, control_quiesce);
    if (!fixture->fdb || program_init(fixture->program, NULL, 0, -1))
        abort();
    fixture->snapshot->fdb = fixture->fdb;
    packet_vector_init(fixture->vector);
    fixture->program->now = tsc_now();
    fixture->program->now_s = 1000;
    return fixture;
}

void fixture_free(struct fixture *fixture)
{
    if (!fixture_consistent(fixture))
        abort();
    for (unsigned i = 0; i < DP_PORTS_MAX; i++) {
        struct ingress *ingress = fixture->snapshot->ingress[i];
        if (!ingress)
            continue;
        if (ingress->port->ops == &fake_ops) {
            free(fake_of(ingress)->frames);
            free(fake_of(ingress));
        } else {
            ingress->port->ops->close(ingress->port);
        }
        port_free(ingress->port);
        free(ingress->by_vid);
        free(ingress);
    }
    for (unsigned i = 0; i < DP_SEGMENTS_MAX; i++)
        if (fixture->snapshot->bridges[i]) {
            free(fixture->snapshot->bridges[i]->outputs);
            free(fixture->snapshot->bridges[i]);
        }
    routers_free(fixture->snapshot);
    program_fini(fixture->program);
    fdb_free(fixture->fdb);
    free(fixture->program);
    free(fixture->vector);
    free(fixture->snapshot);
    free(fixture);
}

struct ingress *fixture_port(struct fixture *fixture, uint32_t id, uint32_t tenant, uint32_t flags)
{
    struct dp_port config = {.id = id, .tenant = tenant, .flags = flags, .queues = 1, .mtu = 1500};
    struct ingress *ingress = zeroed(sizeof(*ingress));
    struct fake_port *fake = zeroed(sizeof(*fake));
    fake->port = port_new(&config, &fake_ops, 2);
    fake->frames = zeroed(FAKE_FRAMES * sizeof(*fake->frames));
    if (!fake->port)
        abort();
    fake->room = UINT32_MAX;
    fake->keeps = true;
    fake->port->private = fake;
    fake->port->link = true;
    *ingress = (struct ingress){.port = fake->port, .id = id, .tenant = tenant, .flags = flags};
    fixture->snapshot->ingress[id] = ingress;
    return ingress;
}

struct ingress *fixture_router_port(struct fixture *fixture, uint32_t id, uint32_t tenant,
                                    const uint8_t mac[6], uint32_t mtu)
{
    struct dp_port config = {.id = id, .tenant = tenant, .type = DP_PORT_ROUTER, .queues = 1, .mtu = mtu};
    struct ingress *ingress = zeroed(sizeof(*ingress));
    char text[112];
    memcpy(config.mac, mac, sizeof(config.mac));
    struct port *port = port_new(&config, &port_router_ops, 2);
    if (!port || port_router_ops.open(port, NULL, 0, text))
        abort();
    *ingress = (struct ingress){.port = port, .id = id, .tenant = tenant};
    fixture->snapshot->ingress[id] = ingress;
    return ingress;
}

struct bridge *fixture_bridge(struct fixture *fixture, uint32_t id, uint32_t tenant)
{
    struct bridge *bridge = zeroed(sizeof(*bridge));
    *bridge = (struct bridge){.id = id, .tenant = tenant};
    bridge->outputs = zeroed(64 * sizeof(*bridge->outputs));
    fixture->snapshot->bridges[id] = bridge;
    return bridge;
}

void fixture_member(struct bridge *bridge, struct ingress *ingress, uint16_t vid)
{
    bridge->outputs[bridge->output_count++] = (struct output){.to = ingress, .vid = vid};
    if (!vid) {
        ingress->native = bridge;
        return;
    }
    if (!ingress->by_vid) {
        /* NOLINTNEXTLINE(bugprone-sizeof-expression): a table of pointers */
        ingress->by_vid = zeroed(4096 * sizeof(*ingress->by_vid));
    }
    ingress->by_vid[vid] = bridge;
}

struct packet *fixture_receive(struct fixture *fixture, const void *bytes, uint32_t size)
{
    struct packet_vector *vector = fixture->vector;
    struct packet *packet = &vector->packets[vector->count++];
    uint8_t *buffer = packet->buffer;
    *packet = (struct packet){.buffer = buffer, .data = buffer + PACKET_HEADROOM, .size = size};
    packet->header_size = (uint16_t)(size < PACKET_HEADER_MAX ? size : PACKET_HEADER_MAX);
    packet->spans = &vector->spans[vector->spans_used];
    memcpy(packet->data, bytes, packet->header_size);
    if (size > PACKET_HEADER_MAX) {
        packet->spans[0] =
            (struct packet_span){(const uint8_t *)bytes + PACKET_HEADER_MAX, size - PACKET_HEADER_MAX};
        packet->span_count = 1;
        vector->spans_used++;
    }
    return packet;
}

void fixture_run(struct fixture *fixture, struct ingress *from)
{
    program_run(fixture->program, fixture->snapshot, from, 0, fixture->vector);
    packet_vector_reset(fixture->vector);
}

void fixture_send(struct fixture *fixture, struct ingress *from, const void *bytes, uint32_t size)
{
    fixture_receive(fixture, bytes, size);
    fixture_run(fixture, from);
}

uint32_t fixture_frame(uint8_t *bytes, uint8_t to, uint8_t from, const uint32_t *tags, unsigned tag_count)
{
    uint8_t *at = bytes + 12;
    memset(bytes, 0, 60 + 4 * tag_count);
    if (to == 0xff) {
        memset(bytes, 0xff, 6);
    } else {
        bytes[0] = 2;
        bytes[5] = to;
    }
    bytes[6] = 2;
    bytes[11] = from;
    for (unsigned i = 0; i < tag_count; i++, at += 4)
        for (unsigned j = 0; j < 4; j++)
            at[j] = (uint8_t)(tags[i] >> (24 - 8 * j));
    at[0] = 0x88; /* IEEE 802 local experimental EtherType 88-b5 */
    at[1] = 0xb5;
    return 60 + 4 * tag_count;
}

void fixture_unicast(struct fixture *fixture, struct ingress *from, uint8_t to, uint8_t source)
{
    uint8_t bytes[128];
    fixture_send(fixture, from, bytes, fixture_frame(bytes, to, source, NULL, 0));
}

struct fake_port *fake_of(const struct ingress *ingress)
{
    return ingress->port->private;
}

void fixture_clear(struct fixture *fixture)
{
    for (unsigned i = 0; i < DP_PORTS_MAX; i++)
        if (fixture->snapshot->ingress[i] && fixture->snapshot->ingress[i]->port->ops == &fake_ops)
            fake_of(fixture->snapshot->ingress[i])->sent = fake_of(fixture->snapshot->ingress[i])->calls = 0;
}

bool fixture_consistent(const struct fixture *fixture)
{
    for (unsigned i = 0; i < DP_PORTS_MAX; i++) {
        struct dp_port_counters sum;
        if (!fixture->snapshot->ingress[i])
            continue;
        counters_port(fixture->snapshot->ingress[i]->port, &sum);
        if (!counters_consistent(&sum))
            return false;
    }
    return true;
}

static struct dp_port_counters counters_of(const struct ingress *ingress)
{
    struct dp_port_counters sum;
    counters_port(ingress->port, &sum);
    return sum;
}

uint64_t rx_drops(const struct ingress *ingress, enum dp_drop reason)
{
    return counters_of(ingress).rx_drops[reason];
}

uint64_t tx_drops(const struct ingress *ingress, enum dp_drop reason)
{
    return counters_of(ingress).tx_drops[reason];
}

uint64_t rx_forwarded(const struct ingress *ingress)
{
    return counters_of(ingress).rx_forwarded;
}

uint64_t rx_flooded(const struct ingress *ingress)
{
    return counters_of(ingress).rx_flooded;
}

uint64_t tx_packets(const struct ingress *ingress)
{
    return counters_of(ingress).tx_packets;
}
