/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "log.h"
#include "store.h"
#include "weft_api.h"

#define GENERATION_SIZE_MAX (8u << 20)

struct store {
    char *path;
    int directory;   /* STATE-DIR */
    int generations; /* STATE-DIR/generations */
    int lock;
    uint64_t current;
    char error[512];
};

const char *store_error(const struct store *store)
{
    return store->error;
}

static int store_fail(struct store *store, int error, const char *what, const char *name)
{
    snprintf(store->error, sizeof(store->error), "cannot %s %s/%s: %s", what, store->path, name,
             strerror(error));
    return -error;
}

static int write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, text, size);
        if (written < 0 && errno != EINTR)
            return -errno;
        if (written > 0) {
            text += written;
            size -= (size_t)written;
        }
    }
    return 0;
}

/* A file with this text, on disk, under a name that no reader looks at. */
static int write_aside(struct store *store, const char *name, const char *text, size_t size)
{
    int fd = openat(store->directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return store_fail(store, errno, "create", name);
    int error = write_all(fd, text, size);
    if (!error && fsync(fd) < 0)
        error = -errno;
    if (close(fd) < 0 && !error)
        error = -errno;
    if (error) {
        unlinkat(store->directory, name, 0);
        return store_fail(store, -error, "write", name);
    }
    return 0;
}

static int move_in_place(struct store *store, const char *aside, const char *name, int directory)
{
    if (renameat(store->directory, aside, store->directory, name) < 0)
        return store_fail(store, errno, "rename", aside);
    if (fsync(directory) < 0)
        return store_fail(store, errno, "synchronise the directory of", name);
    return 0;
}

static int write_json_aside(struct store *store, const char *name, json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(1));
    if (!text)
        return store_fail(store, ENOMEM, "make the text of", name);
    int error = write_aside(store, name, text, strlen(text));
    free(text);
    return error;
}

static json_t *read_json(struct store *store, const char *name)
{
    json_error_t where;
    struct stat status;
    int fd = openat(store->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return NULL;
    json_t *value = NULL;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size <= GENERATION_SIZE_MAX) {
        value = json_loadfd(fd, JSON_REJECT_DUPLICATES, &where);
        if (!value)
            log_warning("%s/%s is damaged: line %d: %s", store->path, name, where.line, where.text);
    }
    close(fd);
    return value;
}

static void generation_name(char name[64], uint64_t generation, bool aside)
{
    snprintf(name, 64, "generations/%" PRIu64 ".json%s", generation, aside ? ".tmp" : "");
}

json_t *store_load(struct store *store, uint64_t generation)
{
    char name[64];
    generation_name(name, generation, false);
    json_t *record = read_json(store, name);
    bool valid = json_is_object(json_object_get(record, "config")) &&
                 json_is_object(json_object_get(record, "ids")) &&
                 (uint64_t)json_integer_value(json_object_get(record, "generation")) == generation;
    if (!valid) {
        json_decref(record);
        return NULL;
    }
    return record;
}

uint64_t store_current(const struct store *store)
{
    return store->current;
}

/* N of "N.json", 0 for any other name. */
static uint64_t generation_of(const char *name)
{
    char *end;
    if (*name < '1' || *name > '9')
        return 0;
    uint64_t generation = strtoull(name, &end, 10);
    return strcmp(end, ".json") == 0 && generation < INT64_MAX ? generation : 0;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? 1 : left > right ? -1 : 0;
}

