/* SPDX-License-Identifier: BSD-3-Clause */
#include "router_fixture.h"

#include <stdio.h>
#include "dp_objects.h"
#include "nat.h"
#include "tsc.h"

const uint8_t guest_1_ipv6[16] = {0xfd, 0, 0, 1, [15] = 0x10},
              guest_2_ipv6[16] = {0xfd, 0, 0, 2, [15] = 0x20};
const uint8_t router_1_ipv6[16] = {0xfd, 0, 0, 1, [15] = 1}, router_2_ipv6[16] = {0xfd, 0, 0, 2, [15] = 1};
const uint8_t outside_ipv6[16] = {0x20, 1, 0xd, 0xb8, [15] = 1},
              peer_ipv6[16] = {0x20, 1, 0xd, 0xb8, [15] = 0x63};

static struct lab *current; /* neighbour_ops have no context: there is one in the process */

static int lab_ops_send(struct port *port, const void *frame, uint32_t size)
{
    fixture_send(current->fixture, current->fixture->snapshot->ingress[port->config.id], frame, size);
    return 0;
}

static int lab_ops_resume(struct port *port, const struct router_note *note, bool failed)
{
    struct fixture *fixture = current->fixture;
    struct packet *packet = fixture_receive(fixture, note->frame, note->size);
    packet->flags = note->packet_flags;
    packet->gso_type = note->gso_type;
    packet->hdr_len = note->hdr_len;
    packet->gso_size = note->gso_size;
    packet->csum_start = note->csum_start;
    packet->csum_offset = note->csum_offset;
    program_start(fixture->program, fixture->snapshot);
    router_resume(fixture->program, packet, note, failed);
    packet_vector_reset(fixture->vector);
    return 0;
}

static void lab_ops_ask(uint32_t port, const uint8_t address[16])
{
    current->asked++;
    current->asked_port = port;
    memcpy(current->asked_address, address, 16);
}

static void lab_ops_quiesce(void)
{
}

static const struct snapshot *lab_ops_snapshot(void)
{
    return current->fixture->snapshot;
}

static const struct neighbour_ops ops = {.send = lab_ops_send,
                                         .resume = lab_ops_resume,
                                         .ask = lab_ops_ask,
                                         .quiesce = lab_ops_quiesce,
                                         .snapshot = lab_ops_snapshot};

void lab_put(struct lab *lab, enum dp_kind kind, const void *object)
{
    char text[OBJECT_TEXT_SIZE];
    if (objects_put(lab->objects, kind, object, text)) {
        fprintf(stderr, "%s\n", text);
        abort();
    }
}

static struct ingress *add_router_port(struct lab *lab, uint32_t id, uint32_t tenant, const char *mac,
                                       uint32_t mtu)
{
    struct dp_port port = make_port(id, tenant);
    port.type = DP_PORT_ROUTER;
    port.mtu = mtu;
    memset(port.device, 0, sizeof(port.device));
    memcpy(port.device, "router", 6);
    memcpy(port.mac, mac, 6);
    lab_put(lab, DP_KIND_PORT, &port);
    return fixture_router_port(lab->fixture, id, tenant, port.mac, mtu);
}

static void add_interface(struct lab *lab, uint32_t port, uint32_t router, uint32_t flags, uint32_t ipv4,
                          const uint8_t *ipv6)
{
    const uint8_t bytes[4] = {(uint8_t)(ipv4 >> 24), (uint8_t)(ipv4 >> 16), (uint8_t)(ipv4 >> 8),
                              (uint8_t)ipv4};
    struct dp_interface interface = {
        .port = port, .router = router, .flags = flags, .ipv4_prefix_length = 120, .ipv6_prefix_length = 64};
    address_map(interface.ipv4, bytes);
    memcpy(interface.ipv6, ipv6, 16);
    lab_put(lab, DP_KIND_INTERFACE, &interface);
}

