/* Depthwise convolutions, called by conv2d. Specs and shapes as in cuda.h; `pass` and `result` do not matter. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_DEPTHWISE_H
#define ANYCLASS_LIB_BACKEND_CUDA_DEPTHWISE_H

#include "backend/cuda/cuda.h"

bool cuda_depthwise_takes(const cuda_conv_spec *spec);
size_t cuda_depthwise_workspace_bytes(const cuda_device *device, const cuda_conv_spec *spec, bool training);
/** bias may be NULL. */
AC_NODISCARD ac_status cuda_depthwise_forward(cuda_device *device, const cuda_conv_spec *spec, const void *x, const float *weight, const float *bias, void *y, void *workspace);
AC_NODISCARD ac_status cuda_depthwise_dx(cuda_device *device, const cuda_conv_spec *spec, const void *dy, const float *weight, void *dx, void *workspace);
AC_NODISCARD ac_status cuda_depthwise_dweight(cuda_device *device, const cuda_conv_spec *spec, const void *x, const void *dy, float *dweight, bool accumulate, void *workspace);

#endif
