/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The control socket: one JSON object a line each way (weft-vmm(1) lists the commands).
 * Threads: in the loop, with the machine lock held.
 */
#include "machine.h"

struct control;

struct control *control_new(struct machine *machine,
                            const char *path); /* NULL and errno, after having said why */
void control_free(struct control *control);    /* removes the socket */
