/* SPDX-License-Identifier: BSD-3-Clause */
/* The backend through its socket: what it offers, accepts, refuses and tells. Rings under load: tests/vhost.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>
#include <cmocka.h>
#include "driver.h"
#include "harness.h"

#define FEATURE(bit) (1ull << (bit))
#define TIMEOUT_MS   60000
#define BASIC        FEATURE(VIRTIO_F_VERSION_1)

static char path[108];

static struct vhost_backend_config make_config(unsigned pairs)
{
    harness_path(path, sizeof(path));
    return (struct vhost_backend_config){.path = path, .queue_pairs = pairs, .socket_group = (gid_t)-1};
}

static struct vhost_frontend *dial(uint64_t protocol, uint64_t *offered, unsigned *pairs)
{
    struct vhost_frontend *frontend = vhost_frontend_connect(path, TIMEOUT_MS);
    assert_non_null(frontend);
    assert_int_equal(vhost_frontend_negotiate(frontend, protocol, offered, pairs), 0);
    return frontend;
}

static void quiesce(void *context)
{
}

static void changed(void *context)
{
}

static void kick_fd(void *context, unsigned ring, int fd)
{
}

static void announce(void *context, const uint8_t mac[6])
{
}

static void log_line(void *context, int level, const char *text)
{
}

static struct vhost_backend *make_backend(const struct vhost_backend_config *config)
{
    static const struct vhost_backend_events events = {quiesce, changed, kick_fd, announce, log_line};
    return vhost_backend_new(config, &events, NULL);
}

static void test_socket_file(void **state)
{
    struct vhost_backend_config config = make_config(1);
    struct stat status;
    mode_t mask = umask(077);
    struct vhost_backend *backend = make_backend(&config);
    assert_non_null(backend);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0660);
    vhost_backend_free(backend);
    assert_int_equal(stat(path, &status), -1);
    config.socket_mode = 0606;
    backend = make_backend(&config);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0606);
    vhost_backend_free(backend);
    umask(mask);
}

static void test_occupied_path(void **state)
{
    struct vhost_backend_config config = make_config(1);
    struct vhost_backend *backend = make_backend(&config);
    assert_null(make_backend(&config));
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(access(path, F_OK), 0); /* the live one's socket stays */
    vhost_backend_free(backend);

    /* What a killed process leaves behind. */
    struct sockaddr_un address;
    assert_int_equal(vhost_socket_address(&address, path), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    backend = make_backend(&config);
    assert_non_null(backend);

    /* Somebody else's socket at our path is not ours to remove. */
    unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    vhost_backend_free(backend);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    unlink(path);

    FILE *file = fopen(path, "w");
    fclose(file);
    assert_null(make_backend(&config));
    assert_int_equal(errno, EEXIST);
    unlink(path);
}

static void test_bad_config(void **state)
{
    struct vhost_backend_config config = make_config(0);
    unsigned fds = harness_fd_count();
    assert_null(make_backend(&config));
    assert_int_equal(errno, EINVAL);
    config.queue_pairs = VHOST_QUEUE_PAIRS_MAX + 1;
    assert_null(make_backend(&config));
    char deep[200];
    memset(deep, 'a', sizeof(deep));
    deep[sizeof(deep) - 1] = 0;
    config.queue_pairs = 1;
    config.path = deep;
    assert_null(make_backend(&config));
    assert_int_equal(errno, ENAMETOOLONG);
    config.client = true;
    assert_null(make_backend(&config));
    assert_int_equal(errno, ENAMETOOLONG);
    config.client = false;
    config.path = "/nonexistent/directory/socket";
    assert_null(make_backend(&config));
    assert_int_equal(errno, ENOENT);
    assert_int_equal(harness_fd_count(), fds);
}

