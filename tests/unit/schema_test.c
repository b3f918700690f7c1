/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Documents to typed trees: each type's texts, and every mistake at its line and column.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config_yaml.h"
#include "export.h"
#include "schema.h"

static json_t *check(const char *text, struct diagnostics *diagnostics)
{
    *diagnostics = (struct diagnostics){0};
    struct document *document = config_yaml_parse(text, strlen(text), diagnostics);
    assert_non_null(document);
    json_t *tree = schema_check(document_root(document), diagnostics);
    document_free(document);
    diagnostics_sort(diagnostics);
    return tree;
}

/* One mistake, there, with this text. */
static void refused(const char *text, unsigned line, unsigned column, const char *path, const char *message)
{
    struct diagnostics diagnostics;
    json_decref(check(text, &diagnostics));
    for (size_t i = 0; i < diagnostics.count; i++)
        print_message("%s: %s\n", diagnostics.items[i].path, diagnostics.items[i].message);
    assert_int_equal(diagnostics.count, 1);
    assert_string_equal(diagnostics.items[0].message, message);
    assert_string_equal(diagnostics.items[0].path, path);
    assert_int_equal(diagnostics.items[0].position.line, line);
    assert_int_equal(diagnostics.items[0].position.column, column);
    diagnostics_clear(&diagnostics);
}

/* A port's key with this value. */
static void port_refused(const char *line, unsigned column, const char *key, const char *message)
{
    char text[512], path[64];
    snprintf(text, sizeof(text), "version: 1\ntenants: {a: {ports: {p:\n%s}}}\n", line);
    snprintf(path, sizeof(path), "tenants.a.ports.p.%s", key);
    refused(text, 3, column, path, message);
}

static json_t *port_accepted(const char *line)
{
    char text[512];
    struct diagnostics diagnostics;
    snprintf(text, sizeof(text), "version: 1\ntenants: {a: {ports: {p:\n%s}}}\n", line);
    json_t *tree = check(text, &diagnostics), *port = NULL;
    for (size_t i = 0; i < diagnostics.count; i++)
        print_error("%s: %s\n", diagnostics.items[i].path, diagnostics.items[i].message);
    assert_int_equal(diagnostics.count, 0);
    json_unpack(tree, "{s:{s:{s:{s:O}}}}", "tenants", "a", "ports", "p", &port);
    json_decref(tree);
    return port;
}

static void expect_port(const char *line, const char *json)
{
    json_t *port = port_accepted(line), *wanted = json_loads(json, 0, NULL);
    assert_non_null(wanted);
    assert_true(json_equal(port, wanted));
    json_decref(port);
    json_decref(wanted);
}

static void values_take_one_spelling(void **state)
{
    expect_port("{queues: 2, mtu: \"9000\"}", "{\"queues\":2,\"mtu\":9000}");
    expect_port("{mac: 52-54-00-AB-00-01}", "{\"mac\":\"52:54:00:ab:00:01\"}");
    expect_port("{ip: 10.0.0.1}", "{\"ip\":[\"10.0.0.1\"]}");
    expect_port("{ip: [10.0.0.1, FD00:0::1]}", "{\"ip\":[\"10.0.0.1\",\"fd00::1\"]}");
    expect_port("{trunk: [no, yes]}", "{\"trunk\":[\"no\",\"yes\"]}");
    expect_port("{storm-limit: 2M, macs: 64k}", "{\"storm-limit\":2000000,\"macs\":64000}");
    expect_port("{client: true, enabled: \"false\"}", "{\"client\":true,\"enabled\":false}");
    expect_port("{spoof: allow, tap: weft-0, segment: on}",
                "{\"spoof\":\"allow\",\"tap\":\"weft-0\",\"segment\":\"on\"}");
    expect_port("{socket: /run/my vms/a.sock}", "{\"socket\":\"/run/my vms/a.sock\"}");
    expect_port("", "{}");
}

