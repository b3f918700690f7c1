/* SPDX-License-Identifier: BSD-3-Clause */
/* The frontend against a backend that is a script: right, wrong, silent and gone. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "frontend.h"

#define FEATURE(bit) (1ull << (bit))
#define TIMEOUT_MS   60000
#define WANTED                                                                                               \
    (FEATURE(VHOST_PROTOCOL_F_MQ) | FEATURE(VHOST_PROTOCOL_F_REPLY_ACK) | FEATURE(VHOST_PROTOCOL_F_STATUS) | \
     FEATURE(VHOST_PROTOCOL_F_CONFIG) | FEATURE(VHOST_PROTOCOL_F_BACKEND_REQ))

/* What the backend does with one kind of request; with all others what is right. */
enum mood { RIGHT, REFUSES, WRONG_REQUEST, NO_REPLY_FLAG, WRONG_SIZE, SILENT, GONE, DESCRIPTOR, HUGE_VALUE };

struct script {
    int fd;
    uint64_t features, protocol;
    uint32_t request; /* that the mood is about */
    enum mood mood;
    int channel; /* taken from SET_BACKEND_REQ_FD */
    pthread_t thread;
};

/* The value a request is answered with, or false: it has no answer of its own. */
static bool value_of(const struct script *script, uint32_t request, uint64_t *value)
{
    switch (request) {
    case VHOST_GET_FEATURES:
        *value = script->features;
        return true;
    case VHOST_GET_PROTOCOL_FEATURES:
        *value = script->protocol;
        return true;
    case VHOST_GET_QUEUE_NUM:
        *value = 4;
        return true;
    case VHOST_GET_STATUS:
        *value = 0x4f;
        return true;
    case VHOST_GET_VRING_BASE:
        *value = 0x8005800700000001; /* index 1, positions 0x8007 and 0x8005 */
        return true;
    default:
        return false;
    }
}

static bool answer(const struct script *script, const struct vhost_message *request)
{
    struct vhost_message reply = {.request = request->request, .flags = 5, .size = 8};
    bool about = request->request == script->request;
    enum mood mood = about ? script->mood : RIGHT;
    int fd = STDERR_FILENO;
    uint64_t value = 0;
    if (request->request == VHOST_GET_CONFIG) {
        reply.size = request->size;
        memcpy(&reply.payload.config, &request->payload.config, VHOST_CONFIG_HEADER_SIZE);
        memset(reply.payload.config.data, 0x42, request->size - VHOST_CONFIG_HEADER_SIZE);
    } else if (value_of(script, request->request, &value) || (request->flags & VHOST_FLAG_NEED_REPLY)) {
        reply.payload.u64 = value;
    } else if (mood != GONE) {
        return true;
    }
    if (mood == REFUSES && request->request == VHOST_GET_CONFIG)
        reply.size = 0;
    else if (mood == REFUSES)
        reply.payload.u64 = 1;
    if (mood == WRONG_REQUEST)
        reply.request++;
    if (mood == NO_REPLY_FLAG)
        reply.flags = 1;
    if (mood == WRONG_SIZE)
        reply.size = 4;
    if (mood == HUGE_VALUE)
        reply.payload.u64 = ~0ull;
    if (mood == SILENT)
        return true;
    return mood != GONE && vhost_send(script->fd, &reply, &fd, mood == DESCRIPTOR ? 1 : 0) == 0;
}

static void *serve(void *argument)
{
    struct script *script = argument;
    struct vhost_receiver receiver;
    const char *violation;
    vhost_receiver_init(&receiver);
    for (bool going = true; going;) {
        struct pollfd item = {.fd = script->fd, .events = POLLIN};
        poll(&item, 1, -1);
        int result = vhost_receive(&receiver, script->fd, &violation);
        if (result == 0)
            continue;
        going = result == 1;
        if (going && receiver.message.request == VHOST_SET_BACKEND_REQ_FD && receiver.fd_count == 1)
            script->channel = vhost_receiver_take_fd(&receiver, 0);
        going = going && answer(script, &receiver.message);
        vhost_receiver_reset(&receiver);
    }
    close(script->fd);
    if (script->channel >= 0)
        close(script->channel);
    return NULL;
}

static struct vhost_frontend *start(struct script *script, int timeout_ms)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    script->fd = ends[0];
    script->channel = -1;
    assert_int_equal(pthread_create(&script->thread, NULL, serve, script), 0);
    struct vhost_frontend *frontend = vhost_frontend_adopt(ends[1], timeout_ms);
    assert_non_null(frontend);
    return frontend;
}

