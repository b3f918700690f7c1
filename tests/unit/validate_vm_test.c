/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port's machine: what the schema cannot say of it, with the place that it is reported at; its files; what
 * it becomes as a command line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "config_yaml.h"
#include "export.h"
#include "model.h"
#include "vm_machine.h"

#define BEFORE "version: 1\ntenants: {a: {segments: {s: {mode: isolated, vlan: 7}}, ports: {\n"

static struct model *build(const char *ports, struct document **document, struct diagnostics *diagnostics)
{
    char text[4096];
    *diagnostics = (struct diagnostics){0};
    snprintf(text, sizeof(text), BEFORE "%s}}}\n", ports);
    *document = config_yaml_parse(text, strlen(text), diagnostics);
    assert_non_null(*document);
    return model_from_document(*document, "/run/weft", diagnostics);
}

static void mistake(const struct diagnostics *diagnostics, unsigned line, unsigned column, const char *path,
                    const char *message)
{
    assert_int_equal(diagnostics->count, 1);
    assert_string_equal(diagnostics->items[0].message, message);
    assert_string_equal(diagnostics->items[0].path, path);
    assert_int_equal(diagnostics->items[0].position.line, line);
    assert_int_equal(diagnostics->items[0].position.column, column);
}

static void refused(const char *ports, unsigned column, const char *path, const char *message)
{
    struct document *document;
    struct diagnostics diagnostics;
    assert_null(build(ports, &document, &diagnostics));
    document_free(document);
    mistake(&diagnostics, 3, column, path, message);
    diagnostics_clear(&diagnostics);
}

static void the_port(void **state)
{
    (void)state;
    refused("p: {segment: s, tap: t, vm: {kernel: /k}}", 25, "tenants.a.ports.p.vm",
            "the port is interface t of the host; a machine needs a port without tap");
    refused("p: {segment: s, client: true, vm: {kernel: /k}}", 31, "tenants.a.ports.p.vm",
            "the port dials (client: true), but machines that weftd runs dial their port themselves; client: "
            "false makes it listen");
    refused("p: {segment: s, socket: \"/a,b\", vm: {kernel: /k}}", 33, "tenants.a.ports.p.vm",
            "weft-vmm takes no socket with a comma in its path: /a,b");
}

static void the_machine(void **state)
{
    (void)state;
    refused("p: {segment: s, vm: {}}", 17, "tenants.a.ports.p.vm",
            "needs a kernel, like \"kernel: /boot/vmlinuz\"");
    refused("p: {segment: s, vm: {memory: 64M}}", 17, "tenants.a.ports.p.vm",
            "needs a kernel, like \"kernel: /boot/vmlinuz\"");
    refused("p: {segment: s, vm: {kernel: k}}", 30, "tenants.a.ports.p.vm.kernel",
            "\"k\" is not an absolute path without . or ..");
    refused("p: {segment: s, vm: {kernel: /k, memory: 8M}}", 42, "tenants.a.ports.p.vm.memory",
            "\"8M\" is out of range 16 to 1048576 MiB");
    refused("p: {segment: s, vm: {kernel: /k, memory: 1T}}", 42, "tenants.a.ports.p.vm.memory",
            "\"1T\" is not a size, like 512M or 2G; a bare number is MiB");
    refused("p: {segment: s, vm: {kernel: /k, cpus: 17}}", 40, "tenants.a.ports.p.vm.cpus",
            "\"17\" is out of range 1 to 16");
    refused("p: {segment: s, vm: {kernel: /k, cmdline: \"a\\tb\"}}", 43, "tenants.a.ports.p.vm.cmdline",
            "may hold printable ASCII characters only");
    refused("p: {segment: s, vm: {kernel: /k, kernle: /x}}", 34, "tenants.a.ports.p.vm.kernle",
            "unknown key; did you mean \"kernel\"?");
}

static void disks(void **state)
{
    (void)state;
    refused("p: {segment: s, vm: {kernel: /k, disk: \"/a,readonly\"}}", 40, "tenants.a.ports.p.vm.disk",
            "weft-vmm takes no disk with a comma in its path: /a,readonly");
    refused("p: {segment: s, vm: {kernel: /k, disk: /a}}, q: {segment: s, vm: {kernel: /k, disk: [/b, /a]}}",
            85, "tenants.a.ports.q.vm.disk", "/a is a disk of machine a/p already; two cannot write to it");
    refused("p: {segment: s, vm: {kernel: /k, disk: [/1, /2, /3, /4, /5], disk-vhost: [/6, /7, /8, /9]}}", 17,
            "tenants.a.ports.p.vm", "has 9 disks, 8 are possible");
}

