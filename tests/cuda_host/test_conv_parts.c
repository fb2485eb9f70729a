/* Convolutions' results and both gradients by tensor core kernels, each on its own against `ref`: in a network a layer's gradient may be small beside another's, and nobody
 * would see it missing. Emulated only: what is called is the kernel, without a plan. */
#include "tests/model/drawn.h"
#include "tests/nn/operator_alone.h"
#include "tests/tap.h"
#include <math.h>

#ifdef AC_CUDA_EMULATED
typedef struct shape {
    const char *name;
    int64_t batch, side, in, out;
    int kernel, stride, padding;
} shape;

static const shape shapes[] = {
    {"3x3, 16 to 40", 2, 9, 16, 40, 3, 1, 1},          {"3x3 stride 2, 12 to 20", 3, 13, 12, 20, 3, 2, 1}, {"3x3, 24 to 152", 2, 9, 24, 152, 3, 1, 1},
    {"3x3, 76 to 76", 2, 11, 76, 76, 3, 1, 1},         {"3x3, 48 to 76", 1, 8, 48, 76, 3, 1, 1},           {"1x1 stride 2, 64 to 128", 2, 9, 64, 128, 1, 2, 0},
    {"5x5, padding 1, 8 to 100", 1, 12, 8, 100, 5, 1, 1},
};

static ac_status run(alone *a, const shape *s, const char *backend)
{
    ac_status status = AC_OK;
    ac_shape x = {4, {s->batch, s->side, s->side, s->in}, AC_BF16};
    ac_conv2d_attribute attribute = {.out_channels = s->out, .kernel_px = s->kernel, .stride_px = s->stride, .padding_px = s->padding, .groups = 1};
    AC_TRY(alone_open(a, backend, 1, &x, &ac_op_conv2d, &attribute, true));
    for (int64_t i = 0; i < a->n_x; i++)
        alone_set(a, ALONE_X, i, (2 * drawn("x", (uint64_t)i) - 1));
    for (int64_t i = 0; i < a->n_y; i++)
        alone_set(a, ALONE_DY, i, 2 * drawn("gradient", (uint64_t)i) - 1);
    for (int64_t i = 0; i < a->n_param; i++)
        alone_set(a, ALONE_PARAM, i, 2 * drawn("weight", (uint64_t)i) - 1);
    AC_TRY(alone_run_on_device(a));
out:
    return status;
}

/* Root of the mean square difference to that of the array. */
static double differs(const alone *a, const alone *b, int array, int64_t n)
{
    double squares = 0, most = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        double x = alone_get(a, array, i), y = alone_get(b, array, i);
        if (isnan(y))
            return 1;
        squares += (x - y) * (x - y);
        most += x * x;
    }
    return sqrt(squares / most);
}
#endif

int main(void)
{
#ifdef AC_CUDA_EMULATED
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        alone a, b;
        ac_status status = run(&a, &shapes[k], "ref");
        ac_status other = run(&b, &shapes[k], "cuda");
        TAP_OK(status == AC_OK && other == AC_OK, "%s runs", shapes[k].name);
        if (status == AC_OK && other == AC_OK) { /* rounded to bf16 at the end: 2^-9 */
            double y = differs(&a, &b, ALONE_Y, a.n_y), dx = differs(&a, &b, ALONE_DX, a.n_x), dw = differs(&a, &b, ALONE_DPARAM, a.n_param);
            TAP_OK(y < 0.004 && dx < 0.004 && dw < 0.004, "%s: result differs by %.2g of itself, dx by %.2g, gradient of weights by %.2g", shapes[k].name, y, dx, dw);
        }
        alone_close(&a);
        alone_close(&b);
    }
#else
    TAP_OK(true, "nothing to do without the emulation");
#endif
    return tap_done();
}
