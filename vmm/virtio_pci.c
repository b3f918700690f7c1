/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation: the BAR is 32 KiB: common configuration, ISR, device configuration, notification, MSI-X table,
 * pending bits, each in a page of its own. Each queue has two eventfds for the device's whole life. The kick side is
 * bound to the guest's stores with ioeventfd whenever the BAR is decoded (where KVM cannot do that, the store comes
 * here and we signal). The call side is bound to the queue's MSI-X vector whenever that vector can be delivered;
 * without MSI-X the loop watches it and raises INTx. A masked vector leaves it unbound and counting: see msix.h.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <poll.h>
#include <unistd.h>
#include "log.h"
#include "virtio.h"

enum {
    COMMON = 0x0000,
    ISR = 0x1000,
    DEVICE = 0x2000,
    NOTIFY = 0x3000,
    TABLE = 0x4000,
    PENDING = 0x5000,
    BAR_SIZE = 0x8000,
    PAGE = 0x1000,
    NOTIFY_MULTIPLIER = 4,
};
#define PCI_VENDOR_VIRTIO 0x1af4
#define PCI_DEVICE_VIRTIO 0x1040
#define ISR_QUEUE         1u
#define ISR_CONFIG        2u

static const struct pci_ops pci_ops;

static struct virtio *virtio_of(struct pci_device *device)
{
    return (struct virtio *)device;
}

static void signal_eventfd(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: it is signalled anyway */
}

static bool drain_eventfd(int fd)
{
    uint64_t count;
    return read(fd, &count, sizeof(count)) == sizeof(count);
}

/* Interrupts */

static void bind_call(struct virtio *virtio, struct virtio_queue *queue)
{
    struct msix *msix = &virtio->msix;
    unsigned vector = queue->state.vector;
    bool want = msix_deliverable(msix, vector);
    if (queue->bound && (!want || queue->bound_gsi != msix->gsi + vector)) {
        irq_bind(msix->irq, queue->call_fd, queue->bound_gsi, false);
        queue->bound = false;
    }
    if (!want)
        return;
    int error = msix_route(msix, vector);
    if (!error && !queue->bound)
        error = irq_bind(msix->irq, queue->call_fd, msix->gsi + vector, true);
    if (error) {
        log_guest("%s: vector %u: %s", virtio->name, vector, strerror(-error));
        return;
    }
    queue->bound = true;
    queue->bound_gsi = msix->gsi + vector;
}

static void intx_event(void *context, uint32_t events)
{
    (void)events;
    struct virtio *virtio = context;
    if (drain_eventfd(virtio->config_change.call_fd))
        virtio->state.isr |= ISR_CONFIG;
    for (unsigned i = 0; i < virtio->queue_count; i++)
        if (drain_eventfd(virtio->queues[i].call_fd))
            virtio->state.isr |= ISR_QUEUE;
    if (virtio->state.isr)
        pci_set_intx(virtio->bus, &virtio->pci, true);
}

/* Without MSI-X, a started device's calls come to the loop. */
static void watch_intx(struct virtio *virtio)
{
    bool want = virtio->started && !msix_enabled(&virtio->msix);
    if (want == virtio->intx_watched)
        return;
    virtio->intx_watched = want;
    for (unsigned i = 0; i <= virtio->queue_count; i++) {
        struct virtio_queue *queue = i < virtio->queue_count ? &virtio->queues[i] : &virtio->config_change;
        if (want)
            loop_add(virtio->loop, queue->call_fd, EPOLLIN, intx_event, virtio);
        else
            loop_remove(virtio->loop, queue->call_fd);
    }
    if (!want)
        pci_set_intx(virtio->bus, &virtio->pci, false);
}

static void update_interrupts(struct virtio *virtio)
{
    for (unsigned i = 0; i < virtio->queue_count; i++)
        bind_call(virtio, &virtio->queues[i]);
    bind_call(virtio, &virtio->config_change);
    watch_intx(virtio);
}

static uint64_t pending_bits(const struct virtio *virtio)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i <= virtio->queue_count; i++) {
        const struct virtio_queue *queue = i < virtio->queue_count ? &virtio->queues[i] : &virtio->config_change;
        struct pollfd state = {.fd = queue->call_fd, .events = POLLIN};
        if (!queue->bound && queue->state.vector < virtio->msix.count && poll(&state, 1, 0) == 1)
            bits |= 1ull << queue->state.vector;
    }
    return bits;
}

