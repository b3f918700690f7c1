/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft-floor: what this machine takes from any switch, measured with no switch at all. See usage().
 *
 * --wake: a thread on the load's core kicks an eventfd and waits for an answer in memory; one on the switch's
 * core sleeps in epoll_wait, urgent as a worker of weft's is, and answers when it wakes. That is the least
 * that the first packet after idle can take.
 *
 * --echo: the load's core counts frames that are due, as the generator does, and the switch's core answers
 * with the same count, over and over: a switch that costs nothing. What a frame waits for then is its core
 * that somebody else has: an interrupt, the scheduler, the hypervisor. Percentiles as of a stamped run.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <x86intrin.h>
#include "generator.h"
#include "host.h"

#define RING      65536u /* stamps under way */
#define BURST_MAX 64     /* frames that are made up for at once */

struct floor {
    unsigned load_core, switch_core;
    double seconds, rate, hz;
    int kick_fd, epoll_fd;
    _Atomic uint64_t sent __attribute__((aligned(64)));   /* load's core: w, switch's core: r */
    _Atomic uint64_t answer __attribute__((aligned(64))); /* switch's core: w, load's core: r */
    _Atomic bool stop __attribute__((aligned(64)));
};

/* The load's side of --echo. */
struct exchange {
    uint64_t start;        /* TSC */
    uint64_t sent, seen;   /* frames out and back */
    double forgone;        /* frames that were due while we were away */
    uint64_t stamps[RING]; /* TSC */
};

static double ns_of(uint64_t ticks, double hz)
{
    return (double)ticks * 1e9 / hz;
}

static void print(const struct floor *floor, const struct generator_result *result)
{
    printf("{\"seconds\":%.3f,\"latency_ns\":{\"count\":%llu,\"window_p999\":%.0f,\"p50\":%.0f,\"p99\":%.0f,"
           "\"p999\":%.0f}}\n",
           floor->seconds, (unsigned long long)result->latency_count, generator_window_latency(result),
           generator_latency(result, 0.5), generator_latency(result, 0.99), generator_latency(result, 0.999));
}

/* --wake */

static void *sleeper(void *argument)
{
    struct floor *floor = argument;
    const struct sched_param urgent = {.sched_priority = 1};
    struct epoll_event event;
    pin(floor->switch_core);
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &urgent); /* where it is permitted */
    while (!atomic_load(&floor->stop))
        if (epoll_wait(floor->epoll_fd, &event, 1, -1) == 1)
            atomic_fetch_add(&floor->answer, 1);
    return NULL;
}

/* Kicks `rate` times a second. */
static void kick(struct floor *floor, struct generator_result *result)
{
    uint64_t start = __rdtsc(), length = (uint64_t)(floor->seconds * floor->hz);
    uint64_t every = (uint64_t)(floor->hz / floor->rate);
    for (uint64_t due = start + every; due - start < length; due += every) {
        while (__rdtsc() < due)
            _mm_pause();
        uint64_t before = atomic_load(&floor->answer), kicked = __rdtsc();
        if (eventfd_write(floor->kick_fd, 1) < 0)
            break;
        while (atomic_load(&floor->answer) == before)
            _mm_pause();
        generator_note(result, ns_of(__rdtsc() - kicked, floor->hz));
    }
}

static int wake(struct floor *floor)
{
    static struct generator_result result;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    pthread_t thread;
    floor->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    floor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (floor->kick_fd < 0 || floor->epoll_fd < 0 ||
        epoll_ctl(floor->epoll_fd, EPOLL_CTL_ADD, floor->kick_fd, &event) < 0)
        return -1;
    if ((errno = pthread_create(&thread, NULL, sleeper, floor)) != 0)
        return -1;
    kick(floor, &result);
    atomic_store(&floor->stop, true);
    if (eventfd_write(floor->kick_fd, 1) < 0)
        return -1;
    pthread_join(thread, NULL);
    print(floor, &result);
    return 0;
}

