/* The backends of this build. Only registry.c and the backends themselves include this. */
#ifndef ANYCLASS_LIB_BACKENDS_H
#define ANYCLASS_LIB_BACKENDS_H

#include "anyclass/backend.h"

extern const ac_backend ac_backend_ref;
extern const ac_backend ac_backend_cpu;
extern const ac_backend ac_backend_cuda;

#endif
