/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subnets, host-only and address translation: every rule, with the path that its mistake is reported at, and
 * what a whole configuration of both modes compiles to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "compile_network.h"
#include "config_yaml.h"
#include "ids.h"

static struct model *build(const char *body, struct diagnostics *diagnostics)
{
    char text[4096];
    *diagnostics = (struct diagnostics){0};
    snprintf(text, sizeof(text), "version: 1\n%s", body);
    struct document *document = config_yaml_parse(text, strlen(text), diagnostics);
    assert_non_null(document);
    struct model *model = model_from_document(document, "/run/weft", diagnostics);
    document_free(document);
    for (size_t i = 0; i < diagnostics->count; i++)
        print_message("%s: %s\n", diagnostics->items[i].path, diagnostics->items[i].message);
    return model;
}

#define UPLINKS                                                                                              \
    "uplinks: {l: {device: 'vdev:net_null0', address: 203.0.113.2/24, gateway: 203.0.113.1}, k: {device: "   \
    "'vdev:net_af_packet0,iface=eth9'}, n: {device: 'vdev:net_null1'}}\n"

/* Segments, ports and nat of one tenant: one mistake, at this path. */
static void refused(const char *segments, const char *ports, const char *nat, const char *path,
                    const char *message)
{
    char body[3000];
    struct diagnostics diagnostics;
    snprintf(body, sizeof(body), UPLINKS "tenants: {a: {segments: {%s}, ports: {%s}, nat: {%s}}}\n", segments,
             ports, nat);
    assert_null(build(body, &diagnostics));
    assert_int_equal(diagnostics.count, 1);
    assert_string_equal(diagnostics.items[0].path, path);
    assert_string_equal(diagnostics.items[0].message, message);
    assert_int_equal(diagnostics.items[0].position.line, 3);
    diagnostics_clear(&diagnostics);
}

#define SEGMENT(rest) "s: {mode: nat, uplink: l, subnet: 10.0.1.0/24" rest "}"
#define S_PATH        "tenants.a.segments.s"

static void segments(void **state)
{
    refused("s: {mode: nat, subnet: 10.0.1.0/24}", "", "", S_PATH,
            "mode nat needs an uplink (uplink, --uplink); there is: l, k, n");
    refused("s: {mode: nat, uplink: l}", "", "", S_PATH, "mode nat needs a subnet, like 10.0.1.0/24");
    refused("s: {mode: nat, uplink: l, subnet: 'fd00::/64'}", "", "", S_PATH ".subnet",
            "mode nat needs an IPv4 subnet, like 10.0.1.0/24");
    refused("s: {mode: nat, uplink: l, subnet: [10.0.1.0/24, 10.0.2.0/24]}", "", "", S_PATH ".subnet",
            "10.0.2.0/24: one subnet of IPv4 and one of IPv6 at most");
    refused("s: {mode: nat, uplink: l, subnet: [10.0.1.0/24, 'fd00::/60']}", "", "", S_PATH ".subnet",
            "guests make their IPv6 addresses in prefixes of length 64, not 60");
    refused("s: {mode: isolated, subnet: 10.0.1.0/24}", "", "", S_PATH ".subnet",
            "mode isolated has no subnet");
    refused("s: {mode: host-only, uplink: l, subnet: 10.0.1.0/24}", "", "", S_PATH ".uplink",
            "mode host-only has no uplink; modes bridged and nat do");
    refused(SEGMENT(", host-interface: x0"), "", "", S_PATH ".host-interface",
            "mode nat has no host-interface");
    refused(SEGMENT(", ipv6: nat"), "", "", S_PATH ".ipv6",
            "needs an IPv6 prefix in subnet, like fd00:1::/64");
    refused("s: {mode: host-only, subnet: 10.0.1.0/24, ipv6: nat}", "", "", S_PATH ".ipv6",
            "mode host-only has no ipv6");
    refused(SEGMENT(", gateway: 10.0.2.1"), "", "", S_PATH ".gateway",
            "10.0.2.1 is not in the segment's subnet");
    refused(SEGMENT(", gateway: 10.0.1.0"), "", "", S_PATH ".gateway",
            "10.0.1.0 is the subnet's own address, no host's address");
    refused(SEGMENT(", gateway: 10.0.1.255"), "", "", S_PATH ".gateway",
            "10.0.1.255 is the subnet's broadcast address, no host's address");
    refused(SEGMENT(", dhcp: {range: 10.0.2.1-10.0.2.9}"), "", "", S_PATH ".dhcp.range",
            "is not in the segment's subnet");
    refused(SEGMENT(", dhcp: {dns: ['fd00::1']}"), "", "", S_PATH ".dhcp.dns",
            "DHCP tells IPv4 guests of IPv4 servers, not fd00::1");
    refused(SEGMENT("") ", t: {mode: nat, uplink: l, subnet: 10.0.0.0/16}", "", "",
            "tenants.a.segments.t.subnet",
            "overlaps the subnet of segment a/s, which the tenant's router joins it to");
    refused("h: {mode: host-only, subnet: 10.0.1.0/24}, i: {mode: host-only, subnet: 10.0.1.128/25}", "", "",
            "tenants.a.segments.i.subnet",
            "overlaps the subnet of segment a/h, which is on the host as well");
    refused("h: {mode: host-only, subnet: 10.0.1.0/24, host-interface: eth9}", "", "",
            "tenants.a.segments.h.host-interface", "interface eth9 is uplink k's");
    refused("abcdefghijk: {mode: host-only, subnet: 10.0.1.0/24}, abcdefghijx: {mode: host-only, subnet: "
            "10.0.2.0/24}",
            "", "", "tenants.a.segments.abcdefghijx.host-interface",
            "interface weft-abcdefghij is that of a/abcdefghijk; name another one with host-interface");
}

