/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Completion. The shell's script is a few lines that ask `weft __complete WORD...` for the candidates, so
 * that what is offered always is what this program knows, and what this weftd holds.
 */
#include <stdio.h>

#define COMPLETE_COMMAND "__complete"

/* A line of this instead of candidates: the shell completes names of files. */
#define COMPLETE_FILES ":files"

/* Prints what the last of the words may become, one a line. The words are those after "weft". */
void complete_print(FILE *out, int count, char **words);
