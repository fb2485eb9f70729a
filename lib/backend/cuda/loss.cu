/* any_class_loss in double, a thread per image; the images' shares are summed in a fixed order. */
#include "backend/cuda/kernel.cuh"

struct loss_call {
    ac_loss_config config;
    const float *logits;
    const unsigned char *targets;
    const double *weights, *scale, *loss_scale; /* of the gradient; NULL: 1 */
    double *z;         /* [n, 2 m] scratch: logits and gradients of each image */
    double *value;     /* [n] */
    float *gradient;   /* [n, m] or NULL */
    int n, m;
};

__global__ void __launch_bounds__(CUDA_BLOCK) loss_kernel(loss_call l)
{
    int i = (int)thread_index();
    if (i >= l.n)
        return;
    const unsigned char *y = l.targets + (int64_t)i * l.m;
    double *z = l.z + (int64_t)i * 2 * l.m, *dz = z + l.m;
    for (int j = 0; j < l.m; j++)
        z[j] = (double)l.logits[(int64_t)i * l.m + j];
    l.value[i] = ac_image_loss_double(&l.config, z, y, l.m, ac_image_weight(l.weights, y, l.m) * *l.scale, l.gradient ? dz : NULL);
    double loss_scale = l.loss_scale ? *l.loss_scale : 1;
    for (int j = 0; l.gradient && j < l.m; j++)
        l.gradient[(int64_t)i * l.m + j] = (float)(loss_scale * dz[j]);
}

__global__ void __launch_bounds__(CUDA_BLOCK) loss_total_kernel(const double *value, int n, double *out)
{
    __shared__ double shared[CUDA_BLOCK];
    double sum = 0;
    for (int i = (int)threadIdx.y; i < n; i += CUDA_BLOCK)
        sum += value[i];
    sum = sum_over_y(sum, shared);
    if (threadIdx.y == 0)
        *out = sum;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)device, (void)training, (void)wants;
    const ac_shape *logits = ac_graph_shape(graph, node->input[0]);
    out->workspace_bytes = sizeof(double) * (size_t)(logits->dim[0] * (2 * logits->dim[1] + 1));
    return AC_OK;
}

static ac_status run(const ac_call *call, float *gradient)
{
    const ac_shape *shape = cuda_in(call, 0);
    loss_call l = {*(const ac_loss_config *)call->node->attribute, (const float *)call->input[0], (const unsigned char *)call->input[1],
                   (const double *)call->input[2], (const double *)call->input[3], call->loss_scale, (double *)call->workspace, NULL, gradient, (int)shape->dim[0], (int)shape->dim[1]};
    l.value = l.z + (int64_t)l.n * 2 * l.m;
    return AC_LAUNCH(loss_kernel, dim3((unsigned)((l.n + 31) / 32)), dim3(32), 0, cuda_of(call->device)->stream, l);
}

static ac_status forward(const ac_call *call)
{
    const ac_shape *shape = cuda_in(call, 0);
    CUDA_TRY(run(call, NULL));
    return AC_LAUNCH(loss_total_kernel, dim3(1), dim3(1, CUDA_BLOCK), 0, cuda_of(call->device)->stream,
                     (const double *)call->workspace + 2 * shape->dim[0] * shape->dim[1], (int)shape->dim[0], (double *)call->output[0]);
}

static ac_status backward(const ac_call *call)
{
    return call->dinput[0] ? run(call, (float *)call->dinput[0]) : AC_OK;
}

extern "C" const ac_kernel ac_cuda_any_class_loss = {&ac_op_any_class_loss, 0, plan, NULL, forward, backward, NULL};
