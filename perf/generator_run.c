/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loop that sends and counts. Per batch: one publication, one look at the used index, one kick decision;
 * per frame nothing, unless headers vary, stamps are written, or sizes differ. Of a stamped run only the
 * frames that should have a stamp are read, by counting what arrives; where one has none (a frame was lost),
 * all are until one has.
 */
#include <math.h>
#include <stdlib.h>
#include <x86intrin.h>
#include "generator_private.h"

#define STAMP_EVERY   16u
#define IDLE_PAUSES   16u
#define SKIP_BATCH    256u
#define VERIFY_EVERY  1024u /* frames */
#define PROGRESS_HZ   10u
#define WINDOW_STAMPS 100u  /* fewer say nothing of a quantile */
#define VERIFY_LENGTH 4096u /* bytes compared of a frame */

/* Before publication: the next `count` buffers get their flow and address. */
static void vary(struct generator *generator, struct direction *direction, unsigned count)
{
    const struct generator_config *config = &generator->config;
    unsigned next = driver_next_buffer(direction->tx);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *frame = driver_buffer(direction->tx, next) + VIRTIO_NET_HEADER_SIZE;
        next = next + 1 == direction->buffers ? 0 : next + 1;
        uint32_t flow = direction->next_flow;
        direction->next_flow = flow + 1 >= config->flows ? 0 : flow + 1;
        /* the source port and the low bytes of the source address; the IP checksum is not looked at by a
         * switch
         */
        write_be16(frame + generator->l3 + 20, (uint16_t)(1024 + (flow & 0x7fff)));
        write_be16(frame + generator->l3 + 14, (uint16_t)(config->ip[direction->index] + (flow >> 15)));
        if (config->macs > 1) {
            /* a stride that is coprime with any count below 2^31 that is not its multiple: spreads over the
             * table */
            direction->next_mac = (uint32_t)(((uint64_t)direction->next_mac + 514229) % config->macs);
            generator_mac(generator, 1 - direction->index, direction->next_mac, frame);
        }
    }
}

static unsigned stamp_every(const struct generator *generator)
{
    return generator->config.stamp_every ? generator->config.stamp_every : STAMP_EVERY;
}

static void stamp(struct generator *generator, struct direction *direction, unsigned count)
{
    uint64_t now = __rdtsc();
    unsigned next = driver_next_buffer(direction->tx);
    unsigned every = stamp_every(generator);
    size_t offset = VIRTIO_NET_HEADER_SIZE + generator->payload + offsetof(struct payload, stamp);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *at = driver_buffer(direction->tx, next) + offset;
        next = next + 1 == direction->buffers ? 0 : next + 1;
        bool stamped = ++direction->stamps >= every;
        uint64_t value = stamped ? now : 0, before;
        if (stamped)
            direction->stamps = 0;
        memcpy(&before, at, sizeof(before));
        if (before != value)
            memcpy(at, &value, sizeof(value));
    }
}

static unsigned latency_slot(double ns)
{
    if (ns < 1)
        return 0;
    int slot = (int)(log2(ns) * 32);
    return slot < (int)GENERATOR_LATENCY_SLOTS ? (unsigned)slot : GENERATOR_LATENCY_SLOTS - 1;
}

void generator_note(struct generator_result *result, double ns)
{
    result->latency[latency_slot(ns)]++;
    result->latency_count++;
}

double generator_latency(const struct generator_result *result, double q)
{
    uint64_t rank = (uint64_t)(q * (double)result->latency_count), seen = 0;
    for (unsigned slot = 0; slot < GENERATOR_LATENCY_SLOTS; slot++) {
        seen += result->latency[slot];
        if (result->latency[slot] && seen > rank)
            return exp2((slot + 0.5) / 32);
    }
    return 0;
}

/* Compares a received frame with what it was built as; the headers that vary are not part of it. */
static bool verify(const struct generator *generator, const uint8_t *frame, uint32_t size,
                   const struct payload *payload)
{
    uint32_t end = size < VERIFY_LENGTH ? size : VERIFY_LENGTH;
    for (uint32_t i = generator->payload + (uint32_t)sizeof(*payload); i < end; i++) {
        if (frame[i] != (uint8_t)(i * 7 + payload->buffer))
            return false;
    }
    return true;
}

/* True: it was stamped. */
static bool look(struct generator *generator, struct direction *direction, uint16_t buffer, uint32_t size,
                 uint64_t now, bool sample, struct generator_result *result)
{
    const uint8_t *frame = driver_buffer(direction->rx, buffer) + VIRTIO_NET_HEADER_SIZE;
    struct payload payload;
    memcpy(&payload, frame + generator->payload, sizeof(payload));
    if (payload.magic != PAYLOAD_MAGIC) {
        result->foreign++;
        return false;
    }
    if (now && payload.stamp) {
        double ns = now > payload.stamp ? (double)(now - payload.stamp) * 1e9 / generator->tsc_hz : 0;
        generator_note(result, ns);
    }
    if (sample) {
        result->verified++;
        result->corrupt += !verify(generator, frame, size, &payload);
    }
    return payload.stamp != 0;
}

