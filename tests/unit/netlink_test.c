/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In a network namespace of its own, with a veth pair: what netlink.c knows follows what ip(8) does, is what
 * a fresh dump shows after 10,000 changes of which most events were lost, and costs no callback where nothing
 * changed.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "netlink.h"

#define FLAPS       2500 /* of each of links, addresses, routes, neighbours */
#define SKIP        77
#define DEADLINE_MS 60000 /* for a condition that a loaded machine reaches late */

static struct event_base *base;
static unsigned changes, link_changes;

static void on_changed(void *context)
{
    (void)context;
    changes++;
}

static void on_links(void *context)
{
    (void)context;
    link_changes++;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static FILE *ip_open(void)
{
    return popen("ip -batch - >/dev/null", "w");
}

static void ip(const char *line)
{
    FILE *pipe = ip_open();
    fprintf(pipe, "%s\n", line);
    assert_int_equal(pclose(pipe), 0);
}

/* Runs the loop until the condition holds. */
static bool reach(bool (*condition)(const struct netlink *netlink), const struct netlink *netlink)
{
    int64_t deadline = now_ms() + DEADLINE_MS;
    while (!condition(netlink) && now_ms() < deadline) {
        struct timeval pause = {0, 20000};
        event_base_loopexit(base, &pause);
        event_base_dispatch(base);
    }
    return condition(netlink);
}

static bool is_fresh(const struct netlink *netlink)
{
    struct netlink_link link = *netlink_link(netlink, "w0");
    struct netlink_tables tables = {0};
    uint64_t again = 0;
    bool same = netlink_read(&link, 1, &tables, &again) == 0 &&
                /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): made zeroed, copied whole */
                memcmp(&link, netlink_link(netlink, "w0"), sizeof(link)) == 0 &&
                netlink_tables_equal(&tables, netlink_tables(netlink));
    netlink_tables_clear(&tables);
    return same;
}

static bool has_link(const struct netlink *netlink)
{
    return netlink_link(netlink, "w0")->running;
}

static bool has_no_link(const struct netlink *netlink)
{
    return netlink_link(netlink, "w0")->index == 0;
}

static bool has_address(const struct netlink *netlink)
{
    const struct netlink_address *address =
        netlink_host_address(netlink, netlink_link(netlink, "w0")->index, 4);
    return address && address->prefix_length == 24 && address->bytes[3] == 7;
}

static bool has_route(const struct netlink *netlink)
{
    const struct netlink_tables *tables = netlink_tables(netlink);
    for (size_t i = 0; i < tables->route_count; i++) {
        if (tables->routes[i].family == 4 && tables->routes[i].prefix_length == 0)
            return tables->routes[i].next_hop[3] == 1 && tables->routes[i].next_hop_family == 4;
    }
    return false;
}

static bool has_neighbour(const struct netlink *netlink)
{
    const struct netlink_tables *tables = netlink_tables(netlink);
    return tables->neighbour_count == 1 && tables->neighbours[0].mac[5] == 9 && !tables->neighbours[0].stale;
}

static bool heard_of_links(const struct netlink *netlink)
{
    (void)netlink;
    return link_changes > 0;
}

static struct netlink *setup(void)
{
    static const char *const names[] = {"w0"};
    static const struct netlink_callbacks callbacks = {.changed = on_changed, .links = on_links};
    changes = link_changes = 0;
    base = event_base_new();
    struct netlink *netlink = netlink_new(base, &callbacks);
    assert_non_null(netlink);
    assert_int_equal(netlink_watch(netlink, names, 1), 0);
    assert_null(netlink_link(netlink, "w1"));
    return netlink;
}

static void teardown(struct netlink *netlink)
{
    netlink_free(netlink);
    event_base_free(base);
}

static void test_follows(void **state)
{
    (void)state;
    struct netlink *netlink = setup();
    assert_true(has_no_link(netlink));
    ip("link add w0 type veth peer name w1\nlink set w1 up\nlink set w0 address 02:00:00:00:00:01 mtu 1400 "
       "up");
    assert_true(reach(has_link, netlink));
    assert_int_equal(netlink_link(netlink, "w0")->mtu, 1400);
    assert_int_equal(netlink_link(netlink, "w0")->mac[5], 1);
    ip("addr add 192.0.2.7/24 dev w0\naddr add 192.0.2.8/24 dev w0");
    assert_true(reach(has_address, netlink));
    ip("route add default via 192.0.2.1 dev w0\nroute add 198.51.100.0/24 dev w1");
    assert_true(reach(has_route, netlink));
    ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:09 dev w0 nud permanent");
    assert_true(reach(has_neighbour, netlink));
    assert_true(reach(is_fresh, netlink));
    for (size_t i = 0; i < netlink_tables(netlink)->route_count; i++)
        assert_int_equal(netlink_tables(netlink)->routes[i].index, netlink_link(netlink, "w0")->index);
    link_changes = 0;
    ip("link set w1 mtu 1300"); /* nobody watches it */
    assert_true(reach(heard_of_links, netlink));
    ip("link del w0");
    assert_true(reach(has_no_link, netlink));
    assert_int_equal(netlink_tables(netlink)->route_count, 0);
    assert_true(changes >= 5);
    teardown(netlink);
}

