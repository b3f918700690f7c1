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
 * (neighbour_held.c). An answer sends what waits on, in the order it came; after TRIES questions, one a
 * second, it fails: the worker drops it and reports it to its source, as it does with packets that come in
 * the FAILED_S after that. A target is asked for at most once a second, however many packets want it.
 *
 * Only what was asked for is learned: an answer, or anybody's announcement, changes an entry that is there
 * and never adds one. So a flood of forged ARP fills nothing. Entries of a port are limited (NEIGHBOURS_MAX)
 * and belong to the source, a port of a tenant, whose packet asked first. When they are used up, failed ones
 * give way, then those of whoever has the most (neighbour_quota.c): one that waits for its answer, or else
 * the one that was longest not sent to. So who scans a network that is on the link, or has somebody there
 * answer for all of it, takes nothing from others. Static neighbours are not here but in the snapshot and
 * always win.
 *
 * An interface whose neighbours the host's kernel knows (DP_INTERFACE_F_ASK_KERNEL) asks the controller
 * instead of the link; the answer is a static neighbour in the next configuration. It has room for ASKED_MAX
 * entries only: the kernel's own table is small (neigh/default/gc_thresh3, 1024), and the host's as well.
 */
#include "neighbour.h"

#include <errno.h>
#include <stdlib.h>
#include "neighbour_private.h"
#include "router.h"

#define NEIGHBOURS_MAX 1024u /* of a port, without static ones */
#define ASKED_MAX      256u  /* of a port whose neighbours the kernel is asked for */
#define TRIES          3u
#define TRY_MS         1000u
#define REACHABLE_S    30u /* RFC 4861, 10: REACHABLE_TIME */
#define FRESH_S        15u
#define IN_USE_S       10u
#define FAILED_S       3u
#define FORGET_S       600u
#define WALK_MS        1000u

static const struct neighbour_ops nowhere;

struct neighbour_table neighbour_table = {.ops = &nowhere};

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

static struct neighbour *neighbour_add(struct router_port *port, const uint8_t address[16],
                                       struct quota_source source, uint32_t now_s)
{
    struct neighbour *neighbour = calloc(1, sizeof(*neighbour));
    if (!neighbour || quota_charge(&port->quota, source, &neighbour->item, 1)) {
        free(neighbour);
        return NULL;
    }
    struct neighbour **bucket = &port->buckets[neighbour_hash(address) & (NEIGHBOUR_BUCKETS - 1)];
    memcpy(neighbour->address, address, 16);
    neighbour->port = port;
    neighbour->created_s = neighbour->used_s = now_s;
    neighbour->next = *bucket;
    neighbour->list_next = port->list;
    if (port->list)
        port->list->list_previous = neighbour;
    port->list = neighbour;
    __atomic_store_n(bucket, neighbour, __ATOMIC_RELEASE);
    return neighbour;
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
    quota_release(&port->quota, &neighbour->item);
    neighbour_discard(neighbour);
    neighbour->list_next = neighbour_table.limbo;
    neighbour_table.limbo = neighbour;
}

static void empty_limbo(void)
{
    if (!neighbour_table.limbo)
        return;
    neighbour_table.ops->quiesce();
    while (neighbour_table.limbo) {
        struct neighbour *neighbour = neighbour_table.limbo;
        neighbour_table.limbo = neighbour->list_next;
        free(neighbour);
    }
}

/* Control: questions */

static const struct interface *interface_of(const struct router_port *port)
{
    const struct snapshot *snapshot = neighbour_table.ops->snapshot();
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
        neighbour_table.ops->ask(port->port->config.id, neighbour->address);
        return;
    }
    uint8_t frame[NEIGHBOUR_QUESTION_MAX];
    uint32_t size = neighbour_question(interface, neighbour->address, known ? mac : NULL, frame);
    neighbour_table.ops->send(port->port, frame, size);
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
    neighbour_release(neighbour, false);
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

static struct neighbour *neighbour_of(struct quota_item *item)
{
    return (struct neighbour *)((uint8_t *)item - offsetof(struct neighbour, item));
}

/* The rather to be given up of two. */
static struct neighbour *lesser(struct neighbour *one, struct neighbour *other)
{
    bool one_usable = one->value & NEIGHBOUR_F_USABLE, other_usable = other->value & NEIGHBOUR_F_USABLE;
    if (!one_usable || !other_usable)
        return one_usable ? other : one;
    uint32_t one_s = __atomic_load_n(&one->used_s, __ATOMIC_RELAXED);
    uint32_t other_s = __atomic_load_n(&other->used_s, __ATOMIC_RELAXED);
    return (int32_t)(one_s - other_s) > 0 ? other : one;
}

