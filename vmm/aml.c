/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include "aml.h"

enum {
    OP_ZERO = 0x00,
    OP_ONE = 0x01,
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_EXTENDED = 0x5b,
    OP_DEVICE = 0x82, /* after OP_EXTENDED */
};
#define LENGTH_SIZE 3u /* every package length is written in three bytes, enough for 1 MiB */

void aml_byte(struct aml *aml, uint8_t byte)
{
    aml_bytes(aml, &byte, 1);
}

void aml_bytes(struct aml *aml, const void *bytes, size_t size)
{
    if (size > aml->capacity - aml->size) {
        aml->overflow = true;
        return;
    }
    memcpy(aml->data + aml->size, bytes, size);
    aml->size += size;
}

static void word(struct aml *aml, uint16_t value)
{
    aml_bytes(aml, &value, sizeof(value));
}

static void dword(struct aml *aml, uint32_t value)
{
    aml_bytes(aml, &value, sizeof(value));
}

void aml_name_string(struct aml *aml, const char *name)
{
    char segment[4] = {'_', '_', '_', '_'};
    if (*name == '\\')
        aml_byte(aml, (uint8_t)*name++);
    size_t length = strlen(name);
    memcpy(segment, name, length < 4 ? length : 4);
    aml_bytes(aml, segment, 4);
}

void aml_integer(struct aml *aml, uint64_t value)
{
    if (value <= 1) {
        aml_byte(aml, value ? OP_ONE : OP_ZERO);
        return;
    }
    unsigned size = value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
    aml_byte(aml, size == 1 ? OP_BYTE : size == 2 ? OP_WORD : size == 4 ? OP_DWORD : OP_QWORD);
    aml_bytes(aml, &value, size);
}

void aml_name(struct aml *aml, const char *name)
{
    aml_byte(aml, OP_NAME);
    aml_name_string(aml, name);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
    aml_name(aml, name);
    aml_integer(aml, value);
}

void aml_name_string_value(struct aml *aml, const char *name, const char *value)
{
    aml_name(aml, name);
    aml_byte(aml, OP_STRING);
    aml_bytes(aml, value, strlen(value) + 1);
}

void aml_name_eisa(struct aml *aml, const char *name, const char *id)
{
    uint32_t product = (uint32_t)strtoul(id + 3, NULL, 16);
    uint32_t value = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
                     (uint32_t)(id[2] - '@') << 16 | product;
    aml_name(aml, name);
    aml_byte(aml, OP_DWORD);
    dword(aml, __builtin_bswap32(value));
}

/* The package length stands at the mark and covers itself and all up to the close. */
static size_t open_length(struct aml *aml)
{
    size_t mark = aml->size;
    aml_bytes(aml, (const uint8_t[LENGTH_SIZE]){0}, LENGTH_SIZE);
    return mark;
}

void aml_close(struct aml *aml, size_t mark)
{
    if (aml->overflow)
        return;
    size_t length = aml->size - mark;
    aml->data[mark] = (uint8_t)(0x80 | (length & 0xf)); /* two more bytes follow (20.2.4) */
    aml->data[mark + 1] = (uint8_t)(length >> 4);
    aml->data[mark + 2] = (uint8_t)(length >> 12);
}

size_t aml_open_scope(struct aml *aml, const char *name)
{
    aml_byte(aml, OP_SCOPE);
    size_t mark = open_length(aml);
    aml_name_string(aml, name);
    return mark;
}

size_t aml_open_device(struct aml *aml, const char *name)
{
    aml_byte(aml, OP_EXTENDED);
    aml_byte(aml, OP_DEVICE);
    size_t mark = open_length(aml);
    aml_name_string(aml, name);
    return mark;
}

size_t aml_open_package(struct aml *aml, uint8_t elements)
{
    aml_byte(aml, OP_PACKAGE);
    size_t mark = open_length(aml);
    aml_byte(aml, elements);
    return mark;
}

/* A buffer whose size, an integer of two bytes, follows the package length. */
size_t aml_open_resources(struct aml *aml)
{
    aml_name(aml, "_CRS");
    aml_byte(aml, OP_BUFFER);
    size_t mark = open_length(aml);
    aml_byte(aml, OP_WORD);
    word(aml, 0);
    return mark;
}

void aml_close_resources(struct aml *aml, size_t mark)
{
    word(aml, 0x0079); /* end tag, no checksum */
    aml_close(aml, mark);
    if (aml->overflow)
        return;
    uint16_t size = (uint16_t)(aml->size - mark - LENGTH_SIZE - 3);
    memcpy(aml->data + mark + LENGTH_SIZE + 1, &size, sizeof(size));
}

void aml_io(struct aml *aml, uint16_t port, uint8_t count)
{
    aml_byte(aml, 0x47); /* 6.4.2.5, 16-bit decode */
    aml_byte(aml, 1);
    word(aml, port);
    word(aml, port);
    aml_byte(aml, 1);
    aml_byte(aml, count);
}

void aml_irq(struct aml *aml, unsigned irq)
{
    aml_byte(aml, 0x22); /* 6.4.2.1, edge, high, exclusive */
    word(aml, (uint16_t)(1u << irq));
}

void aml_memory32(struct aml *aml, uint32_t address, uint32_t size)
{
    aml_byte(aml, 0x86); /* 6.4.3.4 */
    word(aml, 9);
    aml_byte(aml, 1);
    dword(aml, address);
    dword(aml, size);
}

/* Word address space descriptor, 6.4.3.5.3. */
static void word_space(struct aml *aml, uint8_t type, uint8_t specific, uint16_t first, uint16_t last)
{
    aml_byte(aml, 0x88);
    word(aml, 13);
    aml_byte(aml, type);
    aml_byte(aml, 0x0c); /* produced, positive decode, minimum and maximum fixed */
    aml_byte(aml, specific);
    word(aml, 0);
    word(aml, first);
    word(aml, last);
    word(aml, 0);
    word(aml, (uint16_t)(last - first + 1));
}

void aml_bus_range(struct aml *aml, uint16_t first, uint16_t last)
{
    word_space(aml, 2, 0, first, last);
}

void aml_io_window(struct aml *aml, uint16_t first, uint16_t last)
{
    word_space(aml, 1, 3, first, last); /* the entire range */
}

void aml_memory_window(struct aml *aml, uint32_t first, uint32_t last)
{
    aml_byte(aml, 0x87); /* 6.4.3.5.2 */
    word(aml, 23);
    aml_byte(aml, 0);
    aml_byte(aml, 0x0c);
    aml_byte(aml, 1); /* read-write, not cacheable */
    dword(aml, 0);
    dword(aml, first);
    dword(aml, last);
    dword(aml, 0);
    dword(aml, last - first + 1);
}
