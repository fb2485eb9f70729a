/* space_to_depth: a row of a block of pixels lies together on both sides, so both passes are copies of such rows. */
#include "backend/cpu/cpu.h"
#include <string.h>

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    return cpu_check_types(device, graph, node);
}

/* Rows of the input by the threads. */
static void move(const ac_call *call, const char *from, char *to, bool back)
{
    const ac_space_to_depth_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    int64_t b = a->block_px, n_blocks = x->dim[2] / b, n_rows = x->dim[0] * x->dim[1];
    size_t bytes = (size_t)(b * x->dim[3]) * (x->dtype == AC_BF16 ? sizeof(uint16_t) : sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < n_rows; row++) /* x->dim[1] is a multiple of b: rows of all images count on */
        for (int64_t k = 0; k < n_blocks; k++) {
            size_t in = (size_t)(row * n_blocks + k) * bytes, out = (size_t)((row / b * n_blocks + k) * b + row % b) * bytes;
            memcpy(to + (back ? in : out), from + (back ? out : in), bytes);
        }
}

static ac_status forward(const ac_call *call)
{
    move(call, call->input[0], call->output[0], false);
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    if (call->dinput[0])
        move(call, call->doutput[0], call->dinput[0], true);
    return AC_OK;
}

const ac_kernel ac_cpu_space_to_depth = {.op = &ac_op_space_to_depth, .plan = plan, .forward = forward, .backward = backward};
