/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config_yaml.h"

static struct diagnostics diagnostics;

static struct document *parse(const char *text)
{
    diagnostics_clear(&diagnostics);
    return config_yaml_parse(text, strlen(text), &diagnostics);
}

static void refused(const char *text, unsigned line, unsigned column, const char *message)
{
    struct document *document = parse(text);
    assert_null(document);
    assert_true(diagnostics.count > 0);
    assert_non_null(strstr(diagnostics.items[0].message, message));
    if (line) {
        assert_int_equal(diagnostics.items[0].position.line, line);
        assert_int_equal(diagnostics.items[0].position.column, column);
    }
    diagnostics_clear(&diagnostics);
}

static void test_positions(void **state)
{
    (void)state;
    struct document *document =
        parse("version: 1\ntenants:\n  acme: { segments: {web: {mode: isolated}} }\n");
    assert_non_null(document);
    const struct document_node *node =
        document_find(document_root(document), "tenants.acme.segments.web.mode", NULL);
    assert_non_null(node);
    assert_string_equal(node->text, "isolated");
    assert_int_equal(node->position.line, 3);
    assert_int_equal(node->position.column, 34);
    assert_int_equal(node->key_position.column, 28);
    assert_null(document_find(document_root(document), "tenants.acme.ports", NULL));
    document_free(document);
}

static void test_scalars_are_text(void **state)
{
    (void)state;
    struct document *document = parse("a: no\nb: 0x10\nc: 52:54:00:00:00:01\nd: ~\ne: \"~\"\nf: 010\ng:\n");
    const struct document_node *root = document_root(document);
    assert_string_equal(document_child(root, "a")->text, "no");
    assert_string_equal(document_child(root, "b")->text, "0x10");
    assert_string_equal(document_child(root, "c")->text, "52:54:00:00:00:01");
    assert_true(document_child(root, "d")->null);
    assert_false(document_child(root, "e")->null);
    assert_string_equal(document_child(root, "f")->text, "010");
    assert_true(document_child(root, "g")->null);
    document_free(document);
}

static void test_json(void **state)
{
    (void)state;
    struct document *document = parse("{\"version\":1,\"list\":[1,\"two\"],\"t\":true}");
    const struct document_node *list = document_child(document_root(document), "list");
    assert_int_equal(list->kind, DOCUMENT_SEQUENCE);
    assert_int_equal(list->child_count, 2);
    assert_string_equal(list->last->text, "two");
    document_free(document);
}

static void test_refused(void **state)
{
    (void)state;
    refused("", 1, 1, "empty");
    refused("# nothing\n", 1, 1, "empty");
    refused("a: &x 1\n", 1, 4, "anchors");
    refused("a: *x\n", 1, 4, "aliases");
    refused("a: !!str 1\n", 1, 4, "tags");
    refused("a: 1\nb: 2\na: 3\n", 3, 1, "twice");
    refused("a: 1\n---\nb: 1\n", 2, 1, "one document");
    refused("? [a]\n: 1\n", 1, 3, "key must be a word");
    refused("a: [1\n", 0, 0, "not YAML");
    refused("a: \"\\0\"\n", 1, 4, "NUL");
    refused("a: \xff\n", 0, 0, "not YAML");
    refused("a: {b: {c: {d: {e: {f: {g: {h: {i: {j: {k: {l: {m: 1}}}}}}}}}}}}\n", 0, 0, "nested");
}

/* Mistakes that leave the document readable are reported together. */
static void test_all_at_once(void **state)
{
    (void)state;
    assert_null(parse("a: 1\na: 2\nb: &x 1\nc: !t 1\n"));
    assert_int_equal(diagnostics.count, 3);
    diagnostics_clear(&diagnostics);
}

static void test_limits(void **state)
{
    (void)state;
    size_t size = CONFIG_YAML_SIZE_MAX + 1;
    char *text = malloc(size);
    memset(text, '#', size);
    assert_null(config_yaml_parse(text, size, &diagnostics));
    assert_non_null(strstr(diagnostics.items[0].message, "larger"));
    diagnostics_clear(&diagnostics);
    for (size_t i = 1; i + 2 < size; i += 2) /* [1,1,1,: more values than are accepted */
        memcpy(text + i, "1,", 2);
    text[0] = '[';
    assert_null(config_yaml_parse(text, size - 1, &diagnostics));
    assert_non_null(strstr(diagnostics.items[0].message, "too many"));
    diagnostics_clear(&diagnostics);
    free(text);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const words[] = {"segment", "queues", "mtu", "mac", NULL};
    assert_string_equal(diagnostics_nearest("segmnet", words), "segment");
    assert_string_equal(diagnostics_nearest("queue", words), "queues");
    assert_string_equal(diagnostics_nearest("mut", words), "mtu");
    assert_null(diagnostics_nearest("bandwidth", words));
    assert_null(diagnostics_nearest("", (const char *const[]){NULL}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_positions),   cmocka_unit_test(test_scalars_are_text),
        cmocka_unit_test(test_json),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_all_at_once), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
