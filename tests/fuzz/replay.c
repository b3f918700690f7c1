/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target without a fuzzer: every file of a corpus directory, then WEFT_FUZZ_ROUNDS (default
 * 20000) mutations of them (bytes flipped, inserted, removed, files spliced), so that a plain test run still
 * tries inputs that nobody wrote down. They are the same in every run, as a test is to say the same of the
 * same code; WEFT_FUZZ_SEED=N makes others.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

#define INPUT_SIZE_MAX  65536u
#define INPUT_COUNT_MAX 4096u

static struct {
    uint8_t *data;
    size_t size;
} inputs[INPUT_COUNT_MAX];
static unsigned input_count;

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void load_corpus(const char *directory)
{
    struct dirent **names;
    int count = scandir(directory, &names, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "%s: %s\n", directory, strerror(errno));
        exit(1);
    }
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
        FILE *file = names[i]->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (file && input_count < INPUT_COUNT_MAX) {
            uint8_t *data = malloc(INPUT_SIZE_MAX);
            inputs[input_count].size = fread(data, 1, INPUT_SIZE_MAX, file);
            inputs[input_count++].data = data;
        }
        if (file)
            fclose(file);
        free(names[i]);
    }
    free(names);
}

static size_t mutate(uint8_t *data, size_t size)
{
    unsigned steps = 1 + random_next() % 8;
    while (steps-- > 0) {
        size_t at = size ? random_next() % size : 0;
        switch (random_next() % 6) {
        case 0:
            if (size)
                data[at] ^= 1u << (random_next() % 8);
            break;
        case 1:
            if (size)
                data[at] = (uint8_t)random_next();
            break;
        case 2:
            if (size)
                data[at] = (const uint8_t[]){0, 1, 0x7f, 0x80, 0xff}[random_next() % 5];
            break;
        case 3: /* remove a run */
            if (size) {
                size_t run = 1 + random_next() % (size - at);
                memmove(data + at, data + at + run, size - at - run);
                size -= run;
            }
            break;
        case 4: /* insert a run */
            if (size < INPUT_SIZE_MAX - 16) {
                size_t run = 1 + random_next() % 16;
                memmove(data + at + run, data + at, size - at);
                for (size_t i = 0; i < run; i++)
                    data[at + i] = (uint8_t)random_next();
                size += run;
            }
            break;
        default: { /* splice with another input */
            unsigned other = (unsigned)(random_next() % input_count);
            if (inputs[other].size > at) {
                size_t run = inputs[other].size - at;
                memcpy(data + at, inputs[other].data + at, run);
                size = at + run;
            }
        }
        }
    }
    return size;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
        return 2;
    }
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    load_corpus(argv[1]);
    if (input_count == 0) {
        fprintf(stderr, "%s: empty corpus\n", argv[1]);
        return 1;
    }
    const char *rounds_text = getenv("WEFT_FUZZ_ROUNDS"), *seed_text = getenv("WEFT_FUZZ_SEED");
    unsigned long rounds = rounds_text ? strtoul(rounds_text, NULL, 10) : 20000;
    unsigned long long seed = seed_text ? strtoull(seed_text, NULL, 10) : 0;
    random_state = (seed * 0x9e3779b97f4a7c15u) | 1;
    printf("%u inputs, %lu mutations, WEFT_FUZZ_SEED=%llu\n", input_count, rounds, seed);
    fflush(stdout);
    for (unsigned i = 0; i < input_count; i++)
        LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].size);
    for (unsigned long round = 0; round < rounds; round++) {
        unsigned i = (unsigned)(random_next() % input_count);
        uint8_t *data = malloc(INPUT_SIZE_MAX);
        memcpy(data, inputs[i].data, inputs[i].size);
        size_t size = mutate(data, inputs[i].size);
        uint8_t *exact = malloc(size ? size : 1); /* exact size, so that ASan sees a read beyond it */
        memcpy(exact, data, size);
        free(data);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    for (unsigned i = 0; i < input_count; i++)
        free(inputs[i].data);
    return 0;
}
