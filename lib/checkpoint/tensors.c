/* Which tensors a checkpoint holds, in which order, under which names. */
#include "anyclass/alloc.h"
#include "checkpoint/checkpoint_internal.h"
#include <stdio.h>
#include <string.h>

/* All of one arena, NULL for the parameters themselves; moments have no statistics. Names go to `names` when it is
 * there, which has room for them; n and n_name_bytes count in any case. */
static void add_arena(ac_tensor_list *list, const ac_params *params, const char *group, float *arena)
{
    for (size_t p = 0; p < params->n_params; p++) {
        const ac_param_info *info = &params->info[p];
        if (arena && info->role == AC_PARAM_BUFFER)
            continue;
        const size_t n_bytes = strlen(group) + 1 + strlen(info->name) + 1;
        if (list->names) {
            char *name = list->names + list->n_name_bytes;
            snprintf(name, n_bytes, "%s/%s", group, info->name);
            list->tensor[list->n] = (ac_tensor){name, info->shape, (int)p, arena};
        }
        const size_t n_elements = (size_t)ac_shape_elements(&info->shape);
        list->n_most = n_elements > list->n_most ? n_elements : list->n_most;
        list->n++;
        list->n_name_bytes += n_bytes;
    }
}

static void add_all(ac_tensor_list *list, const ac_params *params, const ac_optimizer *optimizer)
{
    char group[64];
    list->n = list->n_name_bytes = 0;
    add_arena(list, params, "model", NULL);
    for (int i = 0; optimizer && i < optimizer->n_moments; i++) {
        snprintf(group, sizeof group, "optimizer/%s", ac_optimizer_moment_name(optimizer, i));
        add_arena(list, params, group, optimizer->moment[i]);
    }
}

ac_status ac_tensor_list_make(const ac_params *params, const ac_optimizer *optimizer, ac_tensor_list *out)
{
    ac_status status = AC_OK;
    memset(out, 0, sizeof *out);
    add_all(out, params, optimizer);
    AC_TRY(ac_calloc(out->n + 1, sizeof *out->tensor, &out->tensor));
    AC_TRY(ac_malloc(out->n_name_bytes + 1, 1, &out->names));
    add_all(out, params, optimizer);
out:
    return status;
}

void ac_tensor_list_release(ac_tensor_list *list)
{
    ac_free(list->tensor);
    ac_free(list->names);
    memset(list, 0, sizeof *list);
}
