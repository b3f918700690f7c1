/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a document means: types, what is refused and where, defaults, numbers, the dataplane's objects.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "compile.h"
#include "config_yaml.h"
#include "export.h"
#include "ids.h"
#include "model.h"
#include "plan.h"
#include "values.h"

#define RUN_DIR "/run/weft"

static struct diagnostics diagnostics;

static struct model *build(const char *text)
{
    diagnostics_clear(&diagnostics);
    struct document *document = config_yaml_parse(text, strlen(text), &diagnostics);
    assert_non_null(document);
    struct model *model = model_from_document(document, RUN_DIR, &diagnostics);
    document_free(document);
    return model;
}

static struct model *valid(const char *text)
{
    struct model *model = build(text);
    if (!model)
        print_error("%s: %s\n", diagnostics.items[0].path, diagnostics.items[0].message);
    assert_non_null(model);
    return model;
}

/* `body` goes below tenants.acme; one mistake, where the @ in it stands, with these words. */
static void mistake(const char *body, const char *message)
{
    char text[2048];
    int start = snprintf(text, sizeof(text), "version: 1\ntenants:\n  acme:\n%s", body);
    char *at = strchr(text, '@');
    unsigned line = 1, column = 1;
    assert_non_null(at);
    for (char *c = text; c < at; c++) {
        line += *c == '\n';
        column = *c == '\n' ? 1 : column + 1;
    }
    memmove(at, at + 1, (size_t)(text + start - at));
    assert_null(build(text));
    const struct diagnostic *first = &diagnostics.items[0];
    if (diagnostics.count != 1 || !strstr(first->message, message) || first->position.line != line ||
        first->position.column != column)
        fail_msg("%s: %zu mistakes, %u:%u instead of %u:%u: %s: %s", body, diagnostics.count,
                 first->position.line, first->position.column, line, column, first->path, first->message);
    diagnostics_clear(&diagnostics);
}

#define WEB   "    segments: { web: { mode: isolated, vlan: 10 }, lab: { mode: isolated } }\n"
#define VM(x) WEB "    ports: { vm1: { segment: web, " x " } }\n"

static void test_mistakes_in_segments(void **state)
{
    (void)state;
    mistake("    @segmets: {}\n", "did you mean \"segments\"?");
    mistake("    segments: { @Web: { mode: isolated } }\n", "a name has");
    mistake("    segments: { web: { mode: @isolatd } }\n", "did you mean \"isolated\"?");
    mistake("    segments: { web: { mode: @nat } }\n", "not built in this version");
    mistake("    segments: { web: { mode: isolated, @subnet: 10.0.0.0/24 } }\n", "not built in this version");
    mistake("    segments: { @web: {} }\n", "needs a mode");
    mistake("    segments: { web: { mode: isolated, vlan: @4095 } }\n", "out of range 1 to 4094");
    mistake("    segments: { web: { mode: isolated, uplink: @lan0 } }\n", "there is no uplink");
    mistake("    segments: { @web: { mode: bridged } }\n", "needs an uplink");
    mistake("    segments: { web: { mode: isolated, static: { \"52:54:00:00:00:01\": @vm1 } } }\n",
            "has no port \"vm1\"");
    mistake("    limits: { ports: @0 }\n" WEB "    ports: { vm1: { segment: web } }\n", "its limit is 0");
}

