/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pci.h"
#include "schema_scalar.h"
#include "values.h"

#define CHOICES_MAX 16u

size_t schema_enter(struct schema_place *place, const char *key)
{
    size_t length = strlen(place->path);
    snprintf(place->path + length, sizeof(place->path) - length, "%s%s", length ? "." : "", key);
    return length;
}

void schema_leave(struct schema_place *place, size_t length)
{
    place->path[length] = '\0';
}

void schema_mistake(struct schema_place *place, struct document_position position, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    diagnostics_add(place->diagnostics, position, WEFT_INVALID, place->path, "%s", text);
}

static json_t *scalar_number(struct schema_place *place, const struct schema_key *row,
                             const struct document_node *node)
{
    int64_t number = 0, minimum = row->minimum, maximum = row->maximum;
    int error;
    if (row->type == SCHEMA_COUNT)
        error = value_count(node->text, &number);
    else if (row->type == SCHEMA_SECONDS)
        error = value_seconds(node->text, &number);
    else if (row->type == SCHEMA_SIZE)
        error = value_size(node->text, &number);
    else
        error = value_number(node->text, &number);
    if (row->type == SCHEMA_INTEGERS) {
        minimum = 0;
        maximum = 1023;
    }
    if (error == -EINVAL) {
        schema_mistake(place, node->position, "\"%.40s\" is not %s", node->text,
                       row->type == SCHEMA_COUNT     ? "a number, like 500, 64k or 2M"
                       : row->type == SCHEMA_SECONDS ? "a time, like 30s, 5m or 2h"
                       : row->type == SCHEMA_SIZE    ? "a size, like 512M or 2G; a bare number is MiB"
                                                     : "a number");
        return NULL;
    }
    if (error || number < minimum || number > maximum) {
        const char *unit = row->type == SCHEMA_SIZE ? " MiB" : row->type == SCHEMA_SECONDS ? " seconds" : "";
        schema_mistake(place, node->position, "\"%.40s\" is out of range %lld to %lld%s", node->text,
                       (long long)minimum, (long long)maximum, unit);
        return NULL;
    }
    return json_integer(number);
}

/* Splits "a|b|!c" into words; refused[i]: the word was marked with !. */
static unsigned choices_split(const char *choices, char *copy, size_t size, const char **words, bool *refused)
{
    unsigned count = 0;
    char *rest = copy;
    snprintf(copy, size, "%s", choices);
    for (char *word; count < CHOICES_MAX - 1 && (word = strsep(&rest, "|"));) {
        refused[count] = *word == '!';
        words[count] = refused[count] ? word + 1 : word;
        count++;
    }
    words[count] = NULL;
    return count;
}

/* The word of `choices` that `text` is, or NULL with the mistake reported. */
static bool choice_check(struct schema_place *place, const struct schema_key *row,
                         const struct document_node *node, const char *text)
{
    char copy[256], known[256] = "";
    const char *words[CHOICES_MAX];
    bool refused[CHOICES_MAX];
    unsigned count = choices_split(row->choices, copy, sizeof(copy), words, refused);
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(words[i], text) == 0) {
            if (refused[i])
                schema_mistake(place, node->position, "\"%s\" is not built in this version", text);
            return !refused[i];
        }
        if (!refused[i]) {
            size_t length = strlen(known);
            snprintf(known + length, sizeof(known) - length, "%s%s", length ? ", " : "", words[i]);
        }
    }
    const char *nearest = diagnostics_nearest(text, words);
    bool is_protocol = strcmp(row->path ? row->path : "", "tenants.*.nat.*.forwards.*.proto") == 0;
    if (is_protocol)
        schema_mistake(
            place, node->position,
            "\"%.40s\" is not one of: %s; other protocols have no ports, a 1:1 address carries them "
            "(one-to-one, \"weft nat set\")",
            text, known);
    else if (nearest)
        schema_mistake(place, node->position, "\"%.40s\" is not one of: %s; did you mean \"%s\"?", text,
                       known, nearest);
    else
        schema_mistake(place, node->position, "\"%.40s\" is not one of: %s", text, known);
    return false;
}

static json_t *scalar_text(struct schema_place *place, const struct document_node *node, bool valid,
                           const char *wanted)
{
    if (valid)
        return json_string(node->text);
    schema_mistake(place, node->position, "\"%.60s\" is not %s", node->text, wanted);
    return NULL;
}

static json_t *scalar_vlan(struct schema_place *place, const struct document_node *node, const char *text)
{
    char name[WEFT_NAME_LENGTH + 1];
    uint32_t vlan;
    return scalar_text(place, node, value_vlan(text, name, &vlan) == 0,
                       "vlan: and the name of an uplink with a VLAN of 1..4094, like vlan:lan0.120");
}

/* The full address, however it is written. */
static json_t *scalar_card(struct schema_place *place, const struct document_node *node, const char *text)
{
    char address[PCI_ADDRESS_SIZE];
    if (pci_address(text, address))
        return json_sprintf("pci:%s", address);
    schema_mistake(place, node->position, "\"%.40s\" is not a PCI address, like 0000:03:00.0 or 03:00.0",
                   text);
    return NULL;
}

