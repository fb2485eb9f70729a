/* infinite IN OUT: a checkpoint's weights, the last layer's bias near the largest float and its weights larger than 1:
 * finite, but every logit is infinite. For errors.t. */
#include "anyclass/alloc.h"
#include "anyclass/checkpoint.h"
#include "anyclass/model.h"
#include <float.h>
#include <stdio.h>

static ac_status fill(ac_params *params, const char *name, float value)
{
    ac_status status = AC_OK;
    const int p = ac_params_find(params, name);
    float *host = NULL;
    const size_t n = (size_t)ac_shape_elements(&params->info[p].shape);
    AC_TRY(ac_malloc(n, sizeof *host, &host));
    for (size_t i = 0; i < n; i++)
        host[i] = value;
    AC_TRY(ac_params_set(params, p, NULL, host));
out:
    ac_free(host);
    return status;
}

static ac_status make(const char *from, const char *to)
{
    ac_status status = AC_OK;
    ac_checkpoint_info info = {0};
    ac_network network = {0};
    ac_device *device = NULL;
    ac_params *params = NULL;
    AC_TRY(ac_checkpoint_read_info(from, &info));
    const ac_network_options options = {.model = ac_model_find(info.model),
                                        .batch = 1,
                                        .image_size_px = info.image_size_px,
                                        .n_classes = (int64_t)info.n_classes,
                                        .std = {1, 1, 1},
                                        .activation_dtype = AC_F32};
    AC_TRY(ac_network_build(&options, &network));
    AC_TRY(ac_backend_find("cpu")->open(1, &device));
    AC_TRY(ac_params_create(device, network.graph, false, &params));
    AC_TRY(ac_checkpoint_load(from, params, NULL));
    AC_TRY(fill(params, "fc.weight", FLT_MAX / 2));
    AC_TRY(fill(params, "fc.bias", FLT_MAX));
    AC_TRY(ac_checkpoint_save(to, &info, params, NULL));
out:
    ac_params_destroy(params);
    if (device)
        device->backend->close(device);
    ac_network_release(&network);
    ac_checkpoint_info_release(&info);
    return status;
}

int main(int argc, char **argv)
{
    if (argc == 3 && make(argv[1], argv[2]) == AC_OK)
        return 0;
    fprintf(stderr, "%s\n", ac_error_text());
    return 1;
}
