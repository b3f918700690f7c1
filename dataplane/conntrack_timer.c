/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Expiry of sessions.
 *
 * Theory of operation. Each worker has a wheel of 64 slots of one second, with the sessions it opened as
 * singly linked lists. Packets do not move a session: they note the second (last_seen). When its slot comes
 * up a session is looked at: idle for its phase's time, it ends and its memory is free; otherwise it goes to
 * the slot of the second in which it would, but no further than 60 s ahead, because meanwhile its phase may
 * change to one with a shorter time. So a session ends at most 60 s late, each is visited about once a minute
 * (17,000 a second for a million), and there is no scan.
 *
 * Memory of a session is given back here only, by its wheel: whoever else ends a session takes it out of the
 * index and leaves it in its slot.
 *
 * A worker turns its wheel a bounded number of visits at a time, a few with the lock held. One that sleeps
 * does not; then the control thread does it (nat_maintain).
 */
#include "nat_private.h"

#define TICK_VISITS     256u /* sessions a nat_tick */
#define TICK_STRIPES    8u   /* of fragments, a second */
#define MAINTAIN_VISITS 4096u
#define VISITS_AT_ONCE  16u /* with the lock held: others wait for it */

/* Under its lock; control reads it without. */
static void wheel_set_now(struct wheel *wheel, uint32_t now_s)
{
    __atomic_store_n(&wheel->now, now_s, __ATOMIC_RELAXED);
}

/* To be looked at in `left` seconds. */
static void wheel_put(struct nat *nat, struct wheel *wheel, uint32_t id, uint32_t now_s, uint32_t left)
{
    if (!wheel->now)
        wheel_set_now(wheel, now_s);
    /* Not beyond the slot before the next one: a wheel may be late. */
    uint32_t due = now_s + left;
    if ((int32_t)(due - wheel->now) >= (int32_t)WHEEL_SLOTS)
        due = wheel->now + WHEEL_SLOTS - 1;
    uint32_t *slot = &wheel->slots[due & (WHEEL_SLOTS - 1)];
    nat->cold[id].wheel_next = *slot;
    *slot = id;
}

/* No phase's time is shorter. */
void wheel_add_new(struct nat *nat, struct wheel *wheel, uint32_t id, uint32_t now_s)
{
    wheel_put(nat, wheel, id, now_s, WHEEL_DELAY_MAX);
}

void wheel_add(struct nat *nat, struct wheel *wheel, uint32_t id, uint32_t now_s)
{
    const struct session *session = &nat->sessions[id];
    uint8_t state = __atomic_load_n(&session->state, __ATOMIC_RELAXED);
    uint32_t idle = now_s - __atomic_load_n(&session->last_seen, __ATOMIC_RELAXED);
    uint32_t timeout = session_timeout(session->protocol, state), left = WHEEL_DELAY_MAX;
    if (idle <= timeout && timeout - idle < WHEEL_DELAY_MAX)
        left = timeout - idle + 1;
    if (left > WHEEL_DELAY_MAX)
        left = WHEEL_DELAY_MAX;
    wheel_put(nat, wheel, id, now_s, left);
}

static void visit(struct nat *nat, struct wheel *wheel, uint32_t id, uint32_t now_s)
{
    uint32_t generation = __atomic_load_n(&nat->sessions[id].generation, __ATOMIC_ACQUIRE);
    if (generation & 1) {
        conntrack_end_locked(nat, id, generation, true, now_s);
        generation = __atomic_load_n(&nat->sessions[id].generation, __ATOMIC_ACQUIRE);
    }
    if (generation & 1)
        wheel_add(nat, wheel, id, now_s);
    else
        conntrack_give(nat, id);
}

/* Sessions that are due, out of their slots. */
static unsigned collect(struct nat *nat, struct wheel *wheel, uint32_t now_s, uint32_t ids[VISITS_AT_ONCE])
{
    unsigned count = 0;
    for (; (int32_t)(now_s - wheel->now) > 0; wheel_set_now(wheel, wheel->now + 1)) {
        uint32_t *slot = &wheel->slots[wheel->now & (WHEEL_SLOTS - 1)];
        while (*slot) {
            if (count == VISITS_AT_ONCE)
                return count;
            ids[count++] = *slot;
            *slot = nat->cold[*slot].wheel_next;
            __builtin_prefetch(&nat->sessions[*slot], 1);
            __builtin_prefetch(&nat->cold[*slot], 1);
        }
    }
    return count;
}

/* Under the lock: some sessions that are due. True: there are more. */
static bool wheel_turn(struct nat *nat, struct wheel *wheel, uint32_t now_s)
{
    uint32_t ids[VISITS_AT_ONCE];
    if (!wheel->now || (int32_t)(wheel->now - now_s) > (int32_t)WHEEL_SLOTS)
        wheel_set_now(wheel, now_s);
    if ((int32_t)(now_s - wheel->now) > (int32_t)WHEEL_SLOTS)
        wheel_set_now(wheel, now_s - WHEEL_SLOTS); /* after a long sleep: each slot once */
    unsigned count = collect(nat, wheel, now_s, ids);
    for (unsigned i = 0; i < count; i++)
        if (conntrack_idle(nat, ids[i], now_s))
            conntrack_prefetch_entries(nat, ids[i]);
    for (unsigned i = 0; i < count; i++)
        visit(nat, wheel, ids[i], now_s);
    return (int32_t)(now_s - wheel->now) > 0;
}

void nat_tick(const struct nat_context *context)
{
    struct wheel *wheel = &context->nat->wheels[context->worker];
    bool more = true;
    if (__atomic_load_n(&wheel->now, __ATOMIC_RELAXED) == context->now_s)
        return;
    for (unsigned visits = 0; more && visits < TICK_VISITS; visits += VISITS_AT_ONCE) {
        if (!spin_trylock(&context->nat->writer))
            return;
        more = wheel_turn(context->nat, wheel, context->now_s);
        spin_unlock(&context->nat->writer);
    }
    if (!more)
        fragments_expire(context->nat, context->now_s, TICK_STRIPES);
}

void conntrack_turn_late(struct nat *nat, uint32_t now_s)
{
    for (unsigned i = 0; i < DP_WORKERS_MAX; i++) {
        struct wheel *wheel = &nat->wheels[i];
        bool more = true;
        for (unsigned visits = 0; more && visits < MAINTAIN_VISITS; visits += VISITS_AT_ONCE) {
            uint32_t now = __atomic_load_n(&wheel->now, __ATOMIC_RELAXED);
            if (!now || (int32_t)(now_s - now) < 3 || !spin_trylock(&nat->writer))
                break;
            more = wheel_turn(nat, wheel, now_s);
            spin_unlock(&nat->writer);
        }
    }
}
