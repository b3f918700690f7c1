/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Neighbours of router interfaces: who has which IP address on an interface's link. Static ones are part of
 * the snapshot (struct interface), the others are found by ARP (RFC 826) and neighbour discovery (RFC 4861),
 * or asked of the controller. Theory of operation in neighbour.c.
 *
 * Threads: neighbour_find, neighbour_value and neighbour_use: worker. Everything else: control.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dataplane_api.h"
#include "neighbour_quota.h"

struct event_base;
struct interface;
struct port;
struct router_note;
struct snapshot;

/* neighbour.value: MAC address (as it lies in memory, 48 bits), and above it what a worker may do. */
#define NEIGHBOUR_MAC_MASK  UINT64_C(0xffffffffffff)
#define NEIGHBOUR_F_USABLE  (UINT64_C(1) << 48) /* send there */
#define NEIGHBOUR_F_WAITING (UINT64_C(1) << 49) /* asked for: no more packets may wait for it */
#define NEIGHBOUR_F_FAILED  (UINT64_C(1) << 50) /* did not answer */
#define NEIGHBOUR_F_FRESH   (UINT64_C(1) << 51) /* confirmed a moment ago: an answer says nothing new */

#define NEIGHBOUR_BUCKETS 256u /* a port, power of two */

struct neighbour {
    struct neighbour *next; /* of the bucket; control: w, worker: r (acquire) */
    uint8_t address[16];
    uint64_t value;  /* control: w, worker: r (relaxed) */
    uint32_t used_s; /* worker: w (relaxed), control: r */
    /* control */
    uint32_t confirmed_s;
    uint32_t created_s;
    uint64_t next_ms; /* of the next question */
    uint8_t tries;
    bool asking;
    uint8_t held_count;
    struct router_port *port;
    struct quota_item item;                      /* whose packet asked for it first; of the port's quota */
    struct neighbour *list_next, *list_previous; /* of the port */
    struct neighbour_held *held;                 /* packets that wait */
};

/* What a router port keeps over commits; port->private. */
struct router_port {
    struct neighbour *buckets[NEIGHBOUR_BUCKETS]; /* control: w (release), worker: r */
    struct neighbour *list;                       /* control: all of them */
    struct quota quota;                           /* control: of entries */
    uint64_t error_time;                          /* ICMP errors: see storm.h; workers: rw (atomic) */
    struct port *port;
    struct router_port *next; /* control: list of all */
    /* Changes after a neighbour that was usable got another MAC address, or is not any more. control: w
     * (release), worker: r (acquire; before it looks the neighbour up) */
    uint32_t generation;
} __attribute__((aligned(64)));

/* Both halves of the product: the last bytes of an address, in which neighbours differ, are the highest ones
 * of the second word and do not reach the lower half's low bits. */
static inline uint32_t neighbour_hash(const uint8_t address[16])
{
    uint64_t words[2];
    __builtin_memcpy(words, address, sizeof(words));
    unsigned __int128 product = (unsigned __int128)(words[0] * UINT64_C(0xd6e8feb86659fd93) ^ words[1]) *
                                UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64));
}

struct neighbour *neighbour_find(const struct router_port *port, const uint8_t address[16]);

static inline uint64_t neighbour_value(const struct neighbour *neighbour)
{
    return __atomic_load_n(&neighbour->value, __ATOMIC_RELAXED);
}

/* The neighbour was sent to: keeps it from being forgotten. */
static inline void neighbour_use(struct neighbour *neighbour, uint32_t now_s)
{
    if (__atomic_load_n(&neighbour->used_s, __ATOMIC_RELAXED) != now_s)
        __atomic_store_n(&neighbour->used_s, now_s, __ATOMIC_RELAXED);
}

/* What the neighbours need of the process. */
struct neighbour_ops {
    /* A frame as if received from the router port. 0 or -errno */
    int (*send)(struct port *port, const void *frame, uint32_t size);
    /* A packet that waited goes on (or fails) where it came in. */
    int (*resume)(struct port *port, const struct router_note *note, bool failed);
    /* Asks the controller for a neighbour. */
    void (*ask)(uint32_t port, const uint8_t address[16]);
    /* A grace period of the workers. */
    void (*quiesce)(void);
    /* The published snapshot. */
    const struct snapshot *(*snapshot)(void);
};

/* neighbour_question.c. The frame (NEIGHBOUR_QUESTION_MAX bytes of room) that asks who has the address:
 * everybody, or (mac not NULL) who had it. Returns its size. Control. */
#define NEIGHBOUR_QUESTION_MAX (14u + 40u + 32u)
uint32_t neighbour_question(const struct interface *interface, const uint8_t target[16], const uint8_t *mac,
                            uint8_t *frame);

void neighbours_init(const struct neighbour_ops *ops); /* NULL: forgets what waits */
/* port_router.c: a router port comes, goes (after its grace period). */
void neighbours_port_add(struct router_port *port);
void neighbours_port_remove(struct router_port *port);
/* A worker's note: a packet that has to wait, an answer. now: CLOCK_MONOTONIC, ms */
void neighbours_note(const struct router_note *note, uint64_t now_ms);
/* About every 100 ms. */
void neighbours_tick(uint64_t now_ms);
/* After a configuration was published: packets that wait for what is static now go on, and neighbours of
 * addresses that are none any more are forgotten. */
void neighbours_changed(uint64_t now_ms);
/* neighbour_held.c: packets that wait now. */
unsigned neighbours_held(void);
/* neighbour_read.c. Dump: from *cursor on, static ones of the snapshot first. Returns how many; sets *cursor
 * to UINT64_MAX at the end. */
size_t neighbours_read(uint64_t *cursor, uint32_t now_s, struct dp_neighbour_state *states, size_t capacity);
