/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * Workers only read: a bucket's chain is walked without a lock, an entry's one 64-bit value says where to
 * send or what to do instead. The control thread adds entries in front of a chain, changes values in place
 * (one store), and takes entries out of a chain at once but frees them after a grace period.
 *
 *      note RESOLVE                  answer                     REACHABLE_S, in use
 *   ------------------> incomplete ---------> usable, fresh ---------------------> usable, asked (unicast)
 *                          | TRIES                ^   |  not used for FORGET_S          |            | TRIES
 *                          v                      +---|------------ answer -------------+            v
 *                        failed --FAILED_S--> gone <--+                                         incomplete
 *
 * A worker that has a packet for an unknown neighbour hands it over (router_ring.c) and the packet waits
 * here, at most HELD_PER_NEIGHBOUR of them, HELD_MAX and HELD_BYTES in all, and for one port no more than is
 * left for the others: who scans a subnet has half of the room, and the next port still has its own. An
 * answer sends them on, in the order they came; after TRIES questions, one a second, they fail: the worker
 * drops them and reports it to their sources, as it does with packets that come in the FAILED_S after that. A
 * target is asked for at most once a second, however many packets want it.
 *
 * Only what was asked for is learned: an answer, or anybody's announcement, changes an entry that is there
 * and never adds one. So a flood of forged ARP fills nothing. Entries of a port are limited (NEIGHBOURS_MAX);
 * when they are used up, failed ones give way and others do not. Static neighbours are not here but in the
 * snapshot and always win.
 *
 * An interface whose neighbours the host's kernel knows (DP_INTERFACE_F_ASK_KERNEL) asks the controller
 * instead of the link; the answer is a static neighbour in the next configuration.
 */
#include "neighbour.h"

#include <errno.h>
#include <stdlib.h>
#include "router.h"

#define NEIGHBOURS_MAX     1024u /* of a port, without static ones */
#define HELD_PER_NEIGHBOUR 4u
#define HELD_MAX           1024u
#define HELD_BYTES         (4u << 20)
#define TRIES              3u
#define TRY_MS             1000u
#define REACHABLE_S        30u /* RFC 4861, 10: REACHABLE_TIME */
#define FRESH_S            15u
#define IN_USE_S           10u
#define FAILED_S           3u
#define FORGET_S           600u
#define WALK_MS            1000u
#define HELD_FRAME_MIN     60u

struct neighbour_held {
    struct neighbour_held *next;
    struct router_port *port; /* of the neighbour */
    uint32_t bytes;
    struct router_note note; /* its frame is as long as the packet */
};

static const struct neighbour_ops nowhere;

static struct {
    const struct neighbour_ops *ops;
    struct router_port *ports;
    struct neighbour *limbo; /* by list_next: out of their chains, some worker may still read them */
    unsigned held;
    uint64_t held_bytes;
    uint64_t next_walk_ms;
} table = {.ops = &nowhere};

/* Worker */

struct neighbour *neighbour_find(const struct router_port *port, const uint8_t address[16])
{
    unsigned bucket = neighbour_hash(address) & (NEIGHBOUR_BUCKETS - 1);
    struct neighbour *neighbour = __atomic_load_n(&port->buckets[bucket], __ATOMIC_ACQUIRE);
    while (neighbour && !address_equal(neighbour->address, address))
        neighbour = __atomic_load_n(&neighbour->next, __ATOMIC_ACQUIRE);
    return neighbour;
}

/* Control: entries */

static void generation_next(struct router_port *port)
{
    __atomic_store_n(&port->generation, port->generation + 1, __ATOMIC_RELEASE);
}

static void set_value(struct neighbour *neighbour, uint64_t value)
{
    uint64_t before = neighbour->value;
    __atomic_store_n(&neighbour->value, value, __ATOMIC_RELAXED);
    if (before & NEIGHBOUR_F_USABLE && (before ^ value) & (NEIGHBOUR_F_USABLE | NEIGHBOUR_MAC_MASK))
        generation_next(neighbour->port);
}

