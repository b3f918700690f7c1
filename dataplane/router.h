/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The router stage of a worker: frames that the L2 program delivers to router ports are routed, answered or
 * handed to the control thread here, and go back into the L2 program as frames from the router port of
 * another segment. Theory of operation in router.c.
 *
 * Threads: a stage belongs to one worker; its rings are shared with the control thread as router_ring says.
 */
#include <stdbool.h>
#include <stdint.h>
#include "flow_cache.h"
#include "neighbour.h"
#include "offload.h"
#include "parse.h"
#include "route.h"
#include "snapshot.h"

struct program;

#define ROUTER_QUEUE_MAX   192u  /* packets of one pass */
#define ROUTER_COPIES_MAX  64u   /* flooded frames, errors and answers of one round */
#define ROUTER_COPY_SIZE   1536u /* bytes: an ICMPv6 error of 1280 with its Ethernet header */
#define ROUTER_EMITS       8u    /* interfaces whose frames are collected at a time */
#define ROUTER_PASSES      8u    /* a packet may meet that many routers of this host in a row */
#define ROUTER_HELD_SIZE   9472u /* bytes of a packet that may wait for its neighbour: 9216 and headers */
#define ROUTER_NOTES       64u   /* power of two */
#define ROUTER_PUNTS       64u   /* power of two */
#define ROUTER_ERRORS_PPS  1000u /* ICMP errors and RSTs of one interface a second (RFC 1812, 4.3.2.8) */
#define ROUTER_RESOLVE_PPS 500u  /* packets of one source that may ask for a neighbour a second */

struct static_neighbour {
    uint8_t address[16]; /* all zero: free */
    uint64_t mac;        /* as it lies in memory, 48 bits */
};

/* A router interface as configured; part of the snapshot. */
struct interface {
    struct ingress *ingress; /* its port, where its frames come from */
    uint32_t id;             /* the port's */
    struct router *router;
    uint32_t flags; /* DP_INTERFACE_F_* */
    uint32_t mtu;   /* bytes of L3 packet */
    uint8_t mac[6];
    uint8_t ipv4_length, ipv6_length; /* prefix lengths as in dp_interface */
    uint8_t ipv4[16];                 /* all zero: none */
    uint8_t ipv6[16];
    uint8_t link_local[16];
    /* Where the tenant's interface is translated to: [0] IPv6, [1] IPv4; NULL: not at all. */
    const struct interface *outside[2];
    uint32_t neighbour_mask; /* slots - 1 */
    struct static_neighbour *neighbours;
};

/* A tenant's router; or an outside interface with its own routes: several uplinks are several outsides. */
struct router {
    uint32_t id; /* tenant; 0: outside */
    struct route_table *ipv4, *ipv6;
};

static inline struct router_port *interface_port(const struct interface *interface)
{
    return interface->ingress->port->private;
}

/* A static neighbour's MAC; 0: none. */
uint64_t interface_static(const struct interface *interface, const uint8_t address[16]);

/* Part of compile(): routers, interfaces, static neighbours and routes. 0 or -ENOMEM */
struct objects;
int compile_routers(struct snapshot *snapshot, const struct objects *objects);
void routers_free(struct snapshot *snapshot);

#define ROUTED_F_FLOODED 1u /* a copy of a flooded frame */
#define ROUTED_F_FAILED  2u /* waited in vain for its neighbour: to be dropped and reported */
#define ROUTED_F_TRANSLATED                                                                                  \
    4u /* came from outside and is translated already: route it in the tenant's router */

/* A packet in the stage. */
struct routed {
    struct packet *packet;
    uint32_t port;  /* router port it came in by */
    uint32_t inner; /* ROUTED_F_TRANSLATED: the tenant's interface it was translated for */
    uint32_t from;  /* port that it came from in its segment; 0: a router */
    uint32_t flags; /* ROUTED_F_* */
    const struct interface *in;
    struct frame_info info;
    uint32_t size; /* bytes as received */
    /* router_flow.c */
    struct flow_key key;                  /* meta 0: none, so nothing is noted of what becomes of it */
    uint64_t hash;                        /* of the key */
    struct flow_entry *entry;             /* NULL: none */
    uint32_t session, session_generation; /* it was translated by; 0: none */
    uint32_t neighbours;                  /* generation of the way out, before the neighbour was looked up */
};

enum router_note_kind { NOTE_RESOLVE = 1, NOTE_SEEN };

/* From a worker to the control thread: a packet that must wait for its neighbour, or a neighbour's answer. */
struct router_note {
    uint32_t kind; /* enum router_note_kind */
    uint32_t port; /* of the neighbour's interface */
    uint8_t address[16];
    uint8_t mac[6]; /* SEEN */
    bool solicited; /* SEEN: it answers a question (ND: the flag, ARP: a reply) */
    bool override;  /* SEEN: ND's flag; ARP: always */
    /* RESOLVE: the packet as it is to go on */
    uint32_t in, inner, from, flags; /* struct routed */
    uint32_t size;
    uint8_t packet_flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
    uint8_t frame[ROUTER_HELD_SIZE];
};

/* From a worker to the controller. */
struct router_punt {
    struct dp_punt header;
    uint8_t frame[DP_PUNT_FRAME_MAX];
};

