/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * weft: the command line of weftd. Parses, runs the command once or, with --watch, again and again, and makes
 * sure that what was printed arrived.
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "complete.h"
#include "help.h"
#include "output.h"
#include "parse.h"

static unsigned terminal_rows(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row : 24;
}

/* Puts a screen over the one before: from the top, each line cleared to its end, what is left below cleared.
 */
static void draw_screen(const char *text)
{
    unsigned rows = terminal_rows();
    fputs("\033[H", stdout);
    for (unsigned row = 1; *text && row < rows; row++) {
        size_t length = strcspn(text, "\n");
        printf("%.*s\033[K\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
    fputs("\033[J", stdout);
}

/* One round on a terminal: the screen is made first, so that it does not flicker. */
static int run_screen(struct cli_context *context)
{
    char *text = NULL;
    size_t size = 0;
    context->out = open_memstream(&text, &size);
    if (!context->out) {
        output_error("%s", strerror(errno));
        return WEFT_FAILED;
    }
    int code = context->command->run(context);
    fclose(context->out);
    context->out = stdout;
    if (code == WEFT_OK)
        draw_screen(text);
    free(text);
    return code;
}

/* Elsewhere than on a terminal the rounds follow each other, with an empty line between tables. */
static int watch(struct cli_context *context)
{
    bool is_screen = isatty(STDOUT_FILENO) && context->format != CLI_FORMAT_JSON;
    struct timespec pause = {.tv_sec = context->watch_s};
    if (is_screen)
        fputs("\033[2J", stdout);
    for (bool is_first = true;; is_first = false) {
        if (!is_first && !is_screen && context->format != CLI_FORMAT_JSON)
            fputc('\n', stdout);
        int code = is_screen ? run_screen(context) : context->command->run(context);
        if (code || fflush(stdout))
            return code;
        nanosleep(&pause, NULL);
    }
}

static int run(struct cli_context *context)
{
    if (context->version && !context->help) {
        printf("weft %s\n", WEFT_VERSION);
        return WEFT_OK;
    }
    if (context->help || !context->command->run) {
        help_print(stdout, context->help_noun, context->help_verb);
        return WEFT_OK;
    }
    return context->watch_s ? watch(context) : context->command->run(context);
}

/* What was printed must have arrived: a full disk is an error, a reader that went away is not worth a word.
 */
static int check_output(int code)
{
    bool failed = ferror(stdout);
    errno = 0;
    failed = fclose(stdout) || failed;
    if (!failed)
        return code;
    if (errno != EPIPE)
        output_error("cannot write the output%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
    return code ? code : WEFT_FAILED;
}

int main(int argc, char **argv)
{
    struct cli_context context;
    char message[CLI_MESSAGE_SIZE];
    setlocale(LC_CTYPE, "");
    if (argc > 1 && strcmp(argv[1], COMPLETE_COMMAND) == 0) {
        complete_print(stdout, argc - 2, argv + 2);
        return check_output(WEFT_OK);
    }
    int code = cli_parse(argc, argv, &context, message);
    if (code) {
        output_error("%s", message);
        return code;
    }
    context.out = stdout;
    context.colour = output_has_colour(stdout);
    code = run(&context);
    client_close(context.client);
    json_decref(context.before);
    return check_output(code);
}