static void values_that_do_not_fit(void **state)
{
    port_refused("{queues: many}", 10, "queues", "\"many\" is not a number");
    port_refused("{queues: 0}", 10, "queues", "\"0\" is out of range 1 to 8");
    port_refused("{queues: -1}", 10, "queues", "\"-1\" is not a number");
    port_refused("{queues: 0x2}", 10, "queues", "\"0x2\" is not a number");
    port_refused("{queues: 99999999999999999999}", 10, "queues",
                 "\"99999999999999999999\" is out of range 1 to 8");
    port_refused("{queues: [1]}", 10, "queues", "must be one value, not a list or mapping");
    port_refused("{queues: }", 10, "queues", "needs a value");
    port_refused("{macs: 4x}", 8, "macs", "\"4x\" is not a number, like 500, 64k or 2M");
    port_refused("{macs: 9223372036854775807G}", 8, "macs",
                 "\"9223372036854775807G\" is out of range 1 to 1000000");
    port_refused("{client: yes}", 10, "client", "\"yes\" is not true or false");
    port_refused("{mac: 01:00:5e:00:00:01}", 7, "mac", "\"01:00:5e:00:00:01\" is not a unicast address");
    port_refused("{mac: 52:54:00}", 7, "mac", "\"52:54:00\" is not a MAC address, like 52:54:00:00:00:01");
    port_refused("{mac: 52:54:00-00:00:01}", 7, "mac",
                 "\"52:54:00-00:00:01\" is not a MAC address, like 52:54:00:00:00:01");
    port_refused("{ip: 10.0.0.0/24}", 6, "ip",
                 "\"10.0.0.0/24\" is not an address, like 10.0.0.1 or fd00::1 (without prefix length)");
    port_refused("{ip: 010.0.0.1}", 6, "ip",
                 "\"010.0.0.1\" is not an address, like 10.0.0.1 or fd00::1 (without prefix length)");
    port_refused("{ip: [127.0.0.1]}", 7, "ip", "127.0.0.1 cannot be a host's address");
    port_refused("{ip: ff02::1}", 6, "ip", "ff02::1 cannot be a host's address");
    port_refused("{ip: [10.0.0.1, 10.0.0.1]}", 17, "ip", "\"10.0.0.1\" is in the list twice");
    port_refused("{ip: []}", 6, "ip", "must not be an empty list");
    port_refused("{ip: {a: b}}", 6, "ip", "must be one value or a list of values");
    port_refused("{socket: run/x}", 10, "socket", "\"run/x\" is not an absolute path without . or ..");
    port_refused("{socket: /run/../x}", 10, "socket",
                 "\"/run/../x\" is not an absolute path without . or ..");
    port_refused("{tap: much-too-long-name}", 7, "tap",
                 "\"much-too-long-name\" is not a name for an interface (1 to 15 characters)");
    port_refused("{spoof: alow}", 9, "spoof", "\"alow\" is not one of: deny, allow; did you mean \"allow\"?");
    port_refused("{segment: Web}", 11, "segment", "\"Web\" is not a name (a-z, 0-9 and -, 31 at most)");
}

static void keys_that_do_not_exist_or_are_not_built(void **state)
{
    port_refused("{queue: 1}", 2, "queue", "unknown key; did you mean \"queues\"?");
    port_refused("{wheels: 4}", 2, "wheels", "unknown key");
    port_refused("{'*': 4}", 2, "*", "unknown key");
    port_refused("{rate-in: 1gbit}", 2, "rate-in", "rate limits: not built in this version");
    refused("version: 1\ntenant: {}\n", 2, 1, "tenant", "unknown key; did you mean \"tenants\"?");
    refused("version: 1\nvtep: {local: 1.2.3.4}\n", 2, 1, "vtep",
            "VXLAN tunnels to other hosts: not built in this version");
    refused("version: 1\ntenants: {A: {}}\n", 2, 11, "tenants.A",
            "a name has 1 to 31 of the characters a-z, 0-9 and -");
    refused("version: 1\ntenants: [a]\n", 2, 10, "tenants", "must be a mapping (KEY: VALUE lines)");
    refused("tenants: {}\n", 1, 1, "version", "missing; the first line is \"version: 1\"");
    refused("version: 2\n", 1, 10, "version", "\"2\" is out of range 1 to 1");
    refused("- a\n", 1, 1, "", "must be a mapping (KEY: VALUE lines)");
}

