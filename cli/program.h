/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* Programs that come with weft and that it starts. */

#define PROGRAM_PATH_SIZE 4096u

/* Where the program is: in the first of `places` (relative to this program's directory, each ends with a
 * slash or is ""; NULL ends the list) that has it; else its name, to be looked for in PATH. */
void program_find(const char *name, const char *const places[], char path[PROGRAM_PATH_SIZE]);
