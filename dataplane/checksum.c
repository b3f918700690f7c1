/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ones' complement sums over private bytes and spans. Words of 32 bits are added into 64-bit lanes: a frame
 * of 64 KiB cannot overflow them and no carry is handled before the end.
 */
#include <string.h>
#include "checksum.h"
#include "offload.h"

#define UDP_CHECKSUM_OFFSET 6u

typedef uint64_t lanes __attribute__((vector_size(32)));
typedef uint64_t lanes_anywhere __attribute__((vector_size(32), aligned(1), may_alias));

static inline __attribute__((always_inline)) uint64_t sum_words(const uint8_t *bytes, size_t size)
{
    lanes low[2] = {{0}}, high[2] = {{0}};
    for (; size >= sizeof(low); bytes += sizeof(low), size -= sizeof(low)) {
        const lanes_anywhere *words = (const lanes_anywhere *)bytes; /* a memcpy goes through the stack */
        low[0] += words[0] & UINT32_MAX;
        low[1] += words[1] & UINT32_MAX;
        high[0] += words[0] >> 32;
        high[1] += words[1] >> 32;
    }
    lanes sums = low[0] + low[1] + high[0] + high[1];
    uint64_t total = sums[0] + sums[1] + sums[2] + sums[3];
    for (; size >= 4; bytes += 4, size -= 4) {
        uint32_t word;
        memcpy(&word, bytes, 4);
        total += word;
    }
    if (size) {
        uint32_t word = 0;
        memcpy(&word, bytes, size);
        total += word;
    }
    return total;
}

static uint64_t sum_generic(const uint8_t *bytes, size_t size)
{
    return sum_words(bytes, size);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t sum_avx2(const uint8_t *bytes, size_t size)
{
    return sum_words(bytes, size);
}

uint64_t checksum_sum(const uint8_t *bytes, size_t size)
{
    return __builtin_cpu_supports("avx2") ? sum_avx2(bytes, size) : sum_generic(bytes, size);
}
#else
uint64_t checksum_sum(const uint8_t *bytes, size_t size)
{
    return sum_generic(bytes, size);
}
#endif

bool checksum_complete(struct packet *packet)
{
    uint32_t start = packet->csum_start, field = start + packet->csum_offset;
    if (field + sizeof(uint16_t) > packet->header_size)
        return false;

    uint64_t total = checksum_sum(packet->data + start, packet->header_size - start);
    bool odd = (packet->header_size - start) & 1u;
    for (unsigned i = 0; i < packet->span_count; i++) {
        const struct packet_span *span = &packet->spans[i];
        total = checksum_add(total, checksum_sum(span->base, span->size), odd);
        odd ^= span->size & 1u;
    }
    uint16_t checksum = (uint16_t)~checksum_fold(total);
    if (checksum == 0 && packet->csum_offset == UDP_CHECKSUM_OFFSET)
        checksum = 0xffff; /* 0 means "none" in UDP, RFC 768 */
    memcpy(packet->data + field, &checksum, sizeof(checksum));
    packet->flags &= (uint8_t)~VNET_F_NEEDS_CSUM;
    packet->csum_start = 0;
    packet->csum_offset = 0;
    return true;
}
