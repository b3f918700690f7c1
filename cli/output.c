/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "output.h"

#define MESSAGE_SIZE 4096

/* Length of the well-formed UTF-8 sequence at `at` and its code point; 0 when it is not one. */
static size_t decode(const unsigned char *at, size_t left, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : at[0] >> 3 == 30 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    *code = length == 1 ? at[0] : at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (at[i] & 0x3f);
    }
    bool surrogate = *code >= 0xd800 && *code < 0xe000;
    return *code < least[length] || *code > 0x10ffff || surrogate ? 0 : length;
}

/*
 * What is not printed as it is. Beyond ASCII that is all that the locale cannot print: libsmartcols does not
 * get past such a character (in the C locale it never returns), and a terminal would not show it either.
 */
static bool is_harmful(uint32_t code)
{
    if (code < 0x80)
        return code < 0x20 || code == 0x7f;
    return MB_CUR_MAX == 1 || !iswprint((wint_t)code) ||
           wcwidth((wchar_t)code) < 1 ||         /* zero width, combining */
           (code >= 0x200b && code <= 0x200f) || /* marks of direction */
           (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069); /* overrides of direction */
}

size_t output_clean(char *to, size_t size, const char *text, size_t length, bool lines)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t used = 0;
    while (length > 0) {
        char piece[16];
        uint32_t code = 0;
        size_t taken = decode(at, length, &code);
        int made;
        if (taken == 0)
            made = snprintf(piece, sizeof(piece), "\\x%02x", at[0]);
        else if (is_harmful(code) && !(lines && code == '\n'))
            made = snprintf(piece, sizeof(piece), code < 0x100 ? "\\x%02x" : "\\u%04x", code);
        else
            made = snprintf(piece, sizeof(piece), "%.*s", (int)taken, (const char *)at);
        if (used + (size_t)made >= size)
            break;
        memcpy(to + used, piece, (size_t)made);
        used += (size_t)made;
        at += taken ? taken : 1;
        length -= taken ? taken : 1;
    }
    to[used] = '\0';
    return used;
}

static void scaled(char *to, size_t size, uint64_t number, unsigned base, const char *const *units)
{
    double value = (double)number;
    unsigned unit = 0;
    while (value >= 999.5 && units[unit + 1]) {
        value /= base;
        unit++;
    }
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(to, size, "%.*f%s", decimals, value, units[unit]);
}

void output_count(char *to, size_t size, uint64_t number)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E", NULL};
    if (number < 10000)
        snprintf(to, size, "%" PRIu64, number);
    else
        scaled(to, size, number, 1000, units);
}

void output_bytes(char *to, size_t size, uint64_t number)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB", NULL};
    if (number < 1000)
        snprintf(to, size, "%" PRIu64 " B", number);
    else
        scaled(to, size, number, 1024, units);
}

