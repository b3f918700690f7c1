/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "controller.h"

void outcome_clear(struct outcome *outcome)
{
    json_decref(outcome->details);
    json_decref(outcome->changes);
    json_decref(outcome->notes);
    *outcome = (struct outcome){0};
}

enum weft_code outcome_fail(struct outcome *outcome, enum weft_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(outcome->message, sizeof(outcome->message), format, arguments);
    va_end(arguments);
    for (char *at = outcome->message; *at; at++) {
        if (*at < ' ' || *at > '~')
            *at = '?';
    }
    return outcome->code = code;
}

enum weft_code outcome_invalid(struct outcome *outcome, struct diagnostics *diagnostics, const char *filename)
{
    char *summary = diagnostics_summary(diagnostics, filename);
    outcome_fail(outcome, diagnostics_code(diagnostics), "%s", summary);
    outcome->details = diagnostics_json(diagnostics, filename);
    free(summary);
    diagnostics_clear(diagnostics);
    return outcome->code;
}
