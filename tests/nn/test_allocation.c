/* After its first step training takes no memory and makes no primitive: this program's own malloc counts what all libraries
 * ask for, oneDNN and OpenMP included. */
#include "anyclass/alloc.h"
#include "anyclass/model.h"
#include "anyclass/optimizer.h"
#include "anyclass/plan.h"
#include "anyclass/random.h"
#include "tests/model/drawn.h"
#include "tests/tap.h"
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Each dnnl_primitive_execute() keeps its arguments in a hash table while it runs, some a list beside it: blocks of this size
 * at most. A primitive takes thousands of bytes. */
enum { SMALL_BYTES = 320 }; /* oneDNN makes objects of a call for itself: 304 bytes in its AMX convolutions, the largest seen */

static atomic_ulong n_small, n_large;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { COUNTS_MALLOC = 1 };

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t n);
void *__libc_memalign(size_t align, size_t n);

static void count(size_t n)
{
    atomic_fetch_add(n > SMALL_BYTES ? &n_large : &n_small, 1);
}

void *malloc(size_t n)
{
    count(n);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count(n * size);
    return __libc_calloc(n, size);
}

void *realloc(void *block, size_t n)
{
    count(n);
    return __libc_realloc(block, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    count(n);
    return __libc_memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    count(n);
    *out = __libc_memalign(align, n);
    return *out ? 0 : ENOMEM;
}
#else
enum { COUNTS_MALLOC = 0 };
#endif

enum { N = 2, SIDE = 48, M = 3 };

typedef struct trial {
    ac_network net;
    ac_device *device;
    ac_params *params;
    ac_optimizer *optimizer;
    ac_plan *plan;
} trial;

static void close_trial(trial *t)
{
    ac_plan_destroy(t->plan);
    ac_optimizer_destroy(t->optimizer);
    ac_params_destroy(t->params);
    if (t->device)
        t->device->backend->close(t->device);
    ac_network_release(&t->net);
}

static ac_status open_trial(trial *t, const char *model, ac_dtype activations, bool training)
{
    ac_status status = AC_OK;
    const ac_optimizer_config config = {.kind = AC_OPTIMIZER_ADAMW, .beta1 = .9, .beta2 = .999, .epsilon = 1e-8, .max_norm = 1};
    ac_network_options o = {.model = ac_model_find(model), .batch = N, .image_size_px = SIDE, .n_classes = M, .mean = {.5f, .5f, .5f},
                            .std = {.25f, .25f, .25f}, .training = training, .flip = true, .augment = {AC_AUGMENT_COLOUR, .1f, .1f, .1f, .1f, 0},
                            .loss = {AC_LOSS_FOCAL, 2, 1, .1}, .activation_dtype = activations};
    memset(t, 0, sizeof *t);
    AC_TRY(ac_network_build(&o, &t->net));
    AC_TRY(ac_backend_find("cpu")->open(2, &t->device));
    AC_TRY(t->device->backend->check_precision(t->device, activations));
    AC_TRY(ac_params_create(t->device, t->net.graph, training, &t->params));
    AC_TRY(drawn_fill(t->params));
    if (training)
        AC_TRY(ac_optimizer_create(&config, t->params, &t->optimizer));
    AC_TRY(ac_plan_create(t->net.graph, t->params, training, &t->plan));
    AC_TRY(ac_plan_bind(t->plan, NULL));
out:
    return status;
}

static ac_status step(trial *t, bool training, int k)
{
    ac_status status = AC_OK;
    static uint8_t images[N * SIDE * SIDE * 3];
    const uint8_t targets[N * M] = {1, 0, 0, 0, 0, 1};
    const double weights[M + 1] = {1, 1, 1, 1}, scale = .5;
    const int64_t keys[N] = {2 * k, 2 * k + 1};
    double loss, norm;
    for (size_t i = 0; i < sizeof images; i++)
        images[i] = (uint8_t)ac_random_block(9, AC_STREAM_TEST, i, (uint32_t)k).word[0];
    AC_TRY(ac_plan_write(t->plan, t->net.images, images, sizeof images));
    AC_TRY(ac_plan_write(t->plan, t->net.keys, keys, sizeof keys));
    if (training) {
        AC_TRY(ac_plan_write(t->plan, t->net.targets, targets, sizeof targets));
        AC_TRY(ac_plan_write(t->plan, t->net.class_weights, weights, sizeof weights));
        AC_TRY(ac_plan_write(t->plan, t->net.inverse_denominator, &scale, sizeof scale));
    }
    AC_TRY(ac_plan_forward(t->plan));
    if (training) {
        AC_TRY(ac_plan_backward(t->plan, false));
        AC_TRY(ac_plan_forward(t->plan));
        AC_TRY(ac_plan_backward(t->plan, true)); /* accumulated */
        AC_TRY(ac_optimizer_step(t->optimizer, .001, &norm));
        AC_TRY(ac_plan_read(t->plan, t->net.loss, &loss, sizeof loss));
    }
out:
    return status;
}

static void check(const char *model, ac_dtype activations, bool training)
{
    trial t;
    unsigned long planned = n_large;
    ac_status status = open_trial(&t, model, activations, training);
    const char *what = training ? "training" : "inference";
    if (status == AC_ERR_UNSUPPORTED) {
        TAP_SKIP(ac_error_text());
        close_trial(&t);
        return;
    }
    TAP_OK(status == AC_OK && (!COUNTS_MALLOC || n_large > planned), "%s in %s, %s: planning asks for memory %lu times", model,
           ac_dtype_name(activations), what, n_large - planned);
    TAP_OK(status == AC_OK && (status = step(&t, training, 0)) == AC_OK, "%s in %s, %s: first step", model, ac_dtype_name(activations), what);
    unsigned long small = n_small, large = n_large;
    uint64_t counted = ac_alloc_get_stats().n_calls;
    status = status == AC_OK ? step(&t, training, 1) : status;
    small = n_small - small;
    large = n_large - large;
    TAP_OK(status == AC_OK && ac_alloc_get_stats().n_calls == counted, "%s in %s, %s: nothing from the library's allocator", model,
           ac_dtype_name(activations), what);
    if (COUNTS_MALLOC)
        TAP_OK(large == 0, "%s in %s, %s: %lu requests above %d bytes in the second step (%lu below)", model, ac_dtype_name(activations), what, large,
               SMALL_BYTES, small);
    close_trial(&t);
}

int main(void)
{
    if (!COUNTS_MALLOC)
        TAP_SKIP("malloc belongs to the sanitizer");
    check("resnet18", AC_F32, false);
    check("resnet18", AC_BF16, false);
    check("resnet50", AC_F32, true);
    check("resnet50", AC_BF16, true);
    return tap_done();
}