static void test_offer(void **state)
{
    struct vhost_backend_config config = make_config(8);
    const uint64_t always = FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_F_RING_PACKED) |
                            FEATURE(VIRTIO_F_IN_ORDER) | FEATURE(VIRTIO_NET_F_MRG_RXBUF) |
                            FEATURE(VIRTIO_NET_F_STATUS) | FEATURE(VIRTIO_NET_F_HOST_TSO4) |
                            FEATURE(VIRTIO_RING_F_EVENT_IDX);
    uint64_t offered;
    unsigned pairs;
    struct harness *harness = harness_start(&config);
    struct vhost_frontend *frontend = dial(~0ull, &offered, &pairs);
    assert_int_equal(offered & always, always);
    assert_int_equal(pairs, 8);
    assert_true(offered & FEATURE(VIRTIO_NET_F_MQ));
    assert_false(offered &
                 (FEATURE(VIRTIO_NET_F_MTU) | FEATURE(VIRTIO_NET_F_MAC) | FEATURE(VIRTIO_NET_F_CTRL_VQ)));
    assert_false(vhost_frontend_protocol_features(frontend) & FEATURE(VHOST_PROTOCOL_F_NET_MTU));
    vhost_frontend_close(frontend);
    harness_stop(harness);

    config = make_config(1);
    config.mtu = 9000;
    config.mac[0] = 2;
    config.features_off = FEATURE(VIRTIO_F_RING_PACKED);
    harness = harness_start(&config);
    frontend = dial(~0ull, &offered, &pairs);
    assert_int_equal(offered & always, always & ~FEATURE(VIRTIO_F_RING_PACKED));
    assert_false(offered & FEATURE(VIRTIO_NET_F_MQ));
    assert_true((offered & FEATURE(VIRTIO_NET_F_MTU)) && (offered & FEATURE(VIRTIO_NET_F_MAC)));
    assert_int_equal(vhost_frontend_set_features(frontend, BASIC), 0);
    assert_int_equal(vhost_frontend_set_mtu(frontend, 9000), 0);
    assert_int_equal(vhost_frontend_set_mtu(frontend, 9001), -EINVAL);
    assert_int_equal(vhost_frontend_set_mtu(frontend, 67), -EINVAL);
    vhost_frontend_close(frontend);
    harness_stop(harness);
}

static void test_config_space(void **state)
{
    struct vhost_backend_config config = make_config(4);
    const uint8_t mac[6] = {2, 3, 4, 5, 6, 7};
    memcpy(config.mac, mac, 6);
    config.mtu = 1600;
    uint64_t offered;
    unsigned pairs;
    struct virtio_net_config space;
    struct harness *harness = harness_start(&config);
    struct vhost_frontend *frontend = dial(~0ull, &offered, &pairs);
    assert_int_equal(vhost_frontend_get_config(frontend, 0, &space, sizeof(space)), 0);
    assert_memory_equal(space.mac, mac, 6);
    assert_int_equal(space.status, VIRTIO_NET_S_LINK_UP);
    assert_int_equal(space.max_virtqueue_pairs, 4);
    assert_int_equal(space.mtu, 1600);

    /* The link goes down: the frontend is told and reads it. */
    struct pollfd item = {.fd = vhost_frontend_backend_channel(frontend), .events = POLLIN};
    harness_set_link(harness, false);
    assert_int_equal(poll(&item, 1, TIMEOUT_MS), 1);
    assert_int_equal(vhost_frontend_backend_event(frontend), 1);
    assert_int_equal(vhost_frontend_get_config(frontend, 6, &space.status, sizeof(space.status)), 0);
    assert_int_equal(space.status, 0);
    vhost_frontend_close(frontend);
    harness_stop(harness);
}

static void test_legacy_driver(void **state)
{
    struct vhost_backend_config config = make_config(1);
    uint64_t offered;
    unsigned pairs;
    uint8_t status;
    struct harness *harness = harness_start(&config);
    struct vhost_frontend *frontend = dial(~0ull, &offered, &pairs);
    assert_int_equal(harness_log_count(harness, LOG_ERR), 0);
    assert_int_equal(vhost_frontend_set_features(frontend, 0), -EINVAL);
    assert_int_equal(harness_log_count(harness, LOG_ERR), 1);
    assert_int_equal(vhost_frontend_set_features(frontend, 0), -EINVAL);
    assert_int_equal(harness_log_count(harness, LOG_ERR), 1);
    assert_int_equal(vhost_frontend_set_status(frontend, 11), -EINVAL);
    assert_int_equal(vhost_frontend_get_status(frontend, &status), 0);
    assert_int_equal(status, 3);
    /* The same machine boots something newer. */
    assert_int_equal(vhost_frontend_reset_device(frontend), 0);
    assert_int_equal(vhost_frontend_set_features(frontend, BASIC), 0);
    assert_int_equal(vhost_frontend_set_status(frontend, 11), 0);
    vhost_frontend_close(frontend);
    harness_stop(harness);
}

