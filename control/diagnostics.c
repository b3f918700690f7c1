/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "diagnostics.h"

#define WORD_LENGTH_MAX 40u

/* What is quoted in a message may be cut in the middle of a character or be meant for a terminal. */
static void text_clean(char *text)
{
    for (; *text; text++) {
        if (*text < ' ' || *text > '~')
            *text = '?';
    }
}

void diagnostics_add(struct diagnostics *diagnostics, struct document_position position, enum weft_code code,
                     const char *path, const char *format, ...)
{
    if (diagnostics->count == DIAGNOSTICS_MAX) {
        diagnostics->omitted++;
        return;
    }
    if (!diagnostics->items)
        diagnostics->items = calloc(DIAGNOSTICS_MAX, sizeof(*diagnostics->items));
    struct diagnostic *item = diagnostics->items ? &diagnostics->items[diagnostics->count] : NULL;
    va_list arguments;
    va_start(arguments, format);
    if (!item || vasprintf(&item->message, format, arguments) < 0)
        abort();
    va_end(arguments);
    item->position = position;
    item->code = code;
    item->path = strdup(path ? path : "");
    if (!item->path)
        abort();
    text_clean(item->path);
    text_clean(item->message);
    diagnostics->count++;
}

void diagnostics_clear(struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        free(diagnostics->items[i].path);
        free(diagnostics->items[i].message);
    }
    free(diagnostics->items);
    *diagnostics = (struct diagnostics){0};
}

static int diagnostic_compare(const void *left, const void *right)
{
    const struct document_position *a = &((const struct diagnostic *)left)->position;
    const struct document_position *b = &((const struct diagnostic *)right)->position;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->column < b->column ? -1 : a->column > b->column;
}

void diagnostics_sort(struct diagnostics *diagnostics)
{
    if (diagnostics->count > 1)
        qsort(diagnostics->items, diagnostics->count, sizeof(*diagnostics->items), diagnostic_compare);
}

enum weft_code diagnostics_code(const struct diagnostics *diagnostics)
{
    if (diagnostics->count == 0)
        return WEFT_OK;
    enum weft_code code = diagnostics->items[0].code;
    for (size_t i = 1; i < diagnostics->count; i++) {
        if (diagnostics->items[i].code != code)
            return WEFT_INVALID;
    }
    return code;
}

char *diagnostics_summary(const struct diagnostics *diagnostics, const char *filename)
{
    const struct diagnostic *first = &diagnostics->items[0];
    size_t count = diagnostics->count + diagnostics->omitted;
    char place[32] = "", more[48] = "";
    if (first->position.line)
        snprintf(place, sizeof(place), "%u:%u:", first->position.line, first->position.column);
    if (count > 1)
        snprintf(more, sizeof(more), " (and %zu more)", count - 1);
    char *text = NULL;
    if (asprintf(&text, "%s%s%s%s%s%s%s%s", filename ? filename : "", filename ? ":" : "", place,
                 filename || place[0] ? " " : "", first->path, first->path[0] ? ": " : "", first->message,
                 more) < 0)
        abort();
    return text;
}

json_t *diagnostics_json(const struct diagnostics *diagnostics, const char *filename)
{
    json_t *list = json_array();
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct diagnostic *item = &diagnostics->items[i];
        json_t *entry = json_object();
        if (filename)
            json_object_set_new(entry, "file", json_string(filename));
        if (item->position.line) {
            json_object_set_new(entry, "line", json_integer(item->position.line));
            json_object_set_new(entry, "column", json_integer(item->position.column));
        }
        json_object_set_new(entry, "path", json_string(item->path));
        json_object_set_new(entry, "message", json_string(item->message));
        json_array_append_new(list, entry);
    }
    if (diagnostics->omitted)
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "path", "", "message", "more errors than can be shown"));
    return list;
}

/* Levenshtein's distance, where swapping two neighbours costs one as well. */
static unsigned word_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > WORD_LENGTH_MAX || b_length > WORD_LENGTH_MAX)
        return WORD_LENGTH_MAX;
    unsigned rows[3][WORD_LENGTH_MAX + 1];
    for (unsigned j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        unsigned *row = rows[i % 3], *up = rows[(i - 1) % 3], *two = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_length; j++) {
            unsigned best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two[j - 2] + 1 < best)
                best = two[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[a_length % 3][b_length];
}

static void nearest_try(const char *word, const char *candidate, const char **nearest, unsigned *distance)
{
    unsigned limit = strlen(word) <= 3 ? 1 : strlen(word) <= 6 ? 2 : 3;
    unsigned far = word_distance(word, candidate);
    if (far <= limit && far < *distance) {
        *distance = far;
        *nearest = candidate;
    }
}

const char *diagnostics_nearest(const char *word, const char *const *words)
{
    const char *nearest = NULL;
    unsigned distance = WORD_LENGTH_MAX;
    for (; *words; words++)
        nearest_try(word, *words, &nearest, &distance);
    return nearest;
}

const char *diagnostics_nearest_key(const char *word, json_t *object)
{
    const char *nearest = NULL, *key;
    unsigned distance = WORD_LENGTH_MAX;
    json_t *value;
    json_object_foreach (object, key, value)
        nearest_try(word, key, &nearest, &distance);
    return nearest;
}
