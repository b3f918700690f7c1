/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Ports for a load generator: they exist for as long as the API connection that asked for them, are no part
 * of the configuration, and nothing of them is stored.
 *
 * Threads: weftd has one.
 */
#include "api_call.h"
#include "compile.h"

struct bench;

struct bench *bench_new(void); /* NULL: no memory */
void bench_free(struct bench *bench);
/* Adds the ports whose segments the model has to what the dataplane shall hold. */
void bench_compile(struct bench *bench, const struct model *model, uint32_t socket_group,
                   struct object_set *set);
/* The owner's connection ends. True: it had ports. */
bool bench_release(struct bench *bench, const void *owner);

void api_bench_open(struct api_call *call);