static struct neighbour *neighbour_add(struct router_port *port, const uint8_t address[16], uint32_t now_s)
{
    struct neighbour *neighbour = calloc(1, sizeof(*neighbour));
    if (!neighbour)
        return NULL;
    struct neighbour **bucket = &port->buckets[neighbour_hash(address) & (NEIGHBOUR_BUCKETS - 1)];
    memcpy(neighbour->address, address, 16);
    neighbour->port = port;
    neighbour->created_s = neighbour->used_s = now_s;
    neighbour->next = *bucket;
    neighbour->list_next = port->list;
    if (port->list)
        port->list->list_previous = neighbour;
    port->list = neighbour;
    port->count++;
    __atomic_store_n(bucket, neighbour, __ATOMIC_RELEASE);
    return neighbour;
}

static void held_free(struct neighbour_held *held)
{
    table.held--;
    table.held_bytes -= held->bytes;
    held->port->held--;
    held->port->held_bytes -= held->bytes;
    free(held);
}

/* Where a packet came in: its port, if it still is a router port of the configuration. */
static struct port *port_of(uint32_t id)
{
    const struct snapshot *snapshot = table.ops->snapshot();
    const struct ingress *ingress = snapshot ? snapshot->ingress[id] : NULL;
    return ingress && ingress->interface ? ingress->port : NULL;
}

/* Sends on what waits, or gives it back as failed. What finds no room stays for the next time. */
static void release(struct neighbour *neighbour, bool failed)
{
    while (neighbour->held) {
        struct neighbour_held *held = neighbour->held;
        struct port *port = port_of(held->note.in);
        if (port && table.ops->resume(port, &held->note, failed) == -EAGAIN)
            return;
        neighbour->held = held->next;
        neighbour->held_count--;
        held_free(held);
    }
}

static void discard(struct neighbour *neighbour)
{
    release(neighbour, true);
    while (neighbour->held) {
        struct neighbour_held *held = neighbour->held;
        neighbour->held = held->next;
        held_free(held);
    }
}

static void neighbour_remove(struct router_port *port, struct neighbour *neighbour)
{
    struct neighbour **link = &port->buckets[neighbour_hash(neighbour->address) & (NEIGHBOUR_BUCKETS - 1)];
    while (*link != neighbour)
        link = &(*link)->next;
    __atomic_store_n(link, neighbour->next, __ATOMIC_RELEASE);
    if (neighbour->value & NEIGHBOUR_F_USABLE)
        generation_next(port);
    if (neighbour->list_next)
        neighbour->list_next->list_previous = neighbour->list_previous;
    if (neighbour->list_previous)
        neighbour->list_previous->list_next = neighbour->list_next;
    else
        port->list = neighbour->list_next;
    port->count--;
    discard(neighbour);
    neighbour->list_next = table.limbo;
    table.limbo = neighbour;
}

static void empty_limbo(void)
{
    if (!table.limbo)
        return;
    table.ops->quiesce();
    while (table.limbo) {
        struct neighbour *neighbour = table.limbo;
        table.limbo = neighbour->list_next;
        free(neighbour);
    }
}

/* Control: questions */

static const struct interface *interface_of(const struct router_port *port)
{
    const struct snapshot *snapshot = table.ops->snapshot();
    const struct ingress *ingress = snapshot ? snapshot->ingress[port->port->config.id] : NULL;
    return ingress && ingress->port == port->port ? ingress->interface : NULL;
}

