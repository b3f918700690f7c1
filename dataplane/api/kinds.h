/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * What the macros of dataplane_api.h say, as tables: sizes and keys of objects, names of kinds and
 * operations. Both ends of the programming socket check sizes with this one table.
 *
 * Threads: constants.
 */
#include <stddef.h>
#include "dataplane_api.h"

size_t dp_object_size(enum dp_kind kind); /* bytes; 0: no such kind */
size_t dp_key_size(
    enum dp_kind kind); /* bytes of the key at the object's start; 0: one object only, or no key */
const char *dp_kind_name(enum dp_kind kind); /* "port_state"; "?" for a kind that does not exist */
const char *dp_op_name(enum dp_op op);       /* "BEGIN"; "?" */
