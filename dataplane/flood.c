/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tx copies synchronously, so one private header serves all outputs: its tag is edited from one member to the
 * next. Frames of one bridge go out together, member by member, which gives each member one tx call.
 */
#include "flood.h"

#include "bridge.h"

static void flood_output(struct program *program, const struct bridge *bridge, const struct output *output,
                         struct frame *const *frames, unsigned count)
{
    struct ingress *to = output->to;
    struct output_batch *batch = &program->output.batches[0];
    if (__builtin_expect(!output_tenant_matches(to, bridge), 0)) {
        output_refuse(&program->output, to, DP_DROP_TENANT, count);
        return;
    }
    batch->to = to;
    batch->count = 0;
    batch->size_max = 0;
    batch->offloads = 0;
    for (unsigned i = 0; i < count; i++) {
        if (vlan_egress(frames[i]->packet, &frames[i]->vlan, output->vid, to->by_vid != NULL))
            output_push(batch, frames[i]->packet);
        else
            output_refuse(&program->output, to, DP_DROP_VLAN_TAG, 1);
    }
    output_send(&program->output, batch, true);
}

/* Frames of one bridge. */
static void flood_bridge(struct program *program, struct frame *const *frames, unsigned count)
{
    const struct bridge *bridge = frames[0]->bridge;
    const struct ingress *from = program->ingress;
    unsigned sent = 0, isolated = 0;
    for (unsigned i = 0; i < bridge->output_count; i++) {
        const struct output *output = &bridge->outputs[i];
        if (output->to == from)
            continue;
        if (bridge_isolated(from, output->to)) {
            isolated++;
            continue;
        }
        flood_output(program, bridge, output, frames, count);
        sent++;
    }
    if (sent)
        counter_add(&program->counters->rx_flooded, count);
    else
        counter_add(&program->counters->rx_drops[isolated ? DP_DROP_ISOLATED_PORT : DP_DROP_NO_MEMBER],
                    count);
}

void flood_frames(struct program *program, unsigned count)
{
    program->output.io.flooding = true;
    for (unsigned first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && program->flooded[end]->bridge == program->flooded[first]->bridge)
            end++;
        flood_bridge(program, &program->flooded[first], end - first);
    }
    program->output.io.flooding = false;
}
