/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sequences of packets of both directions, damaged ones among them, time that passes and configurations that
 * change, through address translation. The fixture compares every translated packet's checksums with a full
 * recomputation and every dropped one with what it was; here the counts must agree after every step, and be 0
 * when everything has expired.
 *
 * Input: records of 6 bytes, an operation and what it needs.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "check.h"
#include "nat_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORD      6u
#define RECORDS_MAX 200u
#define KNOWN       8u

static struct nat_fixture *fixture;
static struct end known[KNOWN]; /* outside endpoints that were handed out */
static unsigned known_count;
static struct flat last; /* frame that was translated last */

static struct end inside_end(unsigned which, bool ipv6)
{
    static const char *const names[2][4] = {{"10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8"},
                                            {"fd00::5", "fd00::6", "fd00::7", "fd00::8"}};
    return end_of(names[ipv6][which & 3], 1000 + (which >> 2 & 3));
}

static struct end remote_end(unsigned which, bool ipv6)
{
    static const char *const names[2][4] = {{"198.51.100.1", "198.51.100.2", "192.0.2.1", "192.0.2.50"},
                                            {"2001:db8::1", "2001:db8::2", "2001:db8:1::1", "2001:db8:1::9"}};
    return end_of(names[ipv6][which & 3], 50 + (which >> 2 & 3));
}

static struct end outside_end(unsigned which, bool ipv6)
{
    static const unsigned ports[] = {7000, 7001, 1000, 22};
    if (which & 1 && known_count)
        return known[(which >> 1) % known_count];
    return end_of(ipv6 ? "2001:db8:1::9" : which & 2 ? "192.0.2.50" : "192.0.2.1", ports[which >> 2 & 3]);
}

static void release_all(void)
{
    struct seen seen;
    while (release_one(fixture, &seen))
        continue;
}

static void step(bool out, const struct flat *flat)
{
    struct frame_info info;
    struct cut *cut = cut_frame(flat->bytes, flat->size, PACKET_HEADER_MAX, 700);
    bool good = parse_l2(&cut->packet, &info) && parse_l3(&cut->packet, &info);
    cut_free(cut);
    if (!good)
        return;
    struct seen seen = out ? outbound(fixture, 11, flat) : inbound(fixture, flat);
    release_all();
    CHECK(seen.drop <= DP_DROP_COUNT);
    if (seen.drop != DP_DROP_COUNT || seen.held)
        return;
    last = seen.frame;
    if (out) {
        CHECK(seen.outcome.outside == OUTSIDE && seen.outcome.router == 0);
        known[known_count++ % KNOWN] = seen.source;
        known_count = known_count > KNOWN ? KNOWN : known_count;
        bool answer;
        if (nat_has_address(fixture->config, OUTSIDE, seen.destination.address, &answer)) {
            inbound(fixture, &seen.frame); /* hairpin, as the router does it */
            release_all();
        }
    } else {
        CHECK(seen.outcome.outside == 11 && seen.outcome.router == 1);
    }
}

