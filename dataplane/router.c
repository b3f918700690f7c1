/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A router port is a member of a segment like any other: the L2 program finds its MAC address in the address
 * table (a static entry) or floods to it. Its tx (port_router.c) does not send anything but notes the frame
 * in the worker's router stage. When the L2 program is done with a reception, router_run() goes through what
 * was noted, while the source's buffers are still lent: the private headers are rewritten in place and the
 * frame enters the L2 program again, as a frame from the router port of the egress segment. So a routed frame
 * is copied once like a bridged one, TSO frames pass whole, and isolation, address tables and counters of the
 * egress segment apply to it as to any frame. A flooded frame (ARP, neighbour solicitations, DHCP) has one
 * private header for all members of its segment, which flooding edits from one to the next, so the stage
 * takes a copy of the header; the rest of it stays where it is.
 *
 *   L2 program -> port_router.c: queue
 *   router_run: for each  parse, local?      -> router_local.c, router_nd.c: answer in place; punt.c
 *                         checks, route      -> route.c
 *                         size               -> icmp.c, ip_fragment.c
 *                         neighbour          -> neighbour.h; unknown: the packet waits with the control
 * thread rewrite, collect   -> program_emit -> L2 program, possibly to the next router port
 *
 * Flows. A packet of a flow of which another one passed in the same second is not parsed, routed and
 * translated: what was done with that one is done with it (flow_cache.c, router_flow.c). The rest of what is
 * said here is about the others, and true of all.
 *
 * Passes. What enters the L2 program may end at a router port again. The queue filled by one pass is the work
 * of the next; the hop count ends a loop, and ROUTER_PASSES bounds a round.
 *
 * Tenants. Tables are per router, a route leads to interfaces of its own router only (the compiler), a packet
 * that would leave by an interface of another router is refused and counted (here), and the L2 program
 * compares the tenants of segment and port once more. A tenant's packets get outside by address translation
 * and in no other way.
 *
 * Answers and errors go back to the Ethernet source of the packet that they are about, by the interface it
 * came in by: that is its way back, needs no neighbour to be asked for, and cannot be pointed at somebody
 * else's link.
 *
 * Counters. A packet offered to a router port is counted there once: as tx_packets if it was forwarded,
 * answered, punted or is not for a router, else by its drop reason. One that waits for its neighbour is
 * counted when it goes on, so that meanwhile tx_offered is ahead.
 *
 * What it does not do: multicast routing, source routes (dropped, as all routers do today), redirects, record
 * route and timestamp options (passed on unchanged), reassembly (fragments to the router itself are dropped).
 */
#include "router.h"

#include <stdlib.h>
#include "checksum.h"
#include "icmp.h"
#include "ip_fragment.h"
#include "program.h"
#include "router_private.h"
#include "storm.h"

/* lint: control path */
struct router_stage *router_stage_new(int wake_fd)
{
    struct router_stage *stage = calloc(1, sizeof(*stage));
    if (!stage)
        return NULL;
    stage->queue = calloc(ROUTER_QUEUE_MAX, sizeof(*stage->queue));
    stage->working = calloc(ROUTER_QUEUE_MAX, sizeof(*stage->working));
    stage->copies = aligned_alloc(64, ROUTER_COPIES_MAX * sizeof(*stage->copies));
    /* Pages of the rings are touched as packets wait. */
    stage->rings_memory = calloc(1, sizeof(*stage->rings) + 64);
    stage->piece = aligned_alloc(64, (sizeof(*stage->piece) + 63) / 64 * 64);
    stage->addresses = calloc(ROUTER_QUEUE_MAX, sizeof(*stage->addresses));
    stage->segmenter = segmenter_new();
    if (!stage->queue || !stage->working || !stage->copies || !stage->rings_memory || !stage->piece ||
        !stage->addresses || !stage->segmenter) {
        router_stage_free(stage);
        return NULL;
    }
    stage->rings = (struct router_rings *)(((uintptr_t)stage->rings_memory + 63) & ~(uintptr_t)63);
    stage->wake_fd = wake_fd;
    stage->error_interval = storm_interval(ROUTER_ERRORS_PPS);
    stage->resolve_interval = storm_interval(ROUTER_RESOLVE_PPS);
    return stage;
}

