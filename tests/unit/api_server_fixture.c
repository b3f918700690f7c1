/* SPDX-License-Identifier: BSD-3-Clause */
#include "api_server_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct api_fixture api_fixture;

static const struct objects *fake_objects(void *context)
{
    return api_fixture.objects;
}

static int fake_commit(void *context, struct transaction *transaction, char *text)
{
    int fds[DP_PORT_FDS_MAX + 1];
    if (api_fixture.commit_fails) {
        snprintf(text, OBJECT_TEXT_SIZE, "port t1/port1: no");
        return -EADDRINUSE;
    }
    for (uint32_t id = 1; id < DP_PORTS_MAX; id++) {
        unsigned count = transaction_take_fds(transaction, id, fds);
        api_fixture.fds_taken += count;
        for (unsigned i = 0; i < count; i++)
            close(fds[i]);
    }
    objects_free(api_fixture.objects);
    api_fixture.objects = transaction_take_objects(transaction);
    api_fixture.commits++;
    return 0;
}

static size_t fake_read(void *context, enum dp_kind kind, uint64_t *cursor, void *objects, size_t capacity)
{
    struct dp_fdb_entry *entries = objects;
    size_t count = 0;
    if (kind != DP_KIND_FDB_ENTRY) {
        *cursor = API_CURSOR_END;
        return 0;
    }
    while (count < capacity && *cursor < API_FIXTURE_ADDRESSES)
        entries[count++] = (struct dp_fdb_entry){.segment = 1, .port = (uint32_t)(*cursor)++};
    if (*cursor == API_FIXTURE_ADDRESSES)
        *cursor = API_CURSOR_END;
    return count;
}

static int fake_flush(void *context, const struct dp_flush *flush, char *text)
{
    api_fixture.flushes++;
    return 0;
}

static void fake_stop(void *context)
{
    api_fixture.stops++;
}

const struct api_ops api_fixture_ops = {.objects = fake_objects,
                                        .commit = fake_commit,
                                        .read = fake_read,
                                        .flush = fake_flush,
                                        .stop = fake_stop};

static void on_stop(evutil_socket_t fd, short what, void *context)
{
    event_base_loopbreak(api_fixture.base);
}

static void *serve(void *context)
{
    event_base_dispatch(api_fixture.base);
    return NULL;
}

int api_fixture_setup(void **state)
{
    memset(&api_fixture, 0, sizeof(api_fixture));
    snprintf(api_fixture.directory, sizeof(api_fixture.directory), "/tmp/weft-api-test.XXXXXX");
    if (!mkdtemp(api_fixture.directory))
        return -1;
    snprintf(api_fixture.path, sizeof(api_fixture.path), "%s/dataplane.sock", api_fixture.directory);
    api_fixture.objects = objects_new();
    api_fixture.base = event_base_new();
    api_fixture.stop_fd = eventfd(0, EFD_CLOEXEC);
    api_fixture.server = api_server_new(api_fixture.base, api_fixture.path, &api_fixture_ops, NULL);
    api_fixture.stop = event_new(api_fixture.base, api_fixture.stop_fd, EV_READ, on_stop, NULL);
    if (!api_fixture.server || event_add(api_fixture.stop, NULL) < 0)
        return -1;
    return pthread_create(&api_fixture.thread, NULL, serve, NULL);
}

int api_fixture_teardown(void **state)
{
    eventfd_write(api_fixture.stop_fd, 1);
    pthread_join(api_fixture.thread, NULL);
    api_server_free(api_fixture.server);
    event_free(api_fixture.stop);
    event_base_free(api_fixture.base);
    objects_free(api_fixture.objects);
    close(api_fixture.stop_fd);
    bool removed = access(api_fixture.path, F_OK) < 0;
    return rmdir(api_fixture.directory) == 0 && removed ? 0 : -1;
}

struct dp_client *api_fixture_connect(void)
{
    struct dp_client *client = dp_client_connect(api_fixture.path, API_FIXTURE_TIMEOUT_MS);
    assert_non_null(client);
    return client;
}

void api_fixture_put_base(struct dp_client *client)
{
    struct dp_segment segment = make_segment(1, 1);
    struct dp_port port = make_port(1, 1);
    struct dp_member member = make_member(1, 1, 0);
    assert_int_equal(dp_client_begin(client), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_SEGMENT, &segment, NULL, 0), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_PORT, &port, NULL, 0), 0);
    assert_int_equal(dp_client_put(client, DP_KIND_MEMBER, &member, NULL, 0), 0);
}
