/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two workers translate the same sessions at once, while the control thread grows the table, expires
 * sessions, changes the configuration and reads everything. Under the thread sanitizer as well.
 *
 * Each worker keeps what it was told about its own endpoints: an answer to a mapped port must always come
 * back to the endpoint that has it. Endpoints that both use have one mapping, whoever made it. And as long as
 * the flow cache's question about a session is answered with yes, its translation is the one that was noted,
 * though the session's memory is used again and again, and by both.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include "nat_fixture.h"
#include "nat_flow.h"

#define WORKERS 2u
#define ROUNDS  10000u
#define OWN     600u
#define SHARED  64u
#define BATCH   16u
#define BLOCK   2000u /* endpoints, used in turn for 200 s */
#define BLOCKS  4u    /* the first one again when its sessions have expired */
#define FLOWS   (BLOCK * BLOCKS)

/* What a flow cache would note. */
struct flow {
    uint32_t session, generation; /* 0: none */
    uint16_t mapped;
    uint8_t state;
};

struct worker_side {
    struct nat_fixture *fixture;
    unsigned id;
    uint64_t rounds; /* quiescent states; worker: w, control: r */
    uint32_t done;
    unsigned translated, wrong, followed;
    struct flow flows[FLOWS];
};

static struct worker_side sides[WORKERS];
static uint32_t clock_s = 1000;
static struct nat_config *published;
static uint16_t shared_mapping[SHARED]; /* by endpoint; workers: compare and swap */

static void wait_for_workers(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        uint64_t before = __atomic_load_n(&sides[i].rounds, __ATOMIC_ACQUIRE);
        while (!__atomic_load_n(&sides[i].done, __ATOMIC_ACQUIRE) &&
               __atomic_load_n(&sides[i].rounds, __ATOMIC_ACQUIRE) == before)
            sched_yield();
    }
}

struct small {
    struct packet packet;
    struct frame_info info;
    uint8_t memory[PACKET_HEADROOM + PACKET_HEADER_MAX];
};

/* The smallest of frames: checksums are not what this test is about. */
static void small_udp(struct small *small, uint32_t from, unsigned from_port, uint32_t to, unsigned to_port)
{
    static const uint8_t start[] = {2, 0,    0, 0, 0,  1, 2, 0, 0, 0,  0,  2, 8,
                                    0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0};
    uint8_t *bytes = small->memory + PACKET_HEADROOM;
    memset(&small->packet, 0, sizeof(small->packet));
    memcpy(bytes, start, sizeof(start));
    for (unsigned i = 0; i < 4; i++) {
        bytes[26 + i] = (uint8_t)(from >> (24 - 8 * i));
        bytes[30 + i] = (uint8_t)(to >> (24 - 8 * i));
    }
    set16(bytes + 34, from_port);
    set16(bytes + 36, to_port);
    set16(bytes + 38, 8);
    set16(bytes + 40, 0);
    small->packet.data = bytes;
    small->packet.buffer = small->memory;
    small->packet.size = small->packet.header_size = 42;
    if (!parse_l2(&small->packet, &small->info) || !parse_l3(&small->packet, &small->info))
        abort();
}

#define GUEST  0x0a000005u
#define REMOTE 0xc6336407u
#define MAPPED 0xc0000201u

static enum dp_drop translate_out(const struct nat_context *context, struct small *small,
                                  struct nat_outcome *outcome, uint16_t *mapped)
{
    bool held;
    enum dp_drop drop = nat_outbound(context, 11, &small->packet, &small->info, outcome, &held);
    *mapped = (uint16_t)get16(small->packet.data + 34);
    return drop;
}

static enum dp_drop send_out(const struct nat_context *context, unsigned port, unsigned remote_port,
                             uint16_t *mapped)
{
    struct small small;
    struct nat_outcome outcome;
    small_udp(&small, GUEST, port, REMOTE, remote_port);
    return translate_out(context, &small, &outcome, mapped);
}

