/* Time to save, check and load a checkpoint, and the memory a save adds to the most there was. usage: checkpoint FOLDER
 * [MODEL [ROUNDS]] */
#include "anyclass/checkpoint.h"
#include "anyclass/log.h"
#include "anyclass/model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static ac_status measure(const char *path, const ac_params *params, ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    ac_checkpoint_info info = {.epoch = 1, .loss_scale = 1}, back;
    struct stat file;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    const double start = ac_now_s();
    AC_TRY(ac_checkpoint_save(path, &info, params, optimizer));
    const double saved = ac_now_s();
    getrusage(RUSAGE_SELF, &after);
    AC_TRY(ac_checkpoint_check(path, &back));
    ac_checkpoint_info_release(&back);
    const double checked = ac_now_s();
    AC_TRY(ac_checkpoint_load(path, optimizer->params, optimizer));
    const double loaded = ac_now_s();
    if (stat(path, &file) == 0)
        printf("%.0f MB: save %.3f s (+%.0f MB of memory), check %.3f s, load %.3f s\n", (double)file.st_size / 1e6,
               saved - start, (double)(after.ru_maxrss - before.ru_maxrss) / 1e3, checked - saved, loaded - checked);
out:
    return status;
}

int main(int argc, char **argv)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_device *device = NULL;
    ac_params *params = NULL;
    ac_optimizer *optimizer = NULL;
    ac_network network = {0};
    const ac_optimizer_config adamw = {AC_OPTIMIZER_ADAMW, .01, .9, .9, .999, 1e-8, 1, false};
    ac_network_options options = {.model = ac_model_find(argc > 2 ? argv[2] : "resnet50"),
                                  .batch = 1,
                                  .image_size_px = 224,
                                  .n_classes = 80,
                                  .std = {1, 1, 1},
                                  .activation_dtype = AC_F32};
    if (argc < 2 || !options.model) {
        fprintf(stderr, "usage: checkpoint FOLDER [MODEL [ROUNDS]]\n");
        return 2;
    }
    AC_TRY(ac_path_join(path, argv[1], "bench.h5"));
    AC_TRY(ac_network_build(&options, &network));
    AC_TRY(ac_backend_find("cpu")->open(0, &device));
    AC_TRY(ac_params_create(device, network.graph, true, &params));
    AC_TRY(ac_params_init(params, 1));
    AC_TRY(ac_optimizer_create(&adamw, params, &optimizer));
    for (int i = 0; i < (argc > 3 ? atoi(argv[3]) : 5); i++)
        AC_TRY(measure(path, params, optimizer));
out:
    if (status != AC_OK)
        fprintf(stderr, "%s\n", ac_error_text());
    ac_optimizer_destroy(optimizer);
    ac_params_destroy(params);
    if (device)
        device->backend->close(device);
    ac_network_release(&network);
    return ac_status_exit_code(status);
}
