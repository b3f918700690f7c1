/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Texts of the configuration that are not plain words: numbers with units, addresses, names. Each function
 * takes the whole text or refuses it; none guesses.
 *
 * Threads: weftd has one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "weft_api.h"

int value_number(const char *text, int64_t *number);  /* decimal digits, nothing else; -EINVAL, -ERANGE */
int value_count(const char *text, int64_t *number);   /* 64k = 64000; k, M, G */
int value_seconds(const char *text, int64_t *number); /* 30, 30s, 5m, 2h, 1d */
int value_size(const char *text, int64_t *number);    /* MiB; 512M, 2G */
int value_mac(const char *text, uint8_t mac[6]);      /* six pairs of hexadecimal digits, colons or dashes */
int value_ip(const char *text, uint8_t address[16]);  /* 4, 6: address family; -EINVAL */

/* 10.0.1.1/24: 4, 6: address family; -EINVAL */
int value_prefix(const char *text, uint8_t address[16], unsigned *length);
void value_network(uint8_t address[16], int family, unsigned length); /* clears the bits behind the prefix */
int value_range(const char *text, uint8_t first[4], uint8_t last[4]); /* first <= last; -EINVAL */
int value_ports(const char *text, uint16_t *first, uint16_t *last);   /* 443, 8000-8010; not 0; -EINVAL */
int value_target(const char *text, char name[WEFT_NAME_LENGTH + 1], uint16_t *port); /* vm2:443; -EINVAL */

int value_vlan(const char *text, char name[WEFT_NAME_LENGTH + 1], uint32_t *vlan); /* lan0.120; -EINVAL */
bool value_name(const char *text);                                                 /* [a-z0-9-]{1,31} */
bool value_interface(const char *text); /* what Linux takes as an interface name */
bool value_path(const char *text);      /* absolute, printable ASCII without " and \\, no . or .. in it */

#define VALUE_MAC_SIZE 18u
#define VALUE_IP_SIZE  46u
void value_mac_text(const uint8_t mac[6], char text[VALUE_MAC_SIZE]);
