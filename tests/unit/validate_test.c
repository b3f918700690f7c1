/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the schema cannot say: every rule between objects, with the place that it is reported at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config_yaml.h"
#include "dataplane_api.h"
#include "model.h"

static struct model *build(const char *text, const char *run_dir, struct diagnostics *diagnostics)
{
    *diagnostics = (struct diagnostics){0};
    struct document *document = config_yaml_parse(text, strlen(text), diagnostics);
    assert_non_null(document);
    struct model *model = model_from_document(document, run_dir, diagnostics);
    document_free(document);
    assert_int_equal(model == NULL, diagnostics->count > 0);
    return model;
}

static void accepted(const char *body)
{
    char text[2048];
    struct diagnostics diagnostics;
    snprintf(text, sizeof(text), "version: 1\n%s", body);
    struct model *model = build(text, "/run/weft", &diagnostics);
    for (size_t i = 0; i < diagnostics.count; i++)
        print_error("%s: %s\n", diagnostics.items[i].path, diagnostics.items[i].message);
    assert_non_null(model);
    model_free(model);
}

/* One mistake: its code, line (of the body) and column, path and text. */
static void refused(const char *body, enum weft_code code, unsigned line, unsigned column, const char *path,
                    const char *message)
{
    char text[2048];
    struct diagnostics diagnostics;
    snprintf(text, sizeof(text), "version: 1\n%s", body);
    assert_null(build(text, "/run/weft", &diagnostics));
    for (size_t i = 0; i < diagnostics.count; i++)
        print_message("%u:%u: %s: %s\n", diagnostics.items[i].position.line,
                      diagnostics.items[i].position.column, diagnostics.items[i].path,
                      diagnostics.items[i].message);
    assert_int_equal(diagnostics.count, 1);
    assert_string_equal(diagnostics.items[0].message, message);
    assert_string_equal(diagnostics.items[0].path, path);
    assert_int_equal(diagnostics.items[0].position.line, line + 1);
    assert_int_equal(diagnostics.items[0].position.column, column);
    assert_int_equal(diagnostics_code(&diagnostics), code);
    diagnostics_clear(&diagnostics);
}

static void a_whole_configuration(void **state)
{
    accepted("uplinks: {lan0: {device: 'vdev:net_null0'}}\n"
             "tenants:\n"
             "  acme:\n"
             "    limits: {ports: 4, macs: 100}\n"
             "    segments:\n"
             "      web: {mode: isolated, static: {52:54:00:00:00:0a: vm1}}\n"
             "      lab: {mode: bridged, uplink: lan0, vlan: 120}\n"
             "      wan: {mode: bridged, uplink: lan0}\n"
             "    ports:\n"
             "      vm1: {segment: web, mac: 52:54:00:00:00:01, ip: 10.0.0.1}\n"
             "      vm2: {segment: web, mac: 52:54:00:00:00:02}\n"
             "      vm3: {trunk: [web, lab], native: web}\n"
             "      host: {tap: weft0, segment: web}\n"
             "  beta: {segments: {web: {mode: isolated}}, ports: {vm1: {segment: web, mac: "
             "52:54:00:00:00:01, ip: 10.0.0.1}}}\n");
    accepted("");
    accepted("tenants: {}\n");
}

static void references(void **state)
{
    refused("tenants: {a: {segments: {web: {mode: isolated}}, ports: {p: {segment: wbe}}}}\n", WEFT_INVALID,
            1, 71, "tenants.a.ports.p.segment", "tenant a has no segment \"wbe\"; did you mean \"web\"?");
    refused(
        "tenants: {a: {segments: {s: {mode: bridged, uplink: lan}}}}\nuplinks: {lan0: {device: 'vdev:x'}}\n",
        WEFT_INVALID, 1, 53, "tenants.a.segments.s.uplink",
        "there is no uplink \"lan\"; did you mean \"lan0\"?");
    refused("tenants: {a: {segments: {s: {mode: isolated, static: {52:54:00:00:00:01: p}}}}}\n", WEFT_INVALID,
            1, 74, "tenants.a.segments.s.static.52:54:00:00:00:01", "tenant a has no port \"p\"");
    refused("tenants:\n  a: {segments: {s: {mode: isolated}}}\n  b: {ports: {p: {segment: s}}}\n",
            WEFT_INVALID, 3, 28, "tenants.b.ports.p.segment", "tenant b has no segment \"s\"");
}

