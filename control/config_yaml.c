/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. libyaml's events are turned into nodes with a stack of open collections; in a mapping
 * a scalar is a key or a value in turn. There is nothing to expand, since aliases are refused, so the tree is
 * never larger than the text. After a mistake that leaves the events in step (anchor, tag, duplicate key)
 * reading goes on, so that all of them are reported; a syntax error ends it.
 */
#include <string.h>
#include <yaml.h>
#include "config_yaml.h"

struct level {
    struct document_node *node;
    json_t *seen; /* mapping: its keys, for duplicates */
    const char *key;
    struct document_position key_position;
};

struct reader {
    struct document *document;
    struct diagnostics *diagnostics;
    struct level levels[DOCUMENT_DEPTH_MAX];
    unsigned depth;
    bool stop;
};

static struct document_position position_of(yaml_mark_t mark)
{
    return (struct document_position){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

static void reader_stop(struct reader *reader, struct document_position position, const char *message)
{
    diagnostics_add(reader->diagnostics, position, WEFT_INVALID, NULL, "%s", message);
    reader->stop = true;
}

static bool reader_expects_key(const struct reader *reader)
{
    return reader->depth && reader->levels[reader->depth - 1].node->kind == DOCUMENT_MAPPING &&
           !reader->levels[reader->depth - 1].key;
}

/* A node below the innermost open collection, or the root. */
static struct document_node *reader_add(struct reader *reader, enum document_kind kind,
                                        struct document_position position)
{
    struct level *level = reader->depth ? &reader->levels[reader->depth - 1] : NULL;
    struct document_node *node = document_add(reader->document, level ? level->node : NULL, kind);
    if (!node) {
        reader_stop(reader, position, "the document has too many values");
        return NULL;
    }
    node->position = node->key_position = position;
    if (!level) {
        document_set_root(reader->document, node);
    } else if (level->key) {
        node->key = level->key;
        node->key_position = level->key_position;
        level->key = NULL;
    }
    return node;
}

static void reader_key(struct reader *reader, const char *text, size_t size,
                       struct document_position position)
{
    struct level *level = &reader->levels[reader->depth - 1];
    level->key = document_text(reader->document, text, size);
    level->key_position = position;
    if (json_object_get(level->seen, level->key))
        diagnostics_add(reader->diagnostics, position, WEFT_INVALID, level->key, "key appears twice");
    else
        json_object_set_new_nocheck(level->seen, level->key, json_true());
}

static void reader_scalar(struct reader *reader, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    struct document_position position = position_of(event->start_mark);
    if (memchr(text, 0, size)) {
        reader_stop(reader, position, "text contains a NUL character");
        return;
    }
    if (reader_expects_key(reader)) {
        reader_key(reader, text, size, position);
        return;
    }
    struct document_node *node = reader_add(reader, DOCUMENT_SCALAR, position);
    if (!node)
        return;
    node->text = document_text(reader->document, text, size);
    node->null = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                 (size == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

static void reader_open(struct reader *reader, enum document_kind kind, struct document_position position)
{
    if (reader_expects_key(reader)) {
        reader_stop(reader, position, "a key must be a word, not a list or mapping");
        return;
    }
    if (reader->depth == DOCUMENT_DEPTH_MAX) {
        reader_stop(reader, position, "nested too deeply");
        return;
    }
    struct document_node *node = reader_add(reader, kind, position);
    if (!node)
        return;
    reader->levels[reader->depth++] = (struct level){
        .node = node,
        .seen = kind == DOCUMENT_MAPPING ? json_object() : NULL,
    };
}

static void reader_close(struct reader *reader)
{
    json_decref(reader->levels[--reader->depth].seen);
}

static void reader_refuse(struct reader *reader, const yaml_event_t *event, const yaml_char_t *anchor,
                          const yaml_char_t *tag)
{
    if (anchor)
        diagnostics_add(reader->diagnostics, position_of(event->start_mark), WEFT_INVALID, NULL,
                        "anchors are not accepted");
    if (tag)
        diagnostics_add(reader->diagnostics, position_of(event->start_mark), WEFT_INVALID, NULL,
                        "tags are not accepted; types come from the key");
}

static void reader_event(struct reader *reader, const yaml_event_t *event)
{
    struct document_position position = position_of(event->start_mark);
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (document_root(reader->document))
            reader_stop(reader, position, "only one document is accepted");
        break;
    case YAML_SCALAR_EVENT:
        reader_refuse(reader, event, event->data.scalar.anchor, event->data.scalar.tag);
        reader_scalar(reader, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        reader_refuse(reader, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        reader_open(reader, DOCUMENT_SEQUENCE, position);
        break;
    case YAML_MAPPING_START_EVENT:
        reader_refuse(reader, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        reader_open(reader, DOCUMENT_MAPPING, position);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        reader_close(reader);
        break;
    case YAML_ALIAS_EVENT:
        reader_stop(reader, position, "aliases are not accepted");
        break;
    default:
        break;
    }
}

static void reader_syntax_error(struct reader *reader, const yaml_parser_t *parser)
{
    struct document_position position = position_of(parser->problem_mark);
    if (parser->error == YAML_READER_ERROR)
        position = (struct document_position){1, 1};
    diagnostics_add(reader->diagnostics, position, WEFT_INVALID, NULL, "not YAML: %s%s%s",
                    parser->context ? parser->context : "", parser->context ? ", " : "",
                    parser->problem ? parser->problem : "cannot be read");
    reader->stop = true;
}

static void reader_run(struct reader *reader, const char *text, size_t size)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        reader_stop(reader, (struct document_position){0}, "out of memory");
        return;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    bool end = false;
    while (!end && !reader->stop) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            reader_syntax_error(reader, &parser);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        reader_event(reader, &event);
        yaml_event_delete(&event);
    }
    while (reader->depth)
        reader_close(reader);
    yaml_parser_delete(&parser);
}

struct document *config_yaml_parse(const char *text, size_t size, struct diagnostics *diagnostics)
{
    struct reader reader = {.document = document_new(), .diagnostics = diagnostics};
    size_t before = diagnostics->count + diagnostics->omitted;
    if (size > CONFIG_YAML_SIZE_MAX)
        diagnostics_add(diagnostics, (struct document_position){0}, WEFT_INVALID, NULL,
                        "larger than %u bytes", CONFIG_YAML_SIZE_MAX);
    else
        reader_run(&reader, text, size);
    bool failed = diagnostics->count + diagnostics->omitted != before;
    if (!failed && !document_root(reader.document)) {
        diagnostics_add(diagnostics, (struct document_position){1, 1}, WEFT_INVALID, NULL,
                        "empty; the smallest configuration is \"version: 1\"");
        failed = true;
    }
    if (failed) {
        document_free(reader.document);
        return NULL;
    }
    return reader.document;
}
