/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What weftd begins with. The generation on disk is in force, whatever the file says: the file is applied as
 * a change like any other, if its text is not the one that was last applied. So a file that does not change
 * undoes nothing that was changed through the API, and a broken file keeps nobody from working.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "config_yaml.h"
#include "controller.h"
#include "ids.h"
#include "log.h"

#define APPLIED_FILE "applied.json"
#define FNV_OFFSET   0xcbf29ce484222325u
#define FNV_PRIME    0x100000001b3u

/* Tells one text from another; nobody gains anything by two texts with the same value. */
static void text_hash(const char *text, size_t size, char hash[20])
{
    uint64_t value = FNV_OFFSET;
    for (size_t i = 0; i < size; i++)
        value = (value ^ (unsigned char)text[i]) * FNV_PRIME;
    snprintf(hash, 20, "%016" PRIx64, value);
}

static void remember_file(struct controller *controller, const char *text, size_t size)
{
    char hash[20];
    text_hash(text, size, hash);
    json_t *value = json_pack("{s:s, s:s}", "file", controller->options.config, "hash", hash);
    if (store_write(controller->store, APPLIED_FILE, value) < 0)
        log_error("%s", store_error(controller->store));
    json_decref(value);
}

static bool file_was_applied(struct controller *controller, const char *text, size_t size)
{
    char hash[20];
    text_hash(text, size, hash);
    json_t *value = store_read(controller->store, APPLIED_FILE);
    const char *before = json_string_value(json_object_get(value, "hash"));
    bool same = before && strcmp(before, hash) == 0;
    json_decref(value);
    return same;
}

/* To be freed; NULL and errno. */
static char *file_read(const char *path, size_t *size)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    char *text = malloc(CONFIG_YAML_SIZE_MAX + 1);
    *size = 0;
    int error = !text ? ENOMEM : fstat(fd, &status) < 0 ? errno : S_ISREG(status.st_mode) ? 0 : EINVAL;
    while (!error && *size <= CONFIG_YAML_SIZE_MAX) {
        ssize_t more = read(fd, text + *size, CONFIG_YAML_SIZE_MAX + 1 - *size);
        if (more < 0)
            error = errno;
        if (more <= 0)
            break;
        *size += (size_t)more;
    }
    close(fd);
    if (error) {
        free(text);
        errno = error;
        return NULL;
    }
    return text;
}

void startup_applied_text(struct controller *controller, const char *text, size_t size)
{
    size_t file_size;
    char *file = file_read(controller->options.config, &file_size);
    if (file && file_size == size && memcmp(file, text, size) == 0)
        remember_file(controller, text, size);
    free(file);
}

/* The newest generation that can be read, `current` first. */
static json_t *load_record(struct controller *controller)
{
    uint64_t generations[2 * WEFT_HISTORY_MAX], current = store_current(controller->store);
    json_t *record = current ? store_load(controller->store, current) : NULL;
    if (record || !current)
        return record;
    log_error("generation %" PRIu64 " cannot be read; looking for an older one", current);
    size_t count = store_list(controller->store, generations, 2 * WEFT_HISTORY_MAX);
    for (size_t i = 0; i < count && !record; i++)
        record = store_load(controller->store, generations[i]);
    return record;
}

static bool load_generation(struct controller *controller)
{
    struct diagnostics diagnostics = {0};
    json_t *record = load_record(controller);
    json_t *config =
        record ? json_incref(json_object_get(record, "config")) : json_pack("{s:i}", "version", 1);
    controller->model = model_build(config, controller->options.run_dir, NULL, &diagnostics);
    controller->generation = store_current(controller->store);
    controller->ids = json_incref(json_object_get(record, "ids"));
    json_decref(config);
    json_decref(record);
    if (!controller->model) {
        char *summary = diagnostics_summary(&diagnostics, NULL);
        log_error("generation %" PRIu64 " on disk does not fit this machine or version: %s",
                  controller->generation, summary);
        free(summary);
        diagnostics_clear(&diagnostics);
        return false;
    }
    json_t *ids = ids_assign(controller->ids, controller->model);
    json_decref(controller->ids);
    controller->ids = ids;
    return true;
}

static void report(const char *filename, struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct diagnostic *item = &diagnostics->items[i];
        log_error("%s:%u:%u: %s%s%s", filename, item->position.line, item->position.column, item->path,
                  item->path[0] ? ": " : "", item->message);
    }
}

/* Whether the file is to be applied; false with *stop: weftd must not start without it. */
static bool check_file(struct controller *controller, const char *text, size_t size, bool *stop)
{
    struct diagnostics diagnostics = {0};
    const char *filename = controller->options.config;
    if (file_was_applied(controller, text, size))
        return false;
    struct document *document = config_yaml_parse(text, size, &diagnostics);
    struct model *model = document ? apply_candidate(controller, document, &diagnostics) : NULL;
    document_free(document);
    if (model) {
        supervisor_configure_next(controller->supervisor, model->config);
        model_free(model);
        return true;
    }
    report(filename, &diagnostics);
    *stop = controller->generation == 0;
    if (!*stop) {
        log_warning("%s is invalid; generation %" PRIu64 " stays in force", filename, controller->generation);
        snprintf(controller->file_trouble, sizeof(controller->file_trouble),
                 "%s was not applied at the start: it is invalid (%zu errors)", filename,
                 diagnostics.count + diagnostics.omitted);
    }
    diagnostics_clear(&diagnostics);
    return false;
}

enum weft_code startup_load(struct controller *controller)
{
    bool stop = false;
    size_t size;
    if (!load_generation(controller))
        return WEFT_FAILED;
    supervisor_configure(controller->supervisor, controller->model->config);
    apply_confirm_load(controller);
    char *text = file_read(controller->options.config, &size);
    if (!text) {
        bool missing = errno == ENOENT && !controller->options.config_given;
        if (missing)
            log_notice("there is no %s: starting with %s", controller->options.config,
                       controller->generation ? "the last generation" : "nothing configured");
        else
            log_error("cannot read %s: %s%s", controller->options.config,
                      errno == EINVAL ? "not a regular file" : strerror(errno),
                      errno == ENOENT ? "; the smallest configuration is one line: version: 1" : "");
        return missing ? WEFT_OK : WEFT_FAILED;
    }
    controller->file_pending = check_file(controller, text, size, &stop);
    free(text);
    return stop ? WEFT_INVALID : WEFT_OK;
}

void startup_apply_file(struct controller *controller)
{
    struct outcome outcome = {0};
    struct change change = {.by = getuid(), .expected = -1, .ends_confirmation = true};
    const char *filename = controller->options.config;
    size_t size;
    controller->file_pending = false;
    char *text = file_read(filename, &size);
    if (!text) {
        snprintf(controller->file_trouble, sizeof(controller->file_trouble), "cannot read %s: %s", filename,
                 strerror(errno));
        return;
    }
    if (apply_text(controller, text, size, filename, &change, &outcome) == WEFT_OK) {
        remember_file(controller, text, size);
        controller->file_trouble[0] = '\0';
    } else {
        snprintf(controller->file_trouble, sizeof(controller->file_trouble), "%s was not applied: %.400s",
                 filename, outcome.message);
        log_error("%s", controller->file_trouble);
    }
    free(text);
    outcome_clear(&outcome);
}