static void ask(struct router_port *port, struct neighbour *neighbour, uint64_t now_ms)
{
    const struct interface *interface = interface_of(port);
    uint8_t mac[6];
    bool known = neighbour->value & NEIGHBOUR_F_USABLE;
    memcpy(mac, &neighbour->value, 6);
    neighbour->asking = true;
    neighbour->tries++;
    neighbour->next_ms = now_ms + TRY_MS;
    if (!interface)
        return;
    if (interface->flags & DP_INTERFACE_F_ASK_KERNEL) {
        table.ops->ask(port->port->config.id, neighbour->address);
        return;
    }
    uint8_t frame[NEIGHBOUR_QUESTION_MAX];
    uint32_t size = neighbour_question(interface, neighbour->address, known ? mac : NULL, frame);
    table.ops->send(port->port, frame, size);
}

/* Control: notes of the workers */

static void confirm(struct neighbour *neighbour, const uint8_t mac[6], bool sure, uint64_t now_ms)
{
    uint64_t value = 0;
    uint32_t now_s = (uint32_t)(now_ms / 1000);
    memcpy(&value, mac, 6);
    neighbour->confirmed_s = sure ? now_s : now_s - REACHABLE_S;
    neighbour->asking = false;
    neighbour->tries = 0;
    set_value(neighbour, value | NEIGHBOUR_F_USABLE | (sure ? NEIGHBOUR_F_FRESH : 0));
    release(neighbour, false);
}

static void seen(struct router_port *port, const struct router_note *note, uint64_t now_ms)
{
    struct neighbour *neighbour = neighbour_find(port, note->address);
    uint64_t mac = 0;
    if (!neighbour)
        return;
    memcpy(&mac, note->mac, 6);
    bool usable = neighbour->value & NEIGHBOUR_F_USABLE;
    bool same = usable && (neighbour->value & NEIGHBOUR_MAC_MASK) == mac;
    if (!usable || (!same && note->override))
        confirm(neighbour, note->mac, note->solicited, now_ms);
    else if (same && note->solicited)
        confirm(neighbour, note->mac, true, now_ms);
}

static bool make_room(struct router_port *port)
{
    if (port->count < NEIGHBOURS_MAX)
        return true;
    for (struct neighbour *neighbour = port->list; neighbour; neighbour = neighbour->list_next)
        if (neighbour->value & NEIGHBOUR_F_FAILED) {
            neighbour_remove(port, neighbour);
            return true;
        }
    return false;
}

static bool held_add(struct router_port *port, struct neighbour *neighbour, const struct router_note *note)
{
    size_t bytes = offsetof(struct neighbour_held, note.frame) + note->size;
    if (bytes < sizeof(struct neighbour_held) - ROUTER_HELD_SIZE + HELD_FRAME_MIN)
        bytes = sizeof(struct neighbour_held) - ROUTER_HELD_SIZE + HELD_FRAME_MIN;
    if (neighbour->held_count >= HELD_PER_NEIGHBOUR || port->held + table.held >= HELD_MAX ||
        port->held_bytes + table.held_bytes + bytes > HELD_BYTES)
        return false;
    struct neighbour_held *held = malloc(bytes), **last = &neighbour->held;
    if (!held)
        return false;
    held->next = NULL;
    held->port = port;
    held->bytes = (uint32_t)bytes;
    memcpy(&held->note, note, offsetof(struct router_note, frame) + note->size);
    while (*last)
        last = &(*last)->next;
    *last = held;
    table.held++;
    table.held_bytes += bytes;
    port->held++;
    port->held_bytes += bytes;
    if (++neighbour->held_count == HELD_PER_NEIGHBOUR && !(neighbour->value & NEIGHBOUR_F_USABLE))
        set_value(neighbour, neighbour->value | NEIGHBOUR_F_WAITING);
    return true;
}

/* Gives a packet back that cannot wait. */
static void refuse(const struct router_note *note)
{
    struct port *port = port_of(note->in);
    if (port)
        table.ops->resume(port, note, true);
}