static void ports(void **state)
{
    refused(SEGMENT(""), "p: {segment: s, ip: 10.0.2.5}", "", "tenants.a.ports.p.ip",
            "10.0.2.5 is not in the subnet of segment a/s");
    refused(SEGMENT(""), "p: {segment: s, ip: 10.0.1.1}", "", "tenants.a.ports.p.ip",
            "10.0.1.1 is the gateway's address in segment a/s");
    refused(SEGMENT(""), "p: {segment: s, ip: 10.0.1.255}", "", "tenants.a.ports.p.ip",
            "10.0.1.255 is no host's address in the subnet of segment a/s");
    refused("h: {mode: host-only, subnet: 10.0.1.0/24}", "p: {segment: h, ip: 10.0.1.1}", "",
            "tenants.a.ports.p.ip", "10.0.1.1 is the host's address in segment a/h");
    refused("h: {mode: host-only, subnet: 10.0.1.0/24}", "p: {segment: h, tap: weft-h}", "",
            "tenants.a.segments.h.host-interface",
            "interface weft-h is that of a/p; name another one with host-interface");
}

#define PORT "p: {segment: s, ip: 10.0.1.5}, q: {segment: s}"

static void translation(void **state)
{
    refused(SEGMENT(""), PORT, "ss: {filtering: endpoint-independent}", "tenants.a.nat.ss",
            "tenant a has no segment \"ss\"; did you mean \"s\"?");
    refused("s: {mode: isolated}", "", "s: {filtering: endpoint-independent}", "tenants.a.nat.s",
            "segment a/s is of mode isolated, not nat");
    refused(SEGMENT(""), PORT, "s: {address: [uplink, 203.0.113.9]}", "tenants.a.nat.s.address",
            "is the word uplink or addresses, not both");
    refused(SEGMENT(""), PORT, "s: {forwards: [{proto: tcp, port: 80, to: 'pp:80'}]}",
            "tenants.a.nat.s.forwards.0.to", "tenant a has no port \"pp\"; did you mean \"p\"?");
    refused(
        SEGMENT(""), PORT, "s: {forwards: [{proto: tcp, port: 80, to: 'q:80'}]}",
        "tenants.a.nat.s.forwards.0.to",
        "port a/q needs an ip in the subnet of segment a/s; \"weft port set a/q --ip ADDRESS\" gives it one");
    refused(SEGMENT(""), PORT, "s: {forwards: [{proto: tcp, to: 'p:80'}]}", "tenants.a.nat.s.forwards.0",
            "needs a port, like { proto: tcp, port: 8443, to: \"vm2:443\" }");
    refused(
        SEGMENT(""), PORT,
        "s: {forwards: [{proto: tcp, port: 80-90, to: 'p:80'}, {proto: udp, port: 85, to: 'p:1'}, {proto: "
        "tcp, port: 85, to: 'p:1'}]}",
        "tenants.a.nat.s.forwards", "tcp port 85 of l leads to a guest of a/s already");
    refused(SEGMENT(""), PORT, "s: {forwards: [{proto: tcp, port: 80-90, to: 'p:65530'}]}",
            "tenants.a.nat.s.forwards", "tcp ports 80-90 reach beyond 65535 at a/p");
    refused(SEGMENT(""), PORT,
            "s: {address: 203.0.113.9, forwards: [{proto: tcp, port: 80, to: 'p:80', address: 203.0.113.8}]}",
            "tenants.a.nat.s.forwards", "203.0.113.8 is not in the segment's list of addresses");
    refused(SEGMENT(""), PORT, "s: {address: 203.0.113.9, one-to-one: {p: 203.0.113.9}}",
            "tenants.a.nat.s.address", "203.0.113.9 is the one-to-one address of a/p");
    refused(SEGMENT(""), PORT ", r: {segment: s, ip: 10.0.1.6}",
            "s: {one-to-one: {p: 203.0.113.9, r: 203.0.113.9}}", "tenants.a.nat.s.one-to-one.r",
            "203.0.113.9 is that of a/p");
    refused(SEGMENT(""), PORT, "s: {address: '2001:db8::9'}", "tenants.a.nat.s.address",
            "2001:db8::9: segment a/s needs ipv6: nat for that");
}