static void segments(void **state)
{
    refused("tenants: {a: {segments: {s: {}}}}\n", WEFT_INVALID, 1, 26, "tenants.a.segments.s",
            "needs a mode, like \"mode: isolated\"");
    refused(
        "tenants: {a: {segments: {s: {mode: bridged}}}}\n", WEFT_INVALID, 1, 26, "tenants.a.segments.s",
        "mode bridged needs an uplink (uplink, --uplink), and there is none; \"weft uplink add NAME --device "
        "af_packet:INTERFACE\" makes one");
    refused("uplinks: {l: {device: 'vdev:x'}}\ntenants: {a: {segments: {s: {mode: isolated, uplink: l}}}}\n",
            WEFT_INVALID, 2, 54, "tenants.a.segments.s.uplink",
            "mode isolated has no uplink; modes bridged and nat do");
    refused("uplinks: {l: {device: 'vdev:x'}}\ntenants:\n  a: {segments: {s: {mode: bridged, uplink: l, "
            "vlan: 5}}}\n"
            "  b: {segments: {s: {mode: bridged, uplink: l, vlan: 5}}}\n",
            WEFT_INVALID, 4, 54, "tenants.b.segments.s.vlan", "segment a/s has VLAN 5 on uplink l already");
    refused("uplinks: {l: {device: 'vdev:x'}}\ntenants:\n  a: {segments: {s: {mode: bridged, uplink: l}}}\n"
            "  b: {segments: {s: {mode: bridged, uplink: l}}}\n",
            WEFT_INVALID, 4, 45, "tenants.b.segments.s.uplink",
            "segment a/s is untagged on uplink l already");
}

#define SEGMENTS                                                                                             \
    "tenants: {a: {segments: {s: {mode: isolated, vlan: 5}, t: {mode: isolated, vlan: 5}, "                  \
    "u: {mode: isolated}}, ports: {\n"

static void ports(void **state)
{
    refused(SEGMENTS "p: {}}}}\n", WEFT_INVALID, 2, 1, "tenants.a.ports.p",
            "needs a segment (or a trunk: a list of segments)");
    refused(SEGMENTS "p: {segment: s, trunk: [s]}}}}\n", WEFT_INVALID, 2, 24, "tenants.a.ports.p.trunk",
            "a port has a segment or a trunk, not both");
    refused(SEGMENTS "p: {segment: s, native: s}}}}\n", WEFT_INVALID, 2, 25, "tenants.a.ports.p.native",
            "only a trunk has a native segment");
    refused(SEGMENTS "p: {trunk: [s], native: u}}}}\n", WEFT_INVALID, 2, 25, "tenants.a.ports.p.native",
            "segment \"u\" is not in the trunk's list");
    refused(SEGMENTS "p: {trunk: [s, t]}}}}\n", WEFT_INVALID, 2, 12, "tenants.a.ports.p.trunk",
            "segments a/s and a/t have the same VLAN 5");
    refused(SEGMENTS "p: {trunk: [s, u]}}}}\n", WEFT_INVALID, 2, 12, "tenants.a.ports.p.trunk",
            "segment a/u needs a vlan to be on a trunk (or be its native)");
    accepted(SEGMENTS "p: {trunk: [s, u], native: u}}}}\n");
    refused(SEGMENTS "p: {segment: s, tap: x, client: true}}}}\n", WEFT_INVALID, 2, 33,
            "tenants.a.ports.p.client", "a tap port has no vhost-user socket");
    refused(SEGMENTS "p: {segment: s, tap: x}, q: {segment: s, tap: x}}}}\n", WEFT_INVALID, 2, 47,
            "tenants.a.ports.q.tap", "port a/p has this interface already");
    refused(SEGMENTS "p: {segment: s}, q: {segment: s, socket: /run/weft/vhost/a.p}}}}\n", WEFT_INVALID, 2,
            42, "tenants.a.ports.q.socket", "port a/p has this socket already");
}

static void addresses(void **state)
{
    refused(SEGMENTS "p: {segment: s, mac: 52:54:00:00:00:01}, q: {segment: s, mac: 52:54:00:00:00:01}}}}\n",
            WEFT_INVALID, 2, 63, "tenants.a.ports.q.mac", "is the address of port a/p in segment a/s");
    refused(SEGMENTS "p: {segment: s, ip: [10.0.0.1, fd00::1]}, q: {segment: s, ip: FD00::0:1}}}}\n",
            WEFT_INVALID, 2, 63, "tenants.a.ports.q.ip", "fd00::1 is an address of port a/p in segment a/s");
    accepted(SEGMENTS "p: {segment: s, mac: 52:54:00:00:00:01, ip: 10.0.0.1}, "
                      "q: {segment: t, mac: 52:54:00:00:00:01, ip: 10.0.0.1}}}}\n");
    refused("tenants: {a: {segments: {s: {mode: isolated, static: {\n52:54:00:00:00:01: q}}},\n"
            "ports: {p: {segment: s, mac: 52:54:00:00:00:01}, q: {segment: s}}}}\n",
            WEFT_INVALID, 2, 20, "tenants.a.segments.s.static.52:54:00:00:00:01",
            "is the address of port a/p");
    refused("tenants: {a: {segments: {t: {mode: isolated}, s: {mode: isolated, static: {\n52:54:00:00:00:01: "
            "p}}},\n"
            "ports: {p: {segment: t}}}}\n",
            WEFT_INVALID, 2, 20, "tenants.a.segments.s.static.52:54:00:00:00:01",
            "port a/p is not in segment a/s");
}