/* Files are looked for when a change brings the machine, and not again when the change is elsewhere. */
static void files(void **state)
{
    (void)state;
    struct document *document;
    struct diagnostics diagnostics;
    struct model *model =
        build("p: {segment: s, vm: {kernel: /proc/version, disk: /nowhere}}", &document, &diagnostics);
    assert_non_null(model);
    struct model_check check = {model, document_root(document), &diagnostics, "/run/weft"};
    model_vm_files(&check, model);
    assert_int_equal(diagnostics.count, 0);
    model_vm_files(&check, NULL);
    mistake(&diagnostics, 3, 51, "tenants.a.ports.p.vm.disk", "/nowhere: No such file or directory");
    diagnostics_clear(&diagnostics);
    document_free(document);
    model_free(model);
    model = build("p: {segment: s, vm: {kernel: /proc, cloud-init: /dev/null}}", &document, &diagnostics);
    check = (struct model_check){model, document_root(document), &diagnostics, "/run/weft"};
    model_vm_files(&check, NULL);
    assert_int_equal(diagnostics.count, 2);
    assert_string_equal(diagnostics.items[0].message, "/proc: not a regular file");
    assert_string_equal(diagnostics.items[1].message, "/dev/null: neither a directory nor a regular file");
    diagnostics_clear(&diagnostics);
    document_free(document);
    model_free(model);
}

static char *joined(json_t *arguments)
{
    char *text = calloc(1, 2048);
    size_t index;
    json_t *argument;
    json_array_foreach (arguments, index, argument)
        snprintf(text + strlen(text), 2048 - strlen(text), "%s[%s]", index ? " " : "",
                 json_string_value(argument));
    return text;
}

/* A trunk port may have one; what is written comes out of the export again; each value is one argument. */
static void command_line(void **state)
{
    (void)state;
    struct document *document;
    struct diagnostics diagnostics;
    struct model *model = build(
        "p: {trunk: s, mac: 52:54:00:00:00:01, queues: 2, mtu: 9000, vm: {kernel: /k, initrd: /i, cpus: 2,\n"
        "memory: 1G, cmdline: \"a \\\"b\\\\c\\\" $(x);\", disk: [/d1, /d2], disk-readonly: /r, disk-vhost: "
        "/v,\n"
        "cloud-init: /c, hugepages: off, stop-timeout: 1m}}",
        &document, &diagnostics);
    assert_non_null(model);
    json_t *arguments = vm_arguments(&model->ports[0]);
    char *text = joined(arguments);
    assert_string_equal(
        text,
        "[--name] [a/p] [--kernel] [/k] [--initrd] [/i] [--cmdline] [a \"b\\c\" $(x);] [--memory] [1024M] "
        "[--cpus] [2] [--net] [socket=/run/weft/vhost/a.p,mac=52:54:00:00:00:01,queues=2,mtu=9000] "
        "[--disk] [path=/d1] [--disk] [path=/d2] [--disk] [path=/r,readonly] [--disk] [vhost=/v] "
        "[--cloud-init] [/c] [--hugepages] [off] [--stop-timeout] [60]");
    free(text);
    text = export_yaml(model->config);
    struct document *again = config_yaml_parse(text, strlen(text), &diagnostics);
    struct model *same = model_from_document(again, "/run/weft", &diagnostics);
    assert_non_null(same);
    assert_true(json_equal(same->config, model->config));
    free(text);
    json_decref(arguments);
    document_free(again);
    model_free(same);
    document_free(document);
    model_free(model);
}

/* A port without an address: the machine's is always the same one, and another port's is another. */
static void addresses(void **state)
{
    (void)state;
    struct document *document;
    struct diagnostics diagnostics;
    struct model *model = build("p: {segment: s, vm: {kernel: /k}}, q: {segment: s, vm: {kernel: /k}}",
                                &document, &diagnostics);
    char *texts[3];
    for (unsigned i = 0; i < 3; i++) {
        json_t *arguments = vm_arguments(&model->ports[i % 2]);
        size_t at = 0;
        while (strncmp(json_string_value(json_array_get(arguments, at)), "socket=", 7) != 0)
            at++;
        texts[i] = strdup(strstr(json_string_value(json_array_get(arguments, at)), "mac="));
        json_decref(arguments);
    }
    assert_string_equal(texts[0], texts[2]);
    assert_string_not_equal(texts[0], texts[1]);
    assert_int_equal(strtoul(texts[0] + 4, NULL, 16) & 3, 2);
    for (unsigned i = 0; i < 3; i++)
        free(texts[i]);
    document_free(document);
    model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_port), cmocka_unit_test(the_machine),  cmocka_unit_test(disks),
        cmocka_unit_test(files),    cmocka_unit_test(command_line), cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
