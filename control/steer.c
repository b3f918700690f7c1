/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Nothing is pinned: bpffs may not be mounted, and what is pinned outlives everybody.
 * Programs live by the descriptors of those who use them. weft_xdp and weft_tc are attached by BPF links, of
 * which the dataplane holds one as long as its port lives; the filter is held by the dataplane's socket. So a
 * killed dataplane gives the interface back by itself, and weftd may come and go.
 *
 * A weftd that starts finds the programs in use by their names and by the map `about`, which says whose they
 * are: this weftd's run dir, this network namespace, this interface. It takes their maps, loads what nobody
 * holds (a packet port has no weft_xdp) on the same ones, and goes on.
 */
#include "steer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "steer.skel.h"

#define MAPS_MAX     8u /* of one program */
#define TCX_INGRESS  46 /* BPF_TCX_INGRESS, linux/bpf.h of Linux 6.6 */
#define MESSAGE_SIZE 200u

struct steer {
    uint32_t ifindex;
    int xdp, filter, tc; /* programs */
    int hosts, addresses, ports, sockets, about;
};

static char last_message[MESSAGE_SIZE]; /* libbpf's last warning: why something was refused */

__attribute__((format(printf, 2, 0))) static int on_message(enum libbpf_print_level level, const char *format,
                                                            va_list arguments)
{
    if (level == LIBBPF_WARN) {
        vsnprintf(last_message, sizeof(last_message), format, arguments);
        last_message[strcspn(last_message, "\n")] = '\0';
    }
    return 0;
}

static struct steer *steer_new(uint32_t ifindex)
{
    struct steer *steer = malloc(sizeof(*steer));
    if (steer)
        *steer = (struct steer){ifindex, -1, -1, -1, -1, -1, -1, -1, -1};
    return steer;
}

static void fd_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

void steer_close(struct steer *steer)
{
    if (!steer)
        return;
    const int fds[] = {steer->xdp,       steer->filter, steer->tc,      steer->hosts,
                       steer->addresses, steer->ports,  steer->sockets, steer->about};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        fd_close(fds[i]);
    free(steer);
}

/* Takes the descriptor of a program or map that has this name; closes it if it is none of ours. */
static bool adopt(struct steer *steer, const char *name, int fd)
{
    struct {
        const char *name;
        int *fd;
    } const slots[] = {
        {"weft_xdp", &steer->xdp}, {"weft_filter", &steer->filter},  {"weft_tc", &steer->tc},
        {"hosts", &steer->hosts},  {"addresses", &steer->addresses}, {"ports", &steer->ports},
        {"about", &steer->about},  {"sockets", &steer->sockets},
    };
    for (size_t i = 0; fd >= 0 && i < sizeof(slots) / sizeof(slots[0]); i++) {
        if (strcmp(slots[i].name, name) == 0 && *slots[i].fd < 0) {
            *slots[i].fd = fd;
            return true;
        }
    }
    fd_close(fd);
    return false;
}

static void adopt_map(struct steer *steer, uint32_t id)
{
    struct bpf_map_info info = {0};
    uint32_t size = sizeof(info);
    int fd = bpf_map_get_fd_by_id(id);
    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
        adopt(steer, info.name, fd);
    else
        fd_close(fd);
}

/* The program's maps are those of `about`. */
static bool is_ours(const uint32_t *maps, uint32_t count, const struct steer_about *about)
{
    struct steer *candidate = steer_new(0);
    struct steer_about found = {0};
    const uint32_t key = 0;
    for (uint32_t i = 0; candidate && i < count; i++)
        adopt_map(candidate, maps[i]);
    bool ours = candidate && candidate->about >= 0 &&
                bpf_map_lookup_elem(candidate->about, &key, &found) == 0 &&
                memcmp(&found, about, sizeof(found)) == 0;
    steer_close(candidate);
    return ours;
}

static void look_at_program(struct steer *steer, int fd, const struct steer_about *about)
{
    uint32_t maps[MAPS_MAX] = {0}, size = sizeof(struct bpf_prog_info);
    struct bpf_prog_info info = {.nr_map_ids = MAPS_MAX, .map_ids = (uint64_t)(uintptr_t)maps};
    if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0 || strncmp(info.name, "weft_", 5) != 0 ||
        info.nr_map_ids > MAPS_MAX || !is_ours(maps, info.nr_map_ids, about)) {
        close(fd);
        return;
    }
    if (adopt(steer, info.name, fd))
        for (uint32_t i = 0; i < info.nr_map_ids; i++)
            adopt_map(steer, maps[i]);
}

/* Fills in what is in use of that interface's programs: the maps, and those programs that somebody holds. */
static void steer_find(struct steer *steer, const struct steer_about *about)
{
    uint32_t id = 0;
    while (bpf_prog_get_next_id(id, &id) == 0) {
        int fd = bpf_prog_get_fd_by_id(id);
        if (fd >= 0)
            look_at_program(steer, fd, about);
    }
}

