/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each check says what it found, what that means and the way out. `failed` is what keeps weft from working,
 * `warning` costs speed or a feature, `note` is for those who want more. With `fix`, numbers of the kernel
 * that can be raised without harm are raised; what changes the host for others is left to its owner, as a
 * command.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "api_call.h"
#include "doctor.h"
#include "doctor_private.h"
#include "launch.h"
#include "link.h"
#include "pci.h"
#include "steer.h"
#include "uplink_pci.h"

#define HUGEPAGES_DIR    "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGEPAGES_WANTED 512     /* of 2 MiB */
#define HUGEPAGES_LEAST  64      /* for the dataplane's own memory */
#define MEMORY_LEFT_KIB  2097152 /* that is not made hugepages */
#define AIO_WANTED       16384   /* requests: a context for each worker, counted for each CPU */
#define FILES_WANTED     16384   /* descriptors: some thousand ports */
#define UNHEARD          100     /* frames sent to a LAN that never answered */
#define NICS_MAX         32u     /* that are looked at */
#define CALL_MS          1000

void doctor_report(struct doctor *doctor, const char *check, enum doctor_state state, const char *way_out,
                   const char *format, ...)
{
    static const char *const states[] = {"ok", "note", "warning", "failed", "fixed"};
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    json_t *item = json_pack("{s:s, s:s, s:s}", "check", check, "state", states[state], "text", text);
    if (item && way_out)
        json_object_set_new(item, "fix", json_string(way_out));
    json_array_append_new(doctor->items, item);
}

/* The first line of a file of the kernel; "": none. */
static void line_read(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    line[0] = '\0';
    if (!file)
        return;
    if (!fgets(line, (int)size, file))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    fclose(file);
}

/* A number from a file of the kernel; -1: there is none. */
static int64_t number_read(const char *path)
{
    char line[64], *end;
    line_read(path, line, sizeof(line));
    int64_t number = strtoll(line, &end, 10);
    return end == line ? -1 : number;
}

static void number_write(const char *path, int64_t number)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return;
    fprintf(file, "%" PRId64 "\n", number);
    fclose(file);
}

/* KiB; 0: unknown. */
static int64_t memory_available(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    int64_t size = 0;
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, "MemAvailable:", 13) == 0) {
            size = strtoll(line + 13, NULL, 10);
            break;
        }
    }
    if (file)
        fclose(file);
    return size;
}

static void check_hugepages(struct doctor *doctor)
{
    const char *path = HUGEPAGES_DIR "nr_hugepages", *way_out = "sysctl -w vm.nr_hugepages=512";
    int64_t count = number_read(path);
    if (count < 0) {
        doctor_report(doctor, "hugepages", WARNING, "a kernel with CONFIG_HUGETLBFS",
                      "the kernel has no 2 MiB hugepages: the dataplane works on 4 KiB pages, more slowly");
        return;
    }
    bool room = memory_available() > (HUGEPAGES_WANTED - count) * 2048 + MEMORY_LEFT_KIB;
    if (count < HUGEPAGES_LEAST && doctor->fix && room) {
        number_write(path, HUGEPAGES_WANTED);
        int64_t now = number_read(path);
        if (now >= HUGEPAGES_LEAST) {
            doctor_report(doctor, "hugepages", FIXED, NULL,
                          "%" PRId64
                          " of 2 MiB now, until the next boot; the dataplane takes them when it is restarted",
                          now);
            return;
        }
    }
    if (count < HUGEPAGES_LEAST)
        doctor_report(doctor, "hugepages", WARNING, way_out,
                      "%" PRId64 " of 2 MiB: the dataplane works on 4 KiB pages, more slowly%s", count,
                      room ? "" : " (and there is not enough free memory to reserve some)");
    else
        doctor_report(doctor, "hugepages", OK, NULL, "%" PRId64 " of 2 MiB, %" PRId64 " of them free", count,
                      number_read(HUGEPAGES_DIR "free_hugepages"));
}

