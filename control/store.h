/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Generations on disk: STATE-DIR/generations/N.json and STATE-DIR/current, which holds the number in force.
 *
 * A generation is committed by the rename of `current`. Everything before can be undone or is swept away at
 * the next start, so a kill at any system call leaves the old generation or the new one. Files are written
 * aside, synchronised, renamed, and their directory is synchronised.
 *
 * Errors: 0 or -errno; store_error() names the file. Threads: weftd has one.
 */
#include <stdint.h>
#include <jansson.h>

struct store;

/* Makes the directory if needed, locks it, sweeps up what an interrupted commit left. NULL and errno; `text`
 * (`size` bytes) says why. EBUSY: another weftd has it. */
struct store *store_open(const char *path, char *text, size_t size);
void store_close(struct store *store);
const char *store_error(const struct store *store);

uint64_t store_current(const struct store *store);            /* 0: none yet */
json_t *store_load(struct store *store, uint64_t generation); /* NULL: not there or not readable */

/* Writes generation `generation`, which is not in force before store_commit. store_discard undoes
 * store_prepare. */
int store_prepare(struct store *store, uint64_t generation, json_t *record);
int store_commit(struct store *store, uint64_t generation);
void store_discard(struct store *store, uint64_t generation);

/* The generations that are kept, the newest first. */
size_t store_list(struct store *store, uint64_t *generations, size_t max);

/* Small files beside: "confirm.json", "applied.json". */
int store_write(struct store *store, const char *name, json_t *value);
json_t *store_read(struct store *store, const char *name); /* NULL: none */
int store_remove(struct store *store, const char *name);   /* 0 if it was not there */
