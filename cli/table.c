/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables and records by libsmartcols.
 */
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

static const char *state_colour(const char *state)
{
    static const struct {
        const char *state, *colour;
    } colours[] = {{"up", "green"},       {"ok", "green"},        {"fixed", "green"},
                   {"error", "red"},      {"failed", "red"},      {"down", "red"},
                   {"warning", "yellow"}, {"starting", "yellow"}, {"disabled", "yellow"}};
    for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
        if (strcmp(colours[i].state, state) == 0)
            return colours[i].colour;
    return NULL;
}

static bool is_number(enum column_kind kind)
{
    return kind == COLUMN_COUNT || kind == COLUMN_BYTES || kind == COLUMN_SECONDS || kind == COLUMN_PERCENT;
}

static struct libscols_table *new_table(FILE *out, bool colour)
{
    struct libscols_table *table = scols_new_table();
    if (!table)
        return NULL;
    scols_table_set_stream(table, out);
    /* nothing is cut off: a line that does not fit wraps in the terminal, and a pipe gets all of it */
    scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    scols_table_enable_noencoding(table, 1); /* cells are clean already */
    scols_table_enable_colors(table, colour);
    return table;
}

static void add_row(struct libscols_table *table, const json_t *item, const struct column *columns, bool wide)
{
    struct libscols_line *line = scols_table_new_line(table, NULL);
    size_t index = 0;
    for (const struct column *column = columns; line && column->title; column++) {
        char cell[OUTPUT_CELL_SIZE];
        if (column->wide && !wide)
            continue;
        output_cell(cell, item, column, wide);
        scols_line_set_data(line, index, cell);
        if (column->kind == COLUMN_STATE && state_colour(cell))
            scols_cell_set_color(scols_line_get_cell(line, index), state_colour(cell));
        index++;
    }
}

void output_table(FILE *out, const json_t *items, const struct column *columns, bool wide, bool colour)
{
    struct libscols_table *table = json_array_size(items) ? new_table(out, colour) : NULL;
    if (!table)
        return;
    for (const struct column *column = columns; column->title; column++)
        if (!column->wide || wide)
            scols_table_new_column(table, column->title, 0, is_number(column->kind) ? SCOLS_FL_RIGHT : 0);
    size_t i;
    json_t *item;
    json_array_foreach (items, i, item)
        add_row(table, item, columns, wide);
    scols_print_table(table);
    scols_unref_table(table);
}

void output_record(FILE *out, const json_t *item, const struct column *columns, bool wide, bool colour)
{
    struct libscols_table *table = new_table(out, colour);
    if (!table)
        return;
    scols_table_enable_noheadings(table, 1);
    scols_table_new_column(table, "KEY", 0, 0);
    scols_table_new_column(table, "VALUE", 0, 0);
    for (const struct column *column = columns; column->title; column++) {
        char cell[OUTPUT_CELL_SIZE];
        output_cell(cell, item, column, wide);
        if (strcmp(cell, "-") == 0)
            continue; /* a record is long enough without what there is not */
        struct libscols_line *line = scols_table_new_line(table, NULL);
        if (!line)
            break;
        scols_line_set_data(line, 0, column->title);
        scols_line_set_data(line, 1, cell);
        if (column->kind == COLUMN_STATE && state_colour(cell))
            scols_cell_set_color(scols_line_get_cell(line, 1), state_colour(cell));
    }
    scols_print_table(table);
    scols_unref_table(table);
}