static void check_cores(struct doctor *doctor)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    char isolated[256];
    line_read("/sys/devices/system/cpu/isolated", isolated, sizeof(isolated));
    if (count < 2)
        doctor_report(doctor, "cores", WARNING, "give this machine a second CPU",
                      "one CPU: the worker that forwards shares it with everything else");
    else if (!isolated[0] || strcmp(isolated, "(null)") == 0)
        doctor_report(doctor, "cores", NOTE, "kernel option isolcpus=N with the CPUs of dataplane.cores",
                      "%ld CPUs, none isolated: other programs may delay a worker for some milliseconds",
                      count);
    else
        doctor_report(doctor, "cores", OK, NULL, "%ld CPUs, isolated: %s", count, isolated);
}

static void check_governor(struct doctor *doctor)
{
    glob_t found = {0};
    char governor[64] = "";
    bool fast = true;
    int error = glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor", 0, NULL, &found);
    for (size_t i = 0; !error && fast && i < found.gl_pathc; i++) {
        line_read(found.gl_pathv[i], governor, sizeof(governor));
        fast = strcmp(governor, "performance") == 0;
    }
    globfree(&found);
    if (error)
        doctor_report(doctor, "governor", OK, NULL,
                      "the frequency of the CPUs is not this kernel's to choose");
    else if (fast)
        doctor_report(doctor, "governor", OK, NULL, "performance");
    else
        doctor_report(doctor, "governor", NOTE, "cpupower frequency-set -g performance",
                      "%s: the CPUs take a while to run at full speed", governor);
}

static void check_aio(struct doctor *doctor)
{
    const char *path = "/proc/sys/fs/aio-max-nr";
    int64_t max = number_read(path), used = number_read("/proc/sys/fs/aio-nr");
    if (max < 0 || used < 0) {
        doctor_report(doctor, "aio", FAILED, "a kernel with CONFIG_AIO",
                      "the kernel has no asynchronous input/output (CONFIG_AIO): workers cannot start");
        return;
    }
    if (max - used < AIO_WANTED && doctor->fix) {
        number_write(path, used + 16 * AIO_WANTED);
        if (number_read(path) - used >= AIO_WANTED) {
            doctor_report(doctor, "aio", FIXED, NULL, "fs.aio-max-nr is %" PRId64 " now, until the next boot",
                          number_read(path));
            return;
        }
    }
    if (max - used < AIO_WANTED)
        doctor_report(doctor, "aio", WARNING, "sysctl -w fs.aio-max-nr=1048576",
                      "%" PRId64 " of %" PRId64
                      " asynchronous requests are taken: workers need some and may not start",
                      used, max);
    else
        doctor_report(doctor, "aio", OK, NULL, "%" PRId64 " of %" PRId64 " asynchronous requests are taken",
                      used, max);
}

static void check_files(struct doctor *doctor)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < FILES_WANTED)
        doctor_report(doctor, "files", WARNING, "ulimit -Hn 65536, or LimitNOFILE=65536 in weftd.service",
                      "%llu descriptors a process at most: enough for about %llu ports",
                      (unsigned long long)limit.rlim_max, (unsigned long long)limit.rlim_max / 8);
    else
        doctor_report(doctor, "files", OK, NULL, "%llu descriptors a process",
                      (unsigned long long)limit.rlim_max);
}

static void check_device(struct doctor *doctor, const char *check, const char *path, enum doctor_state state,
                         const char *way_out, const char *meaning)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int error = errno;
    if (fd < 0) {
        doctor_report(doctor, check, state, way_out, "%s: %s: %s", path, strerror(error), meaning);
        return;
    }
    close(fd);
    doctor_report(doctor, check, OK, NULL, "%s can be used", path);
}

/* Which NICs an uplink could take, and what keeps the others. */
static void check_cards(struct doctor *doctor)
{
    char nics[NICS_MAX][PCI_ADDRESS_SIZE], device[PCI_ADDRESS_SIZE + 4], reason[400];
    unsigned count = pci_nics(&pci_this_host, nics, NICS_MAX);
    for (unsigned i = 0; i < count; i++) {
        struct model_uplink uplink = {.device = device};
        struct pci_facts facts;
        snprintf(device, sizeof(device), "pci:%.12s", nics[i]);
        pci_read(&pci_this_host, nics[i], &facts);
        if (uplink_pci_check(&uplink, reason, sizeof(reason)) < 0)
            doctor_report(doctor, "pci", NOTE, NULL, "%s", reason);
        else
            doctor_report(doctor, "pci", OK, NULL, "%s (driver %s%s%s) can be an uplink: device: \"%s\"",
                          nics[i], facts.driver[0] ? facts.driver : "none",
                          facts.interface_count ? ", interface " : "",
                          facts.interface_count ? facts.interfaces[0] : "", device);
    }
}

