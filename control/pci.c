/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A NIC changes hands by its driver_override: the one driver that may bind to it (Documentation/ABI/testing/
 * sysfs-bus-pci). Set to vfio-pci before the kernel's driver is unbound, it lets nothing else have the NIC
 * meanwhile; emptied, the kernel picks the driver as at boot.
 *
 * vfio-pci is the only way: it needs an IOMMU, which is what keeps a NIC (whose rings a fault of ours could
 * spoil) from writing memory that is not the dataplane's. uio_pci_generic and VFIO without IOMMU have no such
 * protection and would take CAP_SYS_ADMIN and CAP_SYS_RAWIO as well. NICs whose DPDK driver works beside the
 * kernel's (mlx4, mlx5) are refused rather than taken from a driver that they need.
 *
 * Unbinding vfio-pci waits for whoever has the NIC open. So it is only done when the group can be opened,
 * which one process at a time can.
 */
#include "pci.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_SIZE       512u
#define CLASS_NETWORK   0x02u
#define ACCESS_PLATFORM 33u

const struct pci_host pci_this_host = {"/sys", "/dev"};

static bool hexadecimal(const char *text, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!isxdigit((unsigned char)text[i]))
            return false;
    return true;
}

bool pci_address(const char *text, char address[PCI_ADDRESS_SIZE])
{
    char full[24];
    size_t length = strlen(text);
    if (length != 12 && length != 7)
        return false;
    snprintf(full, sizeof(full), "%s%s", length == 7 ? "0000:" : "", text);
    if (!hexadecimal(full, 4) || full[4] != ':' || !hexadecimal(full + 5, 2) || full[7] != ':' ||
        !hexadecimal(full + 8, 2) || full[10] != '.' || full[11] < '0' || full[11] > '7' ||
        strtoul(full + 8, NULL, 16) > 0x1f)
        return false;
    for (unsigned i = 0; i < PCI_ADDRESS_SIZE; i++)
        address[i] = (char)tolower((unsigned char)full[i]);
    return true;
}

static void device_path(const struct pci_host *host, const char *address, const char *name,
                        char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/bus/pci/devices/%s/%s", host->sysfs, address, name);
}

static int64_t number_read(const char *path)
{
    char line[64] = "";
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    int64_t number = fgets(line, sizeof(line), file) ? strtoll(line, NULL, 0) : -1;
    fclose(file);
    return number;
}

/* 0 or -errno. An empty text is written as a line. */
static int text_write(const char *path, const char *text)
{
    const char *what = *text ? text : "\n";
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = write(fd, what, strlen(what)) < 0 ? -errno : 0;
    close(fd);
    return error;
}