/* lint: control path */
void router_stage_free(struct router_stage *stage)
{
    if (!stage)
        return;
    free(stage->queue);
    free(stage->working);
    free(stage->copies);
    free(stage->rings_memory);
    free(stage->piece);
    free(stage->addresses);
    flow_cache_free(stage->flows);
    if (stage->segmenter)
        segmenter_free(stage->segmenter);
    free(stage);
}

/* lint: control path */
void router_stage_prepare(struct router_stage *stage)
{
    if (!stage->flows)
        __atomic_store_n(&stage->flows, flow_cache_new(FLOW_CACHE_ENTRIES), __ATOMIC_RELEASE);
}

/* lint: control path */
void router_stage_flows(const struct router_stage *stage, uint64_t *hits, uint64_t *misses)
{
    const struct flow_cache *flows = __atomic_load_n(&stage->flows, __ATOMIC_RELAXED);
    *hits = flows ? counter_read(&flows->hits) : 0;
    *misses = flows ? counter_read(&flows->misses) : 0;
}

/* Packets of the stage's own */

struct packet *router_copy(struct router_stage *stage, uint32_t size)
{
    if (stage->copies_used == ROUTER_COPIES_MAX || size > ROUTER_COPY_SIZE)
        return NULL;
    struct router_copy *copy = &stage->copies[stage->copies_used++];
    copy->packet =
        (struct packet){.buffer = copy->memory, .data = copy->memory + PACKET_HEADROOM, .spans = &copy->span};
    return &copy->packet;
}

void router_copy_finish(struct packet *packet, uint32_t size)
{
    packet->size = size;
    packet->header_size = (uint16_t)(size < PACKET_HEADER_MAX ? size : PACKET_HEADER_MAX);
    packet->span_count = size > PACKET_HEADER_MAX;
    if (packet->span_count)
        packet->spans[0] = (struct packet_span){packet->data + PACKET_HEADER_MAX, size - PACKET_HEADER_MAX};
}

bool router_flatten(const struct packet *packet, uint8_t *bytes, uint32_t capacity)
{
    if (packet->size > capacity)
        return false;
    memcpy(bytes, packet->data, packet->header_size);
    uint32_t at = packet->header_size;
    for (unsigned i = 0; i < packet->span_count; i++) {
        memcpy(bytes + at, packet->spans[i].base, packet->spans[i].size);
        at += (uint32_t)packet->spans[i].size;
    }
    return true;
}

/* Cuts off what follows the IP packet: padding of short Ethernet frames. */
static void trim(struct packet *packet, uint32_t size)
{
    if (packet->size <= size)
        return;
    uint32_t at = packet->header_size;
    unsigned count = 0;
    packet->size = size;
    if (at >= size) {
        packet->header_size = (uint16_t)size;
        packet->span_count = 0;
        return;
    }
    while (at + packet->spans[count].size < size)
        at += (uint32_t)packet->spans[count++].size;
    packet->spans[count].size = size - at;
    packet->span_count = (uint16_t)(count + 1);
}

/* Counting */

static struct port_counters *counters_of(const struct program *program, const struct routed *routed)
{
    const struct ingress *ingress = program->snapshot->ingress[routed->port];
    return ingress->port->counters[program->output.io.worker];
}

static void count_taken(struct program *program)
{
    struct router_stage *stage = program->router;
    if (!stage->taken_count)
        return;
    const struct ingress *ingress = program->snapshot->ingress[stage->taken_port];
    struct port_counters *counters = ingress->port->counters[program->output.io.worker];
    counter_add(&counters->tx_packets, stage->taken_count);
    counter_add(&counters->tx_bytes, stage->taken_bytes);
    counter_add(&counters->queues[0].tx_packets, stage->taken_count);
    counter_add(&counters->queues[0].tx_bytes, stage->taken_bytes);
    stage->taken_count = 0;
    stage->taken_bytes = 0;
}

