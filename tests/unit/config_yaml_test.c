/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * YAML and JSON to documents: what is refused, and where it is said to be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "config_yaml.h"

static struct document *parse(const char *text, struct diagnostics *diagnostics)
{
    *diagnostics = (struct diagnostics){0};
    return config_yaml_parse(text, strlen(text), diagnostics);
}

/* One mistake, there, with these words in it. */
static void refused(const char *text, unsigned line, unsigned column, const char *words)
{
    struct diagnostics diagnostics;
    assert_null(parse(text, &diagnostics));
    assert_int_equal(diagnostics.count, 1);
    print_message("%u:%u: %s\n", diagnostics.items[0].position.line, diagnostics.items[0].position.column,
                  diagnostics.items[0].message);
    assert_int_equal(diagnostics.items[0].position.line, line);
    assert_int_equal(diagnostics.items[0].position.column, column);
    assert_non_null(strstr(diagnostics.items[0].message, words));
    diagnostics_clear(&diagnostics);
}

static void yaml_and_json_are_the_same_tree(void **state)
{
    static const char *const texts[] = {"a:\n  b: [1, x]\nc: no\n",
                                        "{\"a\": {\"b\": [1, \"x\"]}, \"c\": \"no\"}"};
    struct diagnostics diagnostics;
    for (unsigned i = 0; i < 2; i++) {
        struct document *document = parse(texts[i], &diagnostics);
        assert_non_null(document);
        const struct document_node *root = document_root(document), *b = document_find(root, "a.b", NULL);
        assert_int_equal(root->child_count, 2);
        assert_int_equal(b->kind, DOCUMENT_SEQUENCE);
        assert_string_equal(b->first->text, "1");
        assert_string_equal(b->last->text, "x");
        assert_string_equal(document_child(root, "c")->text, "no");
        assert_false(document_child(root, "c")->null);
        document_free(document);
    }
}

static void positions_are_of_keys_and_values(void **state)
{
    struct diagnostics diagnostics;
    struct document *document =
        parse("version: 1\ntenants:\n  acme:\n    limits: { ports: 3 }\n", &diagnostics);
    const struct document_node *deepest;
    const struct document_node *ports =
        document_find(document_root(document), "tenants.acme.limits.ports", NULL);
    assert_int_equal(ports->key_position.line, 4);
    assert_int_equal(ports->key_position.column, 15);
    assert_int_equal(ports->position.column, 22);
    assert_null(document_find(document_root(document), "tenants.acme.segments.web", &deepest));
    assert_string_equal(deepest->key, "acme");
    document_free(document);
}

static void nothing_is_null_but_quoted_nothing_is_text(void **state)
{
    struct diagnostics diagnostics;
    struct document *document = parse("a:\nb: ~\nc: null\nd: \"\"\ne: \"null\"\n", &diagnostics);
    const struct document_node *child = document_root(document)->first;
    for (unsigned i = 0; i < 5; i++, child = child->next)
        assert_int_equal(child->null, i < 3);
    document_free(document);
}

static void what_is_not_accepted(void **state)
{
    refused("a: 1\na: 2\n", 2, 1, "twice");
    refused("a: {b: 1, b: 1}\n", 1, 11, "twice");
    refused("a: &x 1\n", 1, 4, "anchors");
    refused("a: !!int 1\n", 1, 4, "tags");
    refused("a: *x\n", 1, 4, "aliases");
    refused("a: 1\n---\nb: 1\n", 2, 1, "one document");
    refused("[a, b]: 1\n", 1, 1, "key must be a word");
    refused("a: \"x\\0y\"\n", 1, 4, "NUL");
    refused("", 1, 1, "empty");
    refused("# nothing\n", 1, 1, "empty");
    refused("a: [1, 2\nb: 3\n", 2, 2, "not YAML");
    refused("a: \"\xff\xfe\"\n", 1, 1, "not YAML");
    refused("a: b: c\n", 1, 5, "not YAML");
}

static void mistakes_are_collected(void **state)
{
    struct diagnostics diagnostics;
    assert_null(parse("a: &x 1\na: 2\nb: !t 3\n", &diagnostics));
    assert_int_equal(diagnostics.count, 3);
    assert_int_equal(diagnostics.items[2].position.line, 3);
    diagnostics_clear(&diagnostics);
}

