/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "kernel_tap.h"

#define TCP_PORT  7777
#define TIMEOUT_S 240

int kernel_namespace(void)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

int kernel_open_tap(const char *name, int flags)
{
    struct ifreq request = {.ifr_flags = (short)flags};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
    return fd;
}

void kernel_set_up(const char *name, bool up)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    close(fd);
}

/* 10.9.0.(1 + which)/24 and fd09::(1 + which)/64, without duplicate address detection */
void kernel_set_addresses(const char *name, int which)
{
    char path[128];
    struct ifreq request = {0};
    struct in6_ifreq request6 = {.ifr6_prefixlen = 64};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
        fd6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_dad", name);
    int dad = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(dad, "0", 1), 1);
    close(dad);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(0x0a090001u + (uint32_t)which);
    assert_int_equal(ioctl(fd, SIOCSIFADDR, &request), 0);
    address->sin_addr.s_addr = htonl(0xffffff00u);
    assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &request), 0);
    request6.ifr6_addr = (struct in6_addr){{{0xfd, 0x09, [15] = (uint8_t)(1 + which)}}};
    request6.ifr6_ifindex = (int)if_nametoindex(name);
    assert_int_equal(ioctl(fd6, SIOCSIFADDR, &request6), 0);
    close(fd);
    close(fd6);
}

static struct sockaddr_storage address_of(int family, int which, socklen_t *size)
{
    struct sockaddr_storage storage = {0};
    if (family == AF_INET) {
        struct sockaddr_in *address = (struct sockaddr_in *)&storage;
        address->sin_family = AF_INET;
        address->sin_port = htons(TCP_PORT);
        address->sin_addr.s_addr = htonl(0x0a090001u + (uint32_t)which);
        *size = sizeof(*address);
    } else {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)&storage;
        address->sin6_family = AF_INET6;
        address->sin6_port = htons(TCP_PORT);
        address->sin6_addr = (struct in6_addr){{{0xfd, 0x09, [15] = (uint8_t)(1 + which)}}};
        *size = sizeof(*address);
    }
    return storage;
}

static void fill(uint8_t *bytes, uint32_t at, uint32_t size)
{
    for (uint32_t i = 0; i < size; i += 4) {
        uint32_t word = (at + i) * 2654435761u;
        memcpy(bytes + i, &word, 4);
    }
}

static bool read_all(int fd, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t got = read(fd, bytes, size);
        if (got <= 0)
            return false;
        bytes += got;
        size -= (size_t)got;
    }
    return true;
}

/* In children; the exit status says whether all was well. Nothing of cmocka in here. */
static int server(int listen_fd, uint32_t size, uint32_t chunk)
{
    uint8_t *bytes = malloc(chunk), *expected = malloc(chunk);
    int fd = accept(listen_fd, NULL, NULL);
    for (uint32_t at = 0; at < size; at += chunk) {
        fill(expected, at, chunk);
        if (!read_all(fd, bytes, chunk) || memcmp(bytes, expected, chunk) != 0 || write(fd, "k", 1) != 1)
            return 1;
    }
    return read(fd, bytes, 1) == 0 ? 0 : 1;
}

/* Sends the stream; reads the server's answers at the end, or after each chunk. */
static int client(int family, uint32_t size, uint32_t chunk, bool ping)
{
    socklen_t address_size;
    struct sockaddr_storage address = address_of(family, 1, &address_size);
    uint8_t *bytes = malloc(chunk), answer;
    int fd = socket(family, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, address_size) != 0)
        return 1;
    for (uint32_t at = 0; at < size; at += chunk) {
        fill(bytes, at, chunk);
        if (write(fd, bytes, chunk) != (ssize_t)chunk)
            return 1;
        if (ping && !read_all(fd, &answer, 1))
            return 1;
    }
    for (uint32_t at = 0; at < size && !ping; at += chunk)
        if (!read_all(fd, &answer, 1))
            return 1;
    return 0;
}

uint64_t kernel_tcp_checksum_errors(int namespace)
{
    char line[1024], names[1024] = "";
    uint64_t value = UINT64_MAX;
    assert_int_equal(setns(namespace, CLONE_NEWNET), 0);
    FILE *file = fopen("/proc/self/net/snmp", "re");
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "Tcp:", 4) != 0)
            continue;
        char *name_rest, *value_rest, *name, *text;
        if (!*names) {
            snprintf(names, sizeof(names), "%s", line);
            continue;
        }
        name = strtok_r(names, " \n", &name_rest);
        text = strtok_r(line, " \n", &value_rest);
        while (name && text) {
            if (strcmp(name, "InCsumErrors") == 0)
                value = strtoull(text, NULL, 10);
            name = strtok_r(NULL, " \n", &name_rest);
            text = strtok_r(NULL, " \n", &value_rest);
        }
        break;
    }
    fclose(file);
    assert_true(value != UINT64_MAX);
    return value;
}

void kernel_tcp_start(struct kernel_tcp *tcp, const int namespaces[2], int family, uint32_t size,
                      uint32_t chunk, bool ping)
{
    int pipe_fds[2], one = 1;
    socklen_t address_size;
    struct sockaddr_storage address = address_of(family, 1, &address_size);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(setns(namespaces[1], CLONE_NEWNET), 0);
    int listen_fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(listen_fd, (struct sockaddr *)&address, address_size), 0);
    assert_int_equal(listen(listen_fd, 1), 0);
    for (int i = 0; i < 2; i++) {
        tcp->children[i] = fork();
        assert_true(tcp->children[i] >= 0);
        if (tcp->children[i] == 0) {
            alarm(TIMEOUT_S);
            if (setns(namespaces[1 - i], CLONE_NEWNET) != 0)
                _exit(2);
            _exit(i == 0 ? server(listen_fd, size, chunk) : client(family, size, chunk, ping));
        }
    }
    close(pipe_fds[1]);
    close(listen_fd);
    tcp->closed_fd = pipe_fds[0];
}

void kernel_tcp_finish(struct kernel_tcp *tcp)
{
    int status;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waitpid(tcp->children[i], &status, 0), tcp->children[i]);
        assert_int_equal(status, 0);
    }
    close(tcp->closed_fd);
}
