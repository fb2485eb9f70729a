/* anyclass-weights export: a checkpoint's weights for PyTorch. */
#include "anyclass/log.h"
#include "anyclass/model.h"
#include "infer/weights/weights.h"
#include <string.h>

/* The network that the checkpoint is of: it knows the order of the parameters, and which modules PyTorch has buffers in. */
static ac_status build(const char *path, const ac_checkpoint_info *info, ac_network *network)
{
    ac_network_options o = {.model = ac_model_find(info->model),
                            .batch = 1,
                            .image_size_px = info->image_size_px,
                            .n_classes = (int64_t)info->n_classes,
                            .activation_dtype = AC_F32};
    if (!o.model)
        return ac_error(AC_ERR_DATA, "%s: this build has no model %s, it has %s", path, info->model, ac_model_names());
    memcpy(o.mean, info->mean, sizeof o.mean);
    memcpy(o.std, info->std, sizeof o.std);
    ac_status status = ac_network_build(&o, network);
    return status == AC_OK ? status : ac_error_in(status, "%s", path);
}

ac_status weights_export(const char *checkpoint, const char *path, bool overwrite, bool dry_run)
{
    ac_status status = AC_OK;
    ac_checkpoint_info info = {0};
    ac_network network = {0};
    ac_weights *from = NULL;
    AC_TRY(ac_weights_open(checkpoint, &from));
    if (from->kind != AC_WEIGHTS_CHECKPOINT)
        AC_TRY(
            ac_error(AC_ERR_DATA, "%s is no checkpoint of anyclass-train but %s: nothing to export", checkpoint, ac_weights_kind_name(from->kind)));
    AC_TRY(ac_checkpoint_read_info(checkpoint, &info));
    AC_TRY(build(checkpoint, &info, &network));
    if (ac_path_exists(path) && !overwrite)
        AC_TRY(ac_error(AC_ERR_USAGE, "%s is there already: --overwrite replaces it", path));
    if (dry_run) {
        ac_log(AC_LOG_INFO, "%s can be exported; nothing was written", checkpoint);
        goto out;
    }
    AC_TRY(ac_weights_save(path, &info, network.graph, from));
    ac_log(AC_LOG_INFO, "%s: a %s with %zu classes at %d pixels, from %s", path, info.model, info.n_classes, info.image_size_px, checkpoint);
out:
    ac_weights_close(from);
    ac_network_release(&network);
    ac_checkpoint_info_release(&info);
    return status;
}
