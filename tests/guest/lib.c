/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include "guest.h"

#define SERIAL 0x3f8

static const char *command_line = "";
extern char image_end[];

void *memcpy(void *to, const void *from, size_t size)
{
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
}

void *memset(void *to, int byte, size_t size)
{
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
    return result;
}

void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *a = to;
    const uint8_t *b = from;
    if (a < b)
        return memcpy(to, from, size);
    while (size--)
        a[size] = b[size];
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < size; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

static void put(char c)
{
    out8(SERIAL, (uint8_t)c);
}

bool typed(char *c)
{
    if (!(in8(SERIAL + 5) & 1)) /* line status: data ready */
        return false;
    *c = (char)in8(SERIAL);
    return true;
}

static void put_number(uint64_t value, unsigned base, unsigned width)
{
    char digits[24];
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (count < width)
        digits[count++] = '0';
    while (count)
        put(digits[--count]);
}

void print(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        unsigned width = 0;
        bool wide = false;
        for (format++; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (unsigned)(*format - '0');
        for (; *format == 'l'; format++)
            wide = true;
        uint64_t value;
        switch (*format) {
        case 's':
            for (const char *text = va_arg(list, const char *); *text; text++)
                put(*text);
            break;
        case 'c':
            put((char)va_arg(list, int));
            break;
        case 'd':
            value = wide ? (uint64_t)va_arg(list, long) : (uint64_t)(int64_t)va_arg(list, int);
            if ((int64_t)value < 0) {
                put('-');
                value = 0 - value;
            }
            put_number(value, 10, width);
            break;
        default:
            value = wide ? va_arg(list, unsigned long) : va_arg(list, unsigned);
            put_number(value, *format == 'x' ? 16 : 10, width);
        }
    }
    va_end(list);
}

void set_command_line(const char *text)
{
    command_line = text;
}

const char *argument(const char *key)
{
    size_t length = strlen(key);
    for (const char *at = command_line; *at; at++) {
        if ((at == command_line || at[-1] == ' ') && memcmp(at, key, length) == 0 && at[length] == '=')
            return at + length + 1;
    }
    return NULL;
}

bool argument_is(const char *key, const char *value)
{
    const char *text = argument(key);
    size_t length = strlen(value);
    return text && memcmp(text, value, length) == 0 && (text[length] == ' ' || text[length] == 0);
}

uint64_t argument_number(const char *key, uint64_t otherwise)
{
    const char *text = argument(key);
    if (!text)
        return otherwise;
    uint64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    return value;
}

uint32_t argument_ip(const char *key)
{
    const char *text = argument(key);
    uint32_t ip = 0, byte = 0;
    for (; text && ((*text >= '0' && *text <= '9') || *text == '.'); text++) {
        if (*text == '.') {
            ip = ip << 8 | byte;
            byte = 0;
        } else
            byte = byte * 10 + (uint32_t)(*text - '0');
    }
    return text ? ip << 8 | byte : 0;
}

void *allocate(size_t size, size_t alignment)
{
    static uintptr_t next;
    if (!next)
        next = (uintptr_t)image_end;
    next = (next + alignment - 1) & ~(alignment - 1);
    void *memory = (void *)next;
    next += size;
    memset(memory, 0, size);
    return memory;
}

uint64_t random_number(void)
{
    static uint64_t state;
    if (!state)
        state = argument_number("seed", 0) ? argument_number("seed", 0) : tsc() | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}