struct router_rings {
    uint32_t note_head __attribute__((aligned(64))); /* worker: w */
    uint32_t punt_head;
    uint32_t note_tail __attribute__((aligned(64))); /* control: w */
    uint32_t punt_tail;
    bool channel; /* control: w: somebody is at the punt channel's other end */
    struct router_note notes[ROUTER_NOTES];
    struct router_punt punts[ROUTER_PUNTS];
};

struct router_copy {
    struct packet packet;
    struct packet_span span;
    uint8_t memory[PACKET_HEADROOM + ROUTER_COPY_SIZE] __attribute__((aligned(64)));
};

/* Frames that leave by one interface, collected for one call of the L2 program. */
struct router_emit {
    const struct interface *out;
    unsigned count;
    struct packet *packets[PACKET_VECTOR_MAX];
};

struct router_piece {
    struct packet packet;
    struct packet_span spans[PACKET_SPANS_MAX];
    uint8_t memory[PACKET_HEADROOM + 2 * PACKET_HEADER_MAX] __attribute__((aligned(64)));
};

/* The way out of the flow that was followed last: most of a batch leave by one. */
struct router_exit {
    uint32_t id;              /* of its port; 0: none */
    uint32_t mtu, neighbours; /* the interface's, router_port.generation */
    const struct interface *out;
};

struct router_stage {
    unsigned count; /* of the queue */
    unsigned copies_used;
    unsigned emit_count;
    /* Packets taken at one port that are not in its counters yet: most of a batch came in by one. */
    uint32_t taken_port;
    uint32_t taken_count;
    uint64_t taken_bytes;
    bool told;                                 /* something was put into a ring in this round */
    int wake_fd;                               /* of the control thread; -1: none */
    uint64_t error_interval, resolve_interval; /* TSC cycles, storm_interval() */
    uint16_t ipv4_id;                          /* of what the router sends itself */
    struct routed *queue, *working;            /* ROUTER_QUEUE_MAX each */
    struct router_copy *copies;                /* ROUTER_COPIES_MAX */
    struct router_emit emits[ROUTER_EMITS];
    struct router_piece *piece; /* the fragment that is being sent */
    struct segmenter *segmenter;
    struct router_rings *rings;
    void *rings_memory;
    struct flow_cache *flows; /* NULL: none; control: w (release), worker: r (acquire) */
    struct router_exit exit;  /* of this pass */
    uint64_t (*addresses)[4]; /* ROUTER_QUEUE_MAX, of IPv6 packets as they came */
};

/* wake_fd: an eventfd that is written when the rings have something for the control thread; -1: it looks by
 * itself. NULL and ENOMEM */
struct router_stage *router_stage_new(int wake_fd);
void router_stage_free(struct router_stage *stage);
/* control: before the first snapshot with router interfaces is published. Without memory there is no flow
 * cache. */
void router_stage_prepare(struct router_stage *stage);

/* control: packets that the flow cache knew, and others */
void router_stage_flows(const struct router_stage *stage, uint64_t *hits, uint64_t *misses);

/* Handles what is queued: after the L2 program has sent the frames of a reception, before rx_done. `from`:
 * the port they came from. */
void router_run(struct program *program, uint32_t from);
/* A packet that waited (router_note) goes on as if it came in by the router port `ingress` again. */
void router_resume(struct program *program, struct packet *packet, const struct router_note *note,
                   bool failed);

/* For the stage's other files. */

/* Counts the packet at the interface's port as taken, or dropped for a reason. */
void router_taken(struct program *program, const struct routed *routed);
void router_drop(struct program *program, const struct routed *routed, enum dp_drop reason);
/* Sends a frame, complete with its Ethernet header, into the interface's segment, at the end of this pass at
 * the latest. */
void router_emit(struct program *program, const struct interface *out, struct packet *packet);
/* Sends what was emitted so far. */
void router_flush(struct program *program);
/* A packet of the stage's own with room for `size` bytes, empty; NULL: none is left in this round. */
struct packet *router_copy(struct router_stage *stage, uint32_t size);
/* Sets size, private bytes and span of such a packet. */
void router_copy_finish(struct packet *packet, uint32_t size);
/* At most ROUTER_ERRORS_PPS. */
bool router_error_allowed(const struct program *program, const struct interface *in);
/* Exchanges Ethernet addresses: back to whom it came from. */
void router_turn(struct packet *packet, const struct interface *in);
/* The frame's bytes in one piece. False: more than `capacity`. */
bool router_flatten(const struct packet *packet, uint8_t *bytes, uint32_t capacity);
/* The next hop of a packet. */
struct router_way {
    const struct interface *out;
    const uint8_t *hop; /* 16 bytes */
};
/* router_forward.c */
void router_forward_ipv4(struct program *program, struct routed *routed);
void router_forward_ipv6(struct program *program, struct routed *routed);

/* router_local.c */
void router_arp(struct program *program, struct routed *routed);
void router_local_ipv4(struct program *program, struct routed *routed);
void router_local_ipv6(struct program *program, struct routed *routed);
/* Frames of groups: DHCP, DNS, neighbour discovery. */
void router_group_ipv4(struct program *program, struct routed *routed);
void router_group_ipv6(struct program *program, struct routed *routed);
/* router_nd.c: ICMPv6 at one of the interface's addresses or groups. False: none of neighbour discovery. */
bool router_nd(struct program *program, struct routed *routed);
/* router_ring.c: to the controller. False: the ring is full or nobody is there. */
bool router_punt(struct program *program, struct routed *routed, enum dp_punt_reason reason);
