/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Who may do what over the API socket: root, this process's own user and group weft everything, group weft-ro
 * reading. The groups are looked up once.
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <sys/types.h>

struct api_groups {
    gid_t admin, read; /* (gid_t)-1: there is none */
};

struct api_role {
    uid_t uid; /* (uid_t)-1: not known, and nothing is allowed */
    bool admin, read;
};

void api_groups_find(struct api_groups *groups);
/* The socket's and the run dir's group is weft; weft-ro comes in by an ACL. Nothing unless this is root. */
void api_groups_admit_readers(const struct api_groups *groups, const char *socket_path, const char *run_dir);
/* Of the process that connected the unix socket `fd`. */
struct api_role api_role_of_peer(const struct api_groups *groups, int fd);
