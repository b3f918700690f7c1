/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "bench_report.h"

#define CHART_WIDTH 640.0
#define LABEL_WIDTH 220.0
#define BAR_HEIGHT  18.0
#define BAR_GAP     6.0

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>weft bench</title><style>\n"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1b1f24;"
    "background:#fff}\n"
    "table{border-collapse:collapse;margin:1em 0}th,td{padding:.25em .8em;border-bottom:1px solid #d0d7de;"
    "text-align:right}\n"
    "th:first-child,td:first-child{text-align:left}svg{display:block;margin:.5em 0}text{font:12px "
    "system-ui,sans-serif;fill:currentColor}\n"
    ".bar{fill:#2f6f9f}.tail{fill:#9fc3dd}\n"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#dde3e8}th,td{border-color:#353b41}"
    ".bar{fill:#62a8d8}.tail{fill:#2f5570}}\n"
    "</style></head><body>\n<h1>weft bench</h1>\n";

/* Text as it may stand in HTML. */
static void put_text(FILE *out, const char *text)
{
    for (; text && *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

static double number(const json_t *item, const char *key)
{
    return json_number_value(json_object_get(item, key));
}

static const char *text(const json_t *item, const char *key)
{
    const char *value = json_string_value(json_object_get(item, key));
    return value ? value : "";
}

static const json_t *half_load(const json_t *item)
{
    return json_object_get(json_object_get(item, "latency_ns"), "50");
}

static void put_bar(FILE *out, double y, const char *label, const char *size, double value, double largest,
                    double tail, const char *form)
{
    double room = CHART_WIDTH - LABEL_WIDTH - 80, width = largest > 0 ? value / largest * room : 0;
    double tail_width = largest > 0 ? tail / largest * room : 0;
    fprintf(out, "<text x=\"0\" y=\"%.0f\">", y + BAR_HEIGHT - 5);
    put_text(out, label);
    fputs(", ", out);
    put_text(out, size);
    fputs("</text>", out);
    if (tail_width > width)
        fprintf(out, "<rect class=\"tail\" x=\"%.0f\" y=\"%.0f\" width=\"%.1f\" height=\"%.0f\"/>",
                LABEL_WIDTH, y, tail_width, BAR_HEIGHT);
    fprintf(out,
            "<rect class=\"bar\" x=\"%.0f\" y=\"%.0f\" width=\"%.1f\" height=\"%.0f\"/><text x=\"%.1f\" "
            "y=\"%.0f\">",
            LABEL_WIDTH, y, width, BAR_HEIGHT, LABEL_WIDTH + (tail_width > width ? tail_width : width) + 6,
            y + BAR_HEIGHT - 5);
    fprintf(out, form, value, tail);
    fputs("</text>\n", out);
}

static void open_chart(FILE *out, const char *title, size_t bars)
{
    double height = (double)bars * (BAR_HEIGHT + BAR_GAP) + BAR_GAP;
    fprintf(
        out,
        "<h2>%s</h2><svg role=\"img\" aria-label=\"%s\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f "
        "%.0f\">\n",
        title, title, CHART_WIDTH, height, CHART_WIDTH, height);
}

static void put_rates(FILE *out, const json_t *items)
{
    double largest = 0;
    size_t i;
    json_t *item;
    json_array_foreach (items, i, item)
        largest = number(item, "mpps") > largest ? number(item, "mpps") : largest;
    open_chart(out, "Frames a second", json_array_size(items));
    json_array_foreach (items, i, item)
        put_bar(out, BAR_GAP + (double)i * (BAR_HEIGHT + BAR_GAP), text(item, "segment"), text(item, "size"),
                number(item, "mpps"), largest, 0, "%.2f Mpps");
    fputs("</svg>\n", out);
}

static void put_latencies(FILE *out, const json_t *items)
{
    double largest = 0;
    size_t i, count = 0;
    json_t *item;
    json_array_foreach (items, i, item) {
        double value = number(half_load(item), "p99") / 1e3;
        largest = value > largest ? value : largest;
        count += half_load(item) != NULL;
    }
    if (count == 0)
        return;
    open_chart(out, "Latency at half load: p50, and p99 behind it", count);
    count = 0;
    json_array_foreach (items, i, item) {
        if (half_load(item))
            put_bar(out, BAR_GAP + (double)count++ * (BAR_HEIGHT + BAR_GAP), text(item, "segment"),
                    text(item, "size"), number(half_load(item), "p50") / 1e3, largest,
                    number(half_load(item), "p99") / 1e3, "%.1f / %.1f us");
    }
    fputs("</svg>\n", out);
}

static void put_row(FILE *out, const json_t *item)
{
    fputs("<tr><td>", out);
    put_text(out, text(item, "segment"));
    fputs("</td><td>", out);
    put_text(out, text(item, "size"));
    fprintf(out, "</td><td>%.3f</td><td>%.2f</td><td>%.4f %%</td>", number(item, "mpps"),
            number(item, "gbps"), number(item, "loss") * 100);
    if (json_object_get(item, "loss_free"))
        fprintf(out, "<td>%.3f</td>", number(json_object_get(item, "loss_free"), "mpps"));
    else
        fputs("<td>-</td>", out);
    const json_t *latency = half_load(item);
    if (latency)
        fprintf(out, "<td>%.1f</td><td>%.1f</td><td>%.1f</td><td>", number(latency, "p50") / 1e3,
                number(latency, "p99") / 1e3, number(latency, "p999") / 1e3);
    else
        fputs("<td>-</td><td>-</td><td>-</td><td>", out);
    put_text(out, text(item, "limit"));
    fputs("</td></tr>\n", out);
}

static void put_sizes(FILE *out, const json_t *sizes)
{
    size_t i;
    json_t *size;
    fputs("<h2>The switch</h2><table><tr><th>size</th><th>Mpps in all</th><th>cycles a frame</th><th>fairness"
          "</th></tr>\n",
          out);
    json_array_foreach (sizes, i, size) {
        fputs("<tr><td>", out);
        put_text(out, text(size, "size"));
        fprintf(out, "</td><td>%.3f</td><td>%.0f</td><td>%.3f</td></tr>\n", number(size, "mpps"),
                number(size, "switch_cycles_per_packet"), number(size, "fairness"));
    }
    fputs("</table>\n", out);
}

int bench_report_write(const char *path, const json_t *document)
{
    const json_t *items = json_object_get(document, "items");
    size_t i;
    json_t *item;
    FILE *out = fopen(path, "we");
    if (!out)
        return -errno;
    fputs(head, out);
    fputs("<p>", out);
    put_text(out, text(document, "time"));
    fputs(", ", out);
    put_text(out, text(document, "host"));
    fputs("</p>\n", out);
    put_rates(out, items);
    put_latencies(out, items);
    fputs("<h2>Each "
          "segment</h2><table><tr><th>segment</th><th>size</th><th>Mpps</th><th>Gbit/s</th><th>loss</th>"
          "<th>loss-free Mpps</th><th>p50 us</th><th>p99 us</th><th>p99.9 us</th><th>limit</th></tr>\n",
          out);
    json_array_foreach (items, i, item)
        put_row(out, item);
    fputs("</table>\n", out);
    put_sizes(out, json_object_get(document, "sizes"));
    fputs(
        "<p>Sizes count the frame check sequence. Latencies are at half of the loss-free rate, or of the "
        "maximum "
        "where that was not searched. limit: what held the rate down: the switch, the generator, or the rate "
        "asked for.</p>\n</body></html>\n",
        out);
    bool bad = ferror(out) != 0;
    if (fclose(out) != 0 || bad)
        return errno ? -errno : -EIO;
    return 0;
}
