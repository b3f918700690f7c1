/* SPDX-License-Identifier: BSD-3-Clause */
#include "program.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void program_find(const char *name, const char *const places[], char path[PROGRAM_PATH_SIZE])
{
    char own[2048];
    ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(own, '/');
    for (size_t i = 0; slash && places[i]; i++) {
        snprintf(path, PROGRAM_PATH_SIZE, "%.*s/%s%s", (int)(slash - own), own, places[i], name);
        if (access(path, X_OK) == 0)
            return;
    }
    snprintf(path, PROGRAM_PATH_SIZE, "%s", name);
}