/* The last part of what the link says; "": there is none. */
static void link_name(const char *path, char *name, size_t size)
{
    char target[PATH_SIZE];
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    target[length > 0 ? length : 0] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(name, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

static void driver_read(const struct pci_host *host, const char *address, char driver[PCI_DRIVER_SIZE])
{
    char path[PATH_SIZE];
    device_path(host, address, "driver", path);
    link_name(path, driver, PCI_DRIVER_SIZE);
}

/* Of the NIC itself, or of the virtio device that it is. */
static void interfaces_read(const struct pci_host *host, const char *address, struct pci_facts *facts)
{
    static const char *const places[] = {"net/*", "virtio*/net/*"};
    char path[PATH_SIZE];
    for (unsigned i = 0; i < 2; i++) {
        glob_t found = {0};
        device_path(host, address, places[i], path);
        int error = glob(path, 0, NULL, &found);
        for (size_t k = 0; !error && k < found.gl_pathc && facts->interface_count < PCI_INTERFACES_MAX; k++)
            snprintf(facts->interfaces[facts->interface_count++], IFNAMSIZ, "%.*s", IFNAMSIZ - 1,
                     strrchr(found.gl_pathv[k], '/') + 1);
        globfree(&found);
    }
}

/* A virtio NIC whose accesses do not pass the IOMMU: VIRTIO_F_ACCESS_PLATFORM (virtio 1.1, 6.1) is not among
 * the features that its driver took, a text of one digit a bit. */
static bool bypasses_iommu(const struct pci_host *host, const char *address)
{
    char path[PATH_SIZE], features[ACCESS_PLATFORM + 2] = "";
    glob_t found = {0};
    device_path(host, address, "virtio*/features", path);
    FILE *file = glob(path, 0, NULL, &found) == 0 ? fopen(found.gl_pathv[0], "re") : NULL;
    bool known = file && fgets(features, sizeof(features), file);
    if (file)
        fclose(file);
    globfree(&found);
    return known && (strlen(features) <= ACCESS_PLATFORM || features[ACCESS_PLATFORM] != '1');
}

/* Whether a device with that driver keeps its IOMMU group from being handed over. */
static bool in_the_way(const char *driver)
{
    return driver[0] && strcmp(driver, PCI_PASSTHROUGH) != 0 && strcmp(driver, "pcieport") != 0 &&
           strcmp(driver, "pci-stub") != 0;
}

static void group_read(const struct pci_host *host, const char *address, struct pci_facts *facts)
{
    char path[PATH_SIZE], name[PCI_DRIVER_SIZE];
    glob_t found = {0};
    device_path(host, address, "iommu_group", path);
    link_name(path, name, sizeof(name));
    facts->group = name[0] ? (int32_t)strtol(name, NULL, 10) : -1;
    device_path(host, address, "iommu_group/devices/*", path);
    int error = glob(path, 0, NULL, &found);
    for (size_t i = 0; !error && i < found.gl_pathc && !facts->neighbour[0]; i++) {
        const char *other = strrchr(found.gl_pathv[i], '/') + 1;
        driver_read(host, other, facts->neighbour_driver);
        if (strcmp(other, address) != 0 && in_the_way(facts->neighbour_driver))
            snprintf(facts->neighbour, sizeof(facts->neighbour), "%.*s", (int)PCI_ADDRESS_SIZE - 1, other);
    }
    globfree(&found);
}

void pci_read(const struct pci_host *host, const char *address, struct pci_facts *facts)
{
    char path[PATH_SIZE];
    memset(facts, 0, sizeof(*facts));
    facts->group = -1;
    device_path(host, address, "class", path);
    int64_t class = number_read(path);
    facts->present = class >= 0;
    if (!facts->present)
        return;
    facts->class = (uint32_t) class;
    snprintf(path, sizeof(path), "%s/bus/pci/drivers/" PCI_PASSTHROUGH, host->sysfs);
    facts->passthrough = access(path, F_OK) == 0;
    driver_read(host, address, facts->driver);
    interfaces_read(host, address, facts);
    facts->bypasses_iommu = bypasses_iommu(host, address);
    group_read(host, address, facts);
}

unsigned pci_nics(const struct pci_host *host, char (*addresses)[PCI_ADDRESS_SIZE], unsigned count)
{
    char path[PATH_SIZE];
    glob_t found = {0};
    unsigned used = 0;
    device_path(host, "*", "class", path);
    int error = glob(path, 0, NULL, &found);
    for (size_t i = 0; !error && i < found.gl_pathc && used < count; i++) {
        if (number_read(found.gl_pathv[i]) >> 16 != CLASS_NETWORK)
            continue;
        *strrchr(found.gl_pathv[i], '/') = '\0';
        used += pci_address(strrchr(found.gl_pathv[i], '/') + 1, addresses[used]);
    }
    globfree(&found);
    return used;
}

int64_t pci_hugepages(const struct pci_host *host)
{
    char path[PATH_SIZE];
    glob_t found = {0};
    int64_t count = 0;
    snprintf(path, sizeof(path), "%s/kernel/mm/hugepages/hugepages-*/nr_hugepages", host->sysfs);
    int error = glob(path, 0, NULL, &found);
    for (size_t i = 0; !error && i < found.gl_pathc; i++)
        count += number_read(found.gl_pathv[i]);
    globfree(&found);
    return count;
}

int pci_usable(const struct pci_facts *facts, const char *address, char *text, size_t size)
{
    if (!facts->present) {
        snprintf(text, size, "%s is no PCI device of this host; lspci -D lists those that are there",
                 address);
        return -ENODEV;
    }
    if (facts->class >> 16 != CLASS_NETWORK) {
        snprintf(text, size, "%s is not a NIC (PCI class 0x%06" PRIx32 ")", address, facts->class);
        return -EINVAL;
    }
    if (strncmp(facts->driver, "mlx", 3) == 0) {
        snprintf(text, size, "%s: NICs of driver %s cannot leave the kernel; use af_xdp:%s", address,
                 facts->driver, facts->interface_count ? facts->interfaces[0] : "IF");
        return -EOPNOTSUPP;
    }
    if (facts->group < 0) {
        snprintf(text, size,
                 "%s cannot be taken without an IOMMU: switch it on in the firmware (VT-d, AMD-Vi) and boot "
                 "with intel_iommu=on or amd_iommu=on",
                 address);
        return -ENXIO;
    }
    if (facts->bypasses_iommu) {
        snprintf(text, size,
                 "%s is a virtio NIC whose accesses pass by the IOMMU: the hypervisor must give it "
                 "iommu_platform=on",
                 address);
        return -ENXIO;
    }
    if (facts->neighbour[0]) {
        snprintf(text, size,
                 "%s shares IOMMU group %" PRId32
                 " with %s, which the host's driver %s has: dpdk-devbind.py -b " PCI_PASSTHROUGH " %s",
                 address, facts->group, facts->neighbour, facts->neighbour_driver, facts->neighbour);
        return -EBUSY;
    }
    if (!facts->passthrough) {
        snprintf(text, size,
                 "%s needs the kernel's module " PCI_PASSTHROUGH ": modprobe " PCI_PASSTHROUGH
                 " (a line " PCI_PASSTHROUGH " in /etc/modules-load.d/weft.conf does it at boot)",
                 address);
        return -ENOENT;
    }
    return 0;
}

/* Lets go of the driver that has it, if any, and looks for one that may have it. */
static int rebind(const struct pci_host *host, const char *address, bool probe)
{
    char path[PATH_SIZE], driver[PCI_DRIVER_SIZE];
    int error = 0;
    driver_read(host, address, driver);
    device_path(host, address, "driver/unbind", path);
    if (driver[0])
        error = text_write(path, address);
    snprintf(path, sizeof(path), "%s/bus/pci/drivers_probe", host->sysfs);
    if (!error && probe)
        error = text_write(path, address);
    return error;
}

int pci_take(const struct pci_host *host, const char *address, char *text, size_t size)
{
    char override[PATH_SIZE], driver[PCI_DRIVER_SIZE];
    device_path(host, address, "driver_override", override);
    int error = text_write(override, PCI_PASSTHROUGH);
    if (!error) {
        error = rebind(host, address, true);
        driver_read(host, address, driver);
        if (!error && strcmp(driver, PCI_PASSTHROUGH) != 0)
            error = -EIO;
        if (error && (text_write(override, "") < 0 || rebind(host, address, true) < 0))
            error = -EIO;
    }
    if (error)
        snprintf(text, size,
                 "%s does not bind to " PCI_PASSTHROUGH ": %s; by hand: dpdk-devbind.py -b " PCI_PASSTHROUGH
                 " %s",
                 address, strerror(-error), address);
    return error;
}

/* Whether nobody has the NIC's group open. */
static bool group_free(const struct pci_host *host, int32_t group)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/vfio/%" PRId32, host->dev, group);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno != EBUSY;
    close(fd);
    return true;
}

/* The next driver is not to be ours, if it was. 0 or -errno. */
static int override_clear(const char *path)
{
    char line[PCI_DRIVER_SIZE] = "";
    FILE *file = fopen(path, "re");
    bool ours = file && fgets(line, sizeof(line), file) &&
                strncmp(line, PCI_PASSTHROUGH, strlen(PCI_PASSTHROUGH)) == 0;
    if (file)
        fclose(file);
    return ours ? text_write(path, "") : 0;
}

int pci_give_back(const struct pci_host *host, const char *address, const char *driver, char *text,
                  size_t size)
{
    char override[PATH_SIZE];
    struct pci_facts facts;
    pci_read(host, address, &facts);
    if (!facts.present)
        return 0;
    device_path(host, address, "driver_override", override);
    if (facts.driver[0] && strcmp(facts.driver, PCI_PASSTHROUGH) != 0)
        return override_clear(override); /* somebody else did it, or it was not taken yet */
    if (!group_free(host, facts.group)) {
        snprintf(text, size, "%s is still open", address);
        return -EBUSY;
    }
    int error = text_write(override, "");
    if (!error)
        error = rebind(host, address, driver[0]);
    if (error)
        snprintf(text, size, "%s does not go back to driver %s: %s", address, driver[0] ? driver : "(none)",
                 strerror(-error));
    return error;
}