static void test_announcement(void **state)
{
    struct vhost_backend_config config = make_config(1);
    const uint8_t mac[6] = {2, 0, 0, 0xaa, 0xbb, 0xcc};
    uint8_t announced[6];
    uint64_t offered;
    unsigned pairs;
    struct harness *harness = harness_start(&config);
    struct vhost_frontend *frontend = dial(~0ull, &offered, &pairs);
    assert_int_equal(vhost_frontend_set_features(frontend, BASIC), 0);
    assert_false(harness_announced(harness, announced));
    assert_int_equal(vhost_frontend_send_rarp(frontend, mac), 0);
    assert_true(harness_announced(harness, announced));
    assert_memory_equal(announced, mac, 6);
    vhost_frontend_close(frontend);
    harness_stop(harness);
}

static bool violated(const struct vhost_backend_state *state)
{
    return state->protocol_errors == 1 && !state->connected;
}

static void test_violation_is_told(void **state)
{
    struct vhost_backend_config config = make_config(1);
    struct harness *harness = harness_start(&config);
    uint64_t offered;
    unsigned pairs;
    struct vhost_frontend *frontend = dial(~0ull, &offered, &pairs);
    assert_int_equal(vhost_frontend_set_features(frontend, ~0ull), -ECONNRESET);
    vhost_frontend_close(frontend);
    assert_true(harness_wait(harness, violated, TIMEOUT_MS));
    struct vhost_backend_state now = harness_state(harness);
    assert_non_null(strstr(now.last_error, "SET_FEATURES: bits that were not offered"));
    assert_int_equal(harness_log_count(harness, LOG_WARNING), 1);
    harness_stop(harness);
}

/* A frontend that reconnects in a loop does not fill the log. */
static void test_log_is_bounded(void **state)
{
    struct vhost_backend_config config = make_config(1);
    struct harness *harness = harness_start(&config);
    for (unsigned i = 0; i < 200; i++) {
        struct vhost_frontend *frontend = vhost_frontend_connect(path, TIMEOUT_MS);
        assert_non_null(frontend);
        vhost_frontend_set_mtu(frontend, 1);
        vhost_frontend_close(frontend);
    }
    assert_true(harness_wait(harness, harness_disconnected, TIMEOUT_MS));
    assert_in_range(harness_log_count(harness, LOG_DEBUG), 1, 64);
    harness_stop(harness);
}

/* Client mode: the switch is there first, dials each second, and again when the other end went away. */
static void test_client_mode(void **state)
{
    struct vhost_backend_config config = make_config(1);
    config.client = true;
    struct harness *harness = harness_start(&config);
    struct driver_config driver = {.path = path,
                                   .listen = true,
                                   .queue_pairs = 1,
                                   .ring_size = 64,
                                   .buffer_size = 2048,
                                   .features = BASIC,
                                   .timeout_ms = TIMEOUT_MS};
    for (unsigned i = 1; i <= 2; i++) {
        struct driver_device *device = driver_open(&driver);
        assert_non_null(device);
        assert_true(harness_wait(harness, harness_connected, TIMEOUT_MS));
        driver_close(device);
        assert_true(harness_wait(harness, harness_disconnected, TIMEOUT_MS));
        assert_int_equal(harness_state(harness).connects, i);
    }
    harness_stop(harness);
}

/* Without protocol features rings start enabled. */
static void test_old_frontend(void **state)
{
    struct vhost_backend_config config = make_config(1);
    config.features_off = FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
    struct harness *harness = harness_start(&config);
    struct driver_config driver = {.path = path,
                                   .queue_pairs = 1,
                                   .ring_size = 64,
                                   .buffer_size = 2048,
                                   .features = BASIC,
                                   .timeout_ms = TIMEOUT_MS};
    struct driver_device *device = driver_open(&driver);
    assert_non_null(device);
    struct virtio_net_header header = {0};
    uint8_t frame[64] = {0};
    assert_int_equal(driver_transmit(driver_tx_queue(device, 0), &header, frame, sizeof(frame)), 0);
    driver_kick(driver_tx_queue(device, 0));
    assert_int_equal(driver_wait(driver_rx_queue(device, 0), TIMEOUT_MS), 0);
    assert_int_equal(driver_receive(driver_rx_queue(device, 0), &header, frame, sizeof(frame)),
                     sizeof(frame));
    driver_close(device);
    harness_stop(harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_socket_file),    cmocka_unit_test(test_occupied_path),
        cmocka_unit_test(test_bad_config),     cmocka_unit_test(test_offer),
        cmocka_unit_test(test_config_space),   cmocka_unit_test(test_legacy_driver),
        cmocka_unit_test(test_announcement),   cmocka_unit_test(test_violation_is_told),
        cmocka_unit_test(test_log_is_bounded), cmocka_unit_test(test_client_mode),
        cmocka_unit_test(test_old_frontend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
