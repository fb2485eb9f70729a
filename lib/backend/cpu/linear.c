/* linear: matrix products (gemm.h), and for a classifier's head, which has few outputs, plain vector loops that read the operands once. Which of
 * the two depends on the layer alone, not on the rows. Sums of gradients over rows are in a fixed order, whatever the threads. */
#include "backend/cpu/conv_avx512.h"
#include "backend/cpu/gelu.h"

enum {
    LANES = 32,
    CHUNK = 256,    /* of the inner dimension, in loops */
    FEW_OUT = 32,   /* loops up to here */
    PIECE_ROWS = 64 /* whose gradients are summed together */
};

typedef struct sizes {
    int64_t rows, in, out;
    bool bf16_x, bf16_y; /* in bf16 or float: x and its gradient, y and its gradient */
    bool loops;
    const ac_linear_attribute *attribute;
} sizes;

static sizes sizes_of(const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    int64_t in = x->dim[x->n_dims - 1], out = y->dim[y->n_dims - 1];
    /* a product of bf16 with float would round the float; the head's gradient stays float */
    bool loops = out <= FEW_OUT || x->dtype != y->dtype;
    return (sizes){ac_shape_elements(x) / in, in, out, x->dtype == AC_BF16, y->dtype == AC_BF16, loops, (const void *)node->attribute};
}

static ac_dtype dtype(bool bf16)
{
    return bf16 ? AC_BF16 : AC_F32;
}

static cpu_gemm forward_product(const sizes *s, const void *x, const void *w, void *y)
{
    return (cpu_gemm){.m = s->rows, .n = s->out, .k = s->in, .a = {x, s->in, 1, dtype(s->bf16_x)}, .b = {w, 1, s->in, AC_F32}, .c = y, .c_row = s->out,
                      .c_dtype = dtype(s->bf16_y), .activation = s->attribute->activation};
}

static cpu_gemm data_product(const sizes *s, const void *dz, const void *w, void *dx)
{
    return (cpu_gemm){.m = s->rows, .n = s->in, .k = s->out, .a = {dz, s->out, 1, dtype(s->bf16_y)}, .b = {w, s->in, 1, AC_F32}, .c = dx, .c_row = s->in,
                      .c_dtype = dtype(s->bf16_x)};
}

static cpu_gemm weights_product(const sizes *s, const void *dz, const void *x, bool add, float *dw)
{
    return (cpu_gemm){.m = s->out, .n = s->in, .k = s->rows, .a = {dz, 1, s->out, dtype(s->bf16_y)}, .b = {x, s->in, 1, dtype(s->bf16_x)}, .c = dw,
                      .c_row = s->in, .c_dtype = AC_F32, .add = add};
}

/* Workspace of backward: sums of the bias's gradient by pieces of rows (double), then the gradient of what goes into the activation (the type
 * of y), if it is not doutput itself, then the products'. */
static int64_t n_pieces(const sizes *s)
{
    return cpu_divide_up(s->rows, PIECE_ROWS);
}

static size_t line_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static size_t sums_bytes(const sizes *s)
{
    return s->attribute->bias ? line_up((size_t)(n_pieces(s) * s->out) * sizeof(double)) : 0;
}

static size_t gradient_bytes(const sizes *s)
{
    return line_up((size_t)(s->rows * s->out) * ac_dtype_bytes(dtype(s->bf16_y)));
}

static size_t products_bytes(const cpu_device *cpu, const sizes *s, bool training)
{
    cpu_gemm product[] = {forward_product(s, NULL, NULL, NULL), data_product(s, NULL, NULL, NULL), weights_product(s, NULL, NULL, false, NULL)};
    size_t most = s->loops ? (size_t)(s->rows * s->out) * sizeof(float) : 0; /* loops: the sums of forward */
    for (int i = 0; !s->loops && i < (training ? 3 : 1); i++) {
        size_t bytes = cpu_gemm_workspace_bytes(cpu, &product[i]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)wants;
    ac_status status = AC_OK;
    const cpu_device *cpu = (const cpu_device *)device;
    sizes s = sizes_of(graph, node);
    AC_TRY(cpu_check_precision(device, dtype(s.bf16_x)));
    AC_TRY(cpu_check_precision(device, dtype(s.bf16_y)));
    cpu_gemm product = forward_product(&s, NULL, NULL, NULL);
    out->workspace_bytes = products_bytes(cpu, &s, training) + (training ? sums_bytes(&s) + gradient_bytes(&s) : 0);
    out->prepared_bytes = training || s.loops ? 0 : cpu_gemm_packed_b_bytes(cpu, &product);
    out->keeps_output = s.attribute->activation != AC_ACTIVATION_GELU;
out:
    return status;
}

/* A weight as the product reads it. */
AC_INLINE float weight_at(const float *w, int64_t i, bool bf16)
{
    return bf16 ? ac_float_from_bf16(ac_bf16_from_float(w[i])) : w[i];
}

AC_INLINE float dot(const void *x, int64_t first, const float *restrict w, int64_t n, bool bf16)
{
    float lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += cpu_load(x, first + i + k, bf16) * weight_at(w, i + k, bf16);
    for (; i < n; i++)
        sum += cpu_load(x, first + i, bf16) * weight_at(w, i, bf16);
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

/* Column o of the product. */
AC_SIMD static void product(const sizes *s, const void *x, const float *weight, int64_t o, float *sums, int64_t ld)
{
    const float *w = weight + o * s->in;
    for (int64_t r = 0; r < s->rows; r++)
        sums[r * ld + o] = s->bf16_x ? dot(x, r * s->in, w, s->in, true) : dot(x, r * s->in, w, s->in, false);
}

static void forward_by_loops(const sizes *s, const ac_call *call, const cpu_gemm *g)
{
    float *sums = call->workspace;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t o = 0; o < s->out; o++)
            product(s, call->input[0], call->param[0], o, sums, s->out);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < s->rows; r++)
            cpu_gemm_finish(g, sums + r * s->out, s->out, r, 1, 0, s->out);
    }
}

