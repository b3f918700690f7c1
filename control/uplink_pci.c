/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A NIC is bound to vfio-pci before the dataplane is told to plug it in, and goes back
 * to the kernel's driver once the dataplane has unplugged it, or has ended with weftd. RUN-DIR/pci/ADDR is
 * written before a NIC is taken, with the name of the driver that had it: whatever is killed in between, the
 * next weftd finds there what it has to give back, and keeps the name if it takes a NIC without a driver. A
 * NIC that was bound to vfio-pci already is its owner's to unbind: there is no such file for it.
 *
 * A NIC that the host uses (its interface has an address, the default route, a bridge above it) is not
 * taken, unless the uplink says take-over: that is how one does not lose the machine one is logged in to. A
 * link-local address is no use: the kernel gives one to every interface that is up.
 *
 * A NIC that is missing, or cannot be taken after a boot, keeps nothing else from working: its port is
 * one without a link until it is there (compile.c).
 */
#include "uplink_pci.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "log.h"
#include "netlink.h"
#include "pci.h"
#include "uplink.h"

#define DIRECTORY "pci"
#define PATH_SIZE 300u

/* What the host does with its interface; "": nothing. */
static void interface_use(const char *name, char *text, size_t size)
{
    struct netlink_link link = {0};
    struct netlink_tables tables = {0};
    struct link_facts facts;
    char address[INET6_ADDRSTRLEN] = "";
    uint64_t again = 0;
    text[0] = '\0';
    snprintf(link.name, sizeof(link.name), "%s", name);
    if (link_read(name, &facts) == 0 && facts.master[0])
        snprintf(text, size, "%s belongs to %s", name, facts.master);
    int error = netlink_read(&link, 1, &tables, &again);
    if (error)
        snprintf(text, size, "netlink does not say what uses %s (%s)", name, strerror(-error));
    for (size_t i = 0; i < tables.address_count && !text[0]; i++) {
        const struct netlink_address *found = &tables.addresses[i];
        if (found->scope != RT_SCOPE_LINK &&
            inet_ntop(found->family == 6 ? AF_INET6 : AF_INET, found->bytes, address, sizeof(address)))
            snprintf(text, size, "%s has address %s", name, address);
    }
    for (size_t i = 0; i < tables.route_count && !text[0]; i++)
        if (tables.routes[i].prefix_length == 0)
            snprintf(text, size, "the default route leaves by %s", name);
    netlink_tables_clear(&tables);
}

int uplink_pci_check(const struct model_uplink *uplink, char *text, size_t size)
{
    const char *address = uplink_argument(uplink->device);
    struct pci_facts facts;
    char use[128] = "";
    pci_read(&pci_this_host, address, &facts);
    int error = pci_usable(&facts, address, text, size);
    if (error)
        return error;
    if (pci_hugepages(&pci_this_host) <= 0) {
        snprintf(text, size, "%s needs hugepages for the dataplane: sysctl -w vm.nr_hugepages=512", address);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < facts.interface_count && !use[0] && !uplink->take_over; i++)
        interface_use(facts.interfaces[i], use, sizeof(use));
    if (!use[0])
        return 0;
    snprintf(text, size,
             "%s is used by the host: %s; the uplink takes the whole NIC (take-over: true: all the same)",
             address, use);
    return -EBUSY;
}

static void note_path(const char *run_dir, const char *address, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/" DIRECTORY "/%s", run_dir, address);
}

/* Which driver had the NIC. 0 or -errno. */
static int note_write(const char *run_dir, const char *address, const char *driver)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/" DIRECTORY, run_dir);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    note_path(run_dir, address, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int error = write(fd, driver, strlen(driver)) < 0 ? -errno : 0;
    close(fd);
    return error;
}

static void note_read(const char *run_dir, const char *address, char driver[PCI_DRIVER_SIZE])
{
    char path[PATH_SIZE];
    note_path(run_dir, address, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length = fd < 0 ? 0 : read(fd, driver, PCI_DRIVER_SIZE - 1);
    driver[length > 0 ? length : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

static int take(const char *run_dir, const char *address, char *text, size_t size)
{
    struct pci_facts facts;
    char path[PATH_SIZE];
    pci_read(&pci_this_host, address, &facts);
    if (strcmp(facts.driver, PCI_PASSTHROUGH) == 0)
        return 0;
    if (!facts.driver[0]) /* killed on the way from one driver to the other, we know from what */
        note_read(run_dir, address, facts.driver);
    int error = note_write(run_dir, address, facts.driver);
    if (error) {
        snprintf(text, size, "%s/" DIRECTORY ": %s", run_dir, strerror(-error));
        return error;
    }
    error = pci_take(&pci_this_host, address, text, size);
    note_path(run_dir, address, path);
    if (error)
        unlink(path);
    else
        log_notice("%s is bound to " PCI_PASSTHROUGH " (was: %s)", address,
                   facts.driver[0] ? facts.driver : "no driver");
    return error;
}

/* The address, if the port's device is a NIC. */
static bool port_card(const struct dp_port *port, char address[PCI_ADDRESS_SIZE])
{
    return port->type == DP_PORT_ETHDEV && pci_address(port->device, address);
}

int uplink_pci_prepare(const char *run_dir, const struct object_set *objects, char *text, size_t size)
{
    const struct object_list *list = &objects->lists[DP_KIND_PORT];
    const struct dp_port *ports = list->items;
    char address[PCI_ADDRESS_SIZE], reason[300];
    int error = 0;
    for (size_t i = 0; i < list->count && !error; i++) {
        if (!port_card(&ports[i], address))
            continue;
        error = take(run_dir, address, reason, sizeof(reason));
        if (error)
            snprintf(text, size, "uplink %s: %s", ports[i].name, reason);
    }
    return error;
}

static bool wanted(const struct object_set *objects, const char *address)
{
    const struct object_list *list = objects ? &objects->lists[DP_KIND_PORT] : NULL;
    const struct dp_port *ports = list ? list->items : NULL;
    char other[PCI_ADDRESS_SIZE];
    for (size_t i = 0; list && i < list->count; i++)
        if (port_card(&ports[i], other) && strcmp(other, address) == 0)
            return true;
    return false;
}

static void give_back(const char *run_dir, const char *address)
{
    char driver[PCI_DRIVER_SIZE], path[PATH_SIZE], text[300] = "";
    note_read(run_dir, address, driver);
    int error = pci_give_back(&pci_this_host, address, driver, text, sizeof(text));
    if (error) {
        log_error("%s", text);
        return; /* the next time */
    }
    log_notice("%s is the host's again (driver %s)", address, driver[0] ? driver : "none");
    note_path(run_dir, address, path);
    unlink(path);
}

void uplink_pci_settle(const char *run_dir, const struct object_set *objects)
{
    char path[PATH_SIZE], address[PCI_ADDRESS_SIZE];
    const struct dirent *entry;
    snprintf(path, sizeof(path), "%s/" DIRECTORY, run_dir);
    DIR *directory = opendir(path);
    while (directory && (entry = readdir(directory)))
        if (pci_address(entry->d_name, address) && !wanted(objects, address))
            give_back(run_dir, address);
    if (directory)
        closedir(directory);
}
