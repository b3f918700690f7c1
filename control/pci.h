/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * PCI NICs of this host, as sysfs shows them, and handing one from the kernel's driver to vfio-pci
 * and back. What a NIC needs for that is said by pci_usable(); whether the host can do without it is not
 * looked at here (uplink_pci.h).
 *
 * Threads: weftd has one. Reads and writes files of the kernel; nothing is kept.
 */
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_ADDRESS_SIZE   13u /* 0000:03:00.0 */
#define PCI_DRIVER_SIZE    32u
#define PCI_INTERFACES_MAX 4u
#define PCI_PASSTHROUGH    "vfio-pci"

/* Where the kernel's files are: "/sys" and "/dev" but in tests. */
struct pci_host {
    const char *sysfs, *dev;
};
extern const struct pci_host pci_this_host;

struct pci_facts {
    bool present;
    bool passthrough;             /* vfio-pci is loaded */
    bool bypasses_iommu;          /* virtio without iommu_platform */
    uint32_t class;               /* 0x02ssii: network controller (PCI Code and ID Assignment) */
    int32_t group;                /* of the IOMMU; -1: none, no IOMMU is in use */
    char driver[PCI_DRIVER_SIZE]; /* that it is bound to; "": none */
    unsigned interface_count;
    char interfaces[PCI_INTERFACES_MAX][IFNAMSIZ]; /* of the kernel's driver, in this network namespace */
    char neighbour[PCI_ADDRESS_SIZE]; /* device of the same group that the host's kernel drives; "": none */
    char neighbour_driver[PCI_DRIVER_SIZE];
};

/* 0000:03:00.0 or 03:00.0; `address` is the full form, in lower case. */
bool pci_address(const char *text, char address[PCI_ADDRESS_SIZE]);
void pci_read(const struct pci_host *host, const char *address, struct pci_facts *facts);
/* Addresses of NICs, sorted; how many, at most `count`. */
unsigned pci_nics(const struct pci_host *host, char (*addresses)[PCI_ADDRESS_SIZE], unsigned count);
/* 2 MiB or larger pages that are reserved. */
int64_t pci_hugepages(const struct pci_host *host);
/* Whether the NIC can be taken. 0, or -errno with what is missing and the way out in `text`. */
int pci_usable(const struct pci_facts *facts, const char *address, char *text, size_t size);
/* Binds it to vfio-pci; after an error it is as before. 0 or -errno with the reason. */
int pci_take(const struct pci_host *host, const char *address, char *text, size_t size);
/* Lets the kernel's drivers have it again if one had it before (`driver`; "": none did). 0; -EBUSY: somebody
 * still has it open; -errno. The reason in `text`. */
int pci_give_back(const struct pci_host *host, const char *address, const char *driver, char *text,
                  size_t size);
