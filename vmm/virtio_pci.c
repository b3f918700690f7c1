/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registers of virtio over PCI. The BAR is 32 KiB: common configuration, ISR, device configuration,
 * notification, MSI-X table, pending bits, each in a page of its own. Kicks are bound to the guest's stores
 * with ioeventfd whenever the BAR is decoded (where KVM cannot do that, the store comes here and we signal).
 */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include "virtio.h"
#include "virtio_pci.h"

enum {
    COMMON = 0x0000,
    ISR = 0x1000,
    DEVICE = 0x2000,
    NOTIFY = 0x3000,
    TABLE = 0x4000,
    PENDING = 0x5000,
    PAGE = 0x1000,
    NOTIFY_MULTIPLIER = 4,
};

static struct virtio *virtio_of(struct pci_device *device)
{
    return (struct virtio *)device;
}

/* Common configuration structure, 4.1.4.3. Fields are accessed with their own width; 64-bit ones also by
 * halves. */

static struct virtio_queue *selected(struct virtio *virtio)
{
    return virtio->state.queue_select < virtio->queue_count ? &virtio->queues[virtio->state.queue_select]
                                                            : NULL;
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
        virtio_bind_call(virtio, queue);
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
        virtio_bind_call(virtio, &virtio->config_change);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        virtio_write_status(virtio, (uint8_t)value);
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
            return msix_table_read(&virtio->msix, at) | (uint64_t)msix_table_read(&virtio->msix, at + 4)
                                                            << 32;
        return msix_table_read(&virtio->msix, at) >> 8 * (at % 4) & mask;
    case PENDING:
        return at < 8 ? virtio_pending_bits(virtio) >> 8 * at & mask : 0;
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
            virtio_signal(virtio->queues[at / NOTIFY_MULTIPLIER].kick_fd);
        break;
    case TABLE: {
        bool changed = size >= 4 && msix_table_write(&virtio->msix, at, (uint32_t)value);
        if (size == 8 && msix_table_write(&virtio->msix, at + 4, (uint32_t)(value >> 32)))
            changed = true;
        if (changed)
            virtio_update_interrupts(virtio);
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
        at > VIRTIO_PCI_BAR_SIZE - width)
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
        virtio_update_interrupts(virtio);
}

const struct pci_ops virtio_pci_ops = {.bar_read = bar_read,
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

int virtio_pci_init(struct virtio *virtio)
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
