/* SPDX-License-Identifier: BSD-3-Clause */
/* Every size at several alignments, with and without string moves: the bytes, and not one byte around them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "copy.h"

#define LARGEST 1300u
#define MARGIN  64u

static void copy_all_sizes(void)
{
    for (unsigned size = 0; size <= LARGEST; size++) {
        for (unsigned shift = 0; shift < 4; shift++) {
            /* Exact allocation: the sanitizer sees a read beyond it. */
            uint8_t *source = malloc(size + 1u), target[LARGEST + 2 * MARGIN];
            for (unsigned i = 0; i < size; i++)
                source[i] = (uint8_t)(i * 7 + size);
            memset(target, 0xee, sizeof(target));
            copy_bytes(target + MARGIN - shift * 5, source, size);
            assert_memory_equal(target + MARGIN - shift * 5, source, size);
            for (unsigned i = 0; i < sizeof(target); i++)
                if (i < MARGIN - shift * 5 || i >= MARGIN - shift * 5 + size)
                    assert_int_equal(target[i], 0xee);
            free(source);
        }
    }
}

static void test_blocks(void **state)
{
    bool saved = copy_strings;
    copy_strings = false;
    copy_all_sizes();
    copy_strings = saved;
}

static void test_strings(void **state)
{
    if (!copy_strings)
        skip(); /* the processor has no fast string moves */
    copy_all_sizes();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks), cmocka_unit_test(test_strings)};
    return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
