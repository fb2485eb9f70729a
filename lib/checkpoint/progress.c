/* How far the training of a folder is, for those who wait for it. */
#include "anyclass/checkpoint.h"
#include "anyclass/json.h"
#include <stdio.h>
#include <string.h>

ac_status ac_checkpoint_progress(const char *folder, ac_progress_state *out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_checkpoint_info info = {0};
    ac_json_value *config = NULL;
    *out = (ac_progress_state){.kind = AC_PROGRESS_NONE};
    AC_TRY(ac_path_join(path, folder, "last.h5"));
    if (!ac_path_exists(path))
        return AC_OK;
    status = ac_checkpoint_read_info(path, &info);
    if (status == AC_ERR_DATA) {
        out->kind = AC_PROGRESS_DAMAGED;
        status = AC_OK;
        goto out;
    }
    AC_TRY(status);
    AC_TRY(ac_json_parse(path, info.config, strlen(info.config), &config));
    AC_TRY(ac_json_read_int(ac_json_get(config, "max_epochs"), "max_epochs", &out->max_epochs));
    out->epochs = info.epoch;
    out->kind = info.epoch >= out->max_epochs ? AC_PROGRESS_FINISHED : AC_PROGRESS_BEGUN;
out:
    ac_json_release(config);
    ac_checkpoint_info_release(&info);
    return status;
}

void ac_checkpoint_progress_text(const ac_progress_state *state, char out[AC_PROGRESS_BYTES])
{
    static const char *const word[] = {[AC_PROGRESS_NONE] = "not begun", [AC_PROGRESS_DAMAGED] = "damaged", [AC_PROGRESS_FINISHED] = "finished"};
    if (state->kind == AC_PROGRESS_BEGUN)
        snprintf(out, AC_PROGRESS_BYTES, "epoch %lld of %lld", (long long)state->epochs, (long long)state->max_epochs);
    else
        snprintf(out, AC_PROGRESS_BYTES, "%s", word[state->kind]);
}
