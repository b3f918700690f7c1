/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NICs as sysfs shows them, in a tree of files that stands for it. The kernel's part of binding is
 * not there: what is written is looked at. tests/vm/pci_test.py has a kernel.
 */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "pci.h"

#define NIC "0000:03:00.0"

static char top[] = "/tmp/weft-pci-XXXXXX", sysfs[64], dev[64];
static struct pci_host host = {sysfs, dev};

/* Makes the directories on the way as well. `name` below the tree. */
static const char *path_of(const char *format, ...)
{
    static char path[4][512];
    static unsigned turn;
    char *text = path[turn++ % 4];
    va_list arguments;
    size_t length = (size_t)snprintf(text, sizeof(path[0]), "%s/", top);
    va_start(arguments, format);
    vsnprintf(text + length, sizeof(path[0]) - length, format, arguments);
    va_end(arguments);
    for (char *slash = strchr(text + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(text, 0755);
        *slash = '/';
    }
    return text;
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void expect(const char *path, const char *wanted)
{
    char text[64] = "";
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fgets(text, sizeof(text), file) || !*wanted);
    fclose(file);
    assert_string_equal(text, wanted);
}

static void set_driver(const char *address, const char *driver)
{
    const char *link = path_of("sys/bus/pci/devices/%s/driver", address);
    unlink(link);
    if (!driver)
        return;
    put(path_of("sys/bus/pci/drivers/%s/unbind", driver), "");
    char target[64];
    snprintf(target, sizeof(target), "../../drivers/%s", driver);
    assert_int_equal(symlink(target, link), 0);
}

/* In an IOMMU group, if `group` is not negative. */
static void add_device(const char *address, const char *class, const char *driver, int group)
{
    put(path_of("sys/bus/pci/devices/%s/class", address), class);
    put(path_of("sys/bus/pci/devices/%s/driver_override", address), "");
    set_driver(address, driver);
    if (group < 0)
        return;
    put(path_of("sys/kernel/iommu_groups/%d/devices/%s", group, address), "");
    char target[64];
    snprintf(target, sizeof(target), "../../../../kernel/iommu_groups/%d", group);
    assert_int_equal(symlink(target, path_of("sys/bus/pci/devices/%s/iommu_group", address)), 0);
}

static int setup(void **state)
{
    snprintf(top, sizeof(top), "/tmp/weft-pci-XXXXXX");
    if (!mkdtemp(top))
        return -1;
    snprintf(sysfs, sizeof(sysfs), "%s/sys", top);
    snprintf(dev, sizeof(dev), "%s/dev", top);
    put(path_of("sys/bus/pci/drivers_probe"), "");
    put(path_of("sys/bus/pci/drivers/vfio-pci/unbind"), "");
    put(path_of("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "160\n");
    put(path_of("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"), "2\n");
    put(path_of("dev/vfio/7"), "");
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static int teardown(void **state)
{
    return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_address(void **state)
{
    static const char *const bad[] = {"",        "3:0.0",         "0000:03:00",    "0000:03:20.0", "03:00.8",
                                      "03:0g.0", "00000:03:00.0", "0000.03:00.0",  "03:00.0 ",     "eth0",
                                      "-3:00.0", "0000:03:00.0x", "0x00:03:00.0x", "03-00.0"};
    char address[PCI_ADDRESS_SIZE];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(pci_address(bad[i], address));
    assert_true(pci_address("03:1F.7", address));
    assert_string_equal(address, "0000:03:1f.7");
    assert_true(pci_address("ABCD:ef:00.0", address));
    assert_string_equal(address, "abcd:ef:00.0");
}

static void expect_usable(int error, const char *reason)
{
    struct pci_facts facts;
    char text[400] = "";
    pci_read(&host, NIC, &facts);
    assert_int_equal(pci_usable(&facts, NIC, text, sizeof(text)), error);
    if (!strstr(text, reason))
        fail_msg("%s", text);
}

/* Each thing that is missing, and then not. */
static void test_usable(void **state)
{
    struct pci_facts facts;
    expect_usable(-ENODEV, "is no PCI device of this host");
    add_device(NIC, "0x010601\n", "ahci", -1);
    expect_usable(-EINVAL, "is not a NIC (PCI class 0x010601)");
    put(path_of("sys/bus/pci/devices/" NIC "/class"), "0x020000\n");
    set_driver(NIC, "mlx5_core");
    put(path_of("sys/bus/pci/devices/" NIC "/net/ens3/mtu"), "1500");
    expect_usable(-EOPNOTSUPP, "use af_xdp:ens3");
    set_driver(NIC, "ixgbe");
    expect_usable(-ENXIO, "without an IOMMU");
    remove(path_of("sys/bus/pci/devices/" NIC "/class"));
    add_device(NIC, "0x020000\n", "ixgbe", 7);
    add_device("0000:03:00.1", "0x020000\n", "ixgbe", 7);
    add_device("0000:00:01.0", "0x060400\n", "pcieport", 7);
    expect_usable(-EBUSY, "shares IOMMU group 7 with 0000:03:00.1, which the host's driver ixgbe has");
    set_driver("0000:03:00.1", NULL);
    rename(path_of("sys/bus/pci/drivers/vfio-pci"), path_of("sys/bus/pci/drivers/x"));
    expect_usable(-ENOENT, "modprobe vfio-pci");
    rename(path_of("sys/bus/pci/drivers/x"), path_of("sys/bus/pci/drivers/vfio-pci"));
    expect_usable(0, "");
    put(path_of("sys/bus/pci/devices/" NIC "/virtio2/features"),
        "1110011111111111000001000000100010000000000000000000000000000000\n");
    expect_usable(-ENXIO, "iommu_platform=on");
    put(path_of("sys/bus/pci/devices/" NIC "/virtio2/features"),
        "1110011111111111000001000000100001000000000000000000000000000000\n");
    put(path_of("sys/bus/pci/devices/" NIC "/virtio2/net/eth7/mtu"), "1500");
    expect_usable(0, "");
    pci_read(&host, NIC, &facts);
    assert_int_equal(facts.group, 7);
    assert_string_equal(facts.driver, "ixgbe");
    assert_int_equal(facts.interface_count, 2);
    assert_string_equal(facts.interfaces[0], "ens3");
    assert_string_equal(facts.interfaces[1], "eth7");
    assert_int_equal(pci_hugepages(&host), 162);
}

static void test_cards(void **state)
{
    char nics[4][PCI_ADDRESS_SIZE];
    assert_int_equal(pci_nics(&host, nics, 4), 0);
    add_device("0000:04:00.0", "0x020000\n", NULL, -1);
    add_device("0000:03:00.1", "0x028000\n", NULL, -1);
    add_device("0000:02:00.0", "0x010601\n", NULL, -1);
    assert_int_equal(pci_nics(&host, nics, 4), 2);
    assert_string_equal(nics[0], "0000:03:00.1");
    assert_string_equal(nics[1], "0000:04:00.0");
    assert_int_equal(pci_nics(&host, nics, 1), 1);
}

static void test_take(void **state)
{
    char text[300] = "";
    add_device(NIC, "0x020000\n", "ixgbe", 7);
    /* the kernel does not bind it: as before */
    assert_int_equal(pci_take(&host, NIC, text, sizeof(text)), -EIO);
    assert_non_null(strstr(text, NIC " does not bind to vfio-pci"));
    assert_non_null(strstr(text, "dpdk-devbind.py -b vfio-pci " NIC));
    expect(path_of("sys/bus/pci/drivers/ixgbe/unbind"), NIC);
    expect(path_of("sys/bus/pci/drivers_probe"), NIC);
    char override[16] = "";
    FILE *file = fopen(path_of("sys/bus/pci/devices/" NIC "/driver_override"), "re");
    assert_non_null(file);
    assert_non_null(fgets(override, sizeof(override), file));
    fclose(file);
    assert_int_equal(override[0], '\n'); /* the kernel takes each write as the whole */
    /* nobody may write */
    remove(path_of("sys/bus/pci/devices/" NIC "/driver_override"));
    assert_int_equal(pci_take(&host, NIC, text, sizeof(text)), -ENOENT);
    put(path_of("sys/bus/pci/devices/" NIC "/driver_override"), "");
    /* it does */
    put(path_of("sys/bus/pci/drivers_probe"), "");
    set_driver(NIC, "vfio-pci");
    assert_int_equal(pci_take(&host, NIC, text, sizeof(text)), 0);
    expect(path_of("sys/bus/pci/devices/" NIC "/driver_override"), "vfio-pci");
    expect(path_of("sys/bus/pci/drivers_probe"), NIC);
}

static void test_give_back(void **state)
{
    char text[300] = "";
    assert_int_equal(pci_give_back(&host, NIC, "ixgbe", text, sizeof(text)), 0); /* it is gone */
    add_device(NIC, "0x020000\n", "ixgbe", 7);
    assert_int_equal(pci_give_back(&host, NIC, "ixgbe", text, sizeof(text)), 0); /* somebody did it */
    expect(path_of("sys/bus/pci/drivers/ixgbe/unbind"), "");
    /* killed before the kernel's driver let go */
    put(path_of("sys/bus/pci/devices/" NIC "/driver_override"), "vfio-pci\n");
    assert_int_equal(pci_give_back(&host, NIC, "ixgbe", text, sizeof(text)), 0);
    expect(path_of("sys/bus/pci/devices/" NIC "/driver_override"), "\n");
    expect(path_of("sys/bus/pci/drivers/ixgbe/unbind"), "");
    set_driver(NIC, "vfio-pci");
    assert_int_equal(pci_give_back(&host, NIC, "ixgbe", text, sizeof(text)), 0);
    expect(path_of("sys/bus/pci/devices/" NIC "/driver_override"), "\n");
    expect(path_of("sys/bus/pci/drivers/vfio-pci/unbind"), NIC);
    expect(path_of("sys/bus/pci/drivers_probe"), NIC);
    /* it had no driver: none is looked for */
    put(path_of("sys/bus/pci/drivers_probe"), "");
    assert_int_equal(pci_give_back(&host, NIC, "", text, sizeof(text)), 0);
    expect(path_of("sys/bus/pci/drivers_probe"), "");
    remove(path_of("sys/bus/pci/devices/" NIC "/driver_override"));
    assert_int_equal(pci_give_back(&host, NIC, "ixgbe", text, sizeof(text)), -ENOENT);
    assert_non_null(strstr(text, NIC " does not go back to driver ixgbe"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_usable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_take, setup, teardown),
        cmocka_unit_test_setup_teardown(test_give_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