static void end(struct script *script, struct vhost_frontend *frontend)
{
    vhost_frontend_close(frontend);
    pthread_join(script->thread, NULL);
}

static const uint64_t full = FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) | FEATURE(VIRTIO_F_VERSION_1);

static void test_negotiation(void **state)
{
    struct script script = {.features = full, .protocol = ~FEATURE(VHOST_PROTOCOL_F_STATUS)};
    struct vhost_frontend *frontend = start(&script, TIMEOUT_MS);
    uint64_t offered;
    unsigned pairs;
    assert_int_equal(vhost_frontend_negotiate(frontend, WANTED, &offered, &pairs), 0);
    assert_int_equal(offered, full);
    assert_int_equal(pairs, 4);
    assert_int_equal(vhost_frontend_protocol_features(frontend), WANTED & ~FEATURE(VHOST_PROTOCOL_F_STATUS));
    assert_true(vhost_frontend_backend_channel(frontend) >= 0);
    uint8_t status;
    assert_int_equal(vhost_frontend_get_status(frontend, &status), -EOPNOTSUPP);
    assert_int_equal(vhost_frontend_set_features(frontend, FEATURE(VIRTIO_F_VERSION_1)), 0);
    end(&script, frontend);
}

static void test_old_backend(void **state)
{
    struct script script = {.features = FEATURE(VIRTIO_F_VERSION_1)};
    struct vhost_frontend *frontend = start(&script, TIMEOUT_MS);
    uint64_t offered;
    unsigned pairs;
    assert_int_equal(vhost_frontend_negotiate(frontend, WANTED, &offered, &pairs), 0);
    assert_int_equal(pairs, 1);
    assert_int_equal(vhost_frontend_protocol_features(frontend), 0);
    assert_int_equal(vhost_frontend_backend_channel(frontend), -1);
    assert_int_equal(vhost_frontend_enable_ring(frontend, 0, true), 0);
    assert_int_equal(vhost_frontend_enable_ring(frontend, 0, false), -EOPNOTSUPP);
    assert_int_equal(vhost_frontend_reset_device(frontend), -EOPNOTSUPP);
    assert_int_equal(vhost_frontend_set_mtu(frontend, 1500), -EOPNOTSUPP);
    assert_int_equal(vhost_frontend_backend_event(frontend), -EOPNOTSUPP);
    end(&script, frontend);
}

static int negotiated_result(uint32_t request, enum mood mood, int timeout_ms)
{
    struct script script = {.features = full, .protocol = ~0ull, .request = request, .mood = mood};
    struct vhost_frontend *frontend = start(&script, timeout_ms);
    uint64_t offered;
    unsigned pairs;
    int result = vhost_frontend_negotiate(frontend, WANTED, &offered, &pairs);
    if (result < 0 && result != -EINVAL) /* and it stays that way */
        assert_int_equal(vhost_frontend_set_features(frontend, 0), result);
    end(&script, frontend);
    return result;
}

static void test_bad_replies(void **state)
{
    assert_int_equal(negotiated_result(VHOST_GET_FEATURES, WRONG_REQUEST, TIMEOUT_MS), -EPROTO);
    assert_int_equal(negotiated_result(VHOST_GET_FEATURES, NO_REPLY_FLAG, TIMEOUT_MS), -EPROTO);
    assert_int_equal(negotiated_result(VHOST_GET_FEATURES, WRONG_SIZE, TIMEOUT_MS), -EPROTO);
    assert_int_equal(negotiated_result(VHOST_GET_FEATURES, DESCRIPTOR, TIMEOUT_MS), -EPROTO);
    assert_int_equal(negotiated_result(VHOST_GET_FEATURES, SILENT, 50), -ETIMEDOUT);
    assert_int_equal(negotiated_result(VHOST_GET_FEATURES, GONE, TIMEOUT_MS), -ECONNRESET);
    assert_int_equal(negotiated_result(VHOST_GET_QUEUE_NUM, HUGE_VALUE, TIMEOUT_MS), -EPROTO);
    assert_int_equal(negotiated_result(VHOST_SET_OWNER, REFUSES, TIMEOUT_MS), -EINVAL);
    assert_int_equal(negotiated_result(VHOST_SET_OWNER, WRONG_SIZE, TIMEOUT_MS), -EPROTO);
    assert_int_equal(negotiated_result(VHOST_SET_OWNER, SILENT, 50), -ETIMEDOUT);
}