void router_taken(struct program *program, const struct routed *routed)
{
    struct router_stage *stage = program->router;
    if (__builtin_expect(stage->taken_port != routed->port, 0)) {
        count_taken(program);
        stage->taken_port = routed->port;
    }
    stage->taken_count++;
    stage->taken_bytes += routed->size;
}

void router_drop(struct program *program, const struct routed *routed, enum dp_drop reason)
{
    counter_add(&counters_of(program, routed)->tx_drops[reason], 1);
}

bool router_error_allowed(const struct program *program, const struct interface *in)
{
    return storm_bucket_allows(&interface_port(in)->error_time, program->router->error_interval,
                               program->storm_burst, program->now);
}

/* Sending */

void router_flush(struct program *program)
{
    struct router_stage *stage = program->router;
    unsigned count = stage->emit_count;
    stage->emit_count = 0;
    for (unsigned i = 0; i < count; i++)
        program_emit(program, stage->emits[i].out->ingress, stage->emits[i].packets, stage->emits[i].count);
}

static struct router_emit *emit_of(struct program *program, const struct interface *out)
{
    struct router_stage *stage = program->router;
    for (unsigned i = 0; i < stage->emit_count; i++)
        if (stage->emits[i].out == out && stage->emits[i].count < PACKET_VECTOR_MAX)
            return &stage->emits[i];
    if (stage->emit_count == ROUTER_EMITS)
        router_flush(program);
    struct router_emit *emit = &stage->emits[stage->emit_count++];
    emit->out = out;
    emit->count = 0;
    return emit;
}

void router_emit(struct program *program, const struct interface *out, struct packet *packet)
{
    struct router_emit *emit = emit_of(program, out);
    emit->packets[emit->count++] = packet;
}

void router_turn(struct packet *packet, const struct interface *in)
{
    memcpy(packet->data, packet->data + 6, 6);
    memcpy(packet->data + 6, in->mac, 6);
}

/* Waiting for a neighbour */

static void fail(struct program *program, struct routed *routed)
{
    router_drop(program, routed, DP_DROP_L3_NEIGHBOUR);
    if (routed->info.flags & FRAME_F_IPV4)
        icmp_error_ipv4(program, routed, ICMP_UNREACHABLE, ICMP_UNREACHABLE_HOST, 0);
    else
        icmp_error_ipv6(program, routed, ICMPV6_UNREACHABLE, ICMPV6_UNREACHABLE_ADDRESS, 0);
}

/* Who asks for many neighbours uses up its own turn and nobody else's: a guest's port, or the tenant's
 * interface that a packet from outside is for. */
static bool resolve_allowed(struct program *program, const struct routed *routed)
{
    uint32_t id = routed->in->router->id ? routed->from : routed->inner;
    const struct ingress *payer = program->snapshot->ingress[id];
    struct port *port = (payer ? payer : routed->in->ingress)->port;
    return storm_bucket_allows(&port->resolve_time, program->router->resolve_interval, program->storm_burst,
                               program->now);
}

static void hold(struct program *program, struct routed *routed, const struct router_way *way)
{
    struct router_stage *stage = program->router;
    struct router_note *note = NULL;
    const struct packet *packet = routed->packet;
    if (packet->size <= ROUTER_HELD_SIZE && resolve_allowed(program, routed))
        note = router_note_get(stage);
    if (!note) {
        router_drop(program, routed, DP_DROP_L3_NEIGHBOUR);
        return;
    }
    note->kind = NOTE_RESOLVE;
    note->port = way->out->ingress->id;
    memcpy(note->address, way->hop, 16);
    note->in = routed->port;
    note->inner = routed->inner;
    note->from = routed->from;
    note->flags = routed->flags & ROUTED_F_TRANSLATED;
    note->size = packet->size;
    note->packet_flags = packet->flags;
    note->gso_type = packet->gso_type;
    note->hdr_len = packet->hdr_len;
    note->gso_size = packet->gso_size;
    note->csum_start = packet->csum_start;
    note->csum_offset = packet->csum_offset;
    router_flatten(packet, note->frame, sizeof(note->frame));
    router_note_put(stage);
}

