/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configurations to objects of the dataplane, and the numbers that objects keep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "compile.h"
#include "config_yaml.h"
#include "ids.h"

static struct model *build(const char *body)
{
    char text[4096];
    struct diagnostics diagnostics = {0};
    snprintf(text, sizeof(text), "version: 1\n%s", body);
    struct document *document = config_yaml_parse(text, strlen(text), &diagnostics);
    assert_non_null(document);
    struct model *model = model_from_document(document, "/run/weft", &diagnostics);
    document_free(document);
    for (size_t i = 0; i < diagnostics.count; i++)
        print_error("%s: %s\n", diagnostics.items[i].path, diagnostics.items[i].message);
    assert_non_null(model);
    return model;
}

static void compile(const char *body, struct object_set *set)
{
    struct model *model = build(body);
    json_decref(ids_assign(NULL, model));
    memset(set, 0, sizeof(*set));
    compile_model(model, 7, 42, set);
    model_free(model);
}

static const struct dp_port *port_named(const struct object_set *set, const char *name)
{
    const struct dp_port *ports = set->lists[DP_KIND_PORT].items;
    for (size_t i = 0; i < set->lists[DP_KIND_PORT].count; i++) {
        if (strcmp(ports[i].name, name) == 0)
            return &ports[i];
    }
    fail_msg("no port %s", name);
    return NULL;
}

static const struct dp_segment *segment_named(const struct object_set *set, const char *name)
{
    const struct dp_segment *segments = set->lists[DP_KIND_SEGMENT].items;
    for (size_t i = 0; i < set->lists[DP_KIND_SEGMENT].count; i++) {
        if (strcmp(segments[i].name, name) == 0)
            return &segments[i];
    }
    fail_msg("no segment %s", name);
    return NULL;
}

/* The member of a port with this VID; NULL: none. */
static const struct dp_member *member_of(const struct object_set *set, const char *port, uint32_t vid)
{
    uint32_t id = port_named(set, port)->id;
    const struct dp_member *members = set->lists[DP_KIND_MEMBER].items;
    for (size_t i = 0; i < set->lists[DP_KIND_MEMBER].count; i++) {
        if (members[i].port == id && members[i].vid == vid)
            return &members[i];
    }
    return NULL;
}

static size_t allowed_of(const struct object_set *set, const char *port, uint32_t type)
{
    uint32_t id = port_named(set, port)->id;
    const struct dp_allowed *allowed = set->lists[DP_KIND_ALLOWED].items;
    size_t count = 0;
    for (size_t i = 0; i < set->lists[DP_KIND_ALLOWED].count; i++)
        count += allowed[i].port == id && allowed[i].type == type;
    return count;
}

static void an_access_port(void **state)
{
    struct object_set set;
    compile("tenants: {a: {segments: {w: {mode: isolated, macs: 10}}, ports: {p: {segment: w, queues: 2, "
            "mtu: 9000,\n"
            "  mac: 52:54:00:00:00:01, ip: [10.0.0.1, fd00::1], storm-limit: 5k, macs: 3}}}}\n",
            &set);
    const struct dp_port *port = port_named(&set, "a/p");
    assert_int_equal(port->type, DP_PORT_VHOST_USER);
    assert_string_equal(port->device, "/run/weft/vhost/a.p");
    assert_int_equal(port->queues, 2);
    assert_int_equal(port->mtu, 9000);
    assert_int_equal(port->storm_pps, 5000);
    assert_int_equal(port->mac_limit, 3);
    assert_int_equal(port->socket_group, 42);
    assert_int_equal(port->flags, DP_PORT_F_SPOOF_MAC | DP_PORT_F_SPOOF_IP);
    const struct dp_segment *segment = segment_named(&set, "a/w");
    assert_int_equal(segment->tenant, port->tenant);
    assert_int_equal(segment->ageing_s, 300);
    assert_int_equal(segment->mac_limit, 10);
    assert_int_equal(member_of(&set, "a/p", DP_MEMBER_UNTAGGED)->segment, segment->id);
    assert_int_equal(set.lists[DP_KIND_STATIC].count, 1);
    assert_int_equal(allowed_of(&set, "a/p", DP_ALLOWED_MAC), 1);
    assert_int_equal(allowed_of(&set, "a/p", DP_ALLOWED_IPV4), 1);
    assert_int_equal(allowed_of(&set, "a/p", DP_ALLOWED_IPV6), 2); /* with the link-local one */
    const struct dp_global *global = set.lists[DP_KIND_GLOBAL].items;
    assert_int_equal(global->generation, 7);
    object_set_clear(&set);
}