static struct vhost_frontend *ready(struct script *script)
{
    uint64_t offered;
    unsigned pairs;
    script->features = full;
    script->protocol = ~0ull;
    struct vhost_frontend *frontend = start(script, TIMEOUT_MS);
    assert_int_equal(vhost_frontend_negotiate(frontend, WANTED, &offered, &pairs), 0);
    return frontend;
}

static void test_refusal_leaves_the_connection(void **state)
{
    struct script script = {.request = VHOST_SET_FEATURES, .mood = REFUSES};
    struct vhost_frontend *frontend = ready(&script);
    uint8_t status;
    assert_int_equal(vhost_frontend_set_features(frontend, FEATURE(VIRTIO_F_VERSION_1)), -EINVAL);
    assert_int_equal(vhost_frontend_get_status(frontend, &status), 0);
    assert_int_equal(status, 0x4f);
    end(&script, frontend);
}

static void test_ring_positions(void **state)
{
    struct script script = {0};
    struct vhost_frontend *frontend = ready(&script);
    uint16_t base, base_used;
    assert_int_equal(vhost_frontend_stop_ring(frontend, 1, &base, &base_used), 0);
    assert_int_equal(base, 0x8007);
    assert_int_equal(base_used, 0x8005);
    assert_int_equal(vhost_frontend_stop_ring(frontend, 2, &base, &base_used),
                     -EPROTO); /* answered for ring 1 */
    end(&script, frontend);
}

static void test_config(void **state)
{
    struct script script = {0};
    struct vhost_frontend *frontend = ready(&script);
    uint8_t data[8] = {0};
    assert_int_equal(vhost_frontend_get_config(frontend, 0, data, sizeof(data)), 0);
    assert_int_equal(data[7], 0x42);
    assert_int_equal(vhost_frontend_get_config(frontend, 250, data, sizeof(data)), -EINVAL);
    assert_int_equal(vhost_frontend_get_config(frontend, UINT32_MAX, data, sizeof(data)), -EINVAL);
    end(&script, frontend);
    script = (struct script){.request = VHOST_GET_CONFIG, .mood = REFUSES};
    frontend = ready(&script);
    assert_int_equal(vhost_frontend_get_config(frontend, 0, data, sizeof(data)), -EINVAL);
    end(&script, frontend);
}

static void test_memory_arguments(void **state)
{
    struct script script = {0};
    struct vhost_frontend *frontend = ready(&script);
    struct vhost_frontend_region regions[9] = {{0}};
    assert_int_equal(vhost_frontend_set_memory(frontend, regions, 0), -EINVAL);
    assert_int_equal(vhost_frontend_set_memory(frontend, regions, 9), -EINVAL);
    for (unsigned i = 0; i < 8; i++)
        regions[i].fd = STDERR_FILENO;
    assert_int_equal(vhost_frontend_set_memory(frontend, regions, 8), 0);
    end(&script, frontend);
}

static void test_backend_events(void **state)
{
    struct script script = {0};
    struct vhost_frontend *frontend = ready(&script);
    struct vhost_message event = {.request = VHOST_BACKEND_CONFIG_CHANGE, .flags = 1};
    assert_int_equal(vhost_frontend_backend_event(frontend), 0);
    assert_int_equal(vhost_send(script.channel, &event, NULL, 0), 0);
    assert_int_equal(vhost_frontend_backend_event(frontend), 1);
    event.flags |= VHOST_FLAG_NEED_REPLY;
    assert_int_equal(vhost_send(script.channel, &event, NULL, 0), 0);
    assert_int_equal(vhost_frontend_backend_event(frontend), 1);
    event = (struct vhost_message){.request = 99, .flags = 1};
    assert_int_equal(vhost_send(script.channel, &event, NULL, 0), 0);
    assert_int_equal(vhost_frontend_backend_event(frontend), -EPROTO);
    end(&script, frontend);
}

static void test_connect_errors(void **state)
{
    char path[200];
    memset(path, 'x', sizeof(path));
    path[199] = 0;
    assert_null(vhost_frontend_connect(path, 100));
    assert_int_equal(errno, ENAMETOOLONG);
    assert_null(vhost_frontend_connect("/tmp/weft-no-such-socket", 100));
    assert_int_equal(errno, ENOENT);
    vhost_frontend_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negotiation),      cmocka_unit_test(test_old_backend),
        cmocka_unit_test(test_bad_replies),      cmocka_unit_test(test_refusal_leaves_the_connection),
        cmocka_unit_test(test_ring_positions),   cmocka_unit_test(test_config),
        cmocka_unit_test(test_memory_arguments), cmocka_unit_test(test_backend_events),
        cmocka_unit_test(test_connect_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
