/* Convolutions in bf16 and f16 by own kernels, for channels that are no multiple of 8, where a library pads them; called by conv2d. Specs as in cuda.h; `result` does not
 * matter. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_CONV_TILE_H
#define ANYCLASS_LIB_BACKEND_CUDA_CONV_TILE_H

#include "backend/cuda/cuda.h"

/** Passes CUDA_CONV_FORWARD and CUDA_CONV_DX. */
bool cuda_conv_tile_takes(const cuda_conv_spec *spec);
/** Of dx: the weights turned. */
size_t cuda_conv_tile_workspace_bytes(const cuda_conv_spec *spec);
/** y = x * weight, weight in the type of x. No bias. */
AC_NODISCARD ac_status cuda_conv_tile_forward(cuda_device *device, const cuda_conv_spec *spec, const void *x, const void *weight, void *y);
/** dx from dy; weight in their type. */
AC_NODISCARD ac_status cuda_conv_tile_dx(cuda_device *device, const cuda_conv_spec *spec, const void *dy, const void *weight, void *dx, void *workspace);

#endif
