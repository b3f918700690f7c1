/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * How answers look: tables, exact and human numbers, JSON, names. Data goes to a stream of the caller's
 * (standard output or a screen that is built first), notes and errors to standard error. Whatever came from
 * elsewhere is made harmless for a terminal first.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "context.h"

enum column_kind {
    COLUMN_TEXT,
    COLUMN_COUNT,   /* 12.3M; exact in wide */
    COLUMN_BYTES,   /* 1.18 GiB; exact in wide */
    COLUMN_SECONDS, /* 5m 12s; exact in wide */
    COLUMN_PERCENT, /* of a fraction 0..1 */
    COLUMN_TIME,    /* RFC 3339 in; local time out, as it came in wide */
    COLUMN_STATE,   /* coloured on a terminal */
    COLUMN_YES,     /* true: yes */
    COLUMN_USER,    /* user id in; name out, the number in wide */
};

struct column {
    const char *title;
    const char *key;   /* of the item */
    const char *other; /* key shown where the item has no `key`, NULL: none */
    enum column_kind kind;
    bool wide; /* in wide only */
};

#define OUTPUT_CELL_SIZE 256

/*
 * Copies text without what a terminal would act on: control characters, C1, bidirectional overrides and bytes
 * that are not UTF-8 become \xNN or \uNNNN. Newlines too, unless `lines`. Always terminates; returns the
 * length written.
 */
size_t output_clean(char *to, size_t size, const char *text, size_t length, bool lines);

/* Three digits that matter: 9999, 12.3k, 4.56M. */
void output_count(char *to, size_t size, uint64_t number);
void output_bytes(char *to, size_t size, uint64_t number);
void output_seconds(char *to, size_t size, uint64_t seconds);

/* Text of one cell as a table shows it. */
void output_cell(char to[OUTPUT_CELL_SIZE], const json_t *item, const struct column *column, bool wide);

/* One answer in the format asked for; the columns (ends with .title NULL) serve text and wide. */
void output_items(FILE *out, const struct cli_context *context, const json_t *result,
                  const struct column *columns);

/* A table of items, without regard to the format. `colour`: states are coloured. */
void output_table(FILE *out, const json_t *items, const struct column *columns, bool wide, bool colour);

/* One item as lines of "title  value". */
void output_record(FILE *out, const json_t *item, const struct column *columns, bool wide, bool colour);

/* Indented, ASCII only, keys in weftd's order. `line`: on one line. */
void output_json(FILE *out, const json_t *value, bool line);

/* A JSON string of any bytes: what is not UTF-8 is escaped. Never NULL but for want of memory. */
json_t *output_json_string(const char *text);

/* Text of weftd's, several lines, made harmless. */
void output_text(FILE *out, const char *text);

/* Whether `out` is a terminal that shall have colours (NO_COLOR, TERM=dumb). */
bool output_has_colour(FILE *out);

/* "weft: ..." on standard error. The text is made harmless as a whole. */
void output_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void output_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
