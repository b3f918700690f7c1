/* SPDX-License-Identifier: BSD-3-Clause */
/* What the messages about memory and rings do. Which of them is legal when: backend_message.c. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "backend_private.h"

#define FEATURE(bit) (1ull << (bit))

/* The ring that the message is about. */
static struct backend_ring *find_ring(struct vhost_backend *backend, uint64_t index)
{
    if (index < backend->ring_count)
        return &backend->rings[index];
    backend_violation(backend, "%s: ring %llu of %u", vhost_request_name(backend->receiver.message.request),
                      (unsigned long long)index, backend->ring_count);
    return NULL;
}

/* The same, for what may change only while the ring is stopped. */
static struct backend_ring *find_stopped_ring(struct vhost_backend *backend, uint64_t index)
{
    struct backend_ring *ring = find_ring(backend, index);
    if (ring && ring->kicked) {
        backend_violation(backend, "%s: ring %u is running",
                          vhost_request_name(backend->receiver.message.request), (unsigned)index);
        return NULL;
    }
    return ring;
}

static struct memory_region_config region_config(const struct vhost_wire_region *region, int fd)
{
    return (struct memory_region_config){
        .guest_address = region->guest_address,
        .size = region->size,
        .user_address = region->user_address,
        .offset = region->mmap_offset,
        .fd = fd,
    };
}

static int take_memory(struct vhost_backend *backend, const struct memory_table *old,
                       const struct memory_region_config *regions, unsigned count)
{
    struct memory_table *memory;
    int result = memory_table_add(old, regions, count, &memory);
    if (result == -EINVAL)
        return backend_violation(backend,
                                 "memory regions overlap, wrap, are misaligned or larger than their file");
    if (result < 0)
        return backend_violation(backend, "guest memory cannot be mapped: %s", strerror(-result));
    backend_set_memory(backend, memory);
    result = backend_rings_start(backend, false);
    backend_changed(backend);
    return result;
}

int backend_set_mem_table(struct vhost_backend *backend, const struct vhost_message *message)
{
    const struct vhost_receiver *receiver = &backend->receiver;
    struct memory_region_config regions[VHOST_TABLE_REGIONS_MAX];
    struct vhost_wire_table table;
    memcpy(&table, &message->payload.table, message->size);
    if (table.count == 0 || table.count > VHOST_TABLE_REGIONS_MAX ||
        message->size != offsetof(struct vhost_wire_table, regions) + table.count * sizeof(table.regions[0]))
        return backend_violation(backend, "SET_MEM_TABLE: %u bytes for %u regions", message->size,
                                 table.count);
    if (receiver->fd_count != table.count)
        return backend_violation(backend, "SET_MEM_TABLE: %u descriptors for %u regions", receiver->fd_count,
                                 table.count);
    for (unsigned i = 0; i < table.count; i++)
        regions[i] = region_config(&table.regions[i], receiver->fds[i]);
    return take_memory(backend, NULL, regions, table.count);
}

int backend_add_mem_reg(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_wire_region wire = message->payload.single.region;
    struct memory_region_config region = region_config(&wire, backend->receiver.fds[0]);
    return take_memory(backend, backend->session.memory, &region, 1);
}

int backend_rem_mem_reg(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_wire_region wire = message->payload.single.region;
    struct memory_region_config region = region_config(&wire, -1);
    struct memory_table *memory;
    int result =
        backend->session.memory ? memory_table_remove(backend->session.memory, &region, &memory) : -ENOENT;
    if (result == -ENOENT)
        return backend_violation(backend, "REM_MEM_REG: no such region");
    if (result < 0)
        return backend_violation(backend, "REM_MEM_REG: %s", strerror(-result));
    backend_set_memory(backend, memory);
    backend_changed(backend);
    return 0;
}

int backend_set_vring_num(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_ring_state state = message->payload.state;
    struct backend_ring *ring = find_stopped_ring(backend, state.index);
    if (!ring)
        return -EPROTO;
    bool packed = backend->session.features & FEATURE(VIRTIO_F_RING_PACKED);
    if (state.num == 0 || state.num > VRING_SIZE_MAX || (!packed && (state.num & (state.num - 1))))
        return backend_violation(backend, "SET_VRING_NUM: ring %u cannot have %u descriptors", state.index,
                                 state.num);
    ring->size = (uint16_t)state.num;
    return 0;
}

