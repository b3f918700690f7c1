/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/*
 * The commands, as the table names them. Each talks to weftd, prints, and returns the exit code (enum
 * weft_code).
 */
struct cli_context;

int cmd_status(struct cli_context *context);
int cmd_drops(struct cli_context *context);
int cmd_fdb_list(struct cli_context *context);
int cmd_fdb_flush(struct cli_context *context);
int cmd_events(struct cli_context *context);
int cmd_doctor(struct cli_context *context);
int cmd_object_list(struct cli_context *context); /* tenant, segment, port, uplink */
int cmd_object_show(struct cli_context *context);
int cmd_object_add(struct cli_context *context);
int cmd_object_set(struct cli_context *context);
int cmd_object_del(struct cli_context *context);
int cmd_port_snippet(struct cli_context *context);
int cmd_sessions_list(struct cli_context *context);
int cmd_lease_list(struct cli_context *context);
int cmd_neighbour_list(struct cli_context *context);
int cmd_route_list(struct cli_context *context);
int cmd_forward_list(struct cli_context *context);
int cmd_forward_add(struct cli_context *context);
int cmd_forward_del(struct cli_context *context);
int cmd_config_diff(struct cli_context *context);
int cmd_config_apply(struct cli_context *context);
int cmd_config_confirm(struct cli_context *context);
int cmd_config_rollback(struct cli_context *context);
int cmd_config_history(struct cli_context *context);
int cmd_config_export(struct cli_context *context);
int cmd_bench(struct cli_context *context);
int cmd_vm_run(struct cli_context *context);
int cmd_vm_start(struct cli_context *context);
int cmd_vm_stop(struct cli_context *context);
int cmd_vm_restart(struct cli_context *context);
int cmd_vm_reset(struct cli_context *context);
int cmd_vm_pause(struct cli_context *context);
int cmd_vm_resume(struct cli_context *context);
int cmd_vm_console(struct cli_context *context);
int cmd_completion(struct cli_context *context);