uint64_t interface_static(const struct interface *interface, const uint8_t address[16])
{
    uint32_t slot = neighbour_hash(address);
    for (;; slot++) {
        const struct static_neighbour *neighbour = &interface->neighbours[slot & interface->neighbour_mask];
        if (address_equal(neighbour->address, address))
            return neighbour->mac;
        if (address_is_zero(neighbour->address))
            return 0;
    }
}

uint64_t router_neighbour_known(struct program *program, const struct router_way *way)
{
    uint64_t mac = interface_static(way->out, way->hop);
    struct neighbour *neighbour = mac ? NULL : neighbour_find(interface_port(way->out), way->hop);
    uint64_t value = neighbour ? neighbour_value(neighbour) : 0;
    return value & NEIGHBOUR_F_USABLE ? value & NEIGHBOUR_MAC_MASK : mac;
}

uint64_t router_neighbour(struct program *program, struct routed *routed, const struct router_way *way)
{
    const struct router_port *port = interface_port(way->out);
    uint64_t mac = interface_static(way->out, way->hop);
    routed->neighbours = __atomic_load_n(&port->generation, __ATOMIC_ACQUIRE);
    if (mac)
        return mac;
    struct neighbour *neighbour = neighbour_find(port, way->hop);
    uint64_t value = neighbour ? neighbour_value(neighbour) : 0;
    if (__builtin_expect((value & NEIGHBOUR_F_USABLE) != 0, 1)) {
        neighbour_use(neighbour, program->now_s);
        return value & NEIGHBOUR_MAC_MASK;
    }
    if (value & NEIGHBOUR_F_FAILED)
        fail(program, routed);
    else if (value & NEIGHBOUR_F_WAITING)
        router_drop(program, routed, DP_DROP_L3_NEIGHBOUR);
    else
        hold(program, routed, way);
    return 0;
}

bool router_may_leave(struct program *program, const struct routed *routed, const struct router *router,
                      const struct interface *out)
{
    if (__builtin_expect(out->router != router, 0)) {
        router_drop(program, routed, DP_DROP_TENANT);
        return false;
    }
    if (__builtin_expect(router_turns_isolated(program, routed, out), 0)) {
        router_drop(program, routed, DP_DROP_ISOLATED_PORT);
        return false;
    }
    return true;
}

void router_send(struct program *program, const struct interface *out, struct packet *packet, uint64_t mac)
{
    uint8_t *data = packet->data;
    memcpy(data, &mac, 6);
    memcpy(data + 6, out->mac, 6);
    if (data[12] == ETHERTYPE_IPV4 >> 8 && data[13] == (ETHERTYPE_IPV4 & 0xff)) {
        /* RFC 1624: the sum loses 0x0100, so its complement gains it */
        uint8_t *ip = data + ETHERNET_HEADER_SIZE;
        uint32_t checksum = ((uint32_t)ip[10] << 8 | ip[11]) + 0x100;
        checksum += checksum >= 0xffff;
        ip[8]--;
        ip[10] = (uint8_t)(checksum >> 8);
        ip[11] = (uint8_t)checksum;
    } else {
        data[ETHERNET_HEADER_SIZE + 7]--;
    }
    router_emit(program, out, packet);
}

/* One packet of the queue */