static void uplinks(void **state)
{
    static const struct {
        const char *keys, *path, *message;
    } cases[] = {
        {"device: 'vdev:net_af_packet0,iface=eth9', address: 203.0.113.2/24", "uplinks.l.address",
         "the addresses of eth9 are the host's: set them there"},
        {"device: 'vdev:net_null0', address: 203.0.113.2/24, gateway: 198.51.100.1", "uplinks.l.gateway",
         "198.51.100.1 is in no network of the uplink's address"},
        {"device: 'vdev:net_null0', address: 203.0.113.2/24, gateway: 'fe80::1'", "uplinks.l.gateway",
         "fe80::1 is in no network of the uplink's address"},
        {"device: 'vdev:net_null0'", "uplinks.l",
         "segments of mode nat leave by it, so it needs an address, like 203.0.113.2/24"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char body[600];
        struct diagnostics diagnostics;
        snprintf(body, sizeof(body), "uplinks: {l: {%s}}\ntenants: {a: {segments: {" SEGMENT("") "}}}\n",
                 cases[i].keys);
        assert_null(build(body, &diagnostics));
        assert_int_equal(diagnostics.count, 1);
        assert_string_equal(diagnostics.items[0].path, cases[i].path);
        assert_string_equal(diagnostics.items[0].message, cases[i].message);
        diagnostics_clear(&diagnostics);
    }
}

#define TWO_VLANS                                                                                            \
    "uplinks:\n  e: {device: 'af_packet:eth9'}\n"                                                            \
    "  u: {device: 'vlan:e.120', address: 203.0.113.2/24, gateway: 203.0.113.1}\n"                           \
    "  v: {device: '%s', address: 203.0.113.2/24, gateway: 203.0.113.1}\n"                                   \
    "tenants: {a: {segments: {s: {mode: nat, uplink: u, subnet: 10.0.1.0/24}, t: {mode: nat, uplink: v, "    \
    "subnet: 10.0.2.0/24}%s}}}\n"

static void vlans(void **state)
{
    static const struct {
        const char *device, *segments, *path, *message;
    } cases[] = {
        {"vlan:f.121", "", "uplinks.v.device", "there is no uplink \"f\"; did you mean \"e\"?"},
        {"vlan:u.121", "", "uplinks.v.device", "uplink u is a VLAN itself"},
        {"vlan:e.120", "", "uplinks.v.device", "is the device of uplink u"},
        {"vlan:e.121", ", b: {mode: bridged, uplink: v}", "tenants.a.segments.b.uplink",
         "uplink v is a VLAN for mode nat; say uplink e and vlan 121"},
        {"vlan:e.4095", "", "uplinks.v.device",
         "\"vlan:e.4095\" is not vlan: and the name of an uplink with a VLAN of 1..4094, like vlan:lan0.120"},
    };
    char body[1000];
    struct diagnostics diagnostics;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(body, sizeof(body), TWO_VLANS, cases[i].device, cases[i].segments);
        assert_null(build(body, &diagnostics));
        assert_int_equal(diagnostics.count, 1);
        assert_string_equal(diagnostics.items[0].path, cases[i].path);
        assert_string_equal(diagnostics.items[0].message, cases[i].message);
        diagnostics_clear(&diagnostics);
    }
}

