/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of `add` and `set` are the scalar keys of weft.yaml, so they are made from the table that the
 * controller validates with (control/api/weft_keys.h). Keys that are not built have no option. What a value
 * must look like is the controller's to say; the types here only serve help and completion.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "weft_keys.h"

#define OBJECTS_MAX 8
#define OPTIONS_MAX 64

enum key_type {
    KEY_TABLE,
    KEY_NAMED,
    KEY_BOOL,
    KEY_INTEGER,
    KEY_COUNT,
    KEY_SECONDS,
    KEY_CHOICE,
    KEY_NAME,
    KEY_NAMES,
    KEY_INTEGERS,
    KEY_MAC,
    KEY_ADDRESSES,
    KEY_PATH,
    KEY_PATHS,
    KEY_TEXT,
    KEY_SIZE,
    KEY_INTERFACE,
    KEY_DEVICE,
    KEY_STATICS,
    KEY_ADDRESS,
    KEY_SUBNETS,
    KEY_PREFIXES,
    KEY_RANGE,
    KEY_PORTS,
    KEY_TARGET,
    KEY_POOL,
    KEY_PINS,
    KEY_DOMAIN,
    KEY_TABLES,
    KEY_ANY,
};

static const struct key {
    const char *path;
    enum key_type type;
    const char *choices, *fallback, *refused, *help;
} keys[] = {
#define X(path, type, minimum, maximum, choices, fallback, refused, help)                                    \
    {path, KEY_##type, choices, fallback, refused, help},
    WEFT_KEYS(X)
#undef X
};

static const struct {
    enum cli_type type;
    const char *value;
} shown[] = {
    [KEY_BOOL] = {CLI_BOOLEAN, "true|false"},
    [KEY_INTEGER] = {CLI_NUMBER, "NUMBER"},
    [KEY_COUNT] = {CLI_TEXT, "COUNT"},
    [KEY_SECONDS] = {CLI_DURATION, "TIME"},
    [KEY_CHOICE] = {CLI_CHOICE, NULL},
    [KEY_NAME] = {CLI_TEXT, "NAME"},
    [KEY_NAMES] = {CLI_LIST, "NAME,..."},
    [KEY_INTEGERS] = {CLI_LIST, "NUMBER,..."},
    [KEY_MAC] = {CLI_TEXT, "MAC"},
    [KEY_ADDRESSES] = {CLI_LIST, "ADDRESS,..."},
    [KEY_PATH] = {CLI_FILE, "PATH"},
    [KEY_PATHS] = {CLI_FILES, "PATH,..."},
    [KEY_TEXT] = {CLI_TEXT, "TEXT"},
    [KEY_SIZE] = {CLI_TEXT, "SIZE"},
    [KEY_INTERFACE] = {CLI_TEXT, "INTERFACE"},
    [KEY_DEVICE] = {CLI_TEXT, "DEVICE"},
    [KEY_STATICS] = {CLI_MAP, "MAC=PORT,..."},
    [KEY_ADDRESS] = {CLI_TEXT, "ADDRESS"},
    [KEY_SUBNETS] = {CLI_LIST, "SUBNET,..."},
    [KEY_PREFIXES] = {CLI_LIST, "ADDRESS/LENGTH,..."},
    [KEY_RANGE] = {CLI_TEXT, "FIRST-LAST"},
    [KEY_PORTS] = {CLI_TEXT, "FIRST-LAST"},
    [KEY_TARGET] = {CLI_TEXT, "PORT:NUMBER"},
    [KEY_POOL] = {CLI_LIST, "ADDRESS,..."},
    [KEY_PINS] = {CLI_ENTRIES, "PORT=ADDRESS,..."},
    [KEY_DOMAIN] = {CLI_TEXT, "DOMAIN"},
};

/* The words of "a|!b|c" that are built. */
static const char *built_choices(const char *choices)
{
    size_t size = strlen(choices) + 1, used = 0;
    char *built = calloc(1, size);
    if (!built)
        abort(); /* starting up */
    for (const char *at = choices; *at; at += strcspn(at, "|"), at += *at == '|')
        if (*at != '!')
            used += (size_t)snprintf(built + used, size - used, "%s%.*s", used ? "|" : "",
                                     (int)strcspn(at, "|"), at);
    return built;
}

/* What a NAME names is what its key is called. */
static enum cli_type name_type(const struct key *key, const char *name)
{
    if (key->type == KEY_NAMES)
        return CLI_OWN_SEGMENTS;
    return strcmp(name, "uplink") == 0 ? CLI_UPLINK : CLI_OWN_SEGMENT;
}

/* "limits.ports" is --ports, "dhcp.range" is --dhcp-range. */
static const char *option_name(const char *key)
{
    if (strncmp(key, "limits.", 7) == 0)
        return key + 7;
    if (!strchr(key, '.'))
        return key;
    char *name = strdup(key);
    if (!name)
        abort(); /* starting up */
    for (char *dot = name; (dot = strchr(dot, '.'));)
        *dot = '-';
    return name;
}

static size_t fill(const char *path, struct cli_option options[OPTIONS_MAX])
{
    size_t count = 0, length = strlen(path);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && count + 1 < OPTIONS_MAX; i++) {
        const struct key *key = &keys[i];
        if (strncmp(key->path, path, length) != 0 || strchr(key->path + length, '*') || key->refused ||
            key->type == KEY_TABLE || key->type == KEY_NAMED || key->type == KEY_TABLES ||
            key->type == KEY_ANY)
            continue;
        struct cli_option *option = &options[count++];
        *option = (struct cli_option){.name = option_name(key->path + length),
                                      .type = shown[key->type].type,
                                      .value = shown[key->type].value,
                                      .help = key->help,
                                      .key = key->path + length,
                                      .fallback = key->fallback};
        if (key->type == KEY_NAME || key->type == KEY_NAMES)
            option->type = name_type(key, option->name);
        if (key->type == KEY_CHOICE)
            option->value = option->choices = built_choices(key->choices);
    }
    return count;
}

const char *cli_keys_refused(const char *path, const char *option)
{
    size_t length = path ? strlen(path) : 0;
    for (size_t i = 0; path && i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *key = keys[i].path + length;
        if (!keys[i].refused || strncmp(keys[i].path, path, length) != 0 || strchr(key, '*'))
            continue;
        if (strcmp(strncmp(key, "limits.", 7) == 0 ? key + 7 : key, option) == 0)
            return keys[i].refused;
    }
    return NULL;
}

const struct cli_option *cli_keys_options(const char *path)
{
    static struct {
        const char *path;
        struct cli_option options[OPTIONS_MAX];
    } objects[OBJECTS_MAX];
    for (size_t i = 0; i < OBJECTS_MAX; i++) {
        if (!objects[i].path) {
            objects[i].path = path;
            fill(path, objects[i].options);
        }
        if (strcmp(objects[i].path, path) == 0)
            return objects[i].options;
    }
    abort(); /* more objects in the table of commands than OBJECTS_MAX: a mistake seen at the first run */
}
