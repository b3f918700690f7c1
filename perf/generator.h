/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Load on a switch: a synthetic guest sends frames into one vhost-user port and another counts what arrives
 * at a second port. Descriptors are built once and only published again, so that the generator costs a few
 * cycles a frame and the switch is the limit; how often the sending ring was full says whether it was.
 *
 * Threads: one generator is driven by one thread, which busy-polls for the length of a run.
 * Errors: 0 or -errno.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GENERATOR_SIZES_MAX     16u
#define GENERATORS_MAX          64u /* driven at once */
#define GENERATOR_LATENCY_SLOTS 1024u
#define GENERATOR_WINDOWS_HZ    200u

struct generator;

struct generator_config {
    const char *paths[2]; /* vhost-user sockets: load goes from 0 to 1, with `both` also back */
    bool listen;          /* the switch dials us */
    bool both;
    bool packed; /* packed rings */
    bool in_order;
    bool mergeable;       /* receive buffers may be merged (needed for frames longer than buffer_size - 12) */
    bool offload;         /* negotiate checksum and TSO; frames longer than 1518 are sent as TSO */
    uint16_t ring_size;   /* descriptors */
    uint32_t buffer_size; /* bytes of a receive buffer */
    uint16_t
        sizes[GENERATOR_SIZES_MAX]; /* frame sizes in bytes with FCS not counted, repeated in this order */
    unsigned size_count;
    uint32_t flows;           /* UDP 5-tuples a direction, >= 1 */
    uint32_t macs;            /* addresses behind each port, >= 1; all are taught to the switch first */
    unsigned stamp_every;     /* of a stamped run: one frame in so many; 0: 16 */
    bool touch;               /* rewrite the headers of each frame even with one flow and one address */
    uint16_t vlan;            /* tag the frames; 0: untagged */
    uint8_t mac_prefix[2][6]; /* first address behind each port; the following ones count up in the last four
                                 bytes */
    uint32_t ip[2];           /* IPv4 addresses, host order */
    int timeout_ms;
};

struct generator_result {
    double seconds;
    uint64_t offered;  /* frames the switch has taken from the sending rings */
    uint64_t received; /* frames counted at the sinks */
    uint64_t received_bytes;
    uint64_t rounds;      /* of the sending loop */
    uint64_t full_rounds; /* rounds that wanted to send and found the ring full */
    double best_rate;     /* frames a second in the best 5 ms: what other load on the machine did not touch */
    uint64_t own_cycles;  /* TSC cycles of rounds that sent or received */
    uint64_t verified;    /* frames whose bytes were compared */
    uint64_t corrupt;     /* of those, that differed */
    uint64_t foreign;     /* frames that are not the generator's */
    uint64_t latency_count;                    /* stamped frames received */
    uint64_t latency[GENERATOR_LATENCY_SLOTS]; /* histogram, see generator_latency() */
    uint64_t windows[GENERATOR_LATENCY_SLOTS]; /* how many windows had their 99.9 % quantile in the slot */
};

/* The histogram when the window that is being measured began. */
struct generator_window {
    uint64_t latency[GENERATOR_LATENCY_SLOTS];
    uint64_t count;
};

/* One latency more; a window, of GENERATOR_WINDOWS_HZ in a second, is over. */
void generator_note(struct generator_result *result, double ns);
void generator_note_window(struct generator_window *window, struct generator_result *result);

/* Of a stamped run: the median of the 99.9 % quantiles of its 5 ms windows, ns. A window in which the machine
 * did something else does not spoil it, as it spoils generator_latency(result, 0.999). */
double generator_window_latency(const struct generator_result *result);

/* Connects both ports and teaches the switch every address. NULL and errno, with a sentence in error. */
struct generator *generator_new(const struct generator_config *config, char error[256]);
void generator_free(struct generator *generator);

/* Called a few times a second during a run with the part that is done, 0..1. False ends the run early. */
typedef bool (*generator_progress)(void *context, double done);

/* Drives all generators of the list at once, in turn, each sending at `rate` frames a second (0: as fast as
 * it goes), for `seconds`; then drains and counts what was under way. With `stamp`, one frame in 16 carries
 * the time it was published. One result a generator. */
void generators_run(struct generator *const *list, unsigned count, double seconds, double rate, bool stamp,
                    generator_progress progress, void *context, struct generator_result *results);

/* Nanoseconds at quantile q (0..1) of the histogram; 0 if it is empty. 32 slots an octave: 3 % resolution. */
double generator_latency(const struct generator_result *result, double q);
double generator_loss(const struct generator_result *result); /* 0..1 */
/* Frames a second offered, received. */
double generator_offered(const struct generator_result *result);
double generator_received(const struct generator_result *result);
/* Whether the switch took all it could: the sending ring was full for most of the time. Else the figure is
 * the generator's limit, or that of the rate it was told. */
bool generator_switch_is_limit(const struct generator_result *result);
double generator_tsc_hz(void);

/* RFC 2544, 26.1: the highest rate without loss, by binary search. A trial fails if more than `tolerance` of
 * the frames are lost, or if the switch does not take the rate that is offered. */
struct generator_search {
    double seconds;   /* of a trial */
    double tolerance; /* 0: not one frame */
    double precision; /* part of the maximum rate, at which the search ends */
    double rate;      /* result: frames a second of each generator, 0: none was without loss */
    unsigned trials;  /* result */
};
void generators_search(struct generator *const *list, unsigned count, double maximum,
                       struct generator_search *search, generator_progress progress, void *context,
                       struct generator_result *results);
