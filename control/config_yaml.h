/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * Reads YAML 1.1 (and with it JSON) into a document. Refused: anchors, aliases, tags, several documents, keys
 * that are not scalars, duplicate keys, more than CONFIG_YAML_SIZE_MAX bytes, DOCUMENT_DEPTH_MAX levels,
 * DOCUMENT_NODES_MAX nodes. What a scalar means is the schema's business (schema.h).
 *
 * Threads: weftd has one.
 */
#include "diagnostics.h"
#include "document.h"

#define CONFIG_YAML_SIZE_MAX (1u << 20)

/* NULL if anything was wrong; diagnostics has it. */
struct document *config_yaml_parse(const char *text, size_t size, struct diagnostics *diagnostics);
