/* SPDX-License-Identifier: BSD-3-Clause */
/* Lies about guest memory: tables that cannot be, files that shrink, regions that go while rings run. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "hostile.h"

#define TABLES     "memory tables checked"
#define SIGBUS_ROW "SIGBUS of a truncated or punched file is contained"
#define LIVE       "memory is unmapped after a grace period"

#define FILE_SIZE (2 * REGION_SIZE)

/* Two regions; the one that is tested is the second. */
struct layout {
    uint64_t guest, size, user, offset;
};

static bool table_is(struct hostile *h, const void *argument)
{
    const struct layout *layout = argument;
    struct vhost_wire_region regions[2];
    int fds[2] = {h->memory_fd, h->memory_fd};
    hostile_default_regions(regions);
    regions[1] = (struct vhost_wire_region){.guest_address = layout->guest,
                                            .size = layout->size,
                                            .user_address = layout->user,
                                            .mmap_offset = layout->offset};
    return hostile_negotiate(h, 0) && hostile_send_table(h, regions, 2, fds, 2);
}

/* The count says one thing, the size of the message another. */
struct count_lie {
    uint32_t count, regions;
};

static bool table_count(struct hostile *h, const void *argument)
{
    const struct count_lie *lie = argument;
    struct vhost_wire_table table = {.count = lie->count};
    int fds[2] = {h->memory_fd, h->memory_fd};
    hostile_default_regions(table.regions);
    return hostile_negotiate(h, 0) &&
           hostile_send(h, VHOST_SET_MEM_TABLE, 0, &table,
                        (uint32_t)(offsetof(struct vhost_wire_table, regions) +
                                   lie->regions * sizeof(struct vhost_wire_region)),
                        fds, lie->regions > 2 ? 2 : lie->regions);
}

enum file_kind {
    NULL_FILE,
    EVENTFD_FILE,
    DIRECTORY_FILE,
    READ_ONLY_FILE,
    SEALED_FILE,
    EMPTY_FILE,
    SOCKET_FILE
};

static int open_file(struct hostile *h, enum file_kind kind)
{
    char path[64];
    int fd;
    switch (kind) {
    case NULL_FILE:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case EVENTFD_FILE:
        return dup(h->rings[0].kick_fd);
    case DIRECTORY_FILE:
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case READ_ONLY_FILE:
        snprintf(path, sizeof(path), "/proc/self/fd/%d", h->memory_fd);
        return open(path, O_RDONLY | O_CLOEXEC);
    case SEALED_FILE:
        fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        return ftruncate(fd, FILE_SIZE) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0 ? fd : -1;
    case EMPTY_FILE:
        return memfd_create("empty", MFD_CLOEXEC);
    default:
        return dup(h->fd);
    }
}

static bool table_of_file(struct hostile *h, const void *argument)
{
    const enum file_kind *kind = argument;
    struct vhost_wire_region regions[2];
    hostile_default_regions(regions);
    int fd = open_file(h, *kind);
    if (fd < 0)
        return hostile_fail(h, "file: %s", strerror(errno));
    int fds[2] = {h->memory_fd, fd};
    bool sent = hostile_negotiate(h, 0) && hostile_send_table(h, regions, 2, fds, 2);
    close(fd);
    return sent;
}

/* A second file that shrinks; the connection's own memory stays for the next pattern. */
static bool borrow_file(struct hostile *h, int *fd)
{
    *fd = memfd_create("shrinks", MFD_CLOEXEC);
    return (*fd >= 0 && ftruncate(*fd, FILE_SIZE) == 0) || hostile_fail(h, "memfd: %s", strerror(errno));
}

static bool set_shrinking_memory(struct hostile *h, int fd, bool both)
{
    struct vhost_wire_region regions[2];
    int fds[2] = {both ? fd : h->memory_fd, fd};
    hostile_default_regions(regions);
    return hostile_negotiate(h, 0) && hostile_send_table(h, regions, 2, fds, 2);
}

