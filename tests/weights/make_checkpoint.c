/* make_checkpoint MODEL FOLDER_OF_SHARDS FILE: a checkpoint of a model that was not trained, with statistics and scales that are not
 * those of the beginning, for the shards' classes. For peer.t. */
#include "anyclass/alloc.h"
#include "anyclass/checkpoint.h"
#include "anyclass/model.h"
#include "anyclass/random.h"
#include "anyclass/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *name, const char *end)
{
    return strlen(name) >= strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

/* Constants become draws around them: vectors in [c - 0.25, c + 0.25), running_var positive. Heads that begin at zero get small weights. */
static ac_status disturb(ac_params *params)
{
    ac_status status = AC_OK;
    float *host = NULL;
    for (size_t p = 0; p < params->n_params; p++) {
        const ac_param_info *info = &params->info[p];
        const int64_t n = ac_shape_elements(&info->shape);
        if (info->init.kind != AC_INIT_CONSTANT && info->role != AC_PARAM_BUFFER)
            continue;
        AC_TRY(ac_malloc((size_t)n, sizeof *host, &host));
        for (int64_t i = 0; i < n; i++) {
            const ac_philox block = ac_random_block(3, 0, (uint64_t)p << 40 | (uint64_t)i, 0);
            const float u = (float)ac_uniform_double(block.word[0], block.word[1]) - 0.5f;
            const float c = info->init.kind == AC_INIT_CONSTANT ? info->init.a : 0;
            host[i] = ends_with(info->name, "running_var") ? 1 + u : c + u * (info->role == AC_PARAM_MATRIX ? 0.1f : 0.5f);
        }
        AC_TRY(ac_params_set(params, (int)p, NULL, host));
        ac_free(host);
        host = NULL;
    }
out:
    ac_free(host);
    return status;
}

static ac_status make(const char *model, const char *shards, const char *path)
{
    ac_status status = AC_OK;
    ac_store store = {0};
    ac_network network = {0};
    ac_device *device = NULL;
    ac_params *params = NULL;
    ac_checkpoint_info info = {.precision = "32", .loss_scale = 1, .optimizer_step = 7};
    static char config[] = "{}";
    if (!ac_model_find(model))
        return ac_error(AC_ERR_USAGE, "no model %s", model);
    AC_TRY(ac_store_open(shards, "val", &store));
    ac_network_options o = {.model = ac_model_find(model),
                            .batch = 1,
                            .image_size_px = store.image_size_px,
                            .n_classes = (int64_t)store.n_classes,
                            .activation_dtype = AC_F32};
    memcpy(o.mean, store.manifest.mean, sizeof o.mean);
    memcpy(o.std, store.manifest.std, sizeof o.std);
    AC_TRY(ac_network_build(&o, &network));
    AC_TRY(ac_backend_find("cpu")->open(1, &device));
    AC_TRY(ac_params_create(device, network.graph, false, &params));
    AC_TRY(ac_params_init(params, 1));
    AC_TRY(disturb(params));
    snprintf(info.model, sizeof info.model, "%s", model);
    info.class_name = store.manifest.class_name;
    info.n_classes = store.n_classes;
    info.image_size_px = store.image_size_px;
    memcpy(info.mean, o.mean, sizeof info.mean);
    memcpy(info.std, o.std, sizeof info.std);
    info.config = config;
    AC_TRY(ac_checkpoint_save(path, &info, params, NULL));
out:
    ac_params_destroy(params);
    if (device)
        device->backend->close(device);
    ac_network_release(&network);
    ac_store_close(&store);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: make_checkpoint MODEL FOLDER_OF_SHARDS FILE\n");
        return 2;
    }
    const ac_status status = make(argv[1], argv[2], argv[3]);
    if (status != AC_OK)
        fprintf(stderr, "make_checkpoint: %s\n", ac_error_text());
    return ac_status_exit_code(status);
}
