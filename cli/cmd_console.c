/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine's serial console on this terminal. weftd only says where its socket is: bytes go straight between
 * the terminal, which is raw meanwhile, and weft-vmm. What the guest sends is not cleaned, which would break
 * every program that draws; the manual says so.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "client.h"
#include "commands.h"
#include "output.h"

#define ESCAPE     0x1d /* Ctrl-] */
#define BLOCK_SIZE 4096

static volatile sig_atomic_t ended; /* by a signal */

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static int connect_console(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR && !ended)
            continue;
        if (written <= 0)
            return false;
        data += written;
        size -= (size_t)written;
    }
    return true;
}

/* False: nothing more comes from `from`, or nothing more is taken. *escaped: Ctrl-] was typed. */
static bool pass(int from, int to, bool *escaped)
{
    char block[BLOCK_SIZE];
    ssize_t size = read(from, block, sizeof(block));
    if (size < 0 && errno == EINTR)
        return true;
    if (size <= 0)
        return false;
    const char *escape = escaped ? memchr(block, ESCAPE, (size_t)size) : NULL;
    if (escape) {
        *escaped = true;
        size = escape - block;
    }
    return write_all(to, block, (size_t)size);
}

static void talk(int console, bool is_terminal)
{
    bool escaped = false;
    struct pollfd poll_fds[] = {
        {.fd = console, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}, {.fd = STDOUT_FILENO}};
    while (!escaped && !ended) {
        if (poll(poll_fds, 3, -1) < 0) {
            if (errno != EINTR)
                return;
            continue;
        }
        if (poll_fds[0].revents && !pass(console, STDOUT_FILENO, NULL))
            return;
        if (poll_fds[1].revents && !pass(STDIN_FILENO, console, is_terminal ? &escaped : NULL))
            poll_fds[1].fd = -1;
        if (poll_fds[2].revents & (POLLERR | POLLHUP | POLLNVAL))
            return; /* who read it is gone */
    }
}

static void catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct sigaction action = {.sa_handler = on_signal};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void use_console(int console)
{
    struct termios saved, raw;
    bool is_terminal = tcgetattr(STDIN_FILENO, &saved) == 0;
    catch_signals();
    if (is_terminal) {
        output_note("Ctrl-] leaves the console");
        raw = saved;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    talk(console, is_terminal);
    if (is_terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
        write_all(STDERR_FILENO, "\n", 1);
    }
}

int cmd_vm_console(struct cli_context *context)
{
    json_t *result, *params = json_object();
    json_object_set_new(params, "name", output_json_string(context->arguments[0]));
    int code = client_call(context, "vm.console", params, false, &result);
    if (code)
        return code;
    const char *path = json_string_value(json_object_get(result, "socket"));
    int console = connect_console(path ? path : "");
    if (console < 0) {
        code = errno == EACCES ? WEFT_NOT_PERMITTED : WEFT_CONFLICT;
        output_error("%s: %s; is the machine being started?", path ? path : "the console", strerror(errno));
    } else {
        fflush(context->out);
        use_console(console);
        close(console);
    }
    json_decref(result);
    return code;
}