static void test_mistakes_in_ports(void **state)
{
    (void)state;
    mistake(WEB "    ports: { vm1: { segment: @wbe } }\n", "did you mean \"web\"?");
    mistake(WEB "    ports: { @vm1: {} }\n", "needs a segment");
    mistake(VM("trunk: @[web]"), "not both");
    mistake(WEB "    ports: { vm1: { trunk: @[web, lab] } }\n", "needs a vlan");
    mistake(WEB "    ports: { vm1: { trunk: [web], native: @lab } }\n", "not in the trunk");
    mistake(WEB "    ports: { vm1: { trunk: @[] } }\n", "empty list");
    mistake(WEB "    ports: { vm1: { trunk: [web, @web] } }\n", "twice");
    mistake(VM("native: @web"), "only a trunk");
    mistake(VM("queues: @9"), "out of range 1 to 8");
    mistake(VM("enabled: @no"), "not true or false");
    mistake(VM("mac: @\"01:00:5e:00:00:01\""), "not a unicast");
    mistake(VM("mac: @0"), "not a MAC address");
    mistake(VM("mac: @~"), "needs a value");
    mistake(VM("ip: @10.0.0.0/24"), "without prefix length");
    mistake(VM("ip: @224.0.0.1"), "cannot be a host's");
    mistake(VM("ip: @{a: 1}"), "one value or a list");
    mistake(VM("mtu: @[1500]"), "must be one value");
    mistake(VM("socket: @run/x"), "absolute path");
    mistake(VM("tap: @a/b"), "name for an interface");
    mistake(VM("tap: t0, client: @true"), "no vhost-user socket");
    mistake(VM("storm-limit: @5x"), "like 500, 64k or 2M");
    mistake(VM("@rate-out: 1gbit"), "not built");
    mistake(VM("@\"*\": 1"), "unknown key");
}

static void test_mistakes_between_ports(void **state)
{
    (void)state;
    mistake(WEB "    ports:\n      vm1: { segment: web, mac: \"52:54:00:00:00:01\" }\n"
                "      vm2: { segment: web, mac: @\"52:54:00:00:00:01\" }\n",
            "is the address of port acme/vm1");
    mistake(WEB "    ports:\n      vm1: { segment: web, ip: 10.0.0.1 }\n"
                "      vm2: { segment: web, ip: @[10.0.0.2, 10.0.0.1] }\n",
            "is an address of port acme/vm1");
    mistake(
        WEB
        "    ports:\n      vm1: { segment: web, socket: /a/b }\n      vm2: { segment: web, socket: @/a/b }\n",
        "has this socket already");
}

static void test_many_mistakes_in_order(void **state)
{
    (void)state;
    assert_null(build("version: 2\nbogus: 1\ntenants:\n  acme:\n    segments: { web: { mode: x, vlan: y } }\n"
                      "    ports: { vm1: { segment: nix, mtu: 1 } }\n"));
    assert_int_equal(diagnostics.count, 6);
    for (size_t i = 1; i < diagnostics.count; i++)
        assert_true(diagnostics.items[i - 1].position.line <= diagnostics.items[i].position.line);
    assert_int_equal(diagnostics_code(&diagnostics), WEFT_INVALID);
    diagnostics_clear(&diagnostics);
    assert_null(build("tenants: {}\n"));
    assert_non_null(strstr(diagnostics.items[0].message, "version: 1"));
    diagnostics_clear(&diagnostics);
}

static void test_limit_code(void **state)
{
    (void)state;
    assert_null(
        build("version: 1\ntenants: { a: { limits: { ports: 0 }, segments: { s: { mode: isolated } }, "
              "ports: { p: { segment: s } } } }\n"));
    assert_int_equal(diagnostics_code(&diagnostics), WEFT_LIMIT);
    diagnostics_clear(&diagnostics);
}

static void test_defaults(void **state)
{
    (void)state;
    struct model *model =
        valid("version: 1\ntenants: { acme: { segments: { web: { mode: isolated } }, ports: { "
              "vm1: { segment: web, ip: 10.0.0.1 } } } }\n");
    const struct model_port *port = &model->ports[0];
    assert_string_equal(port->full_name, "acme/vm1");
    assert_string_equal(port->socket, RUN_DIR "/vhost/acme.vm1");
    assert_int_equal(port->mtu, 1500);
    assert_int_equal(port->queues, 1);
    assert_true(port->enabled);
    assert_int_equal(port->address_count, 1);
    assert_int_equal(model->segments[0].ageing, 300);
    model_free(model);
}

