/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the files of the router stage share; nobody else includes it.
 *
 * Threads: worker.
 */
#include "program.h"
#include "router.h"

/* The neighbour's MAC; 0: the packet was dropped or waits, and is accounted for. */
uint64_t router_neighbour(struct program *program, struct routed *routed, const struct router_way *way);
/* The same without consequences; 0: not known now. */
uint64_t router_neighbour_known(struct program *program, const struct router_way *way);
/* From an isolated port back into its segment: not by this detour either. */
static inline bool router_turns_isolated(const struct program *program, const struct routed *routed,
                                         const struct interface *out)
{
    if (__builtin_expect(out != routed->in || !routed->from, 1))
        return false;
    const struct ingress *from = program->snapshot->ingress[routed->from];
    return from && from->flags & DP_PORT_F_ISOLATED;
}
/* False: dropped. `router`: whose packet it is. */
bool router_may_leave(struct program *program, const struct routed *routed, const struct router *router,
                      const struct interface *out);
/* router_forward.c. False: dropped and reported. A route there is and it may be used, hops are left; hops are
 * left; the size is no more than the interface's, or *fragment. */
bool router_route_usable(struct program *program, struct routed *routed, const struct route *route);
bool router_hops_left(struct program *program, struct routed *routed);
bool router_size_fits(struct program *program, struct routed *routed, const struct interface *out,
                      bool *fragment);
/* From the router's table on. */
void router_deliver(struct program *program, struct routed *routed, const struct router *router,
                    const uint8_t destination[16]);
/* From the route on, which was found for the destination; NULL: none. */
void router_follow(struct program *program, struct routed *routed, const struct router *router,
                   const uint8_t destination[16], const struct route *route);
/* Everything is known: accounts for the packet and sends it, in pieces if it must. */
void router_leave(struct program *program, struct routed *routed, const struct interface *out, uint64_t mac,
                  bool fragment);
/* router_nat.c: a packet to the outside, where the tenant's router knows no way; one from the outside; one
 * that was translated already, and waited. */
void router_nat_outbound(struct program *program, struct routed *routed, const uint8_t destination[16]);
void router_nat_inbound(struct program *program, struct routed *routed, const uint8_t destination[16]);
void router_nat_resumed(struct program *program, struct routed *routed);
/* An ICMP error about a packet that was translated, to who sent it. */
void router_nat_error(struct program *program, const struct routed *about, struct packet *packet);
/* The outside interface answers ARP and neighbour solicitations for the translated address. */
bool router_nat_answers(const struct program *program, const struct interface *in, const uint8_t address[16]);
/* Brings sessions of packets that will be translated nearer. */
void router_nat_prefetch(struct program *program, struct routed *working, unsigned count);
/* router_flow.c */
/* Before the pass: what is likely to be `entry` of each packet; `in` and info.l3_end of those that have a
 * key. Returns how many have an entry. */
unsigned router_flow_find(struct program *program, struct routed *working, unsigned count);
/* Fills `info` of a packet that has a key with a protocol: all of it was looked at for the key. */
void router_flow_parsed(struct routed *routed);
/* Does with a packet what was done with the last one of its flow. False: it is as it came. */
bool router_flow_follow(struct program *program, struct routed *routed);
/* Counts packets that entries were followed for, and the others. */
void router_flow_counted(struct program *program, unsigned hits, unsigned misses);
/* Notes what is about to be done with the packet: it leaves `out` for `mac`. */
void router_flow_note(struct program *program, struct routed *routed, const struct interface *out,
                      uint64_t mac);
/* router_local.c */
void router_echo(struct program *program, struct routed *routed);
/* ip_fragment.c: sends a packet whose memory is used again right after. */
void router_send_piece(struct program *program, const struct interface *out, struct packet *piece,
                       uint64_t mac);
/* Ethernet header, hop count, and out of the interface. */
void router_send(struct program *program, const struct interface *out, struct packet *packet, uint64_t mac);
/* router_local.c: `address` says it has `mac`: told to the control thread if it is a neighbour of ours. */
void router_seen(struct program *program, const struct routed *routed, const uint8_t address[16],
                 const uint8_t mac[6], bool solicited, bool override);
/* router_ring.c: wakes the control thread for what was put into the rings. */
void router_tell(struct router_stage *stage);

/* A place in the ring of notes; NULL: it is full. router_note_put publishes it. */
struct router_note *router_note_get(struct router_stage *stage);
void router_note_put(struct router_stage *stage);
