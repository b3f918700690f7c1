/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every hostile pattern against a live weft-dataplane, while two other guests talk:
 *
 *     segment 1:  port 1 (the hostile frontend) ── port 2 (sends it frames)
 *     segment 2:  port 3 <── every frame is counted ──> port 4
 *
 * After each pattern the process lives, a good guest is served on port 1, and the process has as many
 * descriptors and guest memories mapped as before. In the end not one frame between ports 3 and 4 was lost.
 *
 * The program's path is the first argument; a second one names one pattern.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "hostile.h"
#include "switch_process.h"

#define FRAME_SIZE 100u
#define WINDOW     32u /* frames on their way at most */
#define LOST_S     60  /* seconds without a frame: the rest is lost */

static const char *program, *only;
static struct switch_process sw;

/* The two that must not notice. */
static struct {
    struct driver_device *from, *to;
    pthread_t thread;
    atomic_bool stop;
    uint64_t sent, received; /* thread: w; test: after it ended */
    double longest;          /* seconds between two frames */
} talk;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool say(uint64_t number)
{
    static const struct virtio_net_header header;
    uint8_t frame[FRAME_SIZE];
    hostile_fill_frame(frame, sizeof(frame));
    memcpy(frame + 20, &number, sizeof(number));
    struct driver_queue *queue = driver_tx_queue(talk.from, 0);
    if (driver_transmit(queue, &header, frame, sizeof(frame)) != 0)
        return false;
    driver_kick(queue);
    return true;
}

static unsigned hear(void)
{
    struct virtio_net_header header;
    uint8_t frame[2048];
    unsigned count = 0;
    struct driver_queue *queue = driver_rx_queue(talk.to, 0);
    while (driver_receive(queue, &header, frame, sizeof(frame)) > 0) {
        uint64_t number;
        memcpy(&number, frame + 20, sizeof(number));
        if (number != talk.received + count)
            return count; /* one before it was lost: what is missing stays missing */
        count++;
    }
    return count;
}

static void *talk_main(void *argument)
{
    double last = now();
    struct timespec pause = {.tv_nsec = 200000};
    while (talk.received < talk.sent || !atomic_load(&talk.stop)) {
        while (!atomic_load(&talk.stop) && talk.sent - talk.received < WINDOW && say(talk.sent))
            talk.sent++;
        unsigned count = hear();
        double time = now();
        if (count > 0) {
            if (time - last > talk.longest)
                talk.longest = time - last;
            last = time;
        } else if (time - last > LOST_S) {
            break;
        }
        talk.received += count;
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void program_switch(void)
{
    assert_int_equal(dp_client_begin(sw.client), 0);
    switch_put_segment(&sw, 1, 1);
    switch_put_segment(&sw, 2, 1);
    for (uint32_t id = 1; id <= 4; id++)
        switch_put_port(&sw, id, 1, id <= 2 ? 1 : 2, 1500);
    if (dp_client_commit(sw.client) != 0)
        fail_msg("%s", dp_client_error(sw.client));
}

static bool port_free(unsigned descriptors, unsigned mappings)
{
    return switch_port_state(&sw, 1).link == 0 && switch_descriptors(&sw) == descriptors &&
           switch_mappings(&sw) == mappings;
}

static void test_all(void **state)
{
    char path[108];
    struct hostile h;
    const struct pattern *pattern;
    unsigned failed = 0, done = 0;
    switch_start(&sw, program, false);
    program_switch();
    switch_port_path(&sw, 1, path);
    assert_true(hostile_open(&h, path));
    h.peer = switch_guest(&sw, 2);
    talk.from = switch_guest(&sw, 3);
    talk.to = switch_guest(&sw, 4);
    for (uint32_t id = 2; id <= 4; id++)
        wait_until(switch_port_state(&sw, id).link == 1);
    unsigned descriptors = switch_descriptors(&sw), mappings = switch_mappings(&sw);
    assert_int_equal(pthread_create(&talk.thread, NULL, talk_main, NULL), 0);
    for (unsigned i = 0; (pattern = hostile_pattern(i)); i++) {
        if (only && strcmp(only, pattern->name) != 0)
            continue;
        int result = hostile_run(&h, pattern);
        if (result != 0)
            print_error("%s: %s\n", pattern->name, h.reason);
        failed += result != 0;
        done++;
        wait_until(port_free(descriptors, mappings));
    }
    atomic_store(&talk.stop, true);
    pthread_join(talk.thread, NULL);
    print_message("%u patterns, %u failed; %llu frames between others, %llu arrived, longest gap %.0f ms\n",
                  done, failed, (unsigned long long)talk.sent, (unsigned long long)talk.received,
                  talk.longest * 1000);
    assert_int_equal(failed, 0);
    assert_true(done > 0);
    assert_int_equal(talk.received, talk.sent);
    driver_close(h.peer);
    driver_close(talk.from);
    driver_close(talk.to);
    hostile_close(&h);
    assert_int_equal(switch_end(&sw, 0), 0);
    switch_remove(&sw, "t1/p1");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    if (argc < 2)
        return 2;
    program = argv[1];
    only = argc > 2 ? argv[2] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