/* Each VLAN has a segment, an interface and a default route of its own, all with the same address. */
static void vlan_objects(void **state)
{
    struct diagnostics diagnostics;
    struct object_set set = {0};
    char body[1000];
    snprintf(body, sizeof(body), TWO_VLANS, "vlan:e.121", ", b: {mode: bridged, uplink: e, vlan: 120}");
    struct model *model = build(body, &diagnostics);
    assert_non_null(model);
    json_t *ids = ids_assign(NULL, model);
    compile_model(model, 1, 0, &set);
    compile_outside(model, NULL, &set);
    object_set_sort(&set);
    assert_int_equal(model->uplinks[1].id, 0);
    assert_int_equal(set.lists[DP_KIND_SEGMENT].count, 4); /* a/b is the outside of u */
    assert_int_equal(set.lists[DP_KIND_ROUTE].count, 2);
    const struct dp_member *members = set.lists[DP_KIND_MEMBER].items;
    for (uint32_t vlan = 120; vlan <= 121; vlan++) {
        uint32_t outside = model->uplinks[vlan - 119].outside_port, segment = 0, found = 0;
        for (size_t i = 0; i < set.lists[DP_KIND_MEMBER].count; i++)
            segment = members[i].port == outside ? members[i].segment : segment;
        for (size_t i = 0; i < set.lists[DP_KIND_MEMBER].count; i++)
            found += members[i].port == model->uplinks[0].id && members[i].vid == vlan &&
                     members[i].segment == segment;
        assert_int_equal(found, 1);
    }
    object_set_clear(&set);
    json_decref(ids);
    model_free(model);
}

/* Routers have link-local addresses: a next hop of that kind goes with any IPv6 address. */
static void link_local_gateway(void **state)
{
    static const char text[] =
        "uplinks: {l: {device: 'vdev:net_null0', address: 2001:db8::2/64, gateway: 'fe80::1'}}\n"
        "tenants: {a: {segments: {" SEGMENT("") "}}}\n";
    struct diagnostics diagnostics;
    struct model *model = build(text, &diagnostics);
    assert_non_null(model);
    model_free(model);
}

static const char whole[] = UPLINKS
    "tenants:\n  a:\n    limits: {sessions: 1000, sessions-per-guest: 10}\n    segments:\n"
    "      s: {mode: nat, uplink: l, subnet: [10.0.1.0/24, 'fd00:1::/64'], ipv6: nat}\n"
    "      t: {mode: nat, uplink: k, subnet: 10.0.2.0/24}\n"
    "      h: {mode: host-only, subnet: [192.168.56.0/24, 'fd00:56::/64'], dhcp: {enabled: false}}\n"
    "    ports: {p: {segment: s, ip: 10.0.1.5}}\n"
    "    nat: {s: {forwards: [{proto: tcp, port: 8443, to: 'p:443'}], one-to-one: {p: 203.0.113.7}}}\n";

static size_t count_of(const struct object_set *set, enum dp_kind kind)
{
    return set->lists[kind].count;
}

