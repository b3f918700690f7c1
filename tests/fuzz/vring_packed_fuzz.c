/* SPDX-License-Identifier: BSD-3-Clause */
#include "vring_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return vring_fuzz_one(true, data, size);
}
