/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* virtio entropy device (virtio 1.2, 5.4): the host's getrandom(2), at a bounded rate. */
#include "virtio.h"

struct rng;

struct rng *rng_new(const struct virtio_host *host); /* NULL and errno */
void rng_free(struct rng *rng);
struct virtio *rng_virtio(struct rng *rng);