void virtio_config_changed(struct virtio *virtio)
{
    virtio->state.generation++;
    if (virtio->state.status & VIRTIO_CONFIG_S_DRIVER_OK)
        signal_eventfd(virtio->config_change.call_fd);
}

void virtio_needs_reset(struct virtio *virtio, const char *reason)
{
    if (virtio->state.status & VIRTIO_CONFIG_S_NEEDS_RESET)
        return;
    log_guest("%s: %s; waiting for a reset by the driver", virtio->name, reason);
    virtio->state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    virtio_config_changed(virtio);
}

/* Life of the device */

static void reset_state(struct virtio *virtio)
{
    virtio->state = (struct virtio_state){.config_vector = MSIX_NO_VECTOR, .generation = virtio->state.generation};
    virtio->config_change.state.vector = MSIX_NO_VECTOR;
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        struct virtio_queue *queue = &virtio->queues[i];
        queue->state = (struct virtio_queue_state){.size = queue->size_max, .vector = MSIX_NO_VECTOR};
        drain_eventfd(queue->kick_fd);
        drain_eventfd(queue->call_fd);
    }
    update_interrupts(virtio);
    pci_set_intx(virtio->bus, &virtio->pci, false);
}

void virtio_stopped(struct virtio *virtio)
{
    virtio->stopping = false;
    virtio->started = false;
    reset_state(virtio);
}

static void stop(struct virtio *virtio)
{
    if (virtio->stopping)
        return;
    virtio->stopping = true;
    if (!virtio->started || virtio->ops->stop(virtio))
        virtio_stopped(virtio);
}

void virtio_machine_reset(struct virtio *virtio)
{
    stop(virtio);
    msix_reset(&virtio->msix);
    update_interrupts(virtio);
    pci_device_reset(virtio->bus, &virtio->pci);
}

/* A ring part wholly in RAM, aligned (2.7). */
static bool ring_part_valid(const struct virtio *virtio, uint64_t address, uint64_t size, uint64_t alignment)
{
    return address % alignment == 0 && ram_at(virtio->ram, address, size) != NULL;
}

static bool queues_valid(const struct virtio *virtio)
{
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        const struct virtio_queue_state *queue = &virtio->queues[i].state;
        if (!queue->enabled)
            continue;
        if (!ring_part_valid(virtio, queue->desc, 16ull * queue->size, 16) ||
            !ring_part_valid(virtio, queue->driver, 6 + 2ull * queue->size, 2) ||
            !ring_part_valid(virtio, queue->device, 6 + 8ull * queue->size, 4))
            return false;
    }
    return true;
}

static void write_status(struct virtio *virtio, uint8_t status)
{
    struct virtio_state *state = &virtio->state;
    if (status == 0) {
        stop(virtio);
        return;
    }
    if (virtio->stopping)
        return;
    uint8_t kept = state->status & (VIRTIO_CONFIG_S_NEEDS_RESET | VIRTIO_CONFIG_S_DRIVER_OK);
    if (status & VIRTIO_CONFIG_S_FEATURES_OK && !(state->status & VIRTIO_CONFIG_S_FEATURES_OK) &&
        (state->features & ~virtio->features_offered || !virtio_has(virtio, VIRTIO_F_VERSION_1)))
        status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
    bool start = status & VIRTIO_CONFIG_S_DRIVER_OK && !(state->status & VIRTIO_CONFIG_S_DRIVER_OK);
    state->status = status | kept;
    if (!start)
        return;
    if (!(status & VIRTIO_CONFIG_S_FEATURES_OK) || !queues_valid(virtio)) {
        virtio_needs_reset(virtio, "driver's queues or features are not usable");
        return;
    }
    virtio->started = true;
    watch_intx(virtio);
    virtio->ops->start(virtio);
}

/* Common configuration structure, 4.1.4.3. Fields are accessed with their own width; 64-bit ones also by halves. */

static struct virtio_queue *selected(struct virtio *virtio)
{
    return virtio->state.queue_select < virtio->queue_count ? &virtio->queues[virtio->state.queue_select] : NULL;
}

