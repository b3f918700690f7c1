/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any answer, in any format: nothing that a terminal would act on comes out.
 */
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_harmless(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        unsigned char next = i + 1 < size ? (unsigned char)text[i + 1] : 0;
        if ((byte < 0x20 && byte != '\n') || byte == 0x7f || (byte == 0xc2 && next >= 0x80 && next < 0xa0))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct column columns[] = {
        {"NAME", "name", NULL, COLUMN_TEXT, false},
        {"COUNT", "count", "other", COLUMN_COUNT, false},
        {"BYTES", "count", NULL, COLUMN_BYTES, false},
        {"AGE", "count", NULL, COLUMN_SECONDS, false},
        {"BUSY", "busy", NULL, COLUMN_PERCENT, false},
        {"TIME", "time", NULL, COLUMN_TIME, false},
        {"STATE", "state", NULL, COLUMN_STATE, false},
        {"YES", "yes", NULL, COLUMN_YES, true},
        {NULL},
    };
    char clean[256];
    setlocale(LC_CTYPE, size & 2 ? "C" : "C.UTF-8");
    check_harmless(clean, output_clean(clean, sizeof(clean), (const char *)data, size, size & 1));
    json_t *result = json_loadb((const char *)data, size, 0, NULL);
    for (enum cli_format format = CLI_FORMAT_TEXT; result && format <= CLI_FORMAT_NAME; format++) {
        struct cli_context context = {.format = format};
        char *text = NULL;
        size_t length = 0;
        FILE *out = open_memstream(&text, &length);
        output_items(out, &context, result, columns);
        if (format == CLI_FORMAT_TEXT)
            output_record(out, json_array_get(json_object_get(result, "items"), 0), columns, false, false);
        fclose(out);
        check_harmless(text, length);
        free(text);
    }
    json_decref(result);
    return 0;
}