/* Where somebody gives addresses already, guests do not; who has IPv4 addresses alone makes its IPv6 one. */
static void guests_do_not_serve(void **state)
{
    static const uint8_t own[16] = {0xfd, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1};
    struct object_set set;
    compile("uplinks: {l: {device: 'af_packet:eth9'}}\n"
            "tenants: {a: {segments: {w: {mode: isolated}, b: {mode: bridged, uplink: l},\n"
            "  n: {mode: nat, uplink: l, vlan: 7, subnet: [10.0.1.0/24, 'fd00:1::/64']}},\n"
            " ports: {p: {segment: n, mac: 52:54:00:00:00:01, ip: 10.0.1.5}, q: {segment: n},\n"
            "  r: {segment: n, mac: 52:54:00:00:00:03}, s: {segment: b, mac: 52:54:00:00:00:04},\n"
            "  t: {segment: w, mac: 52:54:00:00:00:05},\n"
            "  u: {segment: n, mac: 52:54:00:00:00:06, ip: 10.0.1.6, spoof: allow}}}}\n",
            &set);
    assert_int_equal(port_named(&set, "a/p")->flags,
                     DP_PORT_F_SPOOF_MAC | DP_PORT_F_SPOOF_IP | DP_PORT_F_GUARD);
    assert_int_equal(port_named(&set, "a/q")->flags, 0); /* nothing of it is checked */
    assert_int_equal(port_named(&set, "a/r")->flags, DP_PORT_F_SPOOF_MAC | DP_PORT_F_GUARD);
    assert_true(port_named(&set, "a/s")->flags & DP_PORT_F_GUARD);
    assert_false(port_named(&set, "a/t")->flags & DP_PORT_F_GUARD);
    assert_int_equal(port_named(&set, "a/u")->flags, 0);
    assert_int_equal(allowed_of(&set, "a/p", DP_ALLOWED_IPV6), 1);
    assert_int_equal(allowed_of(&set, "a/r", DP_ALLOWED_IPV6), 0);
    const struct dp_allowed *allowed = set.lists[DP_KIND_ALLOWED].items;
    for (size_t i = 0; i < set.lists[DP_KIND_ALLOWED].count; i++) {
        if (allowed[i].type == DP_ALLOWED_IPV6)
            assert_memory_equal(allowed[i].address, own, sizeof(own));
    }
    object_set_clear(&set);
}

static void spoof_allow_lifts_everything(void **state)
{
    struct object_set set;
    compile("tenants: {a: {segments: {w: {mode: isolated}}, ports: {p: {segment: w, spoof: allow,\n"
            "  mac: 52:54:00:00:00:01, ip: 10.0.0.1}, q: {segment: w, ip: 10.0.0.2}, r: {segment: w}}}}\n",
            &set);
    assert_int_equal(port_named(&set, "a/p")->flags, 0);
    assert_int_equal(port_named(&set, "a/q")->flags, DP_PORT_F_SPOOF_IP);
    assert_int_equal(port_named(&set, "a/r")->flags, 0);
    assert_int_equal(set.lists[DP_KIND_STATIC].count, 0);
    assert_int_equal(set.lists[DP_KIND_ALLOWED].count, 1);
    object_set_clear(&set);
}

