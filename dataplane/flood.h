/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Flooding: broadcast, multicast and unknown unicast alike go to every member of the segment but the port
 * they came from.
 *
 * Threads: worker.
 */
#include "program.h"

/* Sends program->flooded[0..count); each is counted as flooded, or as dropped where there is nobody to send
 * it to. */
void flood_frames(struct program *program, unsigned count);