static void add_segment(struct lab *lab, uint32_t id, uint32_t tenant, struct ingress *guest,
                        struct ingress *router, const char *mac, const char *guest_mac)
{
    struct bridge *bridge = fixture_bridge(lab->fixture, id, tenant);
    fixture_member(bridge, guest, 0);
    fixture_member(bridge, router, 0);
    if (fdb_static_set(lab->fixture->fdb, id, (const uint8_t *)mac, router->id, 0) ||
        fdb_static_set(lab->fixture->fdb, id, (const uint8_t *)guest_mac, guest->id, 0))
        abort();
}

void lab_compile(struct lab *lab)
{
    struct snapshot *snapshot = lab->fixture->snapshot;
    snapshot->serial++;
    nat_config_free(snapshot->nat_config);
    snapshot->nat_config = NULL;
    routers_free(snapshot);
    snapshot->routers = NULL;
    snapshot->interfaces = NULL;
    snapshot->router_count = snapshot->interface_count = 0;
    if (compile_routers(snapshot, lab->objects))
        abort();
    snapshot->nat = lab->nat;
    if (lab->nat && !(snapshot->nat_config = nat_config_new(lab->nat, lab->objects)))
        abort();
    if (lab->nat) {
        nat_config_changed(lab->nat, snapshot->nat_config);
        nat_maintain(lab->nat, (uint32_t)(lab->now_ms / 1000));
    }
}

struct lab *lab_new(uint32_t flags_1, uint32_t flags_2, uint32_t mtu_2)
{
    struct lab *lab = calloc(1, sizeof(*lab));
    current = lab;
    lab->fixture = fixture_new(1000);
    lab->fixture->program->router->flows = flow_cache_new(LAB_FLOWS);
    if (!lab->fixture->program->router->flows)
        abort();
    lab->objects = objects_new();
    lab->now_ms = 1000000;
    neighbours_init(&ops);
    for (uint32_t tenant = 1; tenant <= 2; tenant++) {
        struct dp_router router = {.id = tenant, .name = "t/router"};
        lab_put(lab, DP_KIND_ROUTER, &router);
    }
    lab->guest_1 = fixture_port(lab->fixture, 1, 1, 0);
    lab->guest_2 = fixture_port(lab->fixture, 2, 1, 0);
    lab->guest_3 = fixture_port(lab->fixture, 3, 2, 0);
    lab->router_1 = add_router_port(lab, 11, 1, ROUTER_1_MAC, 1500);
    lab->router_2 = add_router_port(lab, 21, 1, ROUTER_2_MAC, mtu_2);
    lab->router_3 = add_router_port(lab, 31, 2, ROUTER_3_MAC, 1500);
    add_segment(lab, 10, 1, lab->guest_1, lab->router_1, ROUTER_1_MAC, GUEST_1_MAC);
    add_segment(lab, 20, 1, lab->guest_2, lab->router_2, ROUTER_2_MAC, GUEST_2_MAC);
    add_segment(lab, 30, 2, lab->guest_3, lab->router_3, ROUTER_3_MAC, GUEST_3_MAC);
    add_interface(lab, 11, 1, flags_1, ROUTER_1, router_1_ipv6);
    add_interface(lab, 21, 1, flags_2, ROUTER_2, router_2_ipv6);
    add_interface(lab, 31, 2, 0, ROUTER_1, router_1_ipv6);
    lab_compile(lab);
    return lab;
}

void lab_free(struct lab *lab)
{
    neighbours_init(NULL);
    nat_config_free(lab->fixture->snapshot->nat_config);
    nat_free(lab->nat);
    fixture_free(lab->fixture);
    objects_free(lab->objects);
    free(lab);
}

int lab_neighbours_setup(void **state)
{
    struct lab *lab = lab_new(0, 0, 1500);
    lab_neighbours(lab);
    *state = lab;
    return 0;
}

int lab_outside_setup(void **state)
{
    lab_neighbours_setup(state);
    lab_outside(*state, 0, DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER, 1500);
    return 0;
}

int lab_teardown(void **state)
{
    struct lab *lab = *state;
    bool consistent = fixture_consistent(lab->fixture);
    lab_free(lab);
    return consistent ? 0 : -1;
}

static void no_workers(void)
{
}