static int reuse_maps(const struct steer *steer, struct steer_bpf *object)
{
    const struct {
        struct bpf_map *map;
        int fd;
    } maps[] = {{object->maps.hosts, steer->hosts},
                {object->maps.addresses, steer->addresses},
                {object->maps.ports, steer->ports},
                {object->maps.sockets, steer->sockets},
                {object->maps.about, steer->about}};
    int error = 0;
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]) && !error; i++)
        if (maps[i].fd >= 0)
            error = bpf_map__reuse_fd(maps[i].map, maps[i].fd);
    return error;
}

static void take(int *slot, int fd)
{
    if (*slot < 0)
        *slot = fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* Loads the programs that are not there yet, on the maps that are. */
static int steer_load(struct steer *steer, const struct steer_about *about)
{
    const uint32_t key = 0;
    struct steer_bpf *object = steer_bpf__open();
    if (!object)
        return -errno;
    int error = reuse_maps(steer, object);
    if (!error)
        error = steer_bpf__load(object);
    if (!error) {
        take(&steer->xdp, bpf_program__fd(object->progs.weft_xdp));
        take(&steer->filter, bpf_program__fd(object->progs.weft_filter));
        take(&steer->tc, bpf_program__fd(object->progs.weft_tc));
        take(&steer->hosts, bpf_map__fd(object->maps.hosts));
        take(&steer->addresses, bpf_map__fd(object->maps.addresses));
        take(&steer->ports, bpf_map__fd(object->maps.ports));
        take(&steer->sockets, bpf_map__fd(object->maps.sockets));
        take(&steer->about, bpf_map__fd(object->maps.about));
        error = bpf_map_update_elem(steer->about, &key, about, BPF_ANY) < 0 ? -errno : 0;
    }
    steer_bpf__destroy(object);
    return error;
}

struct steer *steer_open(const struct steer_about *about, char *text, size_t size)
{
    libbpf_set_print(on_message);
    last_message[0] = '\0';
    struct steer *steer = steer_new(about->ifindex);
    int error = steer ? 0 : -ENOMEM;
    if (steer) {
        steer_find(steer, about);
        error = steer_load(steer, about);
    }
    if (!error)
        return steer;
    snprintf(text, size, "the kernel refuses the steering programs: %s%s%s", strerror(-error),
             last_message[0] ? ": " : "", last_message);
    steer_close(steer);
    errno = -error;
    return NULL;
}

int steer_filter(const struct steer *steer, int socket)
{
    return setsockopt(socket, SOL_SOCKET, SO_ATTACH_BPF, &steer->filter, sizeof(steer->filter)) < 0 ? -errno
                                                                                                    : 0;
}

/* The link that attaches the program to the interface already; -ENOENT: none. */
static int link_find(int program)
{
    struct bpf_prog_info program_info = {0};
    uint32_t id = 0, size = sizeof(program_info);
    if (bpf_obj_get_info_by_fd(program, &program_info, &size) < 0)
        return -errno;
    while (bpf_link_get_next_id(id, &id) == 0) {
        struct bpf_link_info info = {0};
        int fd = bpf_link_get_fd_by_id(id);
        size = sizeof(info);
        if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.prog_id == program_info.id)
            return fd;
        fd_close(fd);
    }
    return -ENOENT;
}