/* A frame of one of the protocols; ends as the direction wants them. */
static void build(struct flat *flat, const uint8_t *record, bool out)
{
    bool ipv6 = record[1] & 0x80;
    struct end from = out ? inside_end(record[2], ipv6) : remote_end(record[2], ipv6);
    struct end to = out ? remote_end(record[3], ipv6) : outside_end(record[3], ipv6);
    if ((memcmp(to.address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0) == ipv6)
        to = remote_end(record[3], ipv6); /* a known end of the other family */
    switch (record[1] & 3) {
    case 0:
        frame_udp(flat, from, to, record[4]);
        break;
    case 1:
        frame_tcp(flat, from, to, record[4], record[5]);
        break;
    case 2:
        frame_icmp(flat, from, to, record[4] & 1 ? (ipv6 ? 128 : 8) : record[4], 0, out ? from.port : to.port,
                   record[5]);
        break;
    default:
        frame_other(flat, from, to, record[4], record[5]);
        break;
    }
}

static void cut_fragment(struct flat *flat, const uint8_t *record)
{
    uint32_t payload = flat->size - 34, start = (record[4] & 7u) * 8, part = 8u * (1 + (record[5] & 7u));
    if (flat->bytes[14] != 0x45 || start >= payload)
        return;
    bool more = start + part < payload;
    part = more ? part : payload - start;
    memmove(flat->bytes + 34, flat->bytes + 34 + start, part);
    flat->size = 34 + part;
    set16(flat->bytes + 16, 20 + part);
    set16(flat->bytes + 18, record[5] >> 4 & 3);
    set16(flat->bytes + 20, (more ? 0x2000 : 0) | start / 8);
    frame_finish_ipv4(flat);
}

static void configure(unsigned what)
{
    nat_fixture_forward(fixture, "192.0.2.1", what & 1 ? 6 : 17, 7000, 7001, 11,
                        what & 2 ? "10.0.0.5" : "10.0.0.6", 1000);
    nat_fixture_source(fixture, 11, "192.0.2.1", what & 4 ? DP_NAT_F_ENDPOINT_INDEPENDENT_FILTER : 0);
    nat_fixture_one_to_one(fixture, "192.0.2.50", 11, what & 8 ? "10.0.0.7" : "10.0.0.8");
    nat_fixture_one_to_one(fixture, "2001:db8:1::9", 11, what & 16 ? "fd00::7" : "fd00::8");
    nat_fixture_address(fixture, "192.0.2.1", 1000, what & 32 ? 1009 : 2000);
    nat_fixture_commit(fixture);
}

static void run(const uint8_t *record)
{
    static struct flat flat, about;
    bool out = record[0] & 0x80;
    switch (record[0] & 7) {
    case 0:
        pass(fixture, record[1] & 127);
        break;
    case 1:
        fixture->context.now_s += record[1];
        nat_maintain(fixture->nat, fixture->context.now_s);
        break;
    case 2:
        configure(record[1]);
        break;
    case 3: /* an error about what passed last, with a part of it */
        if (!last.size)
            return;
        about = last;
        frame_icmp_error(
            &flat, about.bytes[14] >> 4 == 4 ? end_of("203.0.113.9", 0) : end_of("2001:db8:9::1", 0),
            outside_end(record[2], about.bytes[14] >> 4 == 6), record[3] & 15, 0, &about, record[4]);
        step(out, &flat);
        break;
    case 4:
        build(&flat, record, out);
        flat.bytes[14 + record[4] % (flat.size - 14)] ^= record[5];
        step(out, &flat);
        break;
    case 5:
        build(&flat, record, out);
        cut_fragment(&flat, record);
        step(out, &flat);
        break;
    default:
        build(&flat, record, out);
        step(out, &flat);
        break;
    }
}

static void cleanup(void)
{
    nat_fixture_free(fixture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!fixture) { /* one for all inputs: each leaves it empty, and ports are random anyway */
        fixture = nat_fixture_new(1000);
        CHECK(atexit(cleanup) == 0);
        nat_fixture_router(fixture, 1, 60, 30);
        nat_fixture_address(fixture, "2001:db8:1::1", 1000, 2000);
        nat_fixture_address(fixture, "192.0.2.1", 1000, 2000);
        nat_fixture_source(fixture, 11, "2001:db8:1::1", 0);
    }
    known_count = 0;
    last.size = 0;
    configure(0);
    for (unsigned i = 0; i < RECORDS_MAX && (i + 1) * RECORD <= size; i++) {
        run(data + (size_t)i * RECORD);
        struct dp_router_state router = router_state(fixture, 1);
        CHECK(router.sessions <= 60 && router.mappings <= router.sessions);
        CHECK(session_count(fixture) == router.sessions);
    }
    pass(fixture, 64);
    fixture->context.now_s += 10000;
    pass(fixture, 130);
    struct dp_router_state router = router_state(fixture, 1);
    CHECK(session_count(fixture) == 0 && router.sessions == 0 && router.mappings == 0 &&
          router.fragments == 0);
    return 0;
}
