/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A writer of ACPI machine language (ACPI 6.4, 20). Packages are opened and closed; their lengths are filled
 * in at the close. Overflow is remembered and reported once, at the end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *data;
    size_t size, capacity; /* bytes */
    bool overflow;
};

void aml_byte(struct aml *aml, uint8_t byte);
void aml_bytes(struct aml *aml, const void *bytes, size_t size);
/* One segment ("PCI0"), padded with underscores, or "\\" and a segment. */
void aml_name_string(struct aml *aml, const char *name);
void aml_integer(struct aml *aml, uint64_t value);
/* Name (NAME, ...): the object follows. */
void aml_name(struct aml *aml, const char *name);
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_string_value(struct aml *aml, const char *name, const char *value);
/* "PNP0A08" as the compressed EISA id. */
void aml_name_eisa(struct aml *aml, const char *name, const char *id);

/* Open constructs return a mark for aml_close. */
size_t aml_open_scope(struct aml *aml, const char *name);
size_t aml_open_device(struct aml *aml, const char *name);
size_t aml_open_package(struct aml *aml, uint8_t elements);
/* Name (_CRS, ResourceTemplate): resource descriptors follow. */
size_t aml_open_resources(struct aml *aml);
void aml_close(struct aml *aml, size_t mark);
void aml_close_resources(struct aml *aml, size_t mark);

/* Resource descriptors (6.4). */
void aml_io(struct aml *aml, uint16_t port, uint8_t count);
void aml_irq(struct aml *aml, unsigned irq);
void aml_memory32(struct aml *aml, uint32_t address, uint32_t size);
void aml_bus_range(struct aml *aml, uint16_t first, uint16_t last);
void aml_io_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_memory_window(struct aml *aml, uint32_t first, uint32_t last);
