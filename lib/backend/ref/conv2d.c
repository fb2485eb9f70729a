/* conv2d by its definition. */
#include "backend/ref/ref.h"

typedef struct sizes {
    int64_t n, h, w, c, oh, ow, o, group_in, group_out;
    const ac_conv2d_attribute *a;
} sizes;

static sizes sizes_of(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0), *y = ref_out(call);
    const ac_conv2d_attribute *a = (const void *)call->node->attribute;
    return (sizes){x->dim[0], x->dim[1], x->dim[2], x->dim[3], y->dim[1], y->dim[2], y->dim[3], x->dim[3] / a->groups, y->dim[3] / a->groups, a};
}

/* Calls visit(x index, weight index) for every pair that meets in output (n, oy, ox, o). */
#define FOR_EACH_TAP(s, n_, oy, ox, o_)                                                                               \
    for (int64_t ky = 0, iy_ = (oy) * (s).a->stride_px - (s).a->padding_px; ky < (s).a->kernel_px; ky++)              \
        for (int64_t kx = 0, ix_ = (ox) * (s).a->stride_px - (s).a->padding_px; kx < (s).a->kernel_px; kx++)          \
            if (iy_ + ky >= 0 && iy_ + ky < (s).h && ix_ + kx >= 0 && ix_ + kx < (s).w)                               \
                for (int64_t i_ = 0,                                                                                  \
                             xi = (((n_) * (s).h + iy_ + ky) * (s).w + ix_ + kx) * (s).c + (o_) / (s).group_out * (s).group_in, \
                             wi = (((o_) * (s).a->kernel_px + ky) * (s).a->kernel_px + kx) * (s).group_in;            \
                     i_ < (s).group_in; i_++, xi++, wi++)

#define FOR_EACH_OUTPUT(s)                                                                                            \
    for (int64_t n = 0, yi = 0; n < (s).n; n++)                                                                       \
        for (int64_t oy = 0; oy < (s).oh; oy++)                                                                       \
            for (int64_t ox = 0; ox < (s).ow; ox++)                                                                   \
                for (int64_t o = 0; o < (s).o; o++, yi++)

static ac_status forward(const ac_call *call)
{
    sizes s = sizes_of(call);
    FOR_EACH_OUTPUT(s) {
        double sum = s.a->bias ? (double)((const float *)call->param[1])[o] : 0;
        FOR_EACH_TAP(s, n, oy, ox, o)
            sum += ref_input(call, 0, xi) * ref_matrix(call, wi);
        ref_set_output(call, yi, sum);
    }
    return AC_OK;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)device, (void)wants;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    if (training) /* gradients are summed in double first */
        out->workspace_bytes = sizeof(double) * (size_t)(ac_shape_elements(x) + y->dim[3] * a->kernel_px * a->kernel_px * x->dim[3] / a->groups + y->dim[3]);
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    sizes s = sizes_of(call);
    int64_t n_x = s.n * s.h * s.w * s.c, n_w = s.o * s.a->kernel_px * s.a->kernel_px * s.group_in;
    double *dx = call->workspace, *dw = dx + n_x, *db = dw + n_w;
    for (int64_t i = 0; i < n_x + n_w + s.o; i++)
        dx[i] = 0;
    FOR_EACH_OUTPUT(s) {
        double g = ref_dout(call, yi);
        db[o] += g;
        FOR_EACH_TAP(s, n, oy, ox, o) {
            dx[xi] += g * ref_matrix(call, wi);
            dw[wi] += g * ref_input(call, 0, xi);
        }
    }
    for (int64_t i = 0; call->dinput[0] && i < n_x; i++)
        ref_set_dinput(call, 0, i, dx[i]);
    for (int64_t i = 0; i < n_w; i++)
        call->param_gradient[0][i] = (float)(dw[i] + (call->accumulate ? (double)call->param_gradient[0][i] : 0));
    for (int64_t o = 0; s.a->bias && o < s.o; o++)
        call->param_gradient[1][o] = (float)(db[o] + (call->accumulate ? (double)call->param_gradient[1][o] : 0));
    return AC_OK;
}

const ac_kernel ac_ref_conv2d = {.op = &ac_op_conv2d, .flags = AC_KERNEL_SUMS_DOUTPUT, .plan = plan, .forward = forward, .backward = backward};
