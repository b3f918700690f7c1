/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an object may say. object_check() looks at one object when it is put: every field in range, every byte
 * without meaning zero (dumps are compared with memcmp). objects_check() looks at the whole when it is
 * committed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include "object_check_private.h"

#define PORT_FLAGS                                                                                           \
    (DP_PORT_F_CLIENT | DP_PORT_F_SPOOF_MAC | DP_PORT_F_SPOOF_IP | DP_PORT_F_ISOLATED | DP_PORT_F_DOWN |     \
     DP_PORT_F_NO_LINK | DP_PORT_F_GUARD)
#define MTU_MIN 68u /* RFC 791 */
#define MTU_MAX 9216u

int object_refuse(char *text, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, OBJECT_TEXT_SIZE, format, arguments);
    va_end(arguments);
    return status;
}

bool object_all_zero(const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++)
        if (byte[i] != 0)
            return false;
    return true;
}

/* Not empty, terminated, padded with NUL, no control characters, and none that would confuse a quoted text.
 */
bool object_string_valid(const char *string, size_t size, bool path)
{
    size_t length = strnlen(string, size);
    if (length == 0 || length == size || !object_all_zero(string + length, size - length))
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)string[i];
        if (c < (path ? 0x20 : 0x21) || c == 0x7f || c == '"' || c == '\\' || (c > 0x7f && !path))
            return false;
    }
    return true;
}

bool object_unicast(const uint8_t mac[6])
{
    return (mac[0] & 1) == 0 && !object_all_zero(mac, 6);
}

static int check_segment(const struct dp_segment *segment, char *text)
{
    if (segment->id == 0 || segment->id >= DP_SEGMENTS_MAX)
        return object_refuse(text, -ERANGE, "segment id %u: not in 1..%u", segment->id, DP_SEGMENTS_MAX - 1);
    if (!object_string_valid(segment->name, sizeof(segment->name), false))
        return object_refuse(text, -EINVAL, "segment %u: name empty, not terminated or with forbidden bytes",
                             segment->id);
    if (segment->tenant == 0)
        return object_refuse(text, -EINVAL, "segment %.48s: tenant 0", segment->name);
    if ((segment->flags & ~DP_SEGMENT_F_ISOLATE_PORTS) != 0)
        return object_refuse(text, -EINVAL, "segment %.48s: unknown flags 0x%x", segment->name,
                             segment->flags);
    if (segment->pad != 0)
        return object_refuse(text, -EINVAL, "segment %.48s: padding not zero", segment->name);
    return 0;
}

