/* The program anyclass-weights: weights of checkpoints to PyTorch, and a look into files of weights. */
#ifndef ANYCLASS_INFER_WEIGHTS_H
#define ANYCLASS_INFER_WEIGHTS_H

#include "anyclass/status.h"
#include "anyclass/weights.h"
#include <mpi.h>

/** Run the program; rank 0 of `comm` does the work. Collective.
 * @return the exit code: 0 or one of SPEC's codes, the same on all ranks. */
int ac_weights_run(MPI_Comm comm, int argc, char **argv);

typedef struct weights_text { /* an answer that grows */
    char *at;
    size_t n, capacity;
} weights_text;

AC_NODISCARD ac_status weights_add_text(weights_text *text, const char *format, ...) AC_PRINTF(2, 3);
/** "[64, 3, 7, 7]" */
AC_NODISCARD ac_status weights_add_shape(weights_text *text, const ac_weights_tensor *tensor);

/** The tensors of a file, to stdout. */
AC_NODISCARD ac_status weights_list(const char *path, bool json);
/** The largest differences between the tensors of two files, to stdout. AC_ERR_DATA when they differ by more. */
AC_NODISCARD ac_status weights_compare(const char *a, const char *b, double tolerance);
/** A checkpoint's weights as .safetensors. */
AC_NODISCARD ac_status weights_export(const char *checkpoint, const char *path, bool overwrite, bool dry_run);

#endif
