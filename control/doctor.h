/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Looks at what makes weft work and what would make it faster, and sets right what can be set right safely.
 *
 * Threads: weftd has one.
 */
#include <jansson.h>
#include <stdbool.h>

/* Array of {check, state, text, fix?}; state: ok, note, warning, failed, fixed. */
json_t *doctor_run(const char *run_dir, bool fix);
