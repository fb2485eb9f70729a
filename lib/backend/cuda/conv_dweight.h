/* Gradient of a convolution's weights by own kernels, called by conv2d. Specs and shapes as in cuda.h; `pass` and `result` do not matter. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_CONV_DWEIGHT_H
#define ANYCLASS_LIB_BACKEND_CUDA_CONV_DWEIGHT_H

#include "backend/cuda/cuda.h"

bool cuda_conv_dweight_takes(const cuda_conv_spec *spec);
size_t cuda_conv_dweight_workspace_bytes(const cuda_device *device, const cuda_conv_spec *spec);
AC_NODISCARD ac_status cuda_conv_dweight(cuda_device *device, const cuda_conv_spec *spec, const void *x, const void *dy, float *dweight, bool accumulate, void *workspace);

#endif
