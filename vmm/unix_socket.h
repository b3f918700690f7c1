/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* A listening unix socket, mode 0660, non-blocking. A socket file that nobody listens on is replaced; a live one is
 * -EADDRINUSE. Returns the descriptor or -errno. */
int unix_socket_listen(const char *path);
