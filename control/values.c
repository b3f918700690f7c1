/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include "values.h"
#include "weft_api.h"

/* The digits at the start; *rest is what follows them. */
static int leading_number(const char *text, int64_t *number, const char **rest)
{
    if (*text < '0' || *text > '9')
        return -EINVAL;
    int64_t sum = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, *text - '0', &sum))
            return -ERANGE;
    }
    *number = sum;
    *rest = text;
    return 0;
}

int value_number(const char *text, int64_t *number)
{
    const char *rest;
    int error = leading_number(text, number, &rest);
    return error ? error : *rest ? -EINVAL : 0;
}

static int value_scaled(const char *text, const char *letters, const int64_t *factors, int64_t *number)
{
    const char *rest;
    int error = leading_number(text, number, &rest);
    if (error || !*rest)
        return error;
    const char *letter = strchr(letters, *rest);
    if (!letter || rest[1])
        return -EINVAL;
    return __builtin_mul_overflow(*number, factors[letter - letters], number) ? -ERANGE : 0;
}

int value_count(const char *text, int64_t *number)
{
    return value_scaled(text, "kMG", (const int64_t[]){1000, 1000000, 1000000000}, number);
}

int value_seconds(const char *text, int64_t *number)
{
    return value_scaled(text, "smhd", (const int64_t[]){1, 60, 3600, 86400}, number);
}

int value_size(const char *text, int64_t *number)
{
    return value_scaled(text, "MG", (const int64_t[]){1, 1024}, number);
}

static int hexadecimal_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

int value_mac(const char *text, uint8_t mac[6])
{
    if (strlen(text) != VALUE_MAC_SIZE - 1)
        return -EINVAL;
    for (unsigned i = 0; i < 6; i++) {
        int high = hexadecimal_digit(text[3 * i]), low = hexadecimal_digit(text[3 * i + 1]);
        char separator = text[3 * i + 2];
        if (high < 0 || low < 0 ||
            (i < 5 && (separator != text[2] || (separator != ':' && separator != '-'))))
            return -EINVAL;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int value_ip(const char *text, uint8_t address[16])
{
    memset(address, 0, 16);
    if (inet_pton(AF_INET, text, address) == 1)
        return 4;
    return inet_pton(AF_INET6, text, address) == 1 ? 6 : -EINVAL;
}

int value_prefix(const char *text, uint8_t address[16], unsigned *length)
{
    char copy[64];
    int64_t number;
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof(copy))
        return -EINVAL;
    snprintf(copy, sizeof(copy), "%.*s", (int)(slash - text), text);
    int family = value_ip(copy, address);
    if (family < 0 || value_number(slash + 1, &number) < 0 || number > (family == 4 ? 32 : 128))
        return -EINVAL;
    *length = (unsigned)number;
    return family;
}

void value_network(uint8_t address[16], int family, unsigned length)
{
    for (unsigned i = 0; i < (family == 4 ? 4u : 16u); i++) {
        unsigned keep = length > 8 * i ? length - 8 * i : 0;
        if (keep < 8)
            address[i] &= (uint8_t)(0xff00u >> keep);
    }
}

int value_range(const char *text, uint8_t first[4], uint8_t last[4])
{
    char copy[INET_ADDRSTRLEN];
    const char *dash = strchr(text, '-');
    if (!dash || (size_t)(dash - text) >= sizeof(copy))
        return -EINVAL;
    snprintf(copy, sizeof(copy), "%.*s", (int)(dash - text), text);
    if (inet_pton(AF_INET, copy, first) != 1 || inet_pton(AF_INET, dash + 1, last) != 1 ||
        memcmp(first, last, 4) > 0)
        return -EINVAL;
    return 0;
}

int value_ports(const char *text, uint16_t *first, uint16_t *last)
{
    char copy[8];
    int64_t from, to;
    const char *dash = strchr(text, '-');
    size_t length = dash ? (size_t)(dash - text) : strlen(text);
    if (length >= sizeof(copy))
        return -EINVAL;
    snprintf(copy, sizeof(copy), "%.*s", (int)length, text);
    if (value_number(copy, &from) < 0 || value_number(dash ? dash + 1 : copy, &to) < 0 || from < 1 ||
        from > to || to > UINT16_MAX)
        return -EINVAL;
    *first = (uint16_t)from;
    *last = (uint16_t)to;
    return 0;
}

int value_target(const char *text, char name[WEFT_NAME_LENGTH + 1], uint16_t *port)
{
    const char *colon = strchr(text, ':');
    uint16_t last;
    if (!colon || (size_t)(colon - text) > WEFT_NAME_LENGTH || strchr(colon + 1, '-'))
        return -EINVAL;
    snprintf(name, WEFT_NAME_LENGTH + 1, "%.*s", (int)(colon - text), text);
    return value_name(name) ? value_ports(colon + 1, port, &last) : -EINVAL;
}

int value_vlan(const char *text, char name[WEFT_NAME_LENGTH + 1], uint32_t *vlan)
{
    size_t length = strcspn(text, ".");
    int64_t number;
    if (length > WEFT_NAME_LENGTH || !text[length] || text[length + 1] == '0' ||
        value_number(text + length + 1, &number) < 0 || number < 1 || number > 4094)
        return -EINVAL;
    memcpy(name, text, length);
    name[length] = '\0';
    *vlan = (uint32_t)number;
    return value_name(name) ? 0 : -EINVAL;
}

bool value_name(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return length > 0 && length <= WEFT_NAME_LENGTH && !text[length];
}

bool value_interface(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= IFNAMSIZ || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return false;
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~' || strchr("/:%\"\\", *text))
            return false;
    }
    return true;
}

bool value_path(const char *text)
{
    if (*text != '/' || !text[1])
        return false;
    for (const char *at = text; *at; at++) {
        if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\')
            return false;
        if (*at == '/' && at[1] == '.' &&
            (at[2] == '/' || !at[2] || (at[2] == '.' && (at[3] == '/' || !at[3]))))
            return false;
    }
    return true;
}

void value_mac_text(const uint8_t mac[6], char text[VALUE_MAC_SIZE])
{
    snprintf(text, VALUE_MAC_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
             mac[5]);
}
