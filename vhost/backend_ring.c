/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * A ring runs (vring_started) when it was kicked, has a size, areas that lie in guest memory, and the
 * features are agreed. "Kicked" is the frontend's wish and stays while the memory under a running ring is
 * taken away and given back: the ring is stopped then, its positions are kept, and it goes on when its areas
 * are there again.
 *
 * Workers use running rings at any time. Whatever they could be looking at is changed between hold+quiesce
 * and release; memory is unmapped after that. One quiesce serves all rings that change together.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "backend_private.h"

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

bool backend_ring_kicked_any(const struct vhost_backend *backend)
{
    for (unsigned i = 0; i < backend->ring_count; i++) {
        if (backend->rings[i].kicked)
            return true;
    }
    return false;
}

/* A worker may be using it now. */
static bool ring_live(const struct backend_ring *ring)
{
    return vring_started(ring->vring);
}

static bool range_is_live(const struct vhost_backend *backend, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        if (ring_live(&backend->rings[i]))
            return true;
    }
    return false;
}

/* The ring's areas in this process. False: not wholly inside one region each, or misaligned. */
static bool locate_areas(const struct vhost_backend *backend, const struct backend_ring *ring, void **desc,
                         void **driver, void **device)
{
    const struct memory_table *memory = backend->session.memory;
    uint64_t desc_size, driver_size, device_size;
    vring_area_sizes(ring->size, backend->session.features, &desc_size, &driver_size, &device_size);
    *desc = memory_user_range(memory, ring->address.desc, desc_size);
    *driver = memory_user_range(memory, ring->address.avail, driver_size);
    *device = memory_user_range(memory, ring->address.used, device_size);
    return *desc && *driver && *device;
}

static int start_ring(struct vhost_backend *backend, unsigned index)
{
    struct backend_ring *ring = &backend->rings[index];
    struct vring_config config = {
        .size = ring->size,
        .features = backend->session.features,
        .memory = backend->session.memory,
        .base = ring->base,
        .base_used = ring->base_used,
        .call_fd = ring->call_fd,
    };
    if (!locate_areas(backend, ring, &config.desc, &config.driver, &config.device))
        return -EFAULT;
    int result = vring_start(ring->vring, &config);
    if (result < 0)
        return result;
    ring->error = VRING_ERROR_NONE;
    ring->error_told = false;
    return 0;
}

int backend_rings_start(struct vhost_backend *backend, bool strict)
{
    const struct backend_session *session = &backend->session;
    if (!session->negotiated || session->refused || !session->memory)
        return 0;
    bool changed = false;
    for (unsigned i = 0; i < backend->ring_count; i++) {
        struct backend_ring *ring = &backend->rings[i];
        if (!ring->kicked || ring_live(ring) || ring->error != VRING_ERROR_NONE)
            continue;
        int result = start_ring(backend, i);
        if (result == -EFAULT && !strict)
            continue;
        if (result == -EFAULT)
            return backend_violation(backend, "ring %u: areas are not inside guest memory", i);
        if (result < 0)
            return backend_violation(backend, "ring %u: size, alignment or position is impossible", i);
        changed = true;
    }
    if (changed)
        backend_changed(backend);
    return 0;
}

/* After hold and quiesce. */
static void halt_ring(struct backend_ring *ring)
{
    ring->error = vring_broken(ring->vring);
    vring_stop(ring->vring, &ring->base, &ring->base_used);
}

static void hold_rings(struct vhost_backend *backend, unsigned first, unsigned count)
{
    bool live = range_is_live(backend, first, count);
    for (unsigned i = first; i < first + count; i++)
        vring_hold(backend->rings[i].vring);
    if (live)
        backend->events.quiesce(backend->context);
}

static void release_rings(struct vhost_backend *backend, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        vring_release(backend->rings[i].vring);
}

