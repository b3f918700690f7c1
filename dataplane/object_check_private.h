/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* What the files of the objects' checks share; nobody else includes it. */
#include "objects.h"

bool object_all_zero(const void *bytes, size_t size);
/* Not empty, terminated, padded with NUL, no control characters. */
bool object_string_valid(const char *string, size_t size, bool path);
bool object_unicast(const uint8_t mac[6]);

/* object_check_router.c: router, interface, route, neighbour; nat: the rest. One object, and the whole. */
int object_check_router(enum dp_kind kind, const void *object, char *text);
int objects_check_routers(const struct objects *objects, char *text);
int object_check_nat(enum dp_kind kind, const void *object, char *text);
int objects_check_nat(const struct objects *objects, char *text);

/* An address that a host may have: unicast of either family, not unspecified, not loopback. */
bool object_address_valid(const uint8_t address[16]);
bool object_address_ipv4(const uint8_t address[16]);
/* As text, into a buffer of 46 bytes. */
const char *object_address_text(const uint8_t address[16], char text[46]);
/* The interface; NULL: none. */
const struct dp_interface *object_interface(const struct objects *objects, uint32_t port);
