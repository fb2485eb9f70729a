/* The families' tables, for the registry. One row per model name. */
#ifndef ANYCLASS_LIB_MODELS_H
#define ANYCLASS_LIB_MODELS_H

#include "anyclass/model.h"

extern const ac_model ac_models_resnet[];
extern const size_t ac_n_models_resnet;

#endif