/* What goes for a new entry of the source; NULL: nothing. */
static struct neighbour *to_give_up(const struct router_port *port, struct quota_source source)
{
    for (struct neighbour *neighbour = port->list; neighbour; neighbour = neighbour->list_next)
        if (neighbour->value & NEIGHBOUR_F_FAILED)
            return neighbour;
    struct quota_item *item = quota_claim(&port->quota, source, 1);
    struct neighbour *found = item ? neighbour_of(item) : NULL;
    for (; item; item = item->newer)
        found = lesser(found, neighbour_of(item));
    return found;
}

static bool make_room(struct router_port *port, struct quota_source source)
{
    if (port->quota.used < port->quota.room)
        return true;
    struct neighbour *neighbour = to_give_up(port, source);
    if (neighbour)
        neighbour_remove(port, neighbour);
    return neighbour;
}

/* A packet that came from outside for a tenant's guest is the tenant's. */
static struct quota_source source_of(const struct router_note *note)
{
    const struct snapshot *snapshot = neighbour_table.ops->snapshot();
    const struct ingress *in = snapshot ? snapshot->ingress[note->in] : NULL;
    const struct ingress *inner = snapshot ? snapshot->ingress[note->inner] : NULL;
    uint32_t tenant = in && in->interface ? in->interface->router->id : 0;
    if (tenant == 0 && inner && inner->interface)
        tenant = inner->interface->router->id;
    return (struct quota_source){tenant, note->from};
}

/* Gives a packet back that cannot wait. */
static void refuse(const struct router_note *note)
{
    struct port *port = neighbour_port_of(note->in);
    if (port)
        neighbour_table.ops->resume(port, note, true);
}

static void resolve(struct router_port *port, const struct router_note *note, uint64_t now_ms)
{
    const struct interface *interface = interface_of(port);
    struct neighbour *neighbour = neighbour_find(port, note->address);
    struct port *in = neighbour_port_of(note->in);
    bool known = interface && interface_static(interface, note->address);
    if (known || (neighbour && neighbour->value & NEIGHBOUR_F_USABLE)) { /* answered meanwhile */
        if (in)
            neighbour_table.ops->resume(in, note, false);
        return;
    }
    bool unknown = !neighbour;
    struct quota_source source = source_of(note);
    port->quota.room = interface && interface->flags & DP_INTERFACE_F_ASK_KERNEL ? ASKED_MAX : NEIGHBOURS_MAX;
    if (unknown && make_room(port, source))
        neighbour = neighbour_add(port, note->address, source, (uint32_t)(now_ms / 1000));
    if (!neighbour || neighbour->value & NEIGHBOUR_F_FAILED || !neighbour_hold(neighbour, note, source))
        refuse(note);
    if (neighbour && unknown)
        ask(port, neighbour, now_ms);
}

static struct router_port *router_port_of(uint32_t id)
{
    const struct port *port = neighbour_port_of(id);
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
        neighbour_release(neighbour, true);
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
        neighbour_release(neighbour, true);
        return false;
    }
    uint32_t age = now_s - neighbour->confirmed_s;
    neighbour_release(neighbour, false);
    if (age >= FRESH_S && neighbour->value & NEIGHBOUR_F_FRESH)
        set_value(neighbour, neighbour->value & ~NEIGHBOUR_F_FRESH);
    if (age >= REACHABLE_S && idle < (int32_t)IN_USE_S)
        ask(port, neighbour, now_ms);
    return age >= FORGET_S && idle >= (int32_t)FORGET_S;
}

void neighbours_tick(uint64_t now_ms)
{
    if (now_ms < neighbour_table.next_walk_ms)
        return;
    neighbour_table.next_walk_ms = now_ms + WALK_MS;
    for (struct router_port *port = neighbour_table.ports; port; port = port->next)
        for (struct neighbour *neighbour = port->list, *next; neighbour; neighbour = next) {
            next = neighbour->list_next;
            if (look_after(port, neighbour, now_ms))
                neighbour_remove(port, neighbour);
        }
    empty_limbo();
}

void neighbours_changed(uint64_t now_ms)
{
    for (struct router_port *port = neighbour_table.ports; port; port = port->next) {
        const struct interface *interface = interface_of(port);
        for (struct neighbour *neighbour = port->list, *next; neighbour; neighbour = next) {
            next = neighbour->list_next;
            bool is_static = interface && interface_static(interface, neighbour->address);
            if (is_static)
                neighbour_release(neighbour, false);
            if (is_static || !interface)
                neighbour_remove(port, neighbour);
        }
    }
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
    neighbour_table.ops = ops ? ops : &nowhere;
    neighbour_table.next_walk_ms = 0;
}

void neighbours_port_add(struct router_port *port)
{
    port->next = neighbour_table.ports;
    neighbour_table.ports = port;
}

void neighbours_port_remove(struct router_port *port)
{
    struct router_port **link = &neighbour_table.ports;
    neighbour_forget_packets_of(port->port->config.id);
    while (port->list)
        neighbour_remove(port, port->list);
    while (*link && *link != port)
        link = &(*link)->next;
    if (*link)
        *link = port->next;
    empty_limbo();
}