static void trunks_and_uplinks(void **state)
{
    struct object_set set;
    compile(
        "uplinks: {lan: {device: 'vdev:net_null0,copy=1', mtu: 1600}}\n"
        "tenants: {a: {segments: {w: {mode: isolated, vlan: 5}, x: {mode: bridged, uplink: lan, vlan: 6},\n"
        "  y: {mode: bridged, uplink: lan}}, ports: {t: {trunk: [w, x], native: w}}}}\n",
        &set);
    const struct dp_port *uplink = port_named(&set, "lan");
    assert_int_equal(uplink->type, DP_PORT_ETHDEV);
    assert_int_equal(uplink->tenant, 0);
    assert_int_equal(uplink->mtu, 1600);
    assert_string_equal(uplink->device, "net_null0,copy=1");
    assert_int_equal(member_of(&set, "a/t", DP_MEMBER_UNTAGGED)->segment, segment_named(&set, "a/w")->id);
    assert_int_equal(member_of(&set, "a/t", DP_MEMBER_UNTAGGED)->tagged_vid, 5);
    assert_int_equal(member_of(&set, "a/t", 6)->segment, segment_named(&set, "a/x")->id);
    assert_null(member_of(&set, "a/t", 5));
    assert_int_equal(member_of(&set, "lan", 6)->segment, segment_named(&set, "a/x")->id);
    assert_int_equal(member_of(&set, "lan", DP_MEMBER_UNTAGGED)->segment, segment_named(&set, "a/y")->id);
    object_set_clear(&set);
}

/* A NIC that cannot be used is a port without link; guests follow the link that the dataplane tells. */
static void nics(void **state)
{
    struct object_set set = {0};
    struct model *model = build(
        "uplinks: {lan: {device: 'pci:03:00.0'}}\n"
        "tenants: {a: {segments: {w: {mode: bridged, uplink: lan}, x: {mode: bridged, uplink: lan, vlan: 6,\n"
        "  follow-uplink: false}}, ports: {p: {segment: w}, q: {segment: x}}}}\n");
    json_decref(ids_assign(NULL, model));
    model->uplinks[0].no_link = true;
    compile_model(model, 7, 42, &set);
    assert_int_equal(port_named(&set, "lan")->type, DP_PORT_PACKET);
    assert_int_equal(port_named(&set, "lan")->ifindex, 0);
    assert_int_equal(port_named(&set, "lan")->flags, DP_PORT_F_NO_LINK);
    assert_int_equal(port_named(&set, "a/p")->flags, DP_PORT_F_NO_LINK);
    assert_int_equal(port_named(&set, "a/q")->flags, 0);
    object_set_clear(&set);
    model->uplinks[0].no_link = false;
    model->uplinks[0].nic_usable = true;
    compile_model(model, 7, 42, &set);
    assert_int_equal(port_named(&set, "lan")->type, DP_PORT_ETHDEV);
    assert_int_equal(port_named(&set, "lan")->flags, 0);
    assert_int_equal(port_named(&set, "lan")->queues, 1);
    assert_string_equal(port_named(&set, "lan")->device, "0000:03:00.0");
    assert_int_equal(port_named(&set, "a/p")->flags, 0);
    object_set_clear(&set);
    model_free(model);
}

static void isolation(void **state)
{
    struct object_set set;
    compile(
        "tenants: {a: {segments: {w: {mode: isolated, isolate-ports: true}, x: {mode: isolated}}, ports: {\n"
        "  p: {segment: w}, gw: {segment: w, isolated: false}, host: {segment: w, tap: t0},\n"
        "  q: {segment: x, isolated: true}, r: {segment: x, enabled: false, client: true}}}}\n",
        &set);
    assert_int_equal(port_named(&set, "a/p")->flags, DP_PORT_F_ISOLATED);
    assert_int_equal(port_named(&set, "a/gw")->flags, 0);
    assert_int_equal(port_named(&set, "a/host")->flags, 0);
    assert_string_equal(port_named(&set, "a/host")->device, "t0");
    assert_int_equal(port_named(&set, "a/q")->flags, DP_PORT_F_ISOLATED);
    assert_int_equal(port_named(&set, "a/r")->flags, DP_PORT_F_DOWN | DP_PORT_F_CLIENT);
    assert_int_equal(segment_named(&set, "a/w")->flags, DP_SEGMENT_F_ISOLATE_PORTS);
    assert_int_equal(segment_named(&set, "a/x")->flags, DP_SEGMENT_F_ISOLATE_PORTS);
    object_set_clear(&set);
}

static void a_tenants_addresses_are_shared_out(void **state)
{
    struct object_set set;
    compile(
        "tenants: {a: {limits: {macs: 100}, segments: {u: {mode: isolated, macs: 60}, v: {mode: isolated},\n"
        "  w: {mode: isolated}}}}\n",
        &set);
    assert_int_equal(segment_named(&set, "a/u")->mac_limit, 60);
    assert_int_equal(segment_named(&set, "a/v")->mac_limit, 20);
    assert_int_equal(segment_named(&set, "a/w")->mac_limit, 20);
    object_set_clear(&set);
}