/* The buffers' file is truncated, a frame in it is given. */
static bool buffers_truncated(struct hostile *h, const void *argument)
{
    int fd;
    uint64_t status;
    if (!borrow_file(h, &fd))
        return false;
    bool running = set_shrinking_memory(h, fd, false) && hostile_set_ring(h, HOSTILE_RX) &&
                   hostile_set_ring(h, HOSTILE_TX) && hostile_query(h, VHOST_GET_STATUS, &status);
    if (ftruncate(fd, 0) < 0)
        running = false;
    close(fd);
    hostile_put(h, HOSTILE_TX, 0, GUEST_SECOND + 0x1000, 112, 0, 0);
    hostile_give(h, HOSTILE_TX, 0);
    return running;
}

/* The same for the place where frames are to be written. */
static bool receive_buffers_truncated(struct hostile *h, const void *argument)
{
    int fd;
    uint64_t status;
    if (!borrow_file(h, &fd))
        return false;
    bool running = set_shrinking_memory(h, fd, false) && hostile_set_ring(h, HOSTILE_RX) &&
                   hostile_set_ring(h, HOSTILE_TX) && hostile_query(h, VHOST_GET_STATUS, &status);
    if (ftruncate(fd, 0) < 0)
        running = false;
    close(fd);
    for (unsigned i = 0; i < 64; i++) {
        hostile_put(h, HOSTILE_RX, i, GUEST_SECOND + i * 0x1000, 2048, 2, 0);
        hostile_give(h, HOSTILE_RX, (uint16_t)i);
    }
    (void)hostile_feed(h); /* the port may be dead before the frame is given back */
    return running;
}

/* The rings' file is truncated before the rings are started: the switch itself touches them. */
static bool rings_truncated(struct hostile *h, const void *argument)
{
    const bool *running = argument;
    uint64_t status;
    int fd;
    if (!borrow_file(h, &fd) || !set_shrinking_memory(h, fd, true))
        return false;
    if (*running && (!hostile_set_ring(h, HOSTILE_RX) || !hostile_set_ring(h, HOSTILE_TX) ||
                     !hostile_query(h, VHOST_GET_STATUS, &status)))
        return false;
    if (!*running && !hostile_query(h, VHOST_GET_STATUS, &status))
        return false;
    bool truncated = ftruncate(fd, 0) == 0;
    close(fd);
    if (!*running) {
        (void)(hostile_set_ring(h, HOSTILE_RX) && hostile_set_ring(h, HOSTILE_TX));
    }
    hostile_kick(h, HOSTILE_TX);
    return truncated;
}

/* A hole is zeroes: the avail index falls back, or nothing happens. */
static bool rings_punched(struct hostile *h, const void *argument)
{
    return hostile_start(h, 0) && hostile_frame_taken(h) &&
           fallocate(h->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, REGION_SIZE) == 0;
}

static bool region_message(struct hostile *h, uint32_t request, const struct vhost_wire_region *region,
                           int fd)
{
    struct vhost_wire_single single = {.region = *region};
    return hostile_send(h, request, 0, &single, sizeof(single), &fd, fd >= 0 ? 1 : 0);
}

/* The region of running rings is taken away and given back: they go on where they were. */
static bool region_removed_and_back(struct hostile *h, const void *argument)
{
    struct vhost_wire_region regions[2];
    uint64_t value;
    hostile_default_regions(regions);
    if (!hostile_start(h, 0) || !hostile_frame_taken(h))
        return false;
    for (unsigned i = 0; i < 20; i++) {
        if (!region_message(h, VHOST_REM_MEM_REG, &regions[0], i % 2 ? h->memory_fd : -1) ||
            !hostile_query(h, VHOST_GET_FEATURES, &value))
            return false;
        hostile_kick(h, HOSTILE_TX);
        if (!region_message(h, VHOST_ADD_MEM_REG, &regions[0], h->memory_fd) ||
            !hostile_query(h, VHOST_GET_FEATURES, &value) || !hostile_frame_taken(h))
            return false;
    }
    return true;
}