static void check_group(struct doctor *doctor)
{
    if (getgrnam(WEFT_GROUP_ADMIN))
        doctor_report(doctor, "group", OK, NULL,
                      "group " WEFT_GROUP_ADMIN " exists; its members may use weft");
    else
        doctor_report(doctor, "group", NOTE, "groupadd --system " WEFT_GROUP_ADMIN,
                      "there is no group " WEFT_GROUP_ADMIN
                      ": only root may use weft, and machines must run as root");
}

static void check_run_dir(struct doctor *doctor)
{
    char parent[128], way_out[200];
    snprintf(parent, sizeof(parent), "%s", doctor->run_dir);
    bool exists = access(doctor->run_dir, F_OK) == 0;
    char *slash = strrchr(parent, '/');
    if (!exists && slash && slash != parent)
        *slash = '\0';
    else if (!exists)
        snprintf(parent, sizeof(parent), "%s", slash ? "/" : ".");
    snprintf(way_out, sizeof(way_out),
             "run weftd as root, or with --run-dir in a directory that it may write");
    if (access(parent, W_OK | X_OK) == 0)
        doctor_report(doctor, "run-dir", OK, NULL, "%s %s", doctor->run_dir,
                      exists ? "can be written" : "will be made");
    else
        doctor_report(doctor, "run-dir", FAILED, way_out, "%s cannot be written: %s", parent,
                      strerror(errno));
}

/* Whether a program without a slash is in PATH. */
static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    char copy[4096], *rest = copy, file[4352];
    snprintf(copy, sizeof(copy), "%s", path ? path : "");
    for (char *directory; (directory = strsep(&rest, ":"));) {
        snprintf(file, sizeof(file), "%s/%s", directory, program);
        if (*directory && access(file, X_OK) == 0)
            return true;
    }
    return false;
}

static const struct dp_port_counters *counters_of(const struct dp_port_counters *list, size_t count,
                                                  uint32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].id == id)
            return &list[i];
    return NULL;
}

/* How the interface is shared; what keeps frames from guests. */
static void check_uplink(struct doctor *doctor, const struct dp_port *port,
                         const struct dp_port_counters *counters)
{
    bool xdp = port->type == DP_PORT_XDP;
    enum steer_mode mode = xdp ? steer_mode(port->ifindex) : STEER_NONE;
    struct link_facts link;
    if (link_read(port->device, &link) < 0)
        doctor_report(doctor, "uplink", WARNING, "make the interface, or take the uplink out of weft.yaml",
                      "%s: interface %s is not there", port->name, port->device);
    else if (link.wireless)
        doctor_report(doctor, "uplink", WARNING, "a wired interface, or a tap port and routing by the host",
                      "%s: %s is Wi-Fi: access points let no other MAC addresses through than the host's",
                      port->name, port->device);
    else if (!link.running)
        doctor_report(doctor, "uplink", WARNING, "ip link set up; check the cable", "%s: %s has no link",
                      port->name, port->device);
    else if (counters && counters->tx_packets > UNHEARD && counters->rx_forwarded == 0)
        doctor_report(
            doctor, "uplink", WARNING,
            "allow the guests' MAC addresses there (port security, promiscuous mode)",
            "%s: %llu frames of guests left by %s and none came for them: the LAN may block unknown MAC "
            "addresses",
            port->name, (unsigned long long)counters->tx_packets, port->device);
    else if (xdp && mode != STEER_NATIVE && mode != STEER_OFFLOADED)
        doctor_report(doctor, "uplink", NOTE, "a driver with native XDP",
                      "%s: XDP on %s is %s: every frame takes the host's slow way first", port->name,
                      port->device, steer_mode_name(mode));
    else if (xdp && link.queues > DP_QUEUES_MAX - 1)
        doctor_report(doctor, "uplink", NOTE, "ethtool -L IF combined 7",
                      "%s: %s has %u receive queues, 7 of them are served by AF_XDP, the others more slowly",
                      port->name, port->device, link.queues);
    else
        doctor_report(doctor, "uplink", OK, NULL, "%s: %s, %s%s, %u queues", port->name, port->device,
                      xdp ? "XDP " : "packet socket", xdp ? steer_mode_name(mode) : "", link.queues);
}