static void resolve(struct router_port *port, const struct router_note *note, uint64_t now_ms)
{
    const struct interface *interface = interface_of(port);
    struct neighbour *neighbour = neighbour_find(port, note->address);
    struct port *in = port_of(note->in);
    bool known = interface && interface_static(interface, note->address);
    if (known || (neighbour && neighbour->value & NEIGHBOUR_F_USABLE)) { /* answered meanwhile */
        if (in)
            table.ops->resume(in, note, false);
        return;
    }
    bool unknown = !neighbour;
    if (unknown && make_room(port))
        neighbour = neighbour_add(port, note->address, (uint32_t)(now_ms / 1000));
    if (!neighbour || neighbour->value & NEIGHBOUR_F_FAILED || !held_add(port, neighbour, note))
        refuse(note);
    if (neighbour && unknown)
        ask(port, neighbour, now_ms);
}

static struct router_port *router_port_of(uint32_t id)
{
    const struct port *port = port_of(id);
    return port ? port->private : NULL;
}

void neighbours_note(const struct router_note *note, uint64_t now_ms)
{
    struct router_port *port = router_port_of(note->port);
    if (note->kind == NOTE_SEEN && port)
        seen(port, note, now_ms);
    else if (note->kind == NOTE_RESOLVE && port)
        resolve(port, note, now_ms);
    else if (note->kind == NOTE_RESOLVE)
        refuse(note);
}

/* Control: time */

/* True: it is to go. */
static bool look_after(struct router_port *port, struct neighbour *neighbour, uint64_t now_ms)
{
    uint32_t now_s = (uint32_t)(now_ms / 1000);
    int32_t idle = (int32_t)(now_s - __atomic_load_n(&neighbour->used_s, __ATOMIC_RELAXED));
    bool usable = neighbour->value & NEIGHBOUR_F_USABLE;
    if (neighbour->value & NEIGHBOUR_F_FAILED) {
        release(neighbour, true);
        return now_ms >= neighbour->next_ms;
    }
    if (neighbour->asking) {
        if (now_ms < neighbour->next_ms)
            return false;
        if (neighbour->tries == TRIES && usable) { /* silent: ask everybody */
            neighbour->tries = 0;
            set_value(neighbour, 0);
        }
        if (neighbour->tries < TRIES) {
            ask(port, neighbour, now_ms);
            return false;
        }
        neighbour->asking = false;
        neighbour->next_ms = now_ms + FAILED_S * 1000;
        set_value(neighbour, NEIGHBOUR_F_FAILED);
        release(neighbour, true);
        return false;
    }
    uint32_t age = now_s - neighbour->confirmed_s;
    release(neighbour, false);
    if (age >= FRESH_S && neighbour->value & NEIGHBOUR_F_FRESH)
        set_value(neighbour, neighbour->value & ~NEIGHBOUR_F_FRESH);
    if (age >= REACHABLE_S && idle < (int32_t)IN_USE_S)
        ask(port, neighbour, now_ms);
    return age >= FORGET_S && idle >= (int32_t)FORGET_S;
}

void neighbours_tick(uint64_t now_ms)
{
    if (now_ms < table.next_walk_ms)
        return;
    table.next_walk_ms = now_ms + WALK_MS;
    for (struct router_port *port = table.ports; port; port = port->next)
        for (struct neighbour *neighbour = port->list, *next; neighbour; neighbour = next) {
            next = neighbour->list_next;
            if (look_after(port, neighbour, now_ms))
                neighbour_remove(port, neighbour);
        }
    empty_limbo();
}

void neighbours_changed(uint64_t now_ms)
{
    for (struct router_port *port = table.ports; port; port = port->next) {
        const struct interface *interface = interface_of(port);
        for (struct neighbour *neighbour = port->list, *next; neighbour; neighbour = next) {
            next = neighbour->list_next;
            bool is_static = interface && interface_static(interface, neighbour->address);
            if (is_static)
                release(neighbour, false);
            if (is_static || !interface)
                neighbour_remove(port, neighbour);
        }
    }
}

unsigned neighbours_held(void)
{
    return table.held;
}

/* Ports */