static enum dp_drop send_in(const struct nat_context *context, unsigned remote_port, uint16_t mapped,
                            uint16_t *port)
{
    struct small small;
    struct nat_outcome outcome;
    bool held;
    small_udp(&small, REMOTE, remote_port, MAPPED, mapped);
    enum dp_drop drop = nat_inbound(context, OUTSIDE, &small.packet, &small.info, &outcome, &held);
    *port = (uint16_t)get16(small.packet.data + 36);
    return drop;
}

static bool flow_is_true(const struct nat_context *context, const struct flow *flow)
{
    return flow->session && nat_flow_count(context->nat, flow->session, flow->generation, flow->state, true);
}

/* True before and after: then nothing was different in between. */
static void send_flow(struct worker_side *side, const struct nat_context *context, struct small *small,
                      struct flow *flow)
{
    struct nat_outcome outcome = {0};
    uint16_t mapped;
    bool before = flow_is_true(context, flow);
    enum dp_drop drop = translate_out(context, small, &outcome, &mapped);
    if (before && flow_is_true(context, flow)) {
        side->followed++;
        side->wrong += drop != DP_DROP_COUNT || mapped != flow->mapped || outcome.session != flow->session;
    }
    *flow = (struct flow){.mapped = mapped};
    if (drop == DP_DROP_COUNT &&
        nat_flow_settled(context->nat, outcome.session, outcome.session_generation, true, &flow->state)) {
        flow->session = outcome.session;
        flow->generation = outcome.session_generation;
    }
}

/* As the router stage does it: what a batch will need is fetched first. Both workers use these endpoints. */
static void send_batch(struct worker_side *side, const struct nat_context *context, unsigned round)
{
    unsigned turn = round / 2 * BATCH, first = turn % BLOCK + turn / (8 * BLOCK) % BLOCKS * BLOCK;
    struct small batch[BATCH];
    uint64_t hashes[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        small_udp(&batch[i], GUEST, 3000 + first + i, REMOTE, 53);
        hashes[i] = nat_prefetch(context, 11, true, &batch[i].packet, &batch[i].info);
    }
    for (unsigned i = 0; i < BATCH; i++)
        if (!nat_prefetch_session(context, hashes[i]))
            nat_prefetch_new(context, 11, &batch[i].packet, &batch[i].info, hashes[i]);
    nat_prefetch_ports(context);
    for (unsigned i = 0; i < BATCH; i++)
        send_flow(side, context, &batch[i], &side->flows[first + i]);
}

/* An endpoint of this worker alone, and one that both use, towards a remote that only this one uses. */
static void turn(struct worker_side *side, const struct nat_context *context, unsigned round)
{
    unsigned own = (round * 31) % OWN, port = 1000 + side->id * OWN + own;
    uint16_t mapped, back, expected = 0;
    if (send_out(context, port, 53, &mapped) == DP_DROP_COUNT) {
        side->translated++;
        enum dp_drop drop = send_in(context, 53, mapped, &back);
        side->wrong += drop == DP_DROP_COUNT ? back != port : drop != DP_DROP_NAT_NO_SESSION;
    }
    unsigned shared = round % SHARED;
    if (send_out(context, 20000 + shared, 100 + side->id, &mapped) == DP_DROP_COUNT) {
        if (send_in(context, 100 + side->id, mapped, &back) == DP_DROP_COUNT)
            side->wrong += back != 20000 + shared;
        /* it stays the same for as long as nobody ends it: see the control thread's part */
        if (!__atomic_compare_exchange_n(&shared_mapping[shared], &expected, mapped, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_SEQ_CST))
            side->wrong += expected != mapped;
    }
    for (unsigned i = 0; i < 16; i++) /* both make the same session at once */
        send_out(context, 30000 + (round * 16 + i) % 35000, 53, &mapped);
    send_batch(side, context, round);
}

/* Time passes with the rounds of the slower worker, and the workers themselves see to it: how often an
 * endpoint is used in how many seconds does not depend on the machine, nor on when the control thread runs.
 */