static uint64_t features_window(uint64_t features, uint32_t select)
{
    return select == 0 ? (uint32_t)features : select == 1 ? features >> 32 : 0;
}

static uint64_t queue_read(const struct virtio *virtio, const struct virtio_queue *queue, uint32_t offset)
{
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return queue->state.size;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        return queue->state.vector;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return queue->state.enabled;
    case VIRTIO_PCI_COMMON_Q_NOFF:
        return (uint64_t)(queue - virtio->queues);
    case VIRTIO_PCI_COMMON_Q_DESCLO:
        return queue->state.desc;
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        return queue->state.desc >> 32;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
        return queue->state.driver;
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        return queue->state.driver >> 32;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
        return queue->state.device;
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        return queue->state.device >> 32;
    default:
        return 0;
    }
}

static uint64_t common_read(struct virtio *virtio, uint32_t offset)
{
    const struct virtio_state *state = &virtio->state;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        return state->device_feature_select;
    case VIRTIO_PCI_COMMON_DF:
        return features_window(virtio->features_offered, state->device_feature_select);
    case VIRTIO_PCI_COMMON_GFSELECT:
        return state->driver_feature_select;
    case VIRTIO_PCI_COMMON_GF:
        return features_window(state->features, state->driver_feature_select);
    case VIRTIO_PCI_COMMON_MSIX:
        return state->config_vector;
    case VIRTIO_PCI_COMMON_NUMQ:
        return virtio->queue_count;
    case VIRTIO_PCI_COMMON_STATUS:
        return state->status;
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return state->generation;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        return state->queue_select;
    default: {
        const struct virtio_queue *queue = selected(virtio);
        return queue ? queue_read(virtio, queue, offset) : 0;
    }
    }
}

static void set_half(uint64_t *field, uint64_t value, unsigned size, bool high)
{
    if (size == 8 && !high)
        *field = value;
    else if (high)
        *field = (*field & UINT32_MAX) | value << 32;
    else
        *field = (*field & ~(uint64_t)UINT32_MAX) | (uint32_t)value;
}

static void queue_write(struct virtio *virtio, struct virtio_queue *queue, uint32_t offset, uint64_t value,
                        unsigned size)
{
    struct virtio_queue_state *state = &queue->state;
    if (offset == VIRTIO_PCI_COMMON_Q_MSIX) {
        state->vector = value < virtio->msix.count ? (uint16_t)value : MSIX_NO_VECTOR;
        bind_call(virtio, queue);
        return;
    }
    if (state->enabled) /* a ring in use does not move (4.1.4.3.2) */
        return;
    switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        if (value && value <= queue->size_max && (value & (value - 1)) == 0)
            state->size = (uint16_t)value;
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        state->enabled = value == 1;
        break;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        set_half(&state->desc, value, size, offset == VIRTIO_PCI_COMMON_Q_DESCHI);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        set_half(&state->driver, value, size, offset == VIRTIO_PCI_COMMON_Q_AVAILHI);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        set_half(&state->device, value, size, offset == VIRTIO_PCI_COMMON_Q_USEDHI);
        break;
    default:
        break;
    }
}

static void common_write(struct virtio *virtio, uint32_t offset, uint64_t value, unsigned size)
{
    struct virtio_state *state = &virtio->state;
    switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        state->device_feature_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        state->driver_feature_select = (uint32_t)value;
        break;
    case VIRTIO_PCI_COMMON_GF:
        if (state->driver_feature_select < 2 && !(state->status & VIRTIO_CONFIG_S_FEATURES_OK))
            set_half(&state->features, value, 4, state->driver_feature_select == 1);
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        state->config_vector = value < virtio->msix.count ? (uint16_t)value : MSIX_NO_VECTOR;
        virtio->config_change.state.vector = state->config_vector;
        bind_call(virtio, &virtio->config_change);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        write_status(virtio, (uint8_t)value);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        state->queue_select = (uint16_t)value;
        break;
    default:
        if (selected(virtio))
            queue_write(virtio, selected(virtio), offset, value, size);
    }
}

/* The BAR */

