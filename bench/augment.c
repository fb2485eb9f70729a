/* Time of image_input, the graph's first operator, with each augmentation: ms and ns per pixel of an image on one thread's
 * share. Random smooth pixels, no data, no files. usage: augment [BATCH [STEPS [THREADS [BACKEND [IMAGE_SIZE]]]]] */
#include "anyclass/alloc.h"
#include "anyclass/ops.h"
#include "anyclass/plan.h"
#include "anyclass/random.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    ac_graph *graph;
    ac_value images, keys;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
} bench;

static void close_bench(bench *b)
{
    ac_plan_destroy(b->plan);
    ac_params_destroy(b->params);
    if (b->device)
        b->device->backend->close(b->device);
    ac_graph_destroy(b->graph);
}

/* Ramps with a little noise: neighbours are alike, as in photographs. */
static void draw_images(uint8_t *image, int64_t batch, int side)
{
    for (int64_t n = 0; n < batch; n++)
        for (int64_t i = 0; i < (int64_t)side * side; i++, image += 3) {
            ac_philox noise = ac_random_block(1, AC_STREAM_TEST, (uint64_t)i, (uint32_t)n);
            for (int c = 0; c < 3; c++)
                image[c] = (uint8_t)((i % side) * 100 / side + (i / side) * (c + 1) * 30 / side + (noise.word[c] >> 27));
        }
}

static ac_status open_bench(bench *b, const char *backend, int kind, int64_t batch, int n_threads, int side)
{
    ac_status status = AC_OK;
    uint8_t *image = NULL;
    int64_t *key = NULL;
    const ac_image_input_attribute input = {{.47f, .447f, .408f}, {.233f, .228f, .231f}, true, 1, {kind, .1f, .1f, .1f, .1f, 5}};
    if (!ac_backend_find(backend))
        return ac_error(AC_ERR_USAGE, "backends %s", ac_backend_names());
    AC_TRY(ac_graph_create(AC_F32, &b->graph));
    b->images = ac_graph_input(b->graph, "images", &(ac_shape){4, {batch, side, side, 3}, AC_U8});
    b->keys = ac_graph_input(b->graph, "keys", &(ac_shape){1, {batch}, AC_I64});
    ac_graph_result(b->graph, ac_add_image_input(b->graph, "input", b->images, b->keys, &input));
    AC_TRY(ac_graph_finish(b->graph));
    AC_TRY(ac_backend_find(backend)->open(n_threads, &b->device));
    AC_TRY(ac_params_create(b->device, b->graph, false, &b->params));
    AC_TRY(ac_plan_create(b->graph, b->params, false, &b->plan));
    AC_TRY(ac_plan_bind(b->plan, NULL));
    AC_TRY(ac_malloc((size_t)(batch * side * side), 3, &image));
    AC_TRY(ac_malloc((size_t)batch, sizeof *key, &key));
    draw_images(image, batch, side);
    for (int64_t n = 0; n < batch; n++)
        key[n] = n;
    AC_TRY(ac_plan_write(b->plan, b->images, image, (size_t)(batch * side * side * 3)));
    AC_TRY(ac_plan_write(b->plan, b->keys, key, (size_t)batch * sizeof *key));
out:
    ac_free(image);
    ac_free(key);
    return status;
}

/* Best of the steps. */
static ac_status measure(bench *b, int n_steps, double *best_s)
{
    ac_status status = AC_OK;
    const double *forward, *backward;
    for (int s = -1; s < n_steps; s++) { /* the first warms up */
        ac_plan_profile(b->plan, true);
        AC_TRY(ac_plan_forward(b->plan));
        ac_plan_profile_read(b->plan, &forward, &backward);
        if (s <= 0 || forward[0] < *best_s)
            *best_s = forward[0];
    }
out:
    return status;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"none", "colour", "rotation"};
    int batch = argc > 1 ? atoi(argv[1]) : 48, n_steps = argc > 2 ? atoi(argv[2]) : 20, n_threads = argc > 3 ? atoi(argv[3]) : 1;
    const char *backend = argc > 4 ? argv[4] : "cpu";
    int side = argc > 5 ? atoi(argv[5]) : 224;
    ac_status status = AC_OK;
    for (int kind = 0; kind < 3 && status == AC_OK; kind++) {
        bench b;
        double best_s = 0;
        memset(&b, 0, sizeof b);
        status = open_bench(&b, backend, kind, batch, n_threads, side);
        if (status == AC_OK)
            status = measure(&b, n_steps, &best_s);
        if (status == AC_OK)
            printf("%s, %d thread%s, batch %d, %d px: image_input %-8s %8.4f ms an image, %6.2f ns a pixel, %8.0f images/s\n", backend, n_threads,
                   n_threads == 1 ? "" : "s", batch, side, names[kind], best_s / batch * 1e3, best_s / batch / side / side * 1e9, batch / best_s);
        close_bench(&b);
    }
    if (status != AC_OK)
        fprintf(stderr, "augment: %s\n", ac_error_text());
    return ac_status_exit_code(status);
}
