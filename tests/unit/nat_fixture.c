/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include "nat_fixture.h"

static void no_workers(void)
{
}

static void address_of(const char *text, uint8_t address[16])
{
    memset(address, 0, 16);
    if (strchr(text, ':')) {
        assert_int_equal(inet_pton(AF_INET6, text, address), 1);
        return;
    }
    address[10] = address[11] = 0xff;
    assert_int_equal(inet_pton(AF_INET, text, address + 12), 1);
}

struct end end_of(const char *address, unsigned port)
{
    struct end end = {.port = (uint16_t)port};
    address_of(address, end.address);
    return end;
}

struct end guest_end(unsigned guest, unsigned port)
{
    char text[32];
    snprintf(text, sizeof(text), "10.0.%u.%u", guest >> 8, guest & 255);
    return end_of(text, port);
}

bool end_equal(struct end a, struct end b)
{
    return memcmp(a.address, b.address, 16) == 0 && a.port == b.port;
}

static void put_object(struct nat_fixture *fixture, enum dp_kind kind, const void *object)
{
    char text[OBJECT_TEXT_SIZE] = "";
    if (objects_put(fixture->objects, kind, object, text) < 0)
        fail_msg("%s", text);
}

void nat_fixture_router(struct nat_fixture *fixture, uint32_t id, uint32_t limit, uint32_t guest_limit)
{
    struct dp_router router = {.id = id, .session_limit = limit, .guest_session_limit = guest_limit};
    snprintf(router.name, sizeof(router.name), "t%u", id);
    put_object(fixture, DP_KIND_ROUTER, &router);
}

void nat_fixture_interface(struct nat_fixture *fixture, uint32_t port, uint32_t router)
{
    struct dp_interface interface = {.port = port, .router = router, .ipv4_prefix_length = 120};
    address_of(port == OUTSIDE ? "192.0.2.254" : "10.0.0.1", interface.ipv4);
    put_object(fixture, DP_KIND_INTERFACE, &interface);
}

void nat_fixture_address(struct nat_fixture *fixture, const char *address, unsigned first, unsigned last)
{
    struct dp_nat_address object = {.port = OUTSIDE,
                                    .port_first = (uint16_t)first,
                                    .port_last = (uint16_t)last,
                                    .flags = DP_NAT_F_ANSWER};
    address_of(address, object.address);
    put_object(fixture, DP_KIND_NAT_ADDRESS, &object);
}

void nat_fixture_source(struct nat_fixture *fixture, uint32_t port, const char *address, uint32_t flags)
{
    struct dp_nat_source object = {.port = port, .outside = OUTSIDE, .flags = flags};
    address_of(address, object.address);
    put_object(fixture, DP_KIND_NAT_SOURCE, &object);
}

void nat_fixture_forward(struct nat_fixture *fixture, const char *address, unsigned proto, unsigned first,
                         unsigned last, uint32_t port, const char *inside, unsigned to_first)
{
    struct dp_nat_forward object = {.outside = OUTSIDE,
                                    .protocol = (uint16_t)proto,
                                    .first = (uint16_t)first,
                                    .last = (uint16_t)last,
                                    .to_first = (uint16_t)to_first,
                                    .port = port};
    address_of(address, object.address);
    address_of(inside, object.inside);
    put_object(fixture, DP_KIND_NAT_FORWARD, &object);
}

void nat_fixture_one_to_one(struct nat_fixture *fixture, const char *address, uint32_t port,
                            const char *inside)
{
    struct dp_nat_one_to_one object = {.outside = OUTSIDE, .port = port};
    address_of(address, object.address);
    address_of(inside, object.inside);
    put_object(fixture, DP_KIND_NAT_ONE_TO_ONE, &object);
}

struct nat_fixture *nat_fixture_with(uint32_t sessions, void (*quiesce)(void))
{
    struct nat_fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->nat = nat_new(sessions, 0, quiesce);
    fixture->objects = objects_new();
    assert_non_null(fixture->nat);
    assert_non_null(fixture->objects);
    fixture->context = (struct nat_context){.nat = fixture->nat, .now_s = 1000};
    nat_fixture_interface(fixture, OUTSIDE, 0);
    nat_fixture_interface(fixture, 11, 1);
    nat_fixture_interface(fixture, 12, 1);
    nat_fixture_interface(fixture, 21, 2);
    return fixture;
}

struct nat_fixture *nat_fixture_new(uint32_t sessions)
{
    return nat_fixture_with(sessions, no_workers);
}