/* --echo */

static void *echoer(void *argument)
{
    struct floor *floor = argument;
    pin(floor->switch_core);
    while (!atomic_load_explicit(&floor->stop, memory_order_relaxed))
        atomic_store_explicit(&floor->answer, atomic_load_explicit(&floor->sent, memory_order_acquire),
                              memory_order_release);
    return NULL;
}

/* One turn of the load at `now`: what is due goes out, what is back is noted. */
static void exchange(struct floor *floor, struct exchange *exchange, uint64_t now,
                     struct generator_result *result)
{
    double due = (double)(now - exchange->start) * floor->rate / floor->hz;
    double missing = due - (double)exchange->sent - exchange->forgone;
    if (missing > BURST_MAX) { /* we were away */
        exchange->forgone += missing - 1;
        missing = 1;
    }
    for (; missing >= 1 && exchange->sent - exchange->seen < RING; missing--)
        exchange->stamps[exchange->sent++ % RING] = now;
    atomic_store_explicit(&floor->sent, exchange->sent, memory_order_release);
    uint64_t back = atomic_load_explicit(&floor->answer, memory_order_acquire);
    for (uint64_t then = __rdtsc(); exchange->seen != back; exchange->seen++)
        generator_note(result, ns_of(then - exchange->stamps[exchange->seen % RING], floor->hz));
}

static int echo(struct floor *floor)
{
    static struct generator_result result;
    static struct generator_window window;
    static struct exchange state;
    uint64_t length = (uint64_t)(floor->seconds * floor->hz), from;
    pthread_t thread;
    if ((errno = pthread_create(&thread, NULL, echoer, floor)) != 0)
        return -1;
    state.start = from = __rdtsc();
    for (uint64_t now = from; now - state.start < length; now = __rdtsc()) {
        exchange(floor, &state, now, &result);
        if (now - from > (uint64_t)(floor->hz / GENERATOR_WINDOWS_HZ)) {
            generator_note_window(&window, &result);
            from = now;
        }
    }
    atomic_store(&floor->stop, true);
    pthread_join(thread, NULL);
    print(floor, &result);
    return 0;
}

static void usage(FILE *out)
{
    fputs("usage: weft-floor --wake | --echo [options]\n"
          "What the machine takes from any switch. JSON on standard output.\n"
          "  --wake           wakes a sleeping thread, and says how long that took\n"
          "  --echo           has a thread that is awake answer, and says how long that took\n"
          "  --rate N         times a second (200; of --echo 4000000)\n"
          "  --seconds S      (1)\n"
          "  --core N         of the load (0)\n"
          "  --switch-core N  (1)\n",
          out);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"wake", no_argument, NULL, 'w'},       {"echo", no_argument, NULL, 'e'},
        {"rate", required_argument, NULL, 'r'}, {"seconds", required_argument, NULL, 's'},
        {"core", required_argument, NULL, 'c'}, {"switch-core", required_argument, NULL, 'C'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
    static struct floor floor = {.switch_core = 1, .seconds = 1};
    int option, mode = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        double number = optarg ? strtod(optarg, NULL) : 0;
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (option == 'w' || option == 'e')
            mode = option;
        else if (option == 'r' && number > 0)
            floor.rate = number;
        else if (option == 's' && number > 0)
            floor.seconds = number;
        else if (option == 'c' && number >= 0)
            floor.load_core = (unsigned)number;
        else if (option == 'C' && number >= 0)
            floor.switch_core = (unsigned)number;
        else
            mode = '?';
    }
    if ((mode != 'w' && mode != 'e') || optind != argc) {
        usage(stderr);
        return 2;
    }
    floor.hz = generator_tsc_hz();
    if (floor.rate == 0)
        floor.rate = mode == 'w' ? 200 : 4e6;
    if (pin(floor.load_core) != 0 || (mode == 'w' ? wake(&floor) : echo(&floor)) != 0) {
        perror("weft-floor");
        return 1;
    }
    return 0;
}
