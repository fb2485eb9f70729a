/* add (with stochastic depth) and dropout: passes over memory, an image's chunk at a time. What is dropped is not read. */
#include "anyclass/drop_formula.h"
#include "backend/cpu/cpu.h"
#include <string.h>

enum { CHUNK = 8192, DRAWS = 256 }; /* elements a thread takes at a time; blocks of four draws that are made at a time */

static ac_status check(ac_device *device, const ac_graph *graph, const ac_node *node, int n_inputs)
{
    const ac_shape *y = ac_graph_shape(graph, node->output[0]);
    for (int k = 0; k < n_inputs; k++) {
        const ac_shape *x = ac_graph_shape(graph, node->input[k]);
        if (x->dtype != y->dtype)
            return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    }
    return cpu_check_precision(device, y->dtype);
}

typedef struct piece { /* of one image: n elements from `first` of it, element `at` of all */
    int64_t image, first, at, n;
} piece;

static int64_t pieces_of_image(const ac_shape *y)
{
    return (ac_shape_elements(y) / y->dim[0] + CHUNK - 1) / CHUNK;
}

static piece piece_of(const ac_shape *y, int64_t k)
{
    int64_t each = ac_shape_elements(y) / y->dim[0], per_image = (each + CHUNK - 1) / CHUNK;
    piece p = {.image = k / per_image, .first = k % per_image * CHUNK};
    p.at = p.image * each + p.first;
    p.n = each - p.first < CHUNK ? each - p.first : CHUNK;
    return p;
}

static ac_status plan_add(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    return check(device, graph, node, 2);
}

static float branch_scale(const ac_call *call, int64_t image)
{
    const ac_drop_attribute *a = (const void *)call->node->attribute;
    return a->probability > 0 ? ac_stochastic_depth_scale(a->seed, ((const int64_t *)call->input[2])[image], a->layer, a->probability) : 1;
}

/* y may be the memory of x. */
AC_SIMD static void add_scaled(const void *x, const void *residual, float s, const piece *p, bool bf16, void *y)
{
    if (bf16)
#pragma omp simd
        for (int64_t i = p->at; i < p->at + p->n; i++)
            cpu_store(y, i, cpu_load(residual, i, true) + s * cpu_load(x, i, true), true);
    else
#pragma omp simd
        for (int64_t i = p->at; i < p->at + p->n; i++)
            cpu_store(y, i, cpu_load(residual, i, false) + s * cpu_load(x, i, false), false);
}

static ac_status forward_add(const ac_call *call)
{
    const ac_shape *y = ac_graph_shape(call->graph, call->node->output[0]);
    size_t bytes = ac_dtype_bytes(y->dtype);
    int64_t n = y->dim[0] * pieces_of_image(y);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < n; k++) {
        piece p = piece_of(y, k);
        float s = branch_scale(call, p.image);
        if (s != 0)
            add_scaled(call->input[0], call->input[1], s, &p, y->dtype == AC_BF16, call->output[0]);
        else
            memcpy((char *)call->output[0] + (size_t)p.at * bytes, (const char *)call->input[1] + (size_t)p.at * bytes, (size_t)p.n * bytes);
    }
    return AC_OK;
}

/* dx may be the memory of the gradient. */
AC_SIMD static void scale_piece(const void *g, float s, const piece *p, bool bf16, void *dx)
{
    if (bf16)
#pragma omp simd
        for (int64_t i = p->at; i < p->at + p->n; i++)
            cpu_store(dx, i, s * cpu_load(g, i, true), true);
    else
#pragma omp simd
        for (int64_t i = p->at; i < p->at + p->n; i++)
            cpu_store(dx, i, s * cpu_load(g, i, false), false);
}

/* The residual's gradient is y's: the plan passes it on. */
static ac_status backward_add(const ac_call *call)
{
    const ac_shape *y = ac_graph_shape(call->graph, call->node->output[0]);
    size_t bytes = ac_dtype_bytes(y->dtype);
    int64_t n = call->dinput[0] ? y->dim[0] * pieces_of_image(y) : 0;
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < n; k++) {
        piece p = piece_of(y, k);
        float s = branch_scale(call, p.image);
        if (s != 0)
            scale_piece(call->doutput[0], s, &p, y->dtype == AC_BF16, call->dinput[0]);
        else
            memset((char *)call->dinput[0] + (size_t)p.at * bytes, 0, (size_t)p.n * bytes);
    }
    return AC_OK;
}

const ac_kernel ac_cpu_add = {
    .op = &ac_op_add, .flags = AC_KERNEL_INPLACE_FORWARD | AC_KERNEL_INPLACE_BACKWARD, .plan = plan_add, .forward = forward_add, .backward = backward_add};

static ac_status plan_dropout(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    return check(device, graph, node, 1);
}

/* Factors of DRAWS blocks of four elements each, from block `first` on. */
AC_INLINE void draw_scales(const ac_drop_attribute *a, int64_t key, uint32_t first, float *restrict scale)
{
    for (uint32_t b = 0; b < DRAWS; b++) {
        ac_philox words = ac_dropout_block(a->seed, key, a->layer, first + b);
        scale[4 * b] = ac_drop_scale(words.word[0], a->probability);
        scale[4 * b + 1] = ac_drop_scale(words.word[1], a->probability);
        scale[4 * b + 2] = ac_drop_scale(words.word[2], a->probability);
        scale[4 * b + 3] = ac_drop_scale(words.word[3], a->probability);
    }
}

AC_INLINE void apply_scales(const void *x, const float *scale, int64_t at, int n, bool bf16, void *y)
{
#pragma omp simd
    for (int i = 0; i < n; i++) {
        float v = cpu_load(x, at + i, bf16) * scale[i];
        cpu_store(y, at + i, scale[i] != 0 ? v : 0, bf16);
    }
}

AC_SIMD static void drop_piece(const ac_drop_attribute *a, int64_t key, const piece *p, const void *x, bool bf16, void *y)
{
    float scale[4 * DRAWS];
    for (int64_t i = 0; i < p->n; i += 4 * DRAWS) {
        int n = p->n - i < 4 * DRAWS ? (int)(p->n - i) : 4 * DRAWS;
        draw_scales(a, key, (uint32_t)((p->first + i) / 4), scale);
        if (bf16)
            apply_scales(x, scale, p->at + i, n, true, y);
        else
            apply_scales(x, scale, p->at + i, n, false, y);
    }
}

/* The same draws forward and backward; y may be the memory of x. */
static void drop_all(const ac_call *call, const void *x, void *y)
{
    const ac_shape *shape = ac_graph_shape(call->graph, call->node->output[0]);
    const int64_t *keys = call->input[1];
    int64_t n = shape->dim[0] * pieces_of_image(shape);
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < n; k++) {
        piece p = piece_of(shape, k);
        drop_piece((const void *)call->node->attribute, keys[p.image], &p, x, shape->dtype == AC_BF16, y);
    }
}

static ac_status forward_dropout(const ac_call *call)
{
    drop_all(call, call->input[0], call->output[0]);
    return AC_OK;
}

static ac_status backward_dropout(const ac_call *call)
{
    if (call->dinput[0])
        drop_all(call, call->doutput[0], call->dinput[0]);
    return AC_OK;
}

const ac_kernel ac_cpu_dropout = {.op = &ac_op_dropout, .flags = AC_KERNEL_INPLACE_FORWARD | AC_KERNEL_INPLACE_BACKWARD,
                                  .plan = plan_dropout, .forward = forward_dropout, .backward = backward_dropout};