/* Its interface and headers. False: it is accounted for. */
static bool prepare(struct program *program, struct routed *routed)
{
    struct packet *packet = routed->packet;
    struct frame_info *info = &routed->info;
    if (flow_meta_protocol(routed->key.meta)) {
        router_flow_parsed(routed);
        trim(packet, info->l3_end);
        return true;
    }
    routed->in = NULL;
    if (!packet) {
        router_drop(program, routed, DP_DROP_TX_FULL);
        return false;
    }
    const struct interface *in = program->snapshot->ingress[routed->port]->interface;
    if (!in || !parse_l2(packet, info) || info->l3_offset != ETHERNET_HEADER_SIZE) {
        router_taken(program, routed);
        return false;
    }
    if (!parse_l3(packet, info)) {
        router_drop(program, routed, DP_DROP_L3_MALFORMED);
        return false;
    }
    if (!(info->flags & (FRAME_F_IPV4 | FRAME_F_IPV6)) && info->ethertype != ETHERTYPE_ARP) {
        router_taken(program, routed);
        return false;
    }
    routed->in = in;
    if (info->ethertype != ETHERTYPE_ARP)
        trim(packet, info->l3_end);
    return true;
}

static void route(struct program *program, struct routed *routed)
{
    uint16_t flags = routed->info.flags;
    bool group = flags & FRAME_F_MULTICAST;
    if (routed->info.ethertype == ETHERTYPE_ARP)
        router_arp(program, routed);
    else if (__builtin_expect(routed->flags & ROUTED_F_FAILED, 0))
        fail(program, routed);
    else if (__builtin_expect(routed->flags & ROUTED_F_TRANSLATED, 0))
        router_nat_resumed(program, routed);
    else if (flags & FRAME_F_IPV4)
        (group ? router_group_ipv4 : router_forward_ipv4)(program, routed);
    else
        (group ? router_group_ipv6 : router_forward_ipv6)(program, routed);
}

/* Those that the flow cache does not know. */
static void prepare_others(struct program *program, struct routed *working, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!working[i].entry)
            prepare(program, &working[i]);
    if (program->snapshot->nat_config)
        router_nat_prefetch(program, working, count);
}

static void run_pass(struct program *program, struct routed *working, unsigned count, uint32_t from)
{
    for (unsigned i = 0; i < count; i++)
        working[i].from = from;
    if (router_flow_find(program, working, count) != count)
        prepare_others(program, working, count);
    unsigned followed = 0;
    for (unsigned i = 0; i < count; i++) {
        struct routed *routed = &working[i];
        if (routed->entry) {
            if (__builtin_expect(router_flow_follow(program, routed), 1)) {
                followed++;
                continue;
            }
            prepare(program, routed);
        }
        if (routed->in)
            route(program, routed);
    }
    router_flow_counted(program, followed, count - followed);
    router_flush(program);
}

/* What is left after the last pass goes round in circles. */
static void drop_rest(struct program *program)
{
    struct router_stage *stage = program->router;
    for (unsigned i = 0; i < stage->count; i++)
        router_drop(program, &stage->queue[i], DP_DROP_L3_TTL);
    stage->count = 0;
}

void router_run(struct program *program, uint32_t from)
{
    struct router_stage *stage = program->router;
    for (unsigned pass = 0; stage->count && pass < ROUTER_PASSES; pass++) {
        struct routed *working = stage->queue;
        unsigned count = stage->count;
        stage->queue = stage->working;
        stage->working = working;
        stage->count = 0;
        run_pass(program, working, count, pass ? 0 : from);
    }
    drop_rest(program);
    count_taken(program);
    stage->copies_used = 0;
    if (stage->told)
        router_tell(stage);
}

void router_resume(struct program *program, struct packet *packet, const struct router_note *note,
                   bool failed)
{
    struct router_stage *stage = program->router;
    stage->queue[stage->count++] = (struct routed){
        .packet = packet,
        .port = note->in,
        .inner = note->inner,
        .flags = (note->flags & ROUTED_F_TRANSLATED) | (failed ? ROUTED_F_FAILED : 0),
        .size = packet->size,
    };
    router_run(program, 0);
}
