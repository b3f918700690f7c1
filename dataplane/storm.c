/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Storm limit: the virtual scheduling form of the token bucket (ITU-T I.371, generic cell rate algorithm).
 * The port's time says when the frames it was allowed so far would have been sent at the limit's rate; it may
 * run STORM_BURST ahead of the clock. One compare and one compare-and-swap a flooded frame, no division, no
 * refill.
 */
#include "storm.h"

#include "tsc.h"

#define STORM_BURST_PER_S 10u /* the burst is a tenth of a second's frames */

/* lint: control path */
uint64_t storm_interval(uint32_t pps)
{
    return pps ? tsc_hz() / pps : 0;
}

uint64_t storm_burst(void)
{
    return tsc_hz() / STORM_BURST_PER_S;
}

bool storm_bucket_allows(uint64_t *time, uint64_t interval, uint64_t burst, uint64_t now)
{
    uint64_t seen = __atomic_load_n(time, __ATOMIC_RELAXED);
    for (;;) {
        uint64_t start = (int64_t)(seen - now) > 0 ? seen : now;
        if (start - now > burst)
            return false;
        if (__atomic_compare_exchange_n(time, &seen, start + interval, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            return true;
    }
}

bool storm_allows(struct port *port, uint64_t interval, uint64_t burst, uint64_t now)
{
    return storm_bucket_allows(&port->storm_time, interval, burst, now);
}