static void check_uplinks(struct doctor *doctor, struct dp_client *client)
{
    void *ports = NULL, *counters = NULL;
    size_t count = 0, counter_count = 0;
    if (dp_client_dump_all(client, DP_KIND_PORT, &ports, &count) == 0 &&
        dp_client_dump_all(client, DP_KIND_PORT_COUNTERS, &counters, &counter_count) == 0) {
        for (size_t i = 0; i < count; i++) {
            const struct dp_port *port = (const struct dp_port *)ports + i;
            if (port->type == DP_PORT_PACKET || port->type == DP_PORT_XDP)
                check_uplink(doctor, port, counters_of(counters, counter_count, port->id));
        }
    }
    free(ports);
    free(counters);
}

static void check_dataplane(struct doctor *doctor)
{
    char program[4200], path[128];
    launch_program(program, sizeof(program));
    if (strchr(program, '/') ? access(program, X_OK) == 0 : in_path(program))
        doctor_report(doctor, "program", OK, NULL, "%.300s", program);
    else
        doctor_report(doctor, "program", FAILED, "install weft-dataplane beside weftd or in PATH",
                      "weft-dataplane is not found: nothing is forwarded");
    snprintf(path, sizeof(path), "%.100s/" WEFT_DATAPLANE_SOCKET, doctor->run_dir);
    struct dp_client *client = dp_client_connect(path, CALL_MS);
    if (client)
        doctor_report(doctor, "dataplane", OK, NULL, "weft-dataplane %d answers",
                      (int)dp_client_hello(client)->pid);
    else if (errno == ENOENT || errno == ECONNREFUSED)
        doctor_report(doctor, "dataplane", NOTE, "start weftd: systemctl start weftd",
                      "weft-dataplane is not running at %s", path);
    else
        doctor_report(doctor, "dataplane", FAILED,
                      errno == EPROTO ? "restart weft-dataplane: it is of another version" : NULL, "%s: %s",
                      path, strerror(errno));
    if (client)
        check_uplinks(doctor, client);
    dp_client_close(client);
}

json_t *doctor_check(bool fix, const char *run_dir, const struct controller *controller)
{
    struct doctor doctor = {json_array(), run_dir, fix, controller};
    check_dataplane(&doctor);
    doctor_network(&doctor);
    doctor_ports(&doctor);
    check_run_dir(&doctor);
    check_hugepages(&doctor);
    check_cores(&doctor);
    check_governor(&doctor);
    check_aio(&doctor);
    check_files(&doctor);
    check_device(&doctor, "tun", "/dev/net/tun", WARNING, "modprobe tun", "ports with tap cannot be made");
    check_device(&doctor, "kvm", "/dev/kvm", NOTE,
                 "modprobe kvm_intel or kvm_amd; in a guest, nested virtualization",
                 "machines run by weft-vmm need it");
    check_cards(&doctor);
    check_group(&doctor);
    return doctor.items;
}

static json_t *doctor_answer(bool fix, const char *run_dir, const struct controller *controller)
{
    return json_pack("{s:s, s:o}", "schema", WEFT_SCHEMA_DOCTOR, "items",
                     doctor_check(fix, run_dir, controller));
}

int doctor_print(bool fix, const char *run_dir)
{
    json_t *answer = doctor_answer(fix, run_dir, NULL), *item;
    size_t index;
    int code = WEFT_OK;
    json_array_foreach (json_object_get(answer, "items"), index, item) {
        if (strcmp(json_string_value(json_object_get(item, "state")), "failed") == 0)
            code = WEFT_FAILED;
    }
    json_dumpf(answer, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(answer);
    return code;
}

void api_doctor(struct api_call *call)
{
    bool fix = api_bool(call, "fix");
    if (fix && !call->admin)
        outcome_fail(&call->outcome, WEFT_NOT_PERMITTED,
                     "not permitted: doctor with fix needs root or membership in group " WEFT_GROUP_ADMIN);
    else
        call->result = doctor_answer(fix, call->controller->options.run_dir, call->controller);
}
