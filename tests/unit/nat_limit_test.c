/* SPDX-License-Identifier: BSD-3-Clause */
/* Quotas of address translation, growth of its table, and random operations against a model of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include "conntrack.h"
#include "nat_fixture.h"

static struct end server;

/* Tenant 1 alone. */
static struct nat_fixture *alone(uint32_t sessions, uint32_t limit, uint32_t guest_limit)
{
    struct nat_fixture *fixture = nat_fixture_new(sessions);
    server = end_of("198.51.100.7", 53);
    nat_fixture_router(fixture, 1, limit, guest_limit);
    nat_fixture_router(fixture, 2, 0, 0);
    nat_fixture_address(fixture, "192.0.2.1", 1024, 65535);
    nat_fixture_source(fixture, 11, "192.0.2.1", 0);
    nat_fixture_source(fixture, 12, "192.0.2.1", 0);
    nat_fixture_commit(fixture);
    return fixture;
}

static struct nat_fixture *limited(uint32_t sessions, uint32_t limit, uint32_t guest_limit)
{
    struct nat_fixture *fixture = alone(sessions, limit, guest_limit);
    nat_fixture_source(fixture, 21, "192.0.2.1", 0);
    nat_fixture_commit(fixture);
    return fixture;
}

/* One guest at its limit: only it is refused, its sessions go on, others open theirs. */
static void test_guest_limit(void **state)
{
    struct nat_fixture *fixture = limited(100000, 0, 100);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(udp_out(fixture, 11, guest_end(5, 1024 + i), server).drop,
                         i < 100 ? DP_DROP_COUNT : DP_DROP_NAT_SESSION_LIMIT);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(udp_out(fixture, 11, guest_end(5, 1024 + i), server).drop, DP_DROP_COUNT);
        assert_int_equal(udp_out(fixture, 11, guest_end(6, 1024 + i), server).drop, DP_DROP_COUNT);
        assert_int_equal(udp_out(fixture, 12, guest_end(5, 1024 + i), server).drop, DP_DROP_COUNT);
    }
    assert_int_equal(router_state(fixture, 1).sessions_refused, 200);
    assert_int_equal(router_state(fixture, 1).sessions, 300);
    nat_fixture_free(fixture);
}

/* A tenant at its limit: another one does not notice. */
static void test_tenant_limit(void **state)
{
    struct nat_fixture *fixture = limited(100000, 1000, 0);
    for (unsigned i = 0; i < 3000; i++) {
        assert_int_equal(udp_out(fixture, 11 + (i & 1), guest_end(i % 100, 1024 + i), server).drop,
                         i < 1000 ? DP_DROP_COUNT : DP_DROP_NAT_SESSION_LIMIT);
        assert_int_equal(udp_out(fixture, 21, guest_end(i % 100, 1024 + i), server).drop, DP_DROP_COUNT);
    }
    assert_int_equal(router_state(fixture, 1).sessions, 1000);
    assert_int_equal(router_state(fixture, 2).sessions, 3000);
    pass(fixture, 400);
    assert_int_equal(router_state(fixture, 1).sessions, 0);
    assert_int_equal(udp_out(fixture, 11, guest_end(5, 1024), server).drop, DP_DROP_COUNT);
    nat_fixture_free(fixture);
}

/* A SYN flood at a forwarded port: a quarter of the tenant's sessions, the rest is for its own. */
static void test_half_open_limit(void **state)
{
    struct nat_fixture *fixture = limited(100000, 400, 0);
    nat_fixture_forward(fixture, "192.0.2.1", 6, 443, 443, 11, "10.0.0.5", 443);
    nat_fixture_commit(fixture);
    struct end web = end_of("192.0.2.1", 443);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(tcp_in(fixture, end_of("198.51.100.9", 1024 + i), web, 2).drop,
                         i < 100 ? DP_DROP_COUNT : DP_DROP_NAT_SESSION_LIMIT);
    /* answered and acknowledged: not half open any more */
    for (unsigned i = 0; i < 10; i++) {
        struct end peer = end_of("198.51.100.9", 1024 + i);
        assert_int_equal(tcp_out(fixture, 11, guest_end(5, 443), peer, 18).drop, DP_DROP_COUNT);
        assert_int_equal(tcp_in(fixture, end_of("198.51.100.9", 5000 + i), web, 2).drop,
                         DP_DROP_NAT_SESSION_LIMIT);
        assert_int_equal(tcp_in(fixture, peer, web, 16).drop, DP_DROP_COUNT);
        assert_int_equal(tcp_in(fixture, end_of("198.51.100.9", 5000 + i), web, 2).drop, DP_DROP_COUNT);
    }
    for (unsigned i = 0; i < 290; i++)
        assert_int_equal(udp_out(fixture, 11, guest_end(5, 1024 + i), server).drop, DP_DROP_COUNT);
    nat_fixture_free(fixture);
}