static void segments_and_uplinks(void **state)
{
    struct diagnostics diagnostics;
    json_t *tree = check("version: 1\nuplinks: {lan0: {device: 'vdev:net_null0,copy=1'}}\n"
                         "tenants: {a: {segments: {w: {mode: bridged, uplink: lan0, ageing: 5m,\n"
                         "  static: {52:54:00:00:00:0A: vm1}}}}}\n",
                         &diagnostics);
    json_int_t ageing = 0;
    const char *port = NULL;
    assert_int_equal(diagnostics.count, 0);
    assert_int_equal(json_unpack(tree, "{s:{s:{s:{s:{s:I, s:{s:s}}}}}}", "tenants", "a", "segments", "w",
                                 "ageing", &ageing, "static", "52:54:00:00:00:0a", &port),
                     0);
    assert_int_equal(ageing, 300);
    assert_string_equal(port, "vm1");
    json_decref(tree);
    refused("version: 1\nuplinks: {l: {device: 'pci:0000'}}\n", 2, 23, "uplinks.l.device",
            "\"0000\" is not a PCI address, like 0000:03:00.0 or 03:00.0");
    refused("version: 1\nuplinks: {l: {device: 'pci:0000:03:20.0'}}\n", 2, 23, "uplinks.l.device",
            "\"0000:03:20.0\" is not a PCI address, like 0000:03:00.0 or 03:00.0");
    refused("version: 1\nuplinks: {l: {device: 'vdev:03:00.0,x=1'}}\n", 2, 23, "uplinks.l.device",
            "is a PCI device: pci:ADDRESS takes it");
    refused("version: 1\nuplinks: {l: {device: 'vdev:pci:0000:03:00.0'}}\n", 2, 23, "uplinks.l.device",
            "is a PCI device: pci:ADDRESS takes it");
    refused("version: 1\nuplinks: {l: {device: eth0}}\n", 2, 23, "uplinks.l.device",
            "must be KIND:ARGUMENTS, like af_packet:eth1");
    refused("version: 1\ntenants: {a: {segments: {w: {subnet: 10.0.1.1/24}}}}\n", 2, 38,
            "tenants.a.segments.w.subnet",
            "10.0.1.1/24 has bits behind its prefix; did you mean \"10.0.1.0/24\"?");
    refused("version: 1\ntenants: {a: {segments: {w: {subnet: 10.0.1.0/31}}}}\n", 2, 38,
            "tenants.a.segments.w.subnet", "a subnet has a prefix length of 8 to 30, not 31");
    refused("version: 1\ntenants: {a: {nat: {w: {forwards: [{proto: tcp}, {port: 0}]}}}}\n", 2, 57,
            "tenants.a.nat.w.forwards.1.port",
            "\"0\" is not a port or a range FIRST-LAST of ports from 1 to 65535, like 8000-8010");
    refused("version: 1\ntenants: {a: {nat: {w: {forwards: [{to: vm2}]}}}}\n", 2, 41,
            "tenants.a.nat.w.forwards.0.to",
            "\"vm2\" is not PORT:NUMBER, like vm2:443: a port of the same tenant, without the tenant's name, "
            "and a number from 1 to 65535");
    refused("version: 1\ntenants: {a: {nat: {w: {forwards: [{proto: icmp}]}}}}\n", 2, 44,
            "tenants.a.nat.w.forwards.0.proto",
            "\"icmp\" is not one of: tcp, udp; other protocols have no ports, a 1:1 address carries them "
            "(one-to-one, \"weft nat set\")");
    refused("version: 1\ntenants: {a: {nat: {w: {one-to-one: {vm2: 203.0.113}}}}}\n", 2, 43,
            "tenants.a.nat.w.one-to-one.vm2",
            "\"203.0.113\" is not an address, like 10.0.0.1 or fd00::1 (without prefix length)");
    refused(
        "version: 1\nuplinks: {l: {ports: 40000-30000}}\n", 2, 22, "uplinks.l.ports",
        "\"40000-30000\" is not a port or a range FIRST-LAST of ports from 1024 to 65535, like 8000-8010");
    refused("version: 1\ntenants: {a: {segments: {w: {dhcp: {range: 10.0.0.9-10.0.0.1}}}}}\n", 2, 44,
            "tenants.a.segments.w.dhcp.range",
            "\"10.0.0.9-10.0.0.1\" is not a range of addresses, like 10.0.1.100-10.0.1.200");
    refused("version: 1\ntenants: {a: {segments: {w: {static: {01:00:00:00:00:01: p}}}}}\n", 2, 39,
            "tenants.a.segments.w.static.01:00:00:00:00:01",
            "must be a unicast MAC address, like 52:54:00:00:00:01");
}