static void objects(void **state)
{
    static const uint8_t own[16] = {[10] = 0xff, 0xff, 203, 0, 113, 2},
                         guest[16] = {[10] = 0xff, 0xff, 10, 0, 1, 5};
    struct diagnostics diagnostics;
    struct object_set set = {0};
    struct model *model = build(whole, &diagnostics);
    assert_non_null(model);
    json_t *ids = ids_assign(NULL, model);
    assert_non_null(ids);
    compile_model(model, 1, 0, &set);
    compile_outside(model, NULL, &set);
    object_set_sort(&set);
    assert_int_equal(count_of(&set, DP_KIND_SEGMENT), 5); /* three, and the outside of l and of k */
    assert_int_equal(count_of(&set, DP_KIND_ROUTER), 1);
    assert_int_equal(count_of(&set, DP_KIND_INTERFACE), 4); /* k has none while the kernel has no eth9 */
    assert_int_equal(count_of(&set, DP_KIND_ROUTE), 1);
    assert_int_equal(count_of(&set, DP_KIND_NAT_ADDRESS), 1); /* no IPv6 address of l */
    assert_int_equal(count_of(&set, DP_KIND_NAT_SOURCE), 1);
    assert_int_equal(count_of(&set, DP_KIND_NAT_FORWARD), 1);
    assert_int_equal(count_of(&set, DP_KIND_NAT_ONE_TO_ONE), 1);
    const struct dp_router *router = set.lists[DP_KIND_ROUTER].items;
    assert_int_equal(router->session_limit, 1000);
    assert_int_equal(router->guest_session_limit, 10);
    const struct dp_nat_address *address = set.lists[DP_KIND_NAT_ADDRESS].items;
    assert_memory_equal(address->address, own, 16);
    assert_int_equal(address->port_first, 32768);
    assert_int_equal(address->port_last, 49151);
    const struct dp_nat_forward *forward = set.lists[DP_KIND_NAT_FORWARD].items;
    assert_memory_equal(forward->address, own, 16);
    assert_memory_equal(forward->inside, guest, 16);
    assert_int_equal(forward->to_first, 443);
    assert_int_equal(forward->outside, model->uplinks[0].outside_port);
    assert_int_equal(forward->port, model->segments[0].router_port);
    const struct dp_interface *interfaces = set.lists[DP_KIND_INTERFACE].items;
    for (size_t i = 0; i < count_of(&set, DP_KIND_INTERFACE); i++) {
        bool host = interfaces[i].port == model->segments[2].router_port;
        bool ipv6 = host || interfaces[i].port == model->segments[0].router_port;
        assert_int_equal((interfaces[i].flags & DP_INTERFACE_F_NO_FORWARD) != 0, host);
        assert_int_equal((interfaces[i].flags & DP_INTERFACE_F_PUNT_RS) != 0, ipv6);
        assert_int_equal(interfaces[i].router == 0, interfaces[i].port == model->uplinks[0].outside_port);
    }
    object_set_clear(&set);
    struct model *again = build(whole, &diagnostics);
    json_t *kept = ids_assign(ids, again);
    assert_true(json_equal(ids, kept)); /* own ports and segments keep their numbers */
    json_decref(kept);
    json_decref(ids);
    model_free(again);
    model_free(model);
}

/* One guest does not take all that is its tenant's, unless it may. */
static void guest_sessions(void **state)
{
    static const struct {
        const char *limits;
        unsigned sessions;
    } cases[] = {
        {"{}", 250000},
        {"{sessions: 1}", 1},
        {"{sessions: 1000}", 500},
        {"{sessions: 500k}", 250000},
        {"{sessions: 10M}", 250000},
        {"{sessions: 1000, sessions-per-guest: 1000}", 1000},
        {"{sessions-per-guest: 2M}", 2000000},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[400];
        struct diagnostics diagnostics;
        snprintf(text, sizeof(text), "%stenants: {a: {limits: %s, segments: {%s}}}\n", UPLINKS,
                 cases[i].limits, SEGMENT(""));
        struct model *model = build(text, &diagnostics);
        assert_non_null(model);
        assert_int_equal(model->tenants[0].limit_guest_sessions, cases[i].sessions);
        model_free(model);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments),       cmocka_unit_test(ports),
        cmocka_unit_test(translation),    cmocka_unit_test(uplinks),
        cmocka_unit_test(objects),        cmocka_unit_test(vlans),
        cmocka_unit_test(vlan_objects),   cmocka_unit_test(link_local_gateway),
        cmocka_unit_test(guest_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