/* The whole table is full: refused by name, nothing is evicted, all of it comes back. */
static void test_table_full(void **state)
{
    struct nat_fixture *fixture = alone(1000, 0, 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 1200; i++)
            assert_int_equal(udp_out(fixture, 11, guest_end(i % 7, 1024 + i), server).drop,
                             i < 1000 ? DP_DROP_COUNT : DP_DROP_NAT_TABLE_FULL);
        for (unsigned i = 0; i < 1000; i++)
            assert_int_equal(udp_out(fixture, 11, guest_end(i % 7, 1024 + i), server).drop, DP_DROP_COUNT);
        assert_int_equal(session_count(fixture), 1000);
        pass(fixture, 400);
        assert_int_equal(session_count(fixture), 0);
        assert_int_equal(router_state(fixture, 1).mappings, 0);
    }
    struct dp_nat_address key = {.port = OUTSIDE};
    struct dp_nat_address_state address;
    memcpy(key.address, end_of("192.0.2.1", 0).address, 16);
    nat_address_state(fixture->nat, &key, &address);
    assert_int_equal(address.udp_used, 0);
    nat_fixture_free(fixture);
}

/* The table grows while sessions are opened, used and end; none is lost on the way. */
static void test_growth(void **state)
{
    static uint16_t mapped[300][1000];
    struct nat_fixture *fixture = limited(1u << 20, 0, 0);
    unsigned refused = 0;
    nat_fixture_address(fixture, "192.0.2.1", 1, 65535);
    nat_fixture_commit(fixture);
    for (unsigned i = 0; i < 300; i++) {
        char text[32];
        snprintf(text, sizeof(text), "198.51.%u.%u", i >> 8, i & 255);
        struct end remote = end_of(text, 53);
        for (unsigned j = 0; j < 1000; j++) {
            struct seen seen = udp_out(fixture, 11, guest_end(j, 1024), remote);
            mapped[i][j] = seen.drop == DP_DROP_COUNT ? seen.source.port : 0;
            refused += seen.drop == DP_DROP_NAT_TABLE_FULL;
            assert_true(seen.drop == DP_DROP_COUNT || seen.drop == DP_DROP_NAT_TABLE_FULL);
            if (j % 250 == 0)
                nat_maintain(fixture->nat, fixture->context.now_s);
            unsigned before = (i * 7919 + j * 13) % (i + 1);
            snprintf(text, sizeof(text), "198.51.%u.%u", before >> 8, before & 255);
            if (mapped[before][j])
                assert_int_equal(udp_in(fixture, end_of(text, 53), end_of("192.0.2.1", mapped[before][j]))
                                     .destination.address[15],
                                 guest_end(j, 0).address[15]);
        }
    }
    assert_int_equal(refused, 0);
    assert_int_equal(router_state(fixture, 1).sessions, 300000);
    assert_int_equal(router_state(fixture, 1).mappings, 1000);
    /* the last step is to all there may be: none is left over that would take another index of that size */
    assert_int_equal(fixture->nat->session_pool.capacity, fixture->nat->session_pool.limit);
    nat_fixture_free(fixture);
}