/* Whether DPDK would take the arguments for a PCI device. */
static bool names_card(const char *arguments)
{
    char first[16], address[PCI_ADDRESS_SIZE];
    const char *name = strncmp(arguments, "pci:", 4) == 0 ? arguments + 4 : arguments;
    snprintf(first, sizeof(first), "%.*s", (int)strcspn(name, ","), name);
    return name != arguments || strncmp(name, "bus=pci", 7) == 0 || pci_address(first, address);
}

static json_t *scalar_device(struct schema_place *place, const struct schema_key *row,
                             const struct document_node *node)
{
    const char *colon = strchr(node->text, ':');
    char kind[32];
    if (!colon || colon - node->text >= (int)sizeof(kind)) {
        schema_mistake(place, node->position, "must be KIND:ARGUMENTS, like af_packet:eth1");
        return NULL;
    }
    snprintf(kind, sizeof(kind), "%.*s", (int)(colon - node->text), node->text);
    if (!choice_check(place, row, node, kind))
        return NULL;
    if (strcmp(kind, "vlan") == 0)
        return scalar_vlan(place, node, colon + 1);
    if (strcmp(kind, "pci") == 0)
        return scalar_card(place, node, colon + 1);
    if (strcmp(kind, "vdev") != 0)
        return scalar_text(place, node, value_interface(colon + 1),
                           "KIND: and the name of an interface (1 to 15 characters)");
    size_t length = strlen(colon + 1);
    if (length == 0 || length > 200) {
        schema_mistake(place, node->position, "vdev: needs 1 to 200 characters of DPDK device arguments");
        return NULL;
    }
    if (names_card(colon + 1)) {
        schema_mistake(place, node->position, "is a PCI device: pci:ADDRESS takes it");
        return NULL;
    }
    for (const char *at = colon + 1; *at; at++) {
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '\\') {
            schema_mistake(place, node->position,
                           "device arguments have no spaces, quotes or control characters");
            return NULL;
        }
    }
    return json_string(node->text);
}

static json_t *scalar_mac(struct schema_place *place, const struct document_node *node)
{
    uint8_t mac[6];
    char text[VALUE_MAC_SIZE];
    if (value_mac(node->text, mac) < 0) {
        schema_mistake(place, node->position, "\"%.40s\" is not a MAC address, like 52:54:00:00:00:01",
                       node->text);
        return NULL;
    }
    value_mac_text(mac, text);
    if (mac[0] & 1 || strcmp(text, "00:00:00:00:00:00") == 0) {
        schema_mistake(place, node->position, "\"%s\" is not a unicast address", text);
        return NULL;
    }
    return json_string(text);
}

static json_t *scalar_bool(struct schema_place *place, const struct document_node *node)
{
    if (strcmp(node->text, "true") == 0)
        return json_true();
    if (strcmp(node->text, "false") == 0)
        return json_false();
    schema_mistake(place, node->position, "\"%.40s\" is not true or false", node->text);
    return NULL;
}

static json_t *scalar_printable(struct schema_place *place, const struct schema_key *row,
                                const struct document_node *node)
{
    size_t length = strlen(node->text);
    for (const char *at = node->text; *at; at++) {
        if (*at < ' ' || *at > '~') {
            schema_mistake(place, node->position, "may hold printable ASCII characters only");
            return NULL;
        }
    }
    if (length <= (size_t)row->maximum)
        return json_string(node->text);
    schema_mistake(place, node->position, "has %zu characters, %lld are possible", length,
                   (long long)row->maximum);
    return NULL;
}

json_t *schema_scalar(struct schema_place *place, const struct schema_key *row,
                      const struct document_node *node)
{
    if (node->null) {
        schema_mistake(place, node->position, "needs a value");
        return NULL;
    }
    switch (row->type) {
    case SCHEMA_BOOL:
        return scalar_bool(place, node);
    case SCHEMA_INTEGER:
    case SCHEMA_INTEGERS:
    case SCHEMA_COUNT:
    case SCHEMA_SECONDS:
    case SCHEMA_SIZE:
        return scalar_number(place, row, node);
    case SCHEMA_CHOICE:
        return choice_check(place, row, node, node->text) ? json_string(node->text) : NULL;
    case SCHEMA_NAME:
    case SCHEMA_NAMES:
        return scalar_text(place, node, value_name(node->text), "a name (a-z, 0-9 and -, 31 at most)");
    case SCHEMA_MAC:
        return scalar_mac(place, node);
    case SCHEMA_PATH:
    case SCHEMA_PATHS:
        return scalar_text(place, node, value_path(node->text), "an absolute path without . or ..");
    case SCHEMA_TEXT:
        return scalar_printable(place, row, node);
    case SCHEMA_INTERFACE:
        return scalar_text(place, node, value_interface(node->text),
                           "a name for an interface (1 to 15 characters)");
    case SCHEMA_DEVICE:
        return scalar_device(place, row, node);
    default:
        return schema_network_scalar(place, row, node);
    }
}
