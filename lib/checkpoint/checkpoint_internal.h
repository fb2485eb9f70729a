/* Inside of the checkpoints: the file as its reader sees it, and what manager.c and folder.c share. Not installed. */
#ifndef ANYCLASS_LIB_CHECKPOINT_INTERNAL_H
#define ANYCLASS_LIB_CHECKPOINT_INTERNAL_H

#include "anyclass/checkpoint.h"
#include "anyclass/json.h"
#include "hdf5/seal.h"

extern const ac_seal_kind ac_checkpoint_seal_kind;

typedef struct ac_tensor { /* a tensor of a checkpoint and where it lives */
    char *name;            /* "model/conv1.weight", "optimizer/exp_avg/conv1.weight" */
    ac_shape shape;        /* as PyTorch has it */
    int param;
    float *arena; /* NULL: the parameter itself */
} ac_tensor;

typedef struct ac_tensor_list {
    ac_tensor *tensor; /* [n] in the order of the file */
    size_t n, n_name_bytes;
    size_t n_most; /* elements of the largest */
    char *names;
} ac_tensor_list;

/** Parameters and statistics, then each moment. @param optimizer  NULL: no moments. Release in any case. */
AC_NODISCARD ac_status ac_tensor_list_make(const ac_params *params, const ac_optimizer *optimizer, ac_tensor_list *out);
void ac_tensor_list_release(ac_tensor_list *list);

/** The dataset `info`: JSON text with the info and the tensors' shapes. */
AC_NODISCARD ac_status ac_checkpoint_info_print(const ac_checkpoint_info *info, const ac_tensor_list *tensors,
                                                ac_json *json);
/** And back, without the shapes. AC_ERR_DATA naming the member; release in any case. */
AC_NODISCARD ac_status ac_checkpoint_info_parse(const ac_json_value *document, ac_checkpoint_info *info);

typedef struct ac_checkpoint_file { /* open for reading */
    int fd;
    ac_seal seal;            /* part 0 is the info, part k + 1 tensor k */
    ac_json_value *document; /* the info */
    const ac_json_value *shapes;
    size_t next; /* where the search for a tensor begins */
} ac_checkpoint_file;

/** Open, check the seal and the info against it, and with `whole` every byte. Close in any case. Texts of all three do
 * not name the file. */
AC_NODISCARD ac_status ac_checkpoint_file_open(const char *path, bool whole, ac_checkpoint_file *file);
void ac_checkpoint_file_close(ac_checkpoint_file *file);
/** Find a tensor. AC_ERR_DATA when there is none or it has another shape. */
AC_NODISCARD ac_status ac_checkpoint_file_find(ac_checkpoint_file *file, const char *name, const ac_shape *shape,
                                               size_t *k);
/** Its elements, as PyTorch orders them, compared with their hash. */
AC_NODISCARD ac_status ac_checkpoint_file_read(const ac_checkpoint_file *file, size_t k, float *out);

/** Write all of a checkpoint under the temporary name `part`, re-read, compare, sync. On failure it is removed. */
AC_NODISCARD ac_status ac_checkpoint_write(const char *part, const ac_checkpoint_info *info, const ac_params *params,
                                           const ac_optimizer *optimizer);

/** True for "epoch=03-val_f1=0.8512.h5" and what else ac_checkpoint_keep() names a best checkpoint.
 * @param[out] epoch  may be NULL */
bool ac_checkpoint_is_best_name(const char *name, int64_t *epoch);
/** Rename last.h5.part to last.h5, which becomes previous.h5. */
AC_NODISCARD ac_status ac_checkpoint_rotate(const char *folder);
/** Write checkpoints.json. */
AC_NODISCARD ac_status ac_checkpoint_save_table(const char *folder, const ac_checkpoint_info *info);
/** Remove temporary files of ours and best checkpoints that the info does not name. What cannot be removed is logged.
 */
void ac_checkpoint_sweep(const char *folder, const ac_checkpoint_info *info);

#endif