int steer_attach_xdp(const struct steer *steer, char *text, size_t size)
{
    static const uint32_t modes[] = {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
    int fd = link_find(steer->xdp), error = 0;
    for (unsigned i = 0; fd < 0 && i < 2; i++) {
        struct bpf_link_create_opts options = {.sz = sizeof(options), .flags = modes[i]};
        fd = bpf_link_create(steer->xdp, (int)steer->ifindex, BPF_XDP, &options);
        error = fd < 0 ? -errno : 0;
    }
    if (fd < 0)
        snprintf(text, size, "no XDP program can be attached: %s%s", strerror(-error),
                 error == -EBUSY || error == -EEXIST ? "; another one is (ip link show says which)" : "");
    return fd < 0 ? error : fd;
}

int steer_attach_tc(const struct steer *steer)
{
    int fd = link_find(steer->tc);
    if (fd < 0)
        fd = bpf_link_create(steer->tc, (int)steer->ifindex, (enum bpf_attach_type)TCX_INGRESS, NULL);
    return fd < 0 ? -errno : fd;
}

bool steer_tc_attached(const struct steer *steer)
{
    int fd = link_find(steer->tc);
    fd_close(fd);
    return fd >= 0;
}

enum steer_mode steer_mode(uint32_t ifindex)
{
    struct bpf_xdp_query_opts options = {.sz = sizeof(options)};
    if (bpf_xdp_query((int)ifindex, 0, &options) < 0)
        return STEER_NONE;
    return options.attach_mode == XDP_ATTACHED_DRV   ? STEER_NATIVE
           : options.attach_mode == XDP_ATTACHED_SKB ? STEER_GENERIC
           : options.attach_mode == XDP_ATTACHED_HW  ? STEER_OFFLOADED
                                                     : STEER_NONE;
}

const char *steer_mode_name(enum steer_mode mode)
{
    static const char *const names[] = {"none", "generic", "native", "offloaded"};
    return names[mode];
}

int steer_set_socket(const struct steer *steer, uint32_t queue, int socket)
{
    return bpf_map_update_elem(steer->sockets, &queue, &socket, BPF_ANY) < 0 ? -errno : 0;
}

static bool is_among(const struct steer_mac *mac, uint8_t (*macs)[6], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (memcmp(mac->bytes, macs[i], sizeof(mac->bytes)) == 0)
            return true;
    return false;
}

int steer_set_hosts(const struct steer *steer, uint8_t (*macs)[6], unsigned count)
{
    struct steer_mac key, next;
    const uint8_t value = 1;
    int error = 0;
    for (unsigned i = 0; i < count && !error; i++) {
        key = (struct steer_mac){0};
        memcpy(key.bytes, macs[i], sizeof(key.bytes));
        error = bpf_map_update_elem(steer->hosts, &key, &value, BPF_ANY) < 0 ? -errno : 0;
    }
    bool more = bpf_map_get_next_key(steer->hosts, NULL, &next) == 0;
    while (more) {
        key = next;
        more = bpf_map_get_next_key(steer->hosts, &key, &next) == 0;
        if (!is_among(&key, macs, count))
            bpf_map_delete_elem(steer->hosts, &key);
    }
    return error;
}

static int slot_of(const struct steer *steer, const uint8_t address[16], struct steer_slot *slot)
{
    return bpf_map_lookup_elem(steer->addresses, address, slot) < 0 ? -errno : 0;
}

/* A slot that no address has. */
static int slot_free(const struct steer *steer)
{
    bool taken[STEER_ADDRESSES_MAX] = {false};
    struct steer_address key, next;
    struct steer_slot slot;
    for (int error = bpf_map_get_next_key(steer->addresses, NULL, &next); !error;
         error = bpf_map_get_next_key(steer->addresses, &key, &next)) {
        key = next;
        if (slot_of(steer, key.bytes, &slot) == 0 && slot.slot < STEER_ADDRESSES_MAX)
            taken[slot.slot] = true;
    }
    for (int i = 0; i < (int)STEER_ADDRESSES_MAX; i++)
        if (!taken[i])
            return i;
    return -ENOSPC;
}

static void fill_bitmap(struct steer_bitmap *bitmap, const struct steer_range *range)
{
    for (uint32_t port = range->first; port <= range->last; port++)
        bitmap->bytes[port >> 3] |= (uint8_t)(1u << (port & 7));
}

/* An address keeps its slot; its ports are there before the address is. */
static int set_address(const struct steer *steer, const uint8_t address[16], const struct steer_range *ranges,
                       unsigned count)
{
    static struct steer_bitmap bitmaps[STEER_KINDS];
    struct steer_slot slot = {0};
    bool whole = false;
    if (slot_of(steer, address, &slot) < 0) {
        int found = slot_free(steer);
        if (found < 0)
            return found;
        slot.slot = (uint32_t)found;
    }
    memset(bitmaps, 0, sizeof(bitmaps));
    for (unsigned i = 0; i < count; i++) {
        if (memcmp(ranges[i].address, address, sizeof(ranges[i].address)) != 0)
            continue;
        whole |= ranges[i].whole;
        if (!ranges[i].whole)
            fill_bitmap(&bitmaps[ranges[i].kind], &ranges[i]);
    }
    slot.whole = whole;
    for (uint32_t kind = 0; kind < STEER_KINDS; kind++) {
        const uint32_t key = slot.slot * STEER_KINDS + kind;
        if (bpf_map_update_elem(steer->ports, &key, &bitmaps[kind], BPF_ANY) < 0)
            return -errno;
    }
    return bpf_map_update_elem(steer->addresses, address, &slot, BPF_ANY) < 0 ? -errno : 0;
}

static bool has_address(const struct steer_range *ranges, unsigned count, const uint8_t address[16])
{
    for (unsigned i = 0; i < count; i++)
        if (memcmp(ranges[i].address, address, sizeof(ranges[i].address)) == 0)
            return true;
    return false;
}

int steer_set_ranges(const struct steer *steer, const struct steer_range *ranges, unsigned count)
{
    struct steer_address key, next;
    int error = 0;
    bool more = bpf_map_get_next_key(steer->addresses, NULL, &next) == 0;
    while (more) {
        key = next;
        more = bpf_map_get_next_key(steer->addresses, &key, &next) == 0;
        if (!has_address(ranges, count, key.bytes))
            bpf_map_delete_elem(steer->addresses, &key);
    }
    for (unsigned i = 0; i < count && !error; i++)
        if (!has_address(ranges, i, ranges[i].address))
            error = set_address(steer, ranges[i].address, ranges, count);
    return error;
}