static ac_status forward(const ac_call *call)
{
    sizes s = sizes_of(call->graph, call->node);
    cpu_gemm g = forward_product(&s, call->input[0], call->param[0], call->output[0]);
    g.bias = s.attribute->bias ? call->param[1] : NULL;
    g.before = call->saved[0];
    g.residual = call->node->n_inputs == 2 ? call->input[1] : NULL;
    if (s.loops)
        forward_by_loops(&s, call, &g);
    else
        cpu_gemm_run((const cpu_device *)call->device, &g, call->prepared, call->workspace);
    return AC_OK;
}

static ac_status prepare(const ac_call *call)
{
    sizes s = sizes_of(call->graph, call->node);
    cpu_gemm g = forward_product(&s, call->input[0], call->param[0], call->output[0]);
    if (!s.loops)
        cpu_gemm_pack_b((const cpu_device *)call->device, &g, call->prepared);
    return AC_OK;
}

static ac_status recompute(const ac_call *call)
{
    enum { RANGE = 1 << 14 };
    sizes s = sizes_of(call->graph, call->node);
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < s.rows * s.out; first += RANGE)
        cpu_gelu_copy(call->saved[0], first, cpu_min(RANGE, s.rows * s.out - first), s.bf16_y, call->output[0]);
    return AC_OK;
}

/* n columns of one row from element `at` on: the sum of the gradient's parts, times the activation's slope. */
AC_INLINE void gradient_chunk(const ac_call *call, int64_t at, int64_t n, bool bf16, ac_activation activation, float *g)
{
    for (int64_t i = 0; i < n; i++)
        g[i] = cpu_load(call->doutput[0], at + i, bf16);
    for (int p = 1; p < call->n_doutput; p++)
        for (int64_t i = 0; i < n; i++)
            g[i] += cpu_load(call->doutput[p], at + i, bf16);
    if (activation == AC_ACTIVATION_GELU)
        cpu_gelu_slope_of(call->saved[0], at, n, bf16, g);
    if (activation == AC_ACTIVATION_TANH)
        for (int64_t i = 0; i < n; i++) {
            float y = cpu_load(call->output[0], at + i, bf16);
            g[i] *= 1 - y * y;
        }
}

AC_INLINE void gradient_of_rows(const sizes *s, const ac_call *call, int64_t row, int64_t end, bool bf16, void *dz, double *sums)
{
    for (int64_t first = 0; first < s->out; first += CHUNK) {
        int64_t n = s->out - first < CHUNK ? s->out - first : CHUNK;
        double total[CHUNK] = {0};
        for (int64_t r = row; r < end; r++) {
            int64_t at = r * s->out + first;
            float g[CHUNK];
            if (s->attribute->activation == AC_ACTIVATION_GELU)
                gradient_chunk(call, at, n, bf16, AC_ACTIVATION_GELU, g);
            else if (s->attribute->activation == AC_ACTIVATION_TANH)
                gradient_chunk(call, at, n, bf16, AC_ACTIVATION_TANH, g);
            else
                gradient_chunk(call, at, n, bf16, AC_ACTIVATION_NONE, g);
            for (int64_t i = 0; dz && i < n; i++)
                cpu_store(dz, at + i, g[i], bf16);
            for (int64_t i = 0; sums && i < n; i++)
                total[i] += (double)g[i];
        }
        for (int64_t i = 0; sums && i < n; i++)
            sums[first + i] = total[i];
    }
}

/* Rows row .. end: what goes into the products to dz, its sums by column to sums (NULL: not wanted). */
AC_SIMD static void gradient_piece(const sizes *s, const ac_call *call, int64_t row, int64_t end, void *dz, double *sums)
{
    if (s->bf16_y)
        gradient_of_rows(s, call, row, end, true, dz, sums);
    else
        gradient_of_rows(s, call, row, end, false, dz, sums);
}

/* By all threads of the region: the pieces of the bias's gradient, in order. */
static void add_bias_pieces(const sizes *s, const double *sums, bool accumulate, float *db)
{
#pragma omp for schedule(static)
    for (int64_t o = 0; o < s->out; o++) {
        double sum = accumulate ? (double)db[o] : 0;
        for (int64_t p = 0; p < n_pieces(s); p++)
            sum += sums[p * s->out + o];
        db[o] = (float)sum;
    }
}

