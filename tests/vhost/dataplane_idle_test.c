/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A weft-dataplane with 16 connected guests that say nothing, in one segment: its worker sleeps, does nothing
 * until a guest kicks it, and every first frame after the silence wakes it and arrives.
 *
 * What it costs and how long the first frame takes is printed, not judged: other load on the machine decides
 * it as well (perf/ measures it). Judged is what no load changes. A lost wake-up: the frame does not arrive,
 * ever. Polling or a timed sleep in place of a kick: the worker's rounds rise in the silence. A frame that
 * something else than the kick brought: no sleep ended for it. A sleeper that is not urgent.
 *
 * The program's path is the first argument.
 */
#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "switch_process.h"

#define GUESTS     16u
#define FRAME_SIZE 64u
#define IDLE_S     20u
#define SPIN       0.1 /* of a processor: a thread that spins takes it whole, the idle process 1/1000 */
#define FRAMES     300u

static const char *program;
static struct switch_process sw;
static struct driver_device *guests[GUESTS + 1];

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Nanoseconds on a processor, and ready to run but waiting for one. */
struct schedule {
    unsigned long long ran, waited;
};

static struct schedule schedule_read(const char *path)
{
    struct schedule schedule;
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s cannot be read", path);
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
    assert_int_equal(fscanf(file, "%llu %llu", &schedule.ran, &schedule.waited), 2);
    fclose(file);
    return schedule;
}

static double process_seconds(void)
{
    char path[64];
    unsigned long long user, system;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)sw.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(
        /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
        fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system),
        2);
    fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* schedstat of the thread whose name begins with "weft-worker". */
static void worker_path(char *path, size_t size)
{
    char folder[64], name[256], text[32] = "";
    snprintf(folder, sizeof(folder), "/proc/%d/task", (int)sw.pid);
    DIR *tasks = opendir(folder);
    struct dirent *task;
    assert_non_null(tasks);
    path[0] = '\0';
    while (!path[0] && (task = readdir(tasks))) {
        snprintf(name, sizeof(name), "%s/%.20s/comm", folder, task->d_name);
        FILE *file = fopen(name, "r");
        if (file && fgets(text, sizeof(text), file) && strncmp(text, "weft-worker", 11) == 0)
            snprintf(path, size, "%s/%.20s/schedstat", folder, task->d_name);
        if (file)
            fclose(file);
    }
    closedir(tasks);
    assert_true(path[0]);
}

static struct dp_worker_state worker_state(void)
{
    const void *object;
    struct dp_worker_state worker = {0};
    assert_int_equal(dp_client_dump(sw.client, DP_KIND_WORKER_STATE), 0);
    while (dp_client_next(sw.client, &object) == 1)
        memcpy(&worker, object, sizeof(worker));
    return worker;
}

static bool worker_asleep(void)
{
    return worker_state().asleep;
}

static void send_frame(unsigned from, unsigned to)
{
    const uint8_t frame[FRAME_SIZE] = {2, 0, 0, 0, 0, (uint8_t)to, 2, 0, 0, 0, 0, (uint8_t)from, 0x88, 0xb5};
    const struct virtio_net_header header = {0};
    struct driver_queue *queue = driver_tx_queue(guests[from], 0);
    assert_int_equal(driver_transmit(queue, &header, frame, sizeof(frame)), 0);
    driver_kick(queue);
}

static bool receive(unsigned at)
{
    uint8_t frame[2048];
    struct virtio_net_header header;
    return driver_receive(driver_rx_queue(guests[at], 0), &header, frame, sizeof(frame)) > 0;
}

static int setup(void **state)
{
    memset(&sw, 0, sizeof(sw));
    switch_start(&sw, program, false);
    assert_int_equal(dp_client_begin(sw.client), 0);
    switch_put_segment(&sw, 1, 1);
    for (uint32_t id = 1; id <= GUESTS; id++)
        switch_put_port(&sw, id, 1, 1, 1500);
    assert_int_equal(dp_client_commit(sw.client), 0);
    for (uint32_t id = 1; id <= GUESTS; id++)
        guests[id] = switch_guest(&sw, id);
    for (uint32_t id = 1; id <= GUESTS; id++) {
        wait_until(switch_port_state(&sw, id).link == 1);
        send_frame(id, 0xff); /* unknown: everybody else hears of it */
        for (uint32_t other = 1; other <= GUESTS; other++)
            if (other != id)
                wait_until(receive(other));
    }
    return 0;
}