static const char *const full =
    "version: 1\n"
    "dataplane: { hugepages: never }\n"
    "uplinks: { lan0: { device: \"vdev:net_null0\", mtu: 9000 } }\n"
    "tenants:\n"
    "  acme:\n"
    "    limits: { ports: 64, macs: 100 }\n"
    "    segments:\n"
    "      web: { mode: isolated, vlan: 10, ageing: 2m, isolate-ports: true, macs: 40 }\n"
    "      lab: { mode: bridged, uplink: lan0, vlan: 120, static: { \"52:54:00:00:00:99\": vm3 } }\n"
    "      no: { mode: isolated }\n"
    "    ports:\n"
    "      vm1: { segment: web, mac: \"52:54:00:00:00:01\", ip: [10.0.0.1, \"fd00::1\"], queues: 2, "
    "storm-limit: 2k }\n"
    "      vm2: { segment: web, mac: \"52-54-00-00-00-02\", spoof: allow, isolated: false, enabled: false }\n"
    "      vm3: { trunk: [web, lab], native: web, client: true, socket: /tmp/vm3 }\n"
    "      host: { segment: lab, tap: weft-adm, mtu: 9000 }\n";

static const void *object(const struct object_set *set, enum dp_kind kind, size_t index)
{
    assert_true(index < set->lists[kind].count);
    return (const char *)set->lists[kind].items + index * dp_object_size(kind);
}

static const struct dp_port *port_named(const struct object_set *set, const char *name)
{
    for (size_t i = 0; i < set->lists[DP_KIND_PORT].count; i++) {
        const struct dp_port *port = object(set, DP_KIND_PORT, i);
        if (strcmp(port->name, name) == 0)
            return port;
    }
    fail_msg("no port %s", name);
    return NULL;
}

static void test_compile(void **state)
{
    (void)state;
    struct model *model = valid(full);
    json_t *ids = ids_assign(NULL, model);
    struct object_set set = {0};
    compile_model(model, 7, UINT32_MAX, &set);
    assert_int_equal(set.lists[DP_KIND_PORT].count, 5);
    assert_int_equal(set.lists[DP_KIND_SEGMENT].count, 3);
    assert_int_equal(set.lists[DP_KIND_MEMBER].count,
                     2 + 2 + 1 + 1); /* vm1 vm2, vm3's two, host, the uplink */
    assert_int_equal(((const struct dp_global *)object(&set, DP_KIND_GLOBAL, 0))->generation, 7);
    const struct dp_port *vm1 = port_named(&set, "acme/vm1"), *vm2 = port_named(&set, "acme/vm2");
    assert_int_equal(vm1->flags, DP_PORT_F_SPOOF_MAC | DP_PORT_F_SPOOF_IP | DP_PORT_F_ISOLATED);
    assert_int_equal(vm1->storm_pps, 2000);
    assert_int_equal(vm2->flags, DP_PORT_F_DOWN);
    const struct dp_port *vm3 = port_named(&set, "acme/vm3"), *host = port_named(&set, "acme/host");
    assert_int_equal(vm3->flags, DP_PORT_F_CLIENT | DP_PORT_F_ISOLATED);
    assert_string_equal(vm3->device, "/tmp/vm3");
    assert_int_equal(host->type, DP_PORT_TAP);
    assert_int_equal(host->flags, 0);
    assert_string_equal(port_named(&set, "lan0")->device, "net_null0");
    assert_int_equal(port_named(&set, "lan0")->tenant, 0);
    assert_int_equal(set.lists[DP_KIND_ALLOWED].count, 4); /* mac, two addresses, the link-local one */
    assert_int_equal(set.lists[DP_KIND_STATIC].count, 2);  /* vm1's address, and the configured one */
    uint32_t macs = 0;
    for (size_t i = 0; i < 3; i++)
        macs += ((const struct dp_segment *)object(&set, DP_KIND_SEGMENT, i))->mac_limit;
    assert_int_equal(macs, 100);
    object_set_clear(&set);
    json_decref(ids);
    model_free(model);
}

static void test_ids_are_stable(void **state)
{
    (void)state;
    struct model *model = valid(full);
    json_t *ids = ids_assign(NULL, model);
    uint32_t vm3 = model_port(&model->tenants[0], "vm3")->id, vm1 = model_port(&model->tenants[0], "vm1")->id;
    model_free(model);
    model = valid(
        "version: 1\ntenants: { acme: { segments: { web: { mode: isolated } }, ports: { new: { segment: "
        "web }, vm3: { segment: web } } } }\n");
    json_t *next = ids_assign(ids, model);
    assert_int_equal(model_port(&model->tenants[0], "vm3")->id, vm3);
    assert_int_not_equal(model_port(&model->tenants[0], "new")->id, vm1); /* not at once */
    json_decref(ids);
    json_decref(next);
    model_free(model);
}