static uint64_t device_config_read(const struct virtio *virtio, uint32_t offset, unsigned size)
{
    uint64_t value = 0;
    if (offset < virtio->config_size)
        memcpy(&value, virtio->config + offset,
               size < virtio->config_size - offset ? size : virtio->config_size - offset);
    return value;
}

static void device_config_write(struct virtio *virtio, uint32_t offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size && offset + i < virtio->config_size; i++) {
        uint8_t mask = virtio->config_writable[offset + i];
        virtio->config[offset + i] =
            (uint8_t)((virtio->config[offset + i] & ~mask) | ((uint8_t)(value >> 8 * i) & mask));
    }
    if (virtio->ops->config_written)
        virtio->ops->config_written(virtio, offset, size);
}

static uint64_t bar_read(struct pci_device *device, uint32_t offset, unsigned size)
{
    struct virtio *virtio = virtio_of(device);
    uint32_t at = offset % PAGE;
    uint64_t mask = size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
    switch (offset - at) {
    case COMMON:
        return common_read(virtio, at) & mask;
    case ISR: {
        uint8_t isr = at == 0 ? virtio->state.isr : 0;
        if (at == 0) {
            virtio->state.isr = 0;
            pci_set_intx(virtio->bus, device, false);
        }
        return isr;
    }
    case DEVICE:
        return device_config_read(virtio, at, size);
    case TABLE:
        if (size == 8)
            return msix_table_read(&virtio->msix, at) | (uint64_t)msix_table_read(&virtio->msix, at + 4) << 32;
        return msix_table_read(&virtio->msix, at) >> 8 * (at % 4) & mask;
    case PENDING:
        return at < 8 ? pending_bits(virtio) >> 8 * at & mask : 0;
    default:
        return 0;
    }
}

static void bar_write(struct pci_device *device, uint32_t offset, uint64_t value, unsigned size)
{
    struct virtio *virtio = virtio_of(device);
    uint32_t at = offset % PAGE;
    switch (offset - at) {
    case COMMON:
        common_write(virtio, at, value, size);
        break;
    case DEVICE:
        device_config_write(virtio, at, value, size);
        break;
    case NOTIFY: /* where KVM has no ioeventfd, or for a width that it does not match */
        if (at / NOTIFY_MULTIPLIER < virtio->queue_count)
            signal_eventfd(virtio->queues[at / NOTIFY_MULTIPLIER].kick_fd);
        break;
    case TABLE: {
        bool changed = size >= 4 && msix_table_write(&virtio->msix, at, (uint32_t)value);
        if (size == 8 && msix_table_write(&virtio->msix, at + 4, (uint32_t)(value >> 32)))
            changed = true;
        if (changed)
            update_interrupts(virtio);
        break;
    }
    default:
        break;
    }
}

static void bar_moved(struct pci_device *device, uint32_t previous)
{
    struct virtio *virtio = virtio_of(device);
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        uint32_t offset = NOTIFY + i * NOTIFY_MULTIPLIER;
        if (previous)
            irq_doorbell(virtio->bus->irq, previous + offset, virtio->queues[i].kick_fd, false);
        if (device->bar_address)
            irq_doorbell(virtio->bus->irq, device->bar_address + offset, virtio->queues[i].kick_fd, true);
    }
}

/* VIRTIO_PCI_CAP_PCI_CFG (4.1.4.9): the BAR through configuration space. */
static void window_access(struct virtio *virtio, uint32_t offset, unsigned size, bool write)
{
    uint8_t *config = virtio->pci.config;
    uint32_t data = virtio->cfg_capability + 16u, at, width;
    if (offset + size <= data || offset >= data + 4)
        return;
    memcpy(&at, config + virtio->cfg_capability + 8, 4);
    memcpy(&width, config + virtio->cfg_capability + 12, 4);
    if ((width != 1 && width != 2 && width != 4) || config[virtio->cfg_capability + 4] != 0 || at % width ||
        at > BAR_SIZE - width)
        return;
    uint32_t value = 0;
    if (write) {
        memcpy(&value, config + data, width);
        bar_write(&virtio->pci, at, value, width);
    } else {
        value = (uint32_t)bar_read(&virtio->pci, at, width);
        memcpy(config + data, &value, width);
    }
}