static unsigned skip(struct generator *generator, struct direction *direction,
                     struct generator_result *result)
{
    unsigned count = driver_skip(direction->rx, SKIP_BATCH);
    if (count == 0)
        return 0;
    direction->unseen += count;
    result->received_bytes += (uint64_t)count * generator->config.sizes[0];
    driver_kick(direction->rx);
    return count;
}

static unsigned sink(struct generator *generator, struct direction *direction, bool stamped,
                     struct generator_result *result)
{
    uint16_t buffers[GENERATOR_BATCH];
    uint32_t sizes[GENERATOR_BATCH];
    bool all = stamped || generator->config.size_count > 1;
    if (!all && direction->unseen < VERIFY_EVERY)
        return skip(generator, direction, result);
    unsigned count = driver_collect(direction->rx, buffers, sizes, all ? GENERATOR_BATCH : 1);
    if (count == 0)
        return 0;
    direction->unseen = 0;
    uint64_t now = stamped ? __rdtsc() : 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t size = sizes[i] > VIRTIO_NET_HEADER_SIZE ? sizes[i] - VIRTIO_NET_HEADER_SIZE : 0;
        result->received_bytes += size;
        bool due = stamped && direction->plain <= 1;
        if (i == 0 || due)
            due &= look(generator, direction, buffers[i], size, due ? now : 0, i == 0, result);
        direction->plain = due ? stamp_every(generator) : direction->plain > 1 ? direction->plain - 1 : 0;
    }
    driver_recycle(direction->rx, count);
    driver_kick(direction->rx);
    return count;
}

/* Publishes up to `want` frames; fewer if the ring is full. */
static unsigned source(struct generator *generator, struct direction *direction, unsigned want, bool stamped)
{
    const struct generator_config *config = &generator->config;
    if (direction->room < want)
        direction->room = direction->buffers - driver_in_flight(direction->tx);
    unsigned count = want < direction->room ? want : direction->room;
    if (count == 0)
        return 0;
    if (config->flows > 1 || config->macs > 1 || config->touch)
        vary(generator, direction, count);
    if (stamped)
        stamp(generator, direction, count);
    count = driver_publish(direction->tx, count);
    direction->room -= count;
    driver_kick(direction->tx);
    return count;
}

static bool in_flight(struct generator *const *list, unsigned count)
{
    for (unsigned g = 0; g < count; g++)
        for (unsigned i = 0; i < list[g]->direction_count; i++)
            if (driver_in_flight(list[g]->directions[i].tx) > 0)
                return true;
    return false;
}

/* Takes what arrives until nothing has for DRAIN_NS and the switch has given back what was sent (or is gone).
 * A switch delivers before it gives back, so the last look begins after the rings were seen empty: between
 * the two this thread may have been off its processor for long. */
static void drain(struct generator *const *list, unsigned count, bool stamped,
                  struct generator_result *results)
{
    uint64_t start = now_ns(), last = start;
    bool done = false;
    while (!done) {
        bool back = !in_flight(list, count), any = false;
        for (unsigned g = 0; g < count; g++)
            for (unsigned i = 0; i < list[g]->direction_count; i++) {
                unsigned arrived = sink(list[g], &list[g]->directions[i], stamped, &results[g]);
                results[g].received += arrived;
                any |= arrived > 0;
            }
        uint64_t now = now_ns();
        last = any ? now : last;
        done = !any && now - last >= DRAIN_NS && (back || now - start >= GONE_NS);
    }
}

/* One turn of one generator; `due` is the frames of each direction that the rate wants published by now.
 * True: something was sent or received. */
static bool turn(struct generator *generator, double due, bool limited, bool stamped,
                 struct generator_result *result)
{
    bool worked = false;
    for (unsigned i = 0; i < generator->direction_count; i++) {
        struct direction *direction = &generator->directions[i];
        double missing = due - (double)direction->published - direction->forgone;
        if (limited && stamped && missing > GENERATOR_BATCH) {
            /* made up for in a burst, they would measure our absence */
            direction->forgone += missing - 1;
            missing = 1;
        }
        unsigned want = !limited || missing >= GENERATOR_BATCH ? GENERATOR_BATCH
                        : missing < 1                          ? 0
                                                               : (unsigned)missing;
        if (want) {
            unsigned count = source(generator, direction, want, stamped);
            direction->published += count;
            result->rounds++;
            result->full_rounds += count < want;
            worked |= count > 0;
        }
        unsigned arrived = sink(generator, direction, stamped, result);
        result->received += arrived;
        worked |= arrived > 0;
    }
    return worked;
}

/* Slot of the 99.9 % quantile of what was stamped since `before`. */
static unsigned window_slot(const struct generator_result *result, const uint64_t *before, uint64_t count)
{
    uint64_t beyond = count / 1000, seen = 0;
    unsigned slot = GENERATOR_LATENCY_SLOTS - 1;
    while (slot > 0 && (seen += result->latency[slot] - before[slot]) <= beyond)
        slot--;
    return slot;
}

