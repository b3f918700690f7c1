/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The kernel gives a program that asks for any port one of ip_local_port_range, unless
 * it is in ip_local_reserved_ports. A set there may be the administrator's, so weft adds to it and writes
 * down what it added (reserved-ports.json in the state directory, before it adds), with the boot and the
 * network namespace that it holds for. What is wanted next time is: what is there, without what is written
 * down, with what is used now. So the set is as it was after the last use, after an orderly stop, and after
 * the next start if weftd was killed. Ports that somebody else had reserved before are not weft's to give
 * back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "log.h"
#include "reserved_ports.h"

#define PORTS_FILE "/proc/sys/net/ipv4/ip_local_reserved_ports"
#define BOOT_FILE  "/proc/sys/kernel/random/boot_id"
#define STATE_FILE "reserved-ports.json"
#define TEXT_SIZE  (1u << 19) /* 65536 numbers of 5 digits with commas */
#define PORT_COUNT 65536u

struct ports {
    bool has[PORT_COUNT];
};

static bool file_read(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t more = fd < 0 ? -1 : 1;
    while (more > 0 && length < size - 1) {
        more = read(fd, text + length, size - 1 - length);
        length += more > 0 ? (size_t)more : 0;
    }
    text[length] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (fd >= 0)
        close(fd);
    return more >= 0;
}

/* "0-3,7": what is no port is skipped; 0 is none, but the kernel takes it. */
static void ports_parse(struct ports *ports, const char *text)
{
    while (*text) {
        char *end;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        if (end != text && first <= last && last < PORT_COUNT)
            memset(ports->has + first, true, last - first + 1);
        text = end + strcspn(end, ",");
        text += *text == ',';
    }
}

static void ports_text(const struct ports *ports, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    for (unsigned first = 0; first < PORT_COUNT && length + 16 < size; first++) {
        unsigned last = first;
        if (!ports->has[first])
            continue;
        while (last + 1 < PORT_COUNT && ports->has[last + 1])
            last++;
        length += (size_t)snprintf(text + length, size - length, last > first ? "%s%u-%u" : "%s%u",
                                   length ? "," : "", first, last);
        first = last;
    }
}

/* What the uplinks' own addresses are used for. */
static void ports_used(struct ports *ports, const struct model *model)
{
    for (unsigned i = 0; model && i < model->segment_count; i++) {
        const struct model_segment *segment = &model->segments[i];
        const struct model_uplink *uplink = segment->uplink;
        if (!segment->is_nat || !uplink || !uplink->netdev[0])
            continue;
        if (!segment->nat.address_count)
            memset(ports->has + uplink->port_first, true,
                   (size_t)(uplink->port_last - uplink->port_first) + 1);
        for (unsigned k = 0; k < segment->nat.forward_count; k++) {
            const struct model_forward *forward = &segment->nat.forwards[k];
            if (!forward->address.family)
                memset(ports->has + forward->first, true, (size_t)(forward->last - forward->first) + 1);
        }
    }
}

/* This boot of this machine and this network namespace. */
static void where_text(char *text, size_t size)
{
    char boot[64] = "";
    struct stat status = {0};
    file_read(BOOT_FILE, boot, sizeof(boot));
    if (stat("/proc/self/ns/net", &status) < 0)
        status.st_ino = 0;
    snprintf(text, size, "%s %llu", boot, (unsigned long long)status.st_ino);
}

/* What an earlier call added, if it is still there. */
static void ports_added(struct ports *ports, struct store *store)
{
    char where[96];
    json_t *state = store_read(store, STATE_FILE);
    const char *then = json_string_value(json_object_get(state, "where"));
    const char *added = json_string_value(json_object_get(state, "added"));
    where_text(where, sizeof(where));
    if (then && added && strcmp(then, where) == 0)
        ports_parse(ports, added);
    json_decref(state);
}

static int write_down(struct store *store, const char *added)
{
    char where[96];
    if (!*added)
        return store_remove(store, STATE_FILE);
    where_text(where, sizeof(where));
    json_t *state = json_pack("{s:s, s:s}", "where", where, "added", added);
    int error = store_write(store, STATE_FILE, state);
    json_decref(state);
    return error;
}

/* The kernel takes a page a write, up to the last whole number in it; the first write makes the set anew,
 * those that follow at a later place add to it. */
static int ports_write(const char *text)
{
    int fd = open(PORTS_FILE, O_WRONLY | O_CLOEXEC);
    const char *what = *text ? text : "\n"; /* empties the set; an empty write would change nothing */
    size_t size = strlen(what);
    int error = fd < 0 ? -errno : 0;
    while (!error && size) {
        ssize_t written = write(fd, what, size);
        if (written <= 0) {
            error = written < 0 ? -errno : -EIO;
            break;
        }
        what += written;
        size -= (size_t)written;
    }
    if (fd >= 0)
        close(fd);
    return error;
}

struct change_of_ports {
    struct ports now, added, wanted, both;
    char before[TEXT_SIZE], text[TEXT_SIZE];
};

static void apply(struct change_of_ports *change, struct store *store, const struct model *model)
{
    if (!file_read(PORTS_FILE, change->before, sizeof(change->before))) {
        log_warning("%s: %s", PORTS_FILE, strerror(errno));
        return;
    }
    ports_parse(&change->now, change->before);
    ports_added(&change->added, store);
    ports_used(&change->wanted, model);
    bool differs = false;
    for (unsigned i = 0; i < PORT_COUNT; i++) {
        bool others = change->now.has[i] && !change->added.has[i];
        bool adding = change->wanted.has[i] && !others;
        differs |= adding != change->added.has[i] || (others || adding) != change->now.has[i];
        change->both.has[i] = change->added.has[i] || adding;
        change->added.has[i] = adding;
        change->now.has[i] = others || adding;
    }
    if (!differs)
        return;
    ports_text(&change->both, change->text,
               sizeof(change->text)); /* too much may be written down, never too little */
    if (write_down(store, change->text) < 0)
        log_error("%s", store_error(store));
    ports_text(&change->now, change->text, sizeof(change->text));
    int error = ports_write(change->text);
    if (error)
        log_warning("%s: %s", PORTS_FILE, strerror(-error));
    ports_text(&change->added, change->text, sizeof(change->text));
    if (!error && write_down(store, change->text) < 0)
        log_error("%s", store_error(store));
}

void reserved_ports_apply(struct store *store, const struct model *model)
{
    struct change_of_ports *change = calloc(1, sizeof(*change));
    if (!change)
        return;
    apply(change, store, model);
    free(change);
}

bool reserved_ports_has(uint16_t first, uint16_t last)
{
    struct change_of_ports *change = calloc(1, sizeof(*change));
    bool all = change && file_read(PORTS_FILE, change->before, sizeof(change->before));
    if (all)
        ports_parse(&change->now, change->before);
    for (unsigned i = first; all && i <= last; i++)
        all = change->now.has[i];
    free(change);
    return all;
}
