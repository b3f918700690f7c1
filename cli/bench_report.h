/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* The results of `weft bench` as one HTML file that needs nothing else: tables and SVG charts. */
#include <jansson.h>

/* 0 or -errno. `document`: what -o json prints. */
int bench_report_write(const char *path, const json_t *document);