/* Removed for good, with frames on their way. */
static bool region_removed(struct hostile *h, const void *argument)
{
    struct vhost_wire_region regions[2];
    hostile_default_regions(regions);
    if (!hostile_start(h, 0))
        return false;
    for (unsigned i = 0; i < 200; i++) {
        hostile_put(h, HOSTILE_TX, i, GUEST_BUFFER, 112, 0, 0);
        hostile_give(h, HOSTILE_TX, (uint16_t)i);
    }
    return region_message(h, VHOST_REM_MEM_REG, &regions[0], -1);
}

static bool unknown_region_removed(struct hostile *h, const void *argument)
{
    struct vhost_wire_region regions[2];
    hostile_default_regions(regions);
    regions[0].size -= 0x1000;
    return hostile_start(h, 0) && region_message(h, VHOST_REM_MEM_REG, &regions[0], -1);
}

static bool overlapping_region_added(struct hostile *h, const void *argument)
{
    struct vhost_wire_region regions[2];
    hostile_default_regions(regions);
    regions[0].user_address += 0x100000000ull;
    return hostile_start(h, 0) && region_message(h, VHOST_ADD_MEM_REG, &regions[0], h->memory_fd);
}

static bool too_many_regions(struct hostile *h, const void *argument)
{
    if (!hostile_start(h, 0))
        return false;
    for (uint64_t i = 0; i < 1000; i++) {
        struct vhost_wire_region region = {.guest_address = 0x1000000000ull + i * 0x10000,
                                           .size = 0x1000,
                                           .user_address = 0x1000000000ull + i * 0x10000};
        if (!region_message(h, VHOST_ADD_MEM_REG, &region, h->memory_fd))
            break;
    }
    return true;
}

/* The table changes under running rings, to one without them, and back. */
static bool table_moves(struct hostile *h, const void *argument)
{
    struct vhost_wire_region regions[2], moved[2];
    int fds[2] = {h->memory_fd, h->memory_fd};
    uint64_t value;
    hostile_default_regions(regions);
    memcpy(moved, regions, sizeof(moved));
    moved[0].user_address += 0x100000000ull;
    if (!hostile_start(h, 0))
        return false;
    for (unsigned i = 0; i < 10; i++) {
        if (!hostile_send_table(h, moved, 2, fds, 2) || !hostile_query(h, VHOST_GET_FEATURES, &value) ||
            !hostile_send_table(h, regions, 2, fds, 2) || !hostile_query(h, VHOST_GET_FEATURES, &value) ||
            !hostile_frame_taken(h))
            return false;
    }
    return true;
}

#define LAYOUT(...)                                                                                          \
    &(const struct layout)                                                                                   \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define COUNT(...)                                                                                           \
    &(const struct count_lie)                                                                                \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define KIND(k)                                                                                              \
    &(const enum file_kind)                                                                                  \
    {                                                                                                        \
        k                                                                                                    \
    }
