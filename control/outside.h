/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The way out follows the kernel: interfaces of the uplinks that are shared with it, their addresses, routes
 * and neighbours, as objects of the dataplane. Theory of operation in outside.c.
 *
 * Threads: weftd has one.
 */
#include "compile.h"
#include "netlink.h"

struct controller;
struct outside_follower;

/* NULL and errno: no netlink. */
struct outside_follower *outside_new(struct controller *controller);
void outside_free(struct outside_follower *follower);
/* Adds to the model's objects what the kernel says now; watches the interfaces that the model names. */
void outside_compile(struct outside_follower *follower, const struct model *model, struct object_set *set);
/* The dataplane holds it: says so when the host has more routes than fit, and when no longer. */
void outside_settled(struct outside_follower *follower, const struct model *model);
/* The dataplane wants to know who has the address on the link of the outside port. */
void outside_resolve(struct outside_follower *follower, const struct model *model, uint32_t port,
                     const uint8_t address[16]);
const struct netlink *outside_netlink(const struct outside_follower *follower);