static DIR *generations_dir(struct store *store)
{
    int fd = openat(store->generations, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

size_t store_list(struct store *store, uint64_t *generations, size_t max)
{
    size_t count = 0;
    DIR *dir = generations_dir(store);
    if (!dir)
        return 0;
    for (struct dirent *entry; count < max && (entry = readdir(dir));) {
        uint64_t generation = generation_of(entry->d_name);
        if (generation)
            generations[count++] = generation;
    }
    closedir(dir);
    qsort(generations, count, sizeof(*generations), newest_first);
    return count;
}

/* Keeps the newest ones; a damaged disk's worst case is more files than the array, swept another time. */
static void store_prune(struct store *store)
{
    uint64_t generations[2 * WEFT_HISTORY_MAX];
    size_t count = store_list(store, generations, 2 * WEFT_HISTORY_MAX);
    for (size_t i = WEFT_HISTORY_MAX; i < count; i++) {
        char name[64];
        generation_name(name, generations[i], false);
        if (generations[i] != store->current)
            unlinkat(store->directory, name, 0);
    }
}

int store_prepare(struct store *store, uint64_t generation, json_t *record)
{
    char name[64], number[32];
    generation_name(name, generation, true);
    int error = write_json_aside(store, name, record);
    if (error)
        return error;
    snprintf(number, sizeof(number), "%" PRIu64 "\n", generation);
    error = write_aside(store, "current.tmp", number, strlen(number));
    if (error)
        unlinkat(store->directory, name, 0);
    return error;
}

int store_commit(struct store *store, uint64_t generation)
{
    char aside[64], name[64];
    generation_name(aside, generation, true);
    generation_name(name, generation, false);
    int error = move_in_place(store, aside, name, store->generations);
    if (error)
        return error;
    if (renameat(store->directory, "current.tmp", store->directory, "current") < 0)
        return store_fail(store, errno, "rename", "current.tmp");
    store->current = generation;
    if (fsync(store->directory) < 0)
        log_error("cannot synchronise %s: %s", store->path, strerror(errno));
    store_prune(store);
    return 0;
}

void store_discard(struct store *store, uint64_t generation)
{
    char name[64];
    generation_name(name, generation, true);
    unlinkat(store->directory, name, 0);
    generation_name(name, generation, false);
    if (generation != store->current)
        unlinkat(store->directory, name, 0);
    unlinkat(store->directory, "current.tmp", 0);
}

int store_write(struct store *store, const char *name, json_t *value)
{
    char aside[64];
    snprintf(aside, sizeof(aside), "%s.tmp", name);
    int error = write_json_aside(store, aside, value);
    return error ? error : move_in_place(store, aside, name, store->directory);
}

json_t *store_read(struct store *store, const char *name)
{
    return read_json(store, name);
}

int store_remove(struct store *store, const char *name)
{
    if (unlinkat(store->directory, name, 0) < 0)
        return errno == ENOENT ? 0 : store_fail(store, errno, "remove", name);
    fsync(store->directory);
    return 0;
}

/* Removes what an interrupted commit left: files aside, and a generation that `current` never came to name.
 */
static void store_sweep(struct store *store)
{
    DIR *dir = generations_dir(store);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        bool aside = length > 4 && strcmp(entry->d_name + length - 4, ".tmp") == 0;
        if (aside || generation_of(entry->d_name) > store->current)
            unlinkat(store->generations, entry->d_name, 0);
    }
    closedir(dir);
    unlinkat(store->directory, "current.tmp", 0);
}

static void store_find_current(struct store *store)
{
    char text[32] = "";
    int fd = openat(store->directory, "current", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size > 0)
        store->current = strtoull(text, NULL, 10);
}

static int make_directories(const char *path)
{
    char part[4096];
    if (strlen(path) >= sizeof(part))
        return -ENAMETOOLONG;
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return -errno;
    }
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int store_open_files(struct store *store)
{
    int error = make_directories(store->path);
    if (error)
        return store_fail(store, -error, "create", "");
    store->directory = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->directory < 0)
        return store_fail(store, errno, "open", "");
    if (mkdirat(store->directory, "generations", 0700) < 0 && errno != EEXIST)
        return store_fail(store, errno, "create", "generations");
    store->generations = openat(store->directory, "generations", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->generations < 0)
        return store_fail(store, errno, "open", "generations");
    store->lock = openat(store->directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock < 0)
        return store_fail(store, errno, "open", "lock");
    if (flock(store->lock, LOCK_EX | LOCK_NB) < 0) {
        error = errno == EWOULDBLOCK ? EBUSY : errno;
        snprintf(store->error, sizeof(store->error), "%s is in use by another weftd", store->path);
        return -error;
    }
    return 0;
}

struct store *store_open(const char *path, char *text, size_t size)
{
    struct store *store = calloc(1, sizeof(*store));
    if (!store)
        return NULL;
    store->path = strdup(path);
    store->directory = store->generations = store->lock = -1;
    int error = store->path ? store_open_files(store) : -ENOMEM;
    if (error) {
        snprintf(text, size, "%s", store->error);
        store_close(store);
        errno = -error;
        return NULL;
    }
    store_find_current(store);
    store_sweep(store);
    return store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    const int fds[] = {store->directory, store->generations, store->lock};
    for (unsigned i = 0; i < 3; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(store->path);
    free(store);
}