void generator_note_window(struct generator_window *window, struct generator_result *result)
{
    uint64_t count = result->latency_count - window->count;
    if (count >= WINDOW_STAMPS)
        result->windows[window_slot(result, window->latency, count)]++;
    memcpy(window->latency, result->latency, sizeof(window->latency));
    window->count = result->latency_count;
}

double generator_window_latency(const struct generator_result *result)
{
    uint64_t windows = 0, seen = 0;
    for (unsigned slot = 0; slot < GENERATOR_LATENCY_SLOTS; slot++)
        windows += result->windows[slot];
    for (unsigned slot = 0; slot < GENERATOR_LATENCY_SLOTS && windows; slot++) {
        seen += result->windows[slot];
        if (seen * 2 >= windows)
            return exp2((slot + 0.5) / 32);
    }
    return 0;
}

/* A window is over: notes its rate if it is the best. */
static void note_window(struct generator_result *results, uint64_t *before, unsigned count, double seconds)
{
    for (unsigned g = 0; g < count; g++) {
        double rate = (double)(results[g].received - before[g]) / seconds;
        results[g].best_rate = rate > results[g].best_rate ? rate : results[g].best_rate;
        before[g] = results[g].received;
    }
}

void generators_run(struct generator *const *list, unsigned count, double seconds, double rate, bool stamped,
                    generator_progress progress, void *context, struct generator_result *results)
{
    double hz = list[0]->tsc_hz;
    memset(results, 0, count * sizeof(*results));
    for (unsigned g = 0; g < count; g++) {
        for (unsigned i = 0; i < 2; i++) {
            list[g]->directions[i].published = 0;
            list[g]->directions[i].forgone = 0;
            list[g]->directions[i].plain = 0;
            list[g]->directions[i].unseen = VERIFY_EVERY; /* the first frame is looked at */
        }
        list[g]->window = (struct generator_window){0};
    }
    uint64_t start = __rdtsc(), length = (uint64_t)(seconds * hz), now = start;
    uint64_t told = start, tell = (uint64_t)(hz / PROGRESS_HZ);
    uint64_t window = start, received[GENERATORS_MAX] = {0};
    while (now - start < length) {
        bool any = false;
        for (unsigned g = 0; g < count; g++) {
            double due = (double)(now - start) * rate / hz / list[g]->direction_count;
            bool worked = turn(list[g], due, rate > 0, stamped, &results[g]);
            uint64_t then = now;
            now = __rdtsc();
            results[g].own_cycles += worked ? now - then : 0;
            any |= worked;
        }
        for (unsigned i = 0; !any && i < IDLE_PAUSES; i++)
            _mm_pause(); /* the rings' lines are the switch's to write */
        if (!any)
            now = __rdtsc();
        if (now - window > (uint64_t)(hz / GENERATOR_WINDOWS_HZ)) {
            note_window(results, received, count, (double)(now - window) / hz);
            for (unsigned g = 0; stamped && g < count; g++)
                generator_note_window(&list[g]->window, &results[g]);
            window = now = __rdtsc();
        }
        if (progress && now - told > tell) {
            told = now;
            if (!progress(context, (double)(now - start) / (double)length))
                break;
        }
    }
    drain(list, count, stamped, results);
    for (unsigned g = 0; g < count; g++) {
        results[g].seconds = (double)(now - start) / hz;
        for (unsigned i = 0; i < list[g]->direction_count; i++) {
            unsigned in_flight = driver_in_flight(list[g]->directions[i].tx);
            list[g]->directions[i].room = list[g]->directions[i].buffers - in_flight;
            results[g].offered += list[g]->directions[i].published - in_flight;
        }
    }
}

double generator_loss(const struct generator_result *result)
{
    return result->offered > result->received
               ? (double)(result->offered - result->received) / (double)result->offered
               : 0;
}

double generator_offered(const struct generator_result *result)
{
    return result->seconds > 0 ? (double)result->offered / result->seconds : 0;
}

double generator_received(const struct generator_result *result)
{
    return result->seconds > 0 ? (double)result->received / result->seconds : 0;
}

bool generator_switch_is_limit(const struct generator_result *result)
{
    return result->rounds > 0 && result->full_rounds * 2 > result->rounds;
}

void generators_search(struct generator *const *list, unsigned count, double maximum,
                       struct generator_search *search, generator_progress progress, void *context,
                       struct generator_result *results)
{
    double good = 0, bad = maximum * 1.02, rate = maximum * 0.98;
    struct generator_result *trial = calloc(count, sizeof(*trial));
    search->rate = 0;
    search->trials = 0;
    while (trial && bad - good > maximum * search->precision) {
        generators_run(list, count, search->seconds, rate, false, progress, context, trial);
        search->trials++;
        bool passed = true;
        for (unsigned g = 0; g < count; g++)
            passed &= generator_loss(&trial[g]) <= search->tolerance &&
                      generator_offered(&trial[g]) >= rate * 0.995;
        if (passed) {
            good = search->rate = rate;
            memcpy(results, trial, count * sizeof(*trial));
        } else {
            bad = rate;
        }
        rate = (good + bad) / 2;
    }
    free(trial);
}