static void map(uint8_t address[16], uint32_t ipv4)
{
    const uint8_t bytes[4] = {(uint8_t)(ipv4 >> 24), (uint8_t)(ipv4 >> 16), (uint8_t)(ipv4 >> 8),
                              (uint8_t)ipv4};
    address_map(address, bytes);
}

static void add_source(struct lab *lab, uint32_t port, uint32_t flags)
{
    struct dp_nat_source source = {.port = port, .outside = 91, .flags = flags};
    map(source.address, OUTSIDE);
    lab_put(lab, DP_KIND_NAT_SOURCE, &source);
}

static void add_neighbour(struct lab *lab, uint32_t port, const uint8_t address[16], const char *mac);

void lab_outside(struct lab *lab, uint32_t flags, uint32_t nat_flags, uint32_t mtu)
{
    struct dp_interface interface = {.port = 91, .flags = flags, .ipv4_prefix_length = 120};
    struct dp_nat_address address = {
        .port = 91, .port_first = 1024, .port_last = 65535, .flags = DP_NAT_F_ANSWER};
    struct dp_route route = {.router = 0, .prefix_length = 96, .port = 91};
    if (!lab->nat)
        lab->nat = nat_new(10000, 0, no_workers);
    lab->peer = fixture_port(lab->fixture, 4, 9, 0);
    lab->outside = add_router_port(lab, 91, 9, OUTSIDE_MAC, mtu);
    add_segment(lab, 90, 9, lab->peer, lab->outside, OUTSIDE_MAC, PEER_MAC);
    map(interface.ipv4, OUTSIDE);
    map(address.address, OUTSIDE);
    map(route.prefix, 0);
    map(route.next_hop, PEER);
    lab_put(lab, DP_KIND_INTERFACE, &interface);
    lab_put(lab, DP_KIND_NAT_ADDRESS, &address);
    lab_put(lab, DP_KIND_ROUTE, &route);
    add_neighbour(lab, 91, route.next_hop, PEER_MAC);
    add_source(lab, 11, nat_flags);
    add_source(lab, 31, nat_flags);
    lab_compile(lab);
}

void lab_second_outside(struct lab *lab, uint32_t mtu)
{
    struct dp_interface interface = {.port = 92, .ipv4_prefix_length = 120};
    struct dp_route route = {.router = 0, .prefix_length = 104, .port = 92};
    struct dp_nat_one_to_one one = {.outside = 92, .port = 11};
    lab->peer_2 = fixture_port(lab->fixture, 5, 9, 0);
    lab->outside_2 = add_router_port(lab, 92, 9, OUTSIDE_2_MAC, mtu);
    add_segment(lab, 91, 9, lab->peer_2, lab->outside_2, OUTSIDE_2_MAC, PEER_2_MAC);
    map(interface.ipv4, OUTSIDE_2);
    map(route.prefix, 0x08000000);
    map(route.next_hop, PEER_2);
    map(one.address, OUTSIDE_2 + 4);
    map(one.inside, GUEST_1);
    lab_put(lab, DP_KIND_INTERFACE, &interface);
    lab_put(lab, DP_KIND_ROUTE, &route);
    lab_put(lab, DP_KIND_NAT_ONE_TO_ONE, &one);
    lab_compile(lab);
}

void lab_outside_ipv6(struct lab *lab)
{
    struct dp_interface interface = {.port = 91, .ipv4_prefix_length = 120, .ipv6_prefix_length = 64};
    struct dp_nat_address address = {
        .port = 91, .port_first = 1024, .port_last = 65535, .flags = DP_NAT_F_ANSWER};
    struct dp_route route = {.router = 0, .port = 91};
    map(interface.ipv4, OUTSIDE);
    memcpy(interface.ipv6, outside_ipv6, 16);
    memcpy(address.address, outside_ipv6, 16);
    memcpy(route.next_hop, peer_ipv6, 16);
    lab_put(lab, DP_KIND_INTERFACE, &interface);
    lab_put(lab, DP_KIND_NAT_ADDRESS, &address);
    lab_put(lab, DP_KIND_ROUTE, &route);
    add_neighbour(lab, 91, peer_ipv6, PEER_MAC);
    for (uint32_t port = 11; port <= 31; port += 20) {
        struct dp_nat_source source = {.port = port, .outside = 91};
        memcpy(source.address, outside_ipv6, 16);
        lab_put(lab, DP_KIND_NAT_SOURCE, &source);
    }
    lab_compile(lab);
}