void nat_fixture_commit(struct nat_fixture *fixture)
{
    struct nat_config *old = fixture->config;
    fixture->config = nat_config_new(fixture->nat, fixture->objects);
    assert_non_null(fixture->config);
    fixture->context.config = fixture->config;
    nat_config_changed(fixture->nat, fixture->config);
    nat_config_free(old);
}

struct nat_fixture *nat_fixture_plain(void)
{
    struct nat_fixture *fixture = nat_fixture_new(100000);
    nat_fixture_router(fixture, 1, 0, 0);
    nat_fixture_router(fixture, 2, 0, 0);
    nat_fixture_address(fixture, "192.0.2.1", 10000, 20000);
    nat_fixture_source(fixture, 11, "192.0.2.1", 0);
    nat_fixture_source(fixture, 12, "192.0.2.1", 0);
    nat_fixture_source(fixture, 21, "192.0.2.1", 0);
    nat_fixture_commit(fixture);
    return fixture;
}

void nat_fixture_free(struct nat_fixture *fixture)
{
    nat_config_free(fixture->config);
    nat_free(fixture->nat);
    objects_free(fixture->objects);
    free(fixture);
}

static bool is_ipv4(const struct end *end)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(end->address, prefix, 12) == 0;
}

/* Byte by byte, and nothing of dataplane/checksum. */
static uint32_t plain_sum(const uint8_t *bytes, uint32_t size, uint32_t sum)
{
    for (uint32_t i = 0; i < size; i++) {
        sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint32_t pseudo_sum(const uint8_t *ip, uint32_t size, unsigned proto)
{
    uint32_t sum = ip[0] >> 4 == 4 ? plain_sum(ip + 12, 8, 0) : plain_sum(ip + 8, 32, 0);
    sum += (size & 0xffff) + (size >> 16) + proto;
    return (sum & 0xffff) + (sum >> 16);
}

static void put_ip(struct flat *flat, struct end source, struct end destination, unsigned proto,
                   uint32_t payload)
{
    bool ipv4 = is_ipv4(&source);
    put_ethernet(flat, "\x02\0\0\0\0\1", "\x02\0\0\0\0\2", ipv4 ? 0x0800 : 0x86dd);
    if (ipv4) {
        put_ipv4(flat, proto, 0, 0, payload, 0);
        memcpy(flat->bytes + 14 + 12, source.address + 12, 4);
        memcpy(flat->bytes + 14 + 16, destination.address + 12, 4);
        set16(flat->bytes + 14 + 10, 0xffff & ~plain_sum(flat->bytes + 14, 20, 0));
    } else {
        put_ipv6(flat, proto, source.address, destination.address, payload);
    }
}

/* The transport checksum at `field`; l4: offset of the transport header. */
static void finish(struct flat *flat, uint32_t l4, uint32_t field, unsigned proto, bool pseudo)
{
    uint32_t size = flat->size - l4;
    uint32_t sum = pseudo ? pseudo_sum(flat->bytes + 14, size, proto) : 0;
    set16(flat->bytes + l4 + field, 0);
    sum = 0xffff & ~plain_sum(flat->bytes + l4, size, sum);
    set16(flat->bytes + l4 + field, proto == 17 && sum == 0 ? 0xffff : sum);
}

void frame_udp(struct flat *flat, struct end source, struct end destination, uint32_t payload)
{
    put_ip(flat, source, destination, 17, 8 + payload);
    uint32_t l4 = flat->size;
    put_udp(flat, source.port, destination.port, payload);
    put_payload(flat, payload);
    finish(flat, l4, 6, 17, true);
}

void frame_tcp(struct flat *flat, struct end source, struct end destination, unsigned flags, uint32_t payload)
{
    put_ip(flat, source, destination, 6, 20 + payload);
    uint32_t l4 = flat->size;
    put_tcp(flat, flags, 0);
    set16(flat->bytes + l4, source.port);
    set16(flat->bytes + l4 + 2, destination.port);
    put_payload(flat, payload);
    finish(flat, l4, 16, 6, true);
}

void frame_icmp(struct flat *flat, struct end source, struct end destination, unsigned type, unsigned code,
                unsigned identifier, uint32_t payload)
{
    bool ipv4 = is_ipv4(&source);
    put_ip(flat, source, destination, ipv4 ? 1 : 58, 8 + payload);
    uint32_t l4 = flat->size;
    put8(flat, type);
    put8(flat, code);
    put16(flat, 0);
    put16(flat, identifier);
    put16(flat, 7);
    put_payload(flat, payload);
    finish(flat, l4, 2, 58, !ipv4);
}

void frame_icmp_error(struct flat *flat, struct end source, struct end destination, unsigned type,
                      unsigned code, const struct flat *about, uint32_t part)
{
    bool ipv4 = is_ipv4(&source);
    uint32_t quoted = about->size - 14 < part ? about->size - 14 : part;
    put_ip(flat, source, destination, ipv4 ? 1 : 58, 8 + quoted);
    uint32_t l4 = flat->size;
    put8(flat, type);
    put8(flat, code);
    put16(flat, 0);
    put32(flat, 1280);
    put(flat, about->bytes + 14, quoted);
    finish(flat, l4, 2, 58, !ipv4);
}

void frame_other(struct flat *flat, struct end source, struct end destination, unsigned proto,
                 uint32_t payload)
{
    put_ip(flat, source, destination, proto, payload);
    put_payload(flat, payload);
}

void frame_finish_udp(struct flat *flat)
{
    finish(flat, 14 + 20, 6, 17, true);
}

void frame_finish_ipv4(struct flat *flat)
{
    set16(flat->bytes + 14 + 10, 0);
    set16(flat->bytes + 14 + 10, 0xffff & ~plain_sum(flat->bytes + 14, 20, 0));
}

unsigned frame_pseudo_sum(const struct flat *flat)
{
    return pseudo_sum(flat->bytes + 14, flat->size - 14 - 20, flat->bytes[14 + 9]);
}

static bool icmp_is_error(bool ipv4, unsigned type)
{
    return ipv4 ? type == 3 || type == 4 || type == 11 || type == 12 : type >= 1 && type <= 4;
}

static bool ip_checksums(const uint8_t *ip, uint32_t size, bool quoted);

/* proto: of the whole header at l4, size: bytes that the IP header declares */
static bool transport_checksums(const uint8_t *ip, const uint8_t *l4, uint32_t size, unsigned proto)
{
    bool ipv4 = ip[0] >> 4 == 4, pseudo = proto == 6 || proto == 17 || proto == 58;
    if (size < (proto == 6 ? 20u : 8u) || (!pseudo && proto != 1))
        return true;
    bool none = proto == 17 && get16(l4 + 6) == 0;
    if (!none && plain_sum(l4, size, pseudo ? pseudo_sum(ip, size, proto) : 0) != 0xffff)
        return false;
    if ((proto == 1 || proto == 58) && icmp_is_error(ipv4, l4[0]))
        return ip_checksums(l4 + 8, size - 8, true);
    return true;
}

/* `size` bytes of an IP packet; less than it says if it is quoted. */
static bool ip_checksums(const uint8_t *ip, uint32_t size, bool quoted)
{
    if (size < 20 || (ip[0] >> 4 == 6 && size < 40))
        return quoted;
    bool ipv4 = ip[0] >> 4 == 4;
    uint32_t header = ipv4 ? (ip[0] & 15u) * 4 : 40, total = ipv4 ? get16(ip + 2) : get16(ip + 4) + 40;
    if (header > size || (ipv4 && plain_sum(ip, header, 0) != 0xffff))
        return false;
    if (size < total || total < header || (ipv4 && get16(ip + 6) & 0x3fff))
        return true; /* a fragment, or not all of it is there */
    return transport_checksums(ip, ip + header, total - header, ipv4 ? ip[9] : ip[6]);
}

bool frame_checksums(const struct flat *flat)
{
    return ip_checksums(flat->bytes + 14, flat->size - 14, false);
}

static void read_ends(struct seen *seen)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    const uint8_t *ip = seen->frame.bytes + 14;
    bool ipv4 = ip[0] >> 4 == 4;
    const uint8_t *l4 = ip + (ipv4 ? (ip[0] & 15u) * 4 : 40);
    unsigned proto = ipv4 ? ip[9] : ip[6];
    if (ipv4) {
        memcpy(seen->source.address, prefix, 12);
        memcpy(seen->source.address + 12, ip + 12, 4);
        memcpy(seen->destination.address, prefix, 12);
        memcpy(seen->destination.address + 12, ip + 16, 4);
    } else {
        memcpy(seen->source.address, ip + 8, 16);
        memcpy(seen->destination.address, ip + 24, 16);
    }
    if (proto == 6 || proto == 17) {
        seen->source.port = (uint16_t)get16(l4);
        seen->destination.port = (uint16_t)get16(l4 + 2);
    } else if (proto == 1 || proto == 58) {
        seen->source.port = seen->destination.port = (uint16_t)get16(l4 + 4);
    }
}

static struct seen through(struct nat_fixture *fixture, bool out, uint32_t port, const struct flat *flat)
{
    struct seen seen = {0};
    struct frame_info info;
    struct cut *cut = cut_frame(flat->bytes, flat->size, PACKET_HEADER_MAX, 700);
    if (!parse_l2(&cut->packet, &info) || !parse_l3(&cut->packet, &info))
        fail_msg("the frame does not parse");
    uint64_t hash = nat_prefetch(&fixture->context, port, out, &cut->packet, &info);
    if (!nat_prefetch_session(&fixture->context, hash) && out) {
        nat_prefetch_new(&fixture->context, port, &cut->packet, &info, hash);
        nat_prefetch_ports(&fixture->context);
    }
    seen.drop = out ? nat_outbound(&fixture->context, port, &cut->packet, &info, &seen.outcome, &seen.held)
                    : nat_inbound(&fixture->context, port, &cut->packet, &info, &seen.outcome, &seen.held);
    flatten(&cut->packet, &seen.frame);
    cut_free(cut);
    if (seen.drop == DP_DROP_COUNT && !seen.held) {
        if (frame_checksums(flat) && !frame_checksums(&seen.frame))
            fail_msg("a checksum is wrong after translation");
        read_ends(&seen);
    } else if (seen.frame.size != flat->size || memcmp(seen.frame.bytes, flat->bytes, flat->size) != 0) {
        fail_msg("a packet that was not translated was changed");
    }
    return seen;
}

struct seen outbound(struct nat_fixture *fixture, uint32_t port, const struct flat *flat)
{
    return through(fixture, true, port, flat);
}

struct seen inbound(struct nat_fixture *fixture, const struct flat *flat)
{
    return through(fixture, false, OUTSIDE, flat);
}

struct seen udp_out(struct nat_fixture *fixture, uint32_t port, struct end source, struct end destination)
{
    struct flat flat;
    frame_udp(&flat, source, destination, 18);
    return outbound(fixture, port, &flat);
}

struct seen udp_in(struct nat_fixture *fixture, struct end source, struct end destination)
{
    struct flat flat;
    frame_udp(&flat, source, destination, 33);
    return inbound(fixture, &flat);
}

struct seen tcp_out(struct nat_fixture *fixture, uint32_t port, struct end source, struct end destination,
                    unsigned flags)
{
    struct flat flat;
    frame_tcp(&flat, source, destination, flags, 5);
    return outbound(fixture, port, &flat);
}

struct seen tcp_in(struct nat_fixture *fixture, struct end source, struct end destination, unsigned flags)
{
    struct flat flat;
    frame_tcp(&flat, source, destination, flags, 200);
    return inbound(fixture, &flat);
}

bool release_one(struct nat_fixture *fixture, struct seen *seen)
{
    struct flat nothing = {.size = 64};
    struct cut *cut = cut_frame(nothing.bytes, nothing.size, 64, 64);
    *seen = (struct seen){.drop = DP_DROP_COUNT};
    /* nat_release writes to the start of the private memory, as ports lay it out */
    bool more = nat_release(&fixture->context, &cut->packet, &seen->outcome);
    if (more) {
        flatten(&cut->packet, &seen->frame);
        assert_true(frame_checksums(&seen->frame));
        read_ends(seen);
    }
    cut_free(cut);
    return more;
}

void pass(struct nat_fixture *fixture, uint32_t seconds)
{
    for (uint32_t i = 0; i < seconds; i++) {
        fixture->context.now_s++;
        nat_tick(&fixture->context);
    }
    for (unsigned i = 0; i < 1000; i++)
        nat_tick(&fixture->context);
}

uint32_t session_count(struct nat_fixture *fixture)
{
    struct dp_session sessions[7];
    uint64_t cursor = 0;
    uint32_t total = 0, count;
    while ((count = nat_sessions(fixture->nat, &cursor, fixture->context.now_s, sessions, 7)) > 0)
        total += count;
    return total;
}

struct dp_router_state router_state(struct nat_fixture *fixture, uint32_t router)
{
    struct dp_router_state state;
    nat_router_state(fixture->nat, router, &state);
    return state;
}
