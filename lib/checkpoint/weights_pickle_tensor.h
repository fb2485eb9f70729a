/* What the pickle machine and the builder of its tensors share. */
#ifndef ANYCLASS_LIB_WEIGHTS_PICKLE_TENSOR_H
#define ANYCLASS_LIB_WEIGHTS_PICKLE_TENSOR_H

#include "checkpoint/weights_pickle.h"

/** Append a value; its number is p->n_values - 1 then. AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_pickle_add_value(ac_pickle *p, ac_pickle_value value);
/** A storage from the tuple that names it. AC_ERR_DATA. */
AC_NODISCARD ac_status ac_pickle_make_storage(ac_pickle *p, uint32_t id, uint32_t *made);
/** What one of torch's functions that build tensors (or torch.Size) makes of a tuple of arguments: a tensor inside of its
 * storage, or the tuple itself. AC_ERR_DATA. */
AC_NODISCARD ac_status ac_pickle_make_tensor(ac_pickle *p, const ac_pickle_global *global, uint32_t arguments, uint32_t *made);

#endif