/* A tenant whose guests are more than there is memory for yet: another one's find theirs. */
static void test_guest_share(void **state)
{
    struct nat_fixture *fixture = alone(1u << 20, 0, 0);
    unsigned refused = 0;
    char text[32];
    for (unsigned i = 2; i < 4; i++) { /* more ports */
        snprintf(text, sizeof(text), "192.0.2.%u", i);
        nat_fixture_address(fixture, text, 1024, 65535);
        nat_fixture_source(fixture, 11, text, 0);
        nat_fixture_source(fixture, 12, text, 0);
    }
    nat_fixture_address(fixture, "192.0.2.9", 1024, 65535);
    nat_fixture_source(fixture, 21, "192.0.2.9", 0);
    nat_fixture_commit(fixture);
    for (unsigned i = 0; i < 70000; i++) { /* of one guest, so that the table of sessions grows alone */
        snprintf(text, sizeof(text), "198.%u.%u.%u", 52 + (i >> 16), i >> 8 & 255, i & 255);
        assert_int_equal(udp_out(fixture, 11, guest_end(5, 1024), end_of(text, 53)).drop, DP_DROP_COUNT);
    }
    nat_maintain(fixture->nat, fixture->context.now_s);
    for (unsigned i = 0; i < 131072; i++) {
        enum dp_drop drop = udp_out(fixture, 11 + (i & 1), guest_end(i >> 1, 1024), server).drop;
        assert_true(drop == DP_DROP_COUNT || drop == DP_DROP_NAT_TABLE_FULL);
        refused += drop != DP_DROP_COUNT;
    }
    assert_int_not_equal(refused, 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(udp_out(fixture, 21, guest_end(i, 1024), server).drop, DP_DROP_COUNT);
    nat_maintain(fixture->nat, fixture->context.now_s);
    assert_int_equal(udp_out(fixture, 12, guest_end(65535, 1024), server).drop, DP_DROP_COUNT);
    nat_fixture_free(fixture);
}

/* Expiry by the control thread when the worker sleeps. */
static void test_sleeping_worker(void **state)
{
    struct nat_fixture *fixture = limited(100000, 0, 0);
    for (unsigned i = 0; i < 3000; i++)
        udp_out(fixture, 11, guest_end(i % 7, 1024 + i), server);
    for (unsigned i = 0; i < 400; i++) {
        fixture->context.now_s++;
        nat_maintain(fixture->nat, fixture->context.now_s);
    }
    assert_int_equal(router_state(fixture, 1).sessions, 0);
    assert_int_equal(session_count(fixture), 0);
    nat_fixture_free(fixture);
}

/* The model: what a session is known by, and until when it must and from when it must not be there. */
#define GUESTS  6u
#define PORTS   4u
#define REMOTES 5u
struct model {
    bool there;
    bool answered;
    uint16_t mapped;
    uint32_t last;
};
static struct model model[2][GUESTS][PORTS][REMOTES];

static uint32_t random_state;
static unsigned rnd(unsigned below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)random_state * below >> 32);
}

static bool model_alive(const struct model *one, uint32_t now)
{
    return one->there && now - one->last <= (one->answered ? 300u : 120u);
}

/* Sessions that may still count: alive, or not yet visited. */
static unsigned model_count(unsigned interface, unsigned guest, uint32_t now, bool possible)
{
    unsigned count = 0;
    for (unsigned i = 0; i < PORTS; i++)
        for (unsigned j = 0; j < REMOTES; j++) {
            const struct model *one = &model[interface][guest][i][j];
            count += model_alive(one, now) || (possible && one->there && now - one->last < 500);
        }
    return count;
}

static uint16_t model_mapped(unsigned interface, unsigned guest, unsigned port, uint32_t now)
{
    for (unsigned j = 0; j < REMOTES; j++)
        if (model_alive(&model[interface][guest][port][j], now))
            return model[interface][guest][port][j].mapped;
    return 0;
}