int backend_set_vring_addr(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_ring_address address = message->payload.address;
    struct backend_ring *ring = find_stopped_ring(backend, address.index);
    if (!ring)
        return -EPROTO;
    if (address.flags != 0)
        return backend_violation(backend, "SET_VRING_ADDR: flags %#x that were not negotiated",
                                 address.flags);
    ring->address = address;
    ring->addressed = true;
    return 0;
}

/* Packed: frontends that give the avail position only (DPDK's) leave the upper half 0. virtio 1.2, 2.8. */
int backend_set_vring_base(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_ring_state state = message->payload.state;
    struct backend_ring *ring = find_stopped_ring(backend, state.index);
    if (!ring)
        return -EPROTO;
    bool packed = backend->session.features & FEATURE(VIRTIO_F_RING_PACKED);
    if (!packed && state.num > UINT16_MAX)
        return backend_violation(backend, "SET_VRING_BASE: ring %u cannot be at %u", state.index, state.num);
    ring->base = (uint16_t)state.num;
    ring->base_used = packed && state.num >> 16 ? (uint16_t)(state.num >> 16) : ring->base;
    return 0;
}

int backend_get_vring_base(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_ring_state state = message->payload.state;
    const struct backend_ring *ring = find_ring(backend, state.index);
    if (!ring)
        return -EPROTO;
    bool packed = backend->session.features & FEATURE(VIRTIO_F_RING_PACKED);
    backend_rings_stop(backend, state.index, 1);
    state.num = packed ? ring->base | (uint32_t)ring->base_used << 16 : ring->base;
    return backend_reply(backend, &state, sizeof(state));
}

/* The descriptor of SET_VRING_KICK, _CALL or _ERR, taken: -1 (none) or an eventfd. */
static int take_event(struct vhost_backend *backend, const struct vhost_message *message, int *fd)
{
    const char *name = vhost_request_name(message->request);
    uint64_t value = message->payload.u64;
    if (value & ~(VHOST_RING_INDEX_MASK | VHOST_RING_NO_FD))
        return backend_violation(backend, "%s: unknown bits", name);
    if (backend->receiver.fd_count != (value & VHOST_RING_NO_FD ? 0 : 1))
        return backend_violation(backend, "%s: %u descriptors", name, backend->receiver.fd_count);
    *fd = -1;
    if (value & VHOST_RING_NO_FD)
        return 0;
    if (!vhost_is_eventfd(backend->receiver.fds[0]))
        return backend_violation(backend, "%s: the descriptor is not an eventfd", name);
    *fd = vhost_receiver_take_fd(&backend->receiver, 0);
    return 0;
}

int backend_set_vring_kick(struct vhost_backend *backend, const struct vhost_message *message)
{
    unsigned index = message->payload.u64 & VHOST_RING_INDEX_MASK;
    struct backend_ring *ring = find_ring(backend, index);
    int fd = -1;
    if (!ring)
        return -EPROTO;
    if (ring->size == 0 || !ring->addressed)
        return backend_violation(backend, "SET_VRING_KICK: ring %u has no size or no addresses", index);
    int result = take_event(backend, message, &fd);
    if (result < 0)
        return result;
    ring->kicked = true;
    ring->error = VRING_ERROR_NONE;
    backend_ring_set_kick(backend, index, fd);
    return backend_rings_start(backend, true);
}

int backend_set_vring_call(struct vhost_backend *backend, const struct vhost_message *message)
{
    unsigned index = message->payload.u64 & VHOST_RING_INDEX_MASK;
    int fd = -1, result = find_ring(backend, index) ? take_event(backend, message, &fd) : -EPROTO;
    if (result == 0)
        backend_ring_set_call(backend, index, fd);
    return result;
}

int backend_set_vring_err(struct vhost_backend *backend, const struct vhost_message *message)
{
    unsigned index = message->payload.u64 & VHOST_RING_INDEX_MASK;
    int fd = -1, result = find_ring(backend, index) ? take_event(backend, message, &fd) : -EPROTO;
    if (result == 0)
        backend_ring_set_error(backend, index, fd);
    return result;
}

int backend_set_vring_enable(struct vhost_backend *backend, const struct vhost_message *message)
{
    struct vhost_ring_state state = message->payload.state;
    struct backend_ring *ring = find_ring(backend, state.index);
    if (!ring)
        return -EPROTO;
    if (state.num > 1)
        return backend_violation(backend, "SET_VRING_ENABLE: %u is neither on nor off", state.num);
    ring->enabled = state.num;
    backend_ring_apply_enabled(backend, state.index);
    return 0;
}
