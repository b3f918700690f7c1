/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Where the serial port's bytes go and come from: a terminal, a file, or whoever connects to a socket. What
 * the guest sends is bounded: 64 KiB wait for a slow reader, the rest is dropped and counted; a file begins
 * again at its limit.
 *
 * Threads: with the machine lock held.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "loop.h"
#include "serial.h"

#define CONSOLE_BUFFER_SIZE (64u << 10)
#define CONSOLE_FILE_MAX    (16u << 20) /* bytes */

struct console;

struct console_status {
    uint64_t bytes;   /* sent by the guest */
    uint64_t dropped; /* bytes that nobody took in time */
    bool attached;    /* a client is on the socket */
};

/* spec: "stdio", "file:PATH", "socket:PATH", "none". NULL and errno; *what: which step failed. */
struct console *console_new(struct loop *loop, const char *spec, void (*escape)(void *context), void *context,
                            const char **what);
void console_free(struct console *console); /* gives the terminal its modes back, removes the socket */
/* The port that takes the input. */
void console_attach(struct console *console, struct serial *serial);
void console_put(void *console, uint8_t byte);
/* The port has room for input again. */
void console_resume_input(void *console);
void console_status(const struct console *console, struct console_status *status);