static void step_out(struct nat_fixture *fixture, unsigned interface, unsigned guest, unsigned port,
                     unsigned remote)
{
    uint32_t now = fixture->context.now_s;
    struct model *one = &model[interface][guest][port][remote];
    uint16_t expected = model_mapped(interface, guest, port, now);
    bool alive = model_alive(one, now);
    struct seen seen = udp_out(fixture, interface ? 21 : 11, guest_end(guest, 1000 + port),
                               end_of("198.51.100.7", 50 + remote));
    if (seen.drop == DP_DROP_NAT_SESSION_LIMIT) {
        unsigned tenant = 0;
        for (unsigned i = 0; i < GUESTS; i++)
            tenant += model_count(interface, i, now, true);
        assert_false(alive);
        assert_true(model_count(interface, guest, now, true) >= 12 || tenant >= 50);
        return;
    }
    if (seen.drop == DP_DROP_NAT_NO_PORT) {
        unsigned own = router_state(fixture, 1 + interface).mappings;
        unsigned all = own + router_state(fixture, 2 - interface).mappings;
        assert_int_equal(expected, 0);
        assert_true(all == 40 || (all >= 30 && own >= 5)); /* the rest is the other's */
        return;
    }
    assert_int_equal(seen.drop, DP_DROP_COUNT);
    if (expected)
        assert_int_equal(seen.source.port, expected);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned j = 0; j < GUESTS; j++)
            for (unsigned k = 0; k < PORTS; k++)
                if (i != interface || j != guest || k != port)
                    assert_int_not_equal(seen.source.port, model_mapped(i, j, k, now));
    if (!alive)
        one->answered = false;
    one->there = true;
    one->last = now;
    one->mapped = seen.source.port;
}

static void step_in(struct nat_fixture *fixture, unsigned interface, unsigned guest, unsigned port,
                    unsigned remote)
{
    uint32_t now = fixture->context.now_s;
    struct model *one = &model[interface][guest][port][remote];
    if (!one->there)
        return;
    struct seen seen = udp_in(fixture, end_of("198.51.100.7", 50 + remote), end_of("192.0.2.1", one->mapped));
    if (model_alive(one, now)) {
        assert_int_equal(seen.drop, DP_DROP_COUNT);
        assert_true(end_equal(seen.destination, guest_end(guest, 1000 + port)));
        assert_int_equal(seen.outcome.outside, interface ? 21 : 11);
        one->answered = true;
        one->last = now;
    } else if (seen.drop == DP_DROP_COUNT) { /* the port is another's by now */
        struct model *owner = &model[seen.outcome.outside == 21][seen.destination.address[15]]
                                    [seen.destination.port - 1000][remote];
        assert_ptr_not_equal(owner, one);
        assert_true(model_alive(owner, now));
        assert_int_equal(owner->mapped, one->mapped);
        owner->answered = true;
        owner->last = now;
    } else {
        assert_int_equal(seen.drop, DP_DROP_NAT_NO_SESSION);
    }
}

static void test_against_model(void **state)
{
    struct nat_fixture *fixture = limited(10000, 50, 12);
    nat_fixture_router(fixture, 2, 50, 12);
    nat_fixture_address(fixture, "192.0.2.1", 2000, 2039);
    nat_fixture_commit(fixture);
    random_state = 1;
    for (unsigned i = 0; i < 60000; i++) {
        unsigned interface = rnd(2), guest = rnd(GUESTS), port = rnd(PORTS), remote = rnd(REMOTES);
        switch (rnd(16)) {
        case 0:
            pass(fixture, rnd(100));
            break;
        case 1:
            fixture->context.now_s += rnd(40);
            nat_maintain(fixture->nat, fixture->context.now_s);
            break;
        case 2:
            nat_fixture_commit(fixture);
            break;
        case 3:
        case 4:
        case 5:
        case 6:
            step_in(fixture, interface, guest, port, remote);
            break;
        default:
            step_out(fixture, interface, guest, port, remote);
            break;
        }
        for (unsigned tenant = 1; tenant <= 2; tenant++) {
            struct dp_router_state seen = router_state(fixture, tenant);
            assert_true(seen.sessions <= 50 && seen.mappings <= seen.sessions);
        }
        assert_int_equal(session_count(fixture),
                         router_state(fixture, 1).sessions + router_state(fixture, 2).sessions);
    }
    pass(fixture, 500);
    assert_int_equal(session_count(fixture), 0);
    nat_fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_limit),     cmocka_unit_test(test_tenant_limit),
        cmocka_unit_test(test_half_open_limit), cmocka_unit_test(test_table_full),
        cmocka_unit_test(test_growth),          cmocka_unit_test(test_guest_share),
        cmocka_unit_test(test_sleeping_worker), cmocka_unit_test(test_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