static void depth_and_count_are_bounded(void **state)
{
    struct diagnostics diagnostics;
    char deep[64];
    memset(deep, '[', 40);
    deep[40] = '\0';
    refused(deep, 1, DOCUMENT_DEPTH_MAX + 1, "too deeply");

    size_t count = DOCUMENT_NODES_MAX + 10, size = 2 * count + 3;
    char *many = malloc(size);
    many[0] = '[';
    for (size_t i = 0; i < count; i++)
        many[1 + 2 * i] = '1', many[2 + 2 * i] = ',';
    many[1 + 2 * count] = ']';
    many[2 + 2 * count] = '\0';
    diagnostics = (struct diagnostics){0};
    assert_null(config_yaml_parse(many, strlen(many), &diagnostics));
    assert_int_equal(diagnostics.count, 1);
    assert_non_null(strstr(diagnostics.items[0].message, "too many"));
    diagnostics_clear(&diagnostics);
    free(many);

    char *large = malloc(CONFIG_YAML_SIZE_MAX + 1);
    memset(large, ' ', CONFIG_YAML_SIZE_MAX + 1);
    assert_null(config_yaml_parse(large, CONFIG_YAML_SIZE_MAX + 1, &diagnostics));
    assert_non_null(strstr(diagnostics.items[0].message, "larger than"));
    diagnostics_clear(&diagnostics);
    free(large);
}

static void more_mistakes_than_are_shown(void **state)
{
    struct diagnostics diagnostics;
    char text[4096] = "", *end = text;
    for (unsigned i = 0; i < DIAGNOSTICS_MAX + 6; i++)
        end = stpcpy(end, "a: 1\n");
    assert_null(parse(text, &diagnostics));
    assert_int_equal(diagnostics.count, DIAGNOSTICS_MAX);
    assert_int_equal(diagnostics.omitted, 5);
    char *summary = diagnostics_summary(&diagnostics, "f");
    assert_string_equal(summary, "f:2:1: a: key appears twice (and 204 more)");
    free(summary);
    json_t *list = diagnostics_json(&diagnostics, "f");
    assert_int_equal(json_array_size(list), DIAGNOSTICS_MAX + 1);
    json_decref(list);
    diagnostics_clear(&diagnostics);
}

static void messages_are_safe_for_a_terminal(void **state)
{
    struct diagnostics diagnostics;
    assert_null(parse("\"\\e[31m\\u00e9\": 1\n\"\\e[31m\\u00e9\": 1\n", &diagnostics));
    for (const char *at = diagnostics.items[0].path; *at; at++)
        assert_true(*at >= ' ' && *at <= '~');
    diagnostics_clear(&diagnostics);
}

static void json_becomes_a_document(void **state)
{
    json_t *json =
        json_pack("{s:i, s:b, s:n, s:[s], s:{s:f}}", "a", -7, "b", 1, "c", "d", "x", "e", "f", 0.5);
    struct document *document = document_from_json(json);
    const struct document_node *root = document_root(document);
    assert_string_equal(document_child(root, "a")->text, "-7");
    assert_string_equal(document_child(root, "b")->text, "true");
    assert_true(document_child(root, "c")->null);
    assert_string_equal(document_find(root, "e.f", NULL)->text, "0.5");
    document_free(document);
    for (unsigned i = 0; i < DOCUMENT_DEPTH_MAX; i++)
        json = json_pack("[o]", json);
    assert_null(document_from_json(json));
    json_decref(json);
}

static void nearest_words(void **state)
{
    static const char *const words[] = {"segment", "trunk", "native", "mac", "mtu", NULL};
    assert_string_equal(diagnostics_nearest("segmnet", words), "segment");
    assert_string_equal(diagnostics_nearest("natvie", words), "native");
    assert_string_equal(diagnostics_nearest("mut", words), "mtu");
    assert_null(diagnostics_nearest("queues", words));
    assert_null(diagnostics_nearest("", words));
    char endless[500];
    memset(endless, 'a', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    assert_null(diagnostics_nearest(endless, words));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_and_json_are_the_same_tree),
        cmocka_unit_test(positions_are_of_keys_and_values),
        cmocka_unit_test(nothing_is_null_but_quoted_nothing_is_text),
        cmocka_unit_test(what_is_not_accepted),
        cmocka_unit_test(mistakes_are_collected),
        cmocka_unit_test(depth_and_count_are_bounded),
        cmocka_unit_test(more_mistakes_than_are_shown),
        cmocka_unit_test(messages_are_safe_for_a_terminal),
        cmocka_unit_test(json_becomes_a_document),
        cmocka_unit_test(nearest_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