/* clang-format off */
const struct pattern hostile_memory_patterns[] = {
    {"regions-none", TABLES, CLOSED, table_count, COUNT(0, 0), false},
    {"regions-none-with-one", TABLES, CLOSED, table_count, COUNT(0, 1), false},
    {"regions-nine", TABLES, CLOSED, table_count, COUNT(9, 8), false},
    {"regions-fewer-than-said", TABLES, CLOSED, table_count, COUNT(8, 2), false},
    {"regions-more-than-said", TABLES, CLOSED, table_count, COUNT(1, 2), false},
    {"regions-4-billion", TABLES, CLOSED, table_count, COUNT(0xffffffff, 2), false},
    {"overlap-guest", TABLES, CLOSED, table_is, LAYOUT(GUEST_BASE + REGION_SIZE - 1, 0x1000, USER_SECOND, 0), false},
    {"overlap-guest-contained", TABLES, CLOSED, table_is, LAYOUT(GUEST_BASE + 0x1000, 0x1000, USER_SECOND, 0), false},
    {"overlap-user", TABLES, CLOSED, table_is, LAYOUT(GUEST_SECOND, 0x1000, USER_BASE + REGION_SIZE - 1, 0), false},
    {"overlap-same", TABLES, CLOSED, table_is, LAYOUT(GUEST_BASE, REGION_SIZE, USER_BASE, 0), false},
    {"wrap-guest", TABLES, CLOSED, table_is, LAYOUT(~0ull - 0xfff, 0x2000, USER_SECOND, 0), false},
    {"wrap-user", TABLES, CLOSED, table_is, LAYOUT(GUEST_SECOND, 0x2000, ~0ull - 0xfff, 0), false},
    {"region-size-zero", TABLES, CLOSED, table_is, LAYOUT(GUEST_SECOND, 0, USER_SECOND, 0), false},
    {"region-size-all", TABLES, CLOSED, table_is, LAYOUT(0, ~0ull, 0, 0), false},
    {"region-larger-than-file", TABLES, CLOSED, table_is, LAYOUT(GUEST_SECOND, FILE_SIZE + 0x1000, USER_SECOND, 0), false},
    {"region-behind-file", TABLES, CLOSED, table_is, LAYOUT(GUEST_SECOND, 0x1000, USER_SECOND, FILE_SIZE), false},
    {"offset-wraps", TABLES, CLOSED, table_is, LAYOUT(GUEST_SECOND, 0x2000, USER_SECOND, ~0ull - 0xfff), false},
    {"offset-plus-size-wraps", TABLES, CLOSED, table_is, LAYOUT(GUEST_SECOND, ~0ull - 0xfff, 0, 0x2000), false},
    {"file-is-dev-null", TABLES, CLOSED, table_of_file, KIND(NULL_FILE), false},
    {"file-is-an-eventfd", TABLES, CLOSED, table_of_file, KIND(EVENTFD_FILE), false},
    {"file-is-a-directory", TABLES, CLOSED, table_of_file, KIND(DIRECTORY_FILE), false},
    {"file-is-the-socket", TABLES, CLOSED, table_of_file, KIND(SOCKET_FILE), false},
    {"file-is-read-only", TABLES, CLOSED, table_of_file, KIND(READ_ONLY_FILE), false},
    {"file-is-sealed", TABLES, CLOSED, table_of_file, KIND(SEALED_FILE), false},
    {"file-is-empty", TABLES, CLOSED, table_of_file, KIND(EMPTY_FILE), false},

    {"buffers-truncated", SIGBUS_ROW, CLOSED, buffers_truncated, NULL, false},
    {"receive-buffers-truncated", SIGBUS_ROW, CLOSED, receive_buffers_truncated, NULL, true},
    {"rings-truncated-running", SIGBUS_ROW, CLOSED, rings_truncated, &(const bool){true}, false},
    {"rings-truncated-before-start", SIGBUS_ROW, CLOSED, rings_truncated, &(const bool){false}, false},
    {"rings-punched", SIGBUS_ROW, ANSWERED, rings_punched, NULL, false},

    {"region-removed-and-back", LIVE, ALIVE, region_removed_and_back, NULL, false},
    {"region-removed-under-rings", LIVE, ANSWERED, region_removed, NULL, false},
    {"unknown-region-removed", TABLES, CLOSED, unknown_region_removed, NULL, false},
    {"overlapping-region-added", TABLES, CLOSED, overlapping_region_added, NULL, false},
    {"too-many-regions", TABLES, CLOSED, too_many_regions, NULL, false},
    {"table-moves-under-rings", LIVE, ALIVE, table_moves, NULL, false},
};
/* clang-format on */
const unsigned hostile_memory_count = sizeof(hostile_memory_patterns) / sizeof(hostile_memory_patterns[0]);
