/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "irq.h"
#include "layout.h"

#define PIN_ROUTES 40u /* 16 of the two 8259s, 24 of the I/O APIC */

static struct kvm_irq_routing_entry *add_route(struct irq *irq, unsigned gsi, unsigned type)
{
    struct kvm_irq_routing_entry *entry = &irq->routes->entries[irq->routes->nr++];
    memset(entry, 0, sizeof(*entry));
    entry->gsi = gsi;
    entry->type = type;
    return entry;
}

int irq_init(struct irq *irq, int vm_fd)
{
    memset(irq, 0, sizeof(*irq));
    irq->vm_fd = vm_fd;
    irq->routes =
        calloc(1, sizeof(*irq->routes) + (PIN_ROUTES + IRQ_MSI_MAX) * sizeof(irq->routes->entries[0]));
    if (!irq->routes)
        return -ENOMEM;
    for (unsigned pin = 0; pin < LAYOUT_GSI_MSI; pin++) {
        struct kvm_irq_routing_entry *entry = add_route(irq, pin, KVM_IRQ_ROUTING_IRQCHIP);
        entry->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
        entry->u.irqchip.pin = pin == 0 ? 2 : pin; /* the timer is wired to pin 2 */
        if (pin < 16) {
            entry = add_route(irq, pin, KVM_IRQ_ROUTING_IRQCHIP);
            entry->u.irqchip.irqchip = pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
            entry->u.irqchip.pin = pin % 8;
        }
    }
    return 0;
}

void irq_free(struct irq *irq)
{
    free(irq->routes);
    irq->routes = NULL;
}

void irq_line(struct irq *irq, unsigned gsi, bool high)
{
    if (!!(irq->lines_high & 1u << gsi) == high)
        return;
    irq->lines_high ^= 1u << gsi;
    struct kvm_irq_level level = {.irq = gsi, .level = high};
    if (irq->vm_fd >= 0)
        ioctl(irq->vm_fd, KVM_IRQ_LINE, &level);
}

int irq_msi_reserve(struct irq *irq, unsigned count)
{
    if (count > IRQ_MSI_MAX - irq->msi_count)
        return -ENOSPC;
    unsigned first = LAYOUT_GSI_MSI + irq->msi_count;
    irq->msi_count += count;
    return (int)first;
}

int irq_msi_route(struct irq *irq, unsigned gsi, uint64_t address, uint32_t data)
{
    struct kvm_irq_routing_entry *entry = NULL;
    for (unsigned i = 0; i < irq->routes->nr; i++)
        if (irq->routes->entries[i].gsi == gsi)
            entry = &irq->routes->entries[i];
    if (!entry)
        entry = add_route(irq, gsi, KVM_IRQ_ROUTING_MSI);
    else if (entry->u.msi.address_lo == (uint32_t)address && entry->u.msi.address_hi == address >> 32 &&
             entry->u.msi.data == data)
        return 0;
    entry->u.msi.address_lo = (uint32_t)address;
    entry->u.msi.address_hi = (uint32_t)(address >> 32);
    entry->u.msi.data = data;
    if (irq->vm_fd < 0)
        return 0;
    return ioctl(irq->vm_fd, KVM_SET_GSI_ROUTING, irq->routes) ? -errno : 0;
}

int irq_bind(struct irq *irq, int eventfd, unsigned gsi, bool bound)
{
    struct kvm_irqfd request = {
        .fd = (uint32_t)eventfd, .gsi = gsi, .flags = bound ? 0 : KVM_IRQFD_FLAG_DEASSIGN};
    if (irq->vm_fd < 0)
        return 0;
    return ioctl(irq->vm_fd, KVM_IRQFD, &request) ? -errno : 0;
}

int irq_doorbell(struct irq *irq, uint64_t address, int eventfd, bool bound)
{
    struct kvm_ioeventfd request = {
        .addr = address, .fd = eventfd, .flags = bound ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN};
    if (irq->vm_fd < 0)
        return 0;
    return ioctl(irq->vm_fd, KVM_IOEVENTFD, &request) ? -errno : 0;
}