static void statics_of_a_segment(void **state)
{
    struct object_set set;
    compile("tenants: {a: {segments: {w: {mode: isolated, static: {52:54:00:00:00:01: p, 52:54:00:00:00:02: "
            "p}}},\n"
            "  ports: {p: {segment: w, mac: 52:54:00:00:00:01}}}}\n",
            &set);
    assert_int_equal(set.lists[DP_KIND_STATIC].count, 2); /* the port's own is not there twice */
    object_set_clear(&set);
}

static void order_does_not_matter(void **state)
{
    struct object_set one, other;
    struct model *model =
        build("tenants: {a: {segments: {w: {mode: isolated}}, ports: {p: {segment: w}, q: {segment: w}}}}\n");
    json_t *ids = ids_assign(NULL, model);
    memset(&one, 0, sizeof(one));
    compile_model(model, 1, 0, &one);
    model_free(model);
    model =
        build("tenants: {a: {ports: {q: {segment: w}, p: {segment: w}}, segments: {w: {mode: isolated}}}}\n");
    json_decref(ids_assign(ids, model));
    memset(&other, 0, sizeof(other));
    compile_model(model, 1, 0, &other);
    model_free(model);
    json_decref(ids);
    for (unsigned kind = 1; kind < OBJECT_KINDS; kind++) {
        assert_int_equal(one.lists[kind].count, other.lists[kind].count);
        if (one.lists[kind].count)
            assert_memory_equal(one.lists[kind].items, other.lists[kind].items,
                                one.lists[kind].count * dp_object_size(kind));
    }
    object_set_clear(&one);
    object_set_clear(&other);
}

static void numbers_are_kept_and_not_given_again(void **state)
{
    struct model *model =
        build("tenants: {a: {segments: {w: {mode: isolated}}, ports: {p: {segment: w}, q: {segment: w}}}}\n");
    json_t *ids = ids_assign(NULL, model), *next;
    uint32_t p = model->ports[0].id, q = model->ports[1].id;
    assert_int_not_equal(p, q);
    model_free(model);
    model =
        build("tenants: {a: {segments: {w: {mode: isolated}}, ports: {r: {segment: w}, q: {segment: w}}}}\n");
    next = ids_assign(ids, model);
    assert_int_equal(model->ports[1].id, q);
    assert_int_not_equal(model->ports[0].id, p);
    assert_int_not_equal(model->ports[0].id, q);
    model_free(model);
    json_decref(ids);
    json_decref(next);
}

/* What is stored may be anything. */
static void numbers_from_a_damaged_store(void **state)
{
    static const char *const texts[] = {
        "{}", "[]", "{\"port\":{\"a/p\":1,\"a/q\":1},\"next\":{\"port\":99999}}",
        "{\"port\":{\"a/p\":-1,\"a/q\":4096},\"next\":{\"port\":-5}}", "{\"port\":[1],\"next\":7}"};
    for (unsigned i = 0; i < 5; i++) {
        struct model *model = build(
            "tenants: {a: {segments: {w: {mode: isolated}}, ports: {p: {segment: w}, q: {segment: w}}}}\n");
        json_t *before = json_loads(texts[i], 0, NULL), *after = ids_assign(before, model);
        assert_non_null(after);
        assert_in_range(model->ports[0].id, 1, DP_PORTS_MAX - 1);
        assert_in_range(model->ports[1].id, 1, DP_PORTS_MAX - 1);
        assert_int_not_equal(model->ports[0].id, model->ports[1].id);
        json_decref(before);
        json_decref(after);
        model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_access_port),
        cmocka_unit_test(guests_do_not_serve),
        cmocka_unit_test(spoof_allow_lifts_everything),
        cmocka_unit_test(trunks_and_uplinks),
        cmocka_unit_test(nics),
        cmocka_unit_test(isolation),
        cmocka_unit_test(a_tenants_addresses_are_shared_out),
        cmocka_unit_test(statics_of_a_segment),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(numbers_are_kept_and_not_given_again),
        cmocka_unit_test(numbers_from_a_damaged_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