/* Returns the gradient of what goes into the activation: doutput itself or in the workspace. Writes the bias's. */
static const void *backward_activation(const sizes *s, const ac_call *call)
{
    double *sums = s->attribute->bias ? call->workspace : NULL;
    void *dz = s->attribute->activation != AC_ACTIVATION_NONE || call->n_doutput > 1 ? (char *)call->workspace + sums_bytes(s) : NULL;
    if (!dz && !sums)
        return call->doutput[0];
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t p = 0; p < n_pieces(s); p++)
            gradient_piece(s, call, p * PIECE_ROWS, cpu_min(s->rows, (p + 1) * PIECE_ROWS), dz, sums ? sums + p * s->out : NULL);
        if (sums)
            add_bias_pieces(s, sums, call->accumulate, call->param_gradient[1]);
    }
    return dz ? dz : call->doutput[0];
}

AC_INLINE void row_of_dx(const sizes *s, const void *dz, const float *weight, int64_t r, bool add, void *dx, bool bf16)
{
    for (int64_t first = 0; first < s->in; first += CHUNK) {
        int64_t n = s->in - first < CHUNK ? s->in - first : CHUNK, at = r * s->in + first;
        float sum[CHUNK] = {0};
        for (int64_t o = 0; o < s->out; o++) {
            const float *w = weight + o * s->in + first;
            float g = cpu_load(dz, r * s->out + o, s->bf16_y);
            for (int64_t i = 0; i < n; i++)
                sum[i] += g * weight_at(w, i, bf16);
        }
        for (int64_t i = 0; i < n; i++)
            cpu_store(dx, at + i, add ? cpu_load(dx, at + i, bf16) + sum[i] : sum[i], bf16);
    }
}

AC_SIMD static void gradient_of_row(const sizes *s, const void *dz, const float *weight, int64_t r, bool add, void *dx)
{
    if (s->bf16_x)
        row_of_dx(s, dz, weight, r, add, dx, true);
    else
        row_of_dx(s, dz, weight, r, add, dx, false);
}

AC_INLINE void row_of_dw(const sizes *s, const void *dz, const void *x, int64_t o, bool accumulate, float *dw, bool bf16)
{
    for (int64_t first = 0; first < s->in; first += CHUNK) {
        int64_t n = s->in - first < CHUNK ? s->in - first : CHUNK;
        float sum[CHUNK] = {0}, *to = dw + o * s->in + first;
        for (int64_t r = 0; r < s->rows; r++) {
            float g = cpu_load(dz, r * s->out + o, s->bf16_y);
            for (int64_t i = 0; i < n; i++)
                sum[i] += g * cpu_load(x, r * s->in + first + i, bf16);
        }
        for (int64_t i = 0; i < n; i++)
            to[i] = accumulate ? to[i] + sum[i] : sum[i];
    }
}

/* Gradient of output o's weights. */
AC_SIMD static void gradient_of_output(const sizes *s, const void *dz, const void *x, int64_t o, bool accumulate, float *dw)
{
    if (s->bf16_x)
        row_of_dw(s, dz, x, o, accumulate, dw, true);
    else
        row_of_dw(s, dz, x, o, accumulate, dw, false);
}

static void backward_by_loops(const sizes *s, const ac_call *call, const void *dz)
{
#pragma omp parallel
    {
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < (call->dinput[0] ? s->rows : 0); r++)
            gradient_of_row(s, dz, call->param[0], r, call->add_dinput, call->dinput[0]);
#pragma omp for schedule(static)
        for (int64_t o = 0; o < s->out; o++)
            gradient_of_output(s, dz, call->input[0], o, call->accumulate, call->param_gradient[0]);
    }
}

static ac_status backward(const ac_call *call)
{
    sizes s = sizes_of(call->graph, call->node);
    const cpu_device *cpu = (const cpu_device *)call->device;
    const void *dz = backward_activation(&s, call);
    void *workspace = (char *)call->workspace + sums_bytes(&s) + gradient_bytes(&s);
    if (s.loops) {
        backward_by_loops(&s, call, dz);
        return AC_OK;
    }
    cpu_gemm data = data_product(&s, dz, call->param[0], call->dinput[0]);
    cpu_gemm weights = weights_product(&s, dz, call->input[0], call->accumulate, call->param_gradient[0]);
    data.add = call->add_dinput && !s.bf16_x;
    data.residual = call->add_dinput && s.bf16_x ? call->dinput[0] : NULL;
    if (call->dinput[0])
        cpu_gemm_run(cpu, &data, NULL, workspace);
    cpu_gemm_run(cpu, &weights, NULL, workspace);
    return AC_OK;
}

const ac_kernel ac_cpu_linear = {.op = &ac_op_linear, .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT | AC_KERNEL_RECOMPUTES_FROM_SAVED,
                                 .plan = plan, .forward = forward, .backward = backward, .prepare = prepare, .recompute = recompute};