static void test_export_reads_back(void **state)
{
    (void)state;
    struct model *model = valid(full);
    char *text = export_yaml(model->config);
    struct model *again = valid(text);
    assert_true(json_equal(model->config, again->config));
    char *text_again = export_yaml(again->config);
    assert_string_equal(text, text_again);
    assert_non_null(strstr(text, "\"no\":")); /* a segment's name that others would read as false */
    free(text);
    free(text_again);
    model_free(model);
    model_free(again);
}

static void check_plan(const char *before, const char *after, const char *const *lines)
{
    struct model *old = valid(before), *new = valid(after);
    json_t *changes = plan_changes(old->config, new->config);
    size_t count = 0;
    for (; lines[count]; count++)
        assert_string_equal(json_string_value(json_array_get(changes, count)), lines[count]);
    assert_int_equal(json_array_size(changes), count);
    json_decref(changes);
    model_free(old);
    model_free(new);
}

static void test_plan(void **state)
{
    (void)state;
    const char *nothing = "version: 1\n";
    const char *one =
        "version: 1\ntenants: { a: { limits: { ports: 5 }, segments: { s: { mode: isolated } }, ports: { "
        "p: { segment: s, queues: 1 } } } }\n";
    const char *two =
        "version: 1\ntenants: { a: { segments: { s: { mode: isolated, vlan: 5 } }, ports: { p: { "
        "segment: s, queues: 2, ip: 10.0.0.1 } } } }\n";
    check_plan(one, one, (const char *const[]){NULL});
    check_plan(nothing, one,
               (const char *const[]){"+ tenant a limits.ports 5", "+ segment a/s mode isolated",
                                     "+ port a/p segment s queues 1", NULL});
    check_plan(one, two,
               (const char *const[]){"~ tenant a limits.ports 5 -> none", "~ segment a/s vlan none -> 5",
                                     "~ port a/p queues 1 -> 2, ip none -> 10.0.0.1", NULL});
    check_plan(one, nothing, (const char *const[]){"- segment a/s", "- port a/p", "- tenant a", NULL});
}

static void test_values(void **state)
{
    (void)state;
    int64_t number;
    uint8_t bytes[16];
    assert_int_equal(value_count("64k", &number), 0);
    assert_int_equal(number, 64000);
    assert_int_equal(value_seconds("2h", &number), 0);
    assert_int_equal(number, 7200);
    static const char *const wrong[] = {"", "-1", "+1", " 1", "1 ", "1kk", "0x10", "1.5", "k"};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_true(value_count(wrong[i], &number) < 0);
    assert_true(value_number("9223372036854775808", &number) < 0);
    assert_true(value_count("9223372036854775807k", &number) < 0);
    assert_int_equal(value_mac("52:54:00:AB:cd:01", bytes), 0);
    assert_int_equal(bytes[3], 0xab);
    assert_true(value_mac("52:54-00:ab:cd:01", bytes) < 0);
    assert_true(value_mac("5:54:00:ab:cd:011", bytes) < 0);
    assert_int_equal(value_ip("10.0.0.1", bytes), 4);
    assert_int_equal(value_ip("fd00::1", bytes), 6);
    assert_true(value_ip("10.0.0.1 ", bytes) < 0);
    assert_true(value_path("/a/.b/c..d"));
    assert_false(value_path("/a/../b"));
    assert_false(value_path("/a/."));
    assert_false(value_name("abcdefghijabcdefghijabcdefghijab"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_in_segments),
        cmocka_unit_test(test_mistakes_in_ports),
        cmocka_unit_test(test_mistakes_between_ports),
        cmocka_unit_test(test_many_mistakes_in_order),
        cmocka_unit_test(test_limit_code),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_compile),
        cmocka_unit_test(test_ids_are_stable),
        cmocka_unit_test(test_export_reads_back),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
