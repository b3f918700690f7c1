/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "switch_process.h"

#define FEATURES                                                                                             \
    (UINT64_C(1) << 32 /* VERSION_1 */ | UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF |                             \
     UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)

#define ARGUMENTS_MAX 16u

static void run_program(const struct switch_process *sw, const char *program, int ready_fd)
{
    char number[16];
    const char *arguments[ARGUMENTS_MAX + 8] = {program, "--run-dir",  sw->run_dir, "--hugepages",
                                                "never", "--ready-fd", number};
    for (unsigned i = 0; sw->arguments && sw->arguments[i] && i < ARGUMENTS_MAX; i++)
        arguments[7 + i] = sw->arguments[i];
    int log = open(sw->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(number, sizeof(number), "%d", ready_fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing running */
    dup2(log, STDERR_FILENO);
    execv(program, (char *const *)(uintptr_t)arguments);
    _exit(127);
}

static void dump_log(const struct switch_process *sw)
{
    char line[1024];
    FILE *file = fopen(sw->log_path, "re");
    while (file && fgets(line, sizeof(line), file))
        print_error("  %s", line);
    if (file)
        fclose(file);
}

void switch_start(struct switch_process *sw, const char *program, bool again)
{
    int ready[2];
    char byte, path[128];
    if (!again) {
        snprintf(sw->run_dir, sizeof(sw->run_dir), "/tmp/weft-switch-test.XXXXXX");
        assert_non_null(mkdtemp(sw->run_dir));
        snprintf(sw->log_path, sizeof(sw->log_path), "%s/log", sw->run_dir);
    }
    assert_return_code(pipe(ready), errno);
    assert_return_code(fcntl(ready[0], F_SETFD, FD_CLOEXEC), errno);
    sw->pid = fork();
    assert_return_code(sw->pid, errno);
    if (sw->pid == 0)
        run_program(sw, program, ready[1]);
    close(ready[1]);
    struct pollfd poll_fd = {.fd = ready[0], .events = POLLIN};
    bool ok = poll(&poll_fd, 1, SWITCH_TIMEOUT_MS) == 1 && read(ready[0], &byte, 1) == 1 && byte == 'R';
    close(ready[0]);
    snprintf(path, sizeof(path), "%s/dataplane.sock", sw->run_dir);
    sw->client = ok ? dp_client_connect(path, SWITCH_TIMEOUT_MS) : NULL;
    if (!sw->client) {
        dump_log(sw);
        fail_msg("%s did not start", program);
    }
}

int switch_end(struct switch_process *sw, int number)
{
    int status;
    if (number == 0)
        assert_int_equal(dp_client_stop(sw->client), 0);
    else
        assert_return_code(kill(sw->pid, number), errno);
    dp_client_close(sw->client);
    sw->client = NULL;
    assert_int_equal(waitpid(sw->pid, &status, 0), sw->pid);
    sw->pid = 0;
    return status;
}

void switch_remove(struct switch_process *sw, const char *expected)
{
    char line[1024], path[128];
    FILE *file = fopen(sw->log_path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (line[0] != '<' || line[1] < '5') /* more urgent than a notice, or not a line of the log at all */
            if (!expected || !strstr(line, expected))
                fail_msg("unexpected in the log: %s", line);
    fclose(file);
    unlink(sw->log_path);
    snprintf(path, sizeof(path), "%s/dataplane.lock", sw->run_dir);
    unlink(path);
    assert_return_code(rmdir(sw->run_dir), errno); /* no socket is left */
}

void switch_put_segment(struct switch_process *sw, uint32_t id, uint32_t tenant)
{
    struct dp_segment segment = {.id = id, .tenant = tenant, .ageing_s = 300};
    snprintf(segment.name, sizeof(segment.name), "t%u/s%u", tenant, id);
    assert_int_equal(dp_client_put(sw->client, DP_KIND_SEGMENT, &segment, NULL, 0), 0);
}

void switch_port_path(const struct switch_process *sw, uint32_t id, char path[108])
{
    snprintf(path, 108, "%s/port%u.sock", sw->run_dir, id);
}

void switch_put_port(struct switch_process *sw, uint32_t id, uint32_t tenant, uint32_t segment, uint32_t mtu)
{
    struct dp_port port = {.id = id,
                           .tenant = tenant,
                           .type = DP_PORT_VHOST_USER,
                           .queues = 1,
                           .mtu = mtu,
                           .socket_group = UINT32_MAX};
    struct dp_member member = {.port = id, .segment = segment};
    snprintf(port.name, sizeof(port.name), "t%u/p%u", tenant, id);
    switch_port_path(sw, id, port.device);
    assert_int_equal(dp_client_put(sw->client, DP_KIND_PORT, &port, NULL, 0), 0);
    if (segment)
        assert_int_equal(dp_client_put(sw->client, DP_KIND_MEMBER, &member, NULL, 0), 0);
}

/* The object of a kind whose id is `id`. */
static void find_object(struct switch_process *sw, enum dp_kind kind, uint32_t id, void *object)
{
    const void *next;
    int status;
    bool found = false;
    assert_int_equal(dp_client_dump(sw->client, kind), 0);
    while ((status = dp_client_next(sw->client, &next)) == 1) {
        uint32_t key;
        memcpy(&key, next, sizeof(key));
        if (key != id)
            continue;
        memcpy(object, next, dp_object_size(kind));
        found = true;
    }
    assert_int_equal(status, 0);
    assert_true(found);
}

struct dp_port_counters switch_counters(struct switch_process *sw, uint32_t port)
{
    struct dp_port_counters counters;
    find_object(sw, DP_KIND_PORT_COUNTERS, port, &counters);
    return counters;
}

bool switch_balanced(struct switch_process *sw, uint32_t port)
{
    struct dp_port_counters counters = switch_counters(sw, port);
    uint64_t rx_drops = 0, tx_drops = 0;
    for (unsigned i = 0; i < DP_DROP_COUNT; i++) {
        rx_drops += counters.rx_drops[i];
        tx_drops += counters.tx_drops[i];
    }
    return counters.rx_packets == counters.rx_forwarded + counters.rx_flooded + rx_drops &&
           counters.tx_offered == counters.tx_packets + tx_drops;
}

struct dp_port_state switch_port_state(struct switch_process *sw, uint32_t port)
{
    struct dp_port_state state;
    find_object(sw, DP_KIND_PORT_STATE, port, &state);
    return state;
}

unsigned switch_descriptors(const struct switch_process *sw)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)sw->pid);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

unsigned switch_mappings(const struct switch_process *sw)
{
    char path[64], line[1024];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)sw->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        count += strstr(line, "memfd:") != NULL; /* a guest's memory */
    fclose(file);
    return count;
}

struct driver_device *switch_guest(const struct switch_process *sw, uint32_t port)
{
    char path[108];
    switch_port_path(sw, port, path);
    const struct driver_config config = {.path = path,
                                         .queue_pairs = 1,
                                         .ring_size = 256,
                                         .buffer_size = 2048,
                                         .features = FEATURES,
                                         .timeout_ms = SWITCH_TIMEOUT_MS};
    struct driver_device *device = driver_open(&config);
    if (!device)
        fail_msg("port %u: %s", port, strerror(errno));
    return device;
}