static int nowhere_send(struct port *port, const void *frame, uint32_t size)
{
    return -ENOTCONN;
}

static int nowhere_resume(struct port *port, const struct router_note *note, bool failed)
{
    return -ENOTCONN;
}

static void nowhere_ask(uint32_t port, const uint8_t address[16])
{
}

static void nowhere_quiesce(void)
{
}

static const struct snapshot *nowhere_snapshot(void)
{
    return NULL;
}

/* Before the workers start and after they have ended. */
static const struct neighbour_ops nowhere = {.send = nowhere_send,
                                             .resume = nowhere_resume,
                                             .ask = nowhere_ask,
                                             .quiesce = nowhere_quiesce,
                                             .snapshot = nowhere_snapshot};

void neighbours_init(const struct neighbour_ops *ops)
{
    table.ops = ops ? ops : &nowhere;
    table.next_walk_ms = 0;
}

void neighbours_port_add(struct router_port *port)
{
    port->next = table.ports;
    table.ports = port;
}

/* Packets that came in by the port and wait elsewhere: nobody is there to count them any more. */
static void forget_packets_of(uint32_t id)
{
    for (struct router_port *port = table.ports; port; port = port->next)
        for (struct neighbour *neighbour = port->list; neighbour; neighbour = neighbour->list_next)
            for (struct neighbour_held **link = &neighbour->held; *link;) {
                struct neighbour_held *held = *link;
                if (held->note.in != id) {
                    link = &held->next;
                    continue;
                }
                *link = held->next;
                neighbour->held_count--;
                held_free(held);
            }
}

void neighbours_port_remove(struct router_port *port)
{
    struct router_port **link = &table.ports;
    forget_packets_of(port->port->config.id);
    while (port->list)
        neighbour_remove(port, port->list);
    while (*link && *link != port)
        link = &(*link)->next;
    if (*link)
        *link = port->next;
    empty_limbo();
}

/* Dump */

static void read_static(const struct interface *interface, const struct static_neighbour *neighbour,
                        struct dp_neighbour_state *state)
{
    *state = (struct dp_neighbour_state){.port = interface->ingress->id, .is_static = 1, .reachable = 1};
    memcpy(state->address, neighbour->address, 16);
    memcpy(state->mac, &neighbour->mac, 6);
}

static void read_dynamic(const struct router_port *port, const struct neighbour *neighbour, uint32_t now_s,
                         struct dp_neighbour_state *state)
{
    *state = (struct dp_neighbour_state){.port = port->port->config.id};
    memcpy(state->address, neighbour->address, 16);
    state->reachable = (neighbour->value & NEIGHBOUR_F_USABLE) != 0;
    if (state->reachable)
        memcpy(state->mac, &neighbour->value, 6);
    state->age_s = now_s - (state->reachable ? neighbour->confirmed_s : neighbour->created_s);
}

size_t neighbours_read(uint64_t *cursor, uint32_t now_s, struct dp_neighbour_state *states, size_t capacity)
{
    const struct snapshot *snapshot = table.ops->snapshot();
    uint64_t at = 0;
    size_t count = 0;
    for (unsigned i = 0; snapshot && i < snapshot->interface_count; i++) {
        const struct interface *interface = &snapshot->interfaces[i];
        for (uint32_t slot = 0; slot <= interface->neighbour_mask && count < capacity; slot++)
            if (!address_is_zero(interface->neighbours[slot].address) && at++ >= *cursor)
                read_static(interface, &interface->neighbours[slot], &states[count++]);
    }
    for (const struct router_port *port = table.ports; port; port = port->next)
        for (const struct neighbour *neighbour = port->list; neighbour && count < capacity;
             neighbour = neighbour->list_next)
            if (at++ >= *cursor)
                read_dynamic(port, neighbour, now_s, &states[count++]);
    *cursor = count < capacity ? UINT64_MAX : *cursor + count;
    return count;
}
