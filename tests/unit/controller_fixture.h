/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * A controller without a dataplane and without sockets: what answers requests whose change is a dry run.
 */
#include "controller.h"

/* With this configuration (YAML) in force, as generation 5. Ends the process if it is invalid. */
struct controller *controller_fixture_new(const char *text);
void controller_fixture_free(struct controller *controller);