static void config_reading(struct pci_device *device, uint32_t offset, unsigned size)
{
    window_access(virtio_of(device), offset, size, false);
}

static void config_written(struct pci_device *device, uint32_t offset, unsigned size)
{
    struct virtio *virtio = virtio_of(device);
    window_access(virtio, offset, size, true);
    if (offset <= virtio->msix.capability + 3u && offset + size > virtio->msix.capability + 2u)
        update_interrupts(virtio);
}

static const struct pci_ops pci_ops = {.bar_read = bar_read,
                                       .bar_write = bar_write,
                                       .config_reading = config_reading,
                                       .config_written = config_written,
                                       .bar_moved = bar_moved};

/* Making one */

static uint8_t add_virtio_capability(struct virtio *virtio, uint8_t type, uint8_t size, uint32_t offset,
                                     uint32_t length)
{
    uint8_t at = pci_add_capability(&virtio->pci, PCI_CAP_ID_VNDR, size);
    uint8_t *config = virtio->pci.config + at;
    config[2] = size;
    config[3] = type;
    memcpy(config + 8, &offset, 4);
    memcpy(config + 12, &length, 4);
    return at;
}

static int add_capabilities(struct virtio *virtio)
{
    add_virtio_capability(virtio, VIRTIO_PCI_CAP_COMMON_CFG, 16, COMMON, VIRTIO_PCI_COMMON_Q_USEDHI + 4);
    add_virtio_capability(virtio, VIRTIO_PCI_CAP_ISR_CFG, 16, ISR, 1);
    add_virtio_capability(virtio, VIRTIO_PCI_CAP_DEVICE_CFG, 16, DEVICE, PAGE);
    uint8_t notify = add_virtio_capability(virtio, VIRTIO_PCI_CAP_NOTIFY_CFG, 20, NOTIFY,
                                           virtio->queue_count * NOTIFY_MULTIPLIER);
    virtio->pci.config[notify + 16] = NOTIFY_MULTIPLIER;
    virtio->cfg_capability = add_virtio_capability(virtio, VIRTIO_PCI_CAP_PCI_CFG, 20, 0, 0);
    uint8_t *writable = virtio->pci.writable + virtio->cfg_capability;
    writable[4] = 0xff;
    memset(writable + 8, 0xff, 12);
    return msix_init(&virtio->msix, &virtio->pci, virtio->bus->irq, virtio->queue_count + 1, TABLE, PENDING);
}

static int make_eventfds(struct virtio *virtio, uint16_t queue_size)
{
    virtio->config_change.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (virtio->config_change.call_fd < 0)
        return -errno;
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        struct virtio_queue *queue = &virtio->queues[i];
        queue->size_max = queue_size;
        queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->kick_fd < 0 || queue->call_fd < 0)
            return -errno;
    }
    return 0;
}

int virtio_init(struct virtio *virtio, const struct virtio_host *host, const struct virtio_ops *ops, unsigned index,
                unsigned queue_count, uint16_t queue_size)
{
    virtio->ops = ops;
    virtio->bus = host->bus;
    virtio->loop = host->loop;
    virtio->ram = host->ram;
    virtio->queue_count = queue_count;
    virtio->features_offered |= 1ull << VIRTIO_F_VERSION_1;
    snprintf(virtio->name, sizeof(virtio->name), "%s%u", ops->name, index);
    pci_device_init(&virtio->pci, &pci_ops, PCI_VENDOR_VIRTIO, (uint16_t)(PCI_DEVICE_VIRTIO + ops->type),
                    ops->pci_class, BAR_SIZE);
    memcpy(virtio->pci.config + PCI_SUBSYSTEM_VENDOR_ID, (uint16_t[]){PCI_VENDOR_VIRTIO, 0x1100}, 4);
    int error = make_eventfds(virtio, queue_size);
    if (!error)
        error = add_capabilities(virtio);
    if (!error) {
        reset_state(virtio);
        error = pci_bus_add(virtio->bus, &virtio->pci);
    }
    return error;
}

void virtio_free(struct virtio *virtio)
{
    for (unsigned i = 0; i < virtio->queue_count; i++) {
        close(virtio->queues[i].kick_fd);
        close(virtio->queues[i].call_fd);
    }
    close(virtio->config_change.call_fd);
}
