/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * One more group on a file whose own group is taken: group weft-ro may reach the API socket of group weft.
 *
 * Threads: weftd has one.
 */
#include <sys/types.h>

/* The permissions that the file's mode gives to its group (070) are given to `group` as well: as they are,
 * and only those in `permissions` (0..7). 0 or -errno; -EOPNOTSUPP where the file system has no ACLs. */
int acl_allow_group(const char *path, gid_t group, unsigned permissions);
