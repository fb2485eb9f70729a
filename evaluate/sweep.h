/* A sweep's elements beside their metrics: which are finished, where their values stand in the table, which is best. Private to this folder. */
#ifndef ANYCLASS_EVALUATE_SWEEP_H
#define ANYCLASS_EVALUATE_SWEEP_H

#include "anyclass/checkpoint.h"
#include "anyclass/sweep.h"
#include "evaluate/steps.h"

enum { SWEEP_STATE_BYTES = AC_PROGRESS_BYTES + 32 };

struct evaluate_sweep {
    ac_sweep_file file;
    char (*state)[SWEEP_STATE_BYTES]; /* [n_elements] "" for those in the table, else why they are not */
    const char **version;             /* [n_versions] those in the table; borrowed from `file` */
    size_t n_versions;
};

/** Read config->sweep and look which elements are finished (by config->log_dir, if given) and have scores of config->split. Rank 0. Release in any case.
 * AC_ERR_DATA when none has, or for a file that is no table of a sweep; AC_ERR_IO, AC_ERR_MEMORY. */
AC_NODISCARD ac_status evaluate_open_sweep(const evaluate_config *config, evaluate_sweep *out);
void evaluate_release_sweep(evaluate_sweep *sweep);
/** AC_ERR_DATA with the number of elements that are not in the table and the first of them; AC_OK when all are. */
AC_NODISCARD ac_status evaluate_check_sweep(const evaluate_config *config, const evaluate_sweep *sweep);
/** Number of the element whose version this is; n_elements when it is none. */
size_t evaluate_find_element(const evaluate_sweep *sweep, const char *version);

#endif
