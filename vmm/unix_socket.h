/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* A listening unix socket, mode 0660, non-blocking. A socket file that nobody listens on is replaced; a live
 * one is -EADDRINUSE. Returns the descriptor or -errno. */
int unix_socket_listen(const char *path);

/* The directory of a socket, opened while paths can be resolved, and the removal of the socket through it
 * later. */
int unix_socket_directory(const char *path);
/* Closes the descriptor. */
void unix_socket_remove(int directory, const char *path);
/* What comes after the last slash. */
const char *unix_socket_file(const char *path);