static void add_neighbour(struct lab *lab, uint32_t port, const uint8_t address[16], const char *mac)
{
    struct dp_neighbour neighbour = {.port = port};
    memcpy(neighbour.address, address, 16);
    memcpy(neighbour.mac, mac, 6);
    lab_put(lab, DP_KIND_NEIGHBOUR, &neighbour);
}

void lab_neighbours(struct lab *lab)
{
    uint8_t address[16];
    address_map(address, (const uint8_t[4]){10, 0, 1, 10});
    add_neighbour(lab, 11, address, GUEST_1_MAC);
    address_map(address, (const uint8_t[4]){10, 0, 2, 20});
    add_neighbour(lab, 21, address, GUEST_2_MAC);
    add_neighbour(lab, 11, guest_1_ipv6, GUEST_1_MAC);
    add_neighbour(lab, 21, guest_2_ipv6, GUEST_2_MAC);
    lab_compile(lab);
}

void lab_send(struct lab *lab, struct ingress *from, const struct flat *flat)
{
    fixture_send(lab->fixture, from, flat->bytes, flat->size);
}

void lab_control(struct lab *lab)
{
    struct router_rings *rings = lab->fixture->program->router->rings;
    for (; rings->note_tail != rings->note_head; rings->note_tail++)
        neighbours_note(&rings->notes[rings->note_tail & (ROUTER_NOTES - 1)], lab->now_ms);
}

void lab_wait(struct lab *lab, unsigned milliseconds)
{
    for (unsigned passed = 0; passed < milliseconds; passed += 100) {
        lab->now_ms += 100;
        lab->fixture->program->now_s = (uint32_t)(lab->now_ms / 1000);
        lab->fixture->program->now += tsc_hz() / 10;
        lab_control(lab);
        neighbours_tick(lab->now_ms);
    }
}

const struct fake_frame *lab_only(const struct ingress *to)
{
    const struct fake_port *fake = fake_of(to);
    if (fake->sent != 1) {
        fprintf(stderr, "%u frames at port %u instead of one\n", fake->sent, to->id);
        abort();
    }
    return &fake->frames[0];
}

void finish_ipv4(struct flat *flat)
{
    uint8_t *ip = flat->bytes + 14;
    set16(ip + 10, 0);
    set16(ip + 10, 0xffff - slow_sum(ip, (ip[0] & 15u) * 4, 0));
}

bool ipv4_sum_right(const uint8_t *bytes)
{
    return slow_sum(bytes + 14, (bytes[14] & 15u) * 4, 0) == 0xffff;
}

static void put_udp_payload(struct flat *flat, unsigned at, uint32_t payload)
{
    put_udp(flat, 40000, 9, payload);
    put_payload(flat, payload);
    uint32_t size = 8 + payload;
    unsigned sum = slow_pseudo(flat->bytes + 14, 17, size);
    sum = 0xffff - slow_sum(flat->bytes + at, size, sum);
    set16(flat->bytes + at + 6, sum ? sum : 0xffff);
}

void udp_ipv4(struct flat *flat, const char *to, const char *from, uint32_t source, uint32_t destination,
              uint32_t payload, unsigned ttl)
{
    put_ethernet(flat, to, from, 0x0800);
    put_ipv4(flat, 17, source, destination, 8 + payload, 0);
    flat->bytes[22] = (uint8_t)ttl;
    put_udp_payload(flat, 34, payload);
    finish_ipv4(flat);
}

void udp_ipv6(struct flat *flat, const char *to, const char *from, const uint8_t *source,
              const uint8_t *destination, uint32_t payload, unsigned hops)
{
    put_ethernet(flat, to, from, 0x86dd);
    put_ipv6(flat, 17, source, destination, 8 + payload);
    flat->bytes[21] = (uint8_t)hops;
    put_udp_payload(flat, 54, payload);
}
