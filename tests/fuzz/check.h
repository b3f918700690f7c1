/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* What must hold of whatever a fuzz target is given: says where it does not, and aborts. */
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
