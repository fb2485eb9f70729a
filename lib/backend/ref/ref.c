/* The oracle: one thread, plain loops, sums in double. Slow on purpose; what it computes is what the others must. */
#include "backend/ref/ref.h"
#include "anyclass/alloc.h"
#include "anyclass/optimizer.h"
#include "anyclass/optimizer_formula.h"
#include "backend/loss_kernel.h"
#include <stdio.h>
#include <string.h>

static ac_status open_device(int n_threads, ac_device **out)
{
    (void)n_threads;
    ac_status status = ac_calloc(1, sizeof **out, out);
    if (status == AC_OK)
        (*out)->backend = &ac_backend_ref;
    return status;
}

static void close_device(ac_device *device)
{
    ac_free(device);
}

static void describe(const ac_device *device, char *out, size_t capacity)
{
    (void)device;
    snprintf(out, capacity, "ref: plain loops, one thread");
}

static ac_status check_precision(const ac_device *device, ac_dtype activations)
{
    (void)device;
    return activations == AC_F32 || activations == AC_BF16 || activations == AC_F16 ? AC_OK : ac_error(AC_ERR_UNSUPPORTED, "ref has no activations of type %s", ac_dtype_name(activations));
}

static ac_status allocate(ac_device *device, size_t n_bytes, void **out)
{
    (void)device;
    return ac_calloc(n_bytes, 1, out);
}

static void release(ac_device *device, void *block)
{
    (void)device;
    ac_free(block);
}

static ac_status copy(ac_device *device, void *to, const void *from, size_t n_bytes)
{
    (void)device;
    memcpy(to, from, n_bytes);
    return AC_OK;
}

static ac_status zero(ac_device *device, void *block, size_t n_bytes)
{
    (void)device;
    memset(block, 0, n_bytes);
    return AC_OK;
}

static ac_status add(ac_device *device, ac_dtype dtype, void *to, const void *from, size_t n)
{
    ac_status status = AC_OK;
    AC_TRY(check_precision(device, dtype));
    for (int64_t i = 0; i < (int64_t)n; i++)
        ref_set(dtype, to, i, ref_get(dtype, to, i) + ref_get(dtype, from, i));
out:
    return status;
}

static ac_status optimizer_step(ac_device *device, const ac_optimizer_update *update)
{
    (void)device;
    double squares = 0;
    ac_optimizer_terms terms;
    for (size_t i = 0; i < update->n; i++)
        squares += (double)update->gradient[i] * (double)update->gradient[i];
    if (ac_optimizer_decide(update, squares, update->state, &terms))
        ac_optimizer_update_range(update, &terms, 0, update->n);
    return AC_OK;
}

const ac_kernel ac_ref_any_class_loss = {.op = &ac_op_any_class_loss, .plan = ac_host_loss_plan, .forward = ac_host_loss_forward, .backward = ac_host_loss_backward};

static const ac_kernel *const kernels[] = {
    &ac_ref_image_input,
    &ac_ref_conv2d,
    &ac_ref_batch_norm,
    &ac_ref_max_pool,
    &ac_ref_avg_pool,
    &ac_ref_global_avg_pool,
    &ac_ref_blur_pool,
    &ac_ref_space_to_depth,
    &ac_ref_squeeze_excite,
    &ac_ref_linear,
    &ac_ref_attention,
    &ac_ref_layer_norm,
    &ac_ref_add,
    &ac_ref_dropout,
    &ac_ref_tokens,
    &ac_ref_first_token,
    &ac_ref_any_class_loss,
};

const ac_backend ac_backend_ref = {
    .name = "ref",
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .check_precision = check_precision,
    .allocate = allocate,
    .release = release,
    .upload = copy,
    .download = copy,
    .zero = zero,
    .add = add,
    .add_loss = ac_host_add_loss,
    .optimizer_step = optimizer_step,
};
