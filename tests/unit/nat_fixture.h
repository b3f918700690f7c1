/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Address translation for tests: tenants' interfaces, addresses and a clock, and packets that are built,
 * translated and looked at. Every packet that comes out translated has had its checksums compared with a full
 * recomputation done byte by byte here.
 *
 * Interfaces 11, 12 are tenant 1's, 21 is tenant 2's, 1 is the outside.
 */
#include <stdbool.h>
#include <stdint.h>
#include "frame.h"
#include "nat.h"
#include "objects.h"
#include "parse.h"

#define OUTSIDE 1u

struct end {
    uint8_t address[16];
    uint16_t port; /* or ICMP identifier */
};

struct nat_fixture {
    struct nat *nat;
    struct nat_config *config;
    struct objects *objects;
    struct nat_context context;
};

/* What became of a packet. */
struct seen {
    enum dp_drop drop; /* DP_DROP_COUNT: translated */
    bool held;
    struct nat_outcome outcome;
    struct end source, destination;
    struct flat frame;
};

struct nat_fixture *nat_fixture_new(uint32_t sessions);
struct nat_fixture *nat_fixture_with(uint32_t sessions, void (*quiesce)(void)); /* of running workers */
void nat_fixture_free(struct nat_fixture *fixture);
void nat_fixture_commit(struct nat_fixture *fixture); /* the objects as they are now */
void nat_fixture_router(struct nat_fixture *fixture, uint32_t id, uint32_t limit, uint32_t guest_limit);
void nat_fixture_interface(struct nat_fixture *fixture, uint32_t port, uint32_t router);
void nat_fixture_address(struct nat_fixture *fixture, const char *address, unsigned first, unsigned last);
void nat_fixture_source(struct nat_fixture *fixture, uint32_t port, const char *address, uint32_t flags);
void nat_fixture_forward(struct nat_fixture *fixture, const char *address, unsigned proto, unsigned first,
                         unsigned last, uint32_t port, const char *inside, unsigned to_first);
void nat_fixture_one_to_one(struct nat_fixture *fixture, const char *address, uint32_t port,
                            const char *inside);
/* Tenants 1 and 2 behind 192.0.2.1, ports 10000..20000; committed. */
struct nat_fixture *nat_fixture_plain(void);

struct end end_of(const char *address, unsigned port);
struct end guest_end(unsigned guest, unsigned port); /* 10.0.0.0 + guest */
bool end_equal(struct end a, struct end b);

/* Frames with right checksums. payload: bytes. */
void frame_udp(struct flat *flat, struct end source, struct end destination, uint32_t payload);
void frame_tcp(struct flat *flat, struct end source, struct end destination, unsigned flags,
               uint32_t payload);
void frame_icmp(struct flat *flat, struct end source, struct end destination, unsigned type, unsigned code,
                unsigned identifier, uint32_t payload);
/* An ICMP error about `about`, of which the first `part` bytes of the IP packet are quoted. */
void frame_icmp_error(struct flat *flat, struct end source, struct end destination, unsigned type,
                      unsigned code, const struct flat *about, uint32_t part);
void frame_other(struct flat *flat, struct end source, struct end destination, unsigned proto,
                 uint32_t payload);
void frame_finish_udp(struct flat *flat);           /* the checksum of a UDP/IPv4 frame that was changed */
void frame_finish_ipv4(struct flat *flat);          /* the header checksum */
unsigned frame_pseudo_sum(const struct flat *flat); /* of an IPv4 frame */
/* All checksums of the frame (inner ones of ICMP errors where they can be told) are right. */
bool frame_checksums(const struct flat *flat);

struct seen outbound(struct nat_fixture *fixture, uint32_t port, const struct flat *flat);
struct seen inbound(struct nat_fixture *fixture, const struct flat *flat);
struct seen udp_out(struct nat_fixture *fixture, uint32_t port, struct end source, struct end destination);
struct seen udp_in(struct nat_fixture *fixture, struct end source, struct end destination);
struct seen tcp_out(struct nat_fixture *fixture, uint32_t port, struct end source, struct end destination,
                    unsigned flags);
struct seen tcp_in(struct nat_fixture *fixture, struct end source, struct end destination, unsigned flags);
/* Next fragment that was held; false: none. */
bool release_one(struct nat_fixture *fixture, struct seen *seen);
/* Time passes; wheels turn as workers would turn them. */
void pass(struct nat_fixture *fixture, uint32_t seconds);
uint32_t session_count(struct nat_fixture *fixture); /* as nat_sessions shows them */
struct dp_router_state router_state(struct nat_fixture *fixture, uint32_t router);