static bool speaks_from(const struct netlink *netlink, uint8_t first, uint8_t last)
{
    const struct netlink_address *address =
        netlink_host_address(netlink, netlink_link(netlink, "w0")->index, 6);
    return address && address->bytes[0] == first && address->bytes[15] == last;
}

static bool speaks_from_unique_local(const struct netlink *netlink)
{
    return speaks_from(netlink, 0xfd, 1);
}

static bool speaks_from_oldest(const struct netlink *netlink)
{
    return netlink_tables(netlink)->address_count >= 6 && speaks_from(netlink, 0x20, 3);
}

static bool speaks_from_next(const struct netlink *netlink)
{
    return speaks_from(netlink, 0x20, 4);
}

/* IPv6: neither link-local nor temporary addresses, a global one rather than a unique local one, and the same
 * while others come. */
static void test_host_address(void **state)
{
    (void)state;
    struct netlink *netlink = setup();
    ip("link add w0 type veth peer name w1\nlink set w1 up\nlink set w0 up\n"
       "addr add fd00::1/64 dev w0 nodad\naddr add 2001:db8::2/64 dev w0 nodad preferred_lft 0");
    assert_true(reach(speaks_from_unique_local, netlink));
    ip("addr add 2001:db8::3/64 dev w0 nodad\naddr add 2001:db8::4/64 dev w0 nodad\n"
       "addr add fd00::5/64 dev w0 nodad");
    assert_true(reach(speaks_from_oldest, netlink));
    ip("addr change 2001:db8::3/64 dev w0 preferred_lft 0");
    assert_true(reach(speaks_from_next, netlink));
    ip("link del w0");
    assert_true(reach(has_no_link, netlink));
    teardown(netlink);
}

static void test_flaps(void **state)
{
    (void)state;
    ip("link add w0 type veth peer name w1\nlink set w1 up\nlink set w0 up\naddr add 192.0.2.7/24 dev w0");
    struct netlink *netlink = setup();
    assert_int_equal(netlink_receive_buffer(netlink, 1), 0);
    FILE *pipe = ip_open();
    for (unsigned i = 0; i < FLAPS; i++) {
        unsigned low = 10 + i % 100;
        bool last = i >= FLAPS - 100; /* what these add stays */
        fprintf(pipe, "link set w0 mtu %u\naddr add 192.0.2.%u/24 dev w0\n", 1300 + i % 100, low);
        fprintf(pipe, "route add 198.51.%u.0/24 via 192.0.2.1 dev w0\n", low);
        fprintf(pipe, "neigh replace 192.0.2.%u lladdr 02:00:00:00:01:%02x dev w0 nud permanent\n", low + 110,
                low);
        if (!last)
            fprintf(pipe,
                    "addr del 192.0.2.%u/24 dev w0\nroute del 198.51.%u.0/24\nneigh del 192.0.2.%u dev w0\n",
                    low, low, low + 110);
    }
    assert_int_equal(pclose(pipe), 0);
    assert_true(reach(is_fresh, netlink));
    assert_true(netlink_tables(netlink)->address_count >= 101);
    assert_true(netlink_tables(netlink)->neighbour_count >= 100);
    assert_true(netlink_counts(netlink).overruns > 0); /* nobody read while ip ran */
    assert_true(netlink_counts(netlink).reads < 100);
    teardown(netlink);
    ip("link del w0");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows),
        cmocka_unit_test(test_host_address),
        cmocka_unit_test(test_flaps),
    };
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
        fprintf(stderr, "cannot make a network namespace: %s\n", strerror(errno));
        return SKIP;
    }
    if (system("ip link add w0 type veth peer name w1 && ip link del w0") != 0) {
        fprintf(stderr, "cannot make a veth pair here\n");
        return SKIP;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
