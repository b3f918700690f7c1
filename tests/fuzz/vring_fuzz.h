/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Rings against a hostile guest, split and packed. An input is a set-up and a program of the guest:
 *
 *   byte 0     bit 0 the device receives, 1 mergeable buffers, 2 event index, 3 no indirect tables, 4 a
 * racing writer byte 1     ring size byte 2-3   start position then records of 8 bytes: operation, flags,
 * 16-bit offset, 16-bit length, value, place
 *
 * Guest memory is four regions of one or two pages, two of them adjacent for the guest, each between
 * inaccessible pages. What comes out of the device must lie inside them. With the racing writer a second
 * thread rewrites words of the rings and tables while the device works.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int vring_fuzz_one(bool packed, const uint8_t *data, size_t size);