void backend_rings_stop(struct vhost_backend *backend, unsigned first, unsigned count)
{
    bool changed = range_is_live(backend, first, count);
    hold_rings(backend, first, count);
    for (unsigned i = first; i < first + count; i++) {
        struct backend_ring *ring = &backend->rings[i];
        if (ring_live(ring))
            halt_ring(ring);
        ring->kicked = false;
        ring->error = VRING_ERROR_NONE;
        backend_ring_set_kick(backend, i, -1);
    }
    release_rings(backend, first, count);
    if (changed)
        backend_changed(backend);
}

void backend_ring_apply_enabled(struct vhost_backend *backend, unsigned index)
{
    struct backend_ring *ring = &backend->rings[index];
    const struct backend_session *session = &backend->session;
    bool by_message = !session->negotiated || (session->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1);
    bool enabled = ring->enabled || !by_message;
    if (enabled == vring_enabled(ring->vring))
        return;
    vring_set_enabled(ring->vring, enabled);
    if (!ring_live(ring))
        return;
    /* An acknowledged disable means that the ring is not touched any more. */
    if (!enabled)
        backend->events.quiesce(backend->context);
    backend_changed(backend);
}

void backend_ring_set_kick(struct vhost_backend *backend, unsigned index, int fd)
{
    struct backend_ring *ring = &backend->rings[index];
    bool receives = index & 1;
    if (!receives) {
        /* We poll nothing there: buffers are looked for when there is a frame to give. */
        close_fd(&fd);
        return;
    }
    if (ring->kick_fd == fd)
        return;
    backend->events.kick_fd(backend->context, index, fd);
    close_fd(&ring->kick_fd);
    ring->kick_fd = fd;
}

void backend_ring_set_call(struct vhost_backend *backend, unsigned index, int fd)
{
    struct backend_ring *ring = &backend->rings[index];
    if (ring_live(ring)) {
        vring_hold(ring->vring);
        backend->events.quiesce(backend->context);
        vring_set_call(ring->vring, fd);
        vring_release(ring->vring);
    }
    close_fd(&ring->call_fd);
    ring->call_fd = fd;
}

void backend_ring_set_error(struct vhost_backend *backend, unsigned index, int fd)
{
    struct backend_ring *ring = &backend->rings[index];
    close_fd(&ring->error_fd);
    ring->error_fd = fd;
}

/* After hold and quiesce: the ring goes on in the session's (new) table, or is stopped until its areas
 * return. */
static bool move_ring(struct vhost_backend *backend, unsigned index)
{
    struct backend_ring *ring = &backend->rings[index];
    const struct memory_table *memory = backend->session.memory;
    void *desc, *driver, *device;
    if (memory && locate_areas(backend, ring, &desc, &driver, &device) &&
        vring_set_memory(ring->vring, memory, desc, driver, device) == 0)
        return true;
    halt_ring(ring);
    backend_log(backend, LOG_INFO, "ring %u stopped: its memory was removed", index);
    return false;
}

void backend_set_memory(struct vhost_backend *backend, struct memory_table *memory)
{
    struct memory_table *old = backend->session.memory;
    bool changed = false;
    hold_rings(backend, 0, backend->ring_count);
    backend->session.memory = memory;
    for (unsigned i = 0; i < backend->ring_count; i++) {
        if (ring_live(&backend->rings[i]) && !move_ring(backend, i))
            changed = true;
    }
    release_rings(backend, 0, backend->ring_count);
    memory_table_free(old);
    if (changed)
        backend_changed(backend);
}

/* All but the ring itself, whose pointer any thread may read at any time. */
static void reset_ring(struct backend_ring *ring)
{
    ring->size = ring->base = ring->base_used = 0;
    ring->addressed = ring->kicked = ring->enabled = ring->error_told = false;
    ring->error = VRING_ERROR_NONE;
    memset(&ring->address, 0, sizeof(ring->address));
}

void backend_rings_forget(struct vhost_backend *backend)
{
    backend_rings_stop(backend, 0, backend->ring_count);
    for (unsigned i = 0; i < backend->ring_count; i++) {
        struct backend_ring *ring = &backend->rings[i];
        vring_set_enabled(ring->vring, false);
        close_fd(&ring->call_fd);
        close_fd(&ring->error_fd);
        reset_ring(ring);
    }
    backend_set_memory(backend, NULL);
}
