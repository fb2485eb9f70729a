/* Rate of the way from shard to device: loader threads, hashes, and the graph's first operator with an augmentation; no
 * training. usage: loader SHARDS [AUGMENT [EPOCHS [BATCH [LOADER_THREADS [THREADS]]]]], AUGMENT none | colour | rotation */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/ops.h"
#include "anyclass/plan.h"
#include "anyclass/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench {
    ac_store store;
    ac_loader *loader;
    ac_graph *graph;
    ac_value images, keys;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
} bench;

static void close_bench(bench *b)
{
    ac_loader_destroy(b->loader);
    ac_plan_destroy(b->plan);
    ac_params_destroy(b->params);
    if (b->device)
        b->device->backend->close(b->device);
    ac_graph_destroy(b->graph);
    ac_store_close(&b->store);
}

static ac_status build_graph(bench *b, int augment, int64_t batch, int n_threads)
{
    ac_status status = AC_OK;
    int side = b->store.image_size_px;
    ac_image_input_attribute input = {.flip = true, .seed = 1, .augment = {augment, .1f, .1f, .1f, .1f, 5}};
    memcpy(input.mean, b->store.manifest.mean, sizeof input.mean);
    memcpy(input.std, b->store.manifest.std, sizeof input.std);
    AC_TRY(ac_graph_create(AC_F32, &b->graph));
    b->images = ac_graph_input(b->graph, "images", &(ac_shape){4, {batch, side, side, 3}, AC_U8});
    b->keys = ac_graph_input(b->graph, "keys", &(ac_shape){1, {batch}, AC_I64});
    ac_graph_result(b->graph, ac_add_image_input(b->graph, "input", b->images, b->keys, &input));
    AC_TRY(ac_graph_finish(b->graph));
    AC_TRY(ac_backend_find("cpu")->open(n_threads, &b->device));
    AC_TRY(ac_params_create(b->device, b->graph, false, &b->params));
    AC_TRY(ac_plan_create(b->graph, b->params, false, &b->plan));
    AC_TRY(ac_plan_bind(b->plan, NULL));
out:
    return status;
}

static ac_status run_epoch(bench *b, int64_t epoch, int64_t batch, double *seconds, int64_t *n_images)
{
    ac_status status = AC_OK;
    const ac_batch *one;
    double start = ac_now_s();
    *n_images = 0;
    AC_TRY(ac_loader_begin(b->loader, epoch, 0));
    for (;;) {
        AC_TRY(ac_loader_next(b->loader, &one, NULL));
        if (!one)
            break;
        AC_TRY(ac_plan_write(b->plan, b->images, one->image, (size_t)batch * b->store.image_bytes));
        AC_TRY(ac_plan_write(b->plan, b->keys, one->key, (size_t)batch * sizeof *one->key));
        AC_TRY(ac_plan_forward(b->plan));
        *n_images += one->n;
    }
    *seconds = ac_now_s() - start;
out:
    return status;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"none", "colour", "rotation"};
    int augment = 0, epochs = argc > 3 ? atoi(argv[3]) : 3, batch = argc > 4 ? atoi(argv[4]) : 64;
    int n_workers = argc > 5 ? atoi(argv[5]) : 1, n_threads = argc > 6 ? atoi(argv[6]) : 1;
    bench b;
    memset(&b, 0, sizeof b);
    for (int k = 0; argc > 2 && k < 3; k++)
        if (strcmp(argv[2], names[k]) == 0)
            augment = k;
    ac_status status = argc > 1 ? ac_store_open(argv[1], "train", &b.store)
                                : ac_error(AC_ERR_USAGE, "loader SHARDS [AUGMENT [EPOCHS [BATCH [LOADER_THREADS [THREADS]]]]]");
    if (status == AC_OK)
        status = build_graph(&b, augment, batch, n_threads);
    ac_loader_config config = {.store = &b.store, .seed = 1, .shuffle = true, .global_batch = batch, .slice_n = batch, .drop_last = true, .n_threads = n_workers};
    if (status == AC_OK)
        status = ac_loader_create(&config, &b.loader);
    for (int e = 0; e < epochs && status == AC_OK; e++) {
        double seconds;
        int64_t n;
        status = run_epoch(&b, e, batch, &seconds, &n);
        if (status == AC_OK)
            printf("loader, %s, %d + %d threads: epoch %d, %lld images, %.3f ms an image, %.0f images/s\n", names[augment], n_workers, n_threads, e,
                   (long long)n, 1e3 * seconds / (double)n, (double)n / seconds);
    }
    if (status != AC_OK)
        fprintf(stderr, "loader: %s\n", ac_error_text());
    close_bench(&b);
    return ac_status_exit_code(status);
}
