/* Taking a checkpoint's tensors over into parameters and optimiser. */
#include "anyclass/alloc.h"
#include "checkpoint/checkpoint_internal.h"

/* The tensor's number in the file for each of the list, all of the model's shapes. */
static ac_status find_all(ac_checkpoint_file *file, const ac_tensor_list *list, size_t *number)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < list->n; i++)
        AC_TRY(ac_checkpoint_file_find(file, list->tensor[i].name, &list->tensor[i].shape, &number[i]));
out:
    return status;
}

static ac_status take_all(const ac_checkpoint_file *file, const ac_tensor_list *list, const size_t *number,
                          ac_params *params)
{
    ac_status status = AC_OK;
    float *host = NULL, *scratch = NULL;
    AC_TRY(ac_malloc(list->n_most, sizeof *host, &host));
    AC_TRY(ac_malloc(list->n_most, sizeof *scratch, &scratch));
    for (size_t i = 0; i < list->n; i++) {
        AC_TRY(ac_checkpoint_file_read(file, number[i], host));
        AC_TRY(ac_params_set_with(params, list->tensor[i].param, list->tensor[i].arena, scratch, host));
    }
out:
    ac_free(host);
    ac_free(scratch);
    return status;
}

ac_status ac_checkpoint_load(const char *path, ac_params *params, ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    ac_tensor_list list = {0};
    ac_checkpoint_file file = {.fd = -1};
    ac_checkpoint_info info = {0};
    size_t *number = NULL;
    AC_TRY(ac_tensor_list_make(params, optimizer, &list));
    AC_TRY(ac_malloc(list.n + 1, sizeof *number, &number));
    AC_TRY(ac_checkpoint_file_open(path, true, &file));
    AC_TRY(ac_checkpoint_info_parse(file.document, &info));
    AC_TRY(find_all(&file, &list, number));
    AC_TRY(take_all(&file, &list, number, params));
    if (optimizer)
        optimizer->step = info.optimizer_step;
out:
    ac_checkpoint_file_close(&file);
    ac_checkpoint_info_release(&info);
    ac_tensor_list_release(&list);
    ac_free(number);
    return status == AC_OK ? status : ac_error_in(status, "%s", path);
}