static int teardown(void **state)
{
    for (uint32_t id = 1; id <= GUESTS; id++)
        driver_close(guests[id]);
    switch_end(&sw, 0);
    switch_remove(&sw, NULL);
    return 0;
}

static void test_silence(void **state)
{
    wait_until(worker_asleep());
    struct dp_worker_state first = worker_state();
    double before = process_seconds();
    struct timespec time = {.tv_sec = IDLE_S}; /* the length of the measurement, not a condition */
    uint64_t start = now_ns();
    while (nanosleep(&time, &time) != 0)
        ;
    double share = (process_seconds() - before) / ((double)(now_ns() - start) / 1e9);
    struct dp_worker_state last = worker_state();
    print_message("idle with %u guests: %.2f %% of a processor\n", GUESTS, share * 100);
    assert_true(last.asleep);
    assert_true(last.sleeps <= first.sleeps + 1); /* a kick of before the silence may end one sleep */
    if (last.sleeps == first.sleeps)
        assert_int_equal(last.rounds, first.rounds);
    assert_true(share < SPIN);
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void test_first_frame(void **state)
{
    static uint64_t raw[FRAMES], own[FRAMES];
    char worker[96];
    worker_path(worker, sizeof(worker));
    for (unsigned i = 0; i < FRAMES; i++) {
        unsigned from = 1 + i % GUESTS, to = 1 + (i + 1) % GUESTS;
        wait_until(worker_asleep());
        uint64_t sleeps = worker_state().sleeps;
        unsigned long long waited =
            schedule_read(worker).waited + schedule_read("/proc/thread-self/schedstat").waited;
        uint64_t start = now_ns();
        send_frame(from, to);
        wait_until(receive(to));
        raw[i] = now_ns() - start;
        waited = schedule_read(worker).waited + schedule_read("/proc/thread-self/schedstat").waited - waited;
        own[i] = raw[i] > waited ? raw[i] - waited : 0;
        wait_until(worker_asleep());
        assert_true(worker_state().sleeps > sleeps);
    }
    qsort(raw, FRAMES, sizeof(raw[0]), compare);
    qsort(own, FRAMES, sizeof(own[0]), compare);
    print_message("first frame after idle, us: median %.1f, p99 %.1f, worst %.1f; without the waits for a "
                  "processor: median %.1f, p99 %.1f, worst %.1f\n",
                  (double)raw[FRAMES / 2] / 1e3, (double)raw[FRAMES * 99 / 100] / 1e3,
                  (double)raw[FRAMES - 1] / 1e3, (double)own[FRAMES / 2] / 1e3,
                  (double)own[FRAMES * 99 / 100] / 1e3, (double)own[FRAMES - 1] / 1e3);
}

static pid_t worker_thread(void)
{
    char path[96];
    int thread;
    worker_path(path, sizeof(path));
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
    assert_int_equal(sscanf(path, "/proc/%*d/task/%d/", &thread), 1);
    return thread;
}

static bool send_and_receive(void)
{
    send_frame(1, 2);
    wait_until(receive(2));
    return true;
}

/* Where that is permitted, a worker is urgent while it sleeps, and an ordinary thread while it is awake. */
static void test_urgent(void **state)
{
    const struct sched_param urgent = {.sched_priority = 1}, ordinary = {0};
    pid_t worker = worker_thread();
    if (sched_setscheduler(0, SCHED_FIFO, &urgent) != 0)
        skip();
    assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &ordinary), 0);
    wait_until(worker_asleep() && sched_getscheduler(worker) == SCHED_FIFO);
    wait_until(send_and_receive() && sched_getscheduler(worker) == SCHED_OTHER);
    wait_until(worker_asleep() && sched_getscheduler(worker) == SCHED_FIFO);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s WEFT-DATAPLANE\n", argv[0]);
        return 2;
    }
    program = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_frame),
        cmocka_unit_test(test_urgent),
        cmocka_unit_test(test_silence),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
