/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Everything that is wrong with a configuration, collected, so that the user sees all of it at once:
 * FILE:LINE:COLUMN: PATH: MESSAGE.
 *
 * Threads: weftd has one.
 */
#include <stddef.h>
#include <jansson.h>
#include "document.h"
#include "weft_api.h"

#define DIAGNOSTICS_MAX 200u

struct diagnostic {
    struct document_position position;
    char *path;
    char *message;
    enum weft_code code;
};

struct diagnostics {
    struct diagnostic *items;
    size_t count;
    size_t omitted; /* beyond DIAGNOSTICS_MAX */
};

void diagnostics_add(struct diagnostics *diagnostics, struct document_position position, enum weft_code code,
                     const char *path, const char *format, ...) __attribute__((format(printf, 5, 6)));
void diagnostics_clear(struct diagnostics *diagnostics);

/* In the order of the file. */
void diagnostics_sort(struct diagnostics *diagnostics);
/* WEFT_OK if there are none; the code that they have in common, else WEFT_INVALID. */
enum weft_code diagnostics_code(const struct diagnostics *diagnostics);
/* One sentence that sums up, to be freed. */
char *diagnostics_summary(const struct diagnostics *diagnostics, const char *filename);
json_t *diagnostics_json(const struct diagnostics *diagnostics, const char *filename);
/* The word of `words` (NULL at the end) that is most like `word`, NULL if none is. */
const char *diagnostics_nearest(const char *word, const char *const *words);
/* The same among the keys of an object. */
const char *diagnostics_nearest_key(const char *word, json_t *object);