static void uplinks(void **state)
{
    refused("uplinks: {l: {}}\n", WEFT_INVALID, 1, 11, "uplinks.l.device",
            "missing; it says how the uplink is reached");
    accepted("uplinks: {l: {device: 'pci:03:00.0', take-over: true}, m: {device: 'pci:0000:03:00.1'}}\n");
    refused("uplinks: {l: {device: 'pci:03:00.A'}, m: {device: 'pci:0000:03:00.1'}}\n", WEFT_INVALID, 1, 23,
            "uplinks.l.device", "\"03:00.A\" is not a PCI address, like 0000:03:00.0 or 03:00.0");
    refused("uplinks: {l: {device: 'pci:0a:00.0'}, m: {device: 'pci:0000:0A:00.0'}}\n", WEFT_INVALID, 1, 51,
            "uplinks.m.device", "is the device of uplink l");
    refused("uplinks: {l: {device: 'af_xdp:eth1', take-over: true}}\n", WEFT_INVALID, 1, 49,
            "uplinks.l.take-over", "is for pci: other devices are not taken from the host");
    refused("uplinks: {l: {device: 'vdev:net_null0,copy=1'}, m: {device: 'vdev:net_null0,copy=0'}}\n",
            WEFT_INVALID, 1, 61, "uplinks.m.device", "is the device of uplink l");
    refused("dataplane: {cores: [999]}\n", WEFT_INVALID, 1, 20, "dataplane.cores",
            "this machine has no CPU 999 that weftd may use");
}

static void limits(void **state)
{
    refused("tenants: {a: {limits: {ports: 1}, segments: {s: {mode: isolated}}, ports: {p: {segment: s}, q: "
            "{segment: s}}}}\n",
            WEFT_LIMIT, 1, 31, "tenants.a.limits.ports", "tenant a has 2 ports, its limit is 1");
    refused("tenants: {a: {limits: {ports: 0}, segments: {s: {mode: isolated}}, ports: {p: {segment: s}}}}\n",
            WEFT_LIMIT, 1, 31, "tenants.a.limits.ports", "tenant a has 1 ports, its limit is 0");
    refused(
        "tenants: {a: {limits: {macs: 9}, segments: {s: {mode: isolated, macs: 9}, t: {mode: isolated}}}}\n",
        WEFT_LIMIT, 1, 30, "tenants.a.limits.macs",
        "tenant a may learn 9 addresses, its segments want 10 at least");
}

/* More ports than the dataplane has numbers; a run dir that leaves no room for socket names. */
static void what_the_dataplane_cannot_hold(void **state)
{
    struct diagnostics diagnostics;
    char *text = malloc(200000), *at = text;
    at += sprintf(at, "version: 1\ntenants: {a: {segments: {s: {mode: isolated}}, ports: {\n");
    for (unsigned i = 0; i < DP_PORTS_MAX; i++)
        at += sprintf(at, "p%u: {segment: s},\n", i);
    stpcpy(at, "}}}\n");
    assert_null(build(text, "/run/weft", &diagnostics));
    assert_int_equal(diagnostics.count, 1);
    assert_int_equal(diagnostics.items[0].code, WEFT_LIMIT);
    assert_string_equal(diagnostics.items[0].message,
                        "4096 ports, uplinks, and interfaces of host and router; 4095 are possible");
    diagnostics_clear(&diagnostics);
    free(text);
    assert_null(build(
        "version: 1\ntenants: {a: {segments: {s: {mode: isolated}}, ports: {p: {segment: s}}}}\n",
        "/tmp/012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789/run",
        &diagnostics));
    assert_non_null(strstr(diagnostics.items[0].message, "longer than 107 characters"));
    diagnostics_clear(&diagnostics);
}

static void a_mistake_is_said_once(void **state)
{
    refused("tenants: {a: {segments: {s: {mode: isolate}}}}\n", WEFT_INVALID, 1, 36,
            "tenants.a.segments.s.mode",
            "\"isolate\" is not one of: isolated, host-only, bridged, nat; did you mean \"isolated\"?");
    refused("tenants: {a: {segments: {s: {mode: isolated}}, ports: {p: {segment: S}}}}\n", WEFT_INVALID, 1,
            69, "tenants.a.ports.p.segment", "\"S\" is not a name (a-z, 0-9 and -, 31 at most)");
    refused("uplinks: {l: {device: x}}\n", WEFT_INVALID, 1, 23, "uplinks.l.device",
            "must be KIND:ARGUMENTS, like af_packet:eth1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_configuration),
        cmocka_unit_test(references),
        cmocka_unit_test(segments),
        cmocka_unit_test(ports),
        cmocka_unit_test(addresses),
        cmocka_unit_test(uplinks),
        cmocka_unit_test(limits),
        cmocka_unit_test(what_the_dataplane_cannot_hold),
        cmocka_unit_test(a_mistake_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