static int check_port_kind(const struct dp_port *port, char *text)
{
    bool vhost = port->type == DP_PORT_VHOST_USER;
    if (port->type < DP_PORT_VHOST_USER || port->type > DP_PORT_XDP)
        return object_refuse(text, -EINVAL, "port %.48s: unknown type %u", port->name, port->type);
    if (!object_string_valid(port->device, sizeof(port->device), true))
        return object_refuse(text, -EINVAL,
                             "port %.48s: device empty, not terminated or with forbidden bytes", port->name);
    if (vhost &&
        (port->device[0] != '/' || strlen(port->device) >= sizeof(((struct sockaddr_un *)0)->sun_path)))
        return object_refuse(text, -EINVAL, "port %.48s: socket path not absolute or longer than %zu bytes",
                             port->name, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    if (!vhost && (port->features_off != 0 || (port->flags & DP_PORT_F_CLIENT) != 0 ||
                   (port->socket_group != 0 && port->socket_group != UINT32_MAX)))
        return object_refuse(text, -EINVAL, "port %.48s: vhost-user settings on another type of port",
                             port->name);
    if (port->type != DP_PORT_PACKET && port->type != DP_PORT_XDP &&
        (port->ifindex != 0 || (!vhost && (port->flags & DP_PORT_F_NO_LINK) != 0)))
        return object_refuse(text, -EINVAL, "port %.48s: an uplink's settings on another type of port",
                             port->name);
    if (port->type == DP_PORT_XDP && port->queues < 2)
        return object_refuse(text, -EINVAL,
                             "port %.48s: AF_XDP with %u queues: the last is the packet socket's", port->name,
                             port->queues);
    return 0;
}

static int check_port(const struct dp_port *port, char *text)
{
    if (port->id == 0 || port->id >= DP_PORTS_MAX)
        return object_refuse(text, -ERANGE, "port id %u: not in 1..%u", port->id, DP_PORTS_MAX - 1);
    if (!object_string_valid(port->name, sizeof(port->name), false))
        return object_refuse(text, -EINVAL, "port %u: name empty, not terminated or with forbidden bytes",
                             port->id);
    int error = check_port_kind(port, text);
    if (error)
        return error;
    if ((port->flags & ~PORT_FLAGS) != 0)
        return object_refuse(text, -EINVAL, "port %.48s: unknown flags 0x%x", port->name, port->flags);
    if (port->queues == 0 || port->queues > DP_QUEUES_MAX)
        return object_refuse(text, -ERANGE, "port %.48s: %u queues, not 1..%u", port->name, port->queues,
                             DP_QUEUES_MAX);
    if (port->mtu < MTU_MIN || port->mtu > MTU_MAX)
        return object_refuse(text, -ERANGE, "port %.48s: MTU %u, not %u..%u", port->name, port->mtu, MTU_MIN,
                             MTU_MAX);
    if (!object_all_zero(port->mac, 6) && !object_unicast(port->mac))
        return object_refuse(text, -EINVAL, "port %.48s: group address as MAC address", port->name);
    if (!object_all_zero(port->pad, sizeof(port->pad)))
        return object_refuse(text, -EINVAL, "port %.48s: padding not zero", port->name);
    return 0;
}

static int check_member(const struct dp_member *member, char *text)
{
    if (member->port == 0 || member->port >= DP_PORTS_MAX)
        return object_refuse(text, -ERANGE, "member: port id %u: not in 1..%u", member->port,
                             DP_PORTS_MAX - 1);
    if (member->segment == 0 || member->segment >= DP_SEGMENTS_MAX)
        return object_refuse(text, -ERANGE, "member of port %u: segment id %u: not in 1..%u", member->port,
                             member->segment, DP_SEGMENTS_MAX - 1);
    if (member->vid > 4094)
        return object_refuse(text, -ERANGE, "member of port %u: VLAN %u: not in 1..4094", member->port,
                             member->vid);
    if (member->tagged_vid > 4094 || (member->tagged_vid && member->vid))
        return object_refuse(text, -EINVAL,
                             "member of port %u: tagged VLAN %u goes with an untagged member, 1..4094",
                             member->port, member->tagged_vid);
    return 0;
}

static int check_static(const struct dp_static *entry, char *text)
{
    if (entry->port == 0 || entry->port >= DP_PORTS_MAX)
        return object_refuse(text, -ERANGE, "static address: port id %u: not in 1..%u", entry->port,
                             DP_PORTS_MAX - 1);
    if (entry->segment == 0 || entry->segment >= DP_SEGMENTS_MAX)
        return object_refuse(text, -ERANGE, "static address: segment id %u: not in 1..%u", entry->segment,
                             DP_SEGMENTS_MAX - 1);
    if (!object_unicast(entry->mac))
        return object_refuse(text, -EINVAL, "static address in segment %u: not a unicast MAC address",
                             entry->segment);
    if (!object_all_zero(entry->pad, sizeof(entry->pad)) || entry->pad2 != 0)
        return object_refuse(text, -EINVAL, "static address in segment %u: padding not zero", entry->segment);
    return 0;
}

static int check_allowed(const struct dp_allowed *allowed, char *text)
{
    static const uint8_t sizes[] = {[DP_ALLOWED_MAC] = 6, [DP_ALLOWED_IPV4] = 4, [DP_ALLOWED_IPV6] = 16};
    if (allowed->port == 0 || allowed->port >= DP_PORTS_MAX)
        return object_refuse(text, -ERANGE, "allowed address: port id %u: not in 1..%u", allowed->port,
                             DP_PORTS_MAX - 1);
    if (allowed->type < DP_ALLOWED_MAC || allowed->type > DP_ALLOWED_IPV6)
        return object_refuse(text, -EINVAL, "allowed address of port %u: unknown type %u", allowed->port,
                             allowed->type);
    size_t size = sizes[allowed->type];
    if (!object_all_zero(allowed->address + size, sizeof(allowed->address) - size))
        return object_refuse(text, -EINVAL, "allowed address of port %u: padding not zero", allowed->port);
    if (allowed->type == DP_ALLOWED_MAC && !object_unicast(allowed->address))
        return object_refuse(text, -EINVAL, "allowed address of port %u: not a unicast MAC address",
                             allowed->port);
    return 0;
}

int object_check(enum dp_kind kind, const void *object, char *text)
{
    switch (kind) {
    case DP_KIND_GLOBAL:
        return 0;
    case DP_KIND_SEGMENT:
        return check_segment(object, text);
    case DP_KIND_PORT:
        return check_port(object, text);
    case DP_KIND_MEMBER:
        return check_member(object, text);
    case DP_KIND_STATIC:
        return check_static(object, text);
    case DP_KIND_ALLOWED:
        return check_allowed(object, text);
    case DP_KIND_ROUTER:
    case DP_KIND_INTERFACE:
    case DP_KIND_ROUTE:
    case DP_KIND_NEIGHBOUR:
        return object_check_router(kind, object, text);
    case DP_KIND_NAT_ADDRESS:
    case DP_KIND_NAT_SOURCE:
    case DP_KIND_NAT_ONE_TO_ONE:
    case DP_KIND_NAT_FORWARD:
        return object_check_nat(kind, object, text);
    default:
        return object_refuse(text, -EINVAL, "objects of kind %s are not configured", dp_kind_name(kind));
    }
}

static const char *port_name(const struct objects *objects, uint32_t id, char buffer[16])
{
    const struct dp_port *port = objects_port(objects, id);
    snprintf(buffer, 16, "%u", id);
    return port ? port->name : buffer;
}

static const char *segment_name(const struct objects *objects, uint32_t id, char buffer[16])
{
    const struct dp_segment *segment = objects_segment(objects, id);
    snprintf(buffer, 16, "%u", id);
    return segment ? segment->name : buffer;
}

void object_describe(const struct objects *objects, enum dp_kind kind, const void *object, char *text,
                     size_t size)
{
    char id[16];
    uint32_t first; /* the first key field */
    memcpy(&first, object, sizeof(first));
    switch (kind) {
    case DP_KIND_SEGMENT:
        snprintf(text, size, "segment %.40s", segment_name(objects, first, id));
        break;
    case DP_KIND_PORT:
        snprintf(text, size, "port %.40s", port_name(objects, first, id));
        break;
    case DP_KIND_MEMBER:
        snprintf(text, size, "member of port %.40s, VLAN %u", port_name(objects, first, id),
                 ((const struct dp_member *)object)->vid);
        break;
    case DP_KIND_STATIC: {
        const uint8_t *mac = ((const struct dp_static *)object)->mac;
        snprintf(text, size, "static %02x:%02x:%02x:%02x:%02x:%02x in segment %.32s", mac[0], mac[1], mac[2],
                 mac[3], mac[4], mac[5], segment_name(objects, first, id));
        break;
    }
    case DP_KIND_ALLOWED:
        snprintf(text, size, "allowed address of port %.40s", port_name(objects, first, id));
        break;
    case DP_KIND_ROUTER:
        snprintf(text, size, "router %u", first);
        break;
    case DP_KIND_INTERFACE:
        snprintf(text, size, "interface %.40s", port_name(objects, first, id));
        break;
    case DP_KIND_ROUTE:
    case DP_KIND_NEIGHBOUR:
    case DP_KIND_NAT_ADDRESS:
    case DP_KIND_NAT_ONE_TO_ONE:
    case DP_KIND_NAT_FORWARD: {
        char address[46]; /* it follows the first field in all of them */
        snprintf(text, size, "%s %s of %u", dp_kind_name(kind),
                 object_address_text((const uint8_t *)object + sizeof(first), address), first);
        break;
    }
    default:
        snprintf(text, size, "%s", dp_kind_name(kind));
    }
}

static int compare_devices(const void *a, const void *b)
{
    const struct dp_port *const *x = a, *const *y = b;
    int order = strcmp((*x)->device, (*y)->device);
    return order ? order : (int)(*x)->type - (int)(*y)->type;
}

/* No two ports of one type have the same device; router ports have none. */
static int check_devices(const struct objects *objects, char *text)
{
    size_t count = objects_count(objects, DP_KIND_PORT);
    const struct dp_port **ports = calloc(count ? count : 1, sizeof(struct dp_port *));
    int error = 0;
    if (!ports)
        return object_refuse(text, -ENOMEM, "no memory to check %zu ports", count);
    for (size_t i = 0; i < count; i++)
        ports[i] = objects_at(objects, DP_KIND_PORT, i);
    qsort(ports, count, sizeof(struct dp_port *), compare_devices);
    for (size_t i = 1; i < count && !error; i++)
        if (ports[i]->type != DP_PORT_ROUTER && compare_devices(&ports[i - 1], &ports[i]) == 0)
            error = object_refuse(text, -EEXIST, "ports %.36s and %.36s have the same device",
                                  ports[i - 1]->name, ports[i]->name);
    free(ports);
    return error;
}

static int compare_pairs(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int check_members(const struct objects *objects, uint64_t *pairs, size_t count, char *text)
{
    char id[16];
    for (size_t i = 0; i < count; i++) {
        const struct dp_member *member = objects_at(objects, DP_KIND_MEMBER, i);
        const struct dp_port *port = objects_port(objects, member->port);
        const struct dp_segment *segment = objects_segment(objects, member->segment);
        if (!port)
            return object_refuse(text, -ENOENT, "member of segment %.40s: port %u does not exist",
                                 segment_name(objects, member->segment, id), member->port);
        if (!segment)
            return object_refuse(text, -ENOENT, "port %.48s: segment %u does not exist", port->name,
                                 member->segment);
        if (port->tenant != 0 && port->tenant != segment->tenant)
            return object_refuse(text, -EPERM, "port %.36s and segment %.36s are not of one tenant",
                                 port->name, segment->name);
        pairs[i] = (uint64_t)member->port << 32 | member->segment;
    }
    qsort(pairs, count, sizeof(*pairs), compare_pairs);
    for (size_t i = 1; i < count; i++)
        if (pairs[i - 1] == pairs[i])
            return object_refuse(text, -EEXIST, "port %.36s is in segment %.36s twice",
                                 objects_port(objects, (uint32_t)(pairs[i] >> 32))->name,
                                 objects_segment(objects, (uint32_t)pairs[i])->name);
    return 0;
}

static int check_statics(const struct objects *objects, const uint64_t *pairs, size_t pair_count, char *text)
{
    char id[16];
    for (size_t i = 0; i < objects_count(objects, DP_KIND_STATIC); i++) {
        const struct dp_static *entry = objects_at(objects, DP_KIND_STATIC, i);
        uint64_t pair = (uint64_t)entry->port << 32 | entry->segment;
        if (!bsearch(&pair, pairs, pair_count, sizeof(*pairs), compare_pairs)) {
            char name[80];
            object_describe(objects, DP_KIND_STATIC, entry, name, sizeof(name));
            return object_refuse(text, -ENOENT, "%s: port %.24s is not in it", name,
                                 port_name(objects, entry->port, id));
        }
    }
    return 0;
}

int objects_check(const struct objects *objects, char *text)
{
    int error = check_devices(objects, text);
    if (error)
        return error;
    size_t count = objects_count(objects, DP_KIND_MEMBER);
    uint64_t *pairs = calloc(count ? count : 1, sizeof(*pairs)); /* port << 32 | segment, sorted */
    if (!pairs)
        return object_refuse(text, -ENOMEM, "no memory to check %zu members", count);
    error = check_members(objects, pairs, count, text);
    if (!error)
        error = check_statics(objects, pairs, count, text);
    free(pairs);
    for (size_t i = 0; i < objects_count(objects, DP_KIND_ALLOWED) && !error; i++) {
        const struct dp_allowed *allowed = objects_at(objects, DP_KIND_ALLOWED, i);
        if (!objects_port(objects, allowed->port))
            error = object_refuse(text, -ENOENT, "allowed address: port %u does not exist", allowed->port);
    }
    if (!error)
        error = objects_check_routers(objects, text);
    if (!error)
        error = objects_check_nat(objects, text);
    return error;
}
