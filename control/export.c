/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "export.h"
#include "schema.h"

/* Texts that every YAML reader takes for this text. The schema lets no control characters through, so that
 * the others need only quotes around them, and a backslash before a quote or backslash. */
static bool is_plain(const char *text)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i]) == 0)
            return false;
    }
    return *text >= 'a' && *text <= 'z' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static void write_text(FILE *out, const char *text)
{
    if (is_plain(text)) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void write_scalar(FILE *out, json_t *value)
{
    if (json_is_integer(value))
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "true" : "false", out);
    else
        write_text(out, json_string_value(value));
}

static void write_key(FILE *out, const char *key, unsigned indent)
{
    fprintf(out, "%*s", (int)indent, "");
    write_text(out, key);
}

static void write_value(FILE *out, json_t *value, unsigned indent)
{
    size_t index;
    json_t *element;
    if (json_is_array(value)) {
        fputs(" [", out);
        json_array_foreach (value, index, element) {
            fputs(index ? ", " : "", out);
            write_scalar(out, element);
        }
        fputs("]\n", out);
    } else if (json_is_object(value)) {
        const char *key;
        fputs("\n", out);
        json_object_foreach (value, key, element) { /* statics: one level of plain values */
            write_key(out, key, indent + 2);
            fputs(":", out);
            write_value(out, element, indent + 2);
        }
    } else {
        fputs(" ", out);
        write_scalar(out, value);
        fputs("\n", out);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_table(FILE *out, const char *path, json_t *table, unsigned indent);

static void write_named(FILE *out, const char *path, json_t *named, unsigned indent)
{
    char below[SCHEMA_PATH_SIZE];
    const char *key, **names = calloc(json_object_size(named) + 1, sizeof(*names));
    size_t count = 0;
    json_t *value;
    if (!names)
        abort();
    json_object_foreach (named, key, value)
        names[count++] = key;
    qsort(names, count, sizeof(*names), by_name);
    snprintf(below, sizeof(below), "%s.*", path);
    for (size_t i = 0; i < count; i++) {
        json_t *table = json_object_get(named, names[i]);
        write_key(out, names[i], indent);
        fputs(json_object_size(table) ? ":\n" : ": {}\n", out);
        write_table(out, below, table, indent + 2);
    }
    free(names);
}

/* A list of tables of plain values, one a line. */
static void write_tables(FILE *out, json_t *list, unsigned indent)
{
    size_t index;
    json_t *table, *value;
    const char *key;
    json_array_foreach (list, index, table) {
        bool first = true;
        fprintf(out, "%*s- {", (int)indent, "");
        json_object_foreach (table, key, value) {
            fputs(first ? " " : ", ", out);
            first = false;
            write_text(out, key);
            fputs(": ", out);
            write_scalar(out, value);
        }
        fputs(" }\n", out);
    }
}

static void write_table(FILE *out, const char *path, json_t *table, unsigned indent)
{
    size_t length = strlen(path);
    for (unsigned i = 0; i < schema_key_count; i++) {
        const struct schema_key *row = &schema_keys[i];
        const char *key = row->path + (length ? length + 1 : 0);
        if (strncmp(row->path, path, length) != 0 || (length && row->path[length] != '.') || strchr(key, '.'))
            continue;
        json_t *value = json_object_get(table, key);
        if (!value || (json_is_object(value) && json_object_size(value) == 0))
            continue;
        write_key(out, key, indent);
        fputs(":", out);
        if (row->type == SCHEMA_NAMED || row->type == SCHEMA_TABLE || row->type == SCHEMA_TABLES)
            fputs("\n", out);
        if (row->type == SCHEMA_NAMED)
            write_named(out, row->path, value, indent + 2);
        else if (row->type == SCHEMA_TABLE)
            write_table(out, row->path, value, indent + 2);
        else if (row->type == SCHEMA_TABLES)
            write_tables(out, value, indent + 2);
        else
            write_value(out, value, indent);
    }
}

char *export_yaml(json_t *config)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        abort();
    write_table(out, "", config, 0);
    fclose(out);
    return text;
}
