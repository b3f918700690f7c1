/* SPDX-License-Identifier: BSD-3-Clause */
#include "guest.h"

#define TYPE_BLOCK      2
#define SECTOR          512u
#define FEATURE_RO      (1ull << 5)
#define FEATURE_FLUSH   (1ull << 9)
#define FEATURE_DISCARD (1ull << 13)
#define FEATURE_ZEROES  (1ull << 14)
enum { READ = 0, WRITE = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
#define BLOCK 4096u

static struct device device;
static struct queue queue;

/* Returns the status byte, 255: none came. */
static uint8_t request(uint32_t type, uint64_t sector, void *data, uint32_t size, bool to_device)
{
    static struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    static uint8_t status;
    header.type = type;
    header.sector = sector;
    status = 255;
    struct piece pieces[3] = {{&header, 16}, {data, size}, {&status, 1}};
    if (!size)
        pieces[1] = pieces[2];
    unsigned reads = 1 + (size && to_device);
    queue_call(&queue, pieces, reads, (size ? 3u : 2u) - reads);
    return status;
}

static void fill(uint8_t *block, uint64_t number, uint64_t seed)
{
    uint64_t state = number * 0x9e3779b97f4a7c15u + seed + 1;
    for (uint32_t i = 0; i < BLOCK; i += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(block + i, &state, 8);
    }
}

/* A pattern over `count` blocks, written, flushed, read back. */
static uint64_t check_pattern(uint64_t count, uint64_t seed)
{
    uint8_t *block = allocate(BLOCK, 4096), *other = allocate(BLOCK, 4096);
    uint64_t wrong = 0;
    uint64_t start = now_us();
    for (uint64_t i = 0; i < count; i++) {
        fill(block, i, seed);
        wrong += request(WRITE, i * 8, block, BLOCK, true) != 0;
    }
    uint64_t written = now_us();
    wrong += request(FLUSH, 0, NULL, 0, false) != 0;
    uint64_t flushed = now_us();
    for (uint64_t i = count; i-- > 0;) {
        fill(block, i, seed);
        memset(other, 0, BLOCK);
        wrong += request(READ, i * 8, other, BLOCK, false) != 0 || memcmp(block, other, BLOCK) != 0;
    }
    print("disk-pattern blocks=%lu wrong=%lu write-us=%lu flush-us=%lu read-us=%lu\n", count, wrong,
          written - start, flushed - written, now_us() - flushed);
    return wrong;
}

/* A discarded block need not read as zeros (5.2.6.2); where the image is a plain file it does: discard=zero.
 */
static uint64_t check_zeroed(uint32_t type, uint64_t sector, bool zero)
{
    static struct {
        uint64_t sector;
        uint32_t count, flags;
    } segment;
    uint8_t *block = allocate(BLOCK, 4096);
    segment.sector = sector;
    segment.count = 8;
    segment.flags = 0;
    if (request(type, 0, &segment, sizeof(segment), true) != 0)
        return 1;
    memset(block, 0xff, BLOCK);
    if (request(READ, sector, block, BLOCK, false) != 0)
        return 1;
    for (uint32_t i = 0; zero && i < BLOCK; i++)
        if (block[i])
            return 1;
    return 0;
}

bool mode_disk(void)
{
    uint32_t nth = (uint32_t)argument_number("disk", 0);
    char id[21] = {0};
    uint64_t wrong = 0;
    if (!virtio_open(&device, TYPE_BLOCK, nth,
                     FEATURE_RO | FEATURE_FLUSH | FEATURE_DISCARD | FEATURE_ZEROES)) {
        print("error no disk %u\n", nth);
        return false;
    }
    virtio_queue(&device, &queue, 0, 64, VECTOR_DEVICES + 6);
    virtio_ready(&device);
    uint64_t sectors =
        *(volatile uint32_t *)device.config | (uint64_t) * (volatile uint32_t *)(device.config + 4) << 32;
    uint8_t status = request(GET_ID, 0, id, 20, false);
    print("disk sectors=%lu features=%lx serial=%s id-status=%u\n", sectors, device.features, id, status);
    uint8_t *block = allocate(BLOCK, 4096);
    if (request(READ, sectors - 7, block, BLOCK, false) != 1 ||
        request(READ, UINT64_MAX - 6, block, BLOCK, false) != 1 || request(READ, 0, block, 511, false) != 1 ||
        request(77, 0, block, SECTOR, false) != 2) {
        print("error a wild request was not refused\n");
        wrong++;
    }
    if (device.features & FEATURE_RO) {
        uint8_t refused = request(WRITE, 0, block, BLOCK, true);
        status = request(READ, 0, block, SECTOR, false);
        print("disk read-only write-status=%u read-status=%u first=%02x%02x%02x%02x\n", refused, status,
              block[0], block[1], block[2], block[3]);
        return refused == 1 && status == 0 && !wrong;
    }
    uint64_t blocks = argument_number("blocks", 64);
    if (blocks > sectors / 8)
        blocks = sectors / 8;
    wrong += check_pattern(blocks, argument_number("seed", 1));
    if (device.features & FEATURE_DISCARD && check_zeroed(DISCARD, 8, argument_is("discard", "zero"))) {
        print("error discard\n");
        wrong++;
    }
    if (device.features & FEATURE_ZEROES && check_zeroed(ZEROES, 24, true)) {
        print("error write-zeroes\n");
        wrong++;
    }
    print("disk-result wrong=%lu\n", wrong);
    return wrong == 0;
}