static void follow_clock(void)
{
    uint64_t slower = UINT64_MAX;
    for (unsigned i = 0; i < WORKERS; i++) {
        uint64_t rounds = __atomic_load_n(&sides[i].rounds, __ATOMIC_ACQUIRE);
        if (!__atomic_load_n(&sides[i].done, __ATOMIC_ACQUIRE) && rounds < slower)
            slower = rounds;
    }
    uint32_t now = __atomic_load_n(&clock_s, __ATOMIC_RELAXED);
    if (slower != UINT64_MAX && 1000 + slower / 10 > now)
        __atomic_compare_exchange_n(&clock_s, &now, (uint32_t)(1000 + slower / 10), false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
}

static void *worker(void *argument)
{
    struct worker_side *side = argument;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct nat_context context = {
            .nat = side->fixture->nat,
            .config = __atomic_load_n(&published, __ATOMIC_ACQUIRE),
            .worker = side->id,
            .now_s = __atomic_load_n(&clock_s, __ATOMIC_RELAXED),
        };
        turn(side, &context, round);
        nat_tick(&context);
        __atomic_fetch_add(&side->rounds, 1, __ATOMIC_RELEASE);
        follow_clock();
    }
    __atomic_store_n(&side->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static unsigned misread;

static void read_everything(struct nat_fixture *fixture)
{
    static struct dp_session sessions[64];
    uint64_t cursor = 0;
    unsigned count;
    while ((count = nat_sessions(fixture->nat, &cursor, __atomic_load_n(&clock_s, __ATOMIC_RELAXED), sessions,
                                 64)) > 0)
        for (unsigned i = 0; i < count; i++)
            if (sessions[i].port != 11 || sessions[i].protocol != 17)
                misread++;
}

static void test_two_workers(void **state)
{
    struct nat_fixture *fixture = nat_fixture_with(200000, wait_for_workers);
    pthread_t threads[WORKERS];
    nat_fixture_router(fixture, 1, 0, 0);
    nat_fixture_address(fixture, "192.0.2.1", 1024, 65535);
    nat_fixture_source(fixture, 11, "192.0.2.1", 0);
    nat_fixture_source(fixture, 21, "192.0.2.1", 0); /* idle: its part of the table is left */
    for (unsigned i = 0; i < WORKERS; i++)
        sides[i] = (struct worker_side){.fixture = fixture, .id = i, .done = 1};
    nat_fixture_commit(fixture);
    published = fixture->config;
    for (unsigned i = 0; i < WORKERS; i++)
        sides[i].done = 0;
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, worker, &sides[i]);
    for (unsigned i = 0; !__atomic_load_n(&sides[0].done, __ATOMIC_ACQUIRE) ||
                         !__atomic_load_n(&sides[1].done, __ATOMIC_ACQUIRE);
         i++) {
        nat_maintain(fixture->nat, __atomic_load_n(&clock_s, __ATOMIC_RELAXED));
        if (i % 16 == 0) {
            struct nat_config *old = fixture->config;
            nat_fixture_forward(fixture, "192.0.2.1", 17, 1 + i % 1000, 1 + i % 1000, 11, "10.0.0.9", 7);
            fixture->config = nat_config_new(fixture->nat, fixture->objects);
            __atomic_store_n(&published, fixture->config, __ATOMIC_RELEASE);
            wait_for_workers();
            nat_config_changed(fixture->nat, fixture->config);
            nat_config_free(old);
        }
        read_everything(fixture);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(sides[i].wrong, 0);
        assert_int_not_equal(sides[i].translated, 0);
        assert_int_not_equal(sides[i].followed, 0);
    }
    assert_int_equal(misread, 0);
    /* everything expires, and what was counted is 0 again */
    fixture->context.config = fixture->config;
    fixture->context.now_s = clock_s;
    for (unsigned i = 0; i < 2000; i++) {
        fixture->context.now_s++;
        nat_maintain(fixture->nat, fixture->context.now_s);
    }
    struct dp_router_state router = router_state(fixture, 1);
    assert_int_equal(session_count(fixture), 0);
    assert_int_equal(router.sessions, 0);
    assert_int_equal(router.mappings, 0);
    nat_fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_workers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
