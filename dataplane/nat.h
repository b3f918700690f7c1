/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Address translation of sessions (NAPT, RFC 2663; behaviour: RFC 4787 UDP, RFC 5382 TCP, RFC 5508 ICMP).
 * The router calls it for a packet that is routed from a tenant's interface to the outside, and for one from
 * the outside to an address that is translated. It knows nothing of routes and neighbours.
 *
 * Threads: "control" makes and frees tables and reads sessions; "worker" translates. The session table is
 * shared by all workers: a packet of a session may come to any of them.
 *
 * A packet is parsed (parse_l2 and parse_l3) and rewritten in place in its private bytes. Offload requests
 * stay true: the checksum field of a packet with VNET_F_NEEDS_CSUM holds the pseudo header's sum and is
 * corrected for addresses only, a complete one for addresses and ports (RFC 1624). TSO frames pass whole.
 */
#include <stdbool.h>
#include <stdint.h>
#include "dataplane_api.h"
#include "parse.h"

#define NAT_SESSIONS_MAX  (1u << 24)
#define NAT_RELEASE_SPANS 8u

struct nat;        /* all sessions of the process; lives as long as it does */
struct nat_config; /* immutable, part of a snapshot: the NAT_* objects and limits, compiled */
struct objects;

/* control. Table sizes grow with use up to `sessions` in all (at most NAT_SESSIONS_MAX); `first`: sessions
 * there is memory for with the first configuration that translates, if four times as many huge pages are
 * free, 131,072 otherwise. quiesce: waits for a grace period of the workers. NULL and errno */
struct nat *nat_new(uint32_t sessions, uint32_t first, void (*quiesce)(void));
void nat_free(struct nat *nat);

/* control, about every 100 ms: prepares memory before workers need it (they never allocate), expires sessions
 * of workers that sleep. now_s: CLOCK_MONOTONIC. A few milliseconds at most, except when memory is zeroed. */
void nat_maintain(struct nat *nat, uint32_t now_s);

/* control: NULL and errno; the objects have passed objects_check() */
struct nat_config *nat_config_new(struct nat *nat, const struct objects *objects);
void nat_config_free(struct nat_config *config);
/* control: after a configuration was published and the grace period is over: ends the sessions that it does
 * not allow any more (interface, address, forward or 1:1 address gone). */
void nat_config_changed(struct nat *nat, const struct nat_config *config);

/* What the worker lends for a round. */
struct nat_context {
    struct nat *nat;
    const struct nat_config *config;
    unsigned worker;
    uint32_t now_s; /* CLOCK_MONOTONIC, seconds */
};

/* Of nat_outbound and nat_inbound; of nat_release as of the call that held the fragment. */
struct nat_outcome {
    uint32_t outside; /* outbound: outside interface (port id). inbound: the tenant's interface to go to */
    uint32_t router;  /* inbound: its tenant; outbound: 0 */
    /* Of a packet that is no fragment: its own session (nat_flow.h); 0: an ICMP error. */
    uint32_t session, session_generation;
};

/*
 * worker. Brings a session nearer before nat_outbound (`port`: the tenant's interface) or nat_inbound (the
 * outside interface) is called for the packet, so that the cache misses of a batch overlap. First for every
 * packet of the batch nat_prefetch, then for every one nat_prefetch_session with what the first returned; if
 * that says that there is no session (it may be wrong) and the packet is outbound, then nat_prefetch_new with
 * the same; if there were such packets, then once nat_prefetch_ports. They change nothing that anybody sees,
 * and are right for any parsed IP packet.
 */
uint64_t nat_prefetch(const struct nat_context *context, uint32_t port, bool outbound,
                      const struct packet *packet, const struct frame_info *info);
bool nat_prefetch_session(const struct nat_context *context, uint64_t hash);
void nat_prefetch_new(const struct nat_context *context, uint32_t port, const struct packet *packet,
                      const struct frame_info *info, uint64_t hash);
void nat_prefetch_ports(const struct nat_context *context);

/* worker. Is the tenant's interface translated (is there a NAT_SOURCE or ONE_TO_ONE)? */
bool nat_serves(const struct nat_config *config, uint32_t port);
/* worker. Is the outside address one of a guest's own (1:1)? */
bool nat_is_one_to_one(const struct nat_config *config, uint32_t outside, const uint8_t address[16]);
/* worker. DP_DROP_NAT_TABLE_FULL will pass: the table has not all the memory that it may have. */
bool nat_grows(const struct nat *nat);
/* worker. Does a packet from the outside interface to this address belong to nat_inbound (a NAT_ADDRESS, 1:1
 * address or forward has it)? `answer`: ARP and neighbour solicitations for it are to be answered. */
bool nat_has_address(const struct nat_config *config, uint32_t outside, const uint8_t address[16],
                     bool *answer);

/*
 * worker. From the tenant's interface `port` to the outside. DP_DROP_COUNT: translated; destination and
 * remote port are unchanged, so the caller routes by the destination as before; if that is an address of
 * nat_has_address, the packet is to be given to nat_inbound next (hairpin, RFC 4787 REQ-9).
 * DP_DROP_NAT_*: drop. Fragments: a later one follows its first; one that comes before it is copied aside
 * (bounded) and `*held` is true (then it is neither dropped nor to be sent); nat_release gives them back.
 */
enum dp_drop nat_outbound(const struct nat_context *context, uint32_t port, struct packet *packet,
                          struct frame_info *info, struct nat_outcome *outcome, bool *held);
/* worker. From the outside interface `outside` to one of its translated addresses. */
enum dp_drop nat_inbound(const struct nat_context *context, uint32_t outside, struct packet *packet,
                         struct frame_info *info, struct nat_outcome *outcome, bool *held);
/* worker. After a first fragment was translated: the fragments of its datagram that were held, translated,
 * one a call: a copy in `packet` (its private bytes in packet->buffer; the rest in at most NAT_RELEASE_SPANS
 * of packet->spans, which are valid until the next call). False: no more. */
bool nat_release(const struct nat_context *context, struct packet *packet, struct nat_outcome *outcome);

/* worker: once a round with nothing else to do and at least once a second: expires sessions, a bounded number
 * a call. */
void nat_tick(const struct nat_context *context);

/* control: sessions, `count` at most, from *cursor (0 at first) on. Returns how many; 0: no more. */
unsigned nat_sessions(const struct nat *nat, uint64_t *cursor, uint32_t now_s, struct dp_session *sessions,
                      unsigned count);
void nat_router_state(const struct nat *nat, uint32_t router, struct dp_router_state *state);
void nat_address_state(const struct nat *nat, const struct dp_nat_address *address,
                       struct dp_nat_address_state *state);
