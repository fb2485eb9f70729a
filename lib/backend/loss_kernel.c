/* any_class_loss on the processor. */
#include "backend/loss_kernel.h"
#include "anyclass/loss_formula.h"

ac_status ac_host_loss_plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants,
                            ac_kernel_plan *out)
{
    (void)device, (void)training, (void)wants;
    out->workspace_bytes = 2 * sizeof(double) * (size_t)ac_graph_shape(graph, node->input[0])->dim[1];
    return AC_OK;
}

/* Rows one after the other: value summed, gradient written unless NULL. */
static double run(const ac_call *call, float *gradient)
{
    const ac_loss_config *config = (const void *)call->node->attribute;
    const ac_shape *shape = ac_graph_shape(call->graph, call->node->input[0]);
    const float *logits = call->input[0];
    const unsigned char *targets = call->input[1];
    const double *weights = call->input[2], scale = *(const double *)call->input[3];
    int m = (int)shape->dim[1];
    double *z = call->workspace, *dz = z + m, sum = 0, loss_scale = call->loss_scale ? *call->loss_scale : 1;
    for (int64_t i = 0; i < shape->dim[0]; i++) {
        const unsigned char *y = targets + i * m;
        for (int j = 0; j < m; j++)
            z[j] = (double)logits[i * m + j];
        sum += ac_image_loss_double(config, z, y, m, ac_image_weight(weights, y, m) * scale, gradient ? dz : NULL);
        for (int j = 0; gradient && j < m; j++)
            gradient[i * m + j] = (float)(loss_scale * dz[j]);
    }
    return sum;
}

ac_status ac_host_loss_forward(const ac_call *call)
{
    *(double *)call->output[0] = run(call, NULL);
    return AC_OK;
}

ac_status ac_host_loss_backward(const ac_call *call)
{
    run(call, call->dinput[0]);
    return AC_OK;
}

ac_status ac_host_add_loss(ac_device *device, ac_step_state *state, const double *loss, bool first)
{
    (void)device;
    state->loss = *loss + (first ? 0 : state->loss);
    return AC_OK;
}
