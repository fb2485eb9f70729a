/* any_class_loss on the processor: rows in double whatever the backend, so ref and cpu share it. */
#ifndef ANYCLASS_LIB_BACKEND_LOSS_KERNEL_H
#define ANYCLASS_LIB_BACKEND_LOSS_KERNEL_H

#include "anyclass/backend.h"

/** Workspace: two rows of doubles. */
AC_NODISCARD ac_status ac_host_loss_plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants,
                                         ac_kernel_plan *out);
AC_NODISCARD ac_status ac_host_loss_forward(const ac_call *call);
AC_NODISCARD ac_status ac_host_loss_backward(const ac_call *call);
/** ac_backend.add_loss. */
AC_NODISCARD ac_status ac_host_add_loss(ac_device *device, ac_step_state *state, const double *loss, bool first);

#endif
