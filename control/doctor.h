/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Checks of this host: what is missing, what would make weft faster, and the way out.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include <stdbool.h>

struct controller;

/* Array of {check, state, text, fix?}; `fix`: mends what can safely be. `run_dir`: of the instance;
 * `controller` NULL: checks of the host alone. */
json_t *doctor_check(bool fix, const char *run_dir, const struct controller *controller);
/* `weftd --doctor`: prints {"schema","items"}; exit code: 0, or 1 if a check failed. */
int doctor_print(bool fix, const char *run_dir);