static void all_mistakes_at_once(void **state)
{
    struct diagnostics diagnostics;
    json_decref(
        check("version: 1\nfoo: 1\ntenants:\n  a:\n    ports:\n      p: {queues: 99, mac: x}\n    bar: 1\n",
              &diagnostics));
    assert_int_equal(diagnostics.count, 4);
    static const unsigned lines[] = {2, 6, 6, 7};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(diagnostics.items[i].position.line, lines[i]);
    diagnostics_clear(&diagnostics);
}

static void a_long_path_is_no_overflow(void **state)
{
    struct diagnostics diagnostics;
    char text[2200] = "version: 1\n", key[1001];
    memset(key, 'k', 1000);
    key[1000] = '\0';
    snprintf(text + strlen(text), sizeof(text) - strlen(text), "tenants: {a: {limits: {%s: 1}}}\n", key);
    json_decref(check(text, &diagnostics));
    assert_int_equal(diagnostics.count, 1);
    diagnostics_clear(&diagnostics);
}

static json_t *value_of(const char *parent, const char *key, json_t *value, struct diagnostics *diagnostics)
{
    *diagnostics = (struct diagnostics){0};
    json_t *typed = schema_value(schema_find(parent, key), value, "p", diagnostics);
    json_decref(value);
    return typed;
}

static void values_of_requests(void **state)
{
    struct diagnostics diagnostics;
    json_t *typed = value_of("tenants.*.ports.*", "queues", json_string("2"), &diagnostics);
    assert_int_equal(json_integer_value(typed), 2);
    json_decref(typed);
    typed = value_of("tenants.*.ports.*", "ip", json_string(" 10.0.0.1 ,10.0.0.2"), &diagnostics);
    assert_int_equal(json_array_size(typed), 2);
    assert_string_equal(json_string_value(json_array_get(typed, 0)), "10.0.0.1");
    json_decref(typed);
    typed = value_of("tenants.*.ports.*", "trunk", json_pack("[s,s]", "a", "b"), &diagnostics);
    assert_int_equal(json_array_size(typed), 2);
    json_decref(typed);
    static const char *const bad[] = {"10.0.0.1,", ",10.0.0.1", "", "10.0.0.1,,10.0.0.2", " , "};
    for (unsigned i = 0; i < 5; i++) {
        assert_null(value_of("tenants.*.ports.*", "ip", json_string(bad[i]), &diagnostics));
        assert_true(diagnostics.count > 0);
        diagnostics_clear(&diagnostics);
    }
    json_t *deep = json_array();
    for (unsigned i = 0; i < 100; i++)
        deep = json_pack("[o]", deep);
    assert_null(value_of("tenants.*.ports.*", "ip", deep, &diagnostics));
    assert_string_equal(diagnostics.items[0].message, "is nested too deeply");
    diagnostics_clear(&diagnostics);
}

/* What is exported is read again as the same tree, whatever the words look like. */
static void export_comes_back(void **state)
{
    struct diagnostics diagnostics;
    json_t *tree =
        check("version: 1\ndataplane: {cores: [0, 1], hugepages: never}\n"
              "uplinks: {\"null\": {device: 'vdev:net_null0', mtu: 9000}}\n"
              "tenants: {\"1\": {limits: {ports: 5}, segments: {\"no\": {mode: isolated, vlan: 7,\n"
              "  static: {52:54:00:00:00:01: \"true\"}}}, ports: {\"true\": {trunk: [\"no\"],\n"
              "  mac: 52:54:00:00:00:02, ip: [10.0.0.1, fe80::1], socket: \"/a b/#c: {d}, 'e'\"},\n"
              "  \"0x1f\": {segment: \"no\", client: true}, \"-\": {tap: '*t', segment: \"no\"}}}, b: {}}\n",
              &diagnostics);
    assert_int_equal(diagnostics.count, 0);
    char *text = export_yaml(tree);
    json_t *again = check(text, &diagnostics);
    for (size_t i = 0; i < diagnostics.count; i++)
        print_error("%s: %s\n%s", diagnostics.items[i].path, diagnostics.items[i].message, text);
    assert_int_equal(diagnostics.count, 0);
    assert_true(json_equal(tree, again));
    json_decref(tree);
    json_decref(again);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_take_one_spelling),
        cmocka_unit_test(values_that_do_not_fit),
        cmocka_unit_test(keys_that_do_not_exist_or_are_not_built),
        cmocka_unit_test(segments_and_uplinks),
        cmocka_unit_test(all_mistakes_at_once),
        cmocka_unit_test(a_long_path_is_no_overflow),
        cmocka_unit_test(values_of_requests),
        cmocka_unit_test(export_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