void output_seconds(char *to, size_t size, uint64_t seconds)
{
    if (seconds < 60)
        snprintf(to, size, "%" PRIu64 "s", seconds);
    else if (seconds < 3600)
        snprintf(to, size, "%" PRIu64 "m%" PRIu64 "s", seconds / 60, seconds % 60);
    else if (seconds < 2 * 86400)
        snprintf(to, size, "%" PRIu64 "h%" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
    else
        snprintf(to, size, "%" PRIu64 "d%" PRIu64 "h", seconds / 86400, seconds / 3600 % 24);
}

static void cell_integer(char to[OUTPUT_CELL_SIZE], uint64_t number, enum column_kind kind, bool wide)
{
    if (kind == COLUMN_COUNT && !wide)
        output_count(to, OUTPUT_CELL_SIZE, number);
    else if (kind == COLUMN_BYTES && !wide)
        output_bytes(to, OUTPUT_CELL_SIZE, number);
    else if (kind == COLUMN_SECONDS && !wide)
        output_seconds(to, OUTPUT_CELL_SIZE, number);
    else
        snprintf(to, OUTPUT_CELL_SIZE, "%" PRIu64, number);
}

/* 2026-11-21T01:02:03.456Z as local time without the fraction. */
static void cell_time(char to[OUTPUT_CELL_SIZE], const char *text)
{
    struct tm utc = {0}, local;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    size_t fraction = end && *end == '.' ? 1 + strspn(end + 1, "0123456789") : 0;
    if (!end || strcmp(end + fraction, "Z") != 0) {
        output_clean(to, OUTPUT_CELL_SIZE, text, strlen(text), false);
        return;
    }
    time_t seconds = timegm(&utc);
    if (!localtime_r(&seconds, &local) || !strftime(to, OUTPUT_CELL_SIZE, "%Y-%m-%d %H:%M:%S", &local))
        output_clean(to, OUTPUT_CELL_SIZE, text, strlen(text), false);
}

static void cell_user(char to[OUTPUT_CELL_SIZE], json_int_t uid)
{
    const struct passwd *user = uid >= 0 && uid < UINT32_MAX ? getpwuid((uid_t)uid) : NULL;
    if (user)
        output_clean(to, OUTPUT_CELL_SIZE, user->pw_name, strlen(user->pw_name), false);
    else
        snprintf(to, OUTPUT_CELL_SIZE, "%" JSON_INTEGER_FORMAT, uid);
}

static void cell_members(char to[OUTPUT_CELL_SIZE], const json_t *value, enum column_kind kind, bool wide);

static void cell_value(char to[OUTPUT_CELL_SIZE], const json_t *value, enum column_kind kind, bool wide)
{
    to[0] = '\0';
    if (json_is_integer(value) && kind == COLUMN_USER && !wide) {
        cell_user(to, json_integer_value(value));
    } else if (json_is_integer(value) && json_integer_value(value) >= 0) {
        cell_integer(to, (uint64_t)json_integer_value(value), kind, wide);
    } else if (json_is_integer(value)) {
        snprintf(to, OUTPUT_CELL_SIZE, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value) && kind == COLUMN_PERCENT) {
        snprintf(to, OUTPUT_CELL_SIZE, "%.1f%%", 100 * json_real_value(value));
    } else if (json_is_real(value)) {
        snprintf(to, OUTPUT_CELL_SIZE, "%.3f", json_real_value(value));
    } else if (json_is_boolean(value)) {
        snprintf(to, OUTPUT_CELL_SIZE, "%s", json_is_true(value) ? "yes" : "no");
    } else if (json_is_string(value) && kind == COLUMN_TIME && !wide) {
        cell_time(to, json_string_value(value));
    } else if (json_is_string(value)) {
        output_clean(to, OUTPUT_CELL_SIZE, json_string_value(value), json_string_length(value), false);
    } else if (json_is_array(value) || json_is_object(value)) {
        cell_members(to, value, kind, wide);
    }
}

static void append(char to[OUTPUT_CELL_SIZE], const char *text)
{
    size_t used = strlen(to);
    snprintf(to + used, OUTPUT_CELL_SIZE - used, "%s", text);
}

/* A list: its members with commas. A mapping: key=value. One level deep. */
static void cell_members(char to[OUTPUT_CELL_SIZE], const json_t *value, enum column_kind kind, bool wide)
{
    json_t *members = json_incref((json_t *)(uintptr_t)value); /* jansson's iterators are not const */
    void *iterator = json_is_object(members) ? json_object_iter(members) : NULL;
    size_t count = iterator ? json_object_size(members) : json_array_size(members);
    for (size_t i = 0; i < count; i++) {
        char piece[OUTPUT_CELL_SIZE];
        const json_t *element = iterator ? json_object_iter_value(iterator) : json_array_get(members, i);
        if (i)
            append(to, ",");
        if (iterator) {
            const char *name = json_object_iter_key(iterator);
            output_clean(piece, sizeof(piece), name, strlen(name), false);
            append(to, piece);
            append(to, "=");
            iterator = json_object_iter_next(members, iterator);
        }
        if (json_is_array(element) || json_is_object(element))
            snprintf(piece, sizeof(piece), "...");
        else
            cell_value(piece, element, kind, wide);
        append(to, piece);
    }
    json_decref(members);
}

void output_cell(char to[OUTPUT_CELL_SIZE], const json_t *item, const struct column *column, bool wide)
{
    const json_t *value = json_object_get(item, column->key);
    if (!value && column->other)
        value = json_object_get(item, column->other);
    cell_value(to, value, column->kind, wide);
    if (column->kind == COLUMN_YES && !json_is_true(value))
        to[0] = '\0';
    if (!to[0])
        snprintf(to, OUTPUT_CELL_SIZE, "-");
}

void output_json(FILE *out, const json_t *value, bool line)
{
    char *text = json_dumps(value, JSON_ENSURE_ASCII | (line ? JSON_COMPACT : JSON_INDENT(2)));
    for (const char *at = text; at && *at;) { /* jansson escapes all but DEL */
        size_t length = strcspn(at, "\x7f");
        fwrite(at, 1, length, out);
        at += length;
        if (*at) {
            fputs("\\u007f", out);
            at++;
        }
    }
    fputc('\n', out);
    free(text);
}

json_t *output_json_string(const char *text)
{
    json_t *string = json_string(text);
    if (string)
        return string;
    size_t length = strlen(text), size = 6 * length + 1;
    char *clean = malloc(size);
    if (!clean)
        return NULL;
    output_clean(clean, size, text, length, true);
    string = json_string(clean);
    free(clean);
    return string;
}

void output_text(FILE *out, const char *text)
{
    size_t length = strlen(text), size = 6 * length + 1;
    char *clean = malloc(size);
    if (!clean)
        return;
    output_clean(clean, size, text, length, true);
    fputs(clean, out);
    if (length && text[length - 1] != '\n')
        fputc('\n', out);
    free(clean);
}

bool output_has_colour(FILE *out)
{
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(fileno(out)) && !(none && none[0]) && terminal && strcmp(terminal, "dumb") != 0;
}

/* What tells items apart that have no name, by the command's noun: as the commands take it. */
static const struct {
    const char *noun, *keys[3];
} identities[] = {
    {"forward", {"segment", "protocol", "port"}},
    {"lease", {"address"}},
    {"neighbour", {"address"}},
    {"route", {"prefix"}},
    {"fdb", {"mac"}},
    {"config", {"generation"}},
};

static void print_identity(FILE *out, const char *const keys[3], const json_t *item)
{
    char cell[OUTPUT_CELL_SIZE];
    for (unsigned i = 0; i < 3 && keys[i]; i++) {
        const struct column column = {"", keys[i], NULL, COLUMN_TEXT, false};
        output_cell(cell, item, &column, true);
        fprintf(out, "%s%s", i ? " " : "", cell);
    }
}

static void output_names(FILE *out, const char *noun, const json_t *items)
{
    static const char *const name[3] = {"name"};
    const char *const *keys = name;
    size_t i;
    json_t *item;
    for (i = 0; noun && i < sizeof(identities) / sizeof(identities[0]); i++)
        if (strcmp(identities[i].noun, noun) == 0)
            keys = identities[i].keys;
    json_array_foreach (items, i, item) {
        print_identity(out, keys, item);
        fputc('\n', out);
    }
}

void output_items(FILE *out, const struct cli_context *context, const json_t *result,
                  const struct column *columns)
{
    const json_t *items = json_object_get(result, "items");
    if (context->format == CLI_FORMAT_JSON)
        output_json(out, result, context->watch_s != 0);
    else if (context->format == CLI_FORMAT_NAME)
        output_names(out, context->command ? context->command->noun : NULL, items);
    else
        output_table(out, items, columns, context->format == CLI_FORMAT_WIDE, context->colour);
}

static void message(const char *prefix, const char *format, va_list arguments)
{
    char text[MESSAGE_SIZE], clean[MESSAGE_SIZE];
    vsnprintf(text, sizeof(text), format, arguments);
    output_clean(clean, sizeof(clean), text, strlen(text), true);
    fflush(stdout);
    fprintf(stderr, "%s%s\n", prefix, clean);
}

void output_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    message("weft: ", format, arguments);
    va_end(arguments);
}

void output_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    message("", format, arguments);
    va_end(arguments);
}
