/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A NoCloud seed (cloud-init): a small FAT file system with the label CIDATA that holds user-data, meta-data
 * and network-config, made in memory.
 */

/* source: a directory with those files (user-data must be there), or the user-data file alone. meta-data, if
 * missing, names the instance after `name`. A sealed memfd, or -errno and *why. */
int seed_make(const char *source, const char *name, const char **why);
